"""A table node of the scene shown in a table widget."""

from __future__ import annotations

from typing import Any

import qt

from DoseEngineLib.mrml.table_columns import tableTexts
from DoseEngineLib.verdict_colors import verdict_color
from DoseEngineLib.widget.text_table import isDark, setColor, writeRows

_VERDICTS = {"yes": "passed", "no": "failed"}


# Beyond this many pixels a column wraps; the first takes what the others leave.
_WIDEST = 105


def showTable(widget: Any, tableNode: Any) -> None:
    """Show the columns of a table node, which are as many as the widget's, with verdicts in colour; None: no rows."""
    columns, rows = ([], []) if tableNode is None else tableTexts(tableNode)
    writeRows(widget, rows)
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            if text in _VERDICTS:
                color = verdict_color(_VERDICTS[text], dark=isDark(widget))
                setColor(widget.item(row, column), color, bold=False)
    widget.resizeColumnsToContents()
    for column in range(1, len(columns)):
        widget.setColumnWidth(column, min(int(widget.columnWidth(column)), _WIDEST))
    header = widget.horizontalHeader()
    header.setStretchLastSection(False)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    widget.resizeRowsToContents()
