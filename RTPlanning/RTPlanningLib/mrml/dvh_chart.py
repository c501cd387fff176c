"""How a plan's DVH chart is shown: which structures, doses in Gy or %, volumes in % or cm3."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.plan_node import planFromNode, referencedNodes
from DoseEngineLib.mrml.subject_hierarchy import placeNode, removeNode
from DoseEngineLib.mrml.table_columns import addNumbers
from RTPlanningLib.mrml.dvh_nodes import AXES_TABLE, CHART, COVERED_FRACTION, DVH_TABLE, SERIES, VOLUME_CC

# As on SlicerRT's charts, but for the symbol of the gray
_DOSE_TITLES = {False: "Dose [Gy]", True: "Dose [% of the prescription]"}
_VOLUME_TITLES = {False: "Fractional volume [%]", True: "Volume [cc]"}


def chartStructures(planNode) -> list[str]:
    """Return the names of the structures that have a DVH, in their order."""
    return [series.GetName() for series in referencedNodes(planNode, SERIES)]


def showDvhChart(
    planNode, hidden: Collection[str] = (), *, relativeDose: bool = False, absoluteVolume: bool = False
) -> None:
    """Set what the chart of a plan's DVHs shows.

    The DVH tables themselves stay as they are, in Gy and %, as other modules read them.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
        With DVHs; one without is left as it is.
    hidden : collection of str
        Structures whose curves are taken off the chart.
    relativeDose : bool
        Doses in % of the prescribed dose.
    absoluteVolume : bool
        Volumes in cm3 of the part inside the dose grid.

    Raises
    ------
    EvaluationError
        Relative doses of a plan without a prescription.
    """
    chart = planNode.GetNodeReference(CHART)
    if chart is None:
        return
    prescription = planFromNode(planNode).prescription
    if relativeDose and prescription is None:
        raise EvaluationError(
            f"Plan {planNode.GetName()} has no prescription that doses could be percent of; prescribe, or show Gy."
        )
    series, tables = referencedNodes(planNode, SERIES), referencedNodes(planNode, DVH_TABLE)
    axes = None
    if relativeDose or absoluteVolume:
        axes = _axesTable(planNode, chart, tables, prescription.dose_Gy if relativeDose else None, absoluteVolume)
    modified = chart.StartModify()
    for number, (node, table) in enumerate(zip(series, tables, strict=True)):
        node.SetAndObserveTableNodeID((axes or table).GetID())
        node.SetXColumnName("Dose" if axes is None else f"Dose {number}")
        node.SetYColumnName("Volume" if axes is None else f"Volume {number}")
    if axes is None and planNode.GetNodeReference(AXES_TABLE) is not None:
        removeNode(planNode.GetNodeReference(AXES_TABLE))
        planNode.RemoveNodeReferenceIDs(AXES_TABLE)
    chart.RemoveAllPlotSeriesNodeIDs()
    for node in series:
        if node.GetName() not in hidden:
            chart.AddAndObservePlotSeriesNodeID(node.GetID())
    chart.SetXAxisTitle(_DOSE_TITLES[relativeDose])
    chart.SetYAxisTitle(_VOLUME_TITLES[absoluteVolume])
    chart.EndModify(modified)


def _axesTable(planNode, chart, tables, prescribed_Gy: float | None, absoluteVolume: bool):
    """The curves in other units, as a table of their own: two columns a structure, of equal length."""
    node = planNode.GetNodeReference(AXES_TABLE)
    if node is None:
        node = planNode.GetScene().AddNewNodeByClass("vtkMRMLTableNode", f"{planNode.GetName()}_DvhAxes")
        node.SetHideFromEditors(True)
        placeNode(node, placeNode(chart))
        planNode.SetNodeReferenceID(AXES_TABLE, node.GetID())
    rows = max((table.GetNumberOfRows() for table in tables), default=0)
    modified = node.StartModify()
    node.RemoveAllColumns()
    for number, table in enumerate(tables):
        dose, volume = (vtk_to_numpy(table.GetTable().GetColumnByName(name)) for name in ("Dose", "Volume"))
        # shorter curves end at their last point, again and again
        dose, volume = (np.pad(np.asarray(values, float), (0, rows - len(values)), "edge") for values in (dose, volume))
        if prescribed_Gy is not None:
            dose = 100.0 * dose / prescribed_Gy
        if absoluteVolume:
            covered_cm3 = float(table.GetAttribute(VOLUME_CC)) * float(table.GetAttribute(COVERED_FRACTION))
            volume = volume / 100.0 * covered_cm3
        addNumbers(node, f"Dose {number}", dose)
        addNumbers(node, f"Volume {number}", volume)
    node.EndModify(modified)
    return node
