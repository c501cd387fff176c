"""Checks of the beams: isocentre, aperture, monitor units, direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import GeometryError, PlanError
from DoseEngineLib.machine import Machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Aperture, Beam, Plan, Structure
from RTPlanningLib.evaluation.plan_checks.check_result import CheckResult, failed, not_applicable, passed, warning

ISOCENTER, APERTURE, METERSET, TARGET_IN_BEAM = (
    "Isocentre in the target",
    "Jaws and leaves",
    "Monitor units",
    "Beams meet the target",
)
# Jaws this far from the leaves' opening let the leaves' transmission through for nothing (chosen by this project).
_JAW_GAP_MM = 10.0
# A leaf pair open by no more than this is closed but for what its drive asks for (chosen by this project).
_CLOSED_MM = 2.0
# Monitor units of a beam in one fraction; below, a linac's dose a MU is not sure to be linear, above, many machines ask
# for a second beam (chosen by this project).
_FEW_MU, _MANY_MU = 2.0, 1000.0
# Monitor units for each cGy of the prescribed dose a fraction: open fields have 1 to 2, modulated ones 2 to 5 (chosen
# by this project).
_MU_PER_CGY = (0.5, 6.0)
# Part of the target's outline that a beam should see (chosen by this project).
_SEEN_WELL = 0.95
_MOST_POINTS = 20_000


def check_isocenter(patient: Patient, plan: Plan, target: Structure | None) -> CheckResult:
    """Check that every isocentre lies in the target, or at least in the body."""
    if target is None or target.is_empty:
        return not_applicable(ISOCENTER, "The plan has no target with a contour.")
    k, j, i = np.nonzero(target.mask)
    centres = target.grid.index_to_ras(np.stack((i, j, k), axis=-1))
    outside, lines = False, []
    for isocenter, beams in _isocenters(plan).items():
        where = f"({', '.join(f'{v:.1f}' for v in isocenter)}) mm of {', '.join(beams)}"
        if _holds(target.mask, target.grid, isocenter):
            continue
        if not _holds(patient.body, patient.grid, isocenter):
            outside = True
            lines.append(f"The isocentre {where} lies outside the body; set it anew.")
            continue
        distance = float(np.linalg.norm(centres - np.array(isocenter), axis=1).min())
        lines.append(f"The isocentre {where} lies {distance:.0f} mm from {target.name}.")
    if outside:
        return failed(ISOCENTER, " ".join(lines))
    if lines and _point_outside(plan, target):
        lines.append(
            f"The prescribed dose is that of a point outside {target.name}, whose own dose then depends on where the "
            "point lies. Prescribe to the target (D95, mean) or to a point in it."
        )
    if lines:
        return warning(
            ISOCENTER, f"{' '.join(lines)} Confirm that this is meant, as for half-blocked fields, or centre it."
        )
    return passed(ISOCENTER, f"All isocentres lie in {target.name}.")


def check_apertures(plan: Plan, machines: Mapping[str, Machine]) -> CheckResult:
    """Check that the machine can form the apertures, and that jaws and leaves fit together."""
    bad, ask = [], []
    for beam in plan.beams:
        machine = machines[beam.machine].for_beam(beam)
        apertures = list(dict.fromkeys(point.aperture for point in beam.control_points))
        try:
            for aperture in apertures:
                machine.check_aperture(aperture, f"Beam {beam.name}")
        except PlanError as error:
            bad.append(str(error))
            continue
        if all(_is_shut(aperture, machine) for aperture in apertures):
            bad.append(f"Beam {beam.name} is shut at every control point; open it or take it out.")
            continue
        gap = _jaws_outside_leaves(apertures, machine)
        if gap is None:
            continue
        beyond, wide = gap
        if beyond > 0.0:
            bad.append(
                f"Beam {beam.name}: its Y jaws open {beyond:.0f} mm beyond the outermost leaves, where nothing shapes "
                "the field; close them."
            )
        elif wide > _JAW_GAP_MM:
            ask.append(f"{beam.name} ({wide:.0f} mm)")
    if bad:
        return failed(APERTURE, " ".join(bad))
    if ask:
        return warning(
            APERTURE,
            f"The jaws stand more than {_JAW_GAP_MM:g} mm outside the leaves' opening: {', '.join(ask)}. Close them to "
            "the opening, so that leaves alone do not have to hold the beam back.",
        )
    return passed(APERTURE, "The machines can form every aperture; the jaws lie close to the leaves' openings.")


def check_metersets(plan: Plan) -> CheckResult:
    """Check that the monitor units of every beam can be delivered and are of the usual order."""
    metersets = {beam.name: beam.meterset_MU for beam in plan.beams}
    unknown = [name for name, value in metersets.items() if value is None]
    if unknown:
        return failed(METERSET, f"No monitor units yet for {', '.join(unknown)}; calculate the dose.")
    none = [name for name, value in metersets.items() if value == 0.0]
    if none:
        return failed(METERSET, f"{', '.join(none)} deliver no monitor units; take them out or give them weight.")
    lines = []
    few = [f"{name} ({value:.2f})" for name, value in metersets.items() if value < _FEW_MU]
    if few:
        lines.append(
            f"Fewer than {_FEW_MU:g} MU a fraction, where linacs need not be linear: {', '.join(few)}. Take them out "
            "or join them with others."
        )
    many = [f"{name} ({value:.0f})" for name, value in metersets.items() if value > _MANY_MU]
    if many:
        lines.append(
            f"More than {_MANY_MU:g} MU a fraction: {', '.join(many)}. Check that the machine delivers that in one "
            "beam, or split them."
        )
    total = sum(metersets.values())
    text = f"{total:.1f} MU a fraction in {len(metersets)} beam{'s' if len(metersets) > 1 else ''}"
    if plan.prescription is not None:
        ratio = total / (100.0 * plan.prescription.dose_Gy / plan.prescription.fractions)
        text += f", {ratio:.2f} MU for each cGy prescribed"
        low, high = _MU_PER_CGY
        if not low <= ratio <= high:
            lines.append(
                f"{ratio:.2f} MU for each cGy prescribed are unusual ({low:g} to {high:g} are usual); check "
                "prescription, normalization and machine."
            )
    return warning(METERSET, " ".join(lines)) if lines else passed(METERSET, f"{text}.")


def check_beams_meet_target(plan: Plan, machines: Mapping[str, Machine], target: Structure | None) -> CheckResult:
    """Check that the target lies in the opening of every beam."""
    if target is None or target.is_empty:
        return not_applicable(TARGET_IN_BEAM, "The plan has no target with a contour.")
    outline = _surface_points_RAS_mm(target)
    missing, partly = [], []
    for beam in plan.beams:
        machine = machines[beam.machine].for_beam(beam)
        part = _seen(beam, machine, outline, plan.patient_position)
        if part == 0.0:
            missing.append(beam.name)
        elif part < _SEEN_WELL:
            partly.append(f"{beam.name} ({100.0 * part:.0f} %)")
    if missing:
        return failed(
            TARGET_IN_BEAM,
            f"No part of {target.name} lies in the opening of {', '.join(missing)}; check isocentre, angles and "
            "aperture, or take the beam out.",
        )
    if partly:
        return warning(
            TARGET_IN_BEAM,
            f"Of the outline of {target.name}, less than {100.0 * _SEEN_WELL:g} % lies in the openings of "
            f"{', '.join(partly)}. Confirm that the rest is meant to be blocked, or open the aperture.",
        )
    return passed(TARGET_IN_BEAM, f"{target.name} lies in the opening of every beam.")


def _isocenters(plan: Plan) -> dict[tuple[float, float, float], list[str]]:
    found: dict[tuple[float, float, float], list[str]] = {}
    for beam in plan.beams:
        found.setdefault(beam.isocenter_RAS_mm, []).append(beam.name)
    return found


def _point_outside(plan: Plan, target: Structure) -> bool:
    """Whether the dose is scaled at a point that is not in the target."""
    prescription = plan.prescription
    if prescription is None or prescription.normalization != "point":
        return False
    point = prescription.point_RAS_mm or plan.beams[0].isocenter_RAS_mm
    return not _holds(target.mask, target.grid, point)


def _holds(mask: np.ndarray, grid, point_RAS_mm: Sequence[float]) -> bool:
    if not bool(grid.contains(np.array(point_RAS_mm))):
        return False
    i, j, k = np.clip(
        np.round(grid.ras_to_index(np.array(point_RAS_mm))).astype(int), 0, np.array(grid.shape[::-1]) - 1
    )
    return bool(mask[k, j, i])


def _leaf_rows(aperture: Aperture, machine: Machine) -> list[tuple[float, float, float, float]]:
    """Return (low y, high y, left, right) of the leaf pairs that are open between the Y jaws."""
    rows = []
    boundaries = machine.mlc.boundaries_mm
    for low, high, (left, right) in zip(boundaries[:-1], boundaries[1:], aperture.leaf_positions_mm, strict=True):
        low, high = max(low, aperture.jaw_y_mm[0]), min(high, aperture.jaw_y_mm[1])
        if high > low and right - left > _CLOSED_MM:
            rows.append((low, high, left, right))
    return rows


def _is_shut(aperture: Aperture, machine: Machine) -> bool:
    (x1, x2), (y1, y2) = aperture.jaw_x_mm, aperture.jaw_y_mm
    if x2 <= x1 or y2 <= y1:
        return True
    if aperture.leaf_positions_mm is None:
        return False
    return not any(min(right, x2) > max(left, x1) for _, _, left, right in _leaf_rows(aperture, machine))


def _jaws_outside_leaves(apertures: Sequence[Aperture], machine: Machine) -> tuple[float, float] | None:
    """Return how far the Y jaws open beyond the leaves, and the jaws beyond the joint opening; None without leaves."""
    if machine.mlc is None or any(aperture.leaf_positions_mm is None for aperture in apertures):
        return None
    boundaries = machine.mlc.boundaries_mm
    beyond = max(
        max(boundaries[0] - aperture.jaw_y_mm[0], aperture.jaw_y_mm[1] - boundaries[-1]) for aperture in apertures
    )
    rows = [row for aperture in apertures for row in _leaf_rows(aperture, machine)]
    jaws = np.array([(*aperture.jaw_x_mm, *aperture.jaw_y_mm) for aperture in apertures])
    gaps = (
        min(row[2] for row in rows) - jaws[:, 0].min(),
        jaws[:, 1].max() - max(row[3] for row in rows),
        min(row[0] for row in rows) - jaws[:, 2].min(),
        jaws[:, 3].max() - max(row[1] for row in rows),
    )
    return beyond, max(gaps)


def _surface_points_RAS_mm(target: Structure) -> np.ndarray:
    """Return the centres of the surface voxels, evenly thinned where they are very many."""
    surface = target.mask & ~ndimage.binary_erosion(target.mask)
    k, j, i = np.nonzero(surface)
    points = target.grid.index_to_ras(np.stack((i, j, k), axis=-1))
    return points[:: -(-len(points) // _MOST_POINTS)]


def _seen(beam: Beam, machine: Machine, points_RAS_mm: np.ndarray, patient_position: str) -> float:
    """Return the part of the target's surface points that lie in the opening at any control point."""
    seen = None
    done = set()
    for number, point in enumerate(beam.control_points):
        if (point.aperture, point.gantry_deg, point.collimator_deg, point.couch_deg) in done:
            continue
        done.add((point.aperture, point.gantry_deg, point.collimator_deg, point.couch_deg))
        try:
            points = beam.frame(patient_position, number).project(points_RAS_mm, machine.sad_mm)
        except GeometryError:
            # the target reaches behind the source: it cannot lie in the beam
            return 0.0
        inside = _inside(points, point.aperture, machine)
        seen = inside if seen is None else seen | inside
    return float(np.mean(seen))


def _inside(points: np.ndarray, aperture: Aperture, machine: Machine) -> np.ndarray:
    x, y = points.T
    inside = (x >= aperture.jaw_x_mm[0]) & (x <= aperture.jaw_x_mm[1])
    inside &= (y >= aperture.jaw_y_mm[0]) & (y <= aperture.jaw_y_mm[1])
    if aperture.leaf_positions_mm is not None and machine.mlc is not None:
        leaves = np.array(aperture.leaf_positions_mm)
        pair = np.searchsorted(machine.mlc.boundaries_mm, y, side="right") - 1
        has_leaf = (pair >= 0) & (pair < len(leaves))
        left, right = leaves[np.clip(pair, 0, len(leaves) - 1)].T
        inside &= ~has_leaf | ((x >= left) & (x <= right) & (right - left > _CLOSED_MM))
    return inside
