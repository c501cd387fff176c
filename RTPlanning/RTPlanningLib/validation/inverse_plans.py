"""The inverse plans of AAPM TG-119, made here from the shipped plan files and held to what institutions reached.

Every goal that the institutions' plans met on average is a bar for the deliverable plan: leaves, MU and the dose of the
plan's own engine, never the ideal fluence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from DoseEngineLib.clinical_goals import parse_goal
from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import CaseError
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from OptimizerLib.fluence_planning import FluencePlan, plan_fluence
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.dvh import Dvh, calculate_dvhs
from RTPlanningLib.evaluation.goals import GoalResult, evaluate_goals
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.plan_file import read_plan_file
from RTPlanningLib.report.inverse_validation_report import inverse_validation_csv, render_inverse_validation_report
from RTPlanningLib.samples import load_sample
from RTPlanningLib.samples.plan_files import find_plan_file

PAGE, TABLE = "validation-imrt.html", "validation-imrt.csv"
_RESULTS = "tg119_results.json"


@dataclass(frozen=True)
class PublishedGoal:
    """A goal, and what the institutions' plans reached.

    Attributes
    ----------
    goal : str
    mean, sd : float
        In the goal's unit.
    """

    goal: str
    mean: float
    sd: float

    @property
    def met_on_average(self) -> bool:
        """Whether the mean plan met the goal: then it is a bar here."""
        goal = parse_goal(self.goal)
        return self.mean >= goal.limit if goal.wants_more else self.mean <= goal.limit


@dataclass(frozen=True)
class PublishedCase:
    """A case of the report."""

    sample: str
    title: str
    goals: tuple[PublishedGoal, ...]


@dataclass(frozen=True, eq=False)
class InversePlan:
    """A case planned here.

    Attributes
    ----------
    case : PublishedCase
    found : FluencePlan
    plan : Plan
        As delivered, with MU.
    dvhs : dict of str to Dvh
    results : tuple of GoalResult
        In the order of ``case.goals``.
    colors : dict of str to RGB
    seconds : float
        Influence, optimization, leaves, corrections and final dose.
    """

    case: PublishedCase
    found: FluencePlan
    plan: Plan
    dvhs: dict[str, Dvh]
    results: tuple[GoalResult, ...]
    colors: dict[str, tuple[float, float, float]]
    seconds: float

    @property
    def missed(self) -> tuple[str, ...]:
        """Goals that institutions met on average and this plan does not."""
        return tuple(
            goal.goal
            for goal, result in zip(self.case.goals, self.results, strict=True)
            if goal.met_on_average and result.passed is not True
        )


@dataclass(frozen=True, eq=False)
class InverseValidation:
    """The cases and the files written."""

    folder: Path
    files: tuple[Path, ...]
    plans: tuple[InversePlan, ...]

    def headlines(self) -> list[str]:
        """A line a case: bars reached or missed, MU, segments, seconds."""
        lines = []
        for made in self.plans:
            bars = sum(goal.met_on_average for goal in made.case.goals)
            verdict = f"missed: {'; '.join(made.missed)}" if made.missed else f"all {bars} bars reached"
            meterset = sum(beam.meterset_MU for beam in made.plan.beams)
            lines.append(f"  {made.case.title}: {verdict}; {meterset:.0f} MU, {made.seconds:.0f} s")
        return lines


def published_cases() -> tuple[PublishedCase, ...]:
    """Cases of the report, with the goals and results that the package carries."""
    return tuple(
        PublishedCase(entry["sample"], entry["title"], tuple(PublishedGoal(**goal) for goal in entry["goals"]))
        for entry in _results()["cases"]
    )


def published_source() -> str:
    """Where goals and results come from."""
    return _results()["source"]


def _results() -> dict:
    text = resources.files("RTPlanningLib.validation").joinpath(_RESULTS).read_text(encoding="utf-8")
    return json.loads(text)


def make_inverse_plan(case: PublishedCase, progress: Progress | None = None) -> InversePlan:
    """Plan a case from its shipped plan file, and judge the deliverable plan's dose.

    Raises
    ------
    CaseError
        The sample has no structure, or only an empty one, that a goal names; nothing is planned.
    PlanningError
        What planning raises.
    """
    begun = time.perf_counter()
    request = read_plan_file(find_plan_file(f"{case.sample}-imrt"))
    sample = request.apply_to(load_sample(case.sample))
    _check_structures(case, sample)
    patient = Patient.from_hu(
        sample.hu, sample.grid, structures=sample.structures, density_overrides_g_cm3=sample.density_overrides_g_cm3
    )
    found = plan_fluence(
        patient,
        request.build(sample),
        request.optimization.goals,
        request.optimization.settings,
        targets=request.optimization.targets,
        progress=part(progress, 0.0, 0.9),
    )
    plan = found.normalized_plan()
    result = create_engine(plan.engine, **plan.engine_options).calculate_dose(
        patient, plan, progress=part(progress, 0.9, 0.98)
    )
    structures = [s for s in sample.structures if s.role != "EXTERNAL" and not s.is_empty]
    dvhs = calculate_dvhs(result.dose_Gy, result.grid, structures)
    results = evaluate_goals([goal.goal for goal in case.goals], dvhs, plan.prescription.dose_Gy)
    colors = {s.name: s.color for s in structures}
    seconds = time.perf_counter() - begun
    return InversePlan(case, found, result.plan, dvhs, tuple(results), colors, seconds)


def _check_structures(case: PublishedCase, sample: Case) -> None:
    """A goal without its structure would be reported as not evaluated, at the end of an hour."""
    contoured = [s.name for s in sample.structures if not s.is_empty]
    for goal in case.goals:
        name = parse_goal(goal.goal).structure
        if name not in contoured:
            raise CaseError(
                f"Goal {goal.goal!r} of {case.title}: sample {case.sample} has no structure {name}, it has "
                f"{', '.join(contoured)}; name it alike in {_RESULTS} and in the sample."
            )


def validate_inverse_plans_to_folder(
    out: str | Path, *, cases: Sequence[str] = (), force: bool = False, progress: Progress | None = None
) -> InverseValidation:
    """Make the TG-119 plans; write page and table.

    A bar that is missed is a result, no error.

    Parameters
    ----------
    out : path
        Folder for ``validation-imrt.html`` and ``validation-imrt.csv``; both are written or none.
    cases : sequence of str
        Names of samples; all four by default.
    force : bool
        Replace files in the folder that are not an earlier run's own.

    Raises
    ------
    CaseError
        A case that is none of the report's.
    PlanningError
        What planning and output raise.
    """
    published = published_cases()
    names = [case.sample for case in published]
    unknown = [name for name in cases if name not in names]
    if unknown:
        raise CaseError(f"TG-119 has no case {unknown[0]!r}; choose of: {', '.join(names)}.")
    chosen = [case for case in published if not cases or case.sample in cases]
    plans = []
    with OutputFolder(out, force=force) as output:
        output.check((PAGE, TABLE))
        for number, case in enumerate(chosen):
            within = part(progress, 0.95 * number / len(chosen), 0.95 * (number + 1) / len(chosen))
            plans.append(make_inverse_plan(case, lambda f, text, to=within, t=case.title: to(f, f"{t}: {text}")))
        page = render_inverse_validation_report(plans, published_source())
        (output.staging / PAGE).write_text(page, encoding="utf-8", newline="\n")
        (output.staging / TABLE).write_text(inverse_validation_csv(plans), encoding="utf-8", newline="\n")
        files = output.commit()
    part(progress, 0.95, 1.0)(1.0, "Done")
    return InverseValidation(output.folder, tuple(files), tuple(plans))
