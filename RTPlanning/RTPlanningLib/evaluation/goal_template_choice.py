"""Which templates of goals suit a case: what of each applies to its structures, and to its fractions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, apply_goal_template, available_goal_templates

_ONE_VOXEL = Grid.from_spacing((1, 1, 1), 1.0)


@dataclass(frozen=True)
class StructureName:
    """What a template needs to know of a structure.

    Attributes
    ----------
    name, role : str
    is_empty : bool
    """

    name: str
    role: str
    is_empty: bool = False


@dataclass(frozen=True)
class TemplateChoice:
    """A template and what of it applies to a case.

    Attributes
    ----------
    template : GoalTemplate
    goals : tuple of Goal
        For the structures of the case.
    left_out : tuple of str
        Which goals do not apply, and why.
    fractionation : str
        Why its limits are not for the fractions; empty where they are.
    """

    template: GoalTemplate
    goals: tuple[Goal, ...]
    left_out: tuple[str, ...]
    fractionation: str

    @property
    def fits(self) -> bool:
        """Whether it has goals for this case, and its limits are for these fractions."""
        return bool(self.goals) and not self.fractionation

    @property
    def share(self) -> float:
        """Share of the template's goals that apply."""
        asked = len({str(goal) for goal in self.goals})
        return asked / max(asked + len(self.left_out), 1)


def template_choices(
    structures: Iterable[StructureName],
    *,
    target: str | None = None,
    fractions: int | None = None,
    prescription_Gy: float | None = None,
    templates: Sequence[GoalTemplate] | None = None,
) -> list[TemplateChoice]:
    """Lay every template on a case; those that fit come first, and of these the one of which most applies.

    Parameters
    ----------
    structures : iterable of StructureName
    target : str, optional
        Structure that goals for the target are asked of; one that is not there or empty counts as none.
    fractions : int, optional
    prescription_Gy : float, optional
    templates : sequence of GoalTemplate, optional
        By default those that come with the package.
    """
    # names, roles and whether there is a voxel are all that is asked of the masks
    known = [
        Structure(s.name, np.full((1, 1, 1), not s.is_empty), _ONE_VOXEL, s.role)
        for s in {s.name: s for s in structures}.values()
    ]
    named = target if any(s.name == target and not s.is_empty for s in known) else None
    choices = []
    for template in available_goal_templates() if templates is None else templates:
        applied = apply_goal_template(template, known, target=named)
        unions = {union.name for union in applied.combined}
        left_out = [f"{open_.published.goal}: {_sentence(open_.reason)}" for open_ in applied.unmatched]
        left_out += [
            f"{one.published.goal}: it is for {one.goal.structure} together; unite them in a structure."
            for one in applied.goals
            if one.goal.structure in unions
        ]
        goals = tuple(one.goal for one in applied.goals if one.goal.structure not in unions)
        note = template.fractionation_note(fractions, prescription_Gy)
        choices.append(TemplateChoice(template, goals, tuple(left_out), note))
    return sorted(choices, key=_order)


def _order(choice: TemplateChoice) -> tuple:
    # many goals that apply speak for a template, many that do not against it
    weight = round(len(choice.goals) * choice.share, 6)
    return (not choice.fits, -weight, -len(choice.goals), choice.template.name)


def _sentence(reason: str) -> str:
    """A reason with what to do in a panel, where names cannot be given."""
    return reason.replace("; say which by names.", "; rename the one that is meant.").replace(
        ": say so by names", "; rename it if it is meant"
    )
