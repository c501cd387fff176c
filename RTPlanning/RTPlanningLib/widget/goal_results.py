"""The goals of a plan and what it achieves, with verdicts in colours."""

from __future__ import annotations

from collections import Counter
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.mrml.table_columns import tableTexts
from RTPlanningLib.evaluation.goals import VERDICTS
from RTPlanningLib.widget.result_table import showRows


class GoalResults:
    """The table of judged goals, as the scene has it.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui

    def show(self, tableNode: Any, hasGoals: bool) -> None:
        """Show the judged goals of a table node; None: none."""
        ui = self.ui
        if tableNode is None:
            showRows(ui.goalsTable, [])
            ui.goalsLabel.setText("")
            return
        _names, rows = tableTexts(tableNode)
        shown = [
            (f"{structure} {metric}", achieved or "-", limit, _(verdict))
            for structure, metric, limit, achieved, verdict, _note in rows
        ]
        verdicts = [row[4] for row in rows]
        tips = [row[5] or _("Goal of {structure}").format(structure=row[0]) for row in rows]
        showRows(ui.goalsTable, shown, tips=tips, verdicts={3: verdicts})
        ui.goalsLabel.setText(_summary(verdicts) if hasGoals else _("The plan has no goals to judge; set some first."))


def _summary(verdicts: list[str]) -> str:
    counts = Counter(verdicts)
    told = ", ".join(f"{counts[word]} {_(word)}" for word in VERDICTS if counts[word])
    return _("{total} goals: {told}").format(total=len(verdicts), told=told)
