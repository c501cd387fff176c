"""Rows of text in a table widget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

_LARGEST_PIXELS = 320


def fillTable(table: Any, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show rows of text; the last column takes the room that is left, every cell tells its text when pointed at.

    Parameters
    ----------
    table : QTableWidget
    headers : sequence of str
    rows : sequence of sequences of str
        As long as the headers.
    """
    table.setColumnCount(len(headers))
    table.setRowCount(len(rows))
    table.setHorizontalHeaderLabels(list(headers))
    table.verticalHeader().setVisible(False)
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(row, column, item)
    table.horizontalHeader().setStretchLastSection(True)
    table.resizeColumnsToContents()
    table.resizeRowsToContents()
    frame = 2 * int(table.property("frameWidth"))
    height = int(table.horizontalHeader().property("height")) + int(table.verticalHeader().length()) + frame
    table.setFixedHeight(min(height + 18, _LARGEST_PIXELS))
    table.setVisible(bool(rows))
