"""What the sections of the Dose Engine panel share: settings, the plan chosen, and one action at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import qt
import slicer
import vtk

from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, isPlanNode
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.dose_engine_parameters import DoseEngineParameters
from DoseEngineLib.widget.module_parameters import SceneParameters
from DoseEngineLib.widget.panel_action import PanelAction

T = TypeVar("T")

_SEGMENTS_CHANGED = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
)


class DoseSession:
    """The state of the panel, in the scene.

    Parameters
    ----------
    logic : DoseEngineLogic
        Its pure work runs in a thread from now on, while events turn.
    scene : vtkMRMLScene
    action : PanelAction

    Attributes
    ----------
    parameters : DoseEngineParameters
    """

    def __init__(self, logic: Any, scene: Any, action: PanelAction) -> None:
        self.logic, self.scene, self.action = logic, scene, action
        logic.background = action.background
        self.parameters: Any = None
        self._sections: list = []
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._updatePending = self._updating = self._released = False
        self._parameters: SceneParameters | None = None
        self._sceneTag = 0

    def start(self, sections: list) -> None:
        """Give the sections their settings, and keep them up to date with the scene from now on."""
        self._sections = list(sections)
        self._sceneTag = self.scene.AddObserver(self.scene.NodeRemovedEvent, self.updateSoon)
        self._parameters = SceneParameters(self.scene, "DoseEngine", self._setParameterNode)

    def release(self) -> None:
        """Let go of the scene and stop what is running; for the end of the panel."""
        self._released = True
        self.action.release()
        if self._parameters is not None:
            self._parameters.release()
        self.scene.RemoveObserver(self._sceneTag)
        self._observe({})
        for section in self._sections:
            section.cleanup()
        self._sections = []

    @property
    def planNode(self) -> Any:
        """The chosen plan node, or None."""
        node = self.parameters.planNode
        return node if isPlanNode(node) and node.GetScene() is self.scene else None

    def run(self, work: Callable[[Progress], T], done: Callable[[T], str] | str) -> T | None:
        """Run work as `PanelAction.run` does, then bring all sections up to date."""
        try:
            return self.action.run(work, done)
        finally:
            self.update()

    def background(self, function: Callable[[Progress], T], progress: Progress | None = None) -> T:
        """Have pure work done beside the panel's events."""
        return self.logic.background(function, progress)

    def update(self) -> None:
        """Bring every section up to date with the scene; not while an action runs, which does so at its end."""
        if self._updating or self._released or self.action.isRunning or self.parameters is None:
            return
        self._updating = True
        try:
            self._updatePending = False
            planNode = self.planNode
            structures = None if planNode is None else planNode.GetNodeReference(SEGMENTATION)
            image = None if planNode is None else planNode.GetNodeReference(REFERENCE_VOLUME)
            self._observe({"plan": planNode, "structures": structures, "image": image})
            for section in self._sections:
                section.update()
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
        self.parameters = DoseEngineParameters(node)
        for section in self._sections:
            section.connectParameters()
        self.update()

    def _observe(self, nodes: dict[str, Any]) -> None:
        """Watch these nodes in place of the former ones."""
        for role in list(self._observed):
            watched, tags = self._observed[role]
            if nodes.get(role) is not watched:
                for tag in tags:
                    watched.RemoveObserver(tag)
                del self._observed[role]
        for role, node in nodes.items():
            if node is not None and role not in self._observed:
                events = [vtk.vtkCommand.ModifiedEvent, *(_SEGMENTS_CHANGED if role == "structures" else ())]
                self._observed[role] = (node, [node.AddObserver(event, self.updateSoon) for event in events])
