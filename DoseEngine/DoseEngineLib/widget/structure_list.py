"""The structures of a segmentation in a combo box."""

from __future__ import annotations

from typing import Any


def fillStructures(combo: Any, segmentationNode: Any) -> None:
    """List a segmentation's segments in a combo box by name, keeping the choice where it still exists."""
    chosen = combo.property("currentText")
    combo.clear()
    if segmentationNode is not None:
        segmentation = segmentationNode.GetSegmentation()
        combo.addItems([segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())])
    combo.setCurrentIndex(max(combo.findText(chosen), 0) if combo.property("count") else -1)
