"""A photon machine fitted to measured curves, in stages, by least squares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from DoseEngineLib.commissioning.curve_gamma import curve_gamma
from DoseEngineLib.commissioning.machine_parameters import (
    MachineData,
    MachineParameter,
    changed_machine,
    check_base,
    machine_parameters,
    read_machine_data,
)
from DoseEngineLib.commissioning.measured_curve import MeasuredCurve, MeasurementError
from DoseEngineLib.commissioning.measurements import Measurements, fit_for_machine, read_measurements
from DoseEngineLib.commissioning.model import CORNER_SHARE, SHALLOWEST_MM, CurveModel, curve_dose
from DoseEngineLib.errors import MachineError
from DoseEngineLib.machine import Machine, machine_from_json
from DoseEngineLib.progress import Progress, part

STAGES = ("spectrum", "off_axis", "penumbra", "head_scatter", "contamination")
GAMMA_CRITERIA = ((1.0, 1.0), (2.0, 2.0))
LOSSES = ("linear", "soft_l1")
_NOT_ASKED = "it was not to be fitted"

# Differences over this share of a parameter's scale: above the roughness of the fitted pencil kernels, well below what
# bends the curves.
_STEP = 0.15
_UNDETERMINED_SCALES = 4.0
# Residuals, in standard deviations, of a step that leaves what a machine file can hold.
_NO_MACHINE = 1e3
# Second differences, 2.5 cm apart, of the factors on the fluence off the axis: filters have no steps.
_SMOOTHNESS = 0.008
_MOST_STEPS_STAGE, _MOST_STEPS_JOINT = 6, 10
_GAMMA_THRESHOLD_PERCENT = 5.0
_FINE_STEP_MM = 1.0
_FITTED = ", fitted to measurements"


@dataclass(frozen=True)
class FittedParameter:
    """A parameter before and after.

    Attributes
    ----------
    base, value : float
    uncertainty : float or None
        One standard deviation; None where the parameter was not fitted.
    determined : bool
        False: it stays at its base value.
    note : str
        Why it was not determined, or that it stands at a bound.
    """

    key: str
    label: str
    unit: str
    base: float
    value: float
    uncertainty: float | None
    determined: bool
    note: str = ""

    @property
    def asked(self) -> bool:
        """Whether its stage was to be fitted."""
        return not self.note.endswith(_NOT_ASKED)


@dataclass(frozen=True, eq=False)
class CurveComparison:
    """A measured curve against the base machine and the fitted one, all normalized alike.

    Attributes
    ----------
    measured_percent, before_percent, computed_percent : (n,) arrays
        At ``curve.position_mm``.
    gamma : dict of (per cent, mm) to (n,) array
        Of the fitted machine, measured points judged by the computed curve; NaN below 5 % and for output factors.
    left_out : (n,) bool array
        Points that are compared but never fitted (see `CurveModel`); root mean squares are without them.
    """

    curve: MeasuredCurve
    normalization: str
    measured_percent: np.ndarray
    before_percent: np.ndarray
    computed_percent: np.ndarray
    gamma: dict[tuple[float, float], np.ndarray]
    left_out: np.ndarray

    @property
    def difference_percent(self) -> np.ndarray:
        """Computed minus measured, per cent of the normalization dose."""
        return self.computed_percent - self.measured_percent

    @property
    def rms_percent(self) -> float:
        """Root mean square difference of the fitted machine."""
        return float(np.sqrt(np.mean(self.difference_percent[~self.left_out] ** 2)))

    @property
    def rms_before_percent(self) -> float:
        """Root mean square difference of the base machine."""
        return float(np.sqrt(np.mean((self.before_percent - self.measured_percent)[~self.left_out] ** 2)))

    def passed_percent(self, criteria: tuple[float, float]) -> float:
        """Share of the judged points with gamma up to 1; of output factors, within the dose criterion."""
        if self.curve.kind == "output_factor":
            return float(100 * np.mean(np.abs(self.difference_percent) <= criteria[0] * self.measured_percent / 100))
        judged = self.gamma[criteria][np.isfinite(self.gamma[criteria])]
        return float(100 * np.mean(judged <= 1.0))


@dataclass(frozen=True, eq=False)
class CommissioningResult:
    """What a commissioning found.

    Attributes
    ----------
    machine : Machine
    machine_json : str
        The machine's file, as `DoseEngineLib.machine.load_machine` accepts it.
    base : Machine
    curves : tuple of CurveComparison
    parameters : tuple of FittedParameter
    residuals : (m,) array
        Computed minus measured of all points that were fitted, in standard deviations.
    chi2_reduced : float
        Their squares over the degrees of freedom: 1 where the stated uncertainties explain all that is left.
    files : tuple of str
    notes : tuple of str
    weights : str
        How points were weighted, in words.
    """

    machine: Machine
    machine_json: str
    base: Machine
    curves: tuple[CurveComparison, ...]
    parameters: tuple[FittedParameter, ...]
    residuals: np.ndarray
    chi2_reduced: float
    files: tuple[str, ...]
    notes: tuple[str, ...]
    weights: str


def commission(
    measurements: Measurements | str | Path,
    base_machine: str | Path,
    progress: Progress | None = None,
    *,
    name: str | None = None,
    centre_profiles: bool = False,
    robust: bool = False,
    stages: Sequence[str] = STAGES,
) -> CommissioningResult:
    """Fit a machine to measured curves.

    Each stage fits its parameters to the points that tell most of them: spectrum (depth doses behind the build-up),
    fluence off the axis with its softening (profiles inside the field), focal spot (penumbras), extra-focal source
    (output factors, and what reaches outside the field), electron contamination (build-up). A last stage fits all of
    them to all points, each curve's normalization left free. Parameters that the curves cannot determine stay at their
    base value.

    Parameters
    ----------
    measurements : Measurements or path
        As `read_measurements` gives them, or where they are.
    base_machine : str or path
        Name or file of the machine to begin from; what is not fitted stays as it is there.
    name : str, optional
        Name of the fitted machine; by default the base's with ``_commissioned``.
    centre_profiles : bool
        Move profiles to their centre before the fit.
    robust : bool
        Soft L1 loss in place of squares: points that stand far off count less.
    stages : sequence of str
        Those of `STAGES` that are to be fitted; parameters of the others stay at their base value.

    Raises
    ------
    MeasurementError
        Measurements that cannot be used, or that determine nothing; no stage, or one that does not exist.
    MachineError
        A base machine that cannot be read.
    """
    report = part(progress, 0.0, 1.0)
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown or not stages:
        raise MeasurementError(
            f"Choose what is to be fitted among {', '.join(STAGES)}; got {', '.join(map(str, stages)) or 'nothing'}."
        )
    report(0.0, "Reading the measurements")
    if not isinstance(measurements, Measurements):
        measurements = read_measurements(measurements)
    data = read_machine_data(base_machine)
    base = machine_from_json(json.dumps(data), str(base_machine))
    notes = check_base(data)
    measurements = fit_for_machine(measurements, base, centre_profiles)
    models = [CurveModel(curve, base) for curve in measurements.curves]
    reach = max((model.off_axis_reach_mm for model in models), default=0.0)
    parameters = machine_parameters(data, reach)
    reasons = {
        p.key: reason for p in parameters if (reason := _why_not(p, models) if p.stage in stages else _NOT_ASKED)
    }
    free = [p for p in parameters if p.key not in reasons]
    if not free:
        raise MeasurementError(
            "The measurements determine no parameter of the machine: " + "; ".join(sorted(set(reasons.values()))) + "."
        )
    fit = _Fit(data, models, "soft_l1" if robust else "linear")
    values = {p.key: p.base for p in free}
    for number, stage in enumerate(STAGES):
        of_stage = [p for p in free if p.stage == stage]
        if of_stage:
            span = part(report, 0.02 + 0.1 * number, 0.12 + 0.1 * number)
            fit.solve(of_stage, values, stage, _MOST_STEPS_STAGE, span)
    begin, end = 0.52, 0.9
    while True:
        # should there be another round, it has the rest of the bar
        span = part(report, begin, begin + 0.7 * (end - begin))
        begin += 0.7 * (end - begin)
        solution = fit.solve(free, values, None, _MOST_STEPS_JOINT, span)
        uncertainty, chi2 = _uncertainty(solution)
        loose = [
            p for p, u in zip(free, uncertainty * [p.scale for p in free]) if not u <= _UNDETERMINED_SCALES * p.scale
        ]
        if not loose:
            break
        # the worst first: without it the others may be determined
        worst = max(loose, key=lambda p: uncertainty[free.index(p)])
        reasons[worst.key] = "the curves hardly change with it"
        free = [p for p in free if p is not worst]
        del values[worst.key]
        if not free:
            raise MeasurementError("The measurements are too noisy to determine any parameter of the machine.")
    found = {p.key: float(u * p.scale) for p, u in zip(free, uncertainty)}
    values = {key: float(f"{value:.6g}") for key, value in values.items()}
    changed, _ = changed_machine(data, free, values)
    _describe(changed, data, free, values, found, measurements.files, name)
    machine_json = json.dumps(changed, indent=1) + "\n"
    machine = machine_from_json(machine_json, changed["name"])
    report(0.92, "Comparing the curves")
    compared = tuple(_compare(model, base, machine) for model in models)
    report(1.0, "Done")
    return CommissioningResult(
        machine=machine,
        machine_json=machine_json,
        base=base,
        curves=compared,
        parameters=tuple(_report(p, values, found, reasons) for p in parameters),
        residuals=solution.fun[: solution.points],
        chi2_reduced=chi2,
        files=measurements.files,
        notes=(*measurements.notes, *notes, *_left_out(models, base)),
        weights=_weights_in_words(models, robust),
    )


def compare_with_machine(
    measurements: Measurements, machine: str | Path, progress: Progress | None = None, *, centre_profiles: bool = False
) -> tuple[tuple[CurveComparison, ...], tuple[str, ...]]:
    """Compare measured curves with a machine as it stands.

    Returns
    -------
    curves : tuple of CurveComparison
        Before and after are the same.
    notes : tuple of str
        Those of the measurements, and of the checks against the machine.

    Raises
    ------
    MeasurementError
        Curves that the machine cannot have been measured with.
    MachineError
    """
    report = part(progress, 0.0, 1.0)
    data = read_machine_data(machine)
    found = machine_from_json(json.dumps(data), str(machine))
    measurements = fit_for_machine(measurements, found, centre_profiles)
    models = [CurveModel(curve, found) for curve in measurements.curves]
    compared = []
    for number, model in enumerate(models):
        report(number / len(models), f"Comparing {model.curve.title}")
        compared.append(_compare(model, found, found))
    report(1.0, "Curves compared")
    return tuple(compared), (*measurements.notes, *check_base(data), *_left_out(models, found))


class _Fit:
    """Least squares over machine parameters, each in units of its scale."""

    def __init__(self, data: MachineData, models: Sequence[CurveModel], loss: str) -> None:
        self.data, self.models, self.loss = data, models, loss
        self.known: dict[str, MachineParameter] = {}

    def solve(
        self,
        free: list[MachineParameter],
        values: dict[str, float],
        stage: str | None,
        steps: int,
        progress: Progress,
    ) -> OptimizeResult:
        """Fit ``free`` to the points of a stage, or to all; ``values`` (by key) are the start and are updated."""
        masks = [m.used & m.stage[stage] if stage else m.used for m in self.models]
        scale = np.array([p.scale for p in free])
        low, high = (np.array([getattr(p, side) for p in free]) / scale for side in ("low", "high"))
        start = np.array([values[p.key] for p in free]) / scale
        title = "all parameters" if stage is None else stage.replace("_", " ")
        done = count = 0
        # what an earlier stage has found stays in the machine
        self.known |= {p.key: p for p in free}
        present = [p for p in self.known.values() if p.key in values]
        bend = _smoothness(free)

        def evaluate(x: np.ndarray) -> np.ndarray:
            trial = values | dict(zip((p.key for p in free), x * scale))
            _, machine = changed_machine(self.data, present, trial)
            chosen = [
                model.residuals(machine, mask, stage is None) for model, mask in zip(self.models, masks) if mask.any()
            ]
            return np.concatenate([*chosen, bend @ (x * scale)])

        def residuals(x: np.ndarray) -> np.ndarray:
            try:
                return evaluate(x)
            except MachineError:
                if done == 0:
                    raise
                # a step to what is no machine is a bad step: it is taken back
                return np.full(count, _NO_MACHINE)

        def jacobian(x: np.ndarray) -> np.ndarray:
            nonlocal done, count
            here = evaluate(x)
            count = here.size
            columns = []
            for n in range(len(x)):
                progress(min((done + n / len(x)) / steps, 1.0), f"Fitting {title}")
                # away from the nearer bound
                step = _STEP if x[n] + _STEP <= high[n] else -_STEP
                moved = x.copy()
                moved[n] += step
                columns.append((evaluate(moved) - here) / step)
            done += 1
            return np.stack(columns, axis=1)

        solution = least_squares(
            residuals,
            np.clip(start, low + 1e-9, high - 1e-9),
            jac=jacobian,
            bounds=(low, high),
            loss=self.loss,
            max_nfev=steps,
            ftol=1e-4,
            xtol=1e-3,
            gtol=1e-6,
        )
        solution.points = solution.fun.size - len(bend)
        solution.curves = sum(bool(mask.any()) for mask in masks)
        values.update(zip((p.key for p in free), (solution.x * scale).tolist()))
        return solution


def _left_out(models: Sequence[CurveModel], base: Machine) -> list[str]:
    notes = []
    if any(m.left_out.any() for m in models if m.curve.kind == "pdd"):
        notes.append(
            f"Depths of less than {SHALLOWEST_MM:g} mm are compared but not fitted: cylindrical chambers misread there."
        )
    if any(m.left_out.any() for m in models if m.curve.kind == "profile"):
        notes.append(
            f"Corners of diagonal profiles, beyond {CORNER_SHARE * base.field_radius_mm / 10:.0f} cm at the isocentre "
            "plane, are compared but not fitted: the phantom's dose does not know the round primary collimator."
        )
    return notes


def _smoothness(free: Sequence[MachineParameter]) -> np.ndarray:
    """Second differences of the factors on the fluence off the axis, over what they are expected to stay within."""
    at = [n for n, p in enumerate(free) if p.key.startswith("off_axis/") and p.key != "off_axis/softening"]
    rows = np.zeros((max(len(at) - 2, 0), len(free)))
    for row, (left, middle, right) in zip(rows, zip(at, at[1:], at[2:])):
        row[[left, middle, right]] = np.array([1.0, -2.0, 1.0]) / _SMOOTHNESS
    return rows


def _uncertainty(solution: OptimizeResult) -> tuple[np.ndarray, float]:
    """Standard deviations in units of the scales, from the curvature at the solution; and the reduced chi squared.

    Where more is left than the stated uncertainties explain, they are widened by what is left.
    """
    freedom = max(solution.points - solution.x.size - solution.curves, 1)
    chi2 = float(np.sum(solution.fun[: solution.points] ** 2)) / freedom
    curvature = solution.jac.T @ solution.jac
    # a parameter without any effect has no curvature: infinitely uncertain
    flat = np.diag(curvature) < 1e-12
    curvature[np.diag_indices_from(curvature)] += np.where(flat, 1e-12, 0.0)
    variance = np.diag(np.linalg.pinv(curvature, hermitian=True)).copy()
    variance[flat] = np.inf
    return np.sqrt(np.maximum(variance, 0.0) * max(chi2, 1.0)), chi2


def _why_not(parameter: MachineParameter, models: Sequence[CurveModel]) -> str:
    """Why the curves at hand cannot determine a parameter; empty where they may."""
    depth_doses = [m for m in models if m.curve.kind == "pdd"]
    profiles = [m for m in models if m.curve.kind == "profile"]
    tables = [m for m in models if m.curve.kind == "output_factor"]
    if parameter.stage == "spectrum":
        spans = [np.ptp(m.curve.position_mm[m.stage["spectrum"]]) for m in depth_doses if m.stage["spectrum"].any()]
        return "" if max(spans, default=0.0) >= 100.0 else "no depth dose reaches 10 cm behind its build-up"
    if parameter.stage == "contamination":
        shallow = [np.sum(m.used & (m.curve.position_mm < 0.6 * m.depth_of_maximum_mm)) for m in depth_doses]
        return (
            ""
            if max(shallow, default=0) >= 3
            else f"no depth dose has three points in the build-up, from {SHALLOWEST_MM:g} mm on"
        )
    if parameter.stage == "penumbra":
        edges = [m.stage["penumbra"].sum() for m in profiles]
        return "" if max(edges, default=0) >= 4 else "no profile has four points in a penumbra"
    if parameter.key == "off_axis/softening":
        depths = [m.curve.depth_mm for m in profiles if m.off_axis_reach_mm >= 75.0]
        wide = depths and max(depths) - min(depths) >= 60.0
        return "" if wide else "no wide profiles at two depths, 6 cm apart or more"
    if parameter.stage == "head_scatter":
        sides = np.array([side for m in tables for side in m.curve.position_mm])
        spread = sides.size >= 4 and sides.max() >= 2.0 * sides.min()
        outside = max((m.stage["head_scatter"].sum() for m in profiles), default=0)
        return (
            "" if spread or outside >= 8 else "neither output factors of four fields or more nor dose outside a field"
        )
    return ""


def _compare(model: CurveModel, base: Machine, machine: Machine) -> CurveComparison:
    curve, rule = model.curve, model.normalization
    before = rule.percent(curve_dose(base, curve))
    dose = curve_dose(machine, curve)
    gamma = {}
    if curve.kind != "output_factor":
        last = curve.position_mm[-1] + 2 * _FINE_STEP_MM
        first = curve.position_mm[0] - 2 * _FINE_STEP_MM
        fine = np.arange(max(first, 0.0) if curve.kind == "pdd" else first, last, _FINE_STEP_MM)
        computed = 100.0 * curve_dose(machine, curve, fine) / rule.value(dose)
        for criteria in GAMMA_CRITERIA:
            found = curve_gamma(
                curve.position_mm,
                model.measured_percent,
                fine,
                computed,
                dose_criterion=criteria[0] * model.measured_percent.max() / 100.0,
                distance_mm=criteria[1],
            )
            found[model.measured_percent < _GAMMA_THRESHOLD_PERCENT * model.measured_percent.max() / 100.0] = np.nan
            gamma[criteria] = found
    return CurveComparison(curve, rule.text, model.measured_percent, before, rule.percent(dose), gamma, model.left_out)


def _report(
    parameter: MachineParameter, values: dict[str, float], found: dict[str, float], reasons: dict[str, str]
) -> FittedParameter:
    if parameter.key not in values:
        return FittedParameter(
            parameter.key, parameter.label, parameter.unit, parameter.base, parameter.base, None, False,
            f"not determined, kept: {reasons[parameter.key]}",
        )  # fmt: skip
    value = values[parameter.key]
    at_bound = min(value - parameter.low, parameter.high - value) < 1e-3 * parameter.scale
    note = f"at the bound of its range, {parameter.low:g}..{parameter.high:g}" if at_bound else ""
    return FittedParameter(
        parameter.key, parameter.label, parameter.unit, parameter.base, value, found[parameter.key], True, note
    )


def _describe(
    data: MachineData,
    base: MachineData,
    free: list[MachineParameter],
    values: dict[str, float],
    found: dict[str, float],
    files: tuple[str, ...],
    name: str | None,
) -> None:
    """Name the fitted machine and write down where its numbers come from."""
    data["name"] = name or f"{base['name']}_commissioned"
    data["title"] = f"{base['title'].removesuffix(_FITTED)}{_FITTED}"
    source = ", ".join(files)
    for piece in dict.fromkeys(p.part for p in free):
        texts = [
            f"{p.label} {values[p.key]:.4g} +- {found[p.key]:.2g}{' ' + p.unit if p.unit else ''}"
            for p in free
            if p.part == piece
        ]
        former = base["provenance"].get(piece, "")
        data["provenance"][piece] = f"fitted to {source}: {'; '.join(texts)}." + (f" Base: {former}" if former else "")
    data["provenance"]["commissioning"] = (
        f"DoseEngineLib.commissioning from {base['name']}, least squares on relative curves of {source}; what is "
        "not named as fitted is the base machine's. For research and teaching, not for clinical use."
    )


def _weights_in_words(models: Sequence[CurveModel], robust: bool) -> str:
    percents = sorted({m.curve.uncertainty_percent for m in models})
    shifts = sorted({m.curve.position_uncertainty_mm for m in models})
    return (
        f"Each point by one over its variance: {_span(percents)} % of the curve's maximum (of each output factor), and "
        f"{_span(shifts)} mm times the slope of the curve, in quadrature. At most "
        f"{max(int(m.used.sum()) for m in models)} points of a curve are used. "
        + ("Robust loss (soft L1)." if robust else "Squares (linear loss).")
    )


def _span(values: list[float]) -> str:
    return f"{values[0]:.2g}" if len(values) == 1 else f"{values[0]:.2g} to {values[-1]:.2g}"
