"""The voxel grid on which a segmentation's structures are edited."""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.transforms import matrixToWorld
from DoseEngineLib.mrml.volumes import gridFromVolume


def editingGrid(segmentationNode, volumeNode=None) -> Grid:
    """Return the segmentation's reference geometry in world RAS, as the segment editor uses it, or else the CT's grid.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    volumeNode : vtkMRMLScalarVolumeNode, optional
        The CT.

    Raises
    ------
    PatientError
        No reference geometry and no CT.
    GeometryError
        A geometry that cannot be used, or a non-linear parent transform.
    """
    converter = slicer.vtkSegmentationConverter
    text = segmentationNode.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    image = slicer.vtkOrientedImageData()
    if text and converter.DeserializeImageGeometry(text, image, False):
        extent = np.array(image.GetExtent())
        shape = (extent[1::2] - extent[::2] + 1)[::-1]
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        affine = matrixToWorld(segmentationNode) @ slicer.util.arrayFromVTKMatrix(matrix)
        affine[:3, 3] += affine[:3, :3] @ extent[::2]
        if (shape > 0).all():
            return Grid(tuple(int(n) for n in shape), affine)
    if volumeNode is None:
        raise PatientError(
            f"{segmentationNode.GetName()} does not say on which voxels it is drawn; choose the CT it belongs to."
        )
    return gridFromVolume(volumeNode)
