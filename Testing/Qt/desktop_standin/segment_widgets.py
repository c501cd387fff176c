"""The segment editor and the table of segments, on real nodes and the real ``vtkSlicerSegmentEditorLogic``."""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from desktop_standin.scene_watch import SceneWatch

# qMRMLSegmentEditorWidget's default order, and which of them work on a segment that is there
EFFECTS = (
    "Threshold",
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Fill between slices",
    "Margin",
    "Hollow",
    "Smoothing",
    "Scissors",
    "Islands",
    "Logical operators",
    "Mask volume",
)


class qMRMLSegmentsTableView(QtWidgets.QWidget):
    """A table of segments, a row a segment, in the segmentation's order."""

    selectionChanged = QtCore.Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    segmentAboutToBeModified = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._node = None
        self._hidden: list[str] = []
        self._filter = ""
        self._flags = {"headerVisible": True, "readOnly": False, "filterBarVisible": False}
        self._flags.update({f"{column}ColumnVisible": True for column in ("visibility", "color", "opacity", "status")})
        self._table = QtWidgets.QTableWidget(0, 2, self)
        self._table.setHorizontalHeaderLabels(["", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setColumnWidth(0, 24)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._watch = SceneWatch(self)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged)
        self._table.itemChanged.connect(self._on_edited)

    def _flag(name: str):  # noqa: N805 - makes the Qt properties below
        def put(self, value: bool) -> None:
            self._flags[name] = value
            self._table.horizontalHeader().setVisible(self._flags["headerVisible"])

        return QtCore.Property(bool, lambda self: self._flags[name], put), put

    headerVisible, setHeaderVisible = _flag("headerVisible")
    readOnly, setReadOnly = _flag("readOnly")
    filterBarVisible, setFilterBarVisible = _flag("filterBarVisible")
    visibilityColumnVisible, setVisibilityColumnVisible = _flag("visibilityColumnVisible")
    colorColumnVisible, setColorColumnVisible = _flag("colorColumnVisible")
    opacityColumnVisible, setOpacityColumnVisible = _flag("opacityColumnVisible")
    statusColumnVisible, setStatusColumnVisible = _flag("statusColumnVisible")

    def setMRMLScene(self, scene) -> None:
        self._scene = scene

    def mrmlScene(self):
        return self._scene

    def setSegmentationNode(self, node) -> None:
        self._watch.clear()
        self._node = node if node is not None and node.IsA("vtkMRMLSegmentationNode") else None
        if self._node is not None:
            segmentation = self._node.GetSegmentation()
            events = ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SegmentsOrderModified")
            watched = [getattr(segmentation, event) for event in events]
            self._watch.watch(segmentation, watched, lambda widget: widget._fill())
            if self._node.GetDisplayNode() is not None:
                display = [vtk.vtkCommand.ModifiedEvent]
                self._watch.watch(self._node.GetDisplayNode(), display, lambda widget: widget._fill())
        self._fill()

    def segmentationNode(self):
        return self._node

    def tableWidget(self) -> QtWidgets.QTableView:
        return self._table

    def _fill(self) -> None:
        selected = self.selectedSegmentIDs()
        self._table.blockSignals(True)
        self._table.selectionModel().blockSignals(True)
        self._table.setRowCount(0)
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        for segment_id in segmentation.GetSegmentIDs() if segmentation is not None else ():
            segment = segmentation.GetSegment(segment_id)
            if segment_id in self._hidden or self._filter.lower() not in (segment.GetName() or "").lower():
                continue
            row = self._table.rowCount()
            self._table.insertRow(row)
            color = QtWidgets.QTableWidgetItem()
            color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            color.setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled | QtCore.Qt.ItemFlag.ItemIsSelectable)
            name = QtWidgets.QTableWidgetItem(segment.GetName())
            name.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)
            self._table.setItem(row, 0, color)
            self._table.setItem(row, 1, name)
        self._table.selectionModel().blockSignals(False)
        self._table.blockSignals(False)
        self.setSelectedSegmentIDs(selected)

    def _on_edited(self, item: QtWidgets.QTableWidgetItem) -> None:
        segment_id = item.data(QtCore.Qt.ItemDataRole.UserRole)
        if segment_id and self._node is not None:
            self.segmentAboutToBeModified.emit(segment_id)
            self._node.GetSegmentation().GetSegment(segment_id).SetName(item.text())

    def segmentIDForRow(self, row: int) -> str:
        item = self._table.item(row, 1)
        return item.data(QtCore.Qt.ItemDataRole.UserRole) if item is not None else ""

    def rowForSegmentID(self, segmentID: str) -> int:
        return next((row for row in range(self._table.rowCount()) if self.segmentIDForRow(row) == segmentID), -1)

    def displayedSegmentIDs(self) -> list[str]:
        return [self.segmentIDForRow(row) for row in range(self._table.rowCount())]

    segmentCount = QtCore.Property(int, lambda self: self._table.rowCount())

    def selectedSegmentIDs(self) -> list[str]:
        rows = sorted({index.row() for index in self._table.selectionModel().selectedIndexes()})
        return [self.segmentIDForRow(row) for row in rows]

    def setSelectedSegmentIDs(self, segmentIDs: list[str]) -> None:
        model, selection = self._table.model(), QtCore.QItemSelection()
        for segment_id in segmentIDs:
            row = self.rowForSegmentID(segment_id)
            if row >= 0:
                selection.select(model.index(row, 0), model.index(row, 1))
        replace = QtCore.QItemSelectionModel.SelectionFlag.ClearAndSelect
        self._table.selectionModel().select(selection, replace)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def setSelectionMode(self, mode: int) -> None:
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(mode))

    def _get_selection_mode(self) -> int:
        return self._table.selectionMode().value

    selectionMode = QtCore.Property(int, _get_selection_mode, setSelectionMode)

    def setHideSegments(self, segmentIDs: list[str]) -> None:
        self._hidden = list(segmentIDs)
        self._fill()

    def hideSegments(self) -> list[str]:
        return list(self._hidden)

    def setTextFilter(self, text: str) -> None:
        self._filter = text
        self._fill()

    textFilter = QtCore.Property(str, lambda self: self._filter, setTextFilter)


class qMRMLSegmentEditorWidget(QtWidgets.QWidget):
    """The segment editor: segments, effects by name, undo. What its parameter node says is what it shows.

    The real one wants its ``vtkMRMLSegmentEditorNode`` before anything is chosen and complains in the log otherwise; so
    does this one, and tests fail on what Qt complains about. Effects can be chosen; they do not paint.
    """

    currentSegmentIDChanged = QtCore.Signal(str)
    segmentationNodeChanged = QtCore.Signal(object)
    sourceVolumeNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._node = None
        self._watch = SceneWatch(self)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._order: list[str] = []
        self._unordered = True
        self._last = (None, None, None)
        self._observing_views = False
        self._shortcuts: list[QtGui.QShortcut] = []
        self._flags: dict[str, object] = {}
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        buttons = QtWidgets.QHBoxLayout()
        self._add = QtWidgets.QPushButton("Add", self)
        self._remove = QtWidgets.QPushButton("Remove", self)
        self._undo = QtWidgets.QPushButton("Undo", self)
        self._redo = QtWidgets.QPushButton("Redo", self)
        for button in (self._add, self._remove, self._undo, self._redo):
            buttons.addWidget(button)
        self._table = qMRMLSegmentsTableView(self)
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection.value)
        self._effects = QtWidgets.QWidget(self)
        self._effect_layout = QtWidgets.QGridLayout(self._effects)
        self._effect_layout.setContentsMargins(0, 0, 0, 0)
        self._effect_buttons: dict[str, QtWidgets.QPushButton] = {}
        layout.addLayout(buttons)
        layout.addWidget(self._table)
        layout.addWidget(self._effects)
        self._add.clicked.connect(self._on_add)
        self._remove.clicked.connect(self._on_remove)
        self._undo.clicked.connect(self.undo)
        self._redo.clicked.connect(self.redo)
        self._table.selectionChanged.connect(self._on_selection)
        self._make_effect_buttons()
        self._update()

    # ---- nodes

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(scene)
        self._table.setMRMLScene(scene)
        self._update()

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node) -> None:
        if node is self._node:
            return
        self._watch.clear()
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is not None:
            self._watch.watch(node, [vtk.vtkCommand.ModifiedEvent], lambda widget: widget._update())
        self._update()

    def _complain(self, method: str, text: str) -> None:
        QtCore.qCritical(f"qMRMLSegmentEditorWidget::{method}: {text}")

    def segmentationNode(self):
        return self._node.GetSegmentationNode() if self._node is not None else None

    def setSegmentationNode(self, node) -> None:
        if self._node is None:
            if node is not None:
                self._complain("setSegmentationNode", "need to set segment editor node first")
            return
        if node is self.segmentationNode():
            return
        self._node.SetAndObserveSegmentationNode(node)
        self.setActiveEffectByName("")

    def segmentationNodeID(self) -> str:
        return self.segmentationNode().GetID() if self.segmentationNode() is not None else ""

    def setSegmentationNodeID(self, nodeID: str) -> None:
        if self._scene is None:
            self._complain("setSegmentationNodeID", "failed: MRML scene is not set")
            return
        self.setSegmentationNode(self._scene.GetNodeByID(nodeID))

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def setSourceVolumeNode(self, node) -> None:
        if self._node is None or self.segmentationNode() is None:
            if node is not None:
                self._complain("setSourceVolumeNode", "need to set segment editor and segmentation nodes first")
            return
        self._node.SetAndObserveSourceVolumeNode(node)

    def sourceVolumeNodeID(self) -> str:
        return self.sourceVolumeNode().GetID() if self.sourceVolumeNode() is not None else ""

    def setSourceVolumeNodeID(self, nodeID: str) -> None:
        self.setSourceVolumeNode(self._scene.GetNodeByID(nodeID))

    # ---- segments

    def currentSegmentID(self) -> str:
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segmentID: str) -> None:
        if self._node is not None:
            self._node.SetSelectedSegmentID(segmentID)

    def _on_selection(self, *_selection: object) -> None:
        selected = self._table.selectedSegmentIDs()
        if self._node is not None and selected and selected[0] != self.currentSegmentID():
            self._node.SetSelectedSegmentID(selected[0])

    def _on_add(self) -> None:
        segmentation = self.segmentationNode()
        if segmentation is not None:
            self.saveStateForUndo()
            self.setCurrentSegmentID(segmentation.GetSegmentation().AddEmptySegment())

    def _on_remove(self) -> None:
        segmentation = self.segmentationNode()
        if segmentation is not None and self.currentSegmentID():
            self.saveStateForUndo()
            segmentation.GetSegmentation().RemoveSegment(self.currentSegmentID())
            left = segmentation.GetSegmentation().GetSegmentIDs()
            self.setCurrentSegmentID(left[0] if left else "")

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def setMaximumNumberOfUndoStates(self, number: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(number)

    maximumNumberOfUndoStates = QtCore.Property(
        int, lambda self: self._logic.GetMaximumNumberOfUndoStates(), setMaximumNumberOfUndoStates
    )

    # ---- effects

    def availableEffectNames(self) -> list[str]:
        return list(EFFECTS)

    def setEffectNameOrder(self, effectNames: list[str]) -> None:
        self._order = list(effectNames)
        self._make_effect_buttons()
        self._update()

    def effectNameOrder(self) -> list[str]:
        return list(self._order)

    def setUnorderedEffectsVisible(self, visible: bool) -> None:
        self._unordered = visible
        self._make_effect_buttons()
        self._update()

    unorderedEffectsVisible = QtCore.Property(bool, lambda self: self._unordered, setUnorderedEffectsVisible)

    def effectCount(self) -> int:
        return len(self._effect_buttons)

    def setActiveEffectByName(self, effectName: str) -> None:
        name = effectName if effectName in EFFECTS else ""
        if self._node is None:
            if name:
                self._complain("setActiveEffect", "Invalid segment editor parameter set node")
            return
        self._node.SetActiveEffectName(name)

    def activeEffect(self):
        """Return what stands for the active effect (its button), or None."""
        return self._effect_buttons.get(self._node.GetActiveEffectName() or "") if self._node is not None else None

    def setActiveEffect(self, effect) -> None:
        self.setActiveEffectByName(effect.text() if effect is not None else "")

    def effectByName(self, name: str):
        return self._effect_buttons.get(name)

    def _make_effect_buttons(self) -> None:
        for button in self._effect_buttons.values():
            self._effect_layout.removeWidget(button)
            button.deleteLater()
        names = [name for name in self._order if name in EFFECTS]
        names += [name for name in EFFECTS if self._unordered and name not in names]
        self._effect_buttons = {}
        for index, name in enumerate(names):
            button = QtWidgets.QPushButton(name, self._effects)
            button.setCheckable(True)
            button.clicked.connect(lambda checked, name=name: self.setActiveEffectByName(name if checked else ""))
            self._effect_layout.addWidget(button, index // 3, index % 3)
            self._effect_buttons[name] = button

    # ---- views

    def setupViewObservations(self) -> None:
        self._observing_views = True

    def removeViewObservations(self) -> None:
        self._observing_views = False

    def installKeyboardShortcuts(self, parent: QtWidgets.QWidget | None = None) -> None:
        """Keys 1 to 9 and 0 choose effects, Escape none; in the main window unless a widget is named."""
        self.uninstallKeyboardShortcuts()
        owner = parent if parent is not None else self
        keys = [str((index + 1) % 10) for index in range(min(10, len(self._effect_buttons)))]
        names = [*list(self._effect_buttons)[: len(keys)], ""]
        for key, name in zip([*keys, "Escape"], names, strict=True):
            shortcut = QtGui.QShortcut(QtGui.QKeySequence(key), owner)
            shortcut.activated.connect(lambda name=name: self.setActiveEffectByName(name))
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    # ---- what is shown

    def _update(self) -> None:
        segmentation, source = self.segmentationNode(), self.sourceVolumeNode()
        if self._table.segmentationNode() is not segmentation:
            self._table.setSegmentationNode(segmentation)
        current = self.currentSegmentID()
        ids = segmentation.GetSegmentation().GetSegmentIDs() if segmentation is not None else ()
        if self._node is not None and ids and current not in ids:
            # the real one chooses the first segment as well
            self._node.SetSelectedSegmentID(ids[0])
            return
        if current and self._table.selectedSegmentIDs() != [current]:
            self._table.setSelectedSegmentIDs([current])
        self._add.setEnabled(segmentation is not None)
        self._remove.setEnabled(bool(ids))
        self._effects.setEnabled(source is not None)
        active = (self._node.GetActiveEffectName() or "") if self._node is not None else ""
        for name, button in self._effect_buttons.items():
            button.setChecked(name == active)
        former, self._last = self._last, (segmentation, source, current)
        if former[0] is not segmentation:
            self.segmentationNodeChanged.emit(segmentation)
        if former[1] is not source:
            self.sourceVolumeNodeChanged.emit(source)
        if former[2] != current:
            self.currentSegmentIDChanged.emit(current)

    def _visibility(name: str, setter: str):  # noqa: N805 - makes the Qt properties below
        def put(self, visible: bool) -> None:
            self._flags[name] = visible
            if name == "addRemoveSegmentButtonsVisible":
                self._add.setVisible(visible)
                self._remove.setVisible(visible)

        put.__name__ = setter
        return QtCore.Property(bool, lambda self: bool(self._flags.get(name, True)), put), put

    segmentationNodeSelectorVisible, setSegmentationNodeSelectorVisible = _visibility(
        "segmentationNodeSelectorVisible", "setSegmentationNodeSelectorVisible"
    )
    sourceVolumeNodeSelectorVisible, setSourceVolumeNodeSelectorVisible = _visibility(
        "sourceVolumeNodeSelectorVisible", "setSourceVolumeNodeSelectorVisible"
    )
    maskingSectionVisible, setMaskingSectionVisible = _visibility("maskingSectionVisible", "setMaskingSectionVisible")
    specifyGeometryButtonVisible, setSpecifyGeometryButtonVisible = _visibility(
        "specifyGeometryButtonVisible", "setSpecifyGeometryButtonVisible"
    )
    show3DButtonVisible, setShow3DButtonVisible = _visibility("show3DButtonVisible", "setShow3DButtonVisible")
    addRemoveSegmentButtonsVisible, setAddRemoveSegmentButtonsVisible = _visibility(
        "addRemoveSegmentButtonsVisible", "setAddRemoveSegmentButtonsVisible"
    )
    switchToSegmentationsButtonVisible, setSwitchToSegmentationsButtonVisible = _visibility(
        "switchToSegmentationsButtonVisible", "setSwitchToSegmentationsButtonVisible"
    )
    autoShowSourceVolumeNode, setAutoShowSourceVolumeNode = _visibility(
        "autoShowSourceVolumeNode", "setAutoShowSourceVolumeNode"
    )
    undoEnabled, setUndoEnabled = _visibility("undoEnabled", "setUndoEnabled")
    readOnly, setReadOnly = _visibility("readOnly", "setReadOnly")


WIDGETS = (qMRMLSegmentEditorWidget, qMRMLSegmentsTableView)
