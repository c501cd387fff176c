"""The page and the table of Pareto plans."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from OptimizerLib.aims import Extreme, UniformDose
from OptimizerLib.multicriteria import Position
from OptimizerLib.objective_rows import ObjectiveRow
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.planning_goals import PlanningGoals
from RTPlanningLib.display.figure_bytes import svg_bytes
from RTPlanningLib.display.pareto_plot import draw_pareto_front
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture

_TEMPLATE = "pareto.html.j2"


def render_pareto_report(
    plans: ParetoPlans, title: str, position: Position | None = None, notes: Sequence[str] = ()
) -> str:
    """Return the page as HTML text: no scripts, no outside resources, no date.

    Parameters
    ----------
    plans : ParetoPlans
    title : str
    position : Position, optional
        Where the sliders stand.
    notes : sequence of str
    """
    front = plans.front
    rows = PlanningGoals.from_entries(plans.objectives).rows
    metrics = _metrics(plans)
    figure = draw_pareto_front(front, None if position is None else position.values)
    lines = [(f"Plan {n + 1}", np.eye(front.plans)[n], False) for n in range(front.plans)]
    if position is not None:
        lines.insert(0, ("Here", position.shares, True))
    return render_page(
        _TEMPLATE,
        {
            "title": title,
            "lead": f"Goals that compete: {', '.join(front.goals)}",
            "headline": [
                ("Plans", str(front.plans)),
                ("Gap", f"{100 * front.gap:.3g} %"),
                ("Bixels", str(front.weights.shape[1])),
            ],
            "notes": [front.message, *plans.notes, *notes],
            "goals": [
                {
                    "name": name,
                    "rows": [str(row) for row in rows if not row.constraint and row.structure in plans.groups[number]],
                    "values": [
                        f"{values[number]:.4g}" for values in (front.ideal, front.nadir, plans.balanced, plans.limits)
                    ],
                }
                for number, name in enumerate(front.goals)
            ],
            "shared": [str(row) for row in rows if row.structure is None],
            "kept": [str(row) for row in rows if row.constraint],
            "figure": Picture(
                svg_bytes(figure), "Plans, goal against goal; between plans every mixture can be navigated to"
            ),
            "metrics": [(structure, metric) for structure, metric, _ in metrics],
            "plans": [
                {
                    "name": name,
                    "here": here,
                    "values": [f"{value:.4g}" for value in shares @ front.values]
                    + [f"{measure(shares):.2f} Gy" for _, _, measure in metrics],
                }
                for name, shares, here in lines
            ],
            "metrics_note": "The gap: of any plan within limits there is a mixture of these worse by no more than "
            f"{100 * front.gap:.3g} % of the way from the least possible to the worst value, in every goal. Doses are "
            "of ideal fluence, in the voxels and by the engine of the optimization; leaves change them."
            + ("" if position is None else " Here: goals at or below these values."),
        },
    )


def pareto_csv(plans: ParetoPlans) -> str:
    """Return goals and doses, a line a plan, as CSV text."""
    metrics = _metrics(plans)
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("Plan", *plans.front.goals, *(f"{name} {metric} (Gy)" for name, metric, _ in metrics)))
    for number in range(plans.front.plans):
        shares = np.eye(plans.front.plans)[number]
        values = [f"{value:.8g}" for value in plans.front.values[number]]
        writer.writerow((number + 1, *values, *(f"{measure(shares):.5f}" for _, _, measure in metrics)))
    return stream.getvalue()


def _metrics(plans: ParetoPlans) -> list[tuple[str, str, Any]]:
    """Structure, metric and its value by shares: coverage of what is to get dose, mean of what is to be spared."""
    rows = PlanningGoals.from_entries(plans.objectives).rows
    wanted = {row.structure for row in rows if _wants_dose(row)}
    metrics: list[tuple[str, str, Any]] = []
    for name in plans.volumes_of:
        if name in wanted:
            metrics.append((name, "D95%", lambda shares, name=name: plans.dose_at_volume_Gy(shares, name, 95.0)))
        else:
            metrics.append((name, "Mean", lambda shares, name=name: plans.mean_Gy(shares, name)))
        metrics.append((name, "D2%", lambda shares, name=name: plans.dose_at_volume_Gy(shares, name, 2.0)))
    return metrics


def _wants_dose(row: ObjectiveRow) -> bool:
    aim = row.aim
    if isinstance(aim, Extreme):
        return aim.direction == "maximize"
    return isinstance(aim, UniformDose) or (isinstance(aim, Goal) and aim.operator in (">", ">="))
