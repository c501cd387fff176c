"""Columns of table nodes: numbers and texts."""

from __future__ import annotations

from collections.abc import Sequence

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
