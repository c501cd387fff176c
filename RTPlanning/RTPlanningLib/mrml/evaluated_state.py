"""What a result was evaluated of: whether a table still stands for the plan, its dose, structures and goals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from DoseEngineLib.mrml.plan_node import SEGMENTATION, goalsOf, isDoseCurrent, planHash
from DoseEngineLib.mrml.segmentation_digest import segmentationDigest
from RTPlanningLib.mrml.node_digest import nodeDigest

PLAN, DOSE, STRUCTURES, GOALS = "plan", "dose", "structures", "goals"
# what a DVH depends on
DVH_PARTS = (PLAN, DOSE, STRUCTURES)
_STATE = "RTPlanning.EvaluatedState"
_PLANS = "plans"


def evaluatedState(planNode, parts: Sequence[str]) -> dict[str, str]:
    """Return digests of these parts of a plan as they are now.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    parts : sequence of {"plan", "dose", "structures", "goals"}
    """
    digests = {
        PLAN: lambda: planHash(planNode),
        DOSE: lambda: nodeDigest(planNode) if isDoseCurrent(planNode) else "",
        STRUCTURES: lambda: segmentationDigest(planNode.GetNodeReference(SEGMENTATION)),
        GOALS: lambda: hashlib.sha256("\n".join(goalsOf(planNode)).encode()).hexdigest()[:16],
    }
    return {part: digests[part]() for part in parts}


def setEvaluatedState(node, state: Mapping[str, str] | None) -> None:
    """Keep with a result what it was evaluated of; take the state before the evaluation begins. None: not known."""
    node.SetAttribute(_STATE, json.dumps(dict(state), sort_keys=True) if state else None)


def isEvaluationCurrent(node, planNode) -> bool:
    """Tell whether a result still stands for its plan; one that says nothing of its origin does not."""
    text = node.GetAttribute(_STATE) if node is not None else None
    if not text:
        return False
    state = json.loads(text)
    return evaluatedState(planNode, tuple(state)) == state


def comparedState(planNodes: Sequence) -> dict[str, str]:
    """Return a digest of all that a comparison of plans depends on."""
    states = [evaluatedState(node, (PLAN, DOSE, STRUCTURES, GOALS)) for node in planNodes]
    return {_PLANS: hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()[:16]}


def isComparisonCurrent(node, planNodes: Sequence) -> bool:
    """Tell whether a comparison still stands for these plans, in their order."""
    text = node.GetAttribute(_STATE) if node is not None else None
    return bool(text) and json.loads(text) == comparedState(planNodes)
