"""The RT Planning panel: the steps of the workflow in clinical order, about one case and one plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.plan_selector import showOnlyPlans
from RTPlanningLib.widget.beams_step import BeamsStep
from RTPlanningLib.widget.case_step import CaseStep
from RTPlanningLib.widget.dose_step import DoseStep
from RTPlanningLib.widget.evaluate_step import EvaluateStep
from RTPlanningLib.widget.exercise_step import ExerciseStep
from RTPlanningLib.widget.export_step import ExportStep
from RTPlanningLib.widget.goals_step import GoalsStep
from RTPlanningLib.widget.optimize_step import OptimizeStep
from RTPlanningLib.widget.session import PlanningSession
from RTPlanningLib.widget.step import Step
from RTPlanningLib.widget.structures_step import StructuresStep

# section of the panel -> step
STEPS: dict[str, type[Step]] = {
    "case": CaseStep,
    "structures": StructuresStep,
    "goals": GoalsStep,
    "beams": BeamsStep,
    "dose": DoseStep,
    "optimize": OptimizeStep,
    "evaluate": EvaluateStep,
    "export": ExportStep,
    "exercise": ExerciseStep,
}


@parameterNodeWrapper
class PanelParameters:
    """Which sections are folded."""

    caseCollapsed: bool = False
    structuresCollapsed: bool = True
    goalsCollapsed: bool = True
    beamsCollapsed: bool = True
    doseCollapsed: bool = True
    optimizeCollapsed: bool = True
    evaluateCollapsed: bool = True
    exportCollapsed: bool = True
    exerciseCollapsed: bool = True


class _Shell(Step):
    """What stands around the steps: the plan they are about, and which of them are open."""

    uiName = "RTPlanning"
    Parameters = PanelParameters

    def __init__(self, ui: Any, session: PlanningSession) -> None:
        super().__init__(ui, session)
        ui.planSelector.currentNodeChanged.connect(self.onPlanChosen)

    def connectParameters(self) -> None:
        self.bind({f"{name}Collapsed": getattr(self.ui, f"{name}Section") for name in STEPS})

    def update(self) -> None:
        with quiet(self.ui.planSelector):
            self.ui.planSelector.setCurrentNode(self.session.planNode)

    def onPlanChosen(self, *_unused: object) -> None:
        # The selector's signal is overloaded, node or bool: its argument is not to be trusted.
        planNode = self.ui.planSelector.currentNode()
        if not self.session.isRunning and planNode is not self.session.planNode:
            self.session.choosePlan(planNode)


class RTPlanningPanel:
    """Connects ``Resources/UI/RTPlanning.ui`` and the steps with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : RTPlanningLogic
    scene : vtkMRMLScene
    loadStep : callable
        Returns the widget of a step and its named widgets: ``loadStep("BeamsStep") -> (widget, ui)``.

    Attributes
    ----------
    session : PlanningSession
    steps : dict of str to Step
        By section, such as ``steps["beams"]``.
    """

    def __init__(self, ui: Any, logic: Any, scene: Any, loadStep: Callable[[str], tuple[Any, Any]]) -> None:
        self.ui = ui
        widgets = {name: loadStep(step.uiName) for name, step in STEPS.items()}
        action = PanelAction(
            [ui.planSelector, *(widget for widget, _ui in widgets.values())],
            ui.statusLabel,
            ui.progressBar,
            ui.cancelButton,
            scene,
        )
        self.session = PlanningSession(logic, scene, action)
        self.steps: dict[str, Step] = {}
        for name, step in STEPS.items():
            widget, stepUi = widgets[name]
            getattr(ui, f"{name}Section").layout().addWidget(widget)
            self.steps[name] = step(stepUi, self.session)
        showOnlyPlans(ui.planSelector)
        ui.planSelector.setMRMLScene(scene)
        self.session.start([_Shell(ui, self.session), *self.steps.values()])
        self.session.say(_("Load a sample case, or choose a CT and its structures."))

    def update(self) -> None:
        """Bring the panel up to date with the scene."""
        self.session.update()

    def enter(self) -> None:
        """The module is shown from now on."""
        for step in self.steps.values():
            step.enter()
        self.update()

    def exit(self) -> None:
        """Another module is shown from now on."""
        for step in self.steps.values():
            step.exit()

    def cleanup(self) -> None:
        """Let go of the scene and stop what is running."""
        self.session.release()
        self.ui.planSelector.setMRMLScene(None)
