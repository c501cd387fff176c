"""Further columns of a plan's DVH metrics table: whatever metric a person asks for."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.table_columns import addTexts
from RTPlanningLib.evaluation.metrics import Metric
from RTPlanningLib.mrml.dvh_nodes import METRICS_TABLE
from RTPlanningLib.mrml.evaluated_state import isEvaluationCurrent
from RTPlanningLib.mrml.plan_evaluation import PlanDvhs

_STRUCTURE = "Structure"


def metricColumn(metric: Metric) -> str:
    """Return the name of a metric's column, with its unit."""
    return f"{metric} ({metric.unit})" if metric.unit else str(metric)


def addMetricColumns(planNode, metrics: Sequence[Metric], ofPlan: PlanDvhs, prescription_Gy: float | None) -> list[str]:
    """Add a column for each metric to the plan's metrics table, in place of one of the same name.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    metrics : sequence of Metric
        None that needs the isodose volumes of the body.
    ofPlan : PlanDvhs
        Of the plan's present dose.
    prescription_Gy : float or None

    Returns
    -------
    list of str
        Names of the columns. A structure too small for a metric has an empty cell.

    Raises
    ------
    EvaluationError
        No current DVHs, or a metric that these DVHs do not give.
    """
    table = planNode.GetNodeReference(METRICS_TABLE)
    if not isEvaluationCurrent(table, planNode):
        raise EvaluationError(f"Plan {planNode.GetName()} has no current DVHs; evaluate it first.")
    for metric in metrics:
        if metric.needs_body:
            raise EvaluationError(f"{metric} needs the isodose volumes of the body; ask for it in a goal.")
        if metric.needs_prescription and prescription_Gy is None:
            raise EvaluationError(f"{metric} needs a prescribed dose; prescribe one, or ask for a dose in Gy.")
    structures = [table.GetCellText(row, table.GetColumnIndex(_STRUCTURE)) for row in range(table.GetNumberOfRows())]
    columns = {metricColumn(m): [_cell(m, ofPlan, name, prescription_Gy) for name in structures] for m in metrics}
    for name, texts in columns.items():
        if table.GetColumnIndex(name) >= 0:
            table.RemoveColumn(table.GetColumnIndex(name))
        addTexts(table, name, texts)
    return list(columns)


def _cell(metric: Metric, ofPlan: PlanDvhs, structure: str, prescription_Gy: float | None) -> str:
    dvh = ofPlan.dvhs.get(structure)
    if dvh is None:
        return ""
    try:
        value, _ = metric.evaluate(dvh, prescription_Gy)
    except EvaluationError:
        # of a structure smaller than the volume asked for there is no such dose
        return ""
    return f"{value:.2f}"
