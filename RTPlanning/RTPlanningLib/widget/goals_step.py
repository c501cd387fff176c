"""Prescription and clinical goals: fields for the one, an editable table with templates for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.plan import Plan, Prescription
from DoseEngineLib.verdict_colors import verdict_color
from DoseEngineLib.widget.connectors import fillCombo, quiet
from DoseEngineLib.widget.text_table import isDark, prepareTable, setColor
from RTPlanningLib.evaluation.goal_entries import (
    GoalEntry,
    entries_from_text,
    entry_from_text,
    entry_of,
    readable,
    remark,
)
from RTPlanningLib.evaluation.goal_template_choice import StructureName, TemplateChoice, template_choices
from RTPlanningLib.mrml.goal_rows import goalRows, rows_from_json, rows_to_json, setGoalRows
from RTPlanningLib.mrml.segment_names import possibleTargets, segmentNames
from RTPlanningLib.widget.step import Step

_NORMALIZATIONS = {
    "point": "Point",
    "mean": "Mean of the target",
    "D50": "D50% of the target",
    "D95": "D95% of the target",
    "none": "None, MU as they are",
}
_SHOWN_REASONS = 2


@parameterNodeWrapper
class GoalsParameters:
    """What is written and chosen in the step while there is no plan to keep it.

    Attributes
    ----------
    rows : str
        Rows of the table as JSON, those that are not goals yet among them.
    template : str
        Name of the chosen template; empty: the one that is proposed.
    templateFor : str
        The segmentation that it was chosen for: another case has another proposal.
    """

    rows: str = ""
    template: str = ""
    templateFor: str = ""


class GoalsStep(Step):
    """Prescription and goals, those of the plan where there is one."""

    uiName = "GoalsStep"
    Parameters = GoalsParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._choices: list[TemplateChoice] = []
        self._choicesOf: tuple | None = None
        self._shownRows: tuple | None = None
        self._node: Any = None
        self._tag = 0
        fillCombo(ui.normalizationCombo, [(_(title), name) for name, title in _NORMALIZATIONS.items()], "point")
        table = ui.goalsTable
        prepareTable(table, [_("Structure"), _("Goal"), _("Note")])
        for signal in (
            *(ui.targetCombo.currentIndexChanged, ui.normalizationCombo.currentIndexChanged),
            *(ui.doseSpin.valueChanged, ui.fractionsSpin.valueChanged),
        ):
            signal.connect(self.onPrescription)
        ui.templateCombo.currentIndexChanged.connect(self.onTemplateChosen)
        ui.addTemplateButton.clicked.connect(self.onAddTemplate)
        ui.replaceTemplateButton.clicked.connect(self.onReplaceByTemplate)
        table.itemChanged.connect(self.onCellEdited)
        ui.addGoalButton.clicked.connect(self.onAddGoal)
        ui.newGoalEdit.returnPressed.connect(self.onAddGoal)
        ui.duplicateGoalButton.clicked.connect(self.onDuplicate)
        ui.removeGoalButton.clicked.connect(self.onRemove)
        ui.pasteGoalsButton.clicked.connect(self.onPaste)
        ui.copyGoalsButton.clicked.connect(self.onCopy)

    def setParameterNode(self, node: Any) -> None:
        """Take the settings from this node, and show what scripts change there."""
        self._stopWatching()
        super().setParameterNode(node)
        self._node, self._tag = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self.session.updateSoon)

    def connectParameters(self) -> None:
        """Nothing is bound: prescription and goals go to the plan where there is one."""

    def cleanup(self) -> None:
        """Let go of the scene."""
        super().cleanup()
        self._stopWatching()

    def update(self) -> None:
        """Show prescription, templates and goals of the plan, or those that wait for one."""
        plan = self.session.plan
        names = segmentNames(self.session.segmentationNode)
        prescription = self._prescription(plan)
        self._showPrescription(plan, prescription, names)
        self._showTemplates(prescription, names)
        self._showGoals(prescription, names)

    # Prescription

    def onPrescription(self, *_unused: object) -> None:
        """Take what the fields show as the prescription, also of the plan."""
        ui, session = self.ui, self.session
        values = {
            "target": ui.targetCombo.itemData(ui.targetCombo.property("currentIndex")) or "",
            "prescribedDose_Gy": float(ui.doseSpin.property("value")),
            "fractions": int(ui.fractionsSpin.property("value")),
            "normalization": ui.normalizationCombo.itemData(ui.normalizationCombo.property("currentIndex")),
        }
        plan = session.plan
        if plan is not None:
            former = plan.prescription
            try:
                prescription = Prescription(
                    values["prescribedDose_Gy"],
                    values["fractions"],
                    values["target"] or None,
                    values["normalization"],
                    former.point_RAS_mm if former is not None and values["normalization"] == "point" else None,
                )
                if prescription != former:
                    session.setPlan(replace(plan, prescription=prescription))
            except PlanningError as error:
                session.say(str(error))
                slicer.util.errorDisplay(str(error))
                session.update()
                return
        for name, value in values.items():
            setattr(session.settings, name, value)
        session.update()

    def _prescription(self, plan: Plan | None) -> dict[str, Any]:
        """What the fields show: the plan's prescription, or what is to be prescribed."""
        if plan is not None and plan.prescription is not None:
            own = plan.prescription
            return {
                "target": own.target or "",
                "dose_Gy": own.dose_Gy,
                "fractions": own.fractions,
                "normalization": own.normalization,
                "point_RAS_mm": own.point_RAS_mm,
            }
        settings = self.session.settings
        return {
            "target": settings.target,
            "dose_Gy": settings.prescribedDose_Gy,
            "fractions": settings.fractions,
            "normalization": settings.normalization,
            "point_RAS_mm": None,
        }

    def _showPrescription(
        self, plan: Plan | None, prescription: dict[str, Any], names: tuple[StructureName, ...]
    ) -> None:
        ui = self.ui
        targets = [(name, name) for name in possibleTargets(names)]
        target = prescription["target"]
        if target and target not in dict(targets):
            targets.append((_("{name} (no such structure)").format(name=target), target))
        fillCombo(ui.targetCombo, targets, target)
        with quiet(ui.doseSpin, ui.fractionsSpin, ui.normalizationCombo):
            for spin, value in ((ui.doseSpin, prescription["dose_Gy"]), (ui.fractionsSpin, prescription["fractions"])):
                if spin.property("value") != value:
                    spin.setValue(value)
            ui.normalizationCombo.setCurrentIndex(ui.normalizationCombo.findData(prescription["normalization"]))
        per_fraction = prescription["dose_Gy"] / prescription["fractions"]
        ui.perFractionText.setText(_("of {dose:.3g} Gy").format(dose=per_fraction))
        ui.normalizationText.setText(self._normalizationInWords(plan, prescription))

    def _normalizationInWords(self, plan: Plan | None, prescription: dict[str, Any]) -> str:
        normalization, dose = prescription["normalization"], f"{prescription['dose_Gy']:g} Gy"
        if plan is not None and plan.prescription is None:
            return _("The plan has no prescription yet; change a field to give it one.")
        if normalization == "none":
            return _("The MU of the beams stand as they are; nothing is scaled.")
        if plan is not None and plan.has_MU:
            return _("The beams carry MU, so nothing is scaled; give them weights to have the dose scaled.")
        if normalization == "point":
            point = prescription["point_RAS_mm"]
            if point is None:
                return _("The isocentre of the first beam gets {dose}.").format(dose=dose)
            where = ", ".join(f"{side} {value:.1f}" for side, value in zip("RAS", point))
            return _("The point {where} mm gets {dose}.").format(where=where, dose=dose)
        metric = {"mean": _("mean dose"), "D50": "D50%", "D95": "D95%"}[normalization]
        target = prescription["target"] or _("the target, which is yet to be chosen,")
        return _("The {metric} of {target} becomes {dose}.").format(metric=metric, target=target, dose=dose)

    # Templates

    def onTemplateChosen(self, *_unused: object) -> None:
        """Remember the chosen template for this case."""
        combo = self.ui.templateCombo
        self.parameters.templateFor = self._caseID()
        self.parameters.template = combo.itemData(combo.property("currentIndex")) or ""
        self._showTemplateText()

    def onAddTemplate(self, *_unused: object) -> None:
        """Add the template's goals that are not in the table yet."""
        choice = self._choice()
        if choice is None:
            return
        entries = self._entries()
        known = [entry.goal for entry in entries]
        added = [entry_of(goal) for goal in choice.goals if goal not in known]
        self._store((*entries, *added))
        self.session.say(_("{count} goals added.").format(count=len(added)))

    def onReplaceByTemplate(self, *_unused: object) -> None:
        """Take the template's goals alone."""
        choice = self._choice()
        if choice is None:
            return
        self._store([entry_of(goal) for goal in choice.goals])
        self.session.say(_("{count} goals of {title}.").format(count=len(choice.goals), title=choice.template.title))

    def _showTemplates(self, prescription: dict[str, Any], names: tuple[StructureName, ...]) -> None:
        of = (names, prescription["target"], prescription["fractions"], prescription["dose_Gy"])
        if of != self._choicesOf:
            self._choicesOf = of
            self._choices = template_choices(
                names,
                target=prescription["target"] or None,
                fractions=prescription["fractions"],
                prescription_Gy=prescription["dose_Gy"],
            )
        entries = []
        for choice in self._choices:
            asked = len(choice.template.goals)
            if choice.unfit:
                text = _("{title}: for other prescriptions")
            else:
                text = _("{title}: {count} of {asked} goals apply")
            count = asked - len(choice.left_out)
            entries.append((text.format(title=choice.template.title, count=count, asked=asked), choice.template.name))
        chosen = self.parameters.template if self.parameters.templateFor == self._caseID() else ""
        fillCombo(self.ui.templateCombo, entries, chosen or self._choices[0].template.name)
        self._showTemplateText()

    def _showTemplateText(self) -> None:
        choice, ui = self._choice(), self.ui
        applies = choice is not None and bool(choice.goals)
        ui.addTemplateButton.setEnabled(applies)
        ui.replaceTemplateButton.setEnabled(applies)
        if choice is None:
            ui.templateText.setText("")
            return
        parts = [choice.template.description, choice.unfit]
        left_out = choice.left_out
        if left_out and len(left_out) <= _SHOWN_REASONS:
            parts.append(_("Left out: {reasons}").format(reasons=" ".join(left_out)))
        elif left_out:
            parts.append(
                _("{count} goals do not apply to these structures (point here for the reasons).").format(
                    count=len(left_out)
                )
            )
        ui.templateText.setText(" ".join(part for part in parts if part))
        ui.templateText.setToolTip("\n".join((*left_out, *choice.template.sources)))

    def _choice(self) -> TemplateChoice | None:
        combo = self.ui.templateCombo
        name = combo.itemData(combo.property("currentIndex"))
        return next((one for one in self._choices if one.template.name == name), None)

    def _caseID(self) -> str:
        node = self.session.segmentationNode
        return "" if node is None else node.GetID()

    # Goals

    def onCellEdited(self, *_unused: object) -> None:
        """Take the table as it is now."""
        table = self.ui.goalsTable
        self._store([GoalEntry(*self._cells(row)) for row in range(int(table.property("rowCount")))])

    def onAddGoal(self, *_unused: object) -> None:
        """Add the goal that is written below the table; one that cannot be read is added, too."""
        combo, edit = self.ui.newStructureCombo, self.ui.newGoalEdit
        structure = combo.itemData(combo.property("currentIndex")) or ""
        entry = GoalEntry(structure, str(edit.property("text") or ""))
        self._store((*self._entries(), entry))
        if entry.goal is not None:
            edit.setText("")
        else:
            self.session.say(entry.problem)

    def onDuplicate(self, *_unused: object) -> None:
        """Add the chosen rows once more, each below its like."""
        chosen = self._chosenRows()
        self._store([entry for n, entry in enumerate(self._entries()) for _copy in range(1 + (n in chosen))])

    def onRemove(self, *_unused: object) -> None:
        """Take the chosen rows out."""
        chosen = self._chosenRows()
        if not chosen:
            self.session.say(_("Choose the rows to remove."))
            return
        self._store([entry for n, entry in enumerate(self._entries()) if n not in chosen])

    def onPaste(self, *_unused: object) -> None:
        """Add goals from the clipboard, one a line."""
        names = [one.name for one in segmentNames(self.session.segmentationNode)]
        pasted = entries_from_text(str(qt.QApplication.clipboard().text() or ""), names)
        if not pasted:
            self.session.say(_("The clipboard holds no text; copy goals such as: PTV D95% >= 95 %"))
            return
        self._store((*self._entries(), *pasted))
        unreadable = sum(1 for entry in pasted if entry.goal is None)
        self.session.say(
            _("{count} rows pasted; {unreadable} cannot be read.").format(count=len(pasted), unreadable=unreadable)
        )

    def onCopy(self, *_unused: object) -> None:
        """Put the chosen rows, or all, on the clipboard."""
        chosen = self._chosenRows()
        entries = [entry for n, entry in enumerate(self._entries()) if not chosen or n in chosen]
        qt.QApplication.clipboard().setText("\n".join(entry.text for entry in entries))
        self.session.say(_("{count} rows copied.").format(count=len(entries)))

    def _entries(self) -> tuple[GoalEntry, ...]:
        """The rows: the plan's, or those that wait for one."""
        planNode = self.session.planNode
        waiting = rows_from_json(self.parameters.rows)
        if planNode is not None:
            rows = goalRows(planNode)
            # a plan that was just made has the goals that waited for it; what was no goal yet came not along
            isJustMade = not planNode.HasParameter("GoalRows") and readable(rows) == readable(waiting)
            return waiting if isJustMade and len(waiting) > len(rows) else rows
        goals = list(self.session.settings.goals)
        if readable(waiting) == goals:
            return waiting
        return (*(entry_from_text(text) for text in goals), *(entry for entry in waiting if entry.goal is None))

    def _store(self, entries: Sequence[GoalEntry]) -> None:
        """Keep the rows with the plan, or until there is one."""
        planNode = self.session.planNode
        if planNode is not None:
            setGoalRows(planNode, entries)
        else:
            self.parameters.rows = rows_to_json(entries)
            self.session.settings.goals = readable(entries)
        self.session.update()

    def _showGoals(self, prescription: dict[str, Any], names: tuple[StructureName, ...]) -> None:
        ui, entries = self.ui, self._entries()
        known = [one.name for one in names if not one.is_empty]
        # targets and organs before the body and what it lies on
        aimed = sorted(possibleTargets(names), key=lambda name: name != prescription["target"])
        aimed += [name for name in known if name not in aimed]
        combo = ui.newStructureCombo
        fillCombo(combo, [(name, name) for name in aimed], combo.itemData(combo.property("currentIndex")))
        if int(combo.property("currentIndex")) < 0 and aimed:
            with quiet(combo):
                combo.setCurrentIndex(0)
        ui.addGoalButton.setEnabled(bool(aimed))
        plan = self.session.plan
        prescribed_Gy = None if plan is not None and plan.prescription is None else prescription["dose_Gy"]
        notes = [(entry.problem, remark(entry, known, prescribed_Gy)) for entry in entries]
        unreadable = sum(1 for problem, _remark in notes if problem)
        text = _("{count} goals").format(count=len(entries) - unreadable)
        if unreadable:
            text += _("; rows that cannot be read yet: {count}, kept but not judged").format(count=unreadable)
        ui.goalsText.setText(text + ".")
        shown = (entries, tuple(notes))
        if shown == self._shownRows:
            return
        self._shownRows = shown
        table = ui.goalsTable
        with quiet(table):
            table.setRowCount(len(entries))
            for row, (entry, (problem, note)) in enumerate(zip(entries, notes)):
                color = verdict_color("failed" if problem else "warning" if note else "", dark=isDark(table))
                for column, cell in enumerate((entry.structure, entry.aim, problem or note)):
                    item = qt.QTableWidgetItem(cell)
                    item.setToolTip(problem or note or entry.text)
                    if color is not None:
                        setColor(item, color, bold=False)
                    if column == 2:
                        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                    table.setItem(row, column, item)
            table.resizeColumnToContents(0)
            table.resizeColumnToContents(1)

    def _cells(self, row: int) -> tuple[str, str]:
        table = self.ui.goalsTable
        items = (table.item(row, column) for column in (0, 1))
        return tuple("" if item is None else str(item.text()) for item in items)

    def _chosenRows(self) -> set[int]:
        return {index.row() for index in self.ui.goalsTable.selectionModel().selectedRows()}

    def _stopWatching(self) -> None:
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
            self._node = None
