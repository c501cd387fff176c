"""The objectives of the plan: sets to begin with, and their editor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.section import Section
from OptimizerLib.mrml.objective_list_nodes import objectiveLines, setObjectiveLines
from OptimizerLib.mrml.plan_goal_rows import rowsOfPlanGoals
from OptimizerLib.mrml.segment_colors import segmentColors
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.shipped_objectives import shipped_objectives
from OptimizerLib.widget.objectives_editor import ObjectivesEditor
from OptimizerLib.widget.optimizer_session import OptimizerSession

_FROM_GOALS = "goals"


class ObjectivesForm(Section):
    """The first section of the panel; the objectives are kept with the plan.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : OptimizerSession
    changed : callable
        Called when a person changed the objectives.

    Attributes
    ----------
    editor : ObjectivesEditor
    """

    session: OptimizerSession

    def __init__(self, ui: Any, session: OptimizerSession, changed: Callable[[], None]) -> None:
        super().__init__(ui, session)
        self._changed = changed
        self.editor = ObjectivesEditor(ui.rowsTable, ui.rowsEdit, ui.rowsLabel, self._onRowsChanged)
        ui.templateCombo.addItem(_("the clinical goals of the plan"), _FROM_GOALS)
        for entry in shipped_objectives():
            ui.templateCombo.addItem(_("the set for {title}").format(title=entry.title), entry.name)
        for button, handler in (
            (ui.replaceRowsButton, self.onReplaceRows),
            (ui.appendRowsButton, self.onAppendRows),
            (ui.addRowButton, lambda *_unused: self.editor.addRow()),
            (ui.addTextRowButton, lambda *_unused: self.editor.addText()),
            (ui.duplicateRowButton, lambda *_unused: self.editor.duplicate()),
            (ui.removeRowButton, lambda *_unused: self.editor.remove()),
        ):
            button.clicked.connect(handler)
        ui.rowsTabs.currentChanged.connect(self._onTab)

    def coupled(self) -> Mapping[str, Any]:
        """See `Section`; the tabs are no widget of one value."""
        return {}

    def setParameterNode(self, node: Any) -> None:
        """See `PanelPart`."""
        super().setParameterNode(node)
        with quiet(self.ui.rowsTabs):
            self.ui.rowsTabs.setCurrentIndex(int(self.parameters.asText))

    def update(self) -> None:
        """Show the objectives of the plan."""
        planNode = self.session.planNode
        lines = () if planNode is None else objectiveLines(planNode)
        self.editor.show(lines, list(segmentColors(self.session.segmentationNode)))
        self._updateButtons()

    # What others ask

    @property
    def canRun(self) -> bool:
        """Whether there is a plan with structures and an objective."""
        return self.session.segmentationNode is not None and not self.editor.isEmpty

    def goals(self) -> PlanningGoals:
        """Return the objectives; raises `OptimizationError` for one that cannot be read."""
        return self.editor.goals()

    # What a person does

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
            self.session.say(str(error))
            return
        if lines:
            take(lines)
        self.session.say(remark)

    def _template(self) -> tuple[list[str], str]:
        """Rows of the chosen set, and what is to be said of them."""
        combo = self.ui.templateCombo
        chosen = combo.itemData(combo.property("currentIndex"))
        if chosen != _FROM_GOALS:
            entry = next(entry for entry in shipped_objectives() if entry.name == chosen)
            return entry.goals.to_entries(), f"{entry.description} {entry.source}"
        made = rowsOfPlanGoals(self.session.planNode)
        remark = _("{count} rows.").format(count=len(made.rows))
        left = [_("{goal} is left out: {reason}.").format(goal=goal, reason=reason) for goal, reason in made.left_out]
        return [str(row) for row in made.rows], " ".join([remark, *left])

    def _onTab(self, *_unused: object) -> None:
        self.parameters.asText = int(self.ui.rowsTabs.property("currentIndex")) == 1

    def _onRowsChanged(self) -> None:
        """Keep the rows with the plan."""
        planNode = self.session.planNode
        if planNode is not None:
            setObjectiveLines(planNode, self.editor.lines)
        self._updateButtons()
        self._changed()

    def _updateButtons(self) -> None:
        if self.session.isRunning:
            return
        ui, isPlan = self.ui, self.session.planNode is not None
        for widget in (ui.replaceRowsButton, ui.appendRowsButton, ui.rowsTabs):
            widget.setEnabled(isPlan)
        for button in (ui.duplicateRowButton, ui.removeRowButton):
            button.setEnabled(not self.editor.isEmpty)
