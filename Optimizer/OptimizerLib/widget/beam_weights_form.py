"""Weights of a plan's beams as they are: simple objectives in a table, MU before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.mrml.plan_node import deliveredPlan, isDoseCurrent, planFromNode
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.section import Section
from DoseEngineLib.widget.structure_list import fillStructures
from DoseEngineLib.widget.wheel_guard import WheelGuard
from OptimizerLib.objectives import (
    EUDOverdose,
    MaximumDose,
    MeanDose,
    Objective,
    SquaredDeviation,
    SquaredOverdose,
    SquaredUnderdose,
)
from OptimizerLib.solvers import Solution
from OptimizerLib.widget.optimizer_session import OptimizerSession

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


class BeamWeightsForm(Section):
    """The section of the beam weights.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : OptimizerSession
    """

    session: OptimizerSession

    def __init__(self, ui: Any, session: OptimizerSession) -> None:
        super().__init__(ui, session)
        self._table = ui.objectivesTable
        self._weights = ui.weightsTable
        self._shownPlan: Any = None
        self._segmentationNode: Any = None
        self._wheel = WheelGuard()
        for button, handler in (
            (ui.addButton, self.onAdd),
            (ui.removeButton, self.onRemove),
            (ui.optimizeButton, self.onOptimize),
        ):
            button.clicked.connect(handler)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        return {"weightsFolded": self.ui.objectivesSection}

    def update(self) -> None:
        """Offer the structures of the chosen plan; another plan starts with one objective."""
        planNode = self.session.planNode
        if planNode is not self._shownPlan:
            # of a plan that cannot be read nothing of the former one stays
            self.begin(self.session.segmentationNode, None)
            self.ui.optimizeButton.setEnabled(False)
            self._shownPlan = planNode
            if planNode is not None:
                self.begin(self.session.segmentationNode, planFromNode(planNode).prescription)
        else:
            self.setStructures(self.session.segmentationNode)
        self._updateButtons()

    @property
    def rows(self) -> int:
        """Number of objectives."""
        return int(self._table.property("rowCount"))

    def begin(self, segmentationNode: Any, prescription: Any) -> None:
        """Start another plan with one objective: its prescribed dose to its target."""
        self._segmentationNode = segmentationNode
        self._table.setRowCount(0)
        self._weights.setRowCount(0)
        if prescription is not None and prescription.target:
            self.addObjective(prescription.target, "uniform dose", prescription.dose_Gy)

    def setStructures(self, segmentationNode: Any) -> None:
        """Offer the structures of a segmentation; choices are kept where they still exist."""
        self._segmentationNode = segmentationNode
        for row in range(self.rows):
            fillStructures(self._cell(row, _STRUCTURE), segmentationNode)

    def addObjective(self, structure: str, kind: str, dose_Gy: float, weight: float = 1.0) -> None:
        """Add a row to the table of objectives."""
        table, row = self._table, self.rows
        table.setRowCount(row + 1)
        structures, kinds = qt.QComboBox(), qt.QComboBox()
        structures.setToolTip(_("The structure whose dose counts"))
        fillStructures(structures, self._segmentationNode)
        if structure:
            structures.setCurrentIndex(structures.findText(structure))
        kinds.setToolTip(_("What is wanted of its dose"))
        for name in _KINDS:
            kinds.addItem(_(name), name)
        kinds.setCurrentIndex(kinds.findData(kind))
        dose = _spinBox(dose_Gy, 200.0, _(" Gy"), _("Dose of the course"))
        for column, widget in (
            (_STRUCTURE, structures),
            (_KIND, kinds),
            (_DOSE, dose),
            (_WEIGHT, _spinBox(weight, 1000.0, "", _("Importance among these objectives"))),
        ):
            self._wheel.guard(widget)
            table.setCellWidget(row, column, widget)
        table.resizeColumnsToContents()
        self._updateButtons()

    def objectives(self) -> list[Objective]:
        """Return the objectives of the table."""
        objectives = []
        for row in range(self.rows):
            kinds = self._cell(row, _KIND)
            kind = _KINDS[kinds.itemData(kinds.property("currentIndex"))]
            structure = self._cell(row, _STRUCTURE).property("currentText")
            weight = float(self._cell(row, _WEIGHT).property("value"))
            levels = () if kind in _WITHOUT_LEVEL else (float(self._cell(row, _DOSE).property("value")),)
            objectives.append(kind(structure, *levels, weight=weight))
        return objectives

    def showMetersets(self, before: Any, after: Any) -> None:
        """Show the MU of two plans of the same beams."""
        table = self._weights
        table.setRowCount(len(after.beams))
        for row, (old, new) in enumerate(zip(before.beams, after.beams)):
            former = "-" if old.meterset_MU is None else f"{old.meterset_MU:.1f}"
            for column, text in enumerate((new.name, former, f"{new.meterset_MU:.1f}")):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()

    def onAdd(self, *_unused: object) -> None:
        """Add an objective to edit."""
        self.addObjective("", "at most", 20.0)

    def onRemove(self, *_unused: object) -> None:
        """Remove the selected objective, else the last one."""
        rows = [index.row() for index in self._table.selectionModel().selectedRows()]
        self._table.removeRow(rows[0] if rows else self.rows - 1)
        self._updateButtons()

    def onOptimize(self, *_unused: object) -> None:
        """Optimize the beam weights and show the MU before and after."""
        session, planNode = self.session, self.session.planNode

        def work(progress: Progress) -> tuple[Plan, Solution]:
            before = deliveredPlan(planNode)
            return before, session.logic.optimizeBeamWeights(planNode, self.objectives(), progress)

        outcome = session.run(work, lambda pair: _outcomeText(pair[1]))
        if outcome is not None:
            self.showMetersets(outcome[0], deliveredPlan(planNode))

    def _updateButtons(self) -> None:
        if self.session.isRunning:
            return
        planNode = self.session.planNode
        self.ui.addButton.setEnabled(planNode is not None)
        self.ui.removeButton.setEnabled(self.rows > 0)
        self.ui.optimizeButton.setEnabled(planNode is not None and isDoseCurrent(planNode) and self.rows > 0)

    def _cell(self, row: int, column: int) -> Any:
        return self._table.cellWidget(row, column)


def _spinBox(value: float, maximum: float, suffix: str, toolTip: str) -> Any:
    box = qt.QDoubleSpinBox()
    box.setRange(0.0, maximum)
    box.setDecimals(2)
    box.setSuffix(suffix)
    box.setValue(value)
    box.setToolTip(toolTip)
    return box


def _outcomeText(solution: Solution) -> str:
    text = _("Objectives from {start:.3g} to {end:.3g} in {steps} steps.").format(
        start=solution.history[0], end=solution.value, steps=len(solution.history) - 1
    )
    return text if solution.converged else f"{text} {solution.message}"
