"""A table node of the scene shown in a table widget."""

from __future__ import annotations

from typing import Any

import qt

from DoseEngineLib.widget.text_table import writeRows
from OptimizerLib.mrml.table_columns import columnsOf

_COLORS = {"yes": "#1b7f3b", "no": "#b3261e"}


# Beyond this many pixels a column wraps; the first takes what the others leave.
_WIDEST = 105


def showTable(widget: Any, tableNode: Any) -> None:
    """Show the columns of a table node, which are as many as the widget's, with verdicts in colour; None: no rows."""
    columns = [] if tableNode is None else list(columnsOf(tableNode).values())
    rows = list(zip(*columns, strict=True))
    writeRows(widget, rows)
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            if text in _COLORS:
                widget.item(row, column).setForeground(qt.QBrush(qt.QColor(_COLORS[text])))
    widget.resizeColumnsToContents()
    for column in range(1, len(columns)):
        widget.setColumnWidth(column, min(int(widget.columnWidth(column)), _WIDEST))
    header = widget.horizontalHeader()
    header.setStretchLastSection(False)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    widget.resizeRowsToContents()
