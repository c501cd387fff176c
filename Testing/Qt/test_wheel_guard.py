"""Scrolling through a panel changes nothing that a person did not go to."""

from __future__ import annotations

import pytest


def turn_wheel(widget) -> None:
    from PySide6 import QtCore, QtGui, QtWidgets

    middle = QtCore.QPointF(widget.rect().center())
    event = QtGui.QWheelEvent(
        middle,
        QtCore.QPointF(widget.mapToGlobal(middle.toPoint())),
        QtCore.QPoint(),
        QtCore.QPoint(0, 120),
        QtCore.Qt.MouseButton.NoButton,
        QtCore.Qt.KeyboardModifier.NoModifier,
        QtCore.Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QtWidgets.QApplication.sendEvent(widget, event)


def test_the_wheel_is_for_what_has_the_focus(desktop) -> None:
    import qt

    from DoseEngineLib.widget.wheel_guard import WheelGuard

    parent = qt.QWidget()
    spin, other = qt.QSpinBox(parent), qt.QSpinBox(parent)
    guard = WheelGuard()
    parent.show()
    parent.activateWindow()
    turn_wheel(spin)
    assert spin.property("value") == 1, "unguarded, the wheel counts"
    guard.guard(parent)
    other.setFocus()
    turn_wheel(spin)
    assert spin.property("value") == 1
    spin.setFocus()
    qt.QApplication.processEvents()
    assert spin.hasFocus()
    turn_wheel(spin)
    assert spin.property("value") == 2


@pytest.mark.parametrize("name", ["DoseEngine", "Optimizer", "RTPlanning"])
def test_every_number_and_choice_of_a_panel_is_guarded(load, name: str) -> None:
    from PySide6 import QtCore, QtWidgets

    _module, widget = load(name)
    kinds = (QtWidgets.QAbstractSpinBox, QtWidgets.QComboBox)
    controls = [one for kind in kinds for one in widget.parent.findChildren(kind)]
    assert len(controls) > 10
    for one in controls:
        assert one.focusPolicy() == QtCore.Qt.FocusPolicy.StrongFocus, one.objectName() or one.toolTip()
        before = one.property("value"), one.property("currentIndex")
        turn_wheel(one)
        assert (one.property("value"), one.property("currentIndex")) == before, one.objectName() or one.toolTip()
    widget.cleanup()
