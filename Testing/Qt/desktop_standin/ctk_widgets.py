"""The ctk widgets the panels' ``.ui`` files use: a path, a color, and those of their own files."""

from __future__ import annotations

from types import ModuleType

from PySide6 import QtCore, QtGui, QtWidgets

from desktop_standin import folding, number_widgets


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


class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button with a color; the real one opens a color dialog when it is clicked."""

    colorChanged = QtCore.Signal(QtGui.QColor)
    colorNameChanged = QtCore.Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._color = QtGui.QColor("black")
        self._with_name = True
        self._show()

    def _show(self) -> None:
        picture = QtGui.QPixmap(16, 16)
        picture.fill(self._color)
        self.setIcon(QtGui.QIcon(picture))
        self.setText(self._color.name() if self._with_name else "")

    def _get_color(self) -> QtGui.QColor:
        return QtGui.QColor(self._color)

    def setColor(self, color: QtGui.QColor) -> None:
        if color == self._color:
            return
        self._color = QtGui.QColor(color)
        self._show()
        self.colorChanged.emit(self._color)

    def setDisplayColorName(self, display: bool) -> None:
        self._with_name = display
        self._show()

    color = QtCore.Property(QtGui.QColor, _get_color, setColor, notify=colorChanged)
    displayColorName = QtCore.Property(bool, lambda self: self._with_name, setDisplayColorName)


WIDGETS = (ctkPathLineEdit, ctkColorPickerButton, *folding.WIDGETS, *number_widgets.CTK_WIDGETS)


def make_ctk_module() -> ModuleType:
    """Return a fresh ``ctk`` module."""
    module = ModuleType("ctk")
    for widget in WIDGETS:
        setattr(module, widget.__name__, widget)
    return module
