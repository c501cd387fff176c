"""The whole road of an inverse plan: a case and a plan file with objectives in, a folder of results out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from DoseEngineLib.errors import PlanFileError
from DoseEngineLib.progress import Progress
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluencePlan
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.solvers import IterationState
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.influence_dvh import influence_dvhs
from RTPlanningLib.plan_file import PlanRequest
from RTPlanningLib.report.optimization_section import OptimizationSection, loss_text, write_objectives_csv
from RTPlanningLib.workflow import OUTPUTS, PlanningResult, plan_into_folder

if TYPE_CHECKING:
    from RTPlanningLib.dicom.export import DicomOptions
    from RTPlanningLib.logic import RTPlanningLogic

OBJECTIVES, FLUENCE, INFLUENCE = "objectives.csv", "fluence.npz", "influence.npz"
OPTIMIZED_OUTPUTS = (*OUTPUTS, OBJECTIVES, FLUENCE)


@dataclass(frozen=True, eq=False)
class OptimizationResult:
    """What an optimization made.

    Attributes
    ----------
    planning : PlanningResult
        Files, delivered plan, DVHs and goals.
    found : FluencePlan
    """

    planning: PlanningResult
    found: FluencePlan

    def headlines(self) -> list[str]:
        """How the search ended, and what the leaves lost."""
        solution = self.found.solution
        return [
            f"{self.found.influence.bixels} bixels: {solution.message} Sum of the objectives: {loss_text(self.found)}",
            *(f"Note: {note}" for note in self.found.notes),
            *self.planning.headlines(),
        ]


def optimize_case(
    case: Case,
    request: PlanRequest,
    out: str | Path,
    *,
    plan_file: str | Path | None = None,
    start: OptimizedFluence | None = None,
    search: bool = True,
    keep_influence: bool = False,
    dicom: DicomOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
    callback: Callable[[IterationState], None] | None = None,
) -> OptimizationResult:
    """Optimize a case and write everything into a folder: all of it, or on failure and cancel nothing.

    Parameters
    ----------
    case : Case
    request : PlanRequest
        With an optimization.
    out, plan_file, dicom, force, progress
        As `RTPlanningLib.workflow.plan_case`.
    start : OptimizedFluence, optional
        To go on from.
    search : bool
        False takes the start as it is, such as fluence that was navigated to: leaves and dose follow at once.
    keep_influence : bool
        Write the dose influence too; it is large.
    callback : callable, optional
        Called with an `IterationState` each iteration; its ``stop()`` ends the search, leaves and dose follow.

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    optimization = request.optimization
    if optimization is None:
        raise PlanFileError(
            f"{request.source} has no table [optimization]; add one with objectives, or run the plan with: "
            "rtplanning run."
        )
    results: list[FluencePlan] = []

    def calculate(
        logic: RTPlanningLogic, planNode: object, case: Case, folder: Path, progress: Progress
    ) -> OptimizationSection:
        found = logic.optimizeFluence(
            planNode,
            optimization.goals,
            optimization.settings,
            progress,
            callback,
            targets=optimization.targets,
            start=start,
            search=search,
        )
        results.append(found)
        logic.optimizerLogic.optimizedFluence(planNode).save(folder / FLUENCE)
        write_objectives_csv(folder / OBJECTIVES, found)
        if keep_influence:
            found.influence.save(folder / INFLUENCE)
        delivered = logic.deliveredPlan(planNode)
        planned = influence_dvhs(found.influence, found.solution.weights, case.structures)
        return OptimizationSection.of(found, delivered, planned)

    planning = plan_into_folder(
        case,
        request,
        out,
        calculate,
        (*OPTIMIZED_OUTPUTS, INFLUENCE) if keep_influence else OPTIMIZED_OUTPUTS,
        plan_file=plan_file,
        dicom=dicom,
        force=force,
        dose_share=0.92,
        progress=progress,
    )
    return OptimizationResult(planning, results[0])


def read_start(folder: str | Path) -> OptimizedFluence:
    """Read the fluence of an earlier result's folder, to go on from.

    Raises
    ------
    OptimizationError
        When there is none.
    """
    return OptimizedFluence.load(earlier_file(folder, FLUENCE, "optimize"))


def earlier_file(folder: str | Path, name: str, command: str) -> Path:
    """Return the file of this name that a command left in a folder; `OptimizationError` where there is none."""
    path = Path(folder) / name
    if not path.is_file():
        raise OptimizationError(f"There is no {name} in {folder}; name the folder of an earlier rtplanning {command}.")
    return path
