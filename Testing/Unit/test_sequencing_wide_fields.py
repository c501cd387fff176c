"""Fields wider than the leaves reach: parts that fade into each other."""

from __future__ import annotations

import numpy as np
import pytest
from sequencing_factory import bixels_of, machine_file, plan_for
from test_sequencing_step_and_shoot import modulated

from DoseEngineLib.errors import PlanError
from DoseEngineLib.machine import load_machine
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import SquaredDeviation
from OptimizerLib.problem import Problem
from OptimizerLib.sequencing import check_deliverable, delivered_weights, refine_apertures, sequence
from OptimizerLib.sequencing.leaf_tips import leaf_tips
from OptimizerLib.sequencing.wide_fields import fading_shares, widest_field_mm


def wide(path, columns=50, rows=10):
    bixels, weights = bixels_of(3.0 * modulated(4, rows, columns), path, first_row=-5, first_column=-columns // 2)
    return (*plan_for(bixels), weights)


@pytest.mark.parametrize("columns", [28, 29, 30, 40, 56, 57, 80])
def test_shares_add_up_fade_and_fit(columns):
    machine = load_machine("generic_6mv")
    widest = int(widest_field_mm(machine) / 5.0)
    assert widest == 28
    shares = fading_shares(columns, 5.0, machine)
    assert shares.sum(axis=0) == pytest.approx(np.ones(columns))
    assert (shares >= 0).all()
    lit = [np.flatnonzero(share) for share in shares]
    assert max(np.ptp(part) + 1 for part in lit) <= widest
    assert len(shares) == (1 if columns <= 28 else 2 if columns <= 52 else 3 if columns <= 76 else 4)
    if len(shares) > 1:
        # nowhere does a part begin or end at full strength inside the field
        assert all(share[part[0]] <= 0.5 for share, part in zip(shares[1:], lit[1:], strict=True))
        assert np.abs(np.diff(shares, axis=1)).max() <= 0.5


@pytest.mark.parametrize("method", ["step_and_shoot", "sliding_window"])
def test_parts_together_give_the_wanted_fluence(tmp_path, method):
    path = machine_file(tmp_path, mlc={"tongue_and_groove_mm": 0.0})
    influence, plan, weights = wide(path)
    sequenced = sequence(influence, weights, plan, method, levels=40)
    assert [beam.name for beam in sequenced.beams] == ["A part 1", "A part 2"]
    for beam in sequenced.beams:
        check_deliverable(beam, load_machine(path))
    got = delivered_weights(influence, sequenced)
    total = sum(beam.meterset_MU for beam in sequenced.beams)
    # where parts fade, each gives at least what leaks and, with moving leaves, a slit in passing
    least = 0.02 * total + (0.0 if method == "step_and_shoot" else 2.0)
    assert np.abs(got - weights)[weights > least].max() <= 0.05 * weights.max()
    again = sequence(influence, weights, sequenced, method, levels=40)
    assert [beam.name for beam in again.beams] == ["A part 1", "A part 2"]
    assert delivered_weights(influence, again) == pytest.approx(got)


def test_parts_are_refined_together(tmp_path):
    influence, plan, weights = wide(machine_file(tmp_path), columns=32, rows=6)
    problem = Problem(np.eye(weights.size), {"All": np.arange(weights.size)}, [SquaredDeviation("All", 6.0)])
    sequenced = sequence(influence, np.where(weights > 0, 6.0, 0.0), plan, levels=4)
    result = refine_apertures(problem, influence, sequenced, rounds=2, iterations=10)
    assert [beam.name for beam in result.plan.beams] == ["A part 1", "A part 2"]
    assert result.losses.refined < result.losses.sequenced
    assert sum(problem.values(delivered_weights(influence, result.plan))) == pytest.approx(result.losses.refined)


def test_leaves_that_reach_too_little_to_split_are_refused(tmp_path):
    influence, plan, weights = wide(machine_file(tmp_path, limits={"maximum_spread_mm": 40.0}))
    with pytest.raises(OptimizationError, match="too little to split"):
        sequence(influence, weights, plan)


def test_leaves_do_not_leave_their_travel(tmp_path):
    path = machine_file(tmp_path, mlc={"minimum_mm": -20.0, "maximum_mm": 20.0})
    bixels, weights = bixels_of(np.ones((2, 4)), path, first_column=2)
    influence, plan = plan_for(bixels)
    with pytest.raises((OptimizationError, PlanError), match="travel"):
        sequence(influence, weights, plan)
    machine = load_machine("generic_6mv")
    with pytest.raises(OptimizationError, match="155 mm wide"):
        leaf_tips(np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1), bool), slice(30, 31), (0.0, 155.0), machine, 0.0)
