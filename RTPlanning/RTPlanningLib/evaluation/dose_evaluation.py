"""A dose judged on structures: DVHs, goals of templates and of one's own, complication probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.clinical_goals import Goal, parse_goal
from DoseEngineLib.dvh import Dvh, calculate_dvhs
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.isodose_volume import IsodoseVolumes
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.goal_templates import (
    AppliedTemplate,
    GoalTemplate,
    TemplateGoal,
    UnmatchedGoal,
    absence_of,
    apply_goal_template,
)
from RTPlanningLib.evaluation.goals import GoalResult, evaluate_goals
from RTPlanningLib.evaluation.stored_dvh_comparison import StoredComparison
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.parameters import load_parameters
from RTPlanningLib.radiobiology.plan_radiobiology import RadiobiologyResult, evaluate_ntcp, evaluate_tcp
from RTPlanningLib.radiobiology.structure_matching import ROLES_WITHOUT_TISSUE

OWN_GOALS = "Goals given"
_VOXELS_AT_A_TIME = 10_000


@dataclass(frozen=True)
class JudgedGoal:
    """A goal, where it came from, and what the dose achieves.

    Attributes
    ----------
    result : GoalResult
    group : str
        Title of the template, or `OWN_GOALS`.
    published : TemplateGoal or None
        None for one's own.
    note : str
        How its structure was found.
    """

    result: GoalResult
    group: str
    published: TemplateGoal | None = None
    note: str = ""


@dataclass(frozen=True)
class OpenGoal:
    """A template's goal without a structure."""

    unmatched: UnmatchedGoal
    group: str


@dataclass(frozen=True, eq=False)
class DoseEvaluation:
    """What a dose comes to.

    Attributes
    ----------
    dose : DoseDistribution
    structures : tuple of Structure
    prescription_Gy : float or None
    fractions : int or None
    target : str or None
    dvhs : dict of structure name to Dvh
        Also of unions that goals are asked of.
    goals : tuple of JudgedGoal
    open_goals : tuple of OpenGoal
        Asked for by templates, without a structure.
    radiobiology : tuple of RadiobiologyResult
    templates : tuple of GoalTemplate
    notes : tuple of str
    stored : tuple of StoredComparison
        DVHs that the file of the dose holds, beside these.
    """

    dose: DoseDistribution
    structures: tuple[Structure, ...]
    prescription_Gy: float | None
    fractions: int | None
    target: str | None
    dvhs: dict[str, Dvh]
    goals: tuple[JudgedGoal, ...]
    open_goals: tuple[OpenGoal, ...]
    radiobiology: tuple[RadiobiologyResult, ...]
    templates: tuple[GoalTemplate, ...]
    notes: tuple[str, ...]
    stored: tuple[StoredComparison, ...] = ()

    def verdicts(self) -> dict[str, int]:
        """Count the goals' verdicts; goals without a structure count as "without structure"."""
        counts: dict[str, int] = {}
        for goal in self.goals:
            counts[goal.result.verdict] = counts.get(goal.result.verdict, 0) + 1
        if self.open_goals:
            counts["without structure"] = len(self.open_goals)
        return counts

    def open_reasons(self) -> list[str]:
        """Why goals have no structure, each reason once; those that are simply not there come last, in one line."""
        reasons, absent = [], []
        for one in self.open_goals:
            name, reason = one.unmatched.published.goal.structure, one.unmatched.reason
            if reason == absence_of(name):
                absent.append(name)
            else:
                reasons.append(reason)
        listed = ", ".join(dict.fromkeys(absent))
        return [*dict.fromkeys(reasons), *([f"there is no {listed}."] if listed else [])]


def evaluate_distribution(
    dose: DoseDistribution,
    structures: Sequence[Structure],
    *,
    templates: Sequence[GoalTemplate] = (),
    goals: Sequence[Goal | str] = (),
    prescription_Gy: float | None = None,
    fractions: int | None = None,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    radiobiology: bool = False,
    tcp_set: str | None = None,
    ntcp_sets: Mapping[str, str] | None = None,
    overall_days: float | None = None,
    judged_by: Mapping[str, DoseDistribution] | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> DoseEvaluation:
    """Judge a dose.

    Parameters
    ----------
    dose : DoseDistribution
        Of the whole course.
    structures : sequence of Structure
        Empty ones, and those outside the dose grid, are noted and left out.
    templates : sequence of GoalTemplate
    goals : sequence of Goal or str
        One's own, their structures named exactly.
    prescription_Gy : float, optional
        For goals in % of it, for conformity, and for radiobiology.
    fractions : int, optional
        For radiobiology, and to tell whether a template fits.
    target : str, optional
        Structure that templates' goals for the target are asked of.
    names : mapping of template structure to name of a structure, optional
        Settles what is ambiguous; each must be asked for by some template.
    radiobiology : bool
        Add complication probabilities of the structures; unions that templates made have none.
    tcp_set : str, optional
        Identifier of the parameters of the target's control; its name does not tell the tumour.
    ntcp_sets : mapping of structure name to the identifier of a set of parameters, optional
        Instead of what the structure's name gives.
    overall_days : float, optional
        From the first fraction to the last, for models in which the tumour grows meanwhile.
    judged_by : mapping of structure name to DoseDistribution, optional
        The dose that a structure is judged by, where it is not ``dose``: EQD2 with its own alpha/beta, which a map of
        several alpha/betas does not hold right at the structure's rim, where it is interpolated.
    notes : sequence of str
        What readers of the files had to say.
    progress : callable, optional

    Raises
    ------
    EvaluationError
        Nothing to evaluate, goals that cannot be read, names that are not there, radiobiology without prescription and
        fractions.
    """
    with_biology = radiobiology or tcp_set is not None or bool(ntcp_sets)
    _check(prescription_Gy, fractions, target, structures, with_biology)
    said = list(notes)
    applied = [_applied(template, structures, target, names, templates) for template in templates]
    own = [parse_goal(goal) if isinstance(goal, str) else goal for goal in goals]
    evaluated, more = _inside(structures, dose)
    said += more
    unions = {structure.name: structure for one in applied for structure in one.combined}
    taken = {structure.name for structure in evaluated}
    combined = [union for union in unions.values() if union.name not in taken and _touches(union, dose)]
    if not evaluated:
        raise EvaluationError(
            f"No structure lies in the grid of dose {dose.name}; check that dose and structures belong together."
        )
    doses = {s.name: _dose_of(s.name, dose, judged_by or {}) for s in (*evaluated, *combined)}
    dvhs = _dvhs([*evaluated, *combined], doses, part(progress, 0.0, 0.6))
    said += [
        f"Only {dvh.covered_percent_text} % of {name} lie inside the dose grid; its doses and "
        "volumes are those of that part, and its goals are not judged."
        for name, dvh in dvhs.items()
        if dvh.covered_fraction < 1.0
    ]
    bodies = {key: _body(one, structures) for key, one in {id(one): one for one in (dose, *doses.values())}.items()}

    def judge(goals: Sequence[Goal]) -> list[GoalResult]:
        return [
            result
            for goal in goals
            for result in evaluate_goals([goal], dvhs, prescription_Gy, bodies[id(doses.get(goal.structure, dose))])
        ]

    judged: list[JudgedGoal] = []
    for template, one in zip(templates, applied, strict=True):
        note = template.fractionation_note(fractions, prescription_Gy)
        if note:
            said.append(note)
        results = judge([goal.goal for goal in one.goals])
        judged += [
            JudgedGoal(result, template.title, goal.published, goal.note)
            for result, goal in zip(results, one.goals, strict=True)
        ]
    judged += [JudgedGoal(result, OWN_GOALS) for result in judge(own)]
    probabilities: list[RadiobiologyResult] = []
    course = Fractionation(fractions, overall_days=overall_days) if with_biology else None
    if radiobiology or ntcp_sets:
        roles = {structure.name: structure.role for structure in structures}
        organs = {
            name: dvh
            for name, dvh in dvhs.items()
            if name in (ntcp_sets or {}) or (radiobiology and name in roles and roles[name] not in ROLES_WITHOUT_TISSUE)
        }
        probabilities += evaluate_ntcp(
            organs, course, prescription_Gy, chosen=ntcp_sets, progress=part(progress, 0.6, 0.95)
        )
    if tcp_set is not None:
        if target is None or target not in dvhs:
            raise EvaluationError("Control probability needs the target; name a structure with dose.")
        entry = load_parameters().tcp_set(tcp_set)
        probabilities.append(evaluate_tcp(dvhs[target], course, entry))
    return DoseEvaluation(
        dose,
        tuple(structures),
        prescription_Gy,
        fractions,
        target,
        dvhs,
        tuple(judged),
        tuple(OpenGoal(open_, one.template.title) for one in applied for open_ in one.unmatched),
        tuple(probabilities),
        tuple(templates),
        tuple(said),
    )


def _check(
    prescription_Gy: float | None,
    fractions: int | None,
    target: str | None,
    structures: Sequence[Structure],
    with_biology: bool,
) -> None:
    if prescription_Gy is not None and not (np.isfinite(prescription_Gy) and prescription_Gy > 0.0):
        raise EvaluationError(f"The prescribed dose must be positive; got {prescription_Gy} Gy.")
    if fractions is not None and (int(fractions) != fractions or fractions < 1):
        raise EvaluationError(f"The number of fractions must be a whole number from 1 on; got {fractions}.")
    if with_biology and (prescription_Gy is None or fractions is None):
        raise EvaluationError("Radiobiology needs the prescribed dose and the number of fractions; give both.")
    if target is not None and target not in [structure.name for structure in structures]:
        known = ", ".join(structure.name for structure in structures) or "none"
        raise EvaluationError(f"There is no structure {target!r} to be the target; there are: {known}.")


def _applied(
    template: GoalTemplate,
    structures: Sequence[Structure],
    target: str | None,
    names: Mapping[str, str] | None,
    templates: Sequence[GoalTemplate],
) -> AppliedTemplate:
    """Lay one of several templates on the structures, with the names that it asks for."""
    names = names or {}
    asked = {goal.goal.structure for goal in template.goals}
    everywhere = {goal.goal.structure for one in templates for goal in one.goals}
    unknown = sorted(set(names) - everywhere)
    if unknown:
        raise EvaluationError(
            f"No template asks for {', '.join(unknown)}; they ask for: {', '.join(sorted(everywhere))}."
        )
    return apply_goal_template(
        template, structures, target=target, names={key: value for key, value in names.items() if key in asked}
    )


def _dose_of(name: str, dose: DoseDistribution, judged_by: Mapping[str, DoseDistribution]) -> DoseDistribution:
    if name in judged_by or not judged_by:
        return judged_by.get(name, dose)
    # a union that a template made
    parts = [judged_by.get(one, dose) for one in name.split(" + ")]
    if any(one is not parts[0] for one in parts):
        raise EvaluationError(
            f"{name} are judged by different doses, so together by none; give them one alpha/beta, or leave the goal "
            "out."
        )
    return parts[0]


def _dvhs(structures: Sequence[Structure], doses: Mapping[str, DoseDistribution], progress: Progress) -> dict[str, Dvh]:
    """DVHs in the order of the structures, each in its dose."""
    found: dict[str, Dvh] = {}
    for dose in {id(one): one for one in doses.values()}.values():
        chosen = [structure for structure in structures if doses[structure.name] is dose]
        share = part(progress, len(found) / len(structures), (len(found) + len(chosen)) / len(structures))
        found |= calculate_dvhs(dose.dose_Gy, dose.grid, chosen, allow_partial=True, progress=share)
    return {structure.name: found[structure.name] for structure in structures}


def _inside(structures: Sequence[Structure], dose: DoseDistribution) -> tuple[list[Structure], list[str]]:
    inside, notes = [], []
    for structure in structures:
        if structure.is_empty:
            notes.append(f"{structure.name} is empty and was left out.")
        elif not _touches(structure, dose):
            notes.append(f"{structure.name} lies outside the dose grid and was left out.")
        else:
            inside.append(structure)
    return inside, notes


def _touches(structure: Structure, dose: DoseDistribution) -> bool:
    voxels = np.flatnonzero(structure.mask)
    # mostly the first few tell
    for start in range(0, len(voxels), _VOXELS_AT_A_TIME):
        k, j, i = np.unravel_index(voxels[start : start + _VOXELS_AT_A_TIME], structure.mask.shape)
        if dose.grid.contains(structure.grid.index_to_ras(np.stack((i, j, k), axis=-1))).any():
            return True
    return False


def _body(dose: DoseDistribution, structures: Sequence[Structure]) -> IsodoseVolumes:
    external = [s for s in structures if s.role == "EXTERNAL" and not s.is_empty and _touches(s, dose)]
    return IsodoseVolumes(dose.dose_Gy, dose.grid, external[0] if len(external) == 1 else None)
