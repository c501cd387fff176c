"""Beams arranged about a target: a field from each of several angles, or an arc."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from DoseEngineLib.errors import PlanError
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Structure
from DoseEngineLib.progress import Progress
from RTPlanningLib.beam_editing import checked_angle, side_name
from RTPlanningLib.beam_fit import BeamFit, fit_beam

MOST_FIELDS = 36
# Dose engines take no more than ten degrees from one control point to the next.
ARC_SPACING_DEG = (1.0, 10.0)
DEFAULT_ARC_SPACING_DEG = 4.0
_OPEN = Aperture()


def equally_spaced_deg(count: int, start_deg: float = 0.0) -> tuple[float, ...]:
    """Return gantry angles that divide the circle evenly, rising from ``start_deg`` on, in 0..360."""
    if int(count) != count or not 1 <= count <= MOST_FIELDS:
        raise PlanError(f"Equally spaced fields: give a whole number of 1 to {MOST_FIELDS} fields; got {count}.")
    start = checked_angle("1", "first gantry", start_deg)
    return tuple(round((start + 360.0 * n / count) % 360.0, 6) for n in range(int(count)))


def arc_angles_deg(
    start_deg: float, stop_deg: float, *, clockwise: bool = True, spacing_deg: float = DEFAULT_ARC_SPACING_DEG
) -> np.ndarray:
    """Return the gantry angles of an arc's control points, evenly spaced, in 0..360.

    Parameters
    ----------
    start_deg, stop_deg : float
        IEC 61217 gantry angles; the same angle twice stands for a full turn.
    clockwise : bool
        As seen facing the gantry: with rising angles.
    spacing_deg : float
        Greatest step from a control point to the next, 1..10 degrees.

    Raises
    ------
    PlanError
        Angles outside -360..360, or a spacing outside 1..10 degrees.
    """
    low, high = ARC_SPACING_DEG
    if not low <= spacing_deg <= high:
        raise PlanError(f"An arc needs a control point every {low:g} to {high:g} degrees; got {spacing_deg:g}.")
    start, stop = checked_angle("arc", "start", start_deg), checked_angle("arc", "stop", stop_deg)
    turn = (stop - start) % 360.0 if clockwise else -((start - stop) % 360.0)
    if turn == 0.0:
        turn = 360.0 if clockwise else -360.0
    steps = math.ceil(abs(turn) / spacing_deg - 1e-9)
    return np.round((start + np.linspace(0.0, turn, steps + 1)) % 360.0, 6) % 360.0


def conformal_fields(
    target: Structure,
    gantry_deg: Sequence[float],
    fit: BeamFit,
    *,
    machine: str,
    patient_position: str = "HFS",
    isocenter_RAS_mm: Sequence[float] | None = None,
    meterset_MU: float | None = None,
    progress: Progress | None = None,
) -> tuple[Beam, ...]:
    """Return a field fitted to the target from each gantry angle, of equal weight, named by its side.

    Parameters
    ----------
    target : Structure
    gantry_deg : sequence of float
        IEC 61217, each another direction.
    fit : BeamFit
    machine : str
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
    isocenter_RAS_mm : (3,) sequence of float, optional
        By default the target's centroid.
    meterset_MU : float, optional
        MU a fraction of each; by default weights.
    progress : callable, optional
    """
    angles = [checked_angle(str(n), "gantry", angle) for n, angle in enumerate(gantry_deg, start=1)]
    if len(set(angles)) != len(angles) or not angles:
        raise PlanError(f"Fields need different gantry angles; got {', '.join(f'{a:g}' for a in angles) or 'none'}.")
    isocenter = target_isocenter_RAS_mm(target) if isocenter_RAS_mm is None else isocenter_RAS_mm
    beams = []
    for number, angle in enumerate(angles):
        if progress is not None:
            progress(number / len(angles), f"Fitting fields to {target.name}")
        beam = Beam.static_field(
            side_name(angle, patient_position),
            _OPEN,
            gantry_deg=angle,
            isocenter_RAS_mm=isocenter,
            machine=machine,
            meterset_MU=meterset_MU,
        )
        beams.append(fit_beam(beam, fit, target, patient_position))
    return tuple(beams)


def arc_beam(
    name: str,
    angles_deg: Sequence[float],
    *,
    machine: str,
    isocenter_RAS_mm: Sequence[float],
    aperture: Aperture = _OPEN,
    collimator_deg: float = 0.0,
    couch_deg: float = 0.0,
    meterset_MU: float | None = None,
    weight: float = 1.0,
) -> Beam:
    """Return an arc of constant dose rate: every degree gets the same share of the meterset.

    Parameters
    ----------
    name : str
    angles_deg : sequence of float
        Of the control points, from `arc_angles_deg`.
    machine : str
    isocenter_RAS_mm : (3,) sequence of float
    aperture : Aperture
        The same all the way; `RTPlanningLib.beam_fit.fit_beam` then shapes it to a target from each angle.
    collimator_deg, couch_deg : float
    meterset_MU, weight : float
    """
    if len(angles_deg) < 2:
        raise PlanError(f"Arc {name} needs at least two control points; choose a start and a stop angle.")
    points = tuple(
        ControlPoint(
            float(angle),
            checked_angle(name, "collimator", collimator_deg),
            checked_angle(name, "couch", couch_deg),
            aperture,
            float(share),
        )
        for angle, share in zip(angles_deg, np.linspace(0.0, 1.0, len(angles_deg)), strict=True)
    )
    return Beam(name, points, tuple(isocenter_RAS_mm), machine, meterset_MU, weight)


def target_isocenter_RAS_mm(target: Structure) -> tuple[float, float, float]:
    """Return a target's centroid as an isocentre, to a hundredth of a millimetre as in plan files."""
    return tuple(round(float(v), 2) + 0.0 for v in target.centroid_RAS_mm())
