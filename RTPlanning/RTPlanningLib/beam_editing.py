"""Beams of a plan edited one at a time: each operation takes a frozen plan and returns another.

Whether a beam follows its target (`beam_fit`) is not the plan's business: who changes an angle fits the beam anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from DoseEngineLib.errors import PlanError
from DoseEngineLib.iec61217 import beam_frame
from DoseEngineLib.machine import load_beam_machine, load_machine
from DoseEngineLib.plan import Aperture, Beam, Plan, Prescription

_ANGLES = {"gantry_deg": "gantry", "collimator_deg": "collimator", "couch_deg": "couch"}
_LARGEST_ANGLE_DEG = 360.0
# A jaw opening below this is taken for a slip of the pen.
_LEAST_OPENING_MM = 1.0
# Where a plan had no MU, a beam of weight 1 is given so many.
DEFAULT_MU = 100.0
# Names of directions by the RAS axis that points to the source: axis, sign.
_SIDES = {(1, 1): "AP", (1, -1): "PA", (0, -1): "Left lateral", (0, 1): "Right lateral"}


def beam_named(plan: Plan, name: str) -> Beam:
    """Return the beam of this name; `PlanError` lists those there are."""
    for beam in plan.beams:
        if beam.name == name:
            return beam
    raise PlanError(
        f"Plan {plan.name} has no beam {name!r}; it has: {', '.join(beam.name for beam in plan.beams)}. Choose one."
    )


def replace_beam(plan: Plan, name: str, beam: Beam) -> Plan:
    """Return the plan with another beam in the place of the one of this name."""
    beam_named(plan, name)
    return replace(plan, beams=tuple(beam if old.name == name else old for old in plan.beams))


def side_name(gantry_deg: float, patient_position: str, couch_deg: float = 0.0) -> str:
    """Name a direction by the side of the patient that the beam enters (AP, PA, laterals), or else by its angles."""
    source = beam_frame(gantry_deg, 0.0, couch_deg, patient_position=patient_position).source_direction
    for (axis, sign), name in _SIDES.items():
        if source[axis] * sign > 1.0 - 1e-9:
            return name
    return f"Gantry {gantry_deg:g}" + (f" couch {couch_deg:g}" if couch_deg else "")


def free_name(plan: Plan, wish: str) -> str:
    """Return the name as wished, or with the first number that makes it unique among the beams."""
    names = {beam.name for beam in plan.beams}
    number, name = 1, wish
    while name in names:
        number += 1
        name = f"{wish} {number}"
    return name


def add_beam(plan: Plan, like: str) -> tuple[Plan, str]:
    """Add a beam like another one, right after it, under the next number: "Field 5" in a plan of four.

    Returns
    -------
    plan : Plan
    name : str
        Of the new beam.
    """
    names = {beam.name for beam in plan.beams}
    number = len(plan.beams) + 1
    while f"Field {number}" in names:
        number += 1
    return _inserted(plan, like, replace(beam_named(plan, like), name=f"Field {number}"))


def copy_beam(plan: Plan, name: str) -> tuple[Plan, str]:
    """Add a copy of a beam right after it; returns the plan and the copy's name."""
    return _inserted(plan, name, replace(beam_named(plan, name), name=free_name(plan, f"{name} copy")))


def opposed_beam(plan: Plan, name: str) -> tuple[Plan, str]:
    """Add the beam that comes from the other side, its aperture that of the first in a mirror.

    The gantry turns by 180 degrees under the same couch angle and the collimator to the other sense. Then collimator X
    points to the opposite side and Y to the same one, whatever the three angles, so jaws and leaves exchange their
    sides along X: at the isocentre plane both fields cover the same points.

    Returns
    -------
    plan : Plan
    name : str
        Of the opposed beam.

    Raises
    ------
    PlanError
        Where the machine cannot take the mirrored aperture.
    """
    beam = beam_named(plan, name)
    points = tuple(
        replace(
            point,
            gantry_deg=(point.gantry_deg + 180.0) % 360.0,
            collimator_deg=-point.collimator_deg % 360.0,
            aperture=_mirrored(point.aperture),
        )
        for point in beam.control_points
    )
    # named by its side where the first one is
    first = beam.control_points[0]
    is_side = beam.is_static and name == side_name(first.gantry_deg, plan.patient_position, first.couch_deg)
    side = side_name(points[0].gantry_deg, plan.patient_position, first.couch_deg)
    opposed = replace(beam, name=free_name(plan, side if is_side else f"{name} opposed"), control_points=points)
    _check_apertures(opposed)
    return _inserted(plan, name, opposed)


def remove_beam(plan: Plan, name: str) -> Plan:
    """Return the plan without a beam.

    Raises
    ------
    PlanError
        An unknown name, or the plan's last beam.
    """
    beam_named(plan, name)
    if len(plan.beams) == 1:
        raise PlanError(
            f"{name} is the only beam of plan {plan.name}, and a plan needs one. Change this beam, add another one "
            "first, or delete the whole plan."
        )
    return replace(plan, beams=tuple(beam for beam in plan.beams if beam.name != name))


def rename_beam(plan: Plan, name: str, new_name: str) -> Plan:
    """Return the plan with another name for a beam; `PlanError` for one that is empty or taken."""
    new_name = new_name.strip()
    if not new_name:
        raise PlanError(f"Beam {name} needs a name; type one.")
    if new_name != name and any(beam.name == new_name for beam in plan.beams):
        raise PlanError(f"Plan {plan.name} already has a beam {new_name!r}; give {name} another name.")
    return replace_beam(plan, name, replace(beam_named(plan, name), name=new_name))


def set_angles(
    plan: Plan,
    name: str,
    *,
    gantry_deg: float | None = None,
    collimator_deg: float | None = None,
    couch_deg: float | None = None,
) -> Plan:
    """Return the plan with other angles of a beam; of one that moves, those of its first control point, all turn along.

    Parameters
    ----------
    plan : Plan
    name : str
    gantry_deg, collimator_deg, couch_deg : float, optional
        IEC 61217, -360..360; kept as 0..360.
    """
    beam = beam_named(plan, name)
    wanted = {"gantry_deg": gantry_deg, "collimator_deg": collimator_deg, "couch_deg": couch_deg}
    wanted = {key: checked_angle(name, _ANGLES[key], value) for key, value in wanted.items() if value is not None}
    points = []
    for point in beam.control_points:
        turned = {
            key: (value + getattr(point, key) - getattr(beam.control_points[0], key)) % 360.0
            for key, value in wanted.items()
        }
        points.append(replace(point, **turned))
    return replace_beam(plan, name, replace(beam, control_points=tuple(points)))


def set_jaws(
    plan: Plan,
    name: str,
    jaw_x_mm: tuple[float, float] | None = None,
    jaw_y_mm: tuple[float, float] | None = None,
) -> Plan:
    """Return the plan with other jaws of a beam, the leaves as they are.

    Raises
    ------
    PlanError
        Jaws that would pass each other or leave nothing open, that the machine cannot reach, or that move during the
        beam.
    """
    beam = beam_named(plan, name)
    first = beam.control_points[0].aperture
    if any(
        (point.aperture.jaw_x_mm, point.aperture.jaw_y_mm) != (first.jaw_x_mm, first.jaw_y_mm)
        for point in beam.control_points
    ):
        raise PlanError(
            f"Beam {name}: its jaws move with the gantry, so they have no single position. Fit the MLC or jaws with "
            "another margin, or make a beam with fixed jaws."
        )
    x, y = tuple(jaw_x_mm or first.jaw_x_mm), tuple(jaw_y_mm or first.jaw_y_mm)
    for axis, (low, high) in (("X", x), ("Y", y)):
        if not np.isfinite([low, high]).all() or high - low < _LEAST_OPENING_MM:
            raise PlanError(
                f"Beam {name}: {axis}1 {low:g} mm and {axis}2 {high:g} mm leave nothing open; {axis}1 is the lower "
                f"position, keep it at least {_LEAST_OPENING_MM:g} mm below {axis}2."
            )
    points = tuple(
        replace(point, aperture=replace(point.aperture, jaw_x_mm=x, jaw_y_mm=y)) for point in beam.control_points
    )
    changed = replace(beam, control_points=points)
    _check_apertures(changed)
    return replace_beam(plan, name, changed)


def set_machine(plan: Plan, name: str, machine: str, *, keeps_aperture: bool = True) -> Plan:
    """Return the plan with another machine, that is another energy, for a beam; the aperture stays.

    Parameters
    ----------
    plan : Plan
    name : str
    machine : str
    keeps_aperture : bool
        False: the aperture is fitted anew afterwards, so the machine need not be able to form it.

    Raises
    ------
    MachineError
        An unknown machine.
    PlanError
        A machine that cannot form the beam's aperture.
    """
    beam = beam_named(plan, name)
    load_machine(machine)
    changed = replace(beam, machine=machine)
    if keeps_aperture:
        _check_apertures(changed)
    return replace_beam(plan, name, changed)


def set_isocenter(plan: Plan, isocenter_RAS_mm: Sequence[float], name: str | None = None) -> Plan:
    """Return the plan with another isocentre, in RAS mm, of a beam or of all of them."""
    if name is not None:
        beam_named(plan, name)
    return replace(
        plan,
        beams=tuple(
            replace(beam, isocenter_RAS_mm=tuple(isocenter_RAS_mm)) if name in (None, beam.name) else beam
            for beam in plan.beams
        ),
    )


def set_weight(plan: Plan, name: str, weight: float) -> Plan:
    """Return the plan with another weight of a beam; `PlanError` where the beams carry MU."""
    beam = beam_named(plan, name)
    if plan.has_MU:
        raise PlanError(
            f"Beam {name}: the beams of this plan carry MU, so weights mean nothing. Change its MU, or have the "
            "prescription set the MU of all beams (weights)."
        )
    return replace_beam(plan, name, replace(beam, weight=float(weight)))


def set_meterset(plan: Plan, name: str, meterset_MU: float) -> Plan:
    """Return the plan with other MU a fraction of a beam; `PlanError` where the beams carry weights."""
    beam = beam_named(plan, name)
    if not plan.has_MU:
        raise PlanError(
            f"Beam {name}: the beams of this plan carry weights, and the prescription sets their MU. Change its "
            "weight, or give MU to all beams."
        )
    return replace_beam(plan, name, replace(beam, meterset_MU=float(meterset_MU)))


def with_MU(plan: Plan, metersets_MU: Sequence[float] | None = None) -> Plan:
    """Return the plan with MU in place of weights.

    Parameters
    ----------
    plan : Plan
    metersets_MU : sequence of float, optional
        MU a fraction, one a beam, such as those of the calculated dose. By default 100 times the weights.
    """
    if plan.has_MU:
        return plan
    if metersets_MU is None:
        metersets_MU = [DEFAULT_MU * beam.weight for beam in plan.beams]
    return plan.with_metersets(metersets_MU)


def with_weights(plan: Plan, prescription: Prescription | None = None) -> Plan:
    """Return the plan with weights as its MU are to each other; the prescription then sets the MU.

    Parameters
    ----------
    plan : Plan
    prescription : Prescription, optional
        By default the plan's own.

    Raises
    ------
    PlanError
        No prescription that says how to normalize, or MU that are all zero.
    """
    prescription = prescription or plan.prescription
    if not plan.has_MU:
        return replace(plan, prescription=prescription)
    mean = float(np.mean([beam.meterset_MU for beam in plan.beams]))
    if mean <= 0:
        raise PlanError(f"Plan {plan.name}: all beams have 0 MU, which gives no weights; give a beam some MU first.")
    beams = tuple(replace(beam, weight=round(beam.meterset_MU / mean, 6), meterset_MU=None) for beam in plan.beams)
    return replace(plan, beams=beams, prescription=prescription)


def checked_angle(owner: str, what: str, degrees: float) -> float:
    """Return an angle as 0..360; `PlanError` where it is not a number in -360..360."""
    if not np.isfinite(degrees) or abs(degrees) > _LARGEST_ANGLE_DEG:
        raise PlanError(f"Beam {owner}: the {what} angle must be -360..360 degrees (IEC 61217); got {degrees}.")
    turn = float(degrees) % 360.0
    # the rest of a tiny negative angle is 360.0 in floating point
    return 0.0 if turn == 360.0 else turn


def _inserted(plan: Plan, after: str, beam: Beam) -> tuple[Plan, str]:
    place = 1 + [old.name for old in plan.beams].index(after)
    return replace(plan, beams=(*plan.beams[:place], beam, *plan.beams[place:])), beam.name


def _mirrored(aperture: Aperture) -> Aperture:
    def mirror(pair: tuple[float, float]) -> tuple[float, float]:
        # no minus zero in stored plans
        return -pair[1] + 0.0, -pair[0] + 0.0

    leaves = aperture.leaf_positions_mm
    return Aperture(
        mirror(aperture.jaw_x_mm), aperture.jaw_y_mm, None if leaves is None else tuple(mirror(p) for p in leaves)
    )


def _check_apertures(beam: Beam) -> None:
    machine = load_beam_machine(beam)
    for aperture in dict.fromkeys(point.aperture for point in beam.control_points):
        machine.check_aperture(aperture, f"Beam {beam.name}")
