"""Optimize pyRadPlan's own TG-119 plan with pyRadPlan, and leave its matrix and objectives for others to try.

Run by bench_optimizer.py in the peer's own Python (pyRadPlan 0.5.0 in a virtual environment of its own) as
``peer_pyradplan_fluence.py FOLDER RUNS``; the last line printed is JSON. The case is the TG-119 phantom that
pyRadPlan carries with its own objectives, gantry 0, 72, 144, 216, 288, bixels and dose grid of 5 mm. FOLDER receives
the influence matrix as it lies in pyRadPlan's memory (CSC: data, indices, indptr), the voxels of each structure with an
objective after overlap priorities, and the weights found.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pyRadPlan import PhotonPlan, calc_dose_influence, fluence_optimization, generate_stf, load_tg119
from pyRadPlan.optimization.problems import NonLinearFluencePlanningProblem

GANTRIES = (0.0, 72.0, 144.0, 216.0, 288.0)


def peak_GB() -> float:
    """Peak memory of this process so far; kB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Write the case, print the times."""
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    logging.disable(logging.WARNING)
    ct, cst = load_tg119()
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {"gantry_angles": np.array(GANTRIES), "couch_angles": np.zeros(5), "bixel_width": 5.0}
    plan.prop_dose_calc = {"dose_grid": {"resolution": {"x": 5.0, "y": 5.0, "z": 5.0}}}
    plan.prop_opt = {"solver": "scipy"}
    stf = generate_stf(ct, cst, plan)
    start = time.perf_counter()
    dij = calc_dose_influence(ct, cst, stf, plan)
    matrix_s = time.perf_counter() - start
    matrix = dij.physical_dose.flat[0]
    matrix_peak_GB = peak_GB()

    # what the solver does, without and with the preparation of the problem
    problems: list[NonLinearFluencePlanningProblem] = []
    solve = NonLinearFluencePlanningProblem.solve

    def remember(self, *arguments):
        problems.append(self)
        return solve(self, *arguments)

    NonLinearFluencePlanningProblem.solve = remember
    solver_s, whole_s, cpu_s = [], [], []
    info: dict = {}
    for _ in range(runs):
        start, start_cpu = time.perf_counter(), time.process_time()
        weights = fluence_optimization(ct, cst, stf, dij, plan, opt_info=info)
        whole_s.append(time.perf_counter() - start)
        cpu_s.append(time.process_time() - start_cpu)
        solver_s.append(float(problems[-1]._solve_time))
        if len(problems) > 1:
            problems.pop(0)

    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(matrix, name))
    np.save(folder / "weights.npy", np.asarray(weights))
    objectives = []
    rows: dict[str, np.ndarray] = {}
    problem = problems[-1]
    with_objectives = [voi for voi in problem._cst.vois if voi.objectives]
    for voi, (mask, terms) in zip(with_objectives, problem._objective_list, strict=True):
        rows[voi.name] = np.flatnonzero(mask)
        for term in terms:
            level = getattr(term, "d_ref", None)
            objectives.append(
                {
                    "structure": voi.name,
                    "kind": term.name,
                    "weight": float(term.priority),
                    "dose_Gy": float(term.d_max if level is None else level),
                }
            )
    np.savez(folder / "structures.npz", **rows)
    answer = {
        "version": version("pyRadPlan"),
        "format": type(matrix).__name__,
        "shape": list(matrix.shape),
        "nonzeros": int(matrix.nnz),
        "objectives": objectives,
        "matrix_s": matrix_s,
        "solver_s": solver_s,
        "whole_s": whole_s,
        "cpu_s": cpu_s,
        "iterations": int(info["num_iter"]),
        "value": float(info["result_info"]["fun"]),
        "history": [float(value) for value in info["obj_history"]],
        "message": str(info["result_info"]["message"]),
        "matrix_peak_memory_GB": matrix_peak_GB,
        "peak_memory_GB": peak_GB(),
    }
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
