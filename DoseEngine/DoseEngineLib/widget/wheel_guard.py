"""The mouse wheel scrolls a panel; it changes a number or a choice only where a person went to change it."""

from __future__ import annotations

from typing import Any

import qt

_GUARDED = ("QAbstractSpinBox", "QComboBox", "QAbstractSlider")


class WheelGuard(qt.QObject):
    """Keeps the wheel from spin boxes, combo boxes and sliders that do not have the focus.

    Whoever makes one keeps it as long as the widgets are to be guarded.
    """

    def guard(self, widget: Any) -> None:
        """Guard a widget and all that it holds."""
        if any(widget.inherits(kind) for kind in _GUARDED) and not widget.inherits("QScrollBar"):
            # the focus that the wheel itself would give does not count
            widget.setFocusPolicy(qt.Qt.StrongFocus)
            widget.installEventFilter(self)
        for child in widget.children():
            if child.isWidgetType():
                self.guard(child)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Leave the wheel to what is below the widget."""
        if event.type() == qt.QEvent.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False
