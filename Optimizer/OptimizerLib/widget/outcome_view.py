"""What the optimized plan reaches, and whether it is still that plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.widget.section import Section
from OptimizerLib.mrml.optimization_result_nodes import BEAMS_TABLE, OUTCOME_TABLE, isResultCurrent
from OptimizerLib.widget.optimizer_session import OptimizerSession
from OptimizerLib.widget.table_view import showTable


class OutcomeView(Section):
    """The section of the results."""

    session: OptimizerSession

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        return {"resultFolded": self.ui.resultSection}

    def update(self) -> None:
        """Show the tables that are kept with the plan."""
        planNode = self.session.planNode
        for table, role in ((self.ui.outcomeTable, OUTCOME_TABLE), (self.ui.beamsTable, BEAMS_TABLE)):
            tableNode = None if planNode is None else planNode.GetNodeReference(role)
            showTable(table, tableNode)
            table.setVisible(tableNode is not None)
        if planNode is None or planNode.GetNodeReference(OUTCOME_TABLE) is None:
            text = _("not optimized yet")
        elif isResultCurrent(planNode):
            text = _("What the optimized plan reaches:")
        else:
            text = _("The plan or its dose was changed since it was optimized; these are the values before that:")
        self.ui.resultLabel.setText(text)
