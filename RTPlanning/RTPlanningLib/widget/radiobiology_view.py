"""Control and complication probabilities of a plan, and its EQD2."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.table_columns import tableTexts
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import fillCombo
from RTPlanningLib.radiobiology.fractionation import Fractionation, weekday_overall_days
from RTPlanningLib.radiobiology.parameters import load_parameters
from RTPlanningLib.widget.evaluation_part import EvaluationPart
from RTPlanningLib.widget.result_table import showRows
from RTPlanningLib.widget.with_packages import withPackages

_NO_TUMOUR = ""
_COLUMNS = ("Structure", "Quantity", "Probability (%)", "95 % band (%)", "Mean dose (Gy)", "gEUD (Gy)", "Doses")


class RadiobiologyView(EvaluationPart):
    """Calculates the probabilities and shows those that still stand."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        ui = self.ui
        sets = load_parameters().tcp.values()
        fillCombo(
            ui.tumourCombo,
            [(_("not calculated"), _NO_TUMOUR), *((_title(entry), entry.id) for entry in sets)],
            _NO_TUMOUR,
        )
        ui.radiobiologyButton.clicked.connect(self.onCalculate)
        ui.eqd2Button.clicked.connect(self.onEqd2)
        ui.eqd2TableButton.clicked.connect(self.onEqd2Table)

    def show(self, planNode: Any) -> None:
        """Show the probabilities of a plan whose dose is current; None: none."""
        ui = self.ui
        for button in (ui.radiobiologyButton, ui.eqd2Button, ui.eqd2TableButton):
            button.setEnabled(planNode is not None)
        self._showProbabilities(planNode)
        self._showEqd2(planNode)

    def _showEqd2(self, planNode: Any) -> None:
        table = self.ui.eqd2Table
        tableNode = self.evaluation.eqd2Table(planNode) if planNode is not None else None
        stands = tableNode is not None and self.evaluation.isEvaluationCurrent(tableNode, planNode)
        table.setVisible(stands)
        names, rows = tableTexts(tableNode) if stands else ([], [])
        # the last two columns say where the alpha/beta comes from
        tips = ["\n".join((f"alpha/beta: {row[-2]}", *row[-1:])).strip() for row in rows]
        showRows(table, [row[:-2] for row in rows], header=names[:-2], tips=tips)

    def _showProbabilities(self, planNode: Any) -> None:
        ui = self.ui
        tableNode = self.evaluation.radiobiologyTable(planNode) if planNode is not None else None
        stands = tableNode is not None and self.evaluation.isEvaluationCurrent(tableNode, planNode)
        ui.radiobiologyTable.setVisible(stands)
        if not stands:
            showRows(ui.radiobiologyTable, [])
            stale = tableNode is not None
            ui.radiobiologyLabel.setText(_("Dose or structures have changed since; calculate again.") if stale else "")
            return
        names, rows = tableTexts(tableNode)
        at = {name: place for place, name in enumerate(names)}
        shown, tips, left_out = [], [], []
        for row in rows:
            if not row[at["Probability (%)"]]:
                left_out.append(f"{row[at['Structure']]}: {row[at['Note']]}")
                continue
            texts = [row[at[name]] for name in _COLUMNS]
            texts[1] = f"{texts[1]}: {row[at['Endpoint']]}"
            shown.append(texts)
            tips.append("\n".join(row[at[name]] for name in ("Parameters", "Note", "Source") if row[at[name]]))
        showRows(ui.radiobiologyTable, shown, tips=tips)
        ui.radiobiologyLabel.setText("\n".join((_("Published models; for teaching."), *left_out)))

    def onCalculate(self, *_unused: object) -> None:
        """Calculate the probabilities."""
        planNode, tumour = self.session.planNode, self.parameters.tumour
        prescription = self.session.plan.prescription
        fractions = self.session.plan.fractions
        # tumours grow in the overall time: one fraction a weekday
        overall_days = weekday_overall_days(fractions)

        def work(progress: Progress) -> list:
            sets = {}
            if tumour:
                if prescription is None or not prescription.target:
                    raise PlanError(_("The plan names no target to calculate a TCP of; prescribe to one."))
                sets = {prescription.target: tumour}
            return self.evaluation.evaluateRadiobiology(
                planNode,
                tcpSets=sets,
                fractionation=Fractionation(fractions, overall_days=overall_days),
                progress=progress,
            )

        told = _("Probabilities calculated for {fractions} fractions on weekdays, in {days:g} days.")
        self.session.run(withPackages(work), told.format(fractions=fractions, days=overall_days))

    def onEqd2Table(self, *_unused: object) -> None:
        """Calculate the EQD2 of the structures."""
        planNode, elsewhere_Gy = self.session.planNode, self.parameters.alphaBetaElsewhere_Gy

        def work(progress: Progress) -> list:
            return self.evaluation.evaluateEqd2(planNode, elsewhere_Gy=elsewhere_Gy, progress=progress)

        self.session.run(withPackages(work), _("EQD2 calculated."))

    def onEqd2(self, *_unused: object) -> None:
        """Put the EQD2 into the scene."""
        planNode, elsewhere_Gy = self.session.planNode, self.parameters.alphaBetaElsewhere_Gy

        def work(progress: Progress) -> Any:
            return self.evaluation.createEqd2(planNode, elsewhere_Gy=elsewhere_Gy, progress=progress)

        self.session.run(withPackages(work), lambda node: _("{name} is in the scene.").format(name=node.GetName()))


def _title(entry: Any) -> str:
    return _("{tumour}: {endpoint}").format(tumour=entry.what, endpoint=entry.endpoint)
