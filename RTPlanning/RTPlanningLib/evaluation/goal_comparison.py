"""The goals of several plans side by side, as plain data, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.goals import Goal, GoalResult

SCHEMA = 1
NOT_ASKED = "not asked"
# Doses are computed in single precision: plans this close (relative) achieve the same.
_EQUAL = 1e-5


@dataclass(frozen=True)
class GoalRow:
    """A goal and what each plan makes of it.

    Attributes
    ----------
    goal : Goal
    results : tuple of GoalResult or None
        In the order of the plans; None where a plan was not asked.
    """

    goal: Goal
    results: tuple[GoalResult | None, ...]

    def values(self) -> tuple[float | None, ...]:
        """Achieved values in the goal's unit."""
        return tuple(None if r is None else r.value for r in self.results)

    def verdicts(self) -> tuple[str, ...]:
        """Verdicts in words."""
        return tuple(NOT_ASKED if r is None else r.verdict for r in self.results)

    def differences(self) -> tuple[float | None, ...]:
        """Values minus the first plan's, where both have one."""
        values = self.values()
        return tuple(None if v is None or values[0] is None else v - values[0] for v in values)

    def best(self) -> tuple[int, ...]:
        """Places of the plans that do best, of those that could be judged; several where they are equal."""
        judged = {n: r.value for n, r in enumerate(self.results) if r is not None and r.passed is not None}
        if not judged:
            return ()
        best = max(judged.values()) if self.goal.wants_more else min(judged.values())
        return tuple(n for n, v in judged.items() if abs(v - best) <= _EQUAL * max(abs(best), 1e-12))


@dataclass(frozen=True)
class GoalComparison:
    """Goals by plans.

    Attributes
    ----------
    plans : tuple of str
    rows : tuple of GoalRow
    """

    plans: tuple[str, ...]
    rows: tuple[GoalRow, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many goals got which verdict, by plan."""
        counts: dict[str, dict[str, int]] = {plan: {} for plan in self.plans}
        for row in self.rows:
            for plan, verdict in zip(self.plans, row.verdicts(), strict=True):
                counts[plan][verdict] = counts[plan].get(verdict, 0) + 1
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        rows = []
        for row in self.rows:
            cells = {}
            best = row.best()
            columns = zip(self.plans, row.results, row.verdicts(), row.differences(), strict=True)
            for place, (plan, result, verdict, difference) in enumerate(columns):
                cells[plan] = {
                    "value": None if result is None else result.value,
                    "verdict": verdict,
                    "difference_to_first": difference,
                    "best": place in best,
                    "note": "" if result is None else result.note,
                }
            rows.append({**row.goal.to_dict(), "plans": cells})
        return {"schema": SCHEMA, "plans": list(self.plans), "rows": rows, "counts": self.counts()}

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """Return the table as CSV: a line a goal, value and verdict a plan, and the difference to the first."""
        stream = StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        header = ["Structure", "Metric", "Goal", "Unit"]
        for number, plan in enumerate(self.plans):
            header += [f"{plan} value", f"{plan} verdict"]
            header += [f"{plan} minus {self.plans[0]}"] if number else []
        writer.writerow([*header, "Best"])
        for row in self.rows:
            line = [row.goal.structure, str(row.goal.metric), row.goal.limit_text, row.goal.unit]
            cells = zip(row.values(), row.verdicts(), row.differences(), strict=True)
            for number, (value, verdict, difference) in enumerate(cells):
                line += [_number(value), verdict]
                line += [_number(difference)] if number else []
            writer.writerow([*line, "; ".join(self.plans[n] for n in row.best())])
        return stream.getvalue()


def compare_goals(results: Mapping[str, Sequence[GoalResult]]) -> GoalComparison:
    """Put the judged goals of plans side by side.

    Parameters
    ----------
    results : mapping of plan name to sequence of GoalResult
        Goals are the same where their texts are; their order is that of the first plan that has them. A plan may lack
        goals of another.

    Raises
    ------
    EvaluationError
        No plan, no goal, or a plan with the same goal twice.
    """
    if not results:
        raise EvaluationError("There is no plan to compare; give the goal results of at least one.")
    goals: dict[str, Goal] = {}
    by_plan: dict[str, dict[str, GoalResult]] = {}
    for plan, judged in results.items():
        by_plan[plan] = {}
        for result in judged:
            text = str(result.goal)
            if text in by_plan[plan]:
                raise EvaluationError(f"Plan {plan} has the goal {text!r} twice; leave one out.")
            by_plan[plan][text] = result
            goals.setdefault(text, result.goal)
    if not goals:
        raise EvaluationError("None of the plans has a goal; evaluate goals first.")
    rows = tuple(GoalRow(goal, tuple(by_plan[plan].get(text) for plan in results)) for text, goal in goals.items())
    return GoalComparison(tuple(results), rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
