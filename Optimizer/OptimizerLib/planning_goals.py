"""The list of objective rows of a plan: read from TOML or JSON, written back, and made into terms level by level."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from OptimizerLib.constraints import Constraint
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objective_rows import ObjectiveRow, parse_row
from OptimizerLib.objectives import FluenceTerm, Objective
from OptimizerLib.row_terms import RowContext, make_term

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEY = "objectives"
_KEYS = {"aim": str, "weight": (int, float), "level": int, "constraint": bool, "per": str}


@dataclass(frozen=True, eq=False)
class PlanningTerms:
    """What rows were made into.

    Attributes
    ----------
    objectives : dict of level to tuple of Objective
        Ascending; a level of fluence terms alone does not count.
    constraints : tuple of Constraint
    fluence_terms : tuple of FluenceTerm
        They hold on every level.
    """

    objectives: dict[int, tuple[Objective, ...]]
    constraints: tuple[Constraint, ...]
    fluence_terms: tuple[FluenceTerm, ...]

    @property
    def all_objectives(self) -> tuple[Objective, ...]:
        """The objectives of all levels, weights alone deciding."""
        return tuple(objective for level in self.objectives.values() for objective in level)


@dataclass(frozen=True)
class PlanningGoals:
    """Objective rows in the order they were written.

    Attributes
    ----------
    rows : tuple of ObjectiveRow
    """

    rows: tuple[ObjectiveRow, ...]

    @classmethod
    def from_entries(cls, entries: Iterable[str | Mapping[str, Any]], source: str = "") -> PlanningGoals:
        """Read rows, each a text or a table.

        A table has the key ``aim`` and, where they differ from the usual, ``weight``, ``level``, ``constraint`` and
        ``per``; its aim may be a whole row too, as long as nothing is said twice.

        Parameters
        ----------
        entries : iterable of str or mapping
        source : str
            Where they come from, shown in errors.

        Raises
        ------
        OptimizationError
            The first entry that cannot be read, with its number and the place in its text.
        """
        if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Iterable):
            raise OptimizationError(f"{_at(source)}{KEY} must be a list of rows, each a text or a table.")
        rows = []
        for number, entry in enumerate(entries, start=1):
            try:
                rows.append(_row(entry))
            except OptimizationError as error:
                raise OptimizationError(f"{_at(source)}{KEY}, entry {number}:\n{error}") from error
        return cls(tuple(rows))

    @classmethod
    def from_toml(cls, text: str, source: str = "") -> PlanningGoals:
        """Read the list ``objectives`` of a TOML text; other keys are left alone."""
        try:
            return cls._from_document(tomllib.loads(text), source)
        except tomllib.TOMLDecodeError as error:
            raise OptimizationError(f"{_at(source)}this is no TOML: {error}. Mend the place named.") from error

    @classmethod
    def from_json(cls, text: str, source: str = "") -> PlanningGoals:
        """Read the list ``objectives`` of a JSON text, or a JSON list of rows."""
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise OptimizationError(f"{_at(source)}this is no JSON: {error}. Mend the place named.") from error
        return cls._from_document({KEY: document} if isinstance(document, list) else document, source)

    @classmethod
    def load(cls, path: str | Path) -> PlanningGoals:
        """Read a ``.toml`` or ``.json`` file."""
        path = Path(path)
        readers = {".toml": cls.from_toml, ".json": cls.from_json}
        if path.suffix.lower() not in readers:
            raise OptimizationError(f"{path}: objectives are read from .toml and .json files.")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptimizationError(f"{path} cannot be read ({error}); give a text file in UTF-8.") from error
        return readers[path.suffix.lower()](text, str(path))

    @classmethod
    def _from_document(cls, document: Any, source: str) -> PlanningGoals:
        if not isinstance(document, Mapping) or KEY not in document:
            raise OptimizationError(f'{_at(source)}there is no list "{KEY}"; write {KEY} = ["PTV uniform 60 Gy"].')
        return cls.from_entries(document[KEY], source)

    def to_entries(self) -> list[str]:
        """Return the rows as texts that `from_entries` reads as these rows."""
        return [str(row) for row in self.rows]

    def to_toml(self) -> str:
        """Write the rows as a TOML list ``objectives``."""
        return "\n".join([f"{KEY} = [", *(f"    {_quoted(text)}," for text in self.to_entries()), "]", ""])

    def to_json(self) -> str:
        """Write the rows as a JSON object with the list ``objectives``."""
        return json.dumps({KEY: self.to_entries()}, indent=2, ensure_ascii=False) + "\n"

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures whose dose the rows look at, each once, in their order."""
        return tuple(dict.fromkeys(row.structure for row in self.rows if row.structure is not None))

    @property
    def levels(self) -> tuple[int, ...]:
        """Priority levels of the objectives, ascending."""
        return tuple(sorted({row.level for row in self.rows if not row.constraint and row.structure is not None}))

    def make(self, context: RowContext) -> PlanningTerms:
        """Make objectives, constraints and fluence terms; raises what `row_terms.make_term` raises."""
        terms = [(row, make_term(row, context)) for row in self.rows]
        return PlanningTerms(
            {
                level: tuple(term for row, term in terms if isinstance(term, Objective) and row.level == level)
                for level in self.levels
            },
            tuple(term for _, term in terms if isinstance(term, Constraint)),
            tuple(term for _, term in terms if isinstance(term, FluenceTerm)),
        )


def _row(entry: str | Mapping[str, Any]) -> ObjectiveRow:
    if isinstance(entry, str):
        return parse_row(entry)
    if not isinstance(entry, Mapping):
        raise OptimizationError(f"An objective is a text or a table; got {entry!r}.")
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        raise OptimizationError(f"{unknown[0]!r} is not a key of an objective; the keys are: {', '.join(_KEYS)}.")
    if "aim" not in entry:
        raise OptimizationError('The key "aim" is missing; write aim = "PTV D95% >= 60 Gy".')
    for key, value in entry.items():
        if not isinstance(value, _KEYS[key]) or (isinstance(value, bool) and key != "constraint"):
            raise OptimizationError(f'The key "{key}" cannot be {value!r}.')
    row = parse_row(entry["aim"])
    given = {key: value for key, value in entry.items() if key != "aim"}
    plain = ObjectiveRow(row.aim)
    twice = [key for key in given if getattr(row, key) != getattr(plain, key)]
    if twice:
        raise OptimizationError(f'"{twice[0]}" is said in the aim and by its key; say it once.')
    said = {key: getattr(row, key) for key in ("weight", "level", "constraint", "per")}
    return ObjectiveRow(row.aim, **{**said, **given})


def _quoted(text: str) -> str:
    # a JSON string is a TOML string, but for one character
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _at(source: str) -> str:
    return f"{source}: " if source else ""
