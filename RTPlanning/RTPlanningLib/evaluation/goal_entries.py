"""Clinical goals while a person writes them: rows of a table, some of which cannot be read yet; nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from DoseEngineLib.clinical_goals import GOAL_EXAMPLE, Goal, parse_goal
from DoseEngineLib.errors import EvaluationError


@dataclass(frozen=True)
class GoalEntry:
    """A row of the table: what was written, whether it is a goal or not yet.

    Attributes
    ----------
    structure : str
    aim : str
        Metric, operator and limit, such as ``D95% >= 95 %``.
    """

    structure: str
    aim: str

    def __post_init__(self) -> None:
        for name in ("structure", "aim"):
            object.__setattr__(self, name, " ".join(getattr(self, name).split()))

    @property
    def text(self) -> str:
        """The goal as it is stored, in one line."""
        return f"{self.structure} {self.aim}".strip()

    @cached_property
    def goal(self) -> Goal | None:
        """The goal; None where it cannot be read."""
        return None if self._reading[0] is None else self._reading[0]

    @property
    def problem(self) -> str:
        """Why it cannot be read, and what to do; empty for a goal."""
        return self._reading[1]

    @cached_property
    def _reading(self) -> tuple[Goal | None, str]:
        if not self.structure:
            return None, f"Choose the structure that the goal is for. Example: {GOAL_EXAMPLE}"
        if not self.aim:
            return None, f"Write what {self.structure} shall reach. Example: {_aim(parse_goal(GOAL_EXAMPLE))}"
        try:
            goal = parse_goal(self.text)
        except EvaluationError as error:
            # the mark under the text needs a font of equal widths, and a line of its own
            return None, str(error).splitlines()[-1]
        if goal.structure != self.structure:
            return None, (
                f"This reads as a goal for {goal.structure!r}, not for {self.structure!r}; write metric, operator and "
                f"limit alone. Example: {_aim(parse_goal(GOAL_EXAMPLE))}"
            )
        return goal, ""


def entry_of(goal: Goal) -> GoalEntry:
    """Return the row of a goal."""
    return GoalEntry(goal.structure, _aim(goal))


def entry_from_text(text: str, structures: Iterable[str] = ()) -> GoalEntry:
    """Split a text into structure and aim.

    Parameters
    ----------
    text : str
        ``PTV D95% >= 95 %``, or cells of a spreadsheet with tabs between them.
    structures : iterable of str
        Names that are known: a text that cannot be read is split behind the longest of them that it begins with, else
        behind its first word.
    """
    if "\t" in text:
        structure, aim = text.split("\t", 1)
        return GoalEntry(structure, aim.replace("\t", " "))
    line = " ".join(text.split())
    try:
        structure = parse_goal(line).structure
    except EvaluationError:
        known = [name for name in structures if line == name or line.startswith(f"{name} ")]
        structure = max(known, key=len, default=line.partition(" ")[0])
    return GoalEntry(structure, line[len(structure) :])


def entries_from_text(text: str, structures: Iterable[str] = ()) -> tuple[GoalEntry, ...]:
    """Read a text of one goal a line; empty lines and those that begin with ``#`` are passed over."""
    names = tuple(structures)
    lines = (line.strip(" \r\n\f\v") for line in text.splitlines())
    return tuple(entry_from_text(line, names) for line in lines if line.strip() and not line.startswith("#"))


def remark(entry: GoalEntry, structures: Sequence[str], prescription_Gy: float | None) -> str:
    """Tell what keeps a goal that can be read from being judged; empty where nothing does."""
    if entry.goal is None:
        return ""
    if structures and entry.structure not in structures:
        return f"The case has no structure {entry.structure}; contour it, or choose another."
    if entry.goal.needs_prescription and prescription_Gy is None:
        return "It needs the prescribed dose."
    return ""


def readable(entries: Iterable[GoalEntry]) -> list[str]:
    """The texts of the rows that are goals."""
    return [entry.text for entry in entries if entry.goal is not None]


def _aim(goal: Goal) -> str:
    return str(goal)[len(goal.structure) :].strip()
