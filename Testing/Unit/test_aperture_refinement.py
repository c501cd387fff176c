"""Refinement of apertures: gradients, limits, and what it wins back."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sequencing_factory import bixels_of, machine_file, plan_for

from DoseEngineLib.errors import Cancelled
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Beam, Plan, Prescription
from OptimizerLib.constraints import MaxDose, MaxMean, MinDose
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import SquaredDeviation, SquaredOverdose
from OptimizerLib.problem import Problem
from OptimizerLib.sequencing import (
    DeliveryProblem,
    check_deliverable,
    delivered_weights,
    refine_apertures,
    refine_to_dose,
    sequence,
)
from OptimizerLib.sequencing.modulated_beams import beam_weights
from OptimizerLib.sequencing.segmented_field import SegmentedField
from OptimizerLib.solvers import BoundedLBFGS


def c_shape(machine="generic_6mv", gantry_deg=(0.0, 72.0, 144.0, 216.0, 288.0)):
    """A target around a core in a cylinder, with attenuating, blurred bixels: a small IMRT case."""
    axis = np.arange(-42.0, 42.1, 6.0)
    z = np.arange(-15.0, 15.1, 6.0)
    at = np.stack([a.ravel() for a in np.meshgrid(axis, axis, z, indexing="ij")], axis=1)
    radius = np.hypot(at[:, 0], at[:, 1])
    inside = radius <= 45.0
    at, radius = at[inside], radius[inside]
    target = (radius > 15.0) & (radius < 32.0) & (at[:, 1] > -5.0)
    core = radius < 10.0
    lattice = np.mgrid[-8:8, -4:4].reshape(2, -1) + 0.5
    beams, blocks = [], []
    for number, gantry in enumerate(gantry_deg):
        across = at[:, 0] * np.cos(np.radians(gantry)) + at[:, 1] * np.sin(np.radians(gantry))
        depth = at[:, 0] * np.sin(np.radians(gantry)) - at[:, 1] * np.cos(np.radians(gantry)) + 60.0
        x, y = 5.0 * lattice
        away = (across[:, None] - x) ** 2 + (at[:, 2][:, None] - y) ** 2
        dose = 0.01 * np.exp(-0.005 * depth)[:, None] * np.exp(-away / (2 * 4.0**2)) * 25.0 / (2 * np.pi * 4.0**2)
        blocks.append(np.where(dose > 1e-5, dose, 0.0))
        beams.append(BixelBeam(f"B{number}", gantry, 0.0, 0.0, (0.0, 0.0, 0.0), machine, 5.0, x, y))
    influence = SimpleNamespace(beams=tuple(beams), matrix=np.hstack(blocks))
    plan = Plan(
        "C",
        tuple(Beam.open_field(b.name, gantry_deg=b.gantry_deg, machine=machine) for b in beams),
        Prescription(50.0, 25, normalization="none"),
    )
    voxels = {name: np.flatnonzero(mask) for name, mask in (("PTV", target), ("Core", core), ("Body", ~target))}
    objectives = (
        SquaredDeviation("PTV", 2.0, weight=100.0),
        SquaredOverdose("Core", 0.8, weight=30.0),
        SquaredOverdose("Body", 1.2, weight=10.0),
    )
    influence.voxels_of = voxels
    return influence, plan, Problem(influence.matrix, voxels, objectives)


@pytest.fixture(scope="module")
def case():
    influence, plan, problem = c_shape()
    ideal = BoundedLBFGS(max_iterations=40).solve(problem, np.full(problem.variables, 5.0)).weights
    return influence, plan, problem, ideal


def field_of(path, values, step_mm=3.0, levels=4):
    bixels, weights = bixels_of(values, path, first_row=-2, first_column=-4)
    influence, plan = plan_for(bixels)
    beam = sequence(influence, weights, plan, levels=levels).beams[0]
    return SegmentedField.from_beam(beam, bixels, load_machine(path), step_mm), beam, bixels


def random_values(seed=3):
    return np.random.default_rng(seed).integers(0, 9, (5, 9)) * 2.0


@pytest.mark.parametrize("tongue_mm", [0.0, 0.4])
@pytest.mark.parametrize("interdigitation", [True, False])
def test_the_slope_is_that_of_the_exposure(tmp_path, tongue_mm, interdigitation):
    path = machine_file(tmp_path, mlc={"tongue_and_groove_mm": tongue_mm}, limits={"interdigitation": interdigitation})
    field, _, bixels = field_of(path, random_values())
    rng = np.random.default_rng(0)
    low, high = field.bounds()
    at = rng.uniform(low, np.minimum(high, low + 3.0))
    by_bixel = rng.normal(size=bixels.size)
    field.exposure(at)
    slope = field.slope(by_bixel)
    for _ in range(20):
        direction = rng.normal(size=at.size)
        step = 1e-6
        ahead, behind = (by_bixel @ field.exposure(at + sign * step * direction) for sign in (1, -1))
        assert slope @ direction == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-4)


def test_the_exposure_of_the_search_is_that_of_the_control_points(tmp_path):
    path = machine_file(tmp_path)
    field, beam, bixels = field_of(path, random_values() + 1.0)
    assert field.exposure(field.variables(), smoothing_mm=1e-9) == pytest.approx(beam_weights(beam, bixels), abs=1e-4)
    again = field.to_beam()
    assert again.meterset_MU == pytest.approx(beam.meterset_MU)
    assert beam_weights(again, bixels) == pytest.approx(beam_weights(beam, bixels), abs=1e-4)


@pytest.mark.parametrize(
    "limits", [{}, {"interdigitation": False}, {"minimum_gap_mm": 2.0, "minimum_moving_gap_mm": 2.0}]
)
def test_any_place_between_the_bounds_can_be_delivered(tmp_path, limits):
    path = machine_file(tmp_path, limits=limits)
    field, _, _ = field_of(path, random_values() + 1.0, step_mm=6.0)
    rng = np.random.default_rng(1)
    low, high = field.bounds(least_segment_MU=0.5)
    assert (low <= high).all()
    start = field.variables()
    for _ in range(5):
        side = rng.random(low.size) < 0.5
        field.move_to(np.where(side, low, np.minimum(high, start + 5.0)))
        check_deliverable(field.to_beam(), load_machine(path))


def test_refinement_wins_back_most_of_what_sequencing_lost(case):
    influence, plan, problem, ideal = case
    sequenced = sequence(influence, ideal, plan, levels=5)
    heard = []
    result = refine_apertures(
        problem,
        influence,
        sequenced,
        ideal_weights=ideal,
        rounds=3,
        iterations=15,
        progress=lambda fraction, text: heard.append(fraction),
    )
    losses = result.losses
    assert losses.ideal < losses.refined < losses.sequenced
    assert losses.recovered > 0.5
    assert sum(losses.refined_terms) == pytest.approx(losses.refined)
    assert result.weights == pytest.approx(delivered_weights(influence, result.plan))
    assert sum(problem.values(result.weights)) == pytest.approx(losses.refined)
    assert result.history[0] == pytest.approx(losses.sequenced)
    assert heard[-1] == 1.0
    assert all(0 <= fraction <= 1 for fraction in heard)
    machine = load_machine("generic_6mv")
    for beam in result.plan.beams:
        check_deliverable(beam, machine)
        MU = beam.meterset_MU * np.diff([p.cumulative_meterset_weight for p in beam.control_points])
        assert MU[MU > 1e-6].min() >= 1.0 - 1e-6


@pytest.mark.parametrize("limits", [{"interdigitation": False}, {"minimum_gap_mm": 2.0, "minimum_moving_gap_mm": 2.0}])
def test_other_machines_are_refined_too(case, tmp_path, limits):
    path = machine_file(tmp_path, limits=limits)
    influence, plan, problem = c_shape(path)
    ideal = case[3]
    result = refine_apertures(problem, influence, sequence(influence, ideal, plan, levels=5), rounds=2, iterations=10)
    assert result.losses.ideal is None
    assert result.losses.recovered is None
    assert result.losses.refined < 0.8 * result.losses.sequenced
    for beam in result.plan.beams:
        check_deliverable(beam, load_machine(path))


def test_a_closed_beam_stays_closed(case):
    influence, plan, problem, ideal = case
    ideal = np.where(np.arange(ideal.size) < influence.beams[0].size, 0.0, ideal)
    result = refine_apertures(problem, influence, sequence(influence, ideal, plan, levels=3), rounds=1, iterations=3)
    assert result.plan.beams[0].meterset_MU == 0.0
    assert result.losses.refined < result.losses.sequenced


def test_segments_that_lose_all_their_MU_close_the_beam(case):
    """Objectives that want no dose anywhere: MU end below a millionth, and where they are none the beam is closed."""
    influence, plan, _, ideal = case
    nothing = Problem(
        influence.matrix, influence.voxels_of, (SquaredOverdose("PTV", 0.0), SquaredOverdose("Body", 0.0))
    )
    sequenced = sequence(influence, ideal, plan, levels=3)
    result = refine_apertures(nothing, influence, sequenced, rounds=2, iterations=20, least_segment_MU=0.0)
    assert [beam.meterset_MU for beam in result.plan.beams] == pytest.approx([0.0] * len(plan.beams), abs=1e-6)
    closed = [beam for beam in result.plan.beams if beam.meterset_MU == 0.0]
    assert closed
    assert all(len(beam.control_points) == 2 for beam in closed)
    assert result.losses.refined == pytest.approx(0.0, abs=1e-9)


def test_refinement_can_be_cancelled(case):
    influence, plan, problem, ideal = case

    def stop(fraction, text):
        raise Cancelled

    with pytest.raises(Cancelled):
        refine_apertures(problem, influence, sequence(influence, ideal, plan), progress=stop)


def test_plans_that_cannot_be_refined_are_refused(case):
    influence, plan, problem, ideal = case
    with pytest.raises(OptimizationError, match="leaves must be set"):
        refine_apertures(problem, influence, plan)
    with pytest.raises(OptimizationError, match="step and shoot"):
        refine_apertures(problem, influence, sequence(influence, ideal, plan, "sliding_window", control_points=10))
    with pytest.raises(OptimizationError, match="rounds"):
        refine_apertures(problem, influence, plan, rounds=0)
    one = SimpleNamespace(beams=influence.beams[:1])
    with pytest.raises(OptimizationError, match="build the problem"):
        refine_apertures(problem, one, replace(plan, beams=plan.beams[:1]))


def engine_of(influence):
    """An engine that disagrees with the influence: less output, more scatter to a side."""
    rows = influence.matrix.shape[0]
    tilt = 0.03 * np.linspace(-1.0, 1.0, rows)

    def dose_of(plan):
        dose = influence.matrix @ delivered_weights(influence, plan)
        dose = dose * (0.97 + tilt) + 0.01 * dose.mean()
        return {name: dose[voxels] for name, voxels in influence.voxels_of.items()}

    return dose_of


def test_refinement_to_the_dose_of_an_engine_takes_in_what_the_influence_does_not_know(case):
    influence, plan, problem, ideal = case
    dose_of = engine_of(influence)
    refined = refine_apertures(
        problem, influence, sequence(influence, ideal, plan, levels=5), rounds=2, iterations=15
    ).plan
    heard = []
    result = refine_to_dose(
        problem,
        influence,
        refined,
        dose_of,
        rounds=1,
        iterations=10,
        progress=lambda fraction, text: heard.append(fraction),
    )
    assert len(result.history) == 3
    assert result.value == min(result.history) < 0.9 * result.history[0]
    assert result.value == pytest.approx(sum(result.terms))
    by_engine = dose_of(result.plan)
    assert sum(o.value(by_engine[o.structure]) for o in problem.objectives) == pytest.approx(result.value)
    assert heard == sorted(heard)
    for beam in result.plan.beams:
        check_deliverable(beam, load_machine("generic_6mv"))


def test_the_gradient_of_a_corrected_problem(case):
    influence, plan, problem, ideal = case
    dose_of = engine_of(influence)(sequence(influence, ideal, plan, levels=3))
    corrected = DeliveryProblem.corrected(problem, ideal, dose_of)
    assert sum(corrected.values(ideal)) == pytest.approx(
        sum(o.value(dose_of[o.structure]) for o in problem.objectives), rel=1e-6
    )
    direction = np.random.default_rng(2).normal(size=ideal.size)
    value, gradient = corrected.value_and_gradient(ideal)
    assert value == pytest.approx(sum(corrected.values(ideal)))
    ahead, behind = (corrected.value_and_gradient(ideal + sign * 1e-3 * direction)[0] for sign in (1, -1))
    assert gradient @ direction == pytest.approx((ahead - behind) / 2e-3, rel=1e-3)


def with_limits(influence, problem):
    """The same case with limits that its ideal fluence just misses."""
    limits = (MaxDose("Core", 0.75), MinDose("PTV", 1.95), MaxMean("Body", 1.0))
    return Problem(influence.matrix, influence.voxels_of, problem.objectives, limits)


def test_the_gradient_with_constraints(case):
    influence, _, problem, ideal = case
    limited = DeliveryProblem(with_limits(influence, problem), constraint_weight=500.0)
    assert len(limited.values(ideal)) == 6
    assert all(penalty > 0 for penalty in limited.values(ideal)[3:])
    assert limited.violation_Gy(ideal) == pytest.approx(limited.problem.violation_Gy(ideal))
    direction = np.random.default_rng(4).normal(size=ideal.size)
    value, gradient = limited.value_and_gradient(ideal)
    assert value == pytest.approx(limited.value(ideal))
    ahead, behind = (limited.value(ideal + sign * 1e-4 * direction) for sign in (1, -1))
    assert gradient @ direction == pytest.approx((ahead - behind) / 2e-4, rel=1e-3)


def test_refinement_looks_at_constraints(case):
    influence, plan, problem, ideal = case
    sequenced = sequence(influence, ideal, plan, levels=5)
    limited = with_limits(influence, problem)
    minding, careless = (
        refine_apertures(limited, influence, sequenced, rounds=1, iterations=15, constraint_weight=weight)
        for weight in (1e4, 0.0)
    )
    assert minding.losses.refined_violation_Gy < 0.5 * careless.losses.refined_violation_Gy
    assert minding.losses.refined_violation_Gy < minding.losses.sequenced_violation_Gy
    with pytest.raises(OptimizationError, match="constraint_weight"):
        refine_apertures(limited, influence, sequenced, constraint_weight=-1.0)


def test_doses_that_do_not_fit_are_refused(case):
    influence, plan, problem, ideal = case
    sequenced = sequence(influence, ideal, plan, levels=3)
    with pytest.raises(OptimizationError, match="PTV"):
        refine_to_dose(problem, influence, sequenced, lambda plan: {})
    with pytest.raises(OptimizationError, match="corrections"):
        refine_to_dose(problem, influence, sequenced, engine_of(influence), corrections=0)
