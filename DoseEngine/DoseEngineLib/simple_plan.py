"""Plans made in a moment: open fields at given gantry angles, or the beams of a plan on another image."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from DoseEngineLib.errors import PlanError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Prescription


def angles_from_text(text: str) -> tuple[float, ...]:
    """Read gantry angles in degrees, between commas, semicolons or spaces.

    Raises
    ------
    PlanError
        Nothing, something that is no angle of 0..360, or an angle twice.
    """
    words = [word for word in re.split(r"[\s,;]+", text.strip()) if word]
    if not words:
        raise PlanError("Give one or more gantry angles in degrees, for example: 0, 90, 180, 270.")
    angles = []
    for word in words:
        try:
            angle = float(word)
        except ValueError:
            angle = math.nan
        if not 0.0 <= angle <= 360.0:
            raise PlanError(f"{word!r} is no gantry angle; give degrees from 0 to 360, for example: 0, 90, 180, 270.")
        angles.append(angle % 360.0)
    if len(set(angles)) != len(angles):
        raise PlanError(f"Gantry angles must differ; got {', '.join(f'{a:g}' for a in angles)}.")
    return tuple(angles)


def body_centre_RAS_mm(patient: Patient) -> tuple[float, float, float]:
    """Centre of the body's volume."""
    k, j, i = np.nonzero(patient.body)
    centre = patient.grid.index_to_ras((i.mean(), j.mean(), k.mean()))
    return tuple(float(v) for v in centre)


def open_field_plan(
    name: str,
    gantry_deg: Sequence[float],
    isocenter_RAS_mm: Sequence[float],
    *,
    field_mm: tuple[float, float] = (100.0, 100.0),
    meterset_MU: float = 100.0,
    machine: str = "generic_6mv",
    patient_position: str = "HFS",
) -> Plan:
    """Make a plan of open fields, alike but for the gantry angle; one fraction, MU as given.

    Parameters
    ----------
    field_mm : (float, float)
        Jaw opening X, Y at the isocentre plane, symmetric about the axis.
    meterset_MU : float
        Of each field.

    Raises
    ------
    PlanError
        No angle, a field that the machine cannot form, or MU that are not positive.
    MachineError
        No such machine.
    """
    if not gantry_deg:
        raise PlanError("Give one or more gantry angles in degrees, for example: 0, 90, 180, 270.")
    if not (math.isfinite(meterset_MU) and meterset_MU > 0):
        raise PlanError(f"{meterset_MU:g} MU give no dose; give more than 0.")
    if not all(math.isfinite(side) and side > 0 for side in field_mm):
        raise PlanError(f"A field of {field_mm[0]:g} x {field_mm[1]:g} mm is closed; give sides of more than 0 mm.")
    (x, y) = (side / 2 for side in field_mm)
    beams = tuple(
        Beam.open_field(
            f"Gantry {angle:g}",
            gantry_deg=angle,
            jaw_x_mm=(-x, x),
            jaw_y_mm=(-y, y),
            isocenter_RAS_mm=isocenter_RAS_mm,
            machine=machine,
            meterset_MU=meterset_MU,
        )
        for angle in gantry_deg
    )
    found = load_machine(machine)
    for beam in beams:
        found.check_aperture(beam.control_points[0].aperture, f"Beam {beam.name}")
    return Plan(name, beams, patient_position=patient_position)


def plan_on_other_image(
    plan: Plan, name: str, isocenter_RAS_mm: Sequence[float] | None = None, delivered: Plan | None = None
) -> Plan:
    """Return the beams of a plan as a plan for another image.

    Parameters
    ----------
    plan : Plan
    name : str
        Of the new plan.
    isocenter_RAS_mm : (3,) sequence, optional
        Where the isocentre of the first beam goes; those of the others keep their distance from it. None: all stay.
    delivered : Plan, optional
        The plan with the MU that it was calculated with. They are then taken, so that the doses on both images are of
        the same delivery; without them a plan of weights is scaled to its prescription again.
    """
    beams = (delivered or plan).beams
    shift = np.zeros(3)
    if isocenter_RAS_mm is not None:
        shift = np.asarray(isocenter_RAS_mm, float) - np.array(beams[0].isocenter_RAS_mm)
    moved = tuple(replace(beam, isocenter_RAS_mm=tuple(np.array(beam.isocenter_RAS_mm) + shift)) for beam in beams)
    prescription = plan.prescription
    if prescription is not None and prescription.point_RAS_mm is not None:
        prescription = replace(prescription, point_RAS_mm=tuple(np.array(prescription.point_RAS_mm) + shift))
    if prescription is not None and moved[0].meterset_MU is not None:
        # the MU are those of the other image: nothing is scaled here
        prescription = Prescription(prescription.dose_Gy, prescription.fractions, prescription.target, "none")
    return replace(plan, name=name, beams=moved, prescription=prescription)
