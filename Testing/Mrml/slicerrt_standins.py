"""Stand-ins for SlicerRT's plan and beam nodes that hold callers to what is known of them, and know nothing else.

From SlicerRT's ``Beams/MRML/vtkMRMLRTPlanNode.h``, ``vtkMRMLRTBeamNode.h``, ``ExternalBeamPlanning/MRML/
vtkMRMLRTObjectiveNode.h`` and their ``.cxx`` (July 2026). Whatever a
plain node does not have and is not named here raises; so do arguments that C++ would refuse or a wrong MLC table.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import slicer
import vtk
from scipy import sparse
from vtk.util.numpy_support import numpy_to_vtk

_PLAIN = frozenset(dir(slicer.vtkMRMLNode))


def _number(value) -> float:
    assert isinstance(value, (int, float)), f"a double is wanted; got {value!r}"
    assert not isinstance(value, bool), "a double is wanted; got a flag"
    assert math.isfinite(value), f"a finite double is wanted; got {value!r}"
    return float(value)


def _node(node, className: str, scene):
    assert node is None or node.IsA(className), f"{className} is wanted; got {node!r}"
    assert node is None or (scene is not None and node.GetScene() is scene), "the nodes are not in the same scene"
    return node


class _Strict:
    """Refuse every method but those of a plain node and the known ones."""

    _known: frozenset[str] = frozenset()

    def __getattribute__(self, name: str):
        known = object.__getattribute__(self, "_known")
        if not name.startswith("_") and name not in _PLAIN and name not in known:
            raise AssertionError(f"SlicerRT is not known to have {type(self).__name__}.{name}")
        return super().__getattribute__(name)


class vtkMRMLRTBeamNode(_Strict, slicer.vtkMRMLModelNode):  # noqa: N801 - SlicerRT's name
    """A static beam."""

    _fields: ClassVar = {
        "X1Jaw": -100.0,
        "X2Jaw": 100.0,
        "Y1Jaw": -100.0,
        "Y2Jaw": 100.0,
        "SAD": 2000.0,
        "GantryAngle": 0.0,
        "CollimatorAngle": 0.0,
        "CouchAngle": 0.0,
        "BeamWeight": 1.0,
    }
    _known = frozenset(
        [f"{verb}{field}" for field in _fields for verb in ("Get", "Set")]
        + ["GetBeamNumber", "GetMultiLeafCollimatorTableNode", "SetAndObserveMultiLeafCollimatorTableNode"]
        + ["GetParentPlanNode", "GetDoseGridDim", "GetDoseGridSpacing"]
        + ["SetDoseInfluenceMatrixFromTriplets", "GetDoseInfluenceMatrixFieldData"]
    )

    def __init__(self) -> None:
        self._values, self._number = dict(self._fields), -1
        self._influence = sparse.csc_matrix((0, 0))
        self._grid = ((-1, -1, -1), (-1.0, -1.0, -1.0))

    def IsA(self, name: str) -> int:
        return int(name == "vtkMRMLRTBeamNode") or slicer.vtkMRMLModelNode.IsA(self, name)

    def GetBeamNumber(self) -> int:
        return self._number

    def GetParentPlanNode(self):
        """The plan whose item is above the beam's."""
        if self.GetScene() is None:
            return None
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.GetScene())
        item = hierarchy.GetItemByDataNode(self)
        node = hierarchy.GetItemDataNode(hierarchy.GetItemParent(item)) if item else None
        return node if isinstance(node, vtkMRMLRTPlanNode) else None

    def SetDoseInfluenceMatrixFromTriplets(self, rows, columns, r, c, values, dims, spacing) -> None:
        """std::vector<int>, std::vector<int>, std::vector<double>, int*, double*; duplicates would be added up."""
        assert isinstance(rows, int)
        assert isinstance(columns, int)
        r, c, values = np.asarray(r), np.asarray(c), np.asarray(values)
        assert r.dtype == c.dtype == np.int32, "C++ wants int"
        assert values.dtype == np.float64, "C++ wants double"
        assert r.size == c.size == values.size > 0
        assert np.isfinite(values).all()
        assert r.min() >= 0
        assert r.max() < rows
        assert c.min() >= 0
        assert c.max() < columns
        assert len(dims) == len(spacing) == 3
        assert all(type(n) is int and n > 0 for n in dims)
        assert math.prod(dims) == rows, "a row for each voxel of the dose grid"
        self._influence = sparse.csc_matrix((values, (r, c)), shape=(rows, columns))
        self._grid = tuple(dims), tuple(_number(s) for s in spacing)

    def GetDoseInfluenceMatrixFieldData(self):
        """Arrays Data, Indices and Indptr, by columns."""
        data = vtk.vtkFieldData()
        for name, values in zip(("Data", "Indices", "Indptr"), self._csc(), strict=True):
            array = numpy_to_vtk(values, deep=True)
            array.SetName(name)
            data.AddArray(array)
        return data

    def _csc(self):
        matrix = self._influence
        return matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)

    def GetDoseGridDim(self) -> tuple[int, ...]:
        return self._grid[0]

    def GetDoseGridSpacing(self) -> tuple[float, ...]:
        return self._grid[1]

    def GetMultiLeafCollimatorTableNode(self):
        return self.GetNodeReference("MLCBoundaryAndPositionRef")

    def SetAndObserveMultiLeafCollimatorTableNode(self, node) -> None:
        _node(node, "vtkMRMLTableNode", self.GetScene())
        if node is not None:
            check_mlc_table(node)
        self.SetNodeReferenceID("MLCBoundaryAndPositionRef", None if node is None else node.GetID())


def _accessors(cls, field: str) -> None:
    def get(self) -> float:
        return self._values[field]

    def put(self, value) -> None:
        self._values[field] = _number(value)

    setattr(cls, f"Get{field}", get)
    setattr(cls, f"Set{field}", put)


for _field in vtkMRMLRTBeamNode._fields:
    _accessors(vtkMRMLRTBeamNode, _field)


def check_mlc_table(node) -> None:
    """Hold an MLC table to SlicerRT's layout."""
    assert node.GetName().startswith(("MLCX", "MLCY")), node.GetName()
    table = node.GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == ["Boundary", "1", "2"]
    columns = [table.GetColumn(n) for n in range(3)]
    assert all(column.IsA("vtkDoubleArray") and column.GetNumberOfComponents() == 1 for column in columns)
    sides = [columns[0].GetValue(n) for n in range(columns[0].GetNumberOfTuples())]
    assert len(sides) >= 2
    assert all(a < b for a, b in zip(sides, sides[1:]))
    assert all(column.GetNumberOfTuples() == len(sides) for column in columns)
    assert all(columns[1].GetValue(n) <= columns[2].GetValue(n) for n in range(len(sides) - 1))


class vtkMRMLDoseVolumeHistogramNode(_Strict, slicer.vtkMRMLScriptedModuleNode):  # noqa: N801 - SlicerRT's name
    """What the DVH module works on; it is known by its references only."""

    def IsA(self, name: str) -> int:
        return int(name == "vtkMRMLDoseVolumeHistogramNode") or slicer.vtkMRMLScriptedModuleNode.IsA(self, name)


class vtkMRMLRTPlanNode(_Strict, slicer.vtkMRMLFolderDisplayNode):  # noqa: N801 - SlicerRT's name
    """A plan: one isocentre, beams below it in the subject hierarchy."""

    CenterOfTarget, ArbitraryPoint = 0, 1
    _known = frozenset(
        (
            "CenterOfTarget",
            "ArbitraryPoint",
            "AddBeam",
            "RemoveBeam",
            "GetBeams",
            "GetReferenceVolumeNode",
            "GetSegmentationNode",
            "SetAndObserveReferenceVolumeNode",
            "SetAndObserveSegmentationNode",
            "GetPoisMarkupsFiducialNode",
            "SetIsocenterSpecification",
            "SetIsocenterPosition",
            "SetTargetSegmentIDs",
            "GetTargetSegmentIDs",
            "GetRxDose",
            "SetRxDose",
            "GetDoseGridSpacing",
            "SetDoseGridSpacing",
            "GetIonPlanFlag",
            "SetIonPlanFlag",
            "GetBodySegmentID",
            "SetBodySegmentID",
            "GetDoseEngineName",
            "SetDoseEngineName",
            "GetPlanOptimizerName",
            "SetPlanOptimizerName",
            "GetOutputTotalDoseVolumeNode",
            "SetAndObserveOutputTotalDoseVolumeNode",
            "GetPlanSubjectHierarchyItemID",
        )
    )

    def __init__(self) -> None:
        self._rx, self._targets, self._spacing, self._ion = 1.0, (), (5.0, 5.0, 5.0), False
        self._specification, self._next = self.CenterOfTarget, 1
        self._body = self._engine = self._optimizer = None

    def IsA(self, name: str) -> int:
        return int(name == "vtkMRMLRTPlanNode") or slicer.vtkMRMLFolderDisplayNode.IsA(self, name)

    def AddBeam(self, beam) -> None:
        assert beam.GetScene() is self.GetScene() is not None, "the beam is to be in the scene before it is added"
        assert self.GetPoisMarkupsFiducialNode() is not None, "its transform is made from the isocentre"
        beam._number, self._next = self._next, self._next + 1
        hierarchy, item = self._item()
        hierarchy.CreateItem(item, beam)

    def RemoveBeam(self, beam) -> None:
        hierarchy, _ = self._item()
        hierarchy.RemoveItem(hierarchy.GetItemByDataNode(beam), False, False)
        self.GetScene().RemoveNode(beam)

    def GetBeams(self, collection: vtk.vtkCollection) -> None:
        collection.RemoveAllItems()
        hierarchy, item = self._item()
        below = vtk.vtkCollection()
        hierarchy.GetDataNodesInBranch(item, below, "vtkMRMLModelNode")
        nodes = [below.GetItemAsObject(n) for n in range(below.GetNumberOfItems())]
        # in no order of the plan's
        for node in reversed([node for node in nodes if isinstance(node, vtkMRMLRTBeamNode)]):
            collection.AddItem(node)

    def GetReferenceVolumeNode(self):
        return self.GetNodeReference("referenceVolumeRef")

    def SetAndObserveReferenceVolumeNode(self, node) -> None:
        self._refer("referenceVolumeRef", _node(node, "vtkMRMLScalarVolumeNode", self.GetScene()))

    def GetSegmentationNode(self):
        return self.GetNodeReference("segmentationRef")

    def SetAndObserveSegmentationNode(self, node) -> None:
        self._refer("segmentationRef", _node(node, "vtkMRMLSegmentationNode", self.GetScene()))

    def GetPoisMarkupsFiducialNode(self):
        return self.GetNodeReference("posMarkupsRef")

    def SetIsocenterSpecification(self, specification: int) -> None:
        assert specification in (self.CenterOfTarget, self.ArbitraryPoint)
        assert specification == self.ArbitraryPoint or self._targets, "no target to take the centre of"
        self._points()
        self._specification = specification

    def SetIsocenterPosition(self, position) -> bool:
        assert self._specification == self.ArbitraryPoint, "the isocentre is the target's centre"
        assert isinstance(position, list)
        assert len(position) == 3
        self._points().SetNthControlPointPosition(0, *map(_number, position))
        return True

    def GetTargetSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self._targets)

    def SetTargetSegmentIDs(self, ids) -> None:
        assert isinstance(ids, list)
        assert all(type(one) is str for one in ids)
        self._targets = tuple(ids)

    def GetRxDose(self) -> float:
        return self._rx

    def SetRxDose(self, dose) -> None:
        self._rx = _number(dose)

    def GetDoseGridSpacing(self) -> tuple[float, ...]:
        return self._spacing

    def SetDoseGridSpacing(self, x, y, z) -> None:
        self._spacing = (_number(x), _number(y), _number(z))

    def GetIonPlanFlag(self) -> bool:
        return self._ion

    def SetIonPlanFlag(self, flag) -> None:
        assert type(flag) is bool
        self._ion = flag

    def GetBodySegmentID(self) -> str | None:
        return self._body

    def SetBodySegmentID(self, segmentID: str | None) -> None:
        self._body = segmentID

    def GetDoseEngineName(self) -> str | None:
        return self._engine

    def SetDoseEngineName(self, name: str) -> None:
        self._engine = name

    def GetPlanOptimizerName(self) -> str | None:
        return self._optimizer

    def SetPlanOptimizerName(self, name: str) -> None:
        self._optimizer = name

    def GetOutputTotalDoseVolumeNode(self):
        return self.GetNodeReference("outputTotalDoseVolumeRef")

    def SetAndObserveOutputTotalDoseVolumeNode(self, node) -> None:
        self._refer("outputTotalDoseVolumeRef", _node(node, "vtkMRMLScalarVolumeNode", self.GetScene()))

    def GetPlanSubjectHierarchyItemID(self) -> int:
        return self._item()[1]

    def _refer(self, role: str, node) -> None:
        self.SetNodeReferenceID(role, None if node is None else node.GetID())

    def _item(self):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.GetScene())
        item = hierarchy.GetItemByDataNode(self)
        return hierarchy, item or hierarchy.CreateItem(hierarchy.GetSceneItemID(), self)

    def _points(self):
        node = self.GetPoisMarkupsFiducialNode()
        if node is None:
            node = self.GetScene().AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{self.GetName()}_POI")
            node.AddControlPoint([0.0, 0.0, 0.0], "Isocenter")
            self._refer("posMarkupsRef", node)
        assert node.GetNthControlPointLabel(0) == "Isocenter"
        return node


class vtkMRMLRTObjectiveNode(_Strict, slicer.vtkMRMLScriptedModuleNode):  # noqa: N801 - SlicerRT's name
    """A row of the table of objectives; penalty, overlapPriority, isConstraint and parameters are attributes."""

    _known = frozenset(("GetSegmentationNode", "GetSegmentID", "SetSegmentationAndSegmentID"))

    def __init__(self) -> None:
        self._segmentID = None

    def GetSegmentationNode(self):
        return self.GetNodeReference("segmentationRef")

    def GetSegmentID(self) -> str | None:
        return self._segmentID

    def SetSegmentationAndSegmentID(self, node, segmentID: str) -> None:
        self.SetNodeReferenceID("segmentationRef", _node(node, "vtkMRMLSegmentationNode", self.GetScene()).GetID())
        self._segmentID = segmentID
