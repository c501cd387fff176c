"""Speed of a navigation step between Pareto plans, and of the plans themselves.

Not collected by pytest. On a quiet machine::

    python Testing/Benchmarks/bench_navigation.py --json navigation.json

(a) Navigation: a front of 30 plans of four goals, 3,000 weights, doses stored in 200,000 voxels. A step is what follows
    a slider: the linear program, the weights, the dose in all stored voxels, and the four goals' exact values at that
    dose. Values of the plans lie on a sphere, so that none dominates another; doses are random. Median and slowest of
    200 steps, each slider in turn, one goal locked.
(b) Plans: a disc phantom with a C-shaped target, seven beams of 17 bixels (119 weights, 2,821 voxels of 3 mm), four
    goals. Time and number of plans to a gap, for two, three and four goals.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.special import erf

from OptimizerLib.multicriteria import Goal, Navigator, ParetoFront, TradeOff, approximate_pareto_front
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose

PLANS, VARIABLES, VOXELS, STEPS = 30, 3000, 200_000, 200
BAR_S = 0.1


def made_up_front() -> tuple[ParetoFront, TradeOff]:
    """30 plans whose values lie on the inner side of a sphere, and a trade-off to evaluate goals with."""
    random = np.random.default_rng(0)
    direction = np.abs(random.normal(size=(PLANS, 4)))
    direction[:4] = np.eye(4)
    values = 10.0 * (1.0 - direction / np.linalg.norm(direction, axis=1, keepdims=True))
    names = ("Target", "Cord", "Parotid", "Body")
    sizes = (20_000, 5_000, 15_000, 160_000)
    ends = np.cumsum(sizes)
    voxels_of = {name: np.arange(end - size, end) for name, size, end in zip(names, sizes, ends)}
    goals = [
        Goal("Target", (SquaredDeviation("Target", 60.0),)),
        Goal("Cord", (SquaredOverdose("Cord", 40.0),)),
        Goal("Parotid", (MeanDose("Parotid"),)),
        Goal("Body", (SquaredOverdose("Body", 20.0),)),
    ]
    trade_off = TradeOff(sparse.csr_array((VOXELS, VARIABLES), dtype=np.float32), voxels_of, goals)
    front = ParetoFront(
        goals=names,
        weights=random.uniform(0.0, 5.0, (PLANS, VARIABLES)),
        values=values,
        normals=np.ones((PLANS, 4)),
        ideal=values.min(axis=0),
        nadir=values.max(axis=0),
        gap=0.05,
        gap_history=((PLANS, 0.05),),
        total_weight=1e5,
        plane_normals=np.ones((1, 4)),
        plane_offsets=np.zeros(1),
        voxels=np.arange(VOXELS),
        voxels_of=voxels_of,
        doses_Gy=random.uniform(0.0, 70.0, (PLANS, VOXELS)).astype(np.float32),
        converged=True,
        message="made up",
    )
    return front, trade_off


def time_navigation() -> dict[str, float]:
    """Seconds of the parts of a step: median, and slowest of the whole."""
    front, trade_off = made_up_front()
    navigator = Navigator(front, trade_off)
    navigator.lock("Body")
    random = np.random.default_rng(1)
    extent = front.nadir - front.ideal
    parts: dict[str, list[float]] = {"program": [], "weights": [], "dose": [], "values": [], "step": []}
    mixed = []
    for step in range(STEPS):
        goal = step % 3
        wish = float(front.ideal[goal] + random.uniform(0.1, 1.0) * extent[goal])
        times = [time.perf_counter()]
        position = navigator.move(goal, wish)
        times.append(time.perf_counter())
        navigator.weights()
        times.append(time.perf_counter())
        navigator.dose_Gy()
        times.append(time.perf_counter())
        navigator.exact_values()
        times.append(time.perf_counter())
        for name, seconds in zip(("program", "weights", "dose", "values"), np.diff(times)):
            parts[name].append(float(seconds))
        parts["step"].append(times[-1] - times[0])
        mixed.append(int(np.count_nonzero(position.shares)))
    report = {f"{name}_s": statistics.median(seconds) for name, seconds in parts.items()}
    return report | {"slowest_step_s": max(parts["step"]), "most_plans_mixed": max(mixed)}


def disc_trade_off(goals: int) -> TradeOff:
    """Parallel beams of exponential attenuation and blurred edges onto a disc of 18 cm."""
    count, spacing, width = 61, 3.0, 5.0
    centre = (np.arange(count) - (count - 1) / 2) * spacing
    y, x = np.meshgrid(centre, centre, indexing="ij")
    radius, rim = np.hypot(x, y), spacing * (count - 1) / 2
    body = radius <= rim
    target = (radius > 15) & (radius < 35) & ~((y > 0) & (np.abs(x) < 12))
    masks = {"PTV": target, "Core": radius < 10, "Body": body & ~target, "Lung": np.hypot(x - 50, y - 10) < 20}
    blocks = []
    bixels = np.arange(-8, 9) * width
    for angle in 2 * np.pi * np.arange(7) / 7:
        lateral = (x * np.cos(angle) + y * np.sin(angle))[body]
        depth = (-x * np.sin(angle) + y * np.cos(angle))[body] + np.sqrt(np.maximum(rim**2 - lateral**2, 0.0))
        from_edges = (lateral[:, None] - bixels) / (4.0 * np.sqrt(2.0)), width / 2 / (4.0 * np.sqrt(2.0))
        profile = 0.5 * (erf(from_edges[0] + from_edges[1]) - erf(from_edges[0] - from_edges[1]))
        block = profile * np.exp(-0.005 * depth)[:, None]
        blocks.append(np.where(block < 1e-3, 0.0, block))
    influence = sparse.csc_array(np.hstack(blocks).astype(np.float32))
    chosen = [
        Goal("PTV", (SquaredDeviation("PTV", 60.0),), bound=25.0),
        Goal("Core", (MeanDose("Core"),)),
        Goal("Body", (SquaredOverdose("Body", 20.0),)),
        Goal("Lung", (MeanDose("Lung"),)),
    ]
    return TradeOff(
        influence, {name: np.flatnonzero(mask[body]) for name, mask in masks.items()}, chosen[:goals], scale=30.0
    )


def time_fronts() -> list[dict[str, float]]:
    """Seconds and plans to a gap of 2, 5 and 10 % for two, three and four goals."""
    approximate_pareto_front(disc_trade_off(2), max_plans=2)
    rows = []
    for goals, gap in ((2, 0.02), (3, 0.05), (4, 0.10)):
        began = time.perf_counter()
        front = approximate_pareto_front(disc_trade_off(goals), gap=gap, max_plans=40)
        seconds = time.perf_counter() - began
        rows.append({"goals": goals, "gap_asked": gap, "gap": front.gap, "plans": front.plans, "seconds": seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    navigation = time_navigation()
    print(f"Navigation, {PLANS} plans, {VOXELS:,} voxels, {VARIABLES:,} weights; median of {STEPS} steps:")
    for name, value in navigation.items():
        print(f"  {name:18} {1000 * value:8.2f} ms" if name.endswith("_s") else f"  {name:18} {value:8}")
    verdict = "met" if navigation["slowest_step_s"] < BAR_S else "MISSED"
    print(f"  bar {1000 * BAR_S:.0f} ms: {verdict} by the slowest step")
    fronts = time_fronts()
    print("Fronts of the disc phantom:")
    for row in fronts:
        print(f"  {row['goals']} goals: {row['plans']} plans to {100 * row['gap']:.2f} % in {row['seconds']:.1f} s")
    if options.json:
        report = {"machine": platform.platform(), "navigation": navigation, "fronts": fronts}
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
