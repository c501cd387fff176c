"""Pareto plans of a case into a folder, and from there to the fluence that the navigation chose."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import PlanFileError
from DoseEngineLib.progress import Progress, part
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria import Navigator, Position
from OptimizerLib.pareto_planning import goal_groups, plan_pareto
from OptimizerLib.pareto_plans import ParetoPlans, mixture_text
from RTPlanningLib.case import Case
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.optimization_workflow import FLUENCE, earlier_file
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.plan_file import PlanRequest, read_plan_file
from RTPlanningLib.report.pareto_report import pareto_csv, render_pareto_report
from RTPlanningLib.workflow import PLAN_FILE

REPORT, FRONT, TABLE = "pareto.html", "front.npz", "plans.csv"
PARETO_OUTPUTS = (REPORT, FRONT, TABLE, PLAN_FILE)
NAVIGATION_OUTPUTS = (REPORT, FLUENCE, PLAN_FILE)


@dataclass(frozen=True, eq=False)
class ParetoResult:
    """Pareto plans and the files written.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    plans : ParetoPlans
    notes : tuple of str
    seconds : float
        Wall time.
    """

    folder: Path
    files: tuple[Path, ...]
    plans: ParetoPlans
    notes: tuple[str, ...]
    seconds: float

    def headlines(self) -> list[str]:
        """How near the plans are to all there could be, and what each goal ranges over."""
        front = self.plans.front
        lines = [f"{front.plans} plans, {front.weights.shape[1]} bixels. {front.message}"]
        for number, name in enumerate(front.goals):
            low, high = front.values[:, number].min(), front.values[:, number].max()
            lines.append(f"  {name}: {low:.4g} to {high:.4g}, {self.plans.balanced[number]:.4g} by the rows' weights")
        return lines


@dataclass(frozen=True, eq=False)
class NavigationResult:
    """Where the navigation went and the files written.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    plans : ParetoPlans
    position : Position
    """

    folder: Path
    files: tuple[Path, ...]
    plans: ParetoPlans
    position: Position

    def headlines(self) -> list[str]:
        """Which plans were mixed, and what each goal is at most."""
        lines = [mixture_text(self.position)]
        for name, value in zip(self.plans.front.goals, self.position.values, strict=True):
            lines.append(f"  {name}: {value:.4g} at most")
        return lines


def pareto_case(
    case: Case,
    request: PlanRequest,
    out: str | Path,
    trade_off: Sequence[Sequence[str]] = (),
    *,
    limits: Mapping[str, float] | None = None,
    room: float = 4.0,
    gap: float = 0.05,
    max_plans: int = 12,
    start: ParetoPlans | None = None,
    plan_file: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ParetoResult:
    """Compute Pareto plans of a case and write page, table, front and plan file: all of it, or on failure nothing.

    Parameters
    ----------
    case : Case
    request : PlanRequest
        With an optimization.
    trade_off, limits, room, gap, max_plans
        As `OptimizerLib.pareto_planning.plan_pareto`.
    start : ParetoPlans, optional
        To add plans to.
    out, plan_file, force, progress
        As `RTPlanningLib.workflow.plan_case`.

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    begin = time.perf_counter()
    optimization = request.optimization
    if optimization is None:
        raise PlanFileError(f"{request.source} has no table [optimization]; add one with the objectives to trade.")
    if start is None:
        # before the long work
        goal_groups(optimization.goals, trade_off)
    with OutputFolder(out, force=force, keep=[plan_file] if plan_file else ()) as output:
        output.check(PARETO_OUTPUTS)
        case = request.apply_to(case)
        plan = request.build(case)
        with HeadlessSlicer() as runtime:
            from DoseEngineLib.mrml.patient_nodes import patientFromNodes
            from RTPlanningLib.logic import RTPlanningLogic

            part(progress, 0.0, 0.05)(0.0, "Loading the case")
            patient = patientFromNodes(*RTPlanningLogic(runtime.scene).loadCase(case))
        plans = plan_pareto(
            patient,
            plan,
            optimization.goals,
            trade_off,
            optimization.settings,
            limits=limits,
            room=room,
            gap=gap,
            max_plans=max_plans,
            targets=optimization.targets,
            previous=start,
            progress=part(progress, 0.05, 0.97),
        )
        text = Path(plan_file).read_bytes() if plan_file else request.to_toml().encode()
        (output.staging / PLAN_FILE).write_bytes(text)
        plans.save(output.staging / FRONT)
        _write(output.staging / TABLE, pareto_csv(plans))
        _write(output.staging / REPORT, render_pareto_report(plans, f"Pareto plans: {plan.name}", None, case.notes))
        files = output.commit()
    notes = (*case.notes, *plans.notes)
    return ParetoResult(output.folder, tuple(files), plans, notes, time.perf_counter() - begin)


def navigate_front(
    folder: str | Path,
    out: str | Path,
    *,
    importance: Mapping[str, float] | None = None,
    limits: Mapping[str, float] | None = None,
    force: bool = False,
) -> NavigationResult:
    """Go to a mixture of Pareto plans, and write its fluence and a plan file to optimize it with.

    The plan file is that of the plans with every row's weight times the importance that its goal has there, so that
    leaves are found for this trade-off: ``rtplanning optimize OUT/plan.toml --start OUT --keep-fluence``.

    Parameters
    ----------
    folder : path
        As `pareto_case` wrote it.
    importance : mapping of goal or structure to float, optional
        How near each goal is brought to its least value, 1 when not given; see `Navigator.balance`.
    limits : mapping of goal or structure to float, optional
        Largest value of a goal.
    out, force
        As `pareto_case`.
    """
    plans = read_front(folder)
    request = read_plan_file(Path(folder) / PLAN_FILE)
    optimization = request.optimization
    if optimization is None or tuple(optimization.goals.to_entries()) != plans.objectives:
        raise OptimizationError(
            f"{PLAN_FILE} in {folder} has other objectives than the plans of {FRONT}: it was changed since. Put it "
            "back, or compute the plans anew."
        )
    navigator = Navigator(plans.front)
    factors = np.ones(len(plans.front.goals))
    for name, limit in (limits or {}).items():
        navigator.set_bound(plans.goal_number(name), limit)
    for name, factor in (importance or {}).items():
        factors[plans.goal_number(name)] = factor
    position = navigator.balance(factors)
    fluence = plans.fluence(navigator)
    weighted = replace(request, optimization=replace(optimization, goals=plans.weighted_goals(position.shares)))
    with OutputFolder(out, force=force) as output:
        output.check(NAVIGATION_OUTPUTS)
        fluence.save(output.staging / FLUENCE)
        (output.staging / PLAN_FILE).write_bytes(weighted.to_toml().encode())
        _write(
            output.staging / REPORT,
            render_pareto_report(plans, f"Navigated: {request.name}", position, [fluence.message]),
        )
        files = output.commit()
    return NavigationResult(output.folder, tuple(files), plans, position)


def read_front(folder: str | Path) -> ParetoPlans:
    """Read the Pareto plans of a folder.

    Raises
    ------
    OptimizationError
        When there are none.
    """
    return ParetoPlans.load(earlier_file(folder, FRONT, "pareto"))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
