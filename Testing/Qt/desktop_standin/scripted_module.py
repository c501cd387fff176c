"""Module ``slicer.ScriptedLoadableModule``: the base classes of a scripted module, as far as ours use them."""

from __future__ import annotations

import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer
from PySide6 import QtWidgets


class ModuleParent(SimpleNamespace):
    """What Slicer hands to a module class: a bag of properties, among them the module file's path."""


class ScriptedLoadableModule:
    def __init__(self, parent: ModuleParent) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class ScriptedLoadableModuleWidget:
    module_paths: dict[str, Path] = {}  # noqa: RUF012 - filled by the loader

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent if parent is not None else QtWidgets.QWidget()
        if self.parent.layout() is None:
            self.parent.setLayout(QtWidgets.QVBoxLayout())
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()

    def resourcePath(self, filename: str) -> str:
        return str(self.module_paths[self.moduleName].parent / "Resources" / filename)

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    """A logic with the parameter nodes of its module; by default there is one a scene."""

    def __init__(self, parent: object = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                # closing the scene takes attributes away from singletons
                if node.GetAttribute("ModuleName") != self.moduleName:
                    node.SetAttribute("ModuleName", self.moduleName)
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        number = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
        nodes = [slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(number)]
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)

    def runTest(self) -> None:
        pass

    def delayDisplay(self, message: str, msec: int | None = None) -> None:
        pass


def make_scripted_module() -> ModuleType:
    """Return a fresh ``slicer.ScriptedLoadableModule`` module."""
    module = ModuleType("slicer.ScriptedLoadableModule")
    names = ["ScriptedLoadableModule", "ScriptedLoadableModuleWidget"]
    names += ["ScriptedLoadableModuleLogic", "ScriptedLoadableModuleTest"]
    for name in names:
        setattr(module, name, globals()[name])
    module.__all__ = names
    return module
