"""Doses on the same structures: DVHs and goals side by side, gamma and difference of each to the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.dose_difference import DoseDifference, dose_difference
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.dose_evaluation import DoseEvaluation, evaluate_distribution
from RTPlanningLib.evaluation.gamma import GammaCriterion, GammaResult, gamma_index
from RTPlanningLib.evaluation.goal_comparison import GoalComparison, compare_goals
from RTPlanningLib.evaluation.goal_templates import GoalTemplate
from RTPlanningLib.evaluation.goals import GoalResult

# A figure tells as many line styles apart.
MAXIMUM_DOSES = 5


@dataclass(frozen=True)
class ComparedDose:
    """A dose to compare, and what was prescribed.

    Attributes
    ----------
    dose : DoseDistribution
    prescription_Gy : float or None
    fractions : int or None
    target : str or None
    """

    dose: DoseDistribution
    prescription_Gy: float | None = None
    fractions: int | None = None
    target: str | None = None


@dataclass(frozen=True, eq=False)
class RegionComparison:
    """Two doses within a structure, or everywhere.

    Attributes
    ----------
    structure : str or None
        None: all voxels above the threshold.
    gamma : GammaResult or None
    difference : DoseDifference or None
        In Gy; in a structure of all its voxels, whatever their dose.
    note : str
        Why one of them is not there.
    """

    structure: str | None
    gamma: GammaResult | None
    difference: DoseDifference | None
    note: str = ""


@dataclass(frozen=True, eq=False)
class PairComparison:
    """A dose against the first; the first of ``regions`` is everywhere."""

    reference: str
    evaluated: str
    regions: tuple[RegionComparison, ...]

    @property
    def everywhere(self) -> RegionComparison:
        """All voxels above the threshold."""
        return self.regions[0]


@dataclass(frozen=True, eq=False)
class DoseComparison:
    """Doses side by side.

    Attributes
    ----------
    evaluations : dict of dose name to DoseEvaluation
    goals : GoalComparison or None
    pairs : tuple of PairComparison
        Every dose but the first against the first.
    criterion : GammaCriterion
    notes : tuple of str
    """

    evaluations: dict[str, DoseEvaluation]
    goals: GoalComparison | None
    pairs: tuple[PairComparison, ...]
    criterion: GammaCriterion
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything but curves and maps as JSON values."""
        return {
            "schema": 1,
            "doses": [
                {
                    **one.dose.summary(),
                    "prescription_Gy": one.prescription_Gy,
                    "prescribed_fractions": one.fractions,
                    "target": one.target,
                }
                for one in self.evaluations.values()
            ],
            "goals": None if self.goals is None else self.goals.to_dict(),
            "pairs": [
                {
                    "reference": pair.reference,
                    "evaluated": pair.evaluated,
                    "regions": [
                        {
                            "structure": region.structure,
                            "gamma": None if region.gamma is None else region.gamma.statistics(),
                            "difference": None if region.difference is None else region.difference.statistics(),
                            "note": region.note,
                        }
                        for region in pair.regions
                    ],
                }
                for pair in self.pairs
            ],
            "notes": list(self.notes),
        }


def compare_distributions(
    doses: Sequence[ComparedDose],
    structures: Sequence[Structure],
    *,
    templates: Sequence[GoalTemplate] = (),
    goals: Sequence[Goal | str] = (),
    names: Mapping[str, str] | None = None,
    criterion: GammaCriterion | None = None,
    within: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> DoseComparison:
    """Compare doses with the first of them.

    Parameters
    ----------
    doses : sequence of ComparedDose
        Two to five, of different names. Each is judged by its own prescription.
    structures : sequence of Structure
    templates, goals, names
        As in `evaluate_distribution`.
    criterion : GammaCriterion, optional
        By default 3 %/2 mm global, threshold 10 %. Voxels below the threshold are left out of the difference
        everywhere, too.
    within : sequence of str, optional
        Structures to compare in by themselves; by default all.
    notes : sequence of str
    progress : callable, optional

    Raises
    ------
    EvaluationError
        Too few or too many doses, two of one name, an unknown structure, doses that do not overlap.
    """
    _check(doses, structures, within)
    criterion = criterion or GammaCriterion()
    said = list(notes)
    evaluations: dict[str, DoseEvaluation] = {}
    for number, one in enumerate(doses):
        share = part(progress, 0.4 * number / len(doses), 0.4 * (number + 1) / len(doses))
        evaluation = evaluate_distribution(
            one.dose,
            structures,
            templates=templates,
            goals=goals,
            prescription_Gy=one.prescription_Gy,
            fractions=one.fractions,
            target=one.target,
            names=names,
            progress=share,
        )
        evaluations[one.dose.name] = evaluation
        said += [f"{one.dose.name}: {note}" for note in evaluation.notes]
    prescribed = {one.prescription_Gy for one in doses}
    if len(prescribed) > 1:
        listed = ", ".join(
            f"{one.dose.name} {'none' if one.prescription_Gy is None else f'{one.prescription_Gy:g} Gy'}"
            for one in doses
        )
        said.append(
            f"The prescriptions differ ({listed}): goals in % are of each dose's own; gamma and differences are of "
            "absolute doses."
        )
    judged = {name: _each_once([goal.result for goal in one.goals]) for name, one in evaluations.items()}
    chosen = [s for s in structures if (within is None or s.name in within) and not s.is_empty]
    pairs = []
    for number, one in enumerate(doses[1:]):
        share = part(progress, 0.4 + 0.6 * number / (len(doses) - 1), 0.4 + 0.6 * (number + 1) / (len(doses) - 1))
        pairs.append(_compare_pair(doses[0].dose, one.dose, chosen, criterion, share))
    return DoseComparison(
        evaluations,
        compare_goals(judged) if any(judged.values()) else None,
        tuple(pairs),
        criterion,
        tuple(said),
    )


def _check(doses: Sequence[ComparedDose], structures: Sequence[Structure], within: Sequence[str] | None) -> None:
    if not 2 <= len(doses) <= MAXIMUM_DOSES:
        raise EvaluationError(f"Two to {MAXIMUM_DOSES} doses can be compared, not {len(doses)}.")
    names = [one.dose.name for one in doses]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise EvaluationError(f"Several doses are called {', '.join(doubled)}; give each a label of its own.")
    known = [structure.name for structure in structures]
    unknown = [name for name in within or () if name not in known]
    if unknown:
        raise EvaluationError(
            f"There is no structure {', '.join(unknown)} to compare in; there are: {', '.join(known)}."
        )


def _each_once(results: Sequence[GoalResult]) -> list[GoalResult]:
    """Goals that several templates share are judged once."""
    return list({str(result.goal): result for result in reversed(results)}.values())[::-1]


def _compare_pair(
    reference: DoseDistribution,
    evaluated: DoseDistribution,
    structures: Sequence[Structure],
    criterion: GammaCriterion,
    progress: Progress,
) -> PairComparison:
    gamma = gamma_index(reference, evaluated, criterion, progress=part(progress, 0.0, 0.5))
    threshold_Gy = criterion.threshold_percent / 100.0 * gamma.normalization_Gy
    regions = [RegionComparison(None, gamma, dose_difference(reference, evaluated, threshold_Gy=threshold_Gy))]
    for number, structure in enumerate(structures):
        share = part(progress, 0.5 + 0.5 * number / len(structures), 0.5 + 0.5 * (number + 1) / len(structures))
        notes, in_it, difference = [], None, None
        try:
            in_it = gamma_index(reference, evaluated, criterion, structure=structure, progress=share)
        except EvaluationError as error:
            notes.append(f"No gamma: {error}")
        try:
            difference = dose_difference(reference, evaluated, structure=structure)
        except EvaluationError as error:
            notes.append(f"No difference: {error}")
        regions.append(RegionComparison(structure.name, in_it, difference, " ".join(notes)))
    return PairComparison(reference.name, evaluated.name, tuple(regions))
