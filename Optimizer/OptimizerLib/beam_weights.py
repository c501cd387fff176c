"""Beam weights of a forward plan: how much of each beam meets the objectives best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from DoseEngineLib.engine import DoseResult
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import Objective
from OptimizerLib.problem import Problem
from OptimizerLib.solvers import BoundedLBFGS, Solution, Solver

_LARGE_STRUCTURE = 100_000


def optimize_beam_weights(
    result: DoseResult,
    structures: Sequence[Structure],
    objectives: Sequence[Objective],
    progress: Progress | None = None,
    solver: Solver | None = None,
) -> Solution:
    """Find the factors to the beams' MU that meet the objectives best.

    Parameters
    ----------
    result : DoseResult
        A dose with its beams; their shapes and angles stay as they are.
    structures : sequence of Structure
        At least those that the objectives name. Dose is read at the voxel centres of a structure's own grid, linearly
        between the dose grid's voxels, as for evaluation; in structures of more than 100,000 voxels, such as the body,
        no finer than the dose grid. Where structures overlap, each objective counts.
    objectives : sequence of Objective
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`.
    solver : Solver, optional
        `BoundedLBFGS` by default.

    Returns
    -------
    Solution
        ``weights[n]`` multiplies the MU of ``result.plan.beams[n]``; 1 is the plan as it is.

    Raises
    ------
    OptimizationError
        An objective of an unknown or empty structure, a structure that the dose grid does not cover, a beam that gives
        no dose to any structure with an objective.
    """
    influence, voxels_of = beam_influence(result, structures, [o.structure for o in objectives])
    problem = Problem(influence, voxels_of, objectives)
    idle = [beam.name for beam, reached in zip(result.plan.beams, (influence != 0).any(axis=0)) if not reached]
    if idle:
        raise OptimizationError(
            f"Beam {', '.join(idle)} gives no dose to any structure with an objective, so its weight cannot be found; "
            "give it MU, aim it at a target or take it out."
        )
    return (solver or BoundedLBFGS()).solve(problem, np.ones(problem.variables), progress)


def beam_influence(
    result: DoseResult, structures: Sequence[Structure], names: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Dose of each beam at the voxels of some structures.

    Returns
    -------
    influence : (voxels, beams) float64 array
        Dose in Gy at weight 1, structure after structure.
    voxels_of : dict of str to int array
        Rows of each structure.
    """
    by_name = {structure.name: structure for structure in structures}
    voxels_of: dict[str, np.ndarray] = {}
    blocks = []
    count = 0
    for name in dict.fromkeys(names):
        if name not in by_name:
            raise OptimizationError(
                f"There is no structure {name!r} for the objective; choose one of: {', '.join(by_name) or 'none'}."
            )
        block = _beam_doses_in(result, by_name[name])
        voxels_of[name] = np.arange(count, count + len(block))
        count += len(block)
        blocks.append(block)
    beams = len(result.plan.beams)
    return (np.concatenate(blocks) if blocks else np.zeros((0, beams))), voxels_of


def _beam_doses_in(result: DoseResult, structure: Structure) -> np.ndarray:
    if structure.is_empty:
        raise OptimizationError(f"Structure {structure.name} is empty; contour it or drop its objective.")
    k, j, i = np.nonzero(structure.mask)
    if k.size > _LARGE_STRUCTURE:
        # samples closer than the dose voxels say nothing new
        step = np.maximum(np.floor(result.grid.spacing_mm.min() / structure.grid.spacing_mm + 1e-6), 1).astype(int)
        kept = (i % step[0] == 0) & (j % step[1] == 0) & (k % step[2] == 0)
        if kept.any():
            k, j, i = k[kept], j[kept], i[kept]
    points = structure.grid.index_to_ras(np.stack((i, j, k), axis=-1))
    outside = int(np.count_nonzero(~result.grid.contains(points)))
    if outside:
        raise OptimizationError(
            f"{outside} of {len(points)} voxels of {structure.name} lie outside the dose grid, their dose is unknown; "
            "calculate the dose on a grid that covers the structure."
        )
    index = result.grid.ras_to_index(points)[:, ::-1].T
    return np.stack(
        [
            ndimage.map_coordinates(result.beam_doses_Gy[beam.name], index, order=1, mode="nearest", output=np.float64)
            for beam in result.plan.beams
        ],
        axis=1,
    )


def weighted_result(result: DoseResult, weights: Sequence[float], note: str = "beam weights optimized") -> DoseResult:
    """The dose of the same beams with their MU multiplied by weights: a sum, nothing is calculated anew.

    Statistical uncertainty is known for the whole plan only and is not carried over; the provenance says so.
    """
    plan = result.plan
    if len(weights) != len(plan.beams) or not np.isfinite(weights).all() or min(weights) < 0:
        raise OptimizationError(
            f"Give {len(plan.beams)} finite weights, not negative, one a beam; got {list(weights)}."
        )
    if not plan.has_MU:
        raise OptimizationError(
            "The plan of this dose has no MU; calculate the dose first, the result's plan has them."
        )
    weighted = plan.with_metersets([beam.meterset_MU * w for beam, w in zip(plan.beams, weights, strict=True)])
    doses = {beam.name: result.beam_doses_Gy[beam.name] * np.float32(w) for beam, w in zip(plan.beams, weights)}
    total = np.zeros(result.grid.shape, np.float32)
    for dose in doses.values():
        total += dose
    provenance = {**result.provenance, "plan_hash": weighted.hash(), "normalization": f"MU as planned ({note})"}
    if result.uncertainty_Gy is not None:
        provenance["uncertainty"] = "not known after re-weighting the beams; calculate the dose again"
    return replace(
        result, dose_Gy=total, beam_doses_Gy=doses, plan=weighted, uncertainty_Gy=None, provenance=provenance
    )
