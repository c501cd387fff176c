"""The Plan Optimizer panel: objectives, the fluence for them, leaves and dose; trade-offs; weights of open beams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.plan_node import isDoseCurrent
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.plan_selector import showOnlyPlans
from DoseEngineLib.widget.section import Section
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings
from OptimizerLib.influence_estimate import InfluenceEstimate
from OptimizerLib.objectives import Objective
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.solvers import IterationState, Solution
from OptimizerLib.widget.beam_weights_form import BeamWeightsForm
from OptimizerLib.widget.fluence_form import FluenceForm
from OptimizerLib.widget.influence_form import InfluenceForm
from OptimizerLib.widget.live_display import LiveDisplay
from OptimizerLib.widget.objectives_form import ObjectivesForm
from OptimizerLib.widget.optimizer_session import OptimizerSession
from OptimizerLib.widget.outcome_view import OutcomeView
from OptimizerLib.widget.trade_off_form import TradeOffForm


class OptimizationLogic(Protocol):
    """What the panel asks of its logic."""

    background: Any

    def optimizeBeamWeights(
        self, planNode: Any, objectives: Sequence[Objective], progress: Progress | None = None
    ) -> Solution:
        """Find and store the beam weights that meet the objectives best."""

    def optimizeFluence(
        self,
        planNode: Any,
        goals: PlanningGoals,
        settings: FluenceSettings | None = None,
        progress: Progress | None = None,
        callback: Callable[[IterationState], None] | None = None,
        *,
        start: OptimizedFluence | None = None,
        search: bool = True,
        mixtureOf: ParetoPlans | None = None,
    ) -> FluencePlan:
        """Find the fluence that meets the rows best, its leaves and dose, and store them."""

    def optimizedFluence(self, planNode: Any) -> OptimizedFluence | None:
        """The fluence that was optimized for a plan."""

    def reportFluence(self, planNode: Any, found: FluencePlan, before: Plan) -> None:
        """Put what came of an optimization into the scene."""

    def estimateInfluence(
        self, planNode: Any, goals: PlanningGoals, settings: FluenceSettings, progress: Progress
    ) -> InfluenceEstimate:
        """Estimate the size of a dose influence."""

    def planPareto(
        self,
        planNode: Any,
        goals: PlanningGoals,
        tradeOff: Sequence[Sequence[str]],
        settings: FluenceSettings,
        progress: Progress,
        *,
        room: float,
        gap: float,
        maxPlans: int,
        previous: ParetoPlans | None = None,
    ) -> ParetoPlans:
        """Compute plans for goals that compete."""


class _PlanChoice(Section):
    """Which plan the panel is about, and how things stand with it."""

    session: OptimizerSession

    def coupled(self) -> Mapping[str, Any]:
        return {"planNode": self.ui.planSelector}

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        # the selector's signal is overloaded, node or bool: its argument is not to be trusted
        return [(self.ui.planSelector.currentNodeChanged, lambda *_unused: self.session.update())]

    def update(self) -> None:
        planNode = self.session.planNode
        try:
            if planNode is None:
                text = _("Choose a plan, or make one in RT Planning.")
            elif not isDoseCurrent(planNode):
                text = _("Optimize the fluence; or calculate the dose first and weigh the beams anew.")
            else:
                text = _("Ready.")
        except PlanningError as error:
            # a plan that cannot be read: the other parts show what they can
            text = str(error)
        self.session.sayStanding(text)


class OptimizerPanel:
    """Connects the widgets of ``Resources/UI/Optimizer.ui`` with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : OptimizationLogic
    scene : vtkMRMLScene

    Attributes
    ----------
    session : OptimizerSession
    objectives, influence, fluence, outcome, tradeOff, beamWeights : Section
    """

    def __init__(self, ui: Any, logic: OptimizationLogic, scene: Any) -> None:
        self.ui = ui
        # what an action needs to stay as it is; whole sections would lose their folding
        controls = [
            *(ui.planSelector, ui.templateCombo, ui.replaceRowsButton, ui.appendRowsButton, ui.rowsTabs),
            *(ui.bixelSpinBox, ui.marginSpinBox, ui.spacingCheckBox, ui.spacingSpinBox, ui.tissueSpinBox),
            *(ui.estimateButton, ui.solverCombo, ui.iterationsSpinBox, ui.toleranceSpinBox, ui.deliveryCombo),
            *(ui.levelsSpinBox, ui.refineCheckBox, ui.correctionsSpinBox, ui.engineCombo),
            *(ui.fluenceButton, ui.continueButton, ui.leavesButton),
            *(ui.goalsTable, ui.plansSpinBox, ui.gapSpinBox, ui.roomSpinBox),
            *(ui.paretoButton, ui.morePlansButton, ui.makePlanButton, ui.slidersArea),
            *(ui.objectivesTable, ui.addButton, ui.removeButton, ui.optimizeButton),
        ]
        action = PanelAction(controls, ui.statusLabel, ui.progressBar, ui.cancelButton, scene)
        self.session = OptimizerSession(logic, scene, action)
        showOnlyPlans(ui.planSelector)
        ui.planSelector.setMRMLScene(scene)
        display = LiveDisplay(ui.convergencePlot, ui.dvhPlot, scene)
        self.objectives = ObjectivesForm(ui, self.session, self._onObjectivesChanged)
        self.influence = InfluenceForm(ui, self.session, self.objectives)
        self.fluence = FluenceForm(ui, self.session, self.objectives, display)
        self.outcome = OutcomeView(ui, self.session)
        self.tradeOff = TradeOffForm(ui, self.session, self.objectives, self.fluence, display)
        self.beamWeights = BeamWeightsForm(ui, self.session)
        parts = [self.objectives, self.influence, self.fluence, self.outcome, self.tradeOff, self.beamWeights]
        self.session.start([_PlanChoice(ui, self.session), *parts])

    def cleanup(self) -> None:
        """Let go of the scene and stop what is running."""
        self.session.release()
        self.ui.planSelector.setMRMLScene(None)

    def update(self) -> None:
        """Bring the panel up to date with the scene."""
        self.session.update()

    def _onObjectivesChanged(self) -> None:
        """Show at once what the objectives allow; the rest follows with the plan node."""
        self.influence.forget()
        self.influence.showReadiness()
        self.fluence.showReadiness()
        self.tradeOff.showObjectives()
