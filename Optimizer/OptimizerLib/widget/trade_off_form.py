"""Trade-offs: goals that compete, plans between them, and sliders that mix the plans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.section import Section
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings
from OptimizerLib.mrml.pareto_nodes import paretoPlans, paretoStamp, setParetoPlans, setSliderState, sliderState
from OptimizerLib.mrml.segment_colors import segmentColors
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.pareto_plans import ParetoPlans, mixture_text
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.widget.fluence_form import FluenceForm
from OptimizerLib.widget.goals_table import GoalsTable
from OptimizerLib.widget.live_display import LiveDisplay
from OptimizerLib.widget.objectives_form import ObjectivesForm
from OptimizerLib.widget.optimizer_parameters import fluenceSettings
from OptimizerLib.widget.optimizer_session import OptimizerSession
from OptimizerLib.widget.trade_off_sliders import TradeOffSliders


class TradeOffForm(Section):
    """The section of the trade-offs.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : OptimizerSession
    objectives : ObjectivesForm
    fluence : FluenceForm
        Makes a mixture deliverable.
    display : LiveDisplay
        Shows the DVHs of a mixture.

    Attributes
    ----------
    goalsTable : GoalsTable
    sliders : TradeOffSliders
    """

    session: OptimizerSession

    def __init__(
        self,
        ui: Any,
        session: OptimizerSession,
        objectives: ObjectivesForm,
        fluence: FluenceForm,
        display: LiveDisplay,
    ) -> None:
        super().__init__(ui, session)
        self._objectives, self._fluence, self._display = objectives, fluence, display
        # of the plans that the sliders show
        self._stamp: tuple[str, str] | None = None
        self.goalsTable = GoalsTable(ui.goalsTable, self._onGoalsChanged)
        self.sliders = TradeOffSliders(ui.slidersArea, self._onSlidersMoved)
        for button, handler in (
            (ui.paretoButton, self.onPareto),
            (ui.morePlansButton, self.onMorePlans),
            (ui.makePlanButton, self.onMakePlan),
        ):
            button.clicked.connect(handler)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        return {
            "paretoPlans": ui.plansSpinBox,
            "paretoGap_percent": ui.gapSpinBox,
            "paretoRoom": ui.roomSpinBox,
            "paretoFolded": ui.paretoSection,
        }

    def update(self) -> None:
        """Show the goals and the plans between them of the chosen plan."""
        planNode = self.session.planNode
        stamp = paretoStamp(planNode)
        if stamp != self._stamp:
            self._stamp = stamp
            self.sliders.show(None)
            self._display.showPlan(planNode, anew=True)
            if stamp is not None:
                self._showKept(planNode)
        self.showObjectives()

    def showObjectives(self) -> None:
        """Show what can be traded of the objectives as they are, and whether the plans are of these."""
        self._showGoals()
        self._showMixture()
        if self.session.isRunning:
            return
        ui, canRun, hasPlans = self.ui, self._objectives.canRun, self.sliders.plans is not None
        ui.paretoButton.setEnabled(canRun)
        ui.morePlansButton.setEnabled(canRun and hasPlans)
        ui.makePlanButton.setEnabled(self.session.segmentationNode is not None and hasPlans)

    # What a person does

    def onPareto(self, *_unused: object) -> None:
        """Compute plans that trade the goals against each other."""
        self._compute(None)

    def onMorePlans(self, *_unused: object) -> None:
        """Add plans to those that are there."""
        self._compute(self.sliders.plans)

    def onMakePlan(self, *_unused: object) -> None:
        """Find leaves for the mixture that the sliders show, and its dose."""
        plans, navigator = self.sliders.plans, self.sliders.navigator

        def begin(planNode: Any) -> tuple[PlanningGoals, FluenceSettings, OptimizedFluence]:
            wanted = fluenceSettings(self.parameters)
            # bixels and voxels are those of the plans, leaves as they are set now
            settings = replace(
                plans.settings,
                delivery=wanted.delivery,
                levels=wanted.levels,
                refine=wanted.refine,
                corrections=wanted.corrections,
            )
            return plans.weighted_goals(navigator.position.shares), settings, plans.fluence(navigator)

        self._fluence.optimize(begin, search=False, mixtureOf=plans)

    def _compute(self, previous: ParetoPlans | None) -> None:
        session, parameters, planNode = self.session, self.parameters, self.session.planNode

        def work(progress: Progress) -> ParetoPlans:
            plans: ParetoPlans = session.logic.planPareto(
                planNode,
                self._objectives.goals(),
                self.goalsTable.groups(),
                fluenceSettings(parameters) if previous is None else previous.settings,
                progress,
                room=parameters.paretoRoom,
                gap=parameters.paretoGap_percent / 100.0,
                maxPlans=parameters.paretoPlans,
                previous=previous,
            )
            kept = session.background(lambda _report: plans.to_bytes())
            if planNode.GetScene() is None:
                raise OptimizationError(_("The plan was removed meanwhile; its trade-offs were dropped."))
            setParetoPlans(planNode, kept)
            return plans

        def told(plans: ParetoPlans) -> str:
            return _("{count} plans. {message}").format(count=plans.front.plans, message=plans.front.message)

        if session.run(work, told) is not None and self.sliders.plans is not None:
            self._showDvhs()

    def _onGoalsChanged(self) -> None:
        self.parameters.paretoGoals = json.dumps(self.goalsTable.numbers(), ensure_ascii=False)

    def _onSlidersMoved(self) -> None:
        """Keep where the sliders stand, and show the mixture: its DVHs and which plans it is made of."""
        if self.sliders.plans is None or self.session.isRunning:
            return
        setSliderState(self.session.planNode, self.sliders.state())
        self._showMixture()
        self._showDvhs()

    def _showDvhs(self) -> None:
        self._display.showDvh(*self.sliders.curves(), segmentColors(self.session.segmentationNode))

    # What is shown

    def _showKept(self, planNode: Any) -> None:
        """Show the plans that are kept with a plan node, and the sliders where they stood as far as that is known."""
        try:
            self.sliders.show(paretoPlans(planNode))
            self.sliders.restore(sliderState(planNode))
        except PlanningError as error:
            self.session.say(str(error))

    def _showGoals(self) -> None:
        """Offer the structures whose rows can be traded."""
        try:
            rows = self._objectives.goals().rows
        except PlanningError:
            # a line that is being typed; its error is shown beside it
            return
        traded = dict.fromkeys(row.structure for row in rows if not row.constraint and row.structure is not None)
        self.goalsTable.show(list(traded), json.loads(self.parameters.paretoGoals))

    def _showMixture(self) -> None:
        plans = self.sliders.plans
        texts = [] if plans is None else [mixture_text(self.sliders.navigator.position)]
        if plans is not None and self._entries() != plans.objectives:
            texts.append(_("The objectives are no longer those that these plans were computed for."))
        self.ui.paretoLabel.setText(" ".join(texts))

    def _entries(self) -> tuple[str, ...]:
        """The rows as they are kept; none while a line cannot be read."""
        try:
            return tuple(self._objectives.goals().to_entries())
        except PlanningError:
            return ()
