"""A digest of a segmentation's structures: names, voxels and contours; equal structures give equal digests."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.mrml.volume_digest import digestOf, placeUnder, rounded

# Masks of some tens of megabytes are read again only after they were changed: VTK counts every change in the process.
_DRAWN: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
_MOST_DRAWN = 512


def segmentationDigest(segmentationNode) -> str:
    """Return the digest of a segmentation node; "" for None.

    What is drawn counts, and its place in the world; colours, tags and surfaces that Slicer makes for display do not.
    """
    if segmentationNode is None:
        return ""
    return segmentsDigest(segmentationNode, lambda _segment, name: name)


def segmentsDigest(segmentationNode, asWhat: Callable[[Any, str], str | None]) -> str:
    """Return the digest of some segments: what is drawn, and its place in the world; "" for none of them.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    asWhat : callable
        What else counts of a segment, given with its name; None for one that does not count.
    """
    segmentation = segmentationNode.GetSegmentation()
    counted = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        what = asWhat(segment, segment.GetName() or segmentation.GetNthSegmentID(index))
        if what is not None:
            counted.append((segment, what))
    if not counted:
        return ""
    transform = segmentationNode.GetParentTransformNode()
    place = [rounded(np.eye(4))] if transform is None else placeUnder(transform)
    digest = hashlib.sha256(digestOf(place).encode())
    source = segmentation.GetSourceRepresentationName()
    for segment, what in counted:
        digest.update(f"\n{what} ".encode())
        drawn = segment.GetRepresentation(source)
        if drawn is not None:
            digest.update(_drawnDigest(drawn, segment.GetLabelValue()))
    return digest.hexdigest()[:16]


def _drawnDigest(drawn, label: int) -> bytes:
    key = (drawn.GetMTime(), drawn.GetNumberOfPoints(), label)
    if key not in _DRAWN:
        while len(_DRAWN) >= _MOST_DRAWN:
            _DRAWN.popitem(last=False)
        _DRAWN[key] = _maskDigest(drawn, label) if drawn.IsA("vtkImageData") else _meshDigest(drawn)
    return _DRAWN[key]


def _maskDigest(image, label: int) -> bytes:
    """Of the segment's voxels and their place: a file puts them into other layers, under other labels."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None or image.GetNumberOfPoints() == 0:
        return b"empty"
    mask = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]) == label
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not used[0].size:
        return b"empty"
    k, j, i = (slice(int(places[0]), int(places[-1]) + 1) for places in used)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    first = np.array((i.start, j.start, k.start)) + np.array(image.GetExtent()[::2])
    affine[:3, 3] += affine[:3, :3] @ first
    cut = mask[k, j, i]
    digest = hashlib.sha256(rounded(affine).tobytes())
    digest.update(f"{cut.shape}".encode())
    digest.update(np.packbits(cut))
    return digest.digest()


def _meshDigest(mesh) -> bytes:
    digest = hashlib.sha256()
    if mesh.GetPoints() is not None:
        digest.update(rounded(vtk_to_numpy(mesh.GetPoints().GetData())))
    for cells in (mesh.GetPolys(), mesh.GetLines()):
        digest.update(np.ascontiguousarray(vtk_to_numpy(cells.GetConnectivityArray()).astype(np.int64)))
    return digest.digest()
