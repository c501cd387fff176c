"""Scalar volume nodes to arrays on a `Grid`, and back."""

from __future__ import annotations

import numpy as np
import slicer.util
import vtk

from DoseEngineLib.errors import GeometryError, PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.transforms import matrixToWorld


def gridFromVolume(volumeNode) -> Grid:
    """Return the voxel grid of a volume node in world RAS, linear parent transforms included.

    Raises
    ------
    PatientError
        No node, or a node without voxels.
    GeometryError
        A non-linear parent transform, or a grid that `Grid` refuses (shear, zero spacing).
    """
    imageData = _imageData(volumeNode)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    affine = matrixToWorld(volumeNode) @ slicer.util.arrayFromVTKMatrix(matrix)
    try:
        return Grid(imageData.GetDimensions()[::-1], affine)
    except GeometryError as error:
        raise GeometryError(f"Volume {volumeNode.GetName()}: {error}") from error


def arrayFromVolume(volumeNode) -> np.ndarray:
    """Return a copy of a volume node's voxels, (k, j, i).

    Raises
    ------
    PatientError
        No node, no voxels, several components a voxel, or NaN or infinite voxels.
    """
    imageData = _imageData(volumeNode)
    components = imageData.GetNumberOfScalarComponents()
    if components != 1:
        raise PatientError(
            f"Volume {volumeNode.GetName()} has {components} values a voxel (a color or vector image); "
            "give a scalar volume."
        )
    values = np.array(slicer.util.arrayFromVolume(volumeNode))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise PatientError(
            f"Volume {volumeNode.GetName()} has {bad} NaN or infinite voxels; repair the image before planning."
        )
    return values


def setVolumeFromArray(volumeNode, values: np.ndarray, grid: Grid) -> None:
    """Write voxels (k, j, i) and geometry into a scalar volume node; a parent transform of it is dropped.

    Integers that VTK volumes cannot hold (64 bit, bool) become the narrowest type that holds them, float16 float32.

    Raises
    ------
    GeometryError
        When the array's shape is not the grid's.
    PatientError
        NaN or infinite voxels, or integers beyond 32 bits.
    """
    values = np.asarray(values)
    if values.shape != grid.shape:
        raise GeometryError(f"The array's shape {values.shape} is not the grid's {grid.shape} (k, j, i).")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PatientError(f"The voxels for {volumeNode.GetName()} hold NaN or infinite values; nothing was written.")
    slicer.util.updateVolumeFromArray(volumeNode, _storable(values))
    volumeNode.SetAndObserveTransformNodeID(None)
    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.affine))


def _storable(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype in (np.int64, np.uint64):
        for narrow in (np.int16, np.int32):
            limits = np.iinfo(narrow)
            if values.size == 0 or (values.min() >= limits.min and values.max() <= limits.max):
                return values.astype(narrow)
        raise PatientError(f"Voxel values {values.min()}..{values.max()} do not fit 32 bits; scale the image.")
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return np.ascontiguousarray(values)


def _imageData(volumeNode):
    if volumeNode is None:
        raise PatientError("There is no volume; choose one.")
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        raise PatientError(f"{volumeNode.GetName()} is a {volumeNode.GetNodeTagName()}; choose a scalar volume.")
    imageData = volumeNode.GetImageData()
    if imageData is None or imageData.GetNumberOfPoints() == 0:
        raise PatientError(f"Volume {volumeNode.GetName()} has no voxels; load it again or choose another.")
    return imageData
