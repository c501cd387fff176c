"""Digests of a volume, its voxels and its place in the world, and of what transforms do to places."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_KNOWN: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
_MOST_KNOWN = 64
# mm: any number that no spacing, origin or offset comes near half a micrometre of
_OFF_THE_BOUNDARIES = 2.718281828e-4


def volumeDigest(volumeNode) -> str:
    """Return the digest of a volume, 16 hexadecimal digits; "" where it has no image. Its parent transforms count.

    Parameters
    ----------
    volumeNode : vtkMRMLVolumeNode
    """
    image = volumeNode.GetImageData()
    if image is None:
        return ""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    voxels = _contentDigest(image, lambda: slicer.util.arrayFromVolume(volumeNode))
    parts = [rounded(slicer.util.arrayFromVTKMatrix(matrix)), voxels]
    if volumeNode.GetParentTransformNode() is not None:
        parts += placeUnder(volumeNode.GetParentTransformNode())
    return digestOf(parts)


def rounded(lengths) -> np.ndarray:
    """Round lengths (mm) and directions to what a file keeps.

    A file brings them back with noise in the last digits. The boundaries of rounding lie where no spacing, origin or
    offset does: at half a micrometre itself 0.9765 would be rounded up now and down then.

    Parameters
    ----------
    lengths : array_like
        Of any shape.

    Returns
    -------
    array of float
        To a micrometre, without negative zeros; for comparisons, not for use as lengths.
    """
    return np.round(np.asarray(lengths, float) + _OFF_THE_BOUNDARIES, 3) + 0.0


def digestOf(arrays: Iterable[np.ndarray]) -> str:
    """Return the digest of arrays, 16 hexadecimal digits; those of lengths come from `rounded`."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
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
    grid = warp.GetDisplacementGrid()
    vectors = _contentDigest(grid, lambda: rounded(vtk_to_numpy(grid.GetPointData().GetScalars())))
    return [vectors, np.array([warp.GetInverseFlag()])]


def placeUnder(transformNode) -> list[np.ndarray]:
    """Return what says where a transform takes what is under it; of one that cannot be followed, its kind."""
    return transformCourse(transformNode) or [np.frombuffer(transformNode.GetClassName().encode(), np.uint8)]


def _contentDigest(image, content: Callable[[], np.ndarray]) -> np.ndarray:
    """A digest of an image's content; taken again only after a change: VTK counts changes in the whole process."""
    key = (image.GetMTime(), image.GetNumberOfPoints())
    if key not in _KNOWN:
        while len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.popitem(last=False)
        values = content()
        if values.dtype.kind == "f":
            # no negative zero
            values = values + 0
        _KNOWN[key] = np.frombuffer(hashlib.sha256(np.ascontiguousarray(values)).digest(), np.uint8)
    return _KNOWN[key]
