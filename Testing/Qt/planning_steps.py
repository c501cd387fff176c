"""One step of the RTPlanning panel on its own, with the session and the action it would have in the panel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def make_step(desktop: Any, *step_classes: type, logic: Any = None) -> SimpleNamespace:
    """Build steps from their ``.ui`` files in a panel of their own.

    Returns
    -------
    SimpleNamespace
        ``step`` (the first one), ``steps``, ``ui`` (of the first one), ``session``, ``logic``, ``parent`` (the panel,
        for pictures), ``statusLabel``, ``progressBar``, ``cancelButton``.
    """
    import qt

    from DoseEngineLib.widget.panel_action import PanelAction
    from RTPlanningLib.logic import RTPlanningLogic
    from RTPlanningLib.widget.session import PlanningSession

    parent = qt.QWidget()
    layout = qt.QVBoxLayout(parent)
    status, bar, cancel = qt.QLabel(), qt.QProgressBar(), qt.QPushButton("Cancel")
    status.setWordWrap(True)
    loaded = []
    for step_class in step_classes:
        file = REPOSITORY / "RTPlanning" / "Resources" / "UI" / f"{step_class.uiName}.ui"
        widget = desktop.slicer.util.loadUI(str(file))
        layout.addWidget(widget)
        loaded.append((step_class, widget))
    for widget in (status, bar, cancel):
        layout.addWidget(widget)
    logic = logic or RTPlanningLogic(desktop.scene)
    action = PanelAction([widget for _, widget in loaded], status, bar, cancel, desktop.scene)
    session = PlanningSession(logic, desktop.scene, action)
    steps = [step_class(desktop.slicer.util.childWidgetVariables(widget), session) for step_class, widget in loaded]
    session.start(steps)
    return SimpleNamespace(
        step=steps[0],
        steps=steps,
        ui=steps[0].ui,
        session=session,
        logic=logic,
        parent=parent,
        statusLabel=status,
        progressBar=bar,
        cancelButton=cancel,
    )


def choose(combo: Any, data: Any) -> None:
    """Choose the item of a combo box that stands for something, as a person would."""
    index = combo.findData(data)
    assert index >= 0, [combo.itemData(n) for n in range(combo.count())]
    combo.setCurrentIndex(index)
