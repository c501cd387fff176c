"""What dose a beam of weight 1 shall have in SlicerRT, which adds up beams by their weights and scales nothing.

====================  ==========================================================================================
``automatic``         a plan that was made from one of ours: as that plan says, its beams' weights being MU where it
                      has MU; any other: the prescribed dose at the isocentre
``isocentre``         all beams together give the prescribed dose at the isocentre
``mean``, ``D50``,    the target gets the prescribed dose as its mean, median, or to 95 % of its volume
``D95``
``MU``                a beam of weight 1 has as many MU in each fraction as its parameter says
====================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from DoseEngineLib.engine import DoseEngine
from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.normalization import normalization_factor
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan, Prescription
from DoseEngineLib.progress import Progress
from RTPlanningLib.slicerrt_plan import SlicerRtPlan, with_machine

AUTOMATIC = "automatic"
SCALES = (AUTOMATIC, "isocentre", "mean", "D50", "D95", "MU")


@dataclass(frozen=True)
class BeamChoices:
    """Beam parameters that are not the beam's geometry.

    Attributes
    ----------
    machine : str
        Name or path of a machine, or "automatic".
    scale : str
        One of `SCALES`.
    meterset_MU : float
        Of a beam of weight 1 in each fraction, for the scale "MU".
    fractions : int
        For the scale "MU".
    options : dict
        Engine options that are not as they are by default.
    """

    machine: str = AUTOMATIC
    scale: str = AUTOMATIC
    meterset_MU: float = 100.0
    fractions: int = 1
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DoseRequest:
    """A plan of SlicerRT as an engine is asked for it.

    Attributes
    ----------
    plan : Plan
        With MU, or with weights to be scaled to the prescription.
    weights : tuple of float
        SlicerRT's, of each beam.
    unit_MU : tuple of float or None
        MU a fraction of each beam at weight 1; None where the prescription sets them.
    """

    plan: Plan
    weights: tuple[float, ...]
    unit_MU: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class UnitDoses:
    """Doses of the course of a plan's beams at weight 1.

    Attributes
    ----------
    doses_Gy : dict of beam name to (k, j, i) float32 array
    dose_to : {"water", "medium"}
    unit_MU : dict of beam name to float
        MU a fraction of each beam at weight 1.
    provenance : dict
        As `DoseEngineLib.engine.DoseResult`; the plan hash is that of the plan as delivered.
    """

    doses_Gy: dict[str, np.ndarray]
    dose_to: str
    unit_MU: dict[str, float]
    provenance: dict[str, Any]


def dose_request(
    plan: Plan, values: SlicerRtPlan, choices: Sequence[BeamChoices], engine: str, *, converted: bool
) -> DoseRequest:
    """Put a plan and its beams' parameters together.

    Parameters
    ----------
    plan : Plan
        As the nodes describe it.
    values : SlicerRtPlan
        What the nodes hold, beams in the plan's order.
    choices : sequence of BeamChoices
        One a beam.
    engine : str
        Label of the dose engine.
    converted : bool
        Whether the plan was made from one of ours.

    Raises
    ------
    PlanError
        Beams that differ in what holds for the whole plan, a scale that needs a target or a prescription there is not.
    MachineError
        An unknown machine.
    """
    common = _common(plan, choices)
    own_options = plan.engine_options if plan.engine == engine else {}
    beams = tuple(
        beam if choice.machine == AUTOMATIC else with_machine(beam, shown, choice.machine)
        for beam, shown, choice in zip(plan.beams, values.beams, choices, strict=True)
    )
    plan = replace(plan, beams=beams, engine=engine, engine_options={**own_options, **common.options})
    weights = tuple(float(beam.weight) for beam in values.beams)
    if common.scale == AUTOMATIC:
        return DoseRequest(plan, weights, (1.0,) * len(weights) if plan.has_MU else None)
    if common.scale == "MU":
        if converted and plan.has_MU:
            raise PlanError(
                f"Plan {plan.name} was made from a plan of RTPlanning that has MU, and its beam weights are these MU; "
                "leave the dose of its beams at automatic."
            )
        prescription = plan.prescription and replace(
            plan.prescription, normalization="none", fractions=common.fractions
        )
        units = tuple(choice.meterset_MU for choice in choices)
        metersets = [unit * weight for unit, weight in zip(units, weights, strict=True)]
        beams = tuple(replace(beam, meterset_MU=mu) for beam, mu in zip(plan.beams, metersets, strict=True))
        return DoseRequest(replace(plan, beams=beams, prescription=prescription), weights, units)
    return DoseRequest(_scaled(plan, values, common.scale, weights), weights, None)


def unit_doses(
    engine: DoseEngine, patient: Patient, request: DoseRequest, grid: Grid, progress: Progress | None = None
) -> UnitDoses:
    """Calculate the dose of each beam at weight 1; raises what the engine and the normalization raise."""
    plan, names = request.plan, [beam.name for beam in request.plan.beams]
    result = engine.calculate_dose(patient, plan.with_metersets([1.0] * len(names)), grid=grid, progress=progress)
    if request.unit_MU is not None:
        units, how = request.unit_MU, "MU as planned"
    else:
        total = np.zeros(grid.shape, np.float32)
        for name, weight in zip(names, request.weights, strict=True):
            total += np.float32(weight) * result.beam_doses_Gy[name]
        factor, how = normalization_factor(plan, patient, total, grid)
        units = (factor,) * len(names)
    doses = {name: result.beam_doses_Gy[name] * np.float32(unit) for name, unit in zip(names, units, strict=True)}
    delivered = plan.with_metersets([u * w for u, w in zip(units, request.weights, strict=True)])
    provenance = {**result.provenance, "normalization": how, "plan_hash": delivered.hash()}
    return UnitDoses(doses, result.dose_to, dict(zip(names, units, strict=True)), provenance)


def _common(plan: Plan, choices: Sequence[BeamChoices]) -> BeamChoices:
    """The choices of the first beam, which those of the others may differ from in machine and MU only."""
    first = choices[0]
    fields = {"scale": "dose of a beam of weight 1", "fractions": "number of fractions", "options": "engine options"}
    for beam, choice in zip(plan.beams, choices, strict=True):
        for name, words in fields.items():
            if name == "fractions" and first.scale != "MU":
                continue
            if getattr(choice, name) != getattr(first, name):
                raise PlanError(
                    f"Beams {plan.beams[0].name} and {beam.name} differ in their {words} ({getattr(first, name)} and "
                    f"{getattr(choice, name)}), which holds for the plan; set it alike in all beams."
                )
    return first


def _scaled(plan: Plan, values: SlicerRtPlan, scale: str, weights: tuple[float, ...]) -> Plan:
    prescription = plan.prescription
    if prescription is None:
        prescription = Prescription(values.rx_dose_Gy, 1, None, "point")
    if scale == "isocentre":
        prescription = replace(prescription, normalization="point", point_RAS_mm=values.isocenter_RAS_mm)
    elif prescription.target is None:
        raise PlanError(
            f"Plan {plan.name} has no target to prescribe to; choose its target segment, or scale its dose at the "
            "isocentre."
        )
    else:
        prescription = replace(prescription, normalization=scale)
    beams = tuple(
        replace(beam, weight=weight, meterset_MU=None) for beam, weight in zip(plan.beams, weights, strict=True)
    )
    return replace(plan, beams=beams, prescription=prescription)
