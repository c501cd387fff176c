"""SlicerRT's plan, beam, objective and DVH nodes, where Slicer has them: the one file that names their methods.

Methods as in SlicerRT's ``Beams/MRML/vtkMRMLRTPlanNode.h`` and ``vtkMRMLRTBeamNode.h`` (July 2026). A plan node's
isocentre is the first point, "Isocenter", of its markups; its beams are its children in the subject hierarchy, and a
beam is added to it once it is in the scene. Leaves are a table ``MLCX_BoundaryAndPosition``: columns ``Boundary``,
``1``, ``2``, one row more than pairs, rows i and i + 1 bounding leaf i, mm at the isocentre. A beam's dose influence
has a row for every voxel of a grid with the reference volume's axes and first voxel, the first index running fastest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import slicer
import vtk
from scipy import sparse
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.subject_hierarchy import placeNode, removeNode
from DoseEngineLib.mrml.table_columns import addNumbers
from RTPlanningLib.slicerrt_plan import SlicerRtBeam, SlicerRtPlan

_PLAN, _BEAM = "vtkMRMLRTPlanNode", "vtkMRMLRTBeamNode"
DVH_NODE = "vtkMRMLDoseVolumeHistogramNode"
_TABLE_NAME = "MLCX_BoundaryAndPosition"
_COLUMNS = ("Boundary", "1", "2")


def isSlicerRtPlan(node) -> bool:
    """Tell whether a node is a plan of SlicerRT."""
    return node is not None and bool(node.IsA(_PLAN))


def slicerRtClass(name: str):
    """Return a node class of SlicerRT; `PlanError` when SlicerRT is not there."""
    found = getattr(slicer, name, None)
    if found is None:
        raise PlanError(
            f"SlicerRT is not installed here ({name} is missing). Install it with the Extensions Manager of 3D Slicer, "
            "restart and try again; everything else works without it."
        )
    return found


def createSlicerRtDvhNode(doseNode, segmentationNode, metricsNode, chartNode):
    """Add the node by which SlicerRT's DVH module shows a metrics table and its chart; returns it."""
    node = slicerRtClass(DVH_NODE)()
    node.SetName(doseNode.GetScene().GetUniqueNameByString(f"{metricsNode.GetName()}_SlicerRT"))
    node = doseNode.GetScene().AddNode(node)
    for role, referred in (
        ("doseVolumeRef", doseNode),
        ("segmentationRef", segmentationNode),
        ("dvhMetricsTableRef", metricsNode),
        ("chartRef", chartNode),
    ):
        node.SetNodeReferenceID(role, referred.GetID())
    return node


def createSlicerRtNodes(scene, values: SlicerRtPlan, volumeNode, segmentationNode, parentItem: int):
    """Add a plan node of SlicerRT with its beams and MLC tables, all of it or nothing; returns the plan node.

    Its output dose volume is left to SlicerRT, which writes over it.

    Raises
    ------
    PlanError
        SlicerRT is not there.
    """
    makePlan, makeBeam = slicerRtClass(_PLAN), slicerRtClass(_BEAM)
    former = {node.GetID() for node in _nodes(scene)}
    planNode = makePlan()
    planNode.SetName(scene.GetUniqueNameByString(values.name))
    planNode = scene.AddNode(planNode)
    try:
        placeNode(planNode, parentItem)
        planNode.SetAndObserveReferenceVolumeNode(volumeNode)
        if segmentationNode is not None:
            planNode.SetAndObserveSegmentationNode(segmentationNode)
        # before the targets: a centre of target would move the isocentre
        planNode.SetIsocenterSpecification(planNode.ArbitraryPoint)
        planNode.SetIsocenterPosition(list(values.isocenter_RAS_mm))
        planNode.SetTargetSegmentIDs(list(values.target_segment_ids))
        planNode.SetDoseGridSpacing(*values.dose_grid_spacing_mm)
        planNode.SetIonPlanFlag(False)
        if values.rx_dose_Gy is not None:
            planNode.SetRxDose(values.rx_dose_Gy)
        for beam in values.beams:
            _addBeam(scene, planNode, makeBeam(), beam)
    except BaseException:
        # with the displays and transforms that Slicer and SlicerRT added by themselves
        for node in reversed([node for node in _nodes(scene) if node.GetID() not in former]):
            removeNode(node)
        raise
    return planNode


def readSlicerRtNodes(planNode) -> SlicerRtPlan:
    """Return the values of a SlicerRT plan node and its beams.

    Raises
    ------
    PlanError
        An ion plan, a plan without isocentre, or an MLC that moves along Y.
    """
    name = planNode.GetName()
    if planNode.GetIonPlanFlag():
        raise PlanError(f"{name} is an ion plan of SlicerRT; the dose engines here are for photons.")
    markups = planNode.GetPoisMarkupsFiducialNode()
    if markups is None or markups.GetNumberOfControlPoints() == 0:
        raise PlanError(f"{name} has no isocentre; set it in SlicerRT's External Beam Planning.")
    isocenter = [0.0, 0.0, 0.0]
    markups.GetNthControlPointPosition(0, isocenter)
    return SlicerRtPlan(
        name,
        tuple(float(x) for x in isocenter),
        float(planNode.GetRxDose()),
        tuple(planNode.GetTargetSegmentIDs()),
        tuple(float(x) for x in planNode.GetDoseGridSpacing()),
        tuple(_readBeam(node) for node in beamNodes(planNode)),
    )


def beamNodes(planNode) -> list:
    """Return the beams of a SlicerRT plan in the order of their numbers, that of `readSlicerRtNodes`."""
    found = vtk.vtkCollection()
    planNode.GetBeams(found)
    nodes = [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]
    return sorted(nodes, key=lambda node: node.GetBeamNumber())


def planOfBeam(beamNode):
    """Return the plan that a SlicerRT beam belongs to; `PlanError` when there is none."""
    planNode = beamNode.GetParentPlanNode()
    if planNode is None:
        raise PlanError(f"Beam {beamNode.GetName()} is in no plan; add it to one in SlicerRT's External Beam Planning.")
    return planNode


def bodySegmentID(planNode) -> str | None:
    """Return the ID of the segment that a SlicerRT plan names as the body, or None."""
    return planNode.GetBodySegmentID() or None


def setDistance(beamNode, sad_mm: float) -> None:
    """Set the distance from source to axis of a SlicerRT beam in mm."""
    beamNode.SetSAD(sad_mm)


def setBeamInfluence(
    beamNode, matrix: sparse.coo_array, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    """Give a SlicerRT beam its dose influence, which its plan optimizers read; scenes do not save it.

    Parameters
    ----------
    matrix : (voxels, bixels) scipy.sparse.coo_array
        A row for each voxel of the grid.
    shape : (int, int, int)
        Voxels of the grid along k, j, i.
    spacing_mm : (3,) tuple of float
        Along i, j, k.
    """
    beamNode.SetDoseInfluenceMatrixFromTriplets(
        *matrix.shape,
        np.ascontiguousarray(matrix.row, np.int32),
        np.ascontiguousarray(matrix.col, np.int32),
        np.ascontiguousarray(matrix.data, np.float64),
        tuple(shape[::-1]),
        tuple(spacing_mm),
    )


class ObjectiveValues(NamedTuple):
    """A row of SlicerRT's objectives table: its kind, the structure's name, importance, whose voxels those of several
    structures are (the lowest number's), and its parameters as texts."""

    kind: str
    structure: str
    penalty: str
    overlap_priority: str
    is_constraint: bool
    parameters: dict[str, str]


_OF_EVERY_OBJECTIVE = ("penalty", "overlapPriority", "isConstraint")


def readObjective(node) -> ObjectiveValues:
    """Return the values of a node of SlicerRT's objectives table; `PlanError` when its structure is not there."""
    segmentationNode, segmentID = node.GetSegmentationNode(), node.GetSegmentID()
    segment = segmentationNode.GetSegmentation().GetSegment(segmentID) if segmentationNode and segmentID else None
    if segment is None:
        raise PlanError(f"Objective {node.GetName()} has no structure; choose one in SlicerRT's table of objectives.")
    penalty, overlap, constraint = (node.GetAttribute(name) or "" for name in _OF_EVERY_OBJECTIVE)
    parameters = {name: node.GetAttribute(name) for name in node.GetAttributeNames() if name not in _OF_EVERY_OBJECTIVE}
    return ObjectiveValues(node.GetName(), segment.GetName(), penalty, overlap, constraint == "true", parameters)


def referencedVolume(planNode):
    """Return the reference volume of a SlicerRT plan; `PlanError` when there is none."""
    volumeNode = planNode.GetReferenceVolumeNode()
    if volumeNode is None:
        raise PlanError(
            f"{planNode.GetName()} has no reference volume; choose the CT in SlicerRT's External Beam Planning."
        )
    return volumeNode


def referencedSegmentation(planNode):
    """Return the segmentation of a SlicerRT plan, or None."""
    return planNode.GetSegmentationNode()


def _nodes(scene) -> list:
    return [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]


def _addBeam(scene, planNode, beamNode, beam: SlicerRtBeam) -> None:
    beamNode.SetName(beam.name)
    beamNode.SetGantryAngle(beam.gantry_deg)
    beamNode.SetCollimatorAngle(beam.collimator_deg)
    beamNode.SetCouchAngle(beam.couch_deg)
    beamNode.SetX1Jaw(beam.jaw_x_mm[0])
    beamNode.SetX2Jaw(beam.jaw_x_mm[1])
    beamNode.SetY1Jaw(beam.jaw_y_mm[0])
    beamNode.SetY2Jaw(beam.jaw_y_mm[1])
    beamNode.SetSAD(beam.sad_mm)
    beamNode.SetBeamWeight(beam.weight)
    beamNode = scene.AddNode(beamNode)
    if beam.leaf_positions_mm is not None:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", _TABLE_NAME)
        # the last row is a boundary only
        addNumbers(table, _COLUMNS[0], beam.leaf_boundaries_mm)
        for bank in (0, 1):
            addNumbers(table, _COLUMNS[1 + bank], [*(pair[bank] for pair in beam.leaf_positions_mm), 0.0])
        beamNode.SetAndObserveMultiLeafCollimatorTableNode(table)
    planNode.AddBeam(beamNode)
    if beam.leaf_positions_mm is not None:
        placeNode(beamNode.GetMultiLeafCollimatorTableNode(), placeNode(beamNode))


def _readBeam(node) -> SlicerRtBeam:
    sides, leaves = _readLeaves(node)
    return SlicerRtBeam(
        int(node.GetBeamNumber()),
        node.GetName(),
        float(node.GetGantryAngle()),
        float(node.GetCollimatorAngle()),
        float(node.GetCouchAngle()),
        (float(node.GetX1Jaw()), float(node.GetX2Jaw())),
        (float(node.GetY1Jaw()), float(node.GetY2Jaw())),
        float(node.GetSAD()),
        float(node.GetBeamWeight()),
        sides,
        leaves,
    )


def _readLeaves(beamNode):
    table = beamNode.GetMultiLeafCollimatorTableNode()
    if table is None:
        return None, None
    owner = f"Beam {beamNode.GetName()}: its MLC table {table.GetName()}"
    if not table.GetName().startswith("MLCX"):
        raise PlanError(
            f"{owner} is not of leaves along X (MLCX), the only ones known here; remove the table, or choose another."
        )
    columns = [table.GetTable().GetColumnByName(name) for name in _COLUMNS]
    if any(column is None or not column.IsA("vtkDataArray") for column in columns) or table.GetNumberOfRows() < 2:
        raise PlanError(
            f"{owner} needs the number columns {', '.join(_COLUMNS)} and two or more rows; mend or remove it there."
        )
    sides, first, second = (tuple(float(value) for value in vtk_to_numpy(column)) for column in columns)
    return sides, tuple(zip(first[:-1], second[:-1], strict=True))
