"""The vocabulary of checks: how a check is declared, read from an exercise, and finds the plan it compares with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar

from DoseEngineLib.errors import SchemaError
from RTPlanningLib.exercises.learner_work import Finding, LearnerPlan, LearnerWork

_KINDS: dict[str, type[Check]] = {}
NO_PLAN = Finding(False, "No plan is chosen.", "Make a plan, or choose one at the top of the panel.")


@dataclass(frozen=True)
class PlanKind:
    """A plan of an exercise that others are compared with.

    Attributes
    ----------
    id : str
        What checks call it by.
    title : str
        In words, as it can stand in a sentence: "the plan with two opposed fields".
    recognized_by : tuple of Check
        A plan of the learner's that passes all of them is one.
    """

    id: str
    title: str
    recognized_by: tuple[Check, ...]

    def found_in(self, work: LearnerWork) -> LearnerPlan | None:
        """Return the latest of the learner's other plans that is one, or None."""
        for other in reversed(work.others):
            alone = replace(work, plan=other, others=())
            if all(check.find(alone, {}).passed for check in self.recognized_by):
                return other
        return None


@dataclass(frozen=True)
class Check(ABC):
    """A condition on a learner's work. Subclasses are the vocabulary; their fields are the keys in an exercise."""

    kind: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            _KINDS[cls.kind] = cls

    @abstractmethod
    def find(self, work: LearnerWork, plans: Mapping[str, PlanKind]) -> Finding:
        """Look at the work.

        Parameters
        ----------
        work : LearnerWork
        plans : mapping of str to PlanKind
            The exercise's plans by their ids.
        """


@dataclass(frozen=True)
class PlanCheck(Check):
    """A condition on the chosen plan, which must be there."""

    def find(self, work: LearnerWork, plans: Mapping[str, PlanKind]) -> Finding:
        """Look at the chosen plan."""
        return NO_PLAN if work.plan is None else self.find_in(work.plan)

    @abstractmethod
    def find_in(self, learner: LearnerPlan) -> Finding:
        """Look at a plan."""


@dataclass(frozen=True)
class Comparison(Check):
    """A condition on the chosen plan and another one of the learner's.

    Attributes
    ----------
    other : str
        Id of one of the exercise's plans.
    """

    other: str = field(kw_only=True)

    def find(self, work: LearnerWork, plans: Mapping[str, PlanKind]) -> Finding:
        """Look for the other plan, and at both."""
        if work.plan is None:
            return NO_PLAN
        kind = plans[self.other]
        other = kind.found_in(work)
        if other is None:
            return Finding(
                False,
                f"There is nothing to compare with: among your other plans on this CT none is {kind.title}.",
                f"Make {kind.title} as a plan of its own first, and keep it in the scene.",
            )
        return self.compare(work.plan, other)

    @abstractmethod
    def compare(self, learner: LearnerPlan, other: LearnerPlan) -> Finding:
        """Look at both plans."""


def read_check(entry: Mapping[str, Any], where: str) -> Check:
    """Make a check of an exercise's entry: its kind under ``check``, its fields beside it.

    Raises
    ------
    SchemaError
        A kind that does not exist, a key that it does not have, one that is missing, or a value it cannot take.
    """
    # the vocabulary is whatever these files declare
    from RTPlanningLib.exercises import biology_checks, dose_checks, plan_checks  # noqa: F401

    given = dict(entry)
    name = given.pop("check", None)
    if name not in _KINDS:
        raise SchemaError(f"{where}: there is no check {name!r}; choose one of: {', '.join(sorted(_KINDS))}.")
    declared = {f.name: f for f in fields(_KINDS[name])}
    unknown = [key for key in given if key not in declared]
    if unknown:
        raise SchemaError(
            f"{where}: check {name} has no {', '.join(unknown)}; it has: {', '.join(declared) or 'nothing'}."
        )
    missing = [
        key for key, f in declared.items() if key not in given and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise SchemaError(f"{where}: check {name} needs {', '.join(missing)}.")
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    try:
        return _KINDS[name](**lists)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{where}: check {name}: {error}") from error


def check_kinds() -> dict[str, type[Check]]:
    """Return the vocabulary: check classes by kind."""
    from RTPlanningLib.exercises import biology_checks, dose_checks, plan_checks  # noqa: F401

    return dict(sorted(_KINDS.items()))


def in_words(values: Sequence[object]) -> str:
    """Return values as a sentence has them: "0, 90 and 180"."""
    texts = [f"{value:g}" if isinstance(value, (int, float)) else str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else "none"
