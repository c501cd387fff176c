"""Structures of a segmentation read one by one, so that a panel's events turn in between."""

from __future__ import annotations

from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part


def structuresInTurn(segmentationNode, grid: Grid, progress: Progress | None = None) -> tuple[Structure, ...]:
    """Return what `structuresFromSegmentation` does; progress is told the name of each before it is read."""
    segmentation = segmentationNode.GetSegmentation()
    count = segmentation.GetNumberOfSegments()
    ids = [segmentation.GetNthSegmentID(n) for n in range(count)]
    # a segment without a name goes by its ID
    names = [segmentation.GetNthSegment(n).GetName() or ids[n] for n in range(count)]
    report = part(progress, 0.0, 1.0)
    structures: list[Structure] = []
    for number, name in enumerate(names):
        report(number / count, f"Reading {name}")
        structures += structuresFromSegmentation(segmentationNode, grid, [name])
    report(1.0, "Structures read")
    return tuple(structures)
