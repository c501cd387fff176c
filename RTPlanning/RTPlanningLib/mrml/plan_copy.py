"""A plan copied with all that was asked of it: beams and which follow the target, goals, objectives."""

from __future__ import annotations

from dataclasses import replace

from DoseEngineLib.mrml.plan_node import (
    REFERENCE_VOLUME,
    SEGMENTATION,
    createPlanNode,
    goalsOf,
    planFromNode,
    planNodes,
    referencedNode,
    setGoals,
)
from OptimizerLib.mrml.objective_list_nodes import objectiveLines, setObjectiveLines
from RTPlanningLib.mrml.beam_fit_nodes import copyBeamFits
from RTPlanningLib.mrml.goal_rows import goalRows, setGoalRows


def copyPlanNode(planNode):
    """Return a new plan node with the plan of another one under the next free name; it has no dose.

    Raises
    ------
    PlanError
        A plan whose CT is gone.
    SchemaError
        One that is damaged, or of a newer version; then nothing is added.
    """
    plan = planFromNode(planNode)
    objectives, rows = objectiveLines(planNode), goalRows(planNode)
    scene = planNode.GetScene()
    taken = {name for node in planNodes(scene) for name in (node.GetName(), planFromNode(node).name)}
    number, name = 1, f"{plan.name} copy"
    while name in taken:
        number += 1
        name = f"{plan.name} copy {number}"
    copied = replace(plan, name=name)
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    copy = createPlanNode(
        scene, copied, volumeNode, referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
    )
    copyBeamFits(planNode, copy)
    setGoals(copy, goalsOf(planNode))
    setGoalRows(copy, rows)
    setObjectiveLines(copy, objectives)
    return copy
