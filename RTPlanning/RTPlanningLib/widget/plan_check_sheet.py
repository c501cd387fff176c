"""The check sheet of a plan before sign-off."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.mrml.table_columns import tableTexts
from DoseEngineLib.progress import Progress
from RTPlanningLib.evaluation.plan_checks.check_result import VERDICTS, CheckResult, summary_of_checks
from RTPlanningLib.widget.evaluation_part import EvaluationPart
from RTPlanningLib.widget.result_table import showRows
from RTPlanningLib.widget.with_packages import withPackages

_TEXT_WIDTH = 240


class PlanCheckSheet(EvaluationPart):
    """Runs the checks and shows those that still stand."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        ui = self.ui
        ui.checkButton.clicked.connect(self.onCheck)

    def show(self, planNode: Any) -> None:
        """Show the checks of a plan; None: none."""
        ui = self.ui
        ui.checkButton.setEnabled(planNode is not None)
        tableNode = self.evaluation.checksTable(planNode) if planNode is not None else None
        stands = tableNode is not None and self.evaluation.isEvaluationCurrent(tableNode, planNode)
        ui.checksTable.setVisible(stands)
        if not stands:
            showRows(ui.checksTable, [])
            stale = tableNode is not None
            ui.checksLabel.setText(_("The plan has changed since it was checked; check it again.") if stale else "")
            return
        _names, rows = tableTexts(tableNode)
        # what asks for something comes first
        rows.sort(key=lambda row: VERDICTS.index(row[1]))
        showRows(
            ui.checksTable,
            [(_(verdict), name, text) for name, verdict, text in rows],
            tips=[text for _name, _verdict, text in rows],
            verdicts={0: [verdict for _name, verdict, _text in rows]},
        )
        ui.checksTable.setWordWrap(True)
        ui.checksTable.setColumnWidth(2, _TEXT_WIDTH)
        ui.checksTable.resizeRowsToContents()
        ui.checksLabel.setText(summary_of_checks(CheckResult(*row) for row in rows))

    def onCheck(self, *_unused: object) -> None:
        """Check the plan as it stands."""
        planNode = self.session.planNode

        def work(progress: Progress) -> Any:
            _tableNode, results = self.evaluation.checkPlan(planNode, progress=progress)
            return results

        self.session.run(
            withPackages(work), lambda results: _("Checked: {summary}.").format(summary=summary_of_checks(results))
        )
