"""The parameter node of a module: one a scene, saved with it, found again when a scene was closed or loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

_CLASS = "vtkMRMLScriptedModuleNode"


def moduleParameterNode(scene: Any, moduleName: str) -> Any:
    """Return the module's parameter node, as `ScriptedLoadableModuleLogic.getParameterNode` does; made when missing."""
    node = scene.GetSingletonNode(moduleName, _CLASS)
    if node is None:
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(moduleName)
        node.SetModuleName(moduleName)
        node.SetName(moduleName)
        node = scene.AddNode(node)
    return node


class SceneParameters:
    """Keeps a panel on the parameter node of the scene as it is now.

    Parameters
    ----------
    scene : vtkMRMLScene
    moduleName : str
    changed : callable
        Called with the parameter node, at once and whenever another one is to be used.
    """

    def __init__(self, scene: Any, moduleName: str, changed: Callable[[Any], None]) -> None:
        self._scene, self._moduleName, self._changed = scene, moduleName, changed
        events = (scene.EndCloseEvent, scene.EndImportEvent, scene.EndRestoreEvent, scene.EndUndoEvent)
        self._tags = [scene.AddObserver(event, self._onScene) for event in (*events, scene.EndRedoEvent)]
        self._onScene()

    def release(self) -> None:
        """Let go of the scene."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _onScene(self, *_unused: object) -> None:
        self._changed(moduleParameterNode(self._scene, self._moduleName))
