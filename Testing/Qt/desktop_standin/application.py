"""``slicer.app`` with its views, and the dialogs of ``slicer.util`` as a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets


class _Controller:
    def __init__(self) -> None:
        self.isShown = True

    def setVisible(self, visible: bool) -> None:
        self.isShown = visible


class _View:
    """A view without a picture: it counts what it was asked to draw."""

    def __init__(self) -> None:
        self.renders = 0

    def forceRender(self) -> None:
        self.renders += 1

    def scheduleRender(self) -> None:
        self.renders += 1

    def resetFocalPoint(self) -> None:
        self.renders += 1


class _ThreeDWidget:
    def __init__(self, node: Any) -> None:
        self._node, self._view, self._controller = node, _View(), _Controller()

    def mrmlViewNode(self) -> Any:
        return self._node

    def threeDView(self) -> _View:
        return self._view

    def threeDController(self) -> _Controller:
        return self._controller


class _SliceWidget:
    def __init__(self, node: Any, logic: Callable[[], Any]) -> None:
        self._node, self._logic, self._view, self._controller = node, logic, _View(), _Controller()

    def mrmlSliceNode(self) -> Any:
        return self._node

    def sliceLogic(self) -> Any:
        return self._logic()

    def sliceView(self) -> _View:
        return self._view

    def sliceController(self) -> _Controller:
        return self._controller


class LayoutManager:
    """Real layout, view, slice and plot view nodes, made by the real ``vtkMRMLLayoutLogic``; no windows."""

    def __init__(self, scene: Any, application_logic: Any) -> None:
        self._scene, self._application_logic = scene, application_logic
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(scene)
        self._slice_logics: vtk.vtkCollection | None = None
        self._widgets: dict[str, Any] = {}
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def close(self) -> None:
        self._layout_logic.SetMRMLScene(None)
        for logic in self._slice_logics or ():
            logic.SetMRMLScene(None)
        self._slice_logics = None

    def _layout_node(self) -> Any:
        return self._layout_logic.GetLayoutNode()

    @property
    def layout(self) -> int:
        return self._layout_node().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        self._layout_node().SetViewArrangement(layout)

    def layoutLogic(self) -> Any:
        return self._layout_logic

    def _nodes(self, class_name: str) -> list:
        number = self._scene.GetNumberOfNodesByClass(class_name)
        return [self._scene.GetNthNodeByClass(index, class_name) for index in range(number)]

    def _widget(self, node: Any, make: Callable[[], Any]) -> Any:
        return self._widgets.setdefault(node.GetID(), make())

    def sliceViewNames(self) -> list[str]:
        return [node.GetLayoutName() for node in self._nodes("vtkMRMLSliceNode")]

    def sliceWidget(self, name: str) -> _SliceWidget | None:
        for node in self._nodes("vtkMRMLSliceNode"):
            if node.GetLayoutName() == name:
                return self._widget(node, lambda node=node: _SliceWidget(node, lambda: self._slice_logic(node)))
        return None

    def _slice_logic(self, node: Any) -> Any:
        return next(logic for logic in self.mrmlSliceLogics() if logic.GetSliceNode() is node)

    def mrmlSliceLogics(self) -> vtk.vtkCollection:
        """Return the slice logics; with them come the composite nodes that hold what a slice view shows."""
        if self._slice_logics is None:
            self._slice_logics = vtk.vtkCollection()
            for node in self._nodes("vtkMRMLSliceNode"):
                logic = slicer.vtkMRMLSliceLogic()
                logic.SetMRMLApplicationLogic(self._application_logic)
                logic.SetMRMLScene(self._scene)
                logic.SetSliceNode(node)
                self._slice_logics.AddItem(logic)
            self._application_logic.SetSliceLogics(self._slice_logics)
        return self._slice_logics

    def resetSliceViews(self) -> None:
        for logic in self.mrmlSliceLogics():
            logic.FitSliceToAll()

    @property
    def threeDViewCount(self) -> int:
        return len(self._nodes("vtkMRMLViewNode"))

    def threeDWidget(self, index: int) -> _ThreeDWidget | None:
        nodes = self._nodes("vtkMRMLViewNode")
        return self._widget(nodes[index], lambda: _ThreeDWidget(nodes[index])) if index < len(nodes) else None

    def resetThreeDViews(self) -> None:
        for index in range(self.threeDViewCount):
            self.threeDWidget(index).threeDView().resetFocalPoint()

    @property
    def plotViewCount(self) -> int:
        return len(self._nodes("vtkMRMLPlotViewNode"))


class _Signals(QtCore.QObject):
    startupCompleted = QtCore.Signal()


class Application:
    """``slicer.app``. It says that it is being tested, as desktop Slicer does in its self-tests."""

    applicationName = "Slicer"
    slicerVersion = "5.12"
    majorVersion, minorVersion = 5, 12

    def __init__(self, scene: Any, application_logic: Any, settings: type) -> None:
        self._qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
        self._logic = application_logic
        self._layout = LayoutManager(scene, application_logic)
        self._settings = settings
        self._signals = _Signals()
        self.startupCompleted = self._signals.startupCompleted
        self.setOverrideCursor = self._qt.setOverrideCursor
        self.restoreOverrideCursor = self._qt.restoreOverrideCursor

    def processEvents(self, *flags: Any) -> None:
        self._qt.processEvents(*flags)

    def testingEnabled(self) -> bool:
        return True

    def applicationLogic(self) -> Any:
        return self._logic

    def layoutManager(self) -> LayoutManager:
        return self._layout

    def settings(self) -> Any:
        return self._settings()

    def userSettings(self) -> Any:
        return self._settings()

    def close(self) -> None:
        self._layout.close()


def settings_class(stored: dict[str, Any]) -> type:
    """Return a ``QSettings`` that keeps everything in a dict, not on a person's disk."""

    class QSettings:
        def __init__(self, *_where: Any) -> None:
            pass

        def value(self, key: str, default: Any = None) -> Any:
            return stored.get(key, default)

        def setValue(self, key: str, value: Any) -> None:
            stored[key] = value

        def contains(self, key: str) -> bool:
            return key in stored

        def remove(self, key: str) -> None:
            stored.pop(key, None)

    return QSettings


def dialogs(desktop: Any) -> dict[str, Callable]:
    """Return the functions of ``slicer.util`` that would open a window; what they say is kept in the desktop."""

    def select_module(module: Any) -> None:
        desktop.selected_modules.append(module if isinstance(module, str) else module.name)

    def confirm(text: str, windowTitle: str | None = None, parent: Any = None, **options: Any) -> bool:
        desktop.confirmations.append(text)
        return desktop.answer

    def message_box(text: str, parent: Any = None, **options: Any) -> Any:
        desktop.messages.append(text)
        return QtWidgets.QMessageBox.StandardButton.Ok

    def shown_in(texts: list[str]) -> Callable:
        def show(text: str, *arguments: Any, **options: Any) -> None:
            texts.append(text)

        return show

    def settings_value(key: str, default: Any, converter: Callable = lambda value: value, settings: Any = None) -> Any:
        return converter(desktop.settings[key]) if key in desktop.settings else default

    return {
        "errorDisplay": shown_in(desktop.errors),
        "warningDisplay": shown_in(desktop.warned),
        "infoDisplay": shown_in(desktop.infos),
        "showStatusMessage": shown_in(desktop.status),
        "delayDisplay": shown_in(desktop.messages),
        "messageBox": message_box,
        "confirmOkCancelDisplay": confirm,
        "confirmYesNoDisplay": confirm,
        "selectModule": select_module,
        "settingsValue": settings_value,
    }
