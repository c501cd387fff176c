"""What a learner has made so far, as plain data, and what a check finds in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.plan import Plan


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    passed : bool
    found : str
        What there is, in words and figures of the learner's own plan.
    to_do : str
        What to change; empty where it passed.
    """

    passed: bool
    found: str
    to_do: str = ""


@dataclass(frozen=True, eq=False)
class LearnerPlan:
    """A plan of the learner's.

    Attributes
    ----------
    name : str
        As it stands in the scene.
    plan : Plan
        As delivered, with MU, where its dose is current; else as it was made.
    has_dose, dose_is_current : bool
        Whether a dose was calculated, and whether the plan is still as it was then.
    dvh_of : callable
        ``dvh_of(structure_name)`` returns the DVH in the current dose, or raises a `PlanningError` that says why there
        is none.
    """

    name: str
    plan: Plan
    has_dose: bool
    dose_is_current: bool
    dvh_of: Callable[[str], Dvh]


@dataclass(frozen=True, eq=False)
class LearnerWork:
    """Everything that checks may look at.

    Attributes
    ----------
    case : str or None
        Name of the case; None where none is loaded.
    structures : tuple of str
    plan : LearnerPlan or None
        The one that is chosen.
    others : tuple of LearnerPlan
        Further plans for the same CT, the latest last.
    """

    case: str | None = None
    structures: tuple[str, ...] = ()
    plan: LearnerPlan | None = None
    others: tuple[LearnerPlan, ...] = ()
