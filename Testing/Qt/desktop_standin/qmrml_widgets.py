"""The qMRML widgets the panels' ``.ui`` files use, on a real MRML scene."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets

from desktop_standin import number_widgets, plot_widgets, segment_widgets
from desktop_standin.scene_watch import SceneWatch


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A node selector that follows the scene: types, attributes, hidden nodes and "None" as in the real one."""

    # The real signal is overloaded, (vtkMRMLNode*) and (bool), and either may arrive: this is the worse one.
    currentNodeChanged = QtCore.Signal(bool)
    currentNodeIDChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._scene = None
        self._watch = SceneWatch(self)
        self._attributes: list[tuple[str, str, str | None]] = []
        self._node_types: list[str] = []
        self._flags = {"noneEnabled": False, "showHidden": False, "addEnabled": True, "removeEnabled": True}
        self._flags.update(editEnabled=False, renameEnabled=False, selectNodeUponCreation=True)
        self._texts = {"noneDisplay": "None", "baseName": ""}
        self._last_id = ""
        self._combo.currentIndexChanged.connect(self._report)

    def _flag(name: str):  # noqa: N805 - makes the Qt properties below
        def get(self) -> bool:
            return self._flags[name]

        def put(self, value: bool) -> None:
            self._flags[name] = value
            self._refresh()

        return QtCore.Property(bool, get, put)

    noneEnabled = _flag("noneEnabled")
    showHidden = _flag("showHidden")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    editEnabled = _flag("editEnabled")
    renameEnabled = _flag("renameEnabled")
    selectNodeUponCreation = _flag("selectNodeUponCreation")

    def _text(name: str):  # noqa: N805 - makes the Qt properties below
        def put(self, value: str) -> None:
            self._texts[name] = value
            self._refresh()

        return QtCore.Property(str, lambda self: self._texts[name], put)

    noneDisplay = _text("noneDisplay")
    baseName = _text("baseName")

    def _get_node_types(self) -> list[str]:
        return self._node_types

    def _set_node_types(self, types: list[str]) -> None:
        self._node_types = list(types)
        self._refresh()

    nodeTypes = QtCore.Property("QStringList", _get_node_types, _set_node_types)

    def addAttribute(self, nodeType: str, name: str, value: str | None = None) -> None:
        self._attributes.append((nodeType, name, value))
        self._refresh()

    def setMRMLScene(self, scene) -> None:
        self._watch.clear()
        self._scene = scene
        if scene is not None:
            events = [scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent]
            self._watch.watch(scene, events, lambda widget: widget._refresh())
        self._refresh()

    def mrmlScene(self):
        return self._scene

    def currentNode(self):
        node_id = self._combo.currentData()
        return self._scene.GetNodeByID(node_id) if self._scene is not None and node_id else None

    def setCurrentNode(self, node) -> None:
        self._refresh()
        index = self._combo.findData(node.GetID()) if node is not None else self._combo.findData("")
        self._combo.setCurrentIndex(index)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(nodeID) if self._scene is not None and nodeID else None)

    currentNodeID = QtCore.Property(str, lambda self: self._combo.currentData() or "", setCurrentNodeID)

    def nodes(self) -> list:
        ids = [self._combo.itemData(index) for index in range(self._combo.count())]
        return [self._scene.GetNodeByID(node_id) for node_id in ids if node_id]

    def removeAttribute(self, nodeType: str, name: str) -> None:
        self._attributes = [entry for entry in self._attributes if entry[:2] != (nodeType, name)]
        self._refresh()

    def nodeCount(self) -> int:
        return sum(1 for index in range(self._combo.count()) if self._combo.itemData(index))

    def _accepts(self, node) -> bool:
        if not any(node.IsA(node_type) for node_type in self._node_types):
            return False
        if node.GetHideFromEditors() and not self._flags["showHidden"]:
            return False
        return all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
            for node_type, name, value in self._attributes
            if node.IsA(node_type)
        )

    def _refresh(self) -> None:
        wanted = self._combo.currentData() or ""
        self._combo.blockSignals(True)
        self._combo.clear()
        if self._flags["noneEnabled"]:
            self._combo.addItem(self._texts["noneDisplay"], "")
        if self._scene is not None:
            for number in range(self._scene.GetNumberOfNodes()):
                node = self._scene.GetNthNode(number)
                if self._accepts(node):
                    self._combo.addItem(node.GetName(), node.GetID())
        self._combo.setCurrentIndex(max(self._combo.findData(wanted), 0))
        self._combo.blockSignals(False)
        self._report()

    def _report(self) -> None:
        node_id = self._combo.currentData() or ""
        if node_id != self._last_id:
            self._last_id = node_id
            self.currentNodeChanged.emit(self.currentNode() is not None)
            self.currentNodeIDChanged.emit(node_id)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A node selector with a check mark a node."""

    checkedNodesChanged = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        self._checked: set[str] = set()
        super().__init__(parent)

    def checkedNodes(self) -> list:
        return [node for node in self.nodes() if node.GetID() in self._checked]

    def uncheckedNodes(self) -> list:
        return [node for node in self.nodes() if node.GetID() not in self._checked]

    def allChecked(self) -> bool:
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()

    def checkState(self, node) -> QtCore.Qt.CheckState:
        checked = node is not None and node.GetID() in self._checked
        return QtCore.Qt.CheckState.Checked if checked else QtCore.Qt.CheckState.Unchecked

    def setCheckState(self, node, state: QtCore.Qt.CheckState) -> None:
        if node is None or self.checkState(node) == state:
            return
        self._checked ^= {node.GetID()}
        self._combo.setItemData(self._combo.findData(node.GetID()), state, QtCore.Qt.ItemDataRole.CheckStateRole)
        self.checkedNodesChanged.emit()

    def check(self, node) -> None:
        self.setCheckState(node, QtCore.Qt.CheckState.Checked)

    def uncheck(self, node) -> None:
        self.setCheckState(node, QtCore.Qt.CheckState.Unchecked)

    def _refresh(self) -> None:
        super()._refresh()
        for node in self.nodes() if self._scene is not None else ():
            row = self._combo.findData(node.GetID())
            self._combo.setItemData(row, self.checkState(node), QtCore.Qt.ItemDataRole.CheckStateRole)


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows a scene: the parent of a module's panel."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene) -> None:
        self._scene = scene

    def mrmlScene(self):
        return self._scene


WIDGETS = (
    qMRMLNodeComboBox,
    qMRMLCheckableNodeComboBox,
    qMRMLWidget,
    *number_widgets.QMRML_WIDGETS,
    *plot_widgets.WIDGETS,
    *segment_widgets.WIDGETS,
)
