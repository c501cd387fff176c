"""What a panel made of parts has: settings in the scene, the plan chosen there, one action at a time, one update for
many changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import qt
import slicer
import vtk

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.plan_node import isPlanNode
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.module_parameters import SceneParameters
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.panel_part import PanelPart

T = TypeVar("T")

# a brush tells of every stroke: parts follow when it has rested so long
_REST_MS = 500
# events of a segmentation node
SEGMENTS_CHANGED = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
)


class SceneSession(ABC):
    """The state of a panel, in the scene.

    Parameters
    ----------
    logic : object
        Its pure work runs in a thread from now on, while events turn.
    scene : vtkMRMLScene
    action : PanelAction
    moduleName : str
        Owner of the parameter node.

    Attributes
    ----------
    settings : parameter node wrapper
        With a ``planNode`` among others; None before `start`.
    """

    def __init__(self, logic: Any, scene: Any, action: PanelAction, moduleName: str) -> None:
        self.logic = logic
        self.scene = scene
        self.action = action
        self.settings: Any = None
        self._moduleName = moduleName
        self._parts: Sequence[PanelPart] = ()
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._updatePending = self._updating = self._released = self._isReady = False
        self._sceneTag: int | None = None
        self._parameters: SceneParameters | None = None
        logic.background = action.background
        self._rest = qt.QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self.update)

    @abstractmethod
    def takeSettings(self, parameterNode: Any) -> None:
        """Wrap the parameter node of the scene as it is now, as ``settings``."""

    @abstractmethod
    def watchedNodes(self) -> Mapping[str, Any]:
        """Return the nodes whose changes matter, by role; None where there is none."""

    def start(self, parts: Sequence[PanelPart]) -> None:
        """Give the parts their settings, and keep them up to date with the scene from now on."""
        self._parts = tuple(parts)
        self._sceneTag = self.scene.AddObserver(self.scene.NodeRemovedEvent, self.updateSoon)
        self._parameters = SceneParameters(self.scene, self._moduleName, self._setParameterNode)

    def release(self) -> None:
        """Let go of the scene and stop what is running; for the end of the panel."""
        if self._released:
            return
        self._released = True
        self._rest.stop()
        self.action.release()
        if self._parameters is not None:
            self._parameters.release()
            self.scene.RemoveObserver(self._sceneTag)
        self._watch({})
        for part in self._parts:
            part.cleanup()
        self._parts = ()

    @property
    def planNode(self) -> Any:
        """The chosen plan node, or None."""
        node = None if self.settings is None else self.settings.planNode
        return node if isPlanNode(node) and node.GetScene() is self.scene else None

    # Actions

    @property
    def isRunning(self) -> bool:
        """Whether an action is under way."""
        return self.action.isRunning

    @property
    def isReleased(self) -> bool:
        """Whether the panel is at its end; its widgets may be gone."""
        return self._released

    @property
    def isFree(self) -> bool:
        """Whether an action may begin: none runs, the panel is there, and no scene is being loaded or closed."""
        return not self._released and not self.isRunning and not self.scene.IsBatchProcessing()

    def run(self, work: Callable[[Progress], T], done: Callable[[T], str] | str) -> T | None:
        """Run work as `PanelAction.run` does, then bring all parts up to date."""
        try:
            return self.action.run(work, done)
        finally:
            self.update()

    def background(self, function: Callable[[Progress], T], progress: Progress | None = None) -> T:
        """Have pure work done beside the panel's events."""
        return self.logic.background(function, progress)

    def say(self, text: str) -> None:
        """Show a text in the status line."""
        self.action.say(text)

    # Following the scene

    def update(self) -> None:
        """Bring every part up to date with the scene; not while an action runs, which does so at its end."""
        if self._updating or self._released or self.isRunning or not self._isReady:
            return
        self._updating = True
        try:
            self._updatePending = False
            self._watch(self.watchedNodes())
            for part in self._parts:
                try:
                    part.update()
                except PlanningError as error:
                    # what a node holds cannot be shown, such as a plan of a newer version; the other parts still can
                    self.say(str(error))
        finally:
            self._updating = False

    def updateSoon(self, *_unused: object) -> None:
        """Update when events turn next: nodes change many times in a row."""
        if not self._updatePending and not self._released:
            self._updatePending = True
            qt.QTimer.singleShot(0, self._updateIfPending)

    def _updateIfPending(self) -> None:
        if self._updatePending:
            self._updatePending = False
            self.update()

    def _setParameterNode(self, node: Any) -> None:
        self._isReady = False
        self.takeSettings(node)
        for part in self._parts:
            part.setParameterNode(node)
        self._isReady = True
        self.update()

    def _watch(self, nodes: Mapping[str, Any]) -> None:
        """Observe these nodes in place of the former ones."""
        for role in list(self._observed):
            watched, tags = self._observed[role]
            if nodes.get(role) is not watched:
                for tag in tags:
                    watched.RemoveObserver(tag)
                del self._observed[role]
        for role, node in nodes.items():
            if node is not None and role not in self._observed:
                tags = [node.AddObserver(event, self.updateSoon) for event in _eventsOf(node)]
                if node.IsA("vtkMRMLSegmentationNode"):
                    tags.append(node.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, self._onStroke))
                self._observed[role] = (node, tags)

    def _onStroke(self, *_unused: object) -> None:
        self._rest.start()


def _eventsOf(node: Any) -> list[int]:
    """The events by which a node tells that what it holds has changed."""
    events = [vtk.vtkCommand.ModifiedEvent]
    if node.IsA("vtkMRMLTransformableNode"):
        events.append(slicer.vtkMRMLTransformableNode.TransformModifiedEvent)
    if node.IsA("vtkMRMLVolumeNode"):
        events.append(slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent)
    if node.IsA("vtkMRMLSegmentationNode"):
        events += SEGMENTS_CHANGED
    return events
