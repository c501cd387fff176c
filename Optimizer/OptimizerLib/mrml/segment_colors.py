"""Names and colours of a segmentation's segments."""

from __future__ import annotations


def segmentColors(segmentationNode) -> dict[str, tuple[float, float, float]]:
    """RGB, 0 to 1, of each segment by name, in their order; empty without a segmentation."""
    if segmentationNode is None:
        return {}
    segmentation = segmentationNode.GetSegmentation()
    segments = (segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments()))
    return {segment.GetName(): tuple(segment.GetColor()) for segment in segments}
