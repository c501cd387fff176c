"""The table of a dose summed up in a few figures."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.mrml.plan_node import isDoseCurrent
from DoseEngineLib.mrml.subject_hierarchy import placeNode, studyOf
from RTPlanningLib.evaluation.dose_statistics import DoseStatistic
from RTPlanningLib.mrml.node_digest import nodeDigest
from RTPlanningLib.mrml.table_columns import addTexts

DOSE_STATISTICS_TABLE = "doseStatisticsTableRef"
_SUMMED_UP = "RTPlanning.DoseDigest"


def createDoseStatisticsTable(planNode, doseNode, statistics: Sequence[DoseStatistic]):
    """Write figures of a plan's dose into the plan's table node (columns Quantity, Value, Note)."""
    table = planNode.GetNodeReference(DOSE_STATISTICS_TABLE)
    if table is None:
        name = f"{planNode.GetName()}_DoseStatistics"
        table = planNode.GetScene().AddNewNodeByClass("vtkMRMLTableNode", name)
        planNode.SetNodeReferenceID(DOSE_STATISTICS_TABLE, table.GetID())
    table.RemoveAllColumns()
    addTexts(table, "Quantity", [one.name for one in statistics])
    addTexts(table, "Value", [one.text for one in statistics])
    addTexts(table, "Note", [one.note for one in statistics])
    table.SetAttribute(_SUMMED_UP, nodeDigest(doseNode))
    placeNode(table, studyOf(doseNode))
    return table


def doseStatisticsOf(planNode) -> tuple[DoseStatistic, ...]:
    """Return the figures of the plan's present dose; none where there are none, or those of another dose."""
    table = planNode.GetNodeReference(DOSE_STATISTICS_TABLE)
    if table is None or not isDoseCurrent(planNode) or table.GetAttribute(_SUMMED_UP) != nodeDigest(planNode):
        return ()
    return tuple(
        DoseStatistic(*(table.GetCellText(row, column) for column in range(3)))
        for row in range(table.GetNumberOfRows())
    )
