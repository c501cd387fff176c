"""Plot series: columns of a table drawn as lines."""

from __future__ import annotations

from collections.abc import Sequence


def setLine(series, tableNode, x: str, y: str, color: Sequence[float]) -> None:
    """Let a series draw column ``y`` of a table over column ``x``, as a line without marks in a colour (RGB, 0..1)."""
    series.SetAndObserveTableNodeID(tableNode.GetID())
    series.SetXColumnName(x)
    series.SetYColumnName(y)
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetColor(*color)
