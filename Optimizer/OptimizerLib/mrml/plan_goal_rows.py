"""Objective rows to begin with, from the goals, the prescription and the structures of a plan node."""

from __future__ import annotations

from DoseEngineLib.mrml.plan_node import SEGMENTATION, goalsOf, planFromNode
from DoseEngineLib.mrml.segmentations import roleOfSegment
from OptimizerLib.errors import OptimizationError
from OptimizerLib.goal_rows import GoalRows, rows_from_goals


def rowsOfPlanGoals(planNode) -> GoalRows:
    """Turn a plan's clinical goals into rows, see `rows_from_goals`.

    Raises
    ------
    OptimizationError
        A plan with neither goals nor a target that something is prescribed to.
    PlanningError
        Goals that cannot be read, roles that are none.
    """
    prescription = planFromNode(planNode).prescription
    roles = _roles(planNode.GetNodeReference(SEGMENTATION))
    made = rows_from_goals(
        goalsOf(planNode),
        target=prescription.target if prescription else None,
        prescription_Gy=prescription.dose_Gy if prescription else None,
        targets=[name for name, role in roles.items() if role == "PTV"],
        structures=list(roles),
        body=next((name for name, role in roles.items() if role == "EXTERNAL"), None),
    )
    if not made.rows and not made.left_out:
        raise OptimizationError(
            f"Plan {planNode.GetName()} has no goals and no prescription to a target to make objectives of; set them "
            "in RT Planning, or write objectives here."
        )
    return made


def _roles(segmentationNode) -> dict[str, str]:
    if segmentationNode is None:
        return {}
    segmentation = segmentationNode.GetSegmentation()
    segments = (segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments()))
    return {segment.GetName(): roleOfSegment(segment, segment.GetName()) for segment in segments}
