"""The table of clinical goals and what the plan achieves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from DoseEngineLib.mrml.subject_hierarchy import placeNode, studyOf
from DoseEngineLib.mrml.table_columns import addTexts
from RTPlanningLib.evaluation.goals import GoalResult
from RTPlanningLib.mrml.evaluated_state import setEvaluatedState

GOALS_TABLE = "goalsTableRef"


def createGoalsTable(planNode, doseNode, results: Sequence[GoalResult], state: Mapping[str, str] | None = None):
    """Write goal results into the plan's table node (columns Structure, Metric, Limit, Achieved, Result, Note).

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    doseNode : vtkMRMLScalarVolumeNode
    results : sequence of GoalResult
    state : mapping, optional
        What they were judged of; see `RTPlanningLib.mrml.evaluated_state`.

    Returns
    -------
    vtkMRMLTableNode
    """
    scene = planNode.GetScene()
    table = planNode.GetNodeReference(GOALS_TABLE)
    if table is None:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{planNode.GetName()}_Goals")
        planNode.SetNodeReferenceID(GOALS_TABLE, table.GetID())
    table.RemoveAllColumns()
    columns = {
        "Structure": [result.goal.structure for result in results],
        "Metric": [str(result.goal.metric) for result in results],
        "Limit": [result.goal.limit_text for result in results],
        "Achieved": [_achieved(result) for result in results],
        "Result": [result.verdict for result in results],
        "Note": [result.note for result in results],
    }
    for name, texts in columns.items():
        addTexts(table, name, texts)
    setEvaluatedState(table, state)
    placeNode(table, studyOf(doseNode))
    return table


def _achieved(result: GoalResult) -> str:
    if result.value is None:
        return ""
    return f"{result.value:.5g} {result.goal.unit}".strip()
