"""DVHs as SlicerRT shapes them: a table a structure, a metrics table, and a chart with a series a structure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import vtk

from DoseEngineLib.mrml.plan_node import referencedNodes
from DoseEngineLib.mrml.plot_series import setLine
from DoseEngineLib.mrml.segmentations import segmentIDOf
from DoseEngineLib.mrml.subject_hierarchy import placeNode, removeNode, studyOf
from DoseEngineLib.mrml.table_columns import addNumbers, addTexts
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.mrml.evaluated_state import setEvaluatedState

DVH_TABLE = "dvhTableRef"
METRICS_TABLE = "dvhMetricsTableRef"
CHART = "dvhChartRef"
NOTES_TABLE = "dvhNotesTableRef"
SERIES = "dvhPlotSeriesRef"
AXES_TABLE = "dvhAxesTableRef"
_PREFIX = "DoseVolumeHistogram."
VOLUME_CC = f"{_PREFIX}Volume (cc)"
COVERED_FRACTION = "RTPlanning.CoveredFraction"
_UNIT = "GY"
# SlicerRT finds the series of a chart, and the DVH tables of a metrics table, by these references
_SLICERRT_SERIES = f"{_PREFIX}dvhPlotSeries"
# A scene file does not quote the roles of references: with other characters it could not be read again.
_SAFE_IN_ROLE = re.compile(r"[\w .+^()~-]+")
_STEP_GY = 0.1
DOSE_AT_VOLUME_PERCENT = (98.0, 95.0, 50.0, 2.0)


def createDvhNodes(
    planNode,
    doseNode,
    segmentationNode,
    dvhs: Mapping[str, Dvh],
    dosesAtVolumePercent: Sequence[float] = DOSE_AT_VOLUME_PERCENT,
    volumesAtDose_Gy: Sequence[float] = (),
    notes: Mapping[str, str] | None = None,
    state: Mapping[str, str] | None = None,
):
    """Put DVHs into the scene, in place of the plan's former ones.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    doseNode : vtkMRMLScalarVolumeNode
    segmentationNode : vtkMRMLSegmentationNode
    dvhs : mapping of structure name to Dvh
    dosesAtVolumePercent : sequence of float
        Columns ``D95% (GY)`` of the metrics table.
    volumesAtDose_Gy : sequence of float
        Columns ``V20 (cc)`` and ``V20 (%)``.
    notes : mapping of structure name to str, optional
        Put into a table ``<plan>_DvhNotes`` (Structure, Note) below the metrics table: of structures left out, and of
        those partly outside the dose grid.
    state : mapping, optional
        What they were calculated of; see `RTPlanningLib.mrml.evaluated_state`.

    Returns
    -------
    metricsTableNode : vtkMRMLTableNode
    chartNode : vtkMRMLPlotChartNode
    """
    removeDvhNodes(planNode)
    scene, study = planNode.GetScene(), studyOf(doseNode)
    metrics = _addNode(scene, "vtkMRMLTableNode", f"{planNode.GetName()}_DvhMetrics")
    _fillMetrics(metrics, doseNode, dvhs, dosesAtVolumePercent, volumesAtDose_Gy)
    setEvaluatedState(metrics, state)
    metrics.SetNodeReferenceID("doseVolumeRef", doseNode.GetID())
    metrics.SetNodeReferenceID("segmentationRef", segmentationNode.GetID())
    chart = _addNode(scene, "vtkMRMLPlotChartNode", f"{planNode.GetName()}_DvhChart")
    chart.SetTitle("Dose Volume Histogram")
    chart.SetXAxisTitle("Dose [Gy]")
    chart.SetYAxisTitle("Fractional volume [%]")
    metricsItem, chartItem = placeNode(metrics, study), placeNode(chart, study)
    planNode.SetNodeReferenceID(METRICS_TABLE, metrics.GetID())
    planNode.SetNodeReferenceID(CHART, chart.GetID())
    for row, dvh in enumerate(dvhs.values()):
        segmentID = segmentIDOf(segmentationNode, dvh.structure_name)
        table = _dvhTable(scene, segmentID, row, dvh)
        for role, node in (
            ("doseVolumeRef", doseNode),
            ("segmentationRef", segmentationNode),
            (METRICS_TABLE, metrics),
        ):
            table.SetNodeReferenceID(role, node.GetID())
        if _SAFE_IN_ROLE.fullmatch(segmentID):
            role = f"{_PREFIX}{doseNode.GetID()}_{segmentationNode.GetID()}_{segmentID}"
            metrics.SetNodeReferenceID(role, table.GetID())
        placeNode(table, metricsItem)
        planNode.AddNodeReferenceID(DVH_TABLE, table.GetID())
        color = segmentationNode.GetSegmentation().GetSegment(segmentID).GetColor()
        series = _series(scene, table, dvh.structure_name, color)
        placeNode(series, chartItem)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        chart.AddNodeReferenceID(_SLICERRT_SERIES, series.GetID())
        planNode.AddNodeReferenceID(SERIES, series.GetID())
    if notes:
        table = _addNode(scene, "vtkMRMLTableNode", f"{planNode.GetName()}_DvhNotes")
        addTexts(table, "Structure", list(notes))
        addTexts(table, "Note", list(notes.values()))
        placeNode(table, metricsItem)
        planNode.SetNodeReferenceID(NOTES_TABLE, table.GetID())
    return metrics, chart


def dvhNotes(planNode) -> dict[str, str]:
    """Return the notes on a plan's DVHs, structure name to note; empty where there are none."""
    node = planNode.GetNodeReference(NOTES_TABLE)
    if node is None:
        return {}
    return {node.GetCellText(row, 0): node.GetCellText(row, 1) for row in range(node.GetNumberOfRows())}


def removeDvhNodes(planNode) -> None:
    """Remove the plan's DVH tables, metrics table, notes, chart and series from the scene."""
    for role in (SERIES, CHART, DVH_TABLE, AXES_TABLE, NOTES_TABLE, METRICS_TABLE):
        for node in referencedNodes(planNode, role):
            removeNode(node)
        planNode.RemoveNodeReferenceIDs(role)


def _dvhTable(scene, segmentID: str, row: int, dvh: Dvh):
    table = _addNode(scene, "vtkMRMLTableNode", f"{segmentID}_DvhTable")
    dose_Gy, volume_percent = dvh.curve(_STEP_GY)
    addNumbers(table, "Dose", dose_Gy)
    addNumbers(table, "Volume", volume_percent)
    table.SetAttribute(f"{_PREFIX}DVH", "1")
    table.SetAttribute(f"{_PREFIX}SegmentID", segmentID)
    table.SetAttribute(f"{_PREFIX}TableRow", str(row))
    table.SetAttribute(VOLUME_CC, f"{dvh.volume_cm3:.6f}")
    table.SetAttribute(COVERED_FRACTION, repr(dvh.covered_fraction))
    return table


def _fillMetrics(
    table, doseNode, dvhs: Mapping[str, Dvh], volumes_percent: Sequence[float], doses_Gy: Sequence[float]
) -> None:
    rows = list(dvhs.values())
    show = vtk.vtkBitArray()
    show.SetName("Show")
    for _ in rows:
        show.InsertNextValue(1)
    table.AddColumn(show)
    addTexts(table, "Structure", [dvh.structure_name for dvh in rows])
    addTexts(table, "Volume name", [doseNode.GetName()] * len(rows))
    addNumbers(table, "Volume (cc)", [dvh.volume_cm3 for dvh in rows])
    addNumbers(table, f"Mean dose ({_UNIT})", [dvh.mean_Gy for dvh in rows])
    addNumbers(table, f"Min dose ({_UNIT})", [dvh.min_Gy for dvh in rows])
    addNumbers(table, f"Max dose ({_UNIT})", [dvh.max_Gy for dvh in rows])
    for dose in doses_Gy:
        addNumbers(table, f"V{dose:g} (cc)", [dvh.volume_cm3_at_dose(dose) for dvh in rows])
        addNumbers(table, f"V{dose:g} (%)", [dvh.volume_percent_at_dose(dose) for dvh in rows])
    for percent in volumes_percent:
        addNumbers(table, f"D{percent:g}% ({_UNIT})", [dvh.dose_at_volume_percent(percent) for dvh in rows])


def _series(scene, table, name: str, color):
    series = _addNode(scene, "vtkMRMLPlotSeriesNode", name)
    series.SetAttribute(f"{_PREFIX}DVH", "1")
    setLine(series, table, "Dose", "Volume", color)
    return series


def _addNode(scene, className: str, name: str):
    return scene.AddNewNodeByClass(className, name)
