"""Observers of nodes that end with the widget that made them."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import shiboken6
from PySide6 import QtWidgets


class SceneWatch:
    """Observers of one widget; they do not keep it alive and say nothing once Qt has deleted it."""

    def __init__(self, widget: QtWidgets.QWidget) -> None:
        self._widget = weakref.ref(widget)
        self._observed: list[tuple] = []

    def watch(self, observed: object, events: list, call: Callable[[QtWidgets.QWidget], None]) -> None:
        """Call a function with the widget at every one of the events."""

        def on_event(caller: object, event: str) -> None:
            widget = self._widget()
            if widget is not None and shiboken6.isValid(widget):
                call(widget)

        self._observed += [(observed, observed.AddObserver(event, on_event)) for event in events]

    def clear(self) -> None:
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
