"""Tables calculated from nodes of the scene."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode
from DoseEngineLib.mrml.table_columns import addTexts
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation


def setDerivedTable(
    name: str, request: Mapping[str, Any], inputs: Sequence, columns: Iterable[tuple[str, Sequence[str]]]
):
    """Put a table into the study of the first input, in place of the one of an equal request of the same nodes.

    Parameters
    ----------
    name : str
        Of a new table; it gets a number where it is in use.
    request, inputs
        As in `RTPlanningLib.mrml.derived_nodes.derivedNode`.
    columns : iterable of (name, texts)

    Returns
    -------
    vtkMRMLTableNode
    """
    scene = inputs[0].GetScene()
    table = derivedNode(scene, "vtkMRMLTableNode", request, inputs)
    if table is None:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GetUniqueNameByString(name))
    table.RemoveAllColumns()
    for column, texts in columns:
        addTexts(table, column, texts)
    setDerivation(table, request, inputs)
    placeNode(table, ensureStudy(inputs[0], "Patient", "Radiotherapy planning"))
    return table
