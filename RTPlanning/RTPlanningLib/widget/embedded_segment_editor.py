"""Slicer's segment editor inside a step: its settings in the scene, its views only while it is open."""

from __future__ import annotations

from typing import Any

import slicer

_TAG = "RTPlanningSegmentEditor"
_CLASS = "vtkMRMLSegmentEditorNode"


class EmbeddedSegmentEditor:
    """Keeps a ``qMRMLSegmentEditorWidget`` on the case that is worked on.

    Parameters
    ----------
    widget : qMRMLSegmentEditorWidget
    scene : vtkMRMLScene
    """

    def __init__(self, widget: Any, scene: Any) -> None:
        self.widget = widget
        self._scene = scene
        self._isOpen = False
        widget.setMRMLScene(scene)
        # the step chooses both, for all steps
        widget.setSegmentationNodeSelectorVisible(False)
        widget.setSourceVolumeNodeSelectorVisible(False)
        widget.setSwitchToSegmentationsButtonVisible(False)

    @property
    def node(self) -> Any:
        """The editor's settings in the scene; made when missing."""
        node = self._scene.GetSingletonNode(_TAG, _CLASS)
        if node is None:
            node = getattr(slicer, _CLASS)()
            node.SetSingletonTag(_TAG)
            node.SetName(_TAG)
            node = self._scene.AddNode(node)
        return node

    def startAnew(self) -> None:
        """Begin again with a scene that was closed or loaded.

        Settings that come with a scene name their structures already; the editor's history hears of changes only.
        """
        self.node.SetAndObserveSegmentationNode(None)

    def show(self, segmentationNode: Any, volumeNode: Any) -> None:
        """Work on these structures and this CT; None: on none."""
        widget, node = self.widget, self.node
        if widget.mrmlSegmentEditorNode() is not node:
            widget.setMRMLSegmentEditorNode(node)
        if widget.segmentationNode() is not segmentationNode:
            widget.setSegmentationNode(segmentationNode)
        if segmentationNode is not None and widget.sourceVolumeNode() is not volumeNode:
            widget.setSourceVolumeNode(volumeNode)

    def open(self) -> None:
        """Take part in the views: brushes and keys."""
        if not self._isOpen:
            self._isOpen = True
            self.widget.setupViewObservations()
            self.widget.installKeyboardShortcuts()

    def close(self) -> None:
        """Put the brush down and give the views and keys back."""
        if self.widget.mrmlSegmentEditorNode() is not None:
            self.widget.setActiveEffectByName("")
        if self._isOpen:
            self._isOpen = False
            self.widget.uninstallKeyboardShortcuts()
            self.widget.removeViewObservations()

    def release(self) -> None:
        """Let go of the scene."""
        self.close()
        self.widget.setMRMLSegmentEditorNode(None)
