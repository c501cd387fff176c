"""Curves as MRML plot charts, a table and a series each; not saved with the scene, they can be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from DoseEngineLib.mrml.plot_series import setLine
from DoseEngineLib.mrml.table_columns import addNumbers

_CHART = "RTPlanning.CurveChart"
_SERIES = "curveSeriesRef"
_TABLE = "curveTableRef"
# Blue, orange, green, red, violet, brown, grey: told apart in print and by most colour-blind readers.
_COLORS = (
    (0.12, 0.44, 0.71),
    (0.90, 0.50, 0.10),
    (0.17, 0.57, 0.25),
    (0.78, 0.16, 0.22),
    (0.48, 0.34, 0.66),
    (0.50, 0.36, 0.28),
    (0.42, 0.46, 0.51),
)


@dataclass(frozen=True, eq=False)
class ChartCurve:
    """A curve of a chart.

    Attributes
    ----------
    name : str
        In the legend.
    x, y : (n,) arrays
    style : {"line", "dashes", "points"}
    color : (3,) tuple of float, optional
        By default one of the chart's, in order.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: str = "line"
    color: tuple[float, float, float] | None = None


def setCurveChart(scene, key: str, title: str, xTitle: str, yTitle: str, curves: Sequence[ChartCurve]):
    """Put curves into the scene's chart of this key, in place of its former ones.

    Parameters
    ----------
    scene : vtkMRMLScene
    key : str
        Which chart; it is made when there is none.
    title, xTitle, yTitle : str
    curves : sequence of ChartCurve

    Returns
    -------
    vtkMRMLPlotChartNode
        Hidden from lists and not saved with the scene, as its tables and series are.
    """
    chart = curveChart(scene, key)
    if chart is None:
        chart = _add(scene, slicer.vtkMRMLPlotChartNode(), key)
        chart.SetAttribute(_CHART, key)
    wasModifying = chart.StartModify()
    chart.SetTitle(title)
    chart.SetXAxisTitle(xTitle)
    chart.SetYAxisTitle(yTitle)
    chart.RemoveAllPlotSeriesNodeIDs()
    _removeParts(scene, chart)
    for number, curve in enumerate(curves):
        table = _add(scene, slicer.vtkMRMLTableNode(), f"{key}_{curve.name}_Table")
        for column, values in (("x", curve.x), ("y", curve.y)):
            addNumbers(table, column, values)
        series = _add(scene, slicer.vtkMRMLPlotSeriesNode(), curve.name)
        setLine(series, table, "x", "y", curve.color or _COLORS[number % len(_COLORS)])
        points = curve.style == "points"
        series.SetLineStyle(
            series.LineStyleNone
            if points
            else series.LineStyleDash
            if curve.style == "dashes"
            else series.LineStyleSolid
        )
        if points:
            series.SetMarkerStyle(series.MarkerStyleCircle)
            series.SetMarkerSize(4)
        chart.AddNodeReferenceID(_TABLE, table.GetID())
        chart.AddNodeReferenceID(_SERIES, series.GetID())
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.EndModify(wasModifying)
    return chart


def curveChart(scene, key: str):
    """Return the scene's chart of this key, or None."""
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLPlotChartNode")
        if node.GetAttribute(_CHART) == key:
            return node
    return None


def removeCurveChart(scene, key: str) -> None:
    """Take a chart with its series and tables out of the scene; nothing happens where there is none."""
    chart = curveChart(scene, key)
    if chart is None:
        return
    _removeParts(scene, chart)
    scene.RemoveNode(chart)


def _removeParts(scene, chart) -> None:
    roles = (_SERIES, _TABLE)
    parts = [chart.GetNthNodeReference(role, n) for role in roles for n in range(chart.GetNumberOfNodeReferences(role))]
    for role in roles:
        chart.RemoveNodeReferenceIDs(role)
    for node in parts:
        if node is not None:
            scene.RemoveNode(node)


def _add(scene, node, name: str):
    node.SetName(name)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return scene.AddNode(node)
