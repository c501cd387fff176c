"""Which templates of goals suit a case: what of each applies to its structures, and to its fractions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, apply_goal_template, available_goal_templates

# Of the prescribed dose: what a template made for it asks for the target at least, as D95% or the like.
_LEAST_SHARE, _MOST_SHARE = 0.9, 1.03
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
    unfit : str
        Why it is not for this prescription, by its fractions or the dose of its target; empty where it is.
    """

    template: GoalTemplate
    goals: tuple[Goal, ...]
    left_out: tuple[str, ...]
    unfit: str

    @property
    def fits(self) -> bool:
        """Whether it has goals for this case, and is for this prescription."""
        return bool(self.goals) and not self.unfit

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
        note = template.fractionation_note(fractions, prescription_Gy) or _target_dose_note(template, prescription_Gy)
        choices.append(TemplateChoice(template, goals, tuple(left_out), note))
    return sorted(choices, key=_order)


def _target_dose_note(template: GoalTemplate, prescription_Gy: float | None) -> str:
    """Tell that a template's goals ask for another dose to the target than is prescribed."""
    asked_Gy = [
        published.goal.limit / (100.0 if published.goal.unit == "cGy" else 1.0)
        for published in template.goals
        if published.is_target and published.goal.wants_more and published.goal.metric.is_dose
        if published.goal.unit in ("Gy", "cGy")
    ]
    if not asked_Gy or prescription_Gy is None:
        return ""
    if _LEAST_SHARE * prescription_Gy <= max(asked_Gy) <= _MOST_SHARE * prescription_Gy:
        return ""
    return (
        f"{template.title} asks for {max(asked_Gy):g} Gy to the target; {prescription_Gy:g} Gy are prescribed. Choose "
        "another template."
    )


def _order(choice: TemplateChoice) -> tuple:
    # many goals that apply speak for a template, many that do not against it
    weight = round(len(choice.goals) * choice.share, 6)
    return (not choice.fits, -weight, -len(choice.goals), choice.template.name)


def _sentence(reason: str) -> str:
    """A reason with what to do in a panel, where names cannot be given."""
    return reason.replace("; say which by names.", "; rename the one that is meant.").replace(
        ": say so by names", "; rename it if it is meant"
    )
