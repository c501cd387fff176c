"""The Plan Optimizer panel: objectives, the fluence for them, leaves and dose; trade-offs; weights of open beams."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import qt
import vtk
from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.plan_node import (
    SEGMENTATION,
    deliveredPlan,
    isDoseCurrent,
    isPlanNode,
    planFromNode,
    setPlan,
)
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import connect, quiet
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.module_parameters import SceneParameters
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.plan_panel import PlanPanel
from DoseEngineLib.widget.scene_session import SEGMENTS_CHANGED
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings, term_names
from OptimizerLib.influence_estimate import InfluenceEstimate, memory_text
from OptimizerLib.live_search import LiveSearch
from OptimizerLib.mrml.fluence_nodes import hasOptimizedFluence
from OptimizerLib.mrml.objective_list_nodes import objectiveLines, setObjectiveLines
from OptimizerLib.mrml.optimization_result_nodes import BEAMS_TABLE, OUTCOME_TABLE, isResultCurrent
from OptimizerLib.mrml.plan_goal_rows import rowsOfPlanGoals
from OptimizerLib.mrml.segment_colors import segmentColors
from OptimizerLib.objectives import Objective
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.pareto_plans import ParetoPlans, mixture_text
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.shipped_objectives import shipped_objectives
from OptimizerLib.solvers import IterationState, Solution
from OptimizerLib.widget.beam_weights_section import BeamWeightsSection
from OptimizerLib.widget.fluence_outcome import outcomeText
from OptimizerLib.widget.goals_table import GoalsTable
from OptimizerLib.widget.live_display import LiveDisplay
from OptimizerLib.widget.objectives_editor import ObjectivesEditor
from OptimizerLib.widget.optimizer_parameters import MODULE, OptimizerParameters, fluenceSettings
from OptimizerLib.widget.solver_list import fillSolvers
from OptimizerLib.widget.table_view import showTable
from OptimizerLib.widget.trade_off_sliders import TradeOffSliders

_FROM_GOALS = "goals"
_DELIVERIES = {"step_and_shoot": "Step and shoot", "sliding_window": "Sliding window"}


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


class OptimizerPanel(PlanPanel):
    """Connects the widgets of ``Resources/UI/Optimizer.ui`` with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : OptimizationLogic
        Its pure work runs in a thread from now on, while events turn.
    scene : vtkMRMLScene

    Attributes
    ----------
    parameters : OptimizerParameters
    editor : ObjectivesEditor
    beamWeights : BeamWeightsSection
    sliders : TradeOffSliders
    goalsTable : GoalsTable
    """

    def __init__(self, ui: Any, logic: OptimizationLogic, scene: Any) -> None:
        # what an action needs to stay as it is; whole sections would lose their folding
        controls = [
            *(ui.templateCombo, ui.replaceRowsButton, ui.appendRowsButton, ui.rowsTabs),
            *(ui.bixelSpinBox, ui.marginSpinBox, ui.spacingCheckBox, ui.spacingSpinBox, ui.tissueSpinBox),
            *(ui.estimateButton, ui.solverCombo, ui.iterationsSpinBox, ui.toleranceSpinBox, ui.deliveryCombo),
            *(ui.levelsSpinBox, ui.refineCheckBox, ui.correctionsSpinBox, ui.engineCombo),
            *(ui.fluenceButton, ui.continueButton, ui.leavesButton),
            *(ui.goalsTable, ui.plansSpinBox, ui.gapSpinBox, ui.roomSpinBox),
            *(ui.paretoButton, ui.morePlansButton, ui.makePlanButton, ui.slidersArea),
            *(ui.objectivesTable, ui.addButton, ui.removeButton, ui.optimizeButton),
        ]
        self._shownPlan: Any = None
        self._observed: list[tuple[Any, list[int]]] = []
        self._released = False
        self._live: LiveSearch | None = None
        self._fronts: dict[str, tuple[Any, ParetoPlans]] = {}
        self._uncouple: Callable[[], None] | None = None
        super().__init__(ui, scene, controls)
        self.scene = scene
        self.logic = logic
        # nodes change many times in a row: one update for all of them, when events turn next
        self._soon = qt.QTimer(ui.planSelector)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.update)
        logic.background = self.action.background
        self.editor = ObjectivesEditor(ui.rowsTable, ui.rowsEdit, ui.rowsLabel, self._onRowsChanged)
        self.goalsTable = GoalsTable(ui.goalsTable, self._onGoalsChanged)
        self.sliders = TradeOffSliders(ui.slidersArea, self._onSlidersMoved)
        self.beamWeights = BeamWeightsSection(
            ui.objectivesTable, ui.weightsTable, ui.addButton, ui.removeButton, self._updateButtons
        )
        self.display = LiveDisplay(ui.convergencePlot, ui.dvhPlot, scene)
        for length in (ui.bixelSpinBox, ui.marginSpinBox, ui.spacingSpinBox):
            length.setMRMLScene(scene)
        self._fillCombos()
        self._connectButtons()
        self._sceneTag = scene.AddObserver(scene.EndCloseEvent, self._onSceneClosed)
        self._parameterNodes = SceneParameters(scene, MODULE, self._setParameterNode)
        self.update()

    def cleanup(self) -> None:
        """Let go of the scene and stop what is running."""
        self._released = True
        self._soon.stop()
        if self._live is not None:
            self._live.stop()
        self._parameterNodes.release()
        self.scene.RemoveObserver(self._sceneTag)
        self._observe(None)
        if self._uncouple is not None:
            self._uncouple()
            self._uncouple = None
        self.display.release()
        for length in (self.ui.bixelSpinBox, self.ui.marginSpinBox, self.ui.spacingSpinBox):
            length.setMRMLScene(None)
        super().cleanup()

    # Building

    def _fillCombos(self) -> None:
        ui = self.ui
        ui.templateCombo.addItem(_("the clinical goals of the plan"), _FROM_GOALS)
        for entry in shipped_objectives():
            ui.templateCombo.addItem(_("the set for {title}").format(title=entry.title), entry.name)
        fillSolvers(ui.solverCombo)
        for label, title in _DELIVERIES.items():
            ui.deliveryCombo.addItem(_(title), label)
        fillEngines(ui.engineCombo)
        ui.engineCombo.insertItem(0, _("the engine of the plan"), "")

    def _connectButtons(self) -> None:
        ui = self.ui
        for button, handler in (
            (ui.replaceRowsButton, self.onReplaceRows),
            (ui.appendRowsButton, self.onAppendRows),
            (ui.addRowButton, lambda *_unused: self.editor.addRow()),
            (ui.addTextRowButton, lambda *_unused: self.editor.addText()),
            (ui.duplicateRowButton, lambda *_unused: self.editor.duplicate()),
            (ui.removeRowButton, lambda *_unused: self.editor.remove()),
            (ui.estimateButton, self.onEstimate),
            (ui.fluenceButton, self.onOptimizeFluence),
            (ui.continueButton, self.onContinue),
            (ui.leavesButton, self.onLeaves),
            (ui.stopButton, self.onStop),
            (ui.paretoButton, self.onPareto),
            (ui.morePlansButton, self.onMorePlans),
            (ui.makePlanButton, self.onMakePlan),
            (ui.optimizeButton, self.onOptimize),
        ):
            button.clicked.connect(handler)
        ui.stopButton.setEnabled(False)
        ui.rowsTabs.currentChanged.connect(self._onTab)
        # what the estimate was made for is no longer so
        for signal in (
            *(ui.bixelSpinBox.valueChanged, ui.marginSpinBox.valueChanged, ui.spacingSpinBox.valueChanged),
            *(ui.tissueSpinBox.valueChanged, ui.spacingCheckBox.toggled),
        ):
            signal.connect(self._forgetEstimate)
        for signal in (ui.deliveryCombo.currentIndexChanged, ui.refineCheckBox.toggled, ui.spacingCheckBox.toggled):
            signal.connect(self._updateButtons)

    def _setParameterNode(self, node: Any) -> None:
        """Take the settings from this parameter node from now on."""
        ui = self.ui
        if self._uncouple is not None:
            self._uncouple()
        self.parameters = OptimizerParameters(node)
        self._uncouple = connect(
            self.parameters,
            {
                "planNode": ui.planSelector,
                "bixel_mm": ui.bixelSpinBox,
                "targetMargin_mm": ui.marginSpinBox,
                "ownSpacing": ui.spacingCheckBox,
                "spacing_mm": ui.spacingSpinBox,
                "normalTissueEvery": ui.tissueSpinBox,
                "solver": ui.solverCombo,
                "iterations": ui.iterationsSpinBox,
                "tolerance_percent": ui.toleranceSpinBox,
                "delivery": ui.deliveryCombo,
                "levels": ui.levelsSpinBox,
                "refine": ui.refineCheckBox,
                "corrections": ui.correctionsSpinBox,
                "engine": ui.engineCombo,
                "paretoPlans": ui.plansSpinBox,
                "paretoGap_percent": ui.gapSpinBox,
                "paretoRoom": ui.roomSpinBox,
                "influenceFolded": ui.influenceSection,
                "searchFolded": ui.fluenceSection,
                "plotsFolded": ui.plotsSection,
                "resultFolded": ui.resultSection,
                "paretoFolded": ui.paretoSection,
                "weightsFolded": ui.objectivesSection,
            },
        )
        with quiet(ui.rowsTabs):
            ui.rowsTabs.setCurrentIndex(int(self.parameters.asText))
        self.update()

    # Following the scene

    def update(self) -> None:
        """Bring the panel up to date with the scene; not while an action runs, which does so at its end."""
        if self.action.isRunning or self._released or self._uncouple is None:
            return
        self._soon.stop()
        planNode = self._planNode()
        self._observe(planNode)
        try:
            self._showPlan(planNode)
        except PlanningError as error:
            self.action.say(str(error))
        self._updateButtons()

    def onPlanChanged(self, *_unused: object) -> None:
        """Show the plan that is chosen."""
        # The selector's signal is overloaded, node or bool: its argument is not to be trusted.
        self.update()

    def _planNode(self) -> Any:
        node = self.ui.planSelector.currentNode()
        return node if isPlanNode(node) else None

    def _segmentationNode(self, planNode: Any) -> Any:
        return None if planNode is None else planNode.GetNodeReference(SEGMENTATION)

    def _showPlan(self, planNode: Any) -> None:
        ui = self.ui
        segmentationNode = self._segmentationNode(planNode)
        if planNode is not self._shownPlan:
            self._shownPlan = planNode
            self._forgetEstimate()
            prescription = None if planNode is None else planFromNode(planNode).prescription
            self.beamWeights.begin(segmentationNode, prescription)
        else:
            self.beamWeights.setStructures(segmentationNode)
        lines = () if planNode is None else objectiveLines(planNode)
        self.editor.show(lines, list(segmentColors(segmentationNode)))
        self._showGoalsTable()
        self.sliders.show(self._plansOf(planNode))
        self._showFront()
        self.display.showPlan(planNode)
        for table, role in ((ui.outcomeTable, OUTCOME_TABLE), (ui.beamsTable, BEAMS_TABLE)):
            tableNode = None if planNode is None else planNode.GetNodeReference(role)
            showTable(table, tableNode)
            table.setVisible(tableNode is not None)
        self._showStanding(planNode)
        self._say(planNode)

    def _showStanding(self, planNode: Any) -> None:
        """Say whether results are those of the plan as it stands."""
        if planNode is None or planNode.GetNodeReference(OUTCOME_TABLE) is None:
            text = _("not optimized yet")
        elif isResultCurrent(planNode):
            text = _("What the optimized plan reaches:")
        else:
            text = _("The plan or its dose was changed since it was optimized; these are the values before that:")
        self.ui.resultLabel.setText(text)

    def _observe(self, planNode: Any) -> None:
        """Watch this plan and its structures in place of the former ones."""
        nodes = [node for node in (planNode, self._segmentationNode(planNode)) if node is not None]
        if [watched for watched, _tags in self._observed] == nodes:
            return
        for watched, tags in self._observed:
            for tag in tags:
                watched.RemoveObserver(tag)
        self._observed = []
        for node in nodes:
            events = [vtk.vtkCommand.ModifiedEvent]
            if node.IsA("vtkMRMLSegmentationNode"):
                events += SEGMENTS_CHANGED
            self._observed.append((node, [node.AddObserver(event, self._onNodeModified) for event in events]))

    def _onNodeModified(self, *_unused: object) -> None:
        self._soon.start()

    def _onSceneClosed(self, *_unused: object) -> None:
        self._fronts = {}
        self._shownPlan = None

    def _say(self, planNode: Any) -> None:
        if planNode is None:
            self.action.say(_("Choose a plan, or make one in RT Planning."))
        elif not isDoseCurrent(planNode):
            self.action.say(_("Optimize the fluence; or calculate the dose first and weigh the beams anew."))
        else:
            self.action.say(_("Ready."))

    def _updateButtons(self, *_unused: object) -> None:
        if self.action.isRunning:
            return
        ui, planNode = self.ui, self._planNode()
        isPlan = planNode is not None
        hasCase = isPlan and self._segmentationNode(planNode) is not None
        canRun = hasCase and not self.editor.isEmpty
        hasFluence = isPlan and hasOptimizedFluence(planNode)
        for button in (ui.fluenceButton, ui.estimateButton, ui.paretoButton):
            button.setEnabled(canRun)
        for button in (ui.continueButton, ui.leavesButton):
            button.setEnabled(canRun and hasFluence)
        for widget in (ui.replaceRowsButton, ui.appendRowsButton, ui.rowsTabs, ui.addButton):
            widget.setEnabled(isPlan)
        for button in (ui.duplicateRowButton, ui.removeRowButton):
            button.setEnabled(not self.editor.isEmpty)
        stepAndShoot = ui.deliveryCombo.itemData(ui.deliveryCombo.property("currentIndex")) == "step_and_shoot"
        ui.levelsSpinBox.setEnabled(stepAndShoot)
        ui.refineCheckBox.setEnabled(stepAndShoot)
        ui.correctionsSpinBox.setEnabled(stepAndShoot and bool(ui.refineCheckBox.property("checked")))
        ui.spacingSpinBox.setEnabled(bool(ui.spacingCheckBox.property("checked")))
        hasPlans = self.sliders.plans is not None
        ui.morePlansButton.setEnabled(canRun and hasPlans)
        ui.makePlanButton.setEnabled(hasCase and hasPlans)
        ui.removeButton.setEnabled(self.beamWeights.rows > 0)
        ui.optimizeButton.setEnabled(isPlan and isDoseCurrent(planNode) and self.beamWeights.rows > 0)

    # Objectives

    def goals(self) -> PlanningGoals:
        """Return the objective rows; raises `OptimizationError` for one that cannot be read."""
        return self.editor.goals()

    def onReplaceRows(self, *_unused: object) -> None:
        """Put the rows of the chosen set in place of all."""
        self._takeTemplate(self.editor.replaceAll)

    def onAppendRows(self, *_unused: object) -> None:
        """Add the rows of the chosen set."""
        self._takeTemplate(self.editor.append)

    def _takeTemplate(self, take: Callable[[list[str]], None]) -> None:
        try:
            lines, remark = self._template()
        except PlanningError as error:
            self.action.say(str(error))
            return
        if lines:
            take(lines)
        self.action.say(remark)

    def _template(self) -> tuple[list[str], str]:
        """Rows of the chosen set, and what is to be said of them."""
        combo = self.ui.templateCombo
        chosen = combo.itemData(combo.property("currentIndex"))
        if chosen != _FROM_GOALS:
            entry = next(entry for entry in shipped_objectives() if entry.name == chosen)
            return entry.goals.to_entries(), f"{entry.description} {entry.source}"
        made = rowsOfPlanGoals(self._planNode())
        remark = _("{count} rows.").format(count=len(made.rows))
        left = [_("{goal} is left out: {reason}.").format(goal=goal, reason=reason) for goal, reason in made.left_out]
        return [str(row) for row in made.rows], " ".join([remark, *left])

    def _onTab(self, *_unused: object) -> None:
        self.parameters.asText = int(self.ui.rowsTabs.property("currentIndex")) == 1

    def _onRowsChanged(self) -> None:
        """Keep the rows with the plan."""
        planNode = self._planNode()
        if planNode is not None:
            setObjectiveLines(planNode, self.editor.lines)
        self._forgetEstimate()
        self._showGoalsTable()
        self._showFront()
        self._updateButtons()

    # Influence

    def onEstimate(self, *_unused: object) -> None:
        """Estimate the memory of the dose influence."""
        planNode = self._planNode()

        def work(progress: Progress) -> InfluenceEstimate:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            return self.logic.estimateInfluence(planNode, self.goals(), fluenceSettings(self.parameters), progress)

        estimate = self.action.run(work, _("Estimated; nothing was computed yet."))
        if estimate is not None:
            self.ui.estimateLabel.setText(
                _("about {matrix}, {total} while it is searched with: {bixels} bixels, {voxels} voxels").format(
                    matrix=memory_text(estimate.matrix_bytes),
                    total=memory_text(estimate.total_bytes),
                    bixels=f"{estimate.bixels:,}",
                    voxels=f"{estimate.voxels:,}",
                )
            )
        self._updateButtons()

    def _forgetEstimate(self, *_unused: object) -> None:
        self.ui.estimateLabel.setText(_("not estimated for these settings"))

    # Fluence

    def onOptimizeFluence(self, *_unused: object) -> None:
        """Optimize the fluence from the beginning, its leaves and the dose."""
        self._optimize(lambda planNode: (self.goals(), fluenceSettings(self.parameters), None))

    def onContinue(self, *_unused: object) -> None:
        """Go on from the last fluence."""
        self._optimize(
            lambda planNode: (
                self.goals(),
                fluenceSettings(self.parameters),
                self.logic.optimizedFluence(planNode),
            )
        )

    def onLeaves(self, *_unused: object) -> None:
        """Keep the last fluence; leaves and dose anew."""
        self._optimize(
            lambda planNode: (
                self.goals(),
                fluenceSettings(self.parameters),
                self.logic.optimizedFluence(planNode),
            ),
            search=False,
        )

    def onStop(self, *_unused: object) -> None:
        """Let the search end at its next iteration; leaves and dose follow."""
        if self._live is not None:
            self._live.stop()
            self.ui.stopButton.setEnabled(False)
            self.action.say(_("Stopping at the next iteration; leaves and dose follow."))

    def _optimize(
        self,
        take: Callable[[Any], tuple[PlanningGoals, FluenceSettings, OptimizedFluence | None]],
        *,
        search: bool = True,
        mixtureOf: ParetoPlans | None = None,
    ) -> None:
        """Run an optimization with what ``take`` gives for the plan, and show what came of it."""
        planNode = self._planNode()
        live = self._live = LiveSearch()
        colors = segmentColors(self._segmentationNode(planNode))

        def work(progress: Progress) -> FluencePlan:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            goals, settings, start = take(planNode)
            before = deliveredPlan(planNode) if isDoseCurrent(planNode) else planFromNode(planNode)
            self.display.start(live, term_names(goals), colors)

            def report(fraction: float, text: str) -> None:
                # what was answered to Stop stays to be read
                progress(fraction, _("Stopped here: {text}").format(text=text) if live.is_stopped else text)

            found = self._withEngine(
                planNode,
                lambda: self.logic.optimizeFluence(
                    planNode, goals, settings, report, live, start=start, search=search, mixtureOf=mixtureOf
                ),
            )
            self.action.say(_("Judging the dose"))
            self.logic.reportFluence(planNode, found, before)
            return found

        self.ui.stopButton.setEnabled(search)
        try:
            found = self.action.run(work, outcomeText)
        finally:
            self._live = None
            if not self._released:
                self.ui.stopButton.setEnabled(False)
                self.display.finish()
        self._afterAction(found is not None)

    def _afterAction(self, succeeded: bool) -> None:
        """Show the scene as it is now, under what the action said of its end."""
        said = str(self.ui.statusLabel.property("text")) if not self._released else ""
        self.update()
        if said and not self._released:
            self.action.say(said)

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

    # Trade-offs

    def _showGoalsTable(self) -> None:
        """Offer the structures whose rows can be traded."""
        try:
            rows = self.goals().rows
        except PlanningError:
            # a line that is being typed; its error is shown beside it
            return
        traded = dict.fromkeys(row.structure for row in rows if not row.constraint and row.structure is not None)
        self.goalsTable.show(list(traded), json.loads(self.parameters.paretoGoals))

    def _onGoalsChanged(self) -> None:
        self.parameters.paretoGoals = json.dumps(self.goalsTable.numbers(), ensure_ascii=False)

    def onPareto(self, *_unused: object) -> None:
        """Compute plans that trade the goals against each other."""
        self._computeFront(None)

    def onMorePlans(self, *_unused: object) -> None:
        """Add plans to those that are there."""
        self._computeFront(self.sliders.plans)

    def _computeFront(self, previous: ParetoPlans | None) -> None:
        planNode = self._planNode()
        planID = planNode.GetID()

        def work(progress: Progress) -> ParetoPlans:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            settings = fluenceSettings(self.parameters) if previous is None else previous.settings
            return self.logic.planPareto(
                planNode,
                self.goals(),
                self.goalsTable.groups(),
                settings,
                progress,
                room=self.parameters.paretoRoom,
                gap=self.parameters.paretoGap_percent / 100.0,
                maxPlans=self.parameters.paretoPlans,
                previous=previous,
            )

        plans = self.action.run(
            work, lambda made: _("{count} plans. {message}").format(count=made.front.plans, message=made.front.message)
        )
        if plans is not None and planNode.GetScene() is not None:
            self._fronts[planID] = (planNode, plans)
        self._afterAction(plans is not None)
        if plans is not None:
            self._onSlidersMoved()

    def _plansOf(self, planNode: Any) -> ParetoPlans | None:
        """Pareto plans that were computed for a plan node; an ID alone may be that of a later one."""
        ofNode, plans = self._fronts.get(planNode.GetID(), (None, None)) if planNode is not None else (None, None)
        return plans if ofNode is planNode else None

    def _showFront(self) -> None:
        plans = self.sliders.plans
        texts = [] if plans is None else [mixture_text(self.sliders.navigator.position)]
        if plans is not None and self._entries() != plans.objectives:
            texts.append(_("The objectives are no longer those that these plans were computed for."))
        self.ui.paretoLabel.setText(" ".join(texts))

    def _entries(self) -> tuple[str, ...]:
        """The rows as they are kept; none while a line cannot be read."""
        try:
            return tuple(self.goals().to_entries())
        except PlanningError:
            return ()

    def _onSlidersMoved(self) -> None:
        """Show the mixture: its DVHs and which plans it is made of."""
        if self.sliders.plans is None or self.action.isRunning:
            return
        self._showFront()
        colors = segmentColors(self._segmentationNode(self._planNode()))
        self.display.showDvh(*self.sliders.curves(), colors)

    def onMakePlan(self, *_unused: object) -> None:
        """Find leaves for the mixture that the sliders show, and its dose."""
        plans, navigator = self.sliders.plans, self.sliders.navigator

        def take(planNode: Any) -> tuple[PlanningGoals, FluenceSettings, OptimizedFluence]:
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

        self._optimize(take, search=False, mixtureOf=plans)

    # Weights of beams as they are

    def onOptimize(self, *_unused: object) -> None:
        """Optimize the beam weights and show the MU before and after."""
        planNode = self._planNode()

        def work(progress: Progress) -> tuple[Plan, Solution]:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            before = deliveredPlan(planNode)
            return before, self.logic.optimizeBeamWeights(planNode, self.beamWeights.objectives(), progress)

        outcome = self.action.run(work, lambda pair: self._weightsOutcome(pair[1]))
        self._afterAction(outcome is not None)
        if outcome is not None:
            self.beamWeights.showMetersets(outcome[0], deliveredPlan(planNode))

    def _weightsOutcome(self, solution: Solution) -> str:
        text = _("Objectives from {start:.3g} to {end:.3g} in {steps} steps.").format(
            start=solution.history[0], end=solution.value, steps=len(solution.history) - 1
        )
        return text if solution.converged else f"{text} {solution.message}"
