"""The exercise format: JSON after ``exercise.schema.json``, read into frozen dataclasses, and steps judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from DoseEngineLib.errors import PlanningError, SchemaError
from DoseEngineLib.schema_json import read_schema_json
from RTPlanningLib.exercises.check import Check, Comparison, PlanKind, read_check
from RTPlanningLib.exercises.learner_work import Finding, LearnerWork

EXERCISE_SCHEMA_VERSION = 1
_SCHEMA = "exercise.schema.json"
# in the order to work through them
_SHIPPED = (
    "four-field-box",
    "opposed-or-four-fields",
    "lung-heterogeneity",
    "imrt-c-shape",
    "fractionation-eqd2",
)


@dataclass(frozen=True)
class ExerciseStep:
    """A step of an exercise.

    Attributes
    ----------
    title : str
    text : str
        What to know for it.
    task : str
        What to do.
    checks : tuple of Check
        All of them are to pass.
    look_at : tuple of str
        What to look at once it is done.
    hint : str
        What helps when it is not.
    """

    title: str
    text: str
    task: str
    checks: tuple[Check, ...]
    look_at: tuple[str, ...]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """A guided exercise.

    Attributes
    ----------
    name, title : str
    learned : tuple of str
        What a learner knows afterwards.
    case : str
        Name of the sample case.
    steps : tuple of ExerciseStep
    plans : mapping of str to PlanKind
        Plans that checks compare with, by id.
    sources : tuple of str
    """

    name: str
    title: str
    learned: tuple[str, ...]
    case: str
    steps: tuple[ExerciseStep, ...]
    plans: Mapping[str, PlanKind]
    sources: tuple[str, ...]

    def step(self, number: int) -> ExerciseStep:
        """Return a step by its number from 0; one that does not exist raises `SchemaError`."""
        if not 0 <= number < len(self.steps):
            raise SchemaError(f"Exercise {self.name} has {len(self.steps)} steps; there is none numbered {number + 1}.")
        return self.steps[number]


@dataclass(frozen=True)
class StepResult:
    """A step judged.

    Attributes
    ----------
    step : ExerciseStep
    findings : tuple of Finding
        One a check.
    """

    step: ExerciseStep
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to look at when it is passed; else what to do, and the hint."""
        if self.passed:
            return self.step.look_at
        return (*(finding.to_do for finding in self.findings if not finding.passed), self.step.hint)


def judge_step(exercise: Exercise, number: int, work: LearnerWork) -> StepResult:
    """Judge a step by its number from 0."""
    step = exercise.step(number)
    return StepResult(step, tuple(check.find(work, exercise.plans) for check in step.checks))


def available_exercises() -> list[str]:
    """List the names of the exercises that come with the package, in the order to work through them."""
    return list(_SHIPPED)


def load_exercise(name: str) -> Exercise:
    """Return an exercise that comes with the package; an unknown name raises `SchemaError` and lists those there are.

    The files of the package are held to the schema by its tests, not here: what checks schemas may not be installed.
    """
    known = available_exercises()
    if name not in known:
        raise SchemaError(f"There is no exercise {name!r}; choose one of: {', '.join(known)}.")
    return _exercise(json.loads(_text(f"{name}.json")), f"{name}.json")


def read_exercise(path: str | Path) -> Exercise:
    """Read an exercise that somebody wrote.

    Raises
    ------
    SchemaError
        A file that cannot be read or violates the schema; the text names the place.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemaError(f"Exercise {path} cannot be read: {error.strerror}; check the path.") from error
    schema = json.loads(_text(_SCHEMA))
    data = read_schema_json(text, path.name, schema, _SCHEMA, EXERCISE_SCHEMA_VERSION, SchemaError)
    return _exercise(data, path.name)


def _exercise(data: Mapping[str, Any], where: str) -> Exercise:
    plans: dict[str, PlanKind] = {}
    for entry in data.get("plans", ()):
        place = f"{where}, plan {entry['id']}"
        checks = tuple(read_check(check, place) for check in entry["recognized_by"])
        if any(isinstance(check, Comparison) for check in checks):
            raise SchemaError(f"{place}: a plan is recognized by itself, not by a comparison with another.")
        if entry["id"] in plans:
            raise SchemaError(f"{place}: there are two plans of this id; rename one.")
        plans[entry["id"]] = PlanKind(entry["id"], entry["title"], checks)
    steps = []
    for number, entry in enumerate(data["steps"], start=1):
        place = f"{where}, step {number}"
        checks = tuple(read_check(check, place) for check in entry["checks"])
        for check in checks:
            if isinstance(check, Comparison) and check.other not in plans:
                raise SchemaError(f"{place}: there is no plan {check.other!r}; it has: {', '.join(plans) or 'none'}.")
        step = ExerciseStep(
            entry["title"], entry["text"], entry["task"], checks, tuple(entry["look_at"]), entry["hint"]
        )
        steps.append(step)
    return Exercise(
        data["name"],
        data["title"],
        tuple(data["learned"]),
        data["case"],
        tuple(steps),
        plans,
        tuple(data["sources"]),
    )


def _text(file: str) -> str:
    try:
        return resources.files("RTPlanningLib.exercises").joinpath(file).read_text(encoding="utf-8")
    except OSError as error:
        raise PlanningError(f"{file} is missing from the package ({error}); install RTPlanning again.") from error
