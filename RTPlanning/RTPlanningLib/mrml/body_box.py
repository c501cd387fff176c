"""The part of an image that holds the body, as far as a segmentation says."""

from __future__ import annotations

from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import gridFromVolume
from RTPlanningLib.mrml.segment_names import segmentNames


def bodyBox(volumeNode, segmentationNode=None) -> tuple[Grid, bool]:
    """Return the sub-grid of a CT that holds the body, and True; the whole grid and False where no body is outlined.

    Raises
    ------
    PatientError, GeometryError
        A volume or segmentation that cannot be used.
    """
    grid = gridFromVolume(volumeNode)
    outlines = [one.name for one in segmentNames(segmentationNode) if one.role == "EXTERNAL" and not one.is_empty]
    if len(outlines) == 1:
        (body,) = structuresFromSegmentation(segmentationNode, grid, outlines)
        if not body.is_empty:
            return grid.crop(body.mask)[0], True
    return grid, False
