"""The rows of a plan's table of goals: the goals it is judged by, and what is not a goal yet."""

from __future__ import annotations

import json
from collections.abc import Sequence

from DoseEngineLib.mrml.plan_node import goalsOf, setGoals
from RTPlanningLib.evaluation.goal_entries import GoalEntry, entry_from_text, readable

_ROWS = "GoalRows"


def setGoalRows(planNode, entries: Sequence[GoalEntry]) -> None:
    """Keep rows with a plan: those that can be read become its goals, the others wait beside them."""
    planNode.SetParameter(_ROWS, rows_to_json(entries))
    goals = readable(entries)
    if tuple(goals) != goalsOf(planNode):
        setGoals(planNode, goals)


def goalRows(planNode) -> tuple[GoalEntry, ...]:
    """Return the rows of a plan; where its goals were changed elsewhere, these with the unreadable rows behind them."""
    goals = goalsOf(planNode)
    entries = rows_from_json(planNode.GetParameter(_ROWS))
    if tuple(readable(entries)) == goals:
        return entries
    return (*(entry_from_text(text) for text in goals), *(one for one in entries if one.goal is None))


def rows_to_json(entries: Sequence[GoalEntry]) -> str:
    """Return rows as JSON text."""
    return json.dumps([[one.structure, one.aim] for one in entries], ensure_ascii=False)


def rows_from_json(text: str) -> tuple[GoalEntry, ...]:
    """Read rows from JSON text; none where the text is none of `rows_to_json`."""
    try:
        return tuple(GoalEntry(str(structure), str(aim)) for structure, aim in json.loads(text or "[]"))
    except (ValueError, TypeError):
        # the goals themselves are kept elsewhere
        return ()
