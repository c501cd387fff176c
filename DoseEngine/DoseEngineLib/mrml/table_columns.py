"""Columns of table nodes: numbers and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk


def addNumbers(tableNode, name: str, values: Sequence[float]) -> None:
    """Add a column of double precision numbers."""
    column = numpy_to_vtk(np.asarray(values, dtype=np.float64), deep=True)
    column.SetName(name)
    tableNode.AddColumn(column)


def addTexts(tableNode, name: str, texts: Sequence[str]) -> None:
    """Add a column of texts."""
    column = vtk.vtkStringArray()
    column.SetName(name)
    for text in texts:
        column.InsertNextValue(text)
    tableNode.AddColumn(column)


def setColumns(tableNode, columns: Mapping[str, Sequence[float] | Sequence[str]]) -> None:
    """Give a table these columns and no others, in one change; texts stay texts, numbers become doubles."""
    with oneChange(tableNode):
        tableNode.RemoveAllColumns()
        for name, values in columns.items():
            (addTexts if _isText(values) else addNumbers)(tableNode, name, values)


@contextmanager
def oneChange(node):
    """Let a node tell of all changes within by a single event."""
    was = node.StartModify()
    try:
        yield node
    finally:
        node.EndModify(was)


def tableTexts(tableNode) -> tuple[list[str], list[list[str]]]:
    """Return the names of a table's columns and the texts of its rows."""
    columns = range(tableNode.GetNumberOfColumns())
    rows = [[tableNode.GetCellText(row, column) for column in columns] for row in range(tableNode.GetNumberOfRows())]
    return [tableNode.GetColumnName(column) for column in columns], rows


def _isText(values: Sequence) -> bool:
    return len(values) > 0 and isinstance(values[0], str)
