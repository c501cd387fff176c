"""The table of a dose summed up in a few figures."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.mrml.plan_node import isDoseCurrent
from DoseEngineLib.mrml.subject_hierarchy import placeNode, studyOf
from DoseEngineLib.mrml.table_columns import addTexts
from RTPlanningLib.evaluation.dose_figures import DoseFigure
from RTPlanningLib.mrml.node_digest import nodeDigest

DOSE_FIGURES_TABLE = "doseFiguresTableRef"
_SUMMED_UP = "RTPlanning.DoseDigest"


def createDoseFiguresTable(planNode, doseNode, figures: Sequence[DoseFigure]):
    """Write figures of a plan's dose into the plan's table node (columns Quantity, Value, Note)."""
    table = planNode.GetNodeReference(DOSE_FIGURES_TABLE)
    if table is None:
        name = f"{planNode.GetName()}_DoseFigures"
        table = planNode.GetScene().AddNewNodeByClass("vtkMRMLTableNode", name)
        planNode.SetNodeReferenceID(DOSE_FIGURES_TABLE, table.GetID())
    table.RemoveAllColumns()
    addTexts(table, "Quantity", [one.name for one in figures])
    addTexts(table, "Value", [one.text for one in figures])
    addTexts(table, "Note", [one.note for one in figures])
    table.SetAttribute(_SUMMED_UP, nodeDigest(doseNode))
    placeNode(table, studyOf(doseNode))
    return table


def doseFiguresOf(planNode) -> tuple[DoseFigure, ...]:
    """Return the figures of the plan's present dose; none where there are none, or those of another dose."""
    table = planNode.GetNodeReference(DOSE_FIGURES_TABLE)
    if table is None or not isDoseCurrent(planNode) or table.GetAttribute(_SUMMED_UP) != nodeDigest(planNode):
        return ()
    return tuple(
        DoseFigure(*(table.GetCellText(row, column) for column in range(3))) for row in range(table.GetNumberOfRows())
    )
