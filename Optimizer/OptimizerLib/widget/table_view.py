"""A table node of the scene shown in a table widget."""

from __future__ import annotations

from typing import Any

import qt

from OptimizerLib.mrml.table_columns import columnsOf

_COLORS = {"yes": "#1b7f3b", "no": "#b3261e"}


# Beyond this many pixels a column wraps; the first takes what the others leave.
_WIDEST = 105


def showTable(widget: Any, tableNode: Any) -> None:
    """Show the columns of a table node, which are as many as the widget's, with verdicts in colour; None: no rows."""
    columns = [] if tableNode is None else list(columnsOf(tableNode).values())
    rows = len(columns[0]) if columns else 0
    widget.setRowCount(rows)
    for column, texts in enumerate(columns):
        for row, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            if text in _COLORS:
                item.setForeground(qt.QBrush(qt.QColor(_COLORS[text])))
            widget.setItem(row, column, item)
    widget.resizeColumnsToContents()
    for column in range(1, len(columns)):
        widget.setColumnWidth(column, min(int(widget.columnWidth(column)), _WIDEST))
    header = widget.horizontalHeader()
    header.setStretchLastSection(False)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    widget.resizeRowsToContents()
