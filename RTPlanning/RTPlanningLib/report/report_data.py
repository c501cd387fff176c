"""What a report says, as values: drawn together from the case, the dose, its evaluation and the pictures."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from DoseEngineLib.engine import DoseEngine, DoseResult
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import lps_from_ras
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.plan import Beam, Plan, Prescription
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.dvh import Dvh, calculate_dvh
from RTPlanningLib.evaluation.goals import GoalResult
from RTPlanningLib.evaluation.metrics import parse_metric
from RTPlanningLib.evaluation.plan_checks import CheckResult, summary_of_checks

if TYPE_CHECKING:
    from RTPlanningLib.report.optimization_section import OptimizationSection

_PACKAGES = ("rtplanning", "numpy", "scipy", "numba", "pydicom", "matplotlib")
_PNG = b"\x89PNG\r\n\x1a\n"
_TARGET_ROLES = ("GTV", "CTV", "PTV")
_UNIT_SUFFIXES = {"_mm": "mm", "_Gy": "Gy", "_GB": "GB", "_g_cm3": "g/cm³", "_deg": "°", "_MU": "MU", "_HU": "HU"}
_KEY_WORDS = {
    "dose_to": "Dose to",
    "plan_hash": "Plan hash (SHA-256)",
    "rtplanning_version": "RTPlanning version",
    "grid_shape_kji": "Dose grid, voxels (k, j, i)",
    "grid_spacing_mm": "Dose grid, spacing (mm)",
    "engine": "Engine label",
}


@dataclass(frozen=True)
class Picture:
    """A picture of the report: PNG or SVG bytes, with a caption that also serves who cannot see it."""

    data: bytes
    caption: str

    def __post_init__(self) -> None:
        if not (self.data.startswith(_PNG) or b"<svg" in self.data[:1000]):
            raise EvaluationError(f"The picture {self.caption!r} is neither PNG nor SVG; render it as one of them.")

    @property
    def media_type(self) -> str:
        """``image/png`` or ``image/svg+xml``."""
        return "image/png" if self.data.startswith(_PNG) else "image/svg+xml"


@dataclass(frozen=True)
class BeamRow:
    """A line of the beam table, as text."""

    name: str
    machine: str
    gantry: str
    collimator: str
    couch: str
    jaw_x: str
    jaw_y: str
    mlc: str
    weight: str
    meterset: str
    target_mean: str


@dataclass(frozen=True)
class IsocenterRow:
    """An isocentre and the beams that share it."""

    beams: str
    ras: str
    lps: str


@dataclass(frozen=True)
class StructureRow:
    """A line of the metrics table, as text; ``color`` is a CSS colour."""

    name: str
    role: str
    color: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ReportData:
    """Everything `write_report` needs; make one with `from_result`.

    Attributes
    ----------
    title, case_name, description : str
    headline : tuple of (label, text)
        The four figures at the top.
    facts : tuple of (label, text)
        Patient, plan, prescription and normalization.
    beams, isocenters : tuples of rows
    target_name : str
        Structure of the beams' mean doses; empty when the plan names none.
    metric_names : tuple of str
        Columns of the metrics table.
    structures : tuple of StructureRow
    goals : tuple of GoalResult
    dvh_figure : Picture or None
    slices : tuple of Picture
    beam_views : tuple of Picture
        Beam's-eye views, in the order of the beams; those of the first beams where there are many.
    view_3d : Picture or None
    notes : tuple of str
    models, does_not_model : tuple of str
        What the dose engine states about itself.
    provenance : tuple of (label, text)
    software : tuple of (label, text)
    created : str
        A date in words, or empty: the report holds no time of its own.
    optimization : OptimizationSection or None
    checks : tuple of CheckResult
        What was checked before sign-off.
    """

    title: str
    case_name: str
    description: str
    headline: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    beams: tuple[BeamRow, ...]
    isocenters: tuple[IsocenterRow, ...]
    target_name: str
    metric_names: tuple[str, ...]
    structures: tuple[StructureRow, ...]
    goals: tuple[GoalResult, ...] = ()
    dvh_figure: Picture | None = None
    slices: tuple[Picture, ...] = ()
    view_3d: Picture | None = None
    notes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    does_not_model: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    software: tuple[tuple[str, str], ...] = ()
    created: str = ""
    optimization: OptimizationSection | None = None
    checks: tuple[CheckResult, ...] = ()
    beam_views: tuple[Picture, ...] = ()

    @property
    def beam_views_note(self) -> str:
        """How to read the beam's-eye views, and whether some are left out."""
        shown, beams = len(self.beam_views), len(self.beams)
        text = (
            "Beam's-eye views: radiographs of the CT from the source at the isocentre plane, collimator X to the right "
            "and Y up; jaws yellow, leaves light blue, outlines in the structures' colours."
        )
        if any(", control point" in picture.caption for picture in self.beam_views):
            text += " Of beams that move, the first control point is shown."
        return text if shown >= beams else f"{text} The first {shown} of {beams} beams are shown."

    @property
    def checks_summary(self) -> str:
        """Counts of the checks' verdicts, in words."""
        return summary_of_checks(self.checks)

    @classmethod
    def from_result(
        cls,
        case: Case,
        result: DoseResult,
        dvhs: Mapping[str, Dvh],
        goal_results: Iterable[GoalResult] = (),
        *,
        dvh_figure: bytes | None = None,
        slices: Sequence[tuple[str, bytes]] = (),
        view_3d: bytes | None = None,
        engine: DoseEngine | type[DoseEngine] | None = None,
        machines: Mapping[str, Machine] | None = None,
        notes: Sequence[str] = (),
        software: Mapping[str, str] | None = None,
        created: str = "",
        title: str = "",
        optimization: OptimizationSection | None = None,
        checks: Sequence[CheckResult] = (),
        beam_views: Sequence[tuple[str, bytes]] = (),
    ) -> ReportData:
        """Draw a report's content together.

        Parameters
        ----------
        case : Case
        result : DoseResult
            Its plan is the delivered one, with MU.
        dvhs : mapping of structure name to Dvh
            The metrics table lists them in this order.
        goal_results : iterable of GoalResult
        dvh_figure, view_3d : bytes, optional
            PNG or SVG.
        slices, beam_views : sequence of (caption, bytes)
            PNG or SVG.
        engine : DoseEngine, optional
            States what the engine models and what not.
        machines : mapping of a beam's machine to Machine, optional
            Loaded by name when not given.
        notes : sequence of str
            Warnings and remarks, after the case's own.
        software : mapping of name to version, optional
            By default `software_versions`.
        created : str
            Date in words; none by default, so that two runs give the same report.

        Raises
        ------
        EvaluationError
            A picture that is neither PNG nor SVG, or a target without dose.
        MachineError
            A machine that cannot be loaded.
        """
        plan = result.plan
        machines = machines or {beam.machine: load_machine(beam.machine) for beam in plan.beams}
        prescription_Gy = plan.prescription.dose_Gy if plan.prescription else None
        target = plan.prescription.target if plan.prescription else None
        metric_names = ("Mean", "Min", "Max", "D98%", "D95%", "D50%", "D2%")
        if prescription_Gy is not None:
            metric_names += ("V95%[%]",)
        provenance = dict(result.provenance)
        stated = tuple(provenance.pop("does_not_model", ()))
        if engine is not None:
            # said in one line together with the title
            provenance.pop("engine_version", None)
        goals = tuple(goal_results)
        provenance.setdefault("dose_to", result.dose_to)
        return cls(
            title=title or f"Treatment plan {plan.name}",
            case_name=case.name,
            description=case.description,
            headline=tuple(_headline(plan, result, dvhs, goals)),
            facts=tuple(_facts(case, plan, result)),
            beams=tuple(_beam_row(beam, machines[beam.machine], case, result, target) for beam in plan.beams),
            isocenters=_isocenters(plan),
            target_name=target or "",
            metric_names=metric_names,
            structures=tuple(_structure_row(case, dvh, metric_names, prescription_Gy) for dvh in dvhs.values()),
            goals=goals,
            dvh_figure=None
            if dvh_figure is None
            else Picture(
                dvh_figure,
                "Cumulative dose-volume histograms"
                + (
                    "; dashed those of the ideal fluence by its dose influence, not scaled to the prescription"
                    if optimization
                    else ""
                ),
            ),
            slices=tuple(Picture(data, caption) for caption, data in slices),
            view_3d=None if view_3d is None else Picture(view_3d, "Structures, beams and isodose surfaces"),
            notes=tuple(case.notes) + tuple(notes) + tuple(_coverage_notes(dvhs)),
            models=tuple(engine.models) if engine else (),
            does_not_model=tuple(engine.does_not_model) if engine else stated,
            provenance=tuple(_engine_rows(engine)) + tuple(_rows(provenance)) + tuple(_machine_rows(machines)),
            software=tuple((software if software is not None else software_versions()).items()),
            created=created,
            optimization=optimization,
            checks=tuple(checks),
            beam_views=tuple(Picture(data, caption) for caption, data in beam_views),
        )


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    versions = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            # inside Slicer the extension is no installed distribution
            versions[name] = "not installed as a package"
    return versions


def _headline(
    plan: Plan, result: DoseResult, dvhs: Mapping[str, Dvh], goals: Sequence[GoalResult]
) -> Iterable[tuple[str, str]]:
    prescription = plan.prescription
    yield "Prescription", _course(prescription) if prescription else "none"
    target = dvhs.get(prescription.target) if prescription and prescription.target else None
    if target is not None:
        yield f"{target.structure_name} D95%", f"{target.dose_at_volume_percent(95.0):.2f} Gy"
    else:
        yield "Dose maximum", f"{float(result.dose_Gy.max()):.2f} Gy"
    count = len(plan.beams)
    total_MU = sum(beam.meterset_MU or 0.0 for beam in plan.beams)
    yield "Delivery, a fraction", f"{count} beam{'s' if count > 1 else ''}, {total_MU:.1f} MU"
    if not goals:
        yield "Goals", "none given"
        return
    unknown = sum(goal.passed is None for goal in goals)
    varied = sum(goal.acceptable for goal in goals)
    met = f"{sum(goal.passed is True for goal in goals)} of {len(goals)} met"
    if varied:
        met += f", {varied} acceptable"
    yield "Goals", f"{met}, {unknown} not evaluated" if unknown else met


def _facts(case: Case, plan: Plan, result: DoseResult) -> Iterable[tuple[str, str]]:
    yield "Case", case.name
    if case.patient_name or case.patient_id:
        yield "Patient", " · ".join(part for part in (case.patient_name, case.patient_id) if part)
    yield "Patient position", plan.patient_position
    yield "Image", f"{' × '.join(str(n) for n in case.grid.shape[::-1])} voxels of {_lengths(case.grid.spacing_mm)} mm"
    yield "Plan", plan.name
    prescription = plan.prescription
    if prescription is None:
        yield "Prescription", "none; one fraction, MU as given"
    else:
        yield "Prescription", _prescription(prescription)
        yield "Normalization", result.provenance.get("normalization") or _normalization(prescription)
    yield (
        "Dose grid",
        f"{' × '.join(str(n) for n in result.grid.shape[::-1])} voxels of {_lengths(result.grid.spacing_mm)} mm",
    )
    yield "Dose maximum", f"{float(result.dose_Gy.max()):.2f} Gy (dose to {result.dose_to}, whole course)"


def _course(prescription: Prescription) -> str:
    fractions = prescription.fractions
    return f"{prescription.dose_Gy:g} Gy in {fractions} fraction{'s' if fractions > 1 else ''}"


def _prescription(prescription: Prescription) -> str:
    fractions = prescription.fractions
    text = _course(prescription)
    if fractions > 1:
        text += f" of {prescription.dose_Gy / fractions:.4g} Gy"
    return text + (f" to {prescription.target}" if prescription.target else "")


def _normalization(prescription: Prescription) -> str:
    if prescription.normalization == "none":
        return "none; MU as given"
    if prescription.normalization == "point":
        point = prescription.point_RAS_mm
        where = "the isocentre of the first beam" if point is None else f"the point {_ras(point)}"
        return f"dose at {where} equals the prescription"
    return f"{prescription.normalization} of {prescription.target} equals the prescription"


def _beam_row(beam: Beam, machine: Machine, case: Case, result: DoseResult, target: str | None) -> BeamRow:
    points = beam.control_points
    mean = "–"
    if target is not None and beam.name in result.beam_doses_Gy:
        dvh = calculate_dvh(result.beam_doses_Gy[beam.name], result.grid, case.structure(target), allow_partial=True)
        mean = f"{dvh.mean_Gy:.2f}"
    leaves = [point.aperture.leaf_positions_mm for point in points]
    mlc = "no" if all(positions is None for positions in leaves) else "yes"
    if mlc == "yes" and len(set(leaves)) > 1:
        mlc = "yes, moving"
    return BeamRow(
        name=beam.name,
        machine=f"{machine.name}, {machine.energy_label}",
        gantry=_angle([point.gantry_deg for point in points]),
        collimator=_angle([point.collimator_deg for point in points]),
        couch=_angle([point.couch_deg for point in points]),
        jaw_x=_jaws([point.aperture.jaw_x_mm for point in points]),
        jaw_y=_jaws([point.aperture.jaw_y_mm for point in points]),
        mlc=mlc,
        weight=f"{beam.weight:.4g}",
        meterset="–" if beam.meterset_MU is None else f"{beam.meterset_MU:.1f}",
        target_mean=mean,
    )


def _angle(degrees: Sequence[float]) -> str:
    if all(value == degrees[0] for value in degrees):
        return f"{degrees[0]:g}"
    return f"{degrees[0]:g} → {degrees[-1]:g}"


def _jaws(positions: Sequence[tuple[float, float]]) -> str:
    low, high = min(pair[0] for pair in positions), max(pair[1] for pair in positions)
    text = f"{_signed(low)} / {_signed(high)}"
    return text if len(set(positions)) == 1 else f"{text}, moving"


def _isocenters(plan: Plan) -> tuple[IsocenterRow, ...]:
    by_point: dict[tuple[float, float, float], list[str]] = {}
    for beam in plan.beams:
        by_point.setdefault(beam.isocenter_RAS_mm, []).append(beam.name)
    return tuple(
        IsocenterRow("all beams" if len(by_point) == 1 else ", ".join(names), _ras(point), _lps(point))
        for point, names in by_point.items()
    )


def _structure_row(case: Case, dvh: Dvh, metric_names: Sequence[str], prescription_Gy: float | None) -> StructureRow:
    structure = case.structure(dvh.structure_name)
    values = [f"{dvh.volume_cm3:.1f}" if dvh.volume_cm3 >= 100.0 else f"{dvh.volume_cm3:.2f}"]
    for name in metric_names:
        metric = parse_metric(name)
        if metric.needs_prescription and structure.role not in _TARGET_ROLES:
            values.append("")
            continue
        value, unit = metric.evaluate(dvh, prescription_Gy)
        values.append(f"{value:.1f}" if unit == "%" else f"{value:.2f}")
    red, green, blue = (round(255 * channel) for channel in structure.color)
    return StructureRow(structure.name, structure.role, f"rgb({red}, {green}, {blue})", tuple(values))


def _coverage_notes(dvhs: Mapping[str, Dvh]) -> Iterable[str]:
    for name, dvh in dvhs.items():
        if dvh.covered_fraction < 1.0:
            yield (
                f"Only {dvh.covered_percent_text} % of {name} lie inside the dose grid; its doses are those of "
                "that part, and its goals were not judged."
            )


def _engine_rows(engine: DoseEngine | type[DoseEngine] | None) -> Iterable[tuple[str, str]]:
    if engine is not None:
        yield "Engine", f"{engine.title} {engine.version}"


def _machine_rows(machines: Mapping[str, Machine]) -> Iterable[tuple[str, str]]:
    for name, machine in machines.items():
        for part, source in machine.provenance.items():
            yield f"Machine {name}: {part.replace('_', ' ')}", source


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Flatten JSON-like provenance into lines of text; empty values are left out."""
    for key, value in values.items():
        label = _KEY_WORDS.get(key) or _words(key)
        if prefix:
            label = prefix + (label[0].lower() + label[1:] if label[1:].islower() else label)
        if isinstance(value, Mapping):
            yield from _rows(value, f"{label}: ")
        elif value not in (None, "", [], ()):
            yield label, _text(value)


def _words(key: str) -> str:
    for suffix, unit in _UNIT_SUFFIXES.items():
        if key.endswith(suffix):
            return f"{key.removesuffix(suffix).replace('_', ' ').capitalize()} ({unit})"
    # names of machines and structures stand as they are
    return key.replace("_", " ").capitalize() if key.islower() and not any(c.isdigit() for c in key) else key


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _lengths(values: Iterable[float]) -> str:
    return " × ".join(f"{float(value):.4g}" for value in values)


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _ras(point: Sequence[float]) -> str:
    return "R {}, A {}, S {} mm".format(*(_signed(value) for value in np.asarray(point, float) + 0.0))


def _lps(point: Sequence[float]) -> str:
    # + 0.0 turns the minus zero of a negated zero into zero
    return "x {}, y {}, z {} mm".format(*(_signed(value) for value in lps_from_ras(point) + 0.0))
