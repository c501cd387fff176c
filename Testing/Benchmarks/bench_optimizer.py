"""Time the optimizer beside pyRadPlan's on pyRadPlan's own TG-119 matrix, and on a case of head-and-neck size.

    python Testing/Benchmarks/bench_optimizer.py --peer /path/to/python-with-pyRadPlan [--runs 3] [--output FILE.json]
    python Testing/Benchmarks/bench_optimizer.py --head-and-neck

The peer (peer_pyradplan_fluence.py, its scipy L-BFGS-B with the options it comes with) leaves its matrix, structures
and weights in a temporary folder; then our default solver starts from the same weights, zeros. Runs alternate. Our time
begins with the matrix as the peer holds it and includes bringing it into our form; compilation of kernels, which numba
keeps on disk, is done on a small matrix before. Memory is the peak of each process, the matrix included; the peer's
also calculated it. The head-and-neck case is made up: nine beams, about 3,000 bixels of 5 mm with an exponential depth
dose and a penumbra with tails, voxels of 3 mm. CPU seconds are given beside those of the clock, for a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from scipy import sparse

from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose
from OptimizerLib.problem import Problem
from OptimizerLib.solvers import BoundedLBFGS, QuasiNewton

HERE = Path(__file__).resolve()
# what the peer's optimizer does not reach
FURTHER = 764.9


def peak_GB() -> float:
    """Peak memory of this process so far; kB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def warm_up(index_type: type) -> None:
    """Have the kernels compiled."""
    random = np.random.default_rng(1)
    small = sparse.csc_array(random.random((300, 80), dtype=np.float32))
    small.indices, small.indptr = small.indices.astype(index_type), small.indptr.astype(index_type)
    problem = Problem(small, {"A": np.arange(100), "B": np.arange(100, 300)}, tg119_objectives("A", "B", "B"))
    for largest_dense in (4000, 0):
        QuasiNewton(largest_dense=largest_dense).solve(problem, np.zeros(80))


def tg119_objectives(target: str = "OuterTarget", core: str = "Core", body: str = "BODY"):
    """Those of the peer's case; `compare` checks that it has them so."""
    return [
        SquaredDeviation(target, 50.0, 1000.0),
        SquaredOverdose(core, 25.0, 300.0),
        SquaredOverdose(body, 30.0, 100.0),
    ]


def own_run(folder: Path, goal: float) -> dict:
    """Load the peer's matrix and optimize on it once."""
    data, indices, indptr = (np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr"))
    structures = dict(np.load(folder / "structures.npz"))
    voxels = int(json.loads((folder / "shape.json").read_text())[0])
    matrix = sparse.csc_array((data, indices, indptr), shape=(voxels, indptr.size - 1))
    warm_up(indices.dtype)
    reached: dict[str, float] = {}
    start, start_cpu = time.perf_counter(), time.process_time()
    problem = Problem(matrix, structures, tg119_objectives())
    converted = time.perf_counter()

    def watch(state) -> None:
        for name, value in (("goal_s", goal), ("further_s", FURTHER)):
            if state.value <= value:
                reached.setdefault(name, time.perf_counter() - start)
                reached.setdefault(name.replace("_s", "_cpu_s"), time.process_time() - start_cpu)

    solution = QuasiNewton().solve(problem, np.zeros(problem.variables), callback=watch)
    whole = time.perf_counter() - start
    return {
        **reached,
        "conversion_s": converted - start,
        "whole_s": whole,
        "value": solution.value,
        "iterations": solution.iterations,
        "optimality": solution.optimality,
        "message": solution.message,
        "value_of_peer_weights": problem.value_and_gradient(np.load(folder / "weights.npy"))[0],
        "matrix_MB": problem.operator.nbytes / 1e6,
        "peak_memory_GB": peak_GB(),
    }


def in_own_process(*arguments: str) -> dict:
    """Run this script again, so that memory is that of one run."""
    done = subprocess.run(
        [sys.executable, str(HERE), *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(peer_python: str, runs: int) -> dict:
    """Peer and ours in turn."""
    peers, ours = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run in range(runs):
            done = subprocess.run(
                [peer_python, str(HERE.with_name("peer_pyradplan_fluence.py")), name, "1"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"pyRadPlan failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            peer = json.loads(done.stdout.strip().splitlines()[-1])
            asked = {(o["structure"], o["kind"], o["dose_Gy"], o["weight"]) for o in peer["objectives"]}
            kinds = {SquaredDeviation: "Squared Deviation", SquaredOverdose: "Squared Overdosing"}
            if asked != {(o.structure, kinds[type(o)], o.dose_Gy, o.weight) for o in tg119_objectives()}:
                sys.exit(f"pyRadPlan's objectives are not those expected: {asked}")
            (folder / "shape.json").write_text(json.dumps(peer["shape"]))
            peers.append(peer)
            ours.append(in_own_process("--own", name, "--goal", repr(peer["value"])))
            own = {"goal_s": float("nan"), "further_s": float("nan"), **ours[-1]}
            print(
                f"{run + 1}: peer {peer['solver_s'][0]:.2f} s to {peer['value']:.2f}; ours {own['goal_s']:.2f} s to it,"
                f" {own['further_s']:.2f} s to {FURTHER}, {own['whole_s']:.2f} s to {own['value']:.4f}",
                flush=True,
            )
    peer_s = median(peer["solver_s"][0] for peer in peers)
    goal_s = median(own.get("goal_s", float("inf")) for own in ours)
    return {
        "peer": {key: value for key, value in peers[-1].items() if key != "history"},
        "ours": ours[-1],
        "peer_solver_s": [peer["solver_s"][0] for peer in peers],
        "ours_to_peer_value_s": [own.get("goal_s") for own in ours],
        "median_peer_s": peer_s,
        "median_ours_to_peer_value_s": goal_s,
        "median_ours_to_further_s": median(own.get("further_s", float("inf")) for own in ours),
        "median_ours_whole_s": median(own["whole_s"] for own in ours),
        "ratio": peer_s / goal_s,
        "peer_peak_memory_GB": max(peer["peak_memory_GB"] for peer in peers),
        "ours_peak_memory_GB": max(own["peak_memory_GB"] for own in ours),
    }


def head_and_neck() -> tuple[sparse.csc_array, dict[str, np.ndarray]]:
    """A made-up case: matrix (voxels, bixels) of an elliptic neck, and structures of it."""
    spacing, width = 3.0, 5.0
    half = np.array([90.0, 110.0, 120.0])
    axes = [np.arange(-h + spacing / 2, h, spacing) for h in half]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    points = points[(points[:, 0] / 90) ** 2 + (points[:, 1] / 110) ** 2 < 1]

    def ball(centre, radii):
        return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(axis=1) < 1

    low = ball((0, 20, 0), (54, 38, 52)) & ~ball((0, -32, 0), (16, 30, 200))
    high = ball((22, 22, 10), (26, 26, 30))
    masks = {
        "PTV70": high,
        "PTV56": low & ~high,
        "SpinalCord": ball((0, -45, 0), (7, 7, 500)),
        "Parotid_L": ball((62, -8, 40), (14, 20, 24)),
        "Parotid_R": ball((-62, -8, 40), (14, 20, 24)),
    }
    masks["Body"] = ~np.any(list(masks.values()), axis=0)
    target = points[low | high]
    columns = []
    for gantry in np.radians(np.arange(9) * 40.0):
        along = np.array([np.sin(gantry), np.cos(gantry), 0.0], np.float32)
        across = np.array([np.cos(gantry), -np.sin(gantry), 0.0], np.float32)
        depth = (along * np.array([90.0, 110.0, 0.0])).sum() ** 2
        toward = points @ along
        # to the surface of the ellipse along the beam
        a = (along[0] / 90) ** 2 + (along[1] / 110) ** 2
        b = points[:, 0] * along[0] / 90**2 + points[:, 1] * along[1] / 110**2
        c = (points[:, 0] / 90) ** 2 + (points[:, 1] / 110) ** 2 - 1
        depth = (-b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
        central = ((1 - 0.6 * np.exp(-depth / 6)) * np.exp(-0.0045 * depth) * (1 + toward / 1000) ** 2).astype(
            np.float32
        )
        u, v = points @ across, points[:, 2]
        cells = np.unique(np.round(np.stack((target @ across, target[:, 2]), axis=1) / width).astype(int), axis=0)
        order = np.argsort(v, kind="stable")
        sorted_v = v[order]
        for column, row in cells:
            first, last = np.searchsorted(sorted_v, [row * width - 30, row * width + 30])
            near = order[first:last]
            squared = (u[near] - column * width) ** 2 + (v[near] - row * width) ** 2
            inside = squared < 900
            near, squared = np.sort(near[inside]), squared[inside][np.argsort(near[inside], kind="stable")]
            value = central[near] * (0.012 * np.exp(-squared / 32) + 0.0004 * np.exp(-np.sqrt(squared) / 12))
            columns.append((near.astype(np.int32), value.astype(np.float32)))
    indptr = np.concatenate(([0], np.cumsum([rows.size for rows, _ in columns])))
    data = np.concatenate([value for _, value in columns])
    indices = np.concatenate([rows for rows, _ in columns])
    del columns
    matrix = sparse.csc_array((data, indices, indptr.astype(np.int64)), shape=(points.shape[0], indptr.size - 1))
    return matrix, {name: np.flatnonzero(mask) for name, mask in masks.items()}


def head_and_neck_run(solver: str) -> dict:
    """From the matrix to the optimized dose, 35 fractions."""
    made = time.perf_counter()
    matrix, voxels_of = head_and_neck()
    made = time.perf_counter() - made
    warm_up(matrix.indices.dtype)
    objectives = [
        SquaredDeviation("PTV70", 70.0, 1000.0),
        SquaredDeviation("PTV56", 56.0, 700.0),
        SquaredOverdose("SpinalCord", 40.0, 400.0),
        SquaredOverdose("Parotid_L", 20.0, 50.0),
        SquaredOverdose("Parotid_R", 20.0, 50.0),
        MeanDose("Parotid_L", 5.0),
        MeanDose("Parotid_R", 5.0),
        SquaredOverdose("Body", 40.0, 150.0),
        MeanDose("Body", 1.0),
    ]
    start, start_cpu = time.perf_counter(), time.process_time()
    problem = Problem(matrix, voxels_of, objectives, scale=35.0)
    converted = time.perf_counter()
    method = QuasiNewton() if solver == "quasi-newton" else BoundedLBFGS(max_iterations=1000, tolerance=1e-8)
    solution = method.solve(problem, np.zeros(problem.variables))
    problem.dose_Gy(solution.weights)
    return {
        "solver": solver,
        "bixels": matrix.shape[1],
        "voxels": matrix.shape[0],
        "nonzeros": int(matrix.nnz),
        "making_the_matrix_s": made,
        "conversion_s": converted - start,
        "matrix_to_dose_s": time.perf_counter() - start,
        "matrix_to_dose_cpu_s": time.process_time() - start_cpu,
        "value": solution.value,
        "history": [round(value, 3) for value in solution.history[:20]],
        "iterations": solution.iterations,
        "message": solution.message,
        "peak_memory_GB": peak_GB(),
        "D95_Gy": {
            name: float(np.quantile(problem.structure_dose_Gy(name, solution.weights), 0.05))
            for name in ("PTV70", "PTV56")
        },
    }


def main() -> None:
    """Parse, run, print JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python that has pyRadPlan 0.5.0")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--head-and-neck", action="store_true")
    parser.add_argument("--solver", choices=["quasi-newton", "l-bfgs-b"], default="quasi-newton")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--own", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--goal", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.own:
        print(json.dumps(own_run(arguments.own, arguments.goal)))
        return
    answer = {}
    if arguments.peer:
        answer["pyRadPlan's TG-119"] = compare(arguments.peer, arguments.runs)
    if arguments.head_and_neck:
        answer["head and neck"] = head_and_neck_run(arguments.solver)
    if not answer:
        parser.error("nothing to do: give --peer, --head-and-neck or both")
    if arguments.output:
        arguments.output.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
