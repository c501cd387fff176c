"""The dose of a plan node with its beams, read back from the scene."""

from __future__ import annotations

from DoseEngineLib.engine import DoseResult
from DoseEngineLib.mrml.plan_node import BEAM_DOSE, DOSE, beamNode, changedSinceDose, deliveredPlan, isDoseCurrent
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from OptimizerLib.errors import OptimizationError


def doseResultFromNode(planNode) -> DoseResult:
    """Return the plan's dose: the sum of its beams' dose volumes, with the plan as delivered.

    Raises
    ------
    OptimizationError
        When the plan has no dose, was changed since, or a beam's dose is missing or on another grid.
    """
    if not isDoseCurrent(planNode):
        changed = ", ".join(changedSinceDose(planNode)) if planNode.GetNodeReference(DOSE) is not None else ""
        raise OptimizationError(
            f"Plan {planNode.GetName()} has no dose, or was changed since{changed and f' ({changed})'}; calculate the "
            "dose, then optimize."
        )
    plan = deliveredPlan(planNode)
    doses, grid = {}, None
    for beam in plan.beams:
        node = beamNode(planNode, BEAM_DOSE, beam.name)
        if node is None:
            raise OptimizationError(
                f"Plan {planNode.GetName()}: the dose of beam {beam.name} is not in the scene; calculate the "
                "dose again."
            )
        beamGrid = gridFromVolume(node)
        if grid is not None and not grid.is_same_as(beamGrid):
            raise OptimizationError(
                f"Plan {planNode.GetName()}: the beams' doses lie on different grids; calculate the dose again."
            )
        grid, doses[beam.name] = beamGrid, arrayFromVolume(node)
    return DoseResult(sum(doses.values()), grid, doses, plan)
