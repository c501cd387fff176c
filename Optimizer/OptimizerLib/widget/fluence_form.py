"""The search for the fluence, its leaves and dose: settings, live views, stop, and going on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.mrml.plan_node import deliveredPlan, isDoseCurrent, planFromNode, setPlan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.section import Section
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings, term_names
from OptimizerLib.live_search import LiveSearch
from OptimizerLib.mrml.fluence_nodes import hasOptimizedFluence
from OptimizerLib.mrml.segment_colors import segmentColors
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.widget.fluence_outcome import outcomeText
from OptimizerLib.widget.live_display import LiveDisplay
from OptimizerLib.widget.objectives_form import ObjectivesForm
from OptimizerLib.widget.optimizer_parameters import fluenceSettings
from OptimizerLib.widget.optimizer_session import OptimizerSession
from OptimizerLib.widget.solver_list import fillSolvers

_DELIVERIES = {"step_and_shoot": "Step and shoot", "sliding_window": "Sliding window"}

Begin = tuple[PlanningGoals, FluenceSettings, OptimizedFluence | None]


class FluenceForm(Section):
    """The section of the search.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : OptimizerSession
    objectives : ObjectivesForm
    display : LiveDisplay
        Shows the search while it runs.
    """

    session: OptimizerSession

    def __init__(self, ui: Any, session: OptimizerSession, objectives: ObjectivesForm, display: LiveDisplay) -> None:
        super().__init__(ui, session)
        self._objectives = objectives
        self._display = display
        self._live: LiveSearch | None = None
        fillSolvers(ui.solverCombo)
        for label, title in _DELIVERIES.items():
            ui.deliveryCombo.addItem(_(title), label)
        fillEngines(ui.engineCombo)
        ui.engineCombo.insertItem(0, _("the engine of the plan"), "")
        for button, handler in (
            (ui.fluenceButton, self.onOptimize),
            (ui.continueButton, self.onContinue),
            (ui.leavesButton, self.onLeaves),
            (ui.stopButton, self.onStop),
        ):
            button.clicked.connect(handler)
        ui.stopButton.setEnabled(False)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        return {
            "solver": ui.solverCombo,
            "iterations": ui.iterationsSpinBox,
            "tolerance_percent": ui.toleranceSpinBox,
            "delivery": ui.deliveryCombo,
            "levels": ui.levelsSpinBox,
            "refine": ui.refineCheckBox,
            "corrections": ui.correctionsSpinBox,
            "engine": ui.engineCombo,
            "searchFolded": ui.fluenceSection,
            "plotsFolded": ui.plotsSection,
        }

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return what follows a choice."""
        ui = self.ui
        return [
            (signal, self._showDelivery) for signal in (ui.deliveryCombo.currentIndexChanged, ui.refineCheckBox.toggled)
        ]

    def update(self) -> None:
        """Show what can be done, and the charts of the plan."""
        self._display.showPlan(self.session.planNode)
        self._showDelivery()
        self.showReadiness()

    def showReadiness(self) -> None:
        """Show what can be done with the objectives as they are."""
        if self.session.isRunning:
            return
        ui, canRun, planNode = self.ui, self._objectives.canRun, self.session.planNode
        ui.fluenceButton.setEnabled(canRun)
        for button in (ui.continueButton, ui.leavesButton):
            button.setEnabled(canRun and hasOptimizedFluence(planNode))

    def cleanup(self) -> None:
        """Let go of the scene; a search that runs ends at its next iteration."""
        super().cleanup()
        if self._live is not None:
            self._live.stop()
        self._display.release()

    # What a person does

    def onOptimize(self, *_unused: object) -> None:
        """Optimize the fluence from the beginning, its leaves and the dose."""
        self.optimize(lambda planNode: (self._objectives.goals(), fluenceSettings(self.parameters), None))

    def onContinue(self, *_unused: object) -> None:
        """Go on from the last fluence."""
        self.optimize(self._fromLast)

    def onLeaves(self, *_unused: object) -> None:
        """Keep the last fluence; leaves and dose anew."""
        self.optimize(self._fromLast, search=False)

    def onStop(self, *_unused: object) -> None:
        """Let the search end at its next iteration; leaves and dose follow."""
        if self._live is not None:
            self._live.stop()
            self.ui.stopButton.setEnabled(False)
            self.session.say(_("Stopping at the next iteration; leaves and dose follow."))

    def optimize(
        self, begin: Callable[[Any], Begin], *, search: bool = True, mixtureOf: ParetoPlans | None = None
    ) -> None:
        """Run an optimization and show what came of it.

        Parameters
        ----------
        begin : callable
            Gives the objectives, the settings and the fluence to start from (or None) for the plan node.
        search : bool
            Whether the fluence is searched; else the one to start from is kept.
        mixtureOf : ParetoPlans or None
            Plans that the fluence is mixed from.
        """
        session, planNode, colors = self.session, self.session.planNode, segmentColors(self.session.segmentationNode)

        def work(progress: Progress) -> FluencePlan:
            goals, settings, start = begin(planNode)
            before = deliveredPlan(planNode) if isDoseCurrent(planNode) else planFromNode(planNode)
            live = self._live = LiveSearch()
            self._display.start(live, term_names(goals), colors)
            self.ui.stopButton.setEnabled(search)

            def report(fraction: float, text: str) -> None:
                # what was answered to Stop stays to be read
                progress(fraction, _("Stopped here: {text}").format(text=text) if live.is_stopped else text)

            try:
                found = self._withEngine(
                    planNode,
                    lambda: session.logic.optimizeFluence(
                        planNode, goals, settings, report, live, start=start, search=search, mixtureOf=mixtureOf
                    ),
                )
                session.say(_("Judging the dose"))
                session.logic.reportFluence(planNode, found, before)
                return found
            finally:
                self._live = None
                if not session.isReleased:
                    self.ui.stopButton.setEnabled(False)
                    self._display.finish()

        session.run(work, outcomeText)

    def _fromLast(self, planNode: Any) -> Begin:
        fluence = self.session.logic.optimizedFluence(planNode)
        return self._objectives.goals(), fluenceSettings(self.parameters), fluence

    def _withEngine(self, planNode: Any, work: Callable[[], FluencePlan]) -> FluencePlan:
        """Run work with the chosen engine in the plan; the plan is as it was when the work fails."""
        former = planFromNode(planNode)
        label = self.parameters.engine
        if not label or label == former.engine:
            return work()
        # options are those of an engine
        setPlan(planNode, replace(former, engine=label, engine_options={}))
        try:
            return work()
        except BaseException:
            if planNode.GetScene() is not None:
                setPlan(planNode, former)
            raise

    def _showDelivery(self, *_unused: object) -> None:
        """Offer what the kind of delivery has."""
        if self.session.isRunning:
            return
        ui = self.ui
        stepAndShoot = ui.deliveryCombo.itemData(ui.deliveryCombo.property("currentIndex")) == "step_and_shoot"
        ui.levelsSpinBox.setEnabled(stepAndShoot)
        ui.refineCheckBox.setEnabled(stepAndShoot)
        ui.correctionsSpinBox.setEnabled(stepAndShoot and bool(ui.refineCheckBox.property("checked")))
