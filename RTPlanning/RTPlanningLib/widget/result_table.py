"""Rows of text in a table widget, verdicts in their colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from DoseEngineLib.verdict_colors import verdict_color
from DoseEngineLib.widget.text_table import isDark, setColor, writeRows


def showRows(
    table: Any,
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str] | None = None,
    tips: Sequence[str] = (),
    verdicts: Mapping[int, Sequence[str]] | None = None,
) -> None:
    """Fill a table widget; what is shown already is left alone.

    Parameters
    ----------
    table : QTableWidget
    rows : sequence of sequence of str
    header : sequence of str, optional
        By default the columns stay as the ``.ui`` file names them.
    tips : sequence of str
        Tool tip of each row.
    verdicts : mapping of column to sequence of str, optional
        Untranslated verdict of each row, which gives the cell in that column its colour.
    """
    dark = isDark(table)
    state = repr((rows, header, tips, verdicts, dark))
    if table.property("shownRows") == state:
        return
    if header is not None:
        table.setColumnCount(len(header))
        table.setHorizontalHeaderLabels(list(header))
    writeRows(table, rows, tips or [""] * len(rows))
    for column, words in (verdicts or {}).items():
        for row, verdict in enumerate(words):
            color = verdict_color(verdict, dark=dark)
            if color is not None:
                setColor(table.item(row, column), color)
    table.resizeColumnsToContents()
    table.setProperty("shownRows", state)
