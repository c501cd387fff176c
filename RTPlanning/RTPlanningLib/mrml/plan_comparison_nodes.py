"""Plans side by side: a chart with the DVHs of all, told apart by their lines, and a table of their goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import slicer

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.plan_node import SEGMENTATION, referencedNode
from DoseEngineLib.mrml.plot_series import setLine
from DoseEngineLib.mrml.segmentations import segmentIDOf
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode, removeNode
from DoseEngineLib.mrml.table_columns import addNumbers
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goal_comparison import GoalComparison
from RTPlanningLib.evaluation.metric_comparison import MetricRow
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation, setStatistics
from RTPlanningLib.mrml.derived_table import setDerivedTable

_OVERLAY = {"operation": "DVH overlay"}
_GOALS = {"operation": "goal comparison"}
_METRICS = {"operation": "metric comparison"}
_TABLE, _SERIES = "dvhOverlayTableRef", "dvhOverlaySeriesRef"
_STEP_GY = 0.1
_DOSE = "Dose (Gy)"
_LINE_STYLES = ("solid", "dashed", "dotted", "dash-dotted", "dash-dot-dotted")


def dvhOverlay(planNodes: Sequence):
    """Return the chart of the DVHs of these plans, in their order, or None."""
    return derivedNode(planNodes[0].GetScene(), "vtkMRMLPlotChartNode", _OVERLAY, planNodes)


def goalComparisonTable(planNodes: Sequence):
    """Return the table of the goals of these plans, in their order, or None."""
    return derivedNode(planNodes[0].GetScene(), "vtkMRMLTableNode", _GOALS, planNodes)


def metricComparisonTable(planNodes: Sequence):
    """Return the table of the metrics of these plans, in their order, or None."""
    return derivedNode(planNodes[0].GetScene(), "vtkMRMLTableNode", _METRICS, planNodes)


def createDvhOverlay(planNodes: Sequence, dvhs: Sequence[Mapping[str, Dvh]]):
    """Put a chart with the DVHs of several plans into the scene; of the same plans, in place of the former one.

    A color is a structure, a line style a plan: solid, dashed, dotted, dash-dotted, dash-dot-dotted. Each plan has a
    table with the column ``Dose (Gy)`` and a column a structure in % of its volume.

    Parameters
    ----------
    planNodes : sequence of plan nodes
    dvhs : sequence of mappings of structure name to Dvh
        One a plan.

    Returns
    -------
    vtkMRMLPlotChartNode

    Raises
    ------
    EvaluationError
        Fewer than two plans, more than there are line styles, a plan twice, or nothing to draw.
    """
    checkPlans(planNodes)
    if len(planNodes) > len(_LINE_STYLES):
        raise EvaluationError(f"A chart can tell {len(_LINE_STYLES)} plans apart, not {len(planNodes)}; choose fewer.")
    if not any(dvhs):
        raise EvaluationError("None of the plans has a DVH to draw; choose structures inside their dose grids.")
    stop_Gy = max(dvh.max_Gy for ofPlan in dvhs for dvh in ofPlan.values()) + _STEP_GY
    colors = {
        name: color for node, ofPlan in reversed(list(zip(planNodes, dvhs))) for name, color in _colors(node, ofPlan)
    }
    scene = planNodes[0].GetScene()
    former = dvhOverlay(planNodes)
    if former is not None:
        removeDvhOverlay(former)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GetUniqueNameByString(f"DVHs of {_names(planNodes)}"))
    setDerivation(chart, _OVERLAY, planNodes)
    chart.SetTitle(
        "   ".join(f"{style}: {node.GetName()}" for node, style in zip(planNodes, _LINE_STYLES, strict=False))
    )
    chart.SetXAxisTitle("Dose [Gy]")
    chart.SetYAxisTitle("Fractional volume [%]")
    chartItem = placeNode(chart, ensureStudy(planNodes[0], "Patient", "Radiotherapy planning"))
    for number, (node, ofPlan) in enumerate(zip(planNodes, dvhs, strict=True)):
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{node.GetName()}_DvhCurves")
        placeNode(table, chartItem)
        chart.AddNodeReferenceID(_TABLE, table.GetID())
        addNumbers(table, _DOSE, np.arange(int(np.ceil(stop_Gy / _STEP_GY - 1e-9)) + 1) * _STEP_GY)
        for name, dvh in ofPlan.items():
            addNumbers(table, name, dvh.curve(_STEP_GY, stop_Gy)[1])
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", f"{name} ({node.GetName()})")
            setLine(series, table, _DOSE, name, colors[name])
            series.SetLineStyle(_lineStyle(number))
            placeNode(series, chartItem)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
            chart.AddNodeReferenceID(_SERIES, series.GetID())
    return chart


def removeDvhOverlay(chartNode) -> None:
    """Remove an overlay chart with its tables and series from the scene."""
    nodes = [
        chartNode.GetNthNodeReference(role, n)
        for role in (_SERIES, _TABLE)
        for n in range(chartNode.GetNumberOfNodeReferences(role))
    ]
    for node in (*nodes, chartNode):
        if node is not None:
            removeNode(node)


def createGoalComparisonTable(planNodes: Sequence, comparison: GoalComparison, notes: Mapping[str, Sequence[str]]):
    """Put the goals of plans side by side into the scene as a table; of the same plans, in place of the former one.

    Columns Structure, Metric, Goal, then for each plan its value and its verdict, Best, and Note.

    Parameters
    ----------
    planNodes : sequence of plan nodes
        In the order of ``comparison.plans``.
    comparison : GoalComparison
    notes : mapping of plan name to sequence of str
        Further notes, for the attribute ``RTPlanning.Statistics`` beside the counts.

    Returns
    -------
    vtkMRMLTableNode
    """
    rows = comparison.rows
    # pairs: a plan may be called as a column is
    columns = [
        ("Structure", [row.goal.structure for row in rows]),
        ("Metric", [str(row.goal.metric) for row in rows]),
        ("Goal", [row.goal.limit_text for row in rows]),
    ]
    for place, plan in enumerate(comparison.plans):
        values = [row.values()[place] for row in rows]
        units = [row.goal.unit for row in rows]
        columns.append((plan, ["" if v is None else f"{v:.5g} {u}".strip() for v, u in zip(values, units)]))
        columns.append((f"{plan}: result", [row.verdicts()[place] for row in rows]))
    columns.append(("Best", ["; ".join(comparison.plans[n] for n in row.best()) for row in rows]))
    columns.append(("Note", [_rowNote(comparison, row) for row in rows]))
    table = setDerivedTable(f"Goals of {_names(planNodes)}", _GOALS, planNodes, columns)
    setStatistics(table, {"counts": comparison.counts(), "notes": {plan: list(texts) for plan, texts in notes.items()}})
    return table


def createMetricComparisonTable(planNodes: Sequence, rows: Sequence[MetricRow]):
    """Put the metrics of plans side by side into the scene as a table; of the same plans, in place of the former one.

    Columns Structure, Metric, Unit, then for each plan its value, and for all but the first the difference to it.

    Parameters
    ----------
    planNodes : sequence of plan nodes
        In the order of the values.
    rows : sequence of MetricRow

    Returns
    -------
    vtkMRMLTableNode
    """
    columns = [
        ("Structure", [row.structure for row in rows]),
        ("Metric", [row.metric for row in rows]),
        ("Unit", [row.unit for row in rows]),
    ]
    for place, node in enumerate(planNodes):
        values = [row.values[place] for row in rows]
        columns.append((node.GetName(), ["" if value is None else f"{value:.2f}" for value in values]))
        if place:
            differences = [row.differences()[place] for row in rows]
            name = f"{node.GetName()} minus {planNodes[0].GetName()}"
            texts = ["" if value is None else f"{round(value, 2) + 0.0:+.2f}" for value in differences]
            columns.append((name, texts))
    return setDerivedTable(f"Metrics of {_names(planNodes)}", _METRICS, planNodes, columns)


def checkPlans(planNodes: Sequence) -> None:
    """Raise `EvaluationError` for fewer than two plans, or a plan or a plan's name twice."""
    names = [node.GetName() for node in planNodes]
    if len(names) < 2:
        raise EvaluationError("A comparison needs at least two plans; choose another.")
    if len(set(names)) < len(names):
        raise EvaluationError(f"Plans to compare need different names; got {', '.join(names)}. Rename one.")


def _names(planNodes: Sequence) -> str:
    return ", ".join(node.GetName() for node in planNodes)


def _colors(planNode, dvhs: Mapping[str, Dvh]) -> list[tuple[str, tuple[float, float, float]]]:
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
    segmentation = segmentationNode.GetSegmentation()
    return [(name, segmentation.GetSegment(segmentIDOf(segmentationNode, name)).GetColor()) for name in dvhs]


def _lineStyle(number: int) -> int:
    series = slicer.vtkMRMLPlotSeriesNode
    return (
        series.LineStyleSolid,
        series.LineStyleDash,
        series.LineStyleDot,
        series.LineStyleDashDot,
        series.LineStyleDashDotDot,
    )[number]


def _rowNote(comparison: GoalComparison, row) -> str:
    notes = zip(comparison.plans, row.results, strict=True)
    return " ".join(f"{plan}: {result.note}" for plan, result in notes if result is not None and result.note)
