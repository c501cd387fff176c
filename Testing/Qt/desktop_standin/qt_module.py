"""Module ``qt`` as PythonQt makes it: every class of QtCore, QtGui, QtWidgets and QtUiTools in one flat namespace."""

from __future__ import annotations

from types import ModuleType

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets


def make_qt_module(settings: type) -> ModuleType:
    """Return a fresh ``qt`` module, with a class of settings that do not touch the disk."""
    module = ModuleType("qt")
    for part in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(part):
            if name.startswith("Q") or name == "Qt":
                setattr(module, name, getattr(part, name))
    module.QSettings = settings
    return module
