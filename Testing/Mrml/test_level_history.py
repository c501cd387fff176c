"""The history of objectives on several priority levels: table, chart, figure."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.plan import Beam, Plan
from OptimizerLib.fluence_planning import HistoryEntry
from RTPlanningLib.display.convergence_plot import draw_convergence
from RTPlanningLib.headless import HeadlessSlicer

HISTORY = (
    HistoryEntry(0, 4.0, (4.0, 9.0), 1),
    HistoryEntry(1, 1.0, (1.0, 8.0), 1),
    HistoryEntry(2, 8.0, (1.0, 8.0), 2),
    HistoryEntry(3, 2.0, (1.1, 2.0), 2),
)
NAMES = ("Cord Max <= 1 Gy", "PTV uniform 2 Gy, level 2")


@pytest.mark.parametrize(("history", "levels"), [(HISTORY, [1, 1, 2, 2]), (HISTORY[:2], None)])
def test_the_table_says_the_level_and_the_chart_does_not_draw_it(history, levels):
    """With one level there is no such column."""
    with HeadlessSlicer() as running:
        from DoseEngineLib.mrml.plan_node import createPlanNode
        from OptimizerLib.mrml.objective_history_nodes import (
            HISTORY_CHART,
            HISTORY_TABLE,
            createObjectiveHistoryNodes,
        )

        volumeNode = running.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        planNode = createPlanNode(running.scene, Plan("Plan", (Beam.open_field("AP"),)), volumeNode)
        createObjectiveHistoryNodes(planNode, NAMES, history)
        table = planNode.GetNodeReference(HISTORY_TABLE)
        names = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
        assert ("Level" in names) == (levels is not None)
        if levels is not None:
            column = names.index("Level")
            assert [float(table.GetCellText(row, column)) for row in range(4)] == levels
        assert planNode.GetNodeReference(HISTORY_CHART).GetNumberOfPlotSeriesNodes() == 1 + len(NAMES)


def test_the_figure_draws_each_level_by_itself():
    """No line from one level's sum to the next one's, each begun by its name."""
    (axes,) = draw_convergence(HISTORY, NAMES).axes
    totals = [np.asarray(line.get_xydata()) for line in axes.get_lines() if line.get_linewidth() == pytest.approx(1.8)]
    assert [points.tolist() for points in totals] == [[[0, 4], [1, 1]], [[2, 8], [3, 2]]]
    assert [text.get_text() for text in axes.texts] == ["level 1", "level 2"]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [*NAMES, "total of the level"]
