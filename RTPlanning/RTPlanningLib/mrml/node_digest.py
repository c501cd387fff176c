"""A digest of what a node gives to a calculation: a plan's dose, a volume's voxels, a transform's course."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.mrml.plan_node import DOSE, isPlanNode

_VOXELS: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
_MOST_VOLUMES = 64


def nodeDigest(node) -> str:
    """Return the digest of a plan's dose, of a volume, or of a transform; "" where there is nothing to take it of.

    The place of a volume counts with its voxels, parent transforms with transforms.
    """
    if isPlanNode(node):
        node = node.GetNodeReference(DOSE)
    if node is None:
        return ""
    parts = []
    if node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        # stored matrices keep fewer digits
        parts = [np.round(slicer.util.arrayFromVTKMatrix(matrix), 3), _voxels(node)]
        if node.GetParentTransformNode() is not None:
            parts += _course(node.GetParentTransformNode())
    elif node.IsA("vtkMRMLTransformNode"):
        parts = _course(node)
    if not parts:
        return ""
    digest = hashlib.sha256()
    for array in parts:
        # no negative zero
        digest.update(np.ascontiguousarray(array + 0).tobytes())
    return digest.hexdigest()[:16]


def _voxels(volumeNode) -> np.ndarray:
    """A digest of a volume's voxels; taken again only after a change: VTK counts changes in the whole process."""
    image = volumeNode.GetImageData()
    key = (image.GetMTime(), image.GetNumberOfPoints())
    if key not in _VOXELS:
        while len(_VOXELS) >= _MOST_VOLUMES:
            _VOXELS.popitem(last=False)
        # no negative zero
        values = np.ascontiguousarray(slicer.util.arrayFromVolume(volumeNode) + 0)
        _VOXELS[key] = np.frombuffer(hashlib.sha256(values.tobytes()).digest(), np.uint8)
    return _VOXELS[key]


def _course(transformNode) -> list[np.ndarray]:
    if transformNode.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformToWorld(matrix)
        return [np.round(slicer.util.arrayFromVTKMatrix(matrix), 3)]
    warp = transformNode.GetTransformToParentAs("vtkOrientedGridTransform", False)
    if warp is None or warp.GetDisplacementGrid() is None:
        return []
    vectors = vtk_to_numpy(warp.GetDisplacementGrid().GetPointData().GetScalars())
    return [np.round(vectors.astype(float), 3), np.array([warp.GetInverseFlag()])]
