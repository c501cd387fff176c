"""Inverse planning in one call: directions and objective rows in, fluence and a deliverable plan out.

Influence of the bixels around the targets, the fluence that meets the rows best, leaves that deliver it, and leaves
moved to deliver it better. The dose to quote is then calculated of the plan by any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from DoseEngineLib.engine import DoseEngine, create_engine, engine_options
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.influence import BixelBeam, DoseInfluence
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.bixels import bixels_of_target
from DoseEngineLib.plan import Plan, Structure
from DoseEngineLib.progress import Progress, part
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria.even_start import even_start
from OptimizerLib.multicriteria.lexicographic import GoalCallback, optimize_by_priority
from OptimizerLib.multicriteria.trade_off import Goal, TradeOff
from OptimizerLib.occupancy import occupancy
from OptimizerLib.planning_goals import PlanningGoals, PlanningTerms
from OptimizerLib.problem import Problem
from OptimizerLib.row_terms import RowContext
from OptimizerLib.sequencing.aperture_refinement import DeliveryLosses, RefinementResult, refine_apertures
from OptimizerLib.sequencing.dose_correction import CorrectedResult, refine_to_dose
from OptimizerLib.sequencing.modulated_beams import METHODS, delivered_weights, sequence
from OptimizerLib.solvers import DEFAULT_SOLVER, IterationState, Solution, Solver, create_solver, optimality
from OptimizerLib.solvers.solver import checked_start

DELIVERIES = ("step_and_shoot", "sliding_window", "ideal")
INFLUENCE_ENGINE = "photon-pencil-beam"
# Iterations over which slow progress is judged, of the default solver: others may rest and go on, or go uphill.
_WHILE = 5
# How much harder than its value a goal of a higher priority is held while apertures are refined.
_HOLD = 100.0


@dataclass(frozen=True)
class FluenceSettings:
    """How fluence is optimized and delivered.

    Attributes
    ----------
    bixel_mm : float
        Side of a bixel at the isocentre plane.
    target_margin_mm : float
        Bixels reach this far beyond the target's shadow.
    spacing_mm : float or None
        Voxels of the optimization; the plan's dose grid by default.
    normal_tissue_every : int
        Of the body only one voxel in a cube of so many a side is looked at; structures are looked at whole.
    solver : str
        Label of a solver.
    iterations : int
        At most. (HiGHS goes to the end whatever these two say.)
    tolerance : float
        The search ends when it expects to lower the objectives by less than this part of them; that of the default
        solver also when it has lowered them by less an iteration for a while. What leaves lose is several per cent.
    delivery : {"step_and_shoot", "sliding_window", "ideal"}
        "ideal" leaves the fluence as it is: there is no plan that a machine can deliver.
    levels : int
        Step and shoot: levels of fluence of a beam.
    refine : bool
        Step and shoot: move the leaves afterwards to what the objectives want.
    corrections : int
        Step and shoot, refined: how often the dose of the plan's own engine is calculated for the leaves as they are,
        and the leaves are moved to mend what the influence did not know; 0 leaves that out.

    Raises
    ------
    OptimizationError
        A setting that makes no sense, with the choices.
    """

    bixel_mm: float = 5.0
    target_margin_mm: float = 5.0
    spacing_mm: float | None = None
    normal_tissue_every: int = 3
    solver: str = DEFAULT_SOLVER
    iterations: int = 200
    tolerance: float = 3e-4
    delivery: str = "step_and_shoot"
    levels: int = 10
    refine: bool = True
    corrections: int = 2

    def __post_init__(self) -> None:
        if self.delivery not in DELIVERIES:
            raise OptimizationError(f"There is no delivery {self.delivery!r}; choose one of: {', '.join(DELIVERIES)}.")
        for name, low, high in (
            ("bixel_mm", 1.0, 50.0), ("target_margin_mm", 0.0, 100.0), ("normal_tissue_every", 1, 20),
            ("iterations", 1, 100_000), ("levels", 1, 200), ("corrections", 0, 20),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptimizationError(f"{name} must lie in {low:g}..{high:g}; got {value}.")
        if not 0.0 < self.tolerance <= 0.1:
            raise OptimizationError(f"tolerance must lie in 0..0.1 and not be 0; got {self.tolerance}.")
        if self.spacing_mm is not None and not 0.5 <= self.spacing_mm <= 20.0:
            raise OptimizationError(f"spacing_mm must lie in 0.5..20 mm; got {self.spacing_mm}.")


@dataclass(frozen=True)
class HistoryEntry:
    """Objectives after an iteration.

    Attributes
    ----------
    iteration : int
        0 at the start; it counts on through all levels.
    value : float
        What is minimized: the sum of the level's objectives and of the fluence terms.
    terms : tuple of float
        Value of every row, of all levels.
    level : int
        Priority level that has its turn.
    """

    iteration: int
    value: float
    terms: tuple[float, ...]
    level: int = 1


@dataclass(frozen=True, eq=False)
class FluencePlan:
    """An optimized plan.

    Attributes
    ----------
    influence : DoseInfluence
    goals : PlanningGoals
    problem : Problem
        Objectives of all levels; with one level what was minimized.
    term_names : tuple of str
        The rows behind the problem's objectives and fluence terms, in their order.
    solution : Solution
        Weights in MU a fraction, a bixel each: the ideal fluence.
    history : tuple of HistoryEntry
        Level by level.
    plan : Plan
        Beams with control points and MU; for the delivery "ideal" the plan as it came.
    delivered_weights : (bixels,) array
        What the plan's leaves give the bixels; the ideal weights for the delivery "ideal".
    losses : DeliveryLosses or None
        From ideal to deliverable; None for the delivery "ideal".
    refinement : RefinementResult or None
    correction : CorrectedResult or None
        Where the plan was refined against its engine's dose.
    settings : FluenceSettings
    notes : tuple of str
        What the rows left open, and what would close it.
    """

    influence: DoseInfluence
    goals: PlanningGoals
    problem: Problem
    term_names: tuple[str, ...]
    solution: Solution
    history: tuple[HistoryEntry, ...]
    plan: Plan
    delivered_weights: np.ndarray
    losses: DeliveryLosses | None
    refinement: RefinementResult | None
    correction: CorrectedResult | None
    settings: FluenceSettings
    notes: tuple[str, ...] = ()

    def normalized_plan(self) -> Plan:
        """The plan with weights in place of MU where its prescription says how to scale it.

        An engine then scales all beams alike to the prescription; without normalization the MU stand as optimized.
        """
        prescription = self.plan.prescription
        if self.losses is None or prescription is None or prescription.normalization == "none":
            return self.plan
        beams = tuple(replace(b, weight=b.meterset_MU, meterset_MU=None) for b in self.plan.beams)
        return replace(self.plan, beams=beams)


def plan_fluence(
    patient: Patient,
    plan: Plan,
    goals: PlanningGoals,
    settings: FluenceSettings | None = None,
    *,
    targets: Sequence[str] = (),
    influence: DoseInfluence | None = None,
    start: np.ndarray | None = None,
    search: bool = True,
    callback: Callable[[IterationState], None] | None = None,
    progress: Progress | None = None,
) -> FluencePlan:
    """Optimize the fluence of a plan's beams and make it deliverable.

    Parameters
    ----------
    patient : Patient
        With the structures that the rows name.
    plan : Plan
        Static directions, isocentres and machines count; apertures and MU are replaced.
    goals : PlanningGoals
    settings : FluenceSettings, optional
    targets : sequence of str
        Structures that bixels are laid around; by default the prescription's target and all PTVs that rows name.
    influence : DoseInfluence, optional
        One calculated before for this patient and these beams; it is checked.
    start : (bixels,) array, optional
        Weights to go on from; by default equal ones of a fitting size.
    search : bool
        False takes the start as it is, such as fluence that was navigated to: only leaves are found for it.
    callback : callable, optional
        Called with an `IterationState` each iteration, of every level; its ``stop()`` ends the search with the fluence
        found so far, and leaves follow. With levels, ``value`` is that of the level that has its turn.
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`.

    Raises
    ------
    OptimizationError, EngineError, PlanError
        No rows, rows of unknown or empty structures, no target, beams that turn.
    """
    settings = settings or FluenceSettings()
    if not goals.levels:
        raise OptimizationError('There are no objectives; write at least one row, e.g. "PTV uniform 50 Gy".')
    if not search and start is None:
        raise OptimizationError("There is no fluence to take as it is; give one to start from, or let it be searched.")
    if influence is None:
        influence = fluence_influence(patient, plan, goals, settings, targets, part(progress, 0.0, 0.3))
    else:
        influence.check(patient, plan)
    seen, terms = planning_terms(patient, plan, goals, influence)
    rows_of = {name: entry.rows for name, entry in seen.items()}
    trade_off = _trade_off(influence, rows_of, terms)
    begin = even_start(trade_off) if start is None else np.asarray(start, dtype=float)
    history: list[HistoryEntry] = []

    slow = False

    def record(state: IterationState, level: int = goals.levels[0]) -> None:
        nonlocal slow
        history.append(HistoryEntry(state.iteration, state.value, state.values, level))
        if (
            len(goals.levels) == 1
            and settings.solver == DEFAULT_SOLVER
            and len(history) > _WHILE
            and not state.problem.constraints
        ):
            before = history[-1 - _WHILE].value
            slow = before - state.value < _WHILE * settings.tolerance * abs(state.value)
            if slow:
                state.stop()
        if callback is not None:
            callback(state)

    solver = solver_of(settings)
    searching = part(progress, 0.3, 0.6)
    if not search:
        solution, refined_problem = _as_given(trade_off.problem, begin), trade_off.problem
    elif len(trade_off.goals) == 1:
        solution = solver.solve(trade_off.problem, begin, searching, record)
        refined_problem = trade_off.problem
        if slow and not solution.converged:
            message = f"Ended after {solution.iterations} iterations: little was gained by the last {_WHILE}."
            solution = replace(solution, converged=True, message=message)
    else:
        level_of = dict(zip(trade_off.names, goals.levels, strict=True))
        solution, refined_problem = _by_priority(
            trade_off, begin, solver, searching, lambda state, goal: record(state, level_of[goal])
        )
    delivering = part(progress, 0.6, 0.75 if settings.corrections else 1.0)
    delivered, weights, losses, refinement = _deliver(
        refined_problem, influence, plan, solution.weights, settings, delivering
    )
    correction = None
    if refinement is not None and settings.corrections:
        correction = _correct(
            refined_problem, influence, delivered, patient, rows_of, settings.corrections, part(progress, 0.75, 1.0)
        )
        delivered, weights = correction.plan, delivered_weights(influence, correction.plan)
    return FluencePlan(
        influence, goals, trade_off.problem, term_names(goals), solution, tuple(history), delivered, weights, losses,
        refinement, correction, settings, open_questions(patient, goals, influence, solution.weights),
    )  # fmt: skip


def planning_terms(
    patient: Patient, plan: Plan, goals: PlanningGoals, influence: DoseInfluence
) -> tuple[dict[str, SeenRows], PlanningTerms]:
    """Rows of an influence that each structure of the goals has a part in, and the terms of the goals there."""
    by_name = {structure.name: structure for structure in patient.structures}
    _check_names(goals.structures, by_name)
    seen = {name: _seen(by_name[name], influence) for name in goals.structures}
    prescription_Gy = plan.prescription.dose_Gy if plan.prescription else None
    terms = goals.make(_row_context(influence, patient, seen, prescription_Gy))
    for name, entry in seen.items():
        if not entry.rows.size:
            raise OptimizationError(
                f"{name} has no voxel of the optimization's grid in the body; use a finer spacing_mm."
            )
    return seen, terms


def solver_of(settings: FluenceSettings) -> Solver:
    """The solver that settings ask for."""
    limits = {"max_iterations": settings.iterations, "tolerance": settings.tolerance}
    return create_solver(settings.solver, **({} if settings.solver == "highs" else limits))


def _correct(
    problem: Problem,
    influence: DoseInfluence,
    plan: Plan,
    patient: Patient,
    rows_of: Mapping[str, np.ndarray],
    corrections: int,
    progress: Progress,
) -> CorrectedResult:
    """Refine against the dose of the plan's own engine, which is asked for each structure at its rows."""
    engine = create_engine(plan.engine, **plan.engine_options)
    so_far = 0.0

    def refining(fraction: float, text: str) -> None:
        nonlocal so_far
        so_far = fraction
        progress(fraction, text)

    def dose_of(candidate: Plan) -> dict[str, np.ndarray]:
        unscaled = candidate.prescription
        if unscaled is not None:
            unscaled = replace(unscaled, normalization="none")
        result = engine.calculate_dose(
            patient,
            replace(candidate, prescription=unscaled),
            grid=influence.grid,
            # the bar stands meanwhile, but the text moves and the work can be cancelled
            progress=lambda fraction, text: progress(so_far, text),
        )
        dose = result.dose_Gy.ravel()[influence.voxels]
        return {name: dose[rows] for name, rows in rows_of.items()}

    return refine_to_dose(problem, influence, plan, dose_of, corrections=corrections, progress=refining)


@dataclass(frozen=True, eq=False)
class InfluenceRegion:
    """What an influence is computed for.

    Attributes
    ----------
    bixels : tuple of BixelBeam
        Of each beam those around the targets.
    grid : Grid
    mask : (k, j, i) bool array
        Voxels of the grid that are looked at one by one.
    normal_tissue_every : int or None
        Of the rest of the body one voxel in a cube of so many a side; None leaves it out.
    """

    bixels: tuple[BixelBeam, ...]
    grid: Grid
    mask: np.ndarray
    normal_tissue_every: int | None


def influence_region(
    patient: Patient, plan: Plan, goals: PlanningGoals, settings: FluenceSettings, targets: Sequence[str] = ()
) -> InfluenceRegion:
    """Choose bixels around the targets, and the voxels that the rows see."""
    by_name = {structure.name: structure for structure in patient.structures}
    _check_names(goals.structures, by_name)
    named = tuple(targets) or _targets(plan, goals, by_name)
    _check_names(named, by_name)
    target = _union([by_name[name] for name in named])
    bixels = tuple(
        bixels_of_target(
            target, beam, load_machine(beam.machine), plan.patient_position, settings.bixel_mm,
            settings.target_margin_mm,
        )
        for beam in plan.beams
    )  # fmt: skip
    grid = patient.body_grid.with_spacing(settings.spacing_mm or plan.dose_grid_spacing_mm)
    # of the body itself a sample says enough, of everything else every voxel counts that it has a part in
    whole = dict.fromkeys(name for name in (*goals.structures, *named) if by_name[name].role != "EXTERNAL")
    mask = np.zeros(grid.shape, bool)
    for name in whole:
        mask |= occupancy(by_name[name], grid) > 0
    sampled = any(by_name[name].role == "EXTERNAL" for name in goals.structures)
    return InfluenceRegion(bixels, grid, mask, settings.normal_tissue_every if sampled else None)


def influence_engine(plan: Plan) -> DoseEngine:
    """Return the engine of the influence, with the plan's options as far as it has them.

    What is optimized must see the patient as the plan's own engine does.
    """
    declared = {option.name for option in engine_options(INFLUENCE_ENGINE)}
    return create_engine(
        INFLUENCE_ENGINE, **{name: value for name, value in plan.engine_options.items() if name in declared}
    )


def fluence_influence(
    patient: Patient,
    plan: Plan,
    goals: PlanningGoals,
    settings: FluenceSettings,
    targets: Sequence[str] = (),
    progress: Progress | None = None,
) -> DoseInfluence:
    """Calculate the influence that `plan_fluence` works with: bixels around the targets, voxels that the rows see."""
    region = influence_region(patient, plan, goals, settings, targets)
    return influence_engine(plan).calculate_influence(
        patient,
        plan,
        bixels=region.bixels,
        mask=region.mask,
        normal_tissue_every=region.normal_tissue_every,
        grid=region.grid,
        progress=progress,
    )


def _check_names(names: Sequence[str], by_name: dict[str, Structure]) -> None:
    for name in names:
        if name not in by_name:
            raise OptimizationError(f"There is no structure {name!r}; choose one of: {', '.join(by_name) or 'none'}.")
        if by_name[name].is_empty:
            raise OptimizationError(f"Structure {name} is empty; contour it or drop its objectives.")


def _targets(plan: Plan, goals: PlanningGoals, by_name: dict[str, Structure]) -> tuple[str, ...]:
    prescribed = plan.prescription.target if plan.prescription else None
    names = [name for name in goals.structures if by_name[name].role == "PTV"]
    if prescribed and prescribed not in names:
        names.insert(0, prescribed)
    if not names:
        raise OptimizationError(
            "There is no target to lay bixels around; name one in the prescription, or write a row for a PTV."
        )
    return tuple(names)


def _union(structures: Sequence[Structure]) -> Structure:
    first = structures[0]
    if len(structures) == 1:
        return first
    mask = np.array(first.mask)
    for other in structures[1:]:
        mask |= resample(other.mask, other.grid, first.grid)
    return replace(first, name=" and ".join(s.name for s in structures), mask=mask)


@dataclass(frozen=True, eq=False)
class SeenRows:
    """Rows (n,) of an influence that a structure has a part in, and how much volume (n,) each stands for."""

    rows: np.ndarray
    volumes: np.ndarray


def _seen(structure: Structure, influence: DoseInfluence) -> SeenRows:
    if structure.role == "EXTERNAL":
        rows = influence.rows_of(structure)
        return SeenRows(rows, influence.voxel_weights[rows])
    shares = occupancy(structure, influence.grid).ravel()[influence.voxels]
    rows = np.flatnonzero(shares)
    return SeenRows(rows, shares[rows])


def _row_context(
    influence: DoseInfluence, patient: Patient, seen: Mapping[str, SeenRows], prescription_Gy: float | None
) -> RowContext:
    def points(name: str) -> np.ndarray:
        k, j, i = np.unravel_index(influence.voxels[seen[name].rows], influence.grid.shape)
        return influence.grid.index_to_ras(np.stack((i, j, k), axis=-1))

    def volumes(name: str) -> np.ndarray | None:
        return seen[name].volumes if seen[name].rows.size else None

    by_name = {structure.name: structure for structure in patient.structures}
    return RowContext(by_name, prescription_Gy, influence.fractions, points, volumes, influence.beams)


def _trade_off(influence: DoseInfluence, rows_of: Mapping[str, np.ndarray], terms: PlanningTerms) -> TradeOff:
    return TradeOff(
        influence.matrix,
        rows_of,
        [Goal(f"level {level}", objectives) for level, objectives in terms.objectives.items()],
        terms.constraints,
        terms.fluence_terms,
        float(influence.fractions),
    )


def _as_given(problem: Problem, weights: np.ndarray) -> Solution:
    """A solution that nobody searched for."""
    weights = checked_start(problem, weights)
    value, gradient = problem.value_and_gradient(weights)
    return Solution(
        weights,
        float(value),
        (float(value),),
        optimality(weights, gradient / max(abs(value), 1e-300)),
        False,
        "Fluence taken as it was given, without a search.",
        violation_Gy=problem.violation_Gy(weights),
    )


def open_questions(
    patient: Patient, goals: PlanningGoals, influence: DoseInfluence, weights: np.ndarray
) -> tuple[str, ...]:
    """What the rows do not decide: fluence of bixels at the rim, which hardly reach any voxel that a row looks at."""
    external = {structure.name for structure in patient.structures if structure.role == "EXTERNAL"}
    if any(row.structure is None and row.weight > 0 for row in goals.rows):
        return ()
    if any(row.structure in external and (row.constraint or row.weight > 0) for row in goals.rows):
        return ()
    names = [(beam.name, weights[columns]) for beam, columns in zip(influence.beams, influence.beam_slices())]
    peaks = [(float(there.max() / np.median(there[there > 0])), name) for name, there in names if (there > 0).any()]
    if not peaks:
        return ()
    worst, beam = max(peaks)
    return (
        "No row limits dose to the body or differences between bixels, so nothing but the rows' structures decides "
        f"the fluence at the rim: the largest bixel has {worst:.3g} times the median fluence of its beam ({beam}). "
        f'Add a row such as "{next(iter(external), "External")} falloff 50 Gy -> 15 Gy in 30 mm from PTV" or '
        '"fluence smoothness, weight 0.01".',
    )


def _by_priority(
    trade_off: TradeOff, begin: np.ndarray, solver: Solver, progress: Progress, callback: GoalCallback
) -> tuple[Solution, Problem]:
    """Optimize level by level; return also the problem that holds higher levels while apertures are refined."""
    found = optimize_by_priority(trade_off, start=begin, solver=solver, progress=progress, callback=callback)
    problem = trade_off.problem
    value, gradient = problem.value_and_gradient(found.weights)
    solution = Solution(
        found.weights,
        value,
        tuple(step.value for step in found.steps),
        optimality(found.weights, gradient / max(value, 1e-300)),
        found.converged,
        found.message,
        violation_Gy=problem.violation_Gy(found.weights),
    )
    at = len(trade_off.goals) - 1 if found.stopped_at is None else trade_off.names.index(found.stopped_at)
    last = np.zeros(len(trade_off.goals))
    last[at] = 1.0
    held = np.where(np.isfinite(found.limits), found.limits, 1.0)
    penalty = np.where(last > 0, 0.0, _HOLD * max(found.values[at], 1e-6) / np.maximum(held, 1e-6) ** 2)
    limits = np.where(last > 0, np.inf, found.limits)
    return solution, trade_off.scalarized(last, limits, np.zeros(last.shape), np.maximum(penalty, 1e-12))


def _deliver(
    problem: Problem,
    influence: DoseInfluence,
    plan: Plan,
    ideal: np.ndarray,
    settings: FluenceSettings,
    progress: Progress,
) -> tuple[Plan, np.ndarray, DeliveryLosses | None, RefinementResult | None]:
    if settings.delivery not in METHODS:
        return plan, ideal, None, None
    sequenced = sequence(
        influence, ideal, plan, settings.delivery, levels=settings.levels, progress=part(progress, 0.0, 0.1)
    )
    if settings.delivery == "step_and_shoot" and settings.refine:
        refined = refine_apertures(
            problem, influence, sequenced, ideal_weights=ideal, progress=part(progress, 0.1, 1.0)
        )
        return refined.plan, refined.weights, refined.losses, refined
    weights = delivered_weights(influence, sequenced)
    totals = [float(problem.value_and_gradient(w)[0]) for w in (ideal, weights)]
    values = [tuple(problem.values(w)) for w in (ideal, weights)]
    losses = DeliveryLosses(totals[0], totals[1], totals[1], values[0], values[1], values[1])
    return sequenced, weights, losses, None


def term_names(goals: PlanningGoals) -> tuple[str, ...]:
    """Rows in the order of a problem's values: objectives level by level, then fluence terms."""
    objectives = [
        str(row)
        for level in goals.levels
        for row in goals.rows
        if row.level == level and not row.constraint and row.structure is not None
    ]
    return (*objectives, *(str(row) for row in goals.rows if row.structure is None))
