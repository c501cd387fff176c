"""Doses in; their sum, difference or EQD2 out: as a dose volume, and judged on structures where there are some."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.errors import CaseError, EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.displacement_field import DisplacementField
from RTPlanningLib.evaluation.dose_accumulation import FractionDose, accumulate_dose
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.dose_evaluation import DoseEvaluation, evaluate_distribution
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, load_goal_template
from RTPlanningLib.evaluation.plan_sum import FIRST, UNION, CombinedDose, PlanDose, subtract_plans, sum_plans
from RTPlanningLib.evaluation_inputs import DoseInput, StructureInput, read_dose_inputs, read_structures, with_fractions
from RTPlanningLib.evaluation_workflow import DATA, DVH, DVH_STEP_GY, GOALS, REPORT, write_evaluation
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.radiobiology.biological_dose import OVERLAP_RULES, alpha_beta_map, eqd2_map_Gy
from RTPlanningLib.radiobiology.fractionation import Fractionation

SUM, EQD2, DIFFERENCE, RECORD = "sum.nrrd", "eqd2.nrrd", "difference.nrrd", "sum.json"
OUTPUTS = (SUM, EQD2, DIFFERENCE, RECORD, REPORT, DATA, GOALS, DVH)
_NOTHING_LEFT_OUT = -1e30


@dataclass(frozen=True)
class Eqd2Options:
    """How doses become EQD2 before they are added.

    Attributes
    ----------
    elsewhere_Gy : float
        Alpha/beta outside the structures that have one.
    alpha_beta_Gy : mapping of structure name to alpha/beta in Gy
    overlap : {"first", "smallest", "largest"}
        What counts where these overlap; see `alpha_beta_map`.
    """

    elsewhere_Gy: float
    alpha_beta_Gy: Mapping[str, float]
    overlap: str = "first"

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAP_RULES:
            raise EvaluationError(f"Overlap rule {self.overlap!r} is unknown; use one of {', '.join(OVERLAP_RULES)}.")


@dataclass(frozen=True, eq=False)
class SumOutput:
    """What a sum made.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    dose : CombinedDose
    evaluation : DoseEvaluation or None
        None without structures, and for a difference, which is no dose.
    seconds : float
        Wall time.
    """

    folder: Path
    files: tuple[Path, ...]
    dose: CombinedDose
    evaluation: DoseEvaluation | None
    seconds: float

    def headlines(self) -> list[str]:
        """The main numbers in words."""
        values, quantity = self.dose.dose_Gy, self.dose.provenance["quantity"]
        parts = ", ".join(f"{one['name']} x {one['factor']:.4g}" for one in self.dose.provenance["parts"])
        return [f"{self.dose.name} ({quantity}): {parts}; {values.min():.2f} to {values.max():.2f} Gy"]


def sum_doses(
    doses: Sequence[str | Path],
    out: str | Path,
    *,
    weights: Sequence[float] | None = None,
    courses: Sequence[int] | None = None,
    delivered: Sequence[int] | None = None,
    subtract: bool = False,
    eqd2: Eqd2Options | None = None,
    transforms: Sequence[str | Path | None] | None = None,
    grid: str = UNION,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    allow_mixed_media: bool = False,
    structures: str | Path | Sequence[str | Path] | None = None,
    case: str | None = None,
    templates: Sequence[str | Path | GoalTemplate] = (),
    goals: Sequence[Goal | str] = (),
    prescription_Gy: float | None = None,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    dose_unit: str = "Gy",
    contours_only: bool = False,
    end_caps: str = "half",
    skip: Sequence[str] = (),
    dvh_step_Gy: float = DVH_STEP_GY,
    force: bool = False,
    progress: Progress | None = None,
) -> SumOutput:
    """Add or subtract doses, as they are or in EQD2, and write everything into a folder: all of it, or nothing.

    Parameters
    ----------
    doses : sequence of path
        Files, or folders with one dose, as of earlier runs. One alone may be weighted, or turned into EQD2.
    out : path
    weights : sequence of float, optional
        One a dose; by default 1.
    courses : sequence of int, optional
        Fractions that each dose stands for; by default those its run knows. Needed for ``delivered`` and ``eqd2``.
    delivered : sequence of int, optional
        Fractions that were delivered of each course; by default all of them.
    subtract : bool
        The first dose minus the second.
    eqd2 : Eqd2Options, optional
        Turn every dose into EQD2, by its own fractions, before it is added.
    transforms : sequence of path or None, optional
        For each dose the file of the transform that brings it onto the anatomy of the first, which has none: the dose
        is accumulated on the first's grid (direct dose mapping, see `accumulate_dose`).
    grid : {"union", "first"}
        See `sum_plans`; differences are on the first's grid.
    labels, name : optional
        What to call the doses and the result.
    allow_mixed_media : bool
        Add dose to water to dose to medium.
    structures, case, contours_only, end_caps, skip
        As in `read_structures`. The sum is judged on them where they are given, or needed for ``eqd2``.
    templates, goals, prescription_Gy, target, names
        As in `evaluate_distribution`.
    dose_unit, dvh_step_Gy, force, progress
        As in `evaluate_dose`.

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    start = time.perf_counter()
    _check(doses, weights, courses, delivered, transforms, subtract)
    if eqd2 is not None and weights is not None:
        raise CaseError(
            "A weight on EQD2 could be one of dose or of effect; for a part of a course give the fractions delivered."
        )
    if transforms is not None and eqd2 is not None and eqd2.alpha_beta_Gy:
        raise CaseError(
            "Structures of the first anatomy tell no alpha/beta in another; with transforms give one alpha/beta for "
            "all."
        )
    chosen = [one if isinstance(one, GoalTemplate) else load_goal_template(one) for one in templates]
    with OutputFolder(out, force=force) as output:
        output.check(OUTPUTS)
        part(progress, 0.0, 0.2)(0.0, "Reading the doses")
        given = _with_fractions(read_dose_inputs(doses, labels, dose_unit, one_frame=transforms is None), courses)
        found = None
        if structures is not None or case is not None:
            found = read_structures(
                structures,
                case=case,
                frame_of_reference_uid=given[0].frame_of_reference_uid,
                contours_only=contours_only,
                end_caps=end_caps,
                skip=skip,
                progress=part(progress, 0.1, 0.2),
            )
        _check_use(found, eqd2, chosen, goals, subtract)
        organs = found.structures if found else ()
        mappings = None if transforms is None else _mappings(transforms, given[0].dose.grid)

        def combined(
            biology: Eqd2Options | None, structures: Sequence[Structure], progress: Progress | None = None
        ) -> CombinedDose:
            return _combined(
                given,
                structures,
                weights or [1.0] * len(given),
                delivered or [None] * len(given),
                subtract,
                biology,
                mappings,
                grid,
                name,
                allow_mixed_media,
                part(progress, 0.0, 1.0),
            )

        total = combined(eqd2, organs, part(progress, 0.2, 0.5))
        _write_dose(output.staging, total, eqd2 is not None, subtract)
        evaluation = None
        if found is not None and not subtract:
            evaluation = evaluate_distribution(
                total.distribution(),
                found.structures,
                templates=chosen,
                goals=goals,
                prescription_Gy=prescription_Gy,
                target=target,
                names=names,
                judged_by=_judged_by(organs, eqd2, combined),
                notes=[*dict.fromkeys(note for one in given for note in one.notes), *found.notes, *total.notes],
                progress=part(progress, 0.6, 0.9),
            )
            write_evaluation(output.staging, evaluation, found.case, dvh_step_Gy)
        files = output.commit()
    return SumOutput(output.folder, tuple(files), total, evaluation, time.perf_counter() - start)


def _check(
    doses: Sequence[str | Path],
    weights: Sequence[float] | None,
    courses: Sequence[int] | None,
    delivered: Sequence[int] | None,
    transforms: Sequence[str | Path | None] | None,
    subtract: bool,
) -> None:
    counted = {
        "weights": weights,
        "numbers of fractions": courses,
        "delivered fractions": delivered,
        "transforms": transforms,
    }
    for what, values in counted.items():
        if values is not None and len(values) != len(doses):
            raise CaseError(f"There are {len(doses)} doses and {len(values)} {what}; give one a dose.")
    if subtract and len(doses) != 2:
        raise CaseError(f"A difference is of two doses, the first minus the second; {len(doses)} were given.")
    if transforms is not None and (subtract or transforms[0] is not None):
        raise CaseError("The first dose lies in the common anatomy and has no transform; doses through them only add.")
    if weights is not None and not subtract and min(weights) < 0.0:
        raise CaseError("A weight below 0 makes a difference, which is no dose; ask for a difference of two doses.")


def _with_fractions(given: Sequence[DoseInput], courses: Sequence[int] | None) -> list[DoseInput]:
    if courses is None:
        return list(given)
    for one, count in zip(given, courses, strict=True):
        if one.fractions is not None and one.fractions != count:
            raise CaseError(
                f"{one.dose.name} is of {one.fractions} fractions by its plan, not of {count}; correct the number, or "
                "leave the numbers out."
            )
    return [
        replace(one, fractions=count, dose=with_fractions(one.dose, count))
        for one, count in zip(given, courses, strict=True)
    ]


def _check_use(
    found: StructureInput | None,
    eqd2: Eqd2Options | None,
    templates: Sequence[GoalTemplate],
    goals: Sequence[Goal | str],
    subtract: bool,
) -> None:
    if found is None and (templates or goals or (eqd2 is not None and eqd2.alpha_beta_Gy)):
        raise CaseError("Goals, and an alpha/beta of structures, need the structures; say where they are.")
    if subtract and (templates or goals):
        raise CaseError("A difference is no dose to judge by goals; leave the goals out, or compare the doses.")


def _combined(
    given: Sequence[DoseInput],
    structures: Sequence[Structure],
    weights: Sequence[float],
    delivered: Sequence[int | None],
    subtract: bool,
    eqd2: Eqd2Options | None,
    mappings: Sequence[np.ndarray | DisplacementField | None] | None,
    grid: str,
    name: str | None,
    mixed: bool,
    progress: Progress,
) -> CombinedDose:
    unknown = [one.dose.name for one in given if one.fractions is None]
    if unknown and (eqd2 is not None or any(count is not None for count in delivered)):
        raise CaseError(
            f"The number of fractions of {', '.join(unknown)} is not known; give it (--courses), one number a dose."
        )
    if eqd2 is None:
        parts = [PlanDose(one.dose, count, w) for one, count, w in zip(given, delivered, weights, strict=True)]
    else:
        parts = [
            PlanDose(_eqd2(one, count, structures, eqd2), None, w)
            for one, count, w in zip(given, delivered, weights, strict=True)
        ]
    if subtract:
        total = subtract_plans(*parts, FIRST, name=name, allow_mixed_media=mixed, progress=progress)
    else:
        label = name or ("EQD2" if eqd2 is not None else "Sum") + (" of " + " + ".join(p.dose.name for p in parts))
        if mappings is None:
            total = sum_plans(parts, grid, name=label, allow_mixed_media=mixed, progress=progress)
        else:
            moved = [FractionDose(p.dose, m, p.fractions, p.weight) for p, m in zip(parts, mappings, strict=True)]
            total = accumulate_dose(moved, parts[0].dose.grid, name=label, allow_mixed_media=mixed, progress=progress)
    provenance = {**total.provenance, "quantity": "EQD2" if eqd2 is not None else "physical dose"}
    notes = total.notes
    if eqd2 is not None:
        provenance["alpha_beta_Gy"] = {**eqd2.alpha_beta_Gy, "elsewhere": eqd2.elsewhere_Gy}
        provenance["overlap"] = eqd2.overlap
        # doses of another size a fraction are what EQD2 is for
        notes = tuple(note for note in notes if "not of their effect" not in note)
        of_structures = "".join(f"{name} {value:g}, " for name, value in eqd2.alpha_beta_Gy.items())
        text = f"Doses are EQD2, with an alpha/beta of {of_structures}elsewhere {eqd2.elsewhere_Gy:g} Gy."
        if structures:
            text += " DVHs and goals of a structure are of its own alpha/beta throughout."
        notes = (text, *notes)
    elif unknown:
        # doses a fraction are not known either
        notes = tuple(note for note in notes if "not of their effect" not in note)
        notes = (
            *notes,
            f"The number of fractions of {', '.join(unknown)} is not known: what was added is physical dose, whatever "
            "its effect.",
        )
    return replace(total, provenance=provenance, notes=notes)


def _mappings(transforms: Sequence[str | Path | None], grid: Grid) -> list[np.ndarray | DisplacementField | None]:
    with HeadlessSlicer():
        from RTPlanningLib.mrml.read_transform import readMapping

        return [None if path is None else readMapping(path, grid) for path in transforms]


def _judged_by(
    structures: Sequence[Structure],
    eqd2: Eqd2Options | None,
    combined: Callable[[Eqd2Options, Sequence[Structure]], CombinedDose],
) -> dict[str, DoseDistribution]:
    """EQD2 with the alpha/beta of each structure everywhere: a map mixes those that meet at a structure's rim."""
    if eqd2 is None:
        return {}
    own = {one.name: eqd2.alpha_beta_Gy.get(one.name, eqd2.elsewhere_Gy) for one in structures}
    doses = {value: combined(Eqd2Options(value, {}), ()).distribution() for value in set(own.values())}
    return {name: doses[value] for name, value in own.items()}


def _eqd2(one: DoseInput, delivered: int | None, structures: Sequence[Structure], options: Eqd2Options):
    """EQD2 of the fractions that were delivered, voxel by voxel."""
    dose = one.dose
    count = dose.fractions if delivered is None else delivered
    if count < 1 or int(count) != count:
        raise EvaluationError(f"{dose.name}: {count} delivered fractions; give a whole number from 1.")
    by_name = {structure.name: structure for structure in structures}
    missing = sorted(set(options.alpha_beta_Gy) - set(by_name))
    if missing:
        known = ", ".join(structure.name for structure in structures)
        raise EvaluationError(
            f"There is no structure {', '.join(missing)} to give an alpha/beta to; there are: {known}."
        )
    values = alpha_beta_map(
        dose.grid,
        # in the order they were named: where they overlap, the first counts
        [by_name[name] for name in options.alpha_beta_Gy],
        options.alpha_beta_Gy,
        elsewhere_Gy=options.elsewhere_Gy,
        overlap=options.overlap,
    )
    eqd2 = eqd2_map_Gy(dose.dose_Gy * (count / dose.fractions), values, Fractionation(count))
    provenance = {**dose.provenance, "quantity": "EQD2", "course_fractions": dose.fractions}
    return DoseDistribution(dose.name, eqd2, dose.grid, count, dose.dose_to, None, provenance)


def _write_dose(folder: Path, total: CombinedDose, is_eqd2: bool, subtract: bool) -> None:
    with HeadlessSlicer():
        from RTPlanningLib.mrml.write_values import writeDose, writeMap

        if subtract:
            writeMap(folder / DIFFERENCE, total.dose_Gy, total.grid, "Gy", _NOTHING_LEFT_OUT)
        else:
            path = folder / (EQD2 if is_eqd2 else SUM)
            writeDose(path, total.dose_Gy, total.grid, total.dose_to, total.provenance)
    parts = total.provenance["parts"]
    record = {
        "name": total.name,
        "fractions": total.fractions
        if all(one.get("provenance", {}).get("fractions_known") for one in parts)
        else None,
        "minimum_Gy": float(total.dose_Gy.min()),
        "maximum_Gy": float(total.dose_Gy.max()),
        **total.provenance,
        "notes": list(total.notes),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8", newline="\n")
