"""The ctk widgets the panels' ``.ui`` files use."""

from __future__ import annotations

from types import ModuleType

from PySide6 import QtCore, QtWidgets


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    """A titled section; the real one folds."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._collapsed = False

    def _get_text(self) -> str:
        return self.title()

    def _set_text(self, text: str) -> None:
        self.setTitle(text)

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        self._collapsed = collapsed

    text = QtCore.Property(str, _get_text, _set_text)
    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line with a path; the real one has a button for the file dialog and remembers former paths."""

    currentPathChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = QtWidgets.QLineEdit(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(QtWidgets.QToolButton(self, text="..."))
        self._line.textChanged.connect(self.currentPathChanged)

    def _get_path(self) -> str:
        return self._line.text()

    def setCurrentPath(self, path: str) -> None:
        self._line.setText(path)

    currentPath = QtCore.Property(str, _get_path, setCurrentPath)


WIDGETS = (ctkCollapsibleButton, ctkPathLineEdit)


def make_ctk_module() -> ModuleType:
    """Return a fresh ``ctk`` module."""
    module = ModuleType("ctk")
    for widget in WIDGETS:
        setattr(module, widget.__name__, widget)
    return module
