"""What every panel about a plan has: its selector, one action at a time, and the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from DoseEngineLib.widget.panel_action import PanelAction

# What makes a scripted module node a plan; lets a node selector show plans alone.
_PLAN_ATTRIBUTE = ("vtkMRMLScriptedModuleNode", "RTPlanning.NodeType", "Plan")


def showOnlyPlans(selector: Any) -> None:
    """Let a node selector offer plan nodes alone."""
    selector.addAttribute(*_PLAN_ATTRIBUTE)


class PlanPanel(ABC):
    """Connects the widgets of a ``.ui`` file with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes; among them ``planSelector``, ``statusLabel``, ``progressBar``, ``cancelButton``.
    scene : vtkMRMLScene
    controls : sequence of QWidget
        Disabled while an action runs, as the selector of the plan is.
    selectors : sequence of qMRMLNodeComboBox
        Others that choose nodes of the scene.
    """

    def __init__(self, ui: Any, scene: Any, controls: Sequence[Any], selectors: Sequence[Any] = ()) -> None:
        self.ui = ui
        self.action = PanelAction(
            [ui.planSelector, *selectors, *controls], ui.statusLabel, ui.progressBar, ui.cancelButton, scene
        )
        showOnlyPlans(ui.planSelector)
        self._selectors = (*selectors, ui.planSelector)
        for selector in self._selectors:
            selector.setMRMLScene(scene)
        ui.planSelector.currentNodeChanged.connect(self.onPlanChanged)

    def cleanup(self) -> None:
        """Let go of the scene and stop what is running."""
        self.action.release()
        for selector in self._selectors:
            selector.setMRMLScene(None)

    def update(self) -> None:
        """Bring the panel up to date with the scene."""
        self.onPlanChanged()

    @abstractmethod
    def onPlanChanged(self, *_unused: object) -> None:
        """Show the plan that is chosen."""
