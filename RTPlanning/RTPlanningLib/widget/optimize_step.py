"""Optimize, in short: objectives from the goals, the search, and what came of it; the rest is in the Plan Optimizer."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.plan_node import SEGMENTATION, deliveredPlan, isDoseCurrent, planFromNode
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.module_parameters import moduleParameterNode
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from OptimizerLib.fluence_planning import FluencePlan
from OptimizerLib.live_search import LiveSearch
from OptimizerLib.mrml.fluence_nodes import hasOptimizedFluence
from OptimizerLib.mrml.objective_list_nodes import objectiveLines, setObjectiveLines
from OptimizerLib.mrml.optimization_result_nodes import OUTCOME_TABLE, isResultCurrent
from OptimizerLib.mrml.plan_goal_rows import rowsOfPlanGoals
from OptimizerLib.mrml.segment_colors import segmentColors
from OptimizerLib.objective_lines import goals_of_lines, line_errors, read_lines
from OptimizerLib.widget.fluence_outcome import outcomeText
from OptimizerLib.widget.optimizer_parameters import MODULE, OptimizerParameters, fluenceSettings
from OptimizerLib.widget.table_view import showTable
from RTPlanningLib.widget.step import Step


@parameterNodeWrapper
class OptimizeParameters:
    """What is chosen in the step; objectives stay with the plan, settings are those of the Plan Optimizer.

    Attributes
    ----------
    goOn : bool
        Whether a search begins where the last one ended.
    """

    goOn: bool = False


class OptimizeStep(Step):
    """Finds the fluence of the plan's beams, their leaves and the dose."""

    uiName = "OptimizeStep"
    Parameters = OptimizeParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._live: LiveSearch | None = None
        ui.goalRowsButton.clicked.connect(self.onRowsFromGoals)
        ui.rowsEdit.textChanged.connect(self.onRowsEdited)
        ui.optimizeButton.clicked.connect(self.onOptimize)
        ui.stopButton.clicked.connect(self.onStop)
        ui.moreButton.clicked.connect(self.onMore)
        ui.stopButton.setEnabled(False)

    def connectParameters(self) -> None:
        """Bind whether to go on."""
        self.bind({"goOn": self.ui.goOnCheck})

    def cleanup(self) -> None:
        """Let the search end, and let go of the scene."""
        if self._live is not None:
            self._live.stop()
        super().cleanup()

    def update(self) -> None:
        """Show the plan's objectives and what it reached of them."""
        ui, planNode = self.ui, self.session.planNode
        lines: tuple[str, ...] = ()
        try:
            lines = () if planNode is None else objectiveLines(planNode)
        except PlanningError as error:
            self.session.say(str(error))
        if [line.text for line in read_lines(lines)] != [line.text for line in self._lines()]:
            with quiet(ui.rowsEdit):
                ui.rowsEdit.setPlainText("\n".join(lines))
        self._judge()
        hasCase = planNode is not None and planNode.GetNodeReference(SEGMENTATION) is not None
        ui.goalRowsButton.setEnabled(hasCase)
        ui.rowsEdit.setEnabled(planNode is not None)
        ui.moreButton.setEnabled(planNode is not None)
        ui.goOnCheck.setEnabled(planNode is not None and hasOptimizedFluence(planNode))
        ui.optimizeButton.setEnabled(hasCase and bool(self._lines()))
        ui.stopButton.setEnabled(False)
        tableNode = None if planNode is None else planNode.GetNodeReference(OUTCOME_TABLE)
        showTable(ui.outcomeTable, tableNode)
        ui.outcomeTable.setVisible(tableNode is not None)
        ui.outcomeLabel.setText(self._standing(planNode, tableNode))

    # What a person does

    def onRowsFromGoals(self, *_unused: object) -> None:
        """Write objectives for the goals and the prescription of the plan."""
        planNode = self.session.planNode
        try:
            made = rowsOfPlanGoals(planNode)
        except PlanningError as error:
            self.session.say(str(error))
            return
        setObjectiveLines(planNode, [str(row) for row in made.rows])
        self.session.update()
        left = [_("{goal} is left out: {reason}.").format(goal=goal, reason=reason) for goal, reason in made.left_out]
        self.session.say(" ".join([_("{count} objectives.").format(count=len(made.rows)), *left]))

    def onRowsEdited(self, *_unused: object) -> None:
        """Keep the objectives with the plan."""
        planNode = self.session.planNode
        if planNode is not None:
            setObjectiveLines(planNode, [line.text for line in self._lines()])
        self._judge()
        self.ui.optimizeButton.setEnabled(planNode is not None and bool(self._lines()))

    def onOptimize(self, *_unused: object) -> None:
        """Search, find leaves, calculate the dose, and judge it."""
        planNode, logic = self.session.planNode, self.session.logic.optimizerLogic
        live = self._live = LiveSearch()

        def work(progress: Progress) -> FluencePlan:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            goals = goals_of_lines(self._lines())
            settings = fluenceSettings(OptimizerParameters(moduleParameterNode(self.session.scene, MODULE)))
            goOn = self.parameters.goOn and hasOptimizedFluence(planNode)
            start = logic.optimizedFluence(planNode) if goOn else None
            before = deliveredPlan(planNode) if isDoseCurrent(planNode) else planFromNode(planNode)
            self._stayAwake()

            def report(fraction: float, text: str) -> None:
                progress(fraction, _("Stopped here: {text}").format(text=text) if live.is_stopped else text)

            found = logic.optimizeFluence(planNode, goals, settings, report, live, start=start)
            self.session.say(_("Judging the dose"))
            logic.reportFluence(planNode, found, before)
            return found

        try:
            self.session.run(work, outcomeText)
        finally:
            self._live = None

    def onStop(self, *_unused: object) -> None:
        """Let the search end at its next iteration; leaves and dose follow."""
        if self._live is not None:
            self._live.stop()
            self.ui.stopButton.setEnabled(False)
            self.session.say(_("Stopping at the next iteration; leaves and dose follow."))

    def onMore(self, *_unused: object) -> None:
        """Open the Plan Optimizer with this plan."""
        OptimizerParameters(moduleParameterNode(self.session.scene, MODULE)).planNode = self.session.planNode
        slicer.util.selectModule(MODULE)

    # Inside

    def _lines(self) -> tuple:
        return read_lines(str(self.ui.rowsEdit.property("plainText") or ""))

    def _judge(self) -> None:
        """Say what keeps the objectives from being used."""
        planNode = self.session.planNode
        names = () if planNode is None else segmentColors(planNode.GetNodeReference(SEGMENTATION))
        texts = [] if planNode is None else line_errors(self._lines(), names)
        self.ui.rowsLabel.setText("\n".join(texts))
        self.ui.rowsLabel.setVisible(bool(texts))

    def _stayAwake(self) -> None:
        """Leave Stop to be pressed while the rest of the step waits for the action to end."""
        ui = self.ui
        for widget in (ui.goalRowsButton, ui.rowsEdit, ui.goOnCheck, ui.optimizeButton, ui.moreButton):
            widget.setEnabled(False)
        ui.stopButton.parentWidget().setEnabled(True)
        ui.stopButton.setEnabled(True)

    def _standing(self, planNode: Any, tableNode: Any) -> str:
        if planNode is None:
            return _("Make or choose a plan first.")
        if tableNode is None:
            return _("Not optimized yet.")
        if not isResultCurrent(planNode):
            return _("The plan or its dose was changed since it was optimized; these are the values before that:")
        return _("What the optimized plan reaches:")
