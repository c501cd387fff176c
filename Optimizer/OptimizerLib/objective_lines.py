"""Objectives while a person edits them: lines of text, each read as far as it can be read.

The lines are the one truth of every view. A line that cannot be read, or says more than a table can show, stays as it
was typed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objective_rows import ObjectiveRow, parse_row
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.table_rows import TableRow


@dataclass(frozen=True)
class ObjectiveLine:
    """A line and what it was read as.

    Attributes
    ----------
    text : str
        As typed, without the space around it.
    row : ObjectiveRow or None
        None where it cannot be read.
    in_table : TableRow or None
        None where a table cannot show it.
    error : str
        Why it cannot be read.
    """

    text: str
    row: ObjectiveRow | None
    in_table: TableRow | None
    error: str = ""

    @classmethod
    def read(cls, text: str) -> ObjectiveLine:
        """Read a line."""
        text = text.strip()
        try:
            row = parse_row(text)
        except OptimizationError as error:
            return cls(text, None, None, str(error))
        return cls(text, row, TableRow.of(row))

    @classmethod
    def of(cls, row: TableRow) -> ObjectiveLine:
        """The line that a row of the table makes.

        Raises
        ------
        OptimizationError, EvaluationError
            Numbers that make no row.
        """
        made = row.to_row()
        return cls(str(made), made, row)


def read_lines(lines: str | Iterable[str]) -> tuple[ObjectiveLine, ...]:
    """Read a text, or lines of it; empty ones are left out."""
    texts = lines.splitlines() if isinstance(lines, str) else lines
    return tuple(ObjectiveLine.read(text) for text in texts if text.strip())


def goals_of_lines(lines: Iterable[ObjectiveLine]) -> PlanningGoals:
    """The objectives that lines say; raises `OptimizationError` for the first that cannot be read, with its number."""
    return PlanningGoals.from_entries([line.text for line in lines])


def unknown_structures(lines: Iterable[ObjectiveLine], names: Iterable[str]) -> list[str]:
    """Structures that lines name and that are not there, each once."""
    known = set(names)
    named = [name for line in lines if line.row is not None for name in _names(line.row)]
    return [name for name in dict.fromkeys(named) if name not in known]


def line_errors(lines: Iterable[ObjectiveLine], names: Iterable[str]) -> list[str]:
    """What keeps lines from being used with the structures of these names, in words; nothing where they can be."""
    lines = list(lines)
    texts = [
        f"Line {number}: {line.error.splitlines()[-1]}"
        for number, line in enumerate(lines, start=1)
        if line.row is None
    ]
    missing = unknown_structures(lines, names)
    if missing:
        texts.append(f"There is no structure {', '.join(missing)}; choose others, or contour them.")
    return texts


def _names(row: ObjectiveRow) -> list[str]:
    return [name for name in (row.structure, getattr(row.aim, "target", None)) if name is not None]
