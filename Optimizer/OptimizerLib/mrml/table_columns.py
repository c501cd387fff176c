"""Columns of table nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk


def setColumns(tableNode, columns: Mapping[str, Sequence[float] | Sequence[str]]) -> None:
    """Give a table these columns and no others, in one change; texts stay texts, numbers become doubles."""
    with oneChange(tableNode):
        tableNode.RemoveAllColumns()
        for name, values in columns.items():
            tableNode.AddColumn(_texts(name, values) if _isText(values) else _numbers(name, values))


@contextmanager
def oneChange(node):
    """Let a node tell of all changes within by a single event."""
    was = node.StartModify()
    try:
        yield node
    finally:
        node.EndModify(was)


def columnsOf(tableNode) -> dict[str, list[str]]:
    """The columns of a table as texts, by name."""
    table = tableNode.GetTable()
    columns = (table.GetColumn(n) for n in range(table.GetNumberOfColumns()))
    return {
        column.GetName(): [column.GetVariantValue(row).ToString() for row in range(column.GetNumberOfTuples())]
        for column in columns
    }


def _isText(values: Sequence) -> bool:
    return len(values) > 0 and isinstance(values[0], str)


def _numbers(name: str, values: Sequence[float]):
    column = numpy_to_vtk(np.array(values, dtype=np.float64), deep=True)
    column.SetName(name)
    return column


def _texts(name: str, values: Sequence[str]):
    column = vtk.vtkStringArray()
    column.SetName(name)
    for text in values:
        column.InsertNextValue(text)
    return column
