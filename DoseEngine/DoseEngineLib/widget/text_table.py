"""Rows of text in a table widget, and what colours them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

_HIGHEST_PIXELS, _LOWEST_PIXELS = 320, 60
_WIDEST_PIXELS, _NARROWEST_PIXELS = 140, 60
_FRAME_PIXELS, _PADDING_PIXELS = 22, 6
# Longer texts in the last column wrap, as a rule.
_LONGEST_LINE = 24


def prepareTable(table: Any, headers: Sequence[str]) -> None:
    """Give a table widget these columns; the last takes the room that is left, rows are as high as their text wraps."""
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(list(headers))
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)


def writeRows(table: Any, rows: Sequence[Sequence[str]], tips: Sequence[str] | None = None) -> None:
    """Give a table widget these rows and no others.

    Parameters
    ----------
    table : QTableWidget
        With its columns.
    rows : sequence of sequences of str
    tips : sequence of str, optional
        Tool tip of each row; by default every cell tells its own text.
    """
    table.setRowCount(len(rows))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text if tips is None else tips[row])
            table.setItem(row, column, item)


def setColor(item: Any, color: Sequence[float], *, bold: bool = True) -> None:
    """Write an item of a table or list in a colour, RGB in 0..1."""
    item.setForeground(qt.QBrush(qt.QColor(*(round(255 * channel) for channel in color))))
    if bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)


def isDark(widget: Any) -> bool:
    """Tell whether a widget's ground is dark."""
    return widget.property("palette").color(qt.QPalette.Base).lightness() < 128


def fillTable(table: Any, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show rows of text; the last column takes the room that is left, every cell tells its text when pointed at.

    Parameters
    ----------
    table : QTableWidget
    headers : sequence of str
    rows : sequence of sequences of str
        As long as the headers.
    """
    prepareTable(table, headers)
    writeRows(table, rows)
    table.resizeColumnsToContents()
    for column in range(len(headers) - 1):
        table.setColumnWidth(column, min(int(table.columnWidth(column)), _WIDEST_PIXELS))
    # the last one is as wide as the table leaves it, not as its longest text
    table.setColumnWidth(len(headers) - 1, _NARROWEST_PIXELS)
    table.horizontalHeader().setStretchLastSection(True)
    # measured anew: rows grow and shrink with the text that wraps in these widths
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    wraps = any(len(text) > _LONGEST_LINE for texts in rows for text in texts[-1:])
    lines = (
        int(table.verticalHeader().length()) if wraps else len(rows) * (table.fontMetrics().height() + _PADDING_PIXELS)
    )
    height = int(table.horizontalHeader().property("height")) + lines + _FRAME_PIXELS
    table.setFixedHeight(max(min(height, _HIGHEST_PIXELS), _LOWEST_PIXELS))
    table.setVisible(bool(rows))
