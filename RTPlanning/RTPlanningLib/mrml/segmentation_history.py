"""Undo and redo of what is done to a segmentation, a bounded number of steps back."""

from __future__ import annotations

from typing import Any, Protocol

import slicer

_STEPS = 10


class History(Protocol):
    """How changes of a segmentation are made undoable; Slicer's segment editor widget is one, too."""

    def saveStateForUndo(self) -> Any:
        """Keep the segments as they are now, before they are changed."""

    def undo(self) -> Any:
        """Put back the segments as they were before the last change."""

    def redo(self) -> Any:
        """Do again what was undone last."""


class SegmentationHistory:
    """The history of one segmentation, for scripts; the panel uses that of the segment editor it shows.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    steps : int
        How many changes can be undone. Segments that did not change are kept once.
    """

    def __init__(self, segmentationNode, steps: int = _STEPS) -> None:
        self._history = slicer.vtkSegmentationHistory()
        # one more for the present state, which is what redo leads back to
        self._history.SetMaximumNumberOfStates(steps + 1)
        self._history.SetSegmentation(segmentationNode.GetSegmentation())

    @property
    def canUndo(self) -> bool:
        """Whether there is a change to undo."""
        return self._history.IsRestorePreviousStateAvailable()

    @property
    def canRedo(self) -> bool:
        """Whether there is an undone change."""
        return self._history.IsRestoreNextStateAvailable()

    def saveStateForUndo(self) -> None:
        """Keep the segments as they are now, before they are changed."""
        self._history.SaveState()

    def undo(self) -> bool:
        """Put back the segments as they were before the last change; False when there is none."""
        return self.canUndo and self._history.RestorePreviousState()

    def redo(self) -> bool:
        """Do again what was undone last; False when there is nothing."""
        return self.canRedo and self._history.RestoreNextState()

    def release(self) -> None:
        """Let go of the segmentation and of all that was kept."""
        self._history.SetSegmentation(None)
