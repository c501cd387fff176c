"""How the objectives fell, as a table and a chart with a series each."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.mrml.plan_node import referencedNodes
from DoseEngineLib.mrml.plot_series import setLine
from DoseEngineLib.mrml.subject_hierarchy import placeNode, removeNode, studyOf
from DoseEngineLib.mrml.table_columns import addNumbers
from OptimizerLib.fluence_planning import HistoryEntry
from OptimizerLib.mrml.curve_colors import CURVE_COLORS, TOTAL_COLOR

HISTORY_TABLE = "objectiveHistoryTableRef"
HISTORY_CHART = "objectiveHistoryChartRef"
_SERIES = "objectiveHistorySeriesRef"
_ITERATION, _TOTAL, _LEVEL = "Iteration", "Total", "Level"


def createObjectiveHistoryNodes(planNode, termNames: Sequence[str], history: Sequence[HistoryEntry]) -> None:
    """Put the history into the scene, in place of the plan's former one; nothing where there is no history.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    termNames : sequence of str
        One a term of the history's entries.
    history : sequence of HistoryEntry
    """
    removeObjectiveHistoryNodes(planNode)
    if not history:
        return
    scene, study = planNode.GetScene(), studyOf(planNode)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{planNode.GetName()}_ObjectiveHistory")
    columns = {_ITERATION: [entry.iteration for entry in history], _TOTAL: [entry.value for entry in history]}
    for number, name in enumerate(termNames):
        columns[_column(number, name)] = [entry.terms[number] for entry in history]
    drawn = list(columns)[1:]
    if len({entry.level for entry in history}) > 1:
        columns[_LEVEL] = [entry.level for entry in history]
    for name, values in columns.items():
        addNumbers(table, name, values)
    planNode.SetNodeReferenceID(HISTORY_TABLE, table.GetID())
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{planNode.GetName()}_ObjectiveHistoryChart")
    chart.SetTitle("Objectives")
    chart.SetXAxisTitle(_ITERATION)
    chart.SetYAxisTitle("Objective")
    chart.YAxisLogScaleOn()
    planNode.SetNodeReferenceID(HISTORY_CHART, chart.GetID())
    placeNode(table, study)
    chartItem = placeNode(chart, study)
    for number, name in enumerate(drawn):
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        color = TOTAL_COLOR if number == 0 else CURVE_COLORS[(number - 1) % len(CURVE_COLORS)]
        setLine(series, table, _ITERATION, name, color)
        placeNode(series, chartItem)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        planNode.AddNodeReferenceID(_SERIES, series.GetID())


def removeObjectiveHistoryNodes(planNode) -> None:
    """Remove the plan's history table, chart and series from the scene."""
    for role in (_SERIES, HISTORY_CHART, HISTORY_TABLE):
        for node in referencedNodes(planNode, role):
            removeNode(node)
        planNode.RemoveNodeReferenceIDs(role)


def _column(number: int, name: str) -> str:
    """Column names are unique, rows need not be."""
    return f"{number + 1}: {name}"
