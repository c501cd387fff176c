"""A segmentation's structures as rows of a table: name, role, color, volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.mrml.segmentations import roleOfSegment

_LABELMAP = "Binary labelmap"


@dataclass(frozen=True)
class StructureRow:
    """A segment as a person sees it.

    Attributes
    ----------
    segment_id, name, role : str
        The role is one of `DoseEngineLib.plan.ROLES`.
    color : (3,) tuple of float
    volume_cm3 : float or None
        By voxel count; None where it is not counted yet.
    """

    segment_id: str
    name: str
    role: str
    color: tuple[float, float, float]
    volume_cm3: float | None


class SegmentVolumes:
    """Volumes of segments by voxel count, counted once for every layer that changed.

    Counting a layer takes some hundredths of a second for a large CT; a panel counts one at a time.
    """

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, np.ndarray]] = {}

    def volume_cm3(self, segment) -> float | None:
        """Return the volume of a segment; None until its layer is counted or when it has no voxels of its own."""
        image = segment.GetRepresentation(_LABELMAP)
        if image is None:
            return None
        counted = self._counts.get(_key(image))
        if counted is None or counted[0] != image.GetMTime():
            return None
        label = int(segment.GetLabelValue())
        voxels = int(counted[1][label]) if label < counted[1].size else 0
        return voxels * abs(_voxelVolume(image)) / 1000.0

    def countNext(self, segmentationNode) -> bool:
        """Count one layer that changed; False when there is none left."""
        segmentation = segmentationNode.GetSegmentation()
        present = set()
        for index in range(segmentation.GetNumberOfSegments()):
            image = segmentation.GetNthSegment(index).GetRepresentation(_LABELMAP)
            if image is None:
                continue
            key, time = _key(image), image.GetMTime()
            present.add(key)
            if key not in self._counts or self._counts[key][0] != time:
                scalars = image.GetPointData().GetScalars()
                empty = scalars is None or scalars.GetNumberOfTuples() == 0
                counts = np.zeros(1, int) if empty else np.bincount(vtk_to_numpy(scalars).ravel())
                self._counts[key] = (time, counts)
                return True
        self._counts = {key: counted for key, counted in self._counts.items() if key in present}
        return False


def structureRows(segmentationNode, volumes: SegmentVolumes) -> list[StructureRow]:
    """Return a row for every segment, in the segmentation's order."""
    segmentation = segmentationNode.GetSegmentation()
    rows = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        segmentID = segmentation.GetNthSegmentID(index)
        name = segment.GetName() or segmentID
        color = tuple(segment.GetColor())
        rows.append(StructureRow(segmentID, name, roleOfSegment(segment, name), color, volumes.volume_cm3(segment)))
    return rows


def _key(image) -> str:
    return image.GetAddressAsString("vtkOrientedImageData")


def _voxelVolume(image) -> float:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return float(np.linalg.det(slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]))
