"""Objective rows that come with the package: for the TG-119 cases, to begin with and to learn from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

from DoseEngineLib.errors import SchemaError
from OptimizerLib.errors import OptimizationError
from OptimizerLib.planning_goals import PlanningGoals

OBJECTIVE_SET_SCHEMA_VERSION = 1
_KEYS = {"schema_version", "name", "title", "description", "source", "rows"}


@dataclass(frozen=True)
class ObjectiveSet:
    """A set of rows.

    Attributes
    ----------
    name, title, description : str
    source : str
        Where goals and weights come from.
    goals : PlanningGoals
    """

    name: str
    title: str
    description: str
    source: str
    goals: PlanningGoals


def shipped_objectives() -> tuple[ObjectiveSet, ...]:
    """The sets that come with the package, by name."""
    folder = resources.files("OptimizerLib.objective_sets")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return tuple(parse_objective_set(file.read_text(encoding="utf-8"), file.name) for file in files)


def parse_objective_set(text: str, source: str) -> ObjectiveSet:
    """Read a set from JSON.

    Raises
    ------
    SchemaError
        No such text, keys that are missing or unknown, a newer version, rows that cannot be read.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise SchemaError(f"{source} is no JSON ({error}); mend the place named.") from error
    if not isinstance(data, dict) or set(data) != _KEYS:
        raise SchemaError(f"{source}: a set of objectives has exactly the keys {', '.join(sorted(_KEYS))}.")
    if data["schema_version"] != OBJECTIVE_SET_SCHEMA_VERSION:
        raise SchemaError(
            f"{source} has schema version {data['schema_version']}; this version of RTPlanning reads "
            f"{OBJECTIVE_SET_SCHEMA_VERSION}. Update RTPlanning."
        )
    try:
        goals = PlanningGoals.from_entries(data["rows"], source)
    except OptimizationError as error:
        raise SchemaError(str(error)) from error
    return ObjectiveSet(data["name"], data["title"], data["description"], data["source"], goals)
