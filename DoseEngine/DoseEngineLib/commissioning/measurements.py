"""All measurements of a commissioning: read from a file or a folder, and checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DoseEngineLib.commissioning.curve_gamma import curve_gamma
from DoseEngineLib.commissioning.curve_normalization import Normalization
from DoseEngineLib.commissioning.measured_curve import MeasuredCurve, MeasurementError
from DoseEngineLib.commissioning.measurement_csv import parse_csv
from DoseEngineLib.commissioning.profile_shape import asymmetry_percent, profile_shape
from DoseEngineLib.commissioning.w2cad import is_w2cad, parse_w2cad
from DoseEngineLib.errors import PlanError
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.fluence import collimation_distance_mm
from DoseEngineLib.plan import Aperture

_SUFFIXES = (".csv", ".asc", ".txt")
_LARGEST_FILE_BYTES = 50_000_000

# A profile's centre is mentioned from, and refused from, this distance off the axis.
_SHIFT_NOTE_MM = 0.5
_SHIFT_ERROR_MM = 5.0
_ASYMMETRY_NOTE_PERCENT = 3.0
_ASYMMETRY_ERROR_PERCENT = 10.0
# Width of a profile against the field of its header: jaws are calibrated to about a millimetre.
_WIDTH_MM, _WIDTH_SHARE = 4.0, 0.03
# Two scans of the same curve: gamma 2 %/2 mm for 95 % of the points.
_REPEAT_PERCENT, _REPEAT_MM, _REPEAT_SHARE = 2.0, 2.0, 0.95
# Contradictions between curves beyond this are no measurement noise.
_CONTRADICTION_PERCENT = 2.0


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measured curves and what a reader of the result should know of them."""

    curves: tuple[MeasuredCurve, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_measurements(path: str | Path) -> Measurements:
    """Read every ``.csv``, ``.asc`` and ``.txt`` file of a folder (and its folders), or one file, and check them.

    A W2CAD file is known by its first line; everything else is CSV (`measurement_csv`).

    Raises
    ------
    MeasurementError
        A file that cannot be read, or curves that contradict themselves or each other; the text names file and line.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file())
        if not files:
            raise MeasurementError(f"{path} holds no .csv, .asc or .txt file with measurements.")
        names = [f.relative_to(path).as_posix() for f in files]
    elif path.is_file():
        files, names = [path], [path.name]
    else:
        raise MeasurementError(f"There are no measurements at {path}; give a file, or a folder of files.")
    curves: list[MeasuredCurve] = []
    notes: list[str] = []
    for file, name in zip(files, names):
        text = _text(file)
        if is_w2cad(text):
            found, left_out = parse_w2cad(text, name)
            curves += found
            notes += left_out
        else:
            curves += parse_csv(text, name)
    return check_measurements(curves, names, notes)


def check_measurements(
    curves: Sequence[MeasuredCurve], files: Sequence[str] = (), notes: Sequence[str] = ()
) -> Measurements:
    """Check curves against each other; repeated equal ones are left out with a note.

    Raises
    ------
    MeasurementError
        No curve at all, or curves that contradict each other.
    """
    if not curves:
        raise MeasurementError("There is no curve of an open photon field among the measurements.")
    notes = list(notes)
    kept = _without_repeats(curves, notes)
    for curve in kept:
        Normalization(curve)
        if curve.kind == "output_factor":
            _check_output_factors(curve)
    _check_depth_doses(kept)
    _check_output_against_depth_dose(kept)
    return Measurements(tuple(kept), tuple(files) or tuple(dict.fromkeys(c.file for c in kept)), tuple(notes))


def fit_for_machine(measurements: Measurements, machine: Machine, centre_profiles: bool = False) -> Measurements:
    """Check curves against a machine: field sizes, widths, centres and symmetry of profiles.

    Parameters
    ----------
    centre_profiles : bool
        Move profiles so that their field edges are symmetric; otherwise a shift is reported, and counts as uncertainty
        of the profile's positions.

    Raises
    ------
    MeasurementError
        Fields the machine cannot form, and profiles that do not show the field of their header.
    """
    notes = list(measurements.notes)
    curves = []
    for curve in measurements.curves:
        head = collimation_distance_mm(Aperture(), machine)
        if curve.ssd_mm <= head:
            raise curve.error(f"ssd_mm is {curve.ssd_mm:g}, inside the head of {machine.name} ({head:g} mm); check it.")
        for index, (x, y) in enumerate(curve.fields_mm if curve.fields_mm is not None else [curve.field_mm]):
            try:
                machine.check_aperture(Aperture((-x / 2, x / 2), (-y / 2, y / 2)), f"Field {x:g} x {y:g} mm")
            except PlanError as error:
                raise curve.error(str(error), index if curve.fields_mm is not None else None) from error
        curves.append(_fitted_profile(curve, machine, centre_profiles, notes) if curve.kind == "profile" else curve)
    return replace(measurements, curves=tuple(curves), notes=tuple(notes))


def projected_width_mm(curve: MeasuredCurve, machine: Machine) -> float:
    """Width of a profile's field at its depth, from the jaw setting."""
    x, y = curve.field_mm
    side = {"crossline": x, "inline": y, "diagonal": float(np.hypot(x, y))}[curve.axis]
    return side * (curve.ssd_mm + curve.depth_mm) / machine.sad_mm


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST_FILE_BYTES:
            raise MeasurementError(f"{file} is larger than 50 MB; it is no file of measured curves.")
        data = file.read_bytes()
    except OSError as error:
        raise MeasurementError(f"{file} cannot be read: {error.strerror}.") from error
    if b"\0" in data:
        raise MeasurementError(f"{file} is no text file; export the curves as CSV or W2CAD.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # names of detectors and comments of older scanning software
        return data.decode("latin-1")


def _without_repeats(curves: Sequence[MeasuredCurve], notes: list[str]) -> list[MeasuredCurve]:
    kept: dict[tuple, MeasuredCurve] = {}
    for curve in curves:
        first = kept.setdefault(curve.conditions, curve)
        if first is curve:
            continue
        if not _agree(first, curve):
            raise curve.error(
                f"{curve.title} is also at {first.where}, with different doses (more than {_REPEAT_PERCENT:g} % and "
                f"{_REPEAT_MM:g} mm); keep the right one."
            )
        notes.append(f"{curve.where}: left out, the same curve as at {first.where}.")
    return list(kept.values())


def _agree(first: MeasuredCurve, second: MeasuredCurve) -> bool:
    one, other = Normalization(first).percent(first.dose), Normalization(second).percent(second.dose)
    if first.kind == "output_factor":
        at = [
            int(np.argmin(np.abs(first.fields_mm - field).sum(axis=1)))
            for field in second.fields_mm
            if np.abs(first.fields_mm - field).max(axis=1).min() < 0.05
        ]
        shared = [
            n for n, field in enumerate(second.fields_mm) if np.abs(first.fields_mm - field).max(axis=1).min() < 0.05
        ]
        return bool(np.all(np.abs(one[at] - other[shared]) <= _REPEAT_PERCENT))
    within = (second.position_mm >= first.position_mm[0]) & (second.position_mm <= first.position_mm[-1])
    if within.sum() < 3:
        return False
    gamma = curve_gamma(
        second.position_mm[within],
        other[within],
        first.position_mm,
        one,
        dose_criterion=_REPEAT_PERCENT,
        distance_mm=_REPEAT_MM,
    )
    return bool((gamma <= 1.0).mean() >= _REPEAT_SHARE)


def _check_output_factors(curve: MeasuredCurve) -> None:
    if max(curve.field_mm) <= 20.0 and curve.fields_mm.max() <= 45.0:
        raise curve.error(
            f"the largest field is {curve.fields_mm.max():g} mm; this looks like cm: name the columns and the field of "
            "the header _cm, or give mm."
        )
    factor = curve.dose / Normalization(curve).value(curve.dose)
    for low in range(len(factor) - 1):
        if curve.position_mm[low + 1] - curve.position_mm[low] < 1e-6:
            if np.abs(curve.fields_mm[low + 1] - curve.fields_mm[low]).max() < 0.05:
                raise curve.error("the field is there twice; keep one output factor of it.", low + 1)
            continue
        fell = 100 * (factor[low] - factor[low + 1])
        square = [abs(x - y) < 0.05 for x, y in curve.fields_mm[low : low + 2]]
        if fell > _CONTRADICTION_PERCENT and all(square):
            raise curve.error(
                f"the output factor falls from {factor[low]:.3f} ({curve.position_mm[low]:g} mm) to "
                f"{factor[low + 1]:.3f} ({curve.position_mm[low + 1]:g} mm); check the order.",
                low + 1,
            )


def _check_depth_doses(curves: Sequence[MeasuredCurve]) -> None:
    """A larger field has more scatter at depth: its depth dose cannot lie below that of a smaller one."""
    found = [c for c in curves if c.kind == "pdd"]
    for small in found:
        for large in found:
            if small.ssd_mm != large.ssd_mm or max(small.field_mm) >= min(large.field_mm):
                continue
            depth = 200.0
            if min(small.position_mm[-1], large.position_mm[-1]) < depth:
                continue
            of_small, of_large = (
                100 * np.interp(depth, c.position_mm, c.dose) / Normalization(c).value(c.dose) for c in (small, large)
            )
            # both are 100 % at 10 cm depth
            if of_large < of_small - _CONTRADICTION_PERCENT:
                raise large.error(
                    f"{large.title} is at 20 cm depth {of_large:.1f} % of 10 cm depth, below the smaller field at "
                    f"{small.where} ({of_small:.1f} %); check the field sizes of both."
                )


def _check_output_against_depth_dose(curves: Sequence[MeasuredCurve]) -> None:
    """Output factors at two depths must differ as the depth doses of the same fields do."""
    tables = [c for c in curves if c.kind == "output_factor"]
    depth_doses = {(c.ssd_mm, c.field_mm): c for c in curves if c.kind == "pdd"}
    for number, one in enumerate(tables):
        for other in tables[number + 1 :]:
            reference = depth_doses.get((one.ssd_mm, one.field_mm))
            if one.ssd_mm != other.ssd_mm or one.field_mm != other.field_mm or reference is None:
                continue
            for index, field in enumerate(map(tuple, other.fields_mm)):
                match = np.flatnonzero(np.abs(one.fields_mm - field).max(axis=1) < 0.05)
                curve = depth_doses.get((one.ssd_mm, field))
                if not len(match) or curve is None:
                    continue
                measured = _factor(other, index) / _factor(one, int(match[0]))
                expected = _ratio(curve, other.depth_mm, one.depth_mm) / _ratio(reference, other.depth_mm, one.depth_mm)
                if abs(measured / expected - 1) * 100 > _CONTRADICTION_PERCENT:
                    raise other.error(
                        f"output factors and depth doses contradict each other: for {field[0]:g} x {field[1]:g} mm the "
                        f"factors change by {measured:.3f} from {one.depth_mm:g} to {other.depth_mm:g} mm depth, the "
                        f"depth doses ({curve.where}; {reference.where}) by {expected:.3f}; check depth and fields.",
                        index,
                    )


def _factor(table: MeasuredCurve, index: int) -> float:
    return float(table.dose[index] / Normalization(table).value(table.dose))


def _ratio(curve: MeasuredCurve, depth_mm: float, over_mm: float) -> float:
    above, below = np.interp([depth_mm, over_mm], curve.position_mm, curve.dose)
    return float(above / below)


def _fitted_profile(curve: MeasuredCurve, machine: Machine, centre: bool, notes: list[str]) -> MeasuredCurve:
    shape = profile_shape(curve.position_mm, curve.dose)
    expected = projected_width_mm(curve, machine)
    if shape is None:
        # of a half profile the axis is the end
        reach = float(min(-curve.position_mm[0], curve.position_mm[-1]))
        if reach > 0.5 * expected + 15.0:
            raise curve.error(
                f"the scan reaches {reach:g} mm, but does not show both edges of a field of {expected:g} mm; "
                "check field size, axis and unit (mm or cm)."
            )
        notes.append(f"{curve.where}: {curve.title} does not cover both field edges; centre and width not checked.")
        return curve
    # the diagonal's edge is a corner, rounded by penumbra and primary collimator
    allowed = max(_WIDTH_MM, _WIDTH_SHARE * expected) * (4.0 if curve.axis == "diagonal" else 1.0)
    if curve.axis == "diagonal":
        expected = min(expected, 2 * machine.field_radius_mm * (curve.ssd_mm + curve.depth_mm) / machine.sad_mm)
    if abs(shape.width_mm - expected) > allowed:
        ratio = shape.width_mm / expected
        hint = " A factor of ten: check the unit (mm or cm)." if ratio > 7 or ratio < 1 / 7 else ""
        raise curve.error(
            f"the profile is {shape.width_mm:.1f} mm wide, a field of the header has {expected:.1f} mm at this depth; "
            f"check field size (jaw setting at the isocentre plane), axis, SSD and depth.{hint}"
        )
    if abs(shape.centre_mm) > _SHIFT_ERROR_MM:
        raise curve.error(
            f"the field's centre is at {shape.centre_mm:.1f} mm; only symmetric fields can be used: check the zero of "
            "the positions."
        )
    asymmetry = asymmetry_percent(curve.position_mm, curve.dose, shape)
    if asymmetry > _ASYMMETRY_ERROR_PERCENT:
        raise curve.error(
            f"left and right differ by {asymmetry:.1f} %; this is no open symmetric field (wedge, or tilted phantom)."
        )
    if asymmetry > _ASYMMETRY_NOTE_PERCENT:
        notes.append(f"{curve.where}: {curve.title} is asymmetric by {asymmetry:.1f} % within the field.")
    if centre:
        if abs(shape.centre_mm) >= 0.05:
            notes.append(f"{curve.where}: {curve.title} moved by {-shape.centre_mm:+.2f} mm to its centre.")
        return curve.shifted(-shape.centre_mm)
    if abs(shape.centre_mm) <= _SHIFT_NOTE_MM:
        return curve
    # a symmetric field cannot follow it: without this its edges would outweigh everything else
    widened = min(float(np.hypot(curve.position_uncertainty_mm, shape.centre_mm)), _SHIFT_ERROR_MM)
    notes.append(
        f"{curve.where}: {curve.title} is centred at {shape.centre_mm:+.2f} mm; used as it is, its positions uncertain "
        f"by {widened:.2g} mm (profiles can be centred on request)."
    )
    return replace(curve, position_uncertainty_mm=widened)
