"""The Plan Optimizer panel: objectives as rows and the fluence for them; objectives in a table and beam weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import qt
from slicer.i18n import tr as _

from DoseEngineLib.mrml.plan_node import SEGMENTATION, deliveredPlan, isDoseCurrent, isPlanNode, planFromNode
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.plan_panel import PlanPanel
from DoseEngineLib.widget.structure_list import fillStructures
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings
from OptimizerLib.objectives import (
    EUDOverdose,
    MaximumDose,
    MeanDose,
    Objective,
    SquaredDeviation,
    SquaredOverdose,
    SquaredUnderdose,
)
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.solvers import IterationState, Solution

_STRUCTURE, _KIND, _DOSE, _WEIGHT = range(4)
# What the table calls an objective.
_KINDS = {
    "uniform dose": SquaredDeviation,
    "at least": SquaredUnderdose,
    "at most": SquaredOverdose,
    "mean at most": EUDOverdose,
    "low mean dose": MeanDose,
    "low maximum dose": MaximumDose,
}
_WITHOUT_LEVEL = (MeanDose, MaximumDose)


class OptimizationLogic(Protocol):
    """What the panel asks of its logic."""

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
    ) -> FluencePlan:
        """Find the fluence that meets the rows best, its leaves and dose, and store them."""

    def optimizedFluence(self, planNode: Any) -> OptimizedFluence | None:
        """The fluence that was optimized for a plan."""


class OptimizerPanel(PlanPanel):
    """Connects the widgets of ``Resources/UI/Optimizer.ui`` with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : OptimizationLogic
    scene : vtkMRMLScene
    """

    def __init__(self, ui: Any, logic: OptimizationLogic, scene: Any) -> None:
        controls = [
            *(ui.objectivesTable, ui.addButton, ui.removeButton, ui.optimizeButton),
            *(ui.rowsEdit, ui.bixelSpinBox, ui.goOnCheckBox, ui.fluenceButton),
        ]
        super().__init__(ui, scene, controls)
        self.logic = logic
        self._objectivesFor = ""
        ui.addButton.clicked.connect(self.onAdd)
        ui.removeButton.clicked.connect(self.onRemove)
        ui.optimizeButton.clicked.connect(self.onOptimize)
        self._stopped = False
        ui.rowsEdit.textChanged.connect(self._updateButtons)
        ui.fluenceButton.clicked.connect(self.onOptimizeFluence)
        ui.stopButton.clicked.connect(self.onStop)
        ui.stopButton.setEnabled(False)
        self.update()

    def onPlanChanged(self, *_unused: object) -> None:
        """Start another plan with one objective: its prescribed dose to its target."""
        if self.action.isRunning:
            return
        # The selector's signal is overloaded, node or bool: its argument is not to be trusted.
        planNode = self.ui.planSelector.currentNode()
        isPlan = isPlanNode(planNode)
        planID = planNode.GetID() if isPlan else ""
        if planID != self._objectivesFor:
            self._objectivesFor = planID
            self.ui.objectivesTable.setRowCount(0)
            self.ui.weightsTable.setRowCount(0)
            prescription = planFromNode(planNode).prescription if isPlan else None
            self.ui.rowsEdit.setPlainText("\n".join(self._rowsFor(planNode)) if isPlan else "")
            if prescription is not None and prescription.target:
                self.addObjective(prescription.target, "uniform dose", prescription.dose_Gy)
        elif isPlan:
            for row in range(self._rows()):
                fillStructures(self._cell(row, _STRUCTURE), planNode.GetNodeReference(SEGMENTATION))
        self._say(planNode)
        self._updateButtons()

    def addObjective(self, structure: str, kind: str, dose_Gy: float, weight: float = 1.0) -> None:
        """Add a row to the table of objectives."""
        table = self.ui.objectivesTable
        row = self._rows()
        table.setRowCount(row + 1)
        structures = qt.QComboBox()
        fillStructures(structures, self.ui.planSelector.currentNode().GetNodeReference(SEGMENTATION))
        if structure:
            structures.setCurrentIndex(structures.findText(structure))
        kinds = qt.QComboBox()
        for name in _KINDS:
            kinds.addItem(_(name), name)
        kinds.setCurrentIndex(kinds.findData(kind))
        for column, widget in (
            (_STRUCTURE, structures),
            (_KIND, kinds),
            (_DOSE, _spinBox(dose_Gy, 200.0, _(" Gy"))),
            (_WEIGHT, _spinBox(weight, 1000.0, "")),
        ):
            table.setCellWidget(row, column, widget)
        table.resizeColumnsToContents()
        self._updateButtons()

    def objectives(self) -> list[Objective]:
        """Return the objectives of the table."""
        objectives = []
        for row in range(self._rows()):
            kinds = self._cell(row, _KIND)
            kind = _KINDS[kinds.itemData(kinds.property("currentIndex"))]
            structure = self._cell(row, _STRUCTURE).property("currentText")
            weight = float(self._cell(row, _WEIGHT).property("value"))
            levels = () if kind in _WITHOUT_LEVEL else (float(self._cell(row, _DOSE).property("value")),)
            objectives.append(kind(structure, *levels, weight=weight))
        return objectives

    def onAdd(self, *_unused: object) -> None:
        """Add an objective to edit."""
        self.addObjective("", "at most", 20.0)

    def onRemove(self, *_unused: object) -> None:
        """Remove the selected objective, else the last one."""
        table = self.ui.objectivesTable
        rows = [index.row() for index in table.selectionModel().selectedRows()]
        table.removeRow(rows[0] if rows else self._rows() - 1)
        self._updateButtons()

    def onOptimize(self, *_unused: object) -> None:
        """Optimize the beam weights and show the MU before and after."""
        planNode = self.ui.planSelector.currentNode()

        def work(progress: Progress) -> tuple[Any, Solution]:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            before = deliveredPlan(planNode)
            return before, self.logic.optimizeBeamWeights(planNode, self.objectives(), progress)

        outcome = self.action.run(work, lambda pair: self._outcome(pair[1]))
        if outcome is not None:
            before, _solution = outcome
            self._showMetersets(before, deliveredPlan(planNode))
        self._updateButtons()

    def goals(self) -> PlanningGoals:
        """Return the objective rows; raises `OptimizationError` for one that cannot be read."""
        lines = str(self.ui.rowsEdit.property("plainText")).splitlines()
        return PlanningGoals.from_entries(line for line in lines if line.strip())

    def onOptimizeFluence(self, *_unused: object) -> None:
        """Optimize the fluence, its leaves and the dose, and show the MU."""
        planNode = self.ui.planSelector.currentNode()
        self._stopped = False
        self.ui.stopButton.setEnabled(True)

        def stopWhenAsked(state: IterationState) -> None:
            if self._stopped:
                state.stop()

        def work(progress: Progress) -> tuple[Any, FluencePlan]:
            ensurePackages(DOSE_PACKAGES, _("Plan Optimizer"))
            before = planFromNode(planNode)
            settings = FluenceSettings(bixel_mm=float(self.ui.bixelSpinBox.property("value")))
            goOn = bool(self.ui.goOnCheckBox.property("checked"))
            start = self.logic.optimizedFluence(planNode) if goOn else None
            return before, self.logic.optimizeFluence(
                planNode, self.goals(), settings, progress, stopWhenAsked, start=start
            )

        try:
            outcome = self.action.run(work, lambda pair: self._fluenceOutcome(pair[1]))
        finally:
            self.ui.stopButton.setEnabled(False)
        if outcome is not None:
            self._showMetersets(outcome[0], deliveredPlan(planNode))
        self._updateButtons()

    def onStop(self, *_unused: object) -> None:
        """Let the search end at its next iteration; leaves and dose follow."""
        self._stopped = True
        self.ui.stopButton.setEnabled(False)

    def _rowsFor(self, planNode: Any) -> list[str]:
        """The rows that the plan's fluence was optimized for, else one for its target."""
        fluence = self.logic.optimizedFluence(planNode)
        if fluence is not None:
            return list(fluence.objectives)
        prescription = planFromNode(planNode).prescription
        if prescription is None or not prescription.target:
            return []
        # without a term on the fluence, bixels that hardly reach the target would get any MU
        return [
            f"{prescription.target} uniform {prescription.dose_Gy:g} Gy, weight 100",
            "fluence smoothness, weight 0.01",
        ]

    def _fluenceOutcome(self, found: FluencePlan) -> str:
        losses = found.losses
        text = _("{message} Objectives: {ideal:.4g} with ideal fluence, {delivered:.4g} with leaves.").format(
            message=found.solution.message, ideal=losses.ideal, delivered=losses.refined
        )
        return " ".join([text, *found.notes])

    def _outcome(self, solution: Solution) -> str:
        text = _("Objectives from {start:.3g} to {end:.3g} in {steps} steps.").format(
            start=solution.history[0], end=solution.value, steps=len(solution.history) - 1
        )
        return text if solution.converged else f"{text} {solution.message}"

    def _showMetersets(self, before: Any, after: Any) -> None:
        table = self.ui.weightsTable
        table.setRowCount(len(after.beams))
        for row, (old, new) in enumerate(zip(before.beams, after.beams)):
            former = "-" if old.meterset_MU is None else f"{old.meterset_MU:.1f}"
            for column, text in enumerate((new.name, former, f"{new.meterset_MU:.1f}")):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()

    def _say(self, planNode: Any) -> None:
        if not isPlanNode(planNode):
            self.action.say(_("Choose a plan, or make one in RT Planning."))
        elif not isDoseCurrent(planNode):
            self.action.say(_("Optimize the fluence; or calculate the dose first and weigh the beams anew."))
        else:
            self.action.say(_("Ready."))

    def _updateButtons(self) -> None:
        if self.action.isRunning:
            return
        planNode = self.ui.planSelector.currentNode()
        isPlan = isPlanNode(planNode)
        self.ui.addButton.setEnabled(isPlan)
        self.ui.removeButton.setEnabled(self._rows() > 0)
        hasStructures = isPlan and planNode.GetNodeReference(SEGMENTATION) is not None
        hasRows = bool(str(self.ui.rowsEdit.property("plainText")).strip())
        self.ui.fluenceButton.setEnabled(hasStructures and hasRows)
        self.ui.optimizeButton.setEnabled(isPlan and isDoseCurrent(planNode) and self._rows() > 0)

    def _rows(self) -> int:
        return int(self.ui.objectivesTable.property("rowCount"))

    def _cell(self, row: int, column: int) -> Any:
        return self.ui.objectivesTable.cellWidget(row, column)


def _spinBox(value: float, maximum: float, suffix: str) -> Any:
    box = qt.QDoubleSpinBox()
    box.setRange(0.0, maximum)
    box.setDecimals(2)
    box.setSuffix(suffix)
    box.setValue(value)
    return box
