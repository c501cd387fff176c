"""A digest of a volume: its voxels and its place in the world."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_VOXELS: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
_MOST_VOLUMES = 64
_OFF_THE_BOUNDARIES = 2.718281828e-4


def volumeDigest(volumeNode) -> str:
    """Return the digest of a volume; "" where it has no image. Its parent transforms count."""
    if volumeNode.GetImageData() is None:
        return ""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    parts = [rounded(slicer.util.arrayFromVTKMatrix(matrix)), _voxels(volumeNode)]
    if volumeNode.GetParentTransformNode() is not None:
        parts += placeUnder(volumeNode.GetParentTransformNode())
    return digestOf(parts)


def rounded(lengths) -> np.ndarray:
    """Round lengths (mm) and directions to what a file keeps.

    A file brings them back with noise in the last digits. The boundaries of rounding lie where no spacing, origin or
    offset does: at half a micrometre itself 0.9765 would be rounded up now and down then.
    """
    # no negative zero
    return np.round(np.asarray(lengths, float) + _OFF_THE_BOUNDARIES, 3) + 0.0


def digestOf(arrays) -> str:
    """Return the digest of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        # no negative zero
        digest.update(np.ascontiguousarray(array + 0).tobytes())
    return digest.hexdigest()[:16]


def transformCourse(transformNode) -> list[np.ndarray]:
    """Return what says where a transform takes points; [] for one that is neither linear nor a grid."""
    if transformNode.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformToWorld(matrix)
        return [rounded(slicer.util.arrayFromVTKMatrix(matrix))]
    warp = transformNode.GetTransformToParentAs("vtkOrientedGridTransform", False)
    if warp is None or warp.GetDisplacementGrid() is None:
        return []
    vectors = vtk_to_numpy(warp.GetDisplacementGrid().GetPointData().GetScalars())
    return [rounded(vectors), np.array([warp.GetInverseFlag()])]


def placeUnder(transformNode) -> list[np.ndarray]:
    """Return what says where a transform takes what is under it; of one that cannot be followed, its kind."""
    return transformCourse(transformNode) or [np.frombuffer(transformNode.GetClassName().encode(), np.uint8)]


def _voxels(volumeNode) -> np.ndarray:
    """A digest of a volume's voxels; taken again only after a change: VTK counts changes in the whole process."""
    image = volumeNode.GetImageData()
    key = (image.GetMTime(), image.GetNumberOfPoints())
    if key not in _VOXELS:
        while len(_VOXELS) >= _MOST_VOLUMES:
            _VOXELS.popitem(last=False)
        values = slicer.util.arrayFromVolume(volumeNode)
        if values.dtype.kind == "f":
            # no negative zero
            values = values + 0
        _VOXELS[key] = np.frombuffer(hashlib.sha256(np.ascontiguousarray(values)).digest(), np.uint8)
    return _VOXELS[key]
