"""Pareto plans of a small sphere beside an organ: computed within limits, kept in a file, navigated, delivered."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings, fluence_influence, plan_fluence
from OptimizerLib.multicriteria import Navigator
from OptimizerLib.pareto_planning import goal_groups, plan_pareto
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.planning_goals import PlanningGoals

GRID = Grid.from_spacing((16, 16, 16), 8.0, (-60.0, -60.0, -60.0))
SETTINGS = FluenceSettings(bixel_mm=10.0, spacing_mm=8.0, levels=5, corrections=0, tolerance=1e-6)
GOALS = PlanningGoals.from_entries(
    ["PTV uniform 2 Gy, weight 100", "minimize Organ Mean, weight 3", "External Max <= 2 Gy", "fluence smoothness"]
)
TRADED = (("PTV", "External"), ("Organ",))


def ball(centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    return np.linalg.norm(GRID.index_to_ras(np.stack((i, j, k), axis=-1)) - centre, axis=-1) <= radius_mm


@pytest.fixture(scope="module")
def patient() -> Patient:
    structures = (
        Structure("External", np.ones(GRID.shape, bool), GRID, "EXTERNAL"),
        Structure("PTV", ball((0.0, 0.0, 0.0), 20.0), GRID, "PTV"),
        Structure("Organ", ball((-28.0, 0.0, 0.0), 14.0), GRID, "ORGAN"),
    )
    return Patient.from_density(np.ones(GRID.shape, np.float32), GRID, structures=structures)


@pytest.fixture(scope="module")
def plan() -> Plan:
    beams = tuple(Beam.open_field(f"G{angle}", gantry_deg=angle) for angle in (0, 90, 200))
    return Plan("Three", beams, Prescription(2.0, 1, "PTV", "none"), engine="photon-pencil-beam")


@pytest.fixture(scope="module")
def influence(patient, plan):
    return fluence_influence(patient, plan, GOALS, SETTINGS)


@pytest.fixture(scope="module")
def plans(patient, plan, influence) -> ParetoPlans:
    return plan_pareto(patient, plan, GOALS, TRADED, SETTINGS, gap=0.05, max_plans=6, influence=influence)


def test_plans_trade_the_goals_within_limits(patient, plan, influence, plans):
    """Limits are four times the plan of the rows' weights; that plan is no better than the front's bound allows."""
    front = plans.front
    assert front.goals == ("PTV and External", "Organ")
    assert 2 <= front.plans <= 6
    found = plan_fluence(patient, plan, GOALS, replace(SETTINGS, delivery="ideal"), influence=influence)
    target, organ, body, smooth = found.problem.values(found.solution.weights)
    assert plans.balanced == pytest.approx((target + body + smooth, organ + smooth), rel=1e-2)
    least = 0.01 * sum(plans.balanced)
    assert plans.limits == pytest.approx([v - abs(v) + 4.0 * max(abs(v), least) for v in plans.balanced])
    assert (front.values <= np.array(plans.limits) * (1 + 1e-3)).all()
    order = np.argsort(front.values[:, 0])
    assert (np.diff(front.values[order, 1]) < 0).all()
    assert (front.plane_normals @ np.array(plans.balanced) >= front.plane_offsets - 1e-6).all()


def test_a_limit_that_is_given_holds(patient, plan, influence):
    """By a structure of the goal."""
    made = plan_pareto(
        patient, plan, GOALS, TRADED, SETTINGS, limits={"External": 3.0}, gap=0.2, max_plans=3, influence=influence
    )
    assert made.limits[0] == 3.0
    assert made.front.values[:, 0].max() <= 3.0 * (1 + 1e-3)
    with pytest.raises(OptimizationError, match=r"Lung cannot be limited.*PTV and External, Organ"):
        plan_pareto(patient, plan, GOALS, TRADED, SETTINGS, limits={"Lung": 3.0}, influence=influence)


def test_doses_of_mixtures_are_told(influence, patient, plans):
    """Mean and D95% against the dose of the mixed weights, voxel by voxel."""
    shares = np.full(plans.front.plans, 1.0 / plans.front.plans)
    dose = influence.matrix @ plans.front.mixed_weights(shares)
    rows = influence.rows_of(patient.structure("PTV"))
    mean = plans.mean_Gy(shares, "PTV")
    assert mean == pytest.approx(dose[rows].mean(), rel=0.02)
    structure = plans.front.mixed_dose_Gy(shares, "PTV")
    volumes = plans.volumes_of["PTV"]
    assert mean == pytest.approx((structure * volumes).sum() / volumes.sum(), rel=1e-6)
    level = plans.dose_at_volume_Gy(shares, "PTV", 95.0)
    assert volumes[structure >= level].sum() >= 0.95 * volumes.sum() * (1 - 1e-6)
    assert volumes[structure > level].sum() < 0.95 * volumes.sum()


def test_a_file_brings_back_the_same_and_knows_what_it_is_of(tmp_path, plans, influence, patient, plan):
    read = ParetoPlans.load(plans.save(tmp_path / "front.npz"))
    for name in ("weights", "values", "normals", "ideal", "nadir", "doses_Gy", "plane_offsets"):
        np.testing.assert_array_equal(getattr(read.front, name), getattr(plans.front, name))
    for name in ("goals", "gap", "gap_history", "message", "converged"):
        assert getattr(read.front, name) == getattr(plans.front, name)
    for name in ("objectives", "groups", "limits", "balanced", "targets", "settings", "provenance"):
        assert getattr(read, name) == getattr(plans, name)
    shares = np.eye(read.front.plans)[0]
    assert read.mean_Gy(shares, "Organ") == plans.mean_Gy(shares, "Organ")
    read.check(influence, GOALS)
    with pytest.raises(OptimizationError, match="the objectives changed"):
        read.check(influence, PlanningGoals.from_entries(["PTV uniform 3 Gy"]))
    turned = replace(influence, provenance={**influence.provenance, "beams_hash": "another"})
    with pytest.raises(OptimizationError, match="the patient or the plan's beams changed"):
        read.check(turned)
    finer = fluence_influence(patient, plan, GOALS, replace(SETTINGS, bixel_mm=15.0))
    with pytest.raises(OptimizationError, match="the bixels changed"):
        read.check(finer)


def test_what_is_no_front_is_refused(tmp_path, plans):
    path = plans.save(tmp_path / "front.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    meta = json.loads(str(arrays["meta"]))
    for changed, text in (
        ({"meta": np.array(json.dumps(meta | {"schema_version": 9}))}, "schema version 9"),
        ({"weights": arrays["weights"][:, 1:]}, "damaged"),
        ({"volumes_0": np.ones(3)}, "damaged"),
    ):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(SchemaError, match=text):
            ParetoPlans.load(path)
    for content in (b"", b"nothing", plans.to_bytes()[:-200], plans.to_bytes().replace(b"\x01", b"\x02", 50)):
        with pytest.raises(SchemaError, match="The scene's front holds no Pareto plans, or is damaged"):
            ParetoPlans.from_bytes(content, "The scene's front")
    assert ParetoPlans.from_bytes(plans.to_bytes()).to_bytes() == plans.to_bytes()
    with pytest.raises(SchemaError, match="cannot be read"):
        ParetoPlans.load(tmp_path / "none.npz")
    with pytest.raises(OptimizationError, match=r"\.npz"):
        plans.save(tmp_path / "front.json")


def test_more_plans_can_be_added(patient, plan, influence, plans):
    """Every former plan is there, or one that is better in all goals, and the gap shrinks."""
    fewer = plan_pareto(patient, plan, GOALS, TRADED, SETTINGS, gap=1e-3, max_plans=2, influence=influence)
    more = plan_pareto(
        patient, plan, GOALS, (), SETTINGS, gap=1e-3, max_plans=4, influence=influence, previous=fewer
    )  # fmt: skip
    assert fewer.front.plans == 2
    assert more.front.plans > 2
    assert more.front.gap < fewer.front.gap
    assert more.limits == fewer.limits
    for values in fewer.front.values:
        assert (more.front.values <= values + 1e-12).all(axis=1).any()


def test_importance_brings_a_goal_nearer_to_its_least(plans):
    """Distances from the least values are as the inverse of importances, where no goal is at the end of its way."""
    front, navigator = plans.front, Navigator(plans.front)
    extent = front.nadir - front.ideal
    apart = (navigator.balance(np.array([1.0, 1.3])).values - front.ideal) / extent
    assert apart[0] == pytest.approx(1.3 * apart[1], rel=1e-4)
    even = (navigator.balance(np.ones(2)).values - front.ideal) / extent
    assert even[0] == pytest.approx(even[1], rel=1e-4)
    assert apart[1] < even[1]
    with pytest.raises(OptimizationError, match="positive importances"):
        navigator.balance(np.array([1.0, 0.0]))


def test_navigated_fluence_becomes_leaves(patient, plan, influence, plans):
    """The rows' weights at a plan are those whose optimum the plan is; its fluence starts there and is delivered."""
    at = np.eye(plans.front.plans)[0]
    factors = plans.importance(at)
    normal = plans.front.normals[0]
    np.testing.assert_allclose(factors, normal / normal.sum())
    goals = plans.weighted_goals(at)
    assert [row.weight for row in goals.rows] == pytest.approx(
        [100 * factors[0], 3 * factors[1], factors[0], 1.0], rel=1e-5
    )
    ideal = replace(SETTINGS, delivery="ideal")
    again = plan_fluence(
        patient, plan, goals, ideal, influence=influence, start=plans.front.weights[0]
    )  # fmt: skip
    assert again.history[-1].value == pytest.approx(again.history[0].value, rel=5e-3)

    navigator = Navigator(plans.front)
    fluence = plans.fluence(navigator)
    np.testing.assert_allclose(fluence.weights_MU, np.maximum(navigator.weights(), 0.0))
    assert fluence.message.startswith("Navigated between Pareto plans: ")
    made = plan_fluence(
        patient, plan, PlanningGoals.from_entries(fluence.objectives), SETTINGS, influence=influence,
        start=fluence.start_for(influence), search=False,
    )  # fmt: skip
    np.testing.assert_allclose(made.solution.weights, fluence.weights_MU)
    assert made.losses.refined <= made.losses.sequenced


def test_goals_are_named_by_their_structures(plans):
    assert [plans.goal_number(name) for name in ("PTV and External", "PTV", "External", "Organ")] == [0, 0, 0, 1]
    with pytest.raises(OptimizationError, match="no goal 'Lung'"):
        plans.goal_number("Lung")


@pytest.mark.parametrize(
    ("rows", "groups", "text"),
    [
        (("PTV uniform 2 Gy", "Organ Max <= 1 Gy, level 2"), (), "several levels"),
        (("PTV uniform 2 Gy",), (), "Two to four goals"),
        (("PTV uniform 2 Gy", "Organ Max <= 1 Gy", "External Max <= 2 Gy"), (("PTV",), ("Organ",)), "External belong"),
        (("PTV uniform 2 Gy", "Organ Max <= 1 Gy"), (("PTV", "Organ"), ("Organ",)), "more than once"),
        (("PTV uniform 2 Gy", "Organ Max <= 1 Gy, constraint"), (("PTV",), ("Organ",)), "no objective to trade"),
        (("Organ Max <= 1 Gy, constraint",), (), "no objectives"),
    ],
)
def test_goals_that_cannot_be_traded_are_refused(rows, groups, text):
    with pytest.raises(OptimizationError, match=text):
        goal_groups(PlanningGoals.from_entries(rows), groups)


def test_fluence_that_no_row_bounds_is_noted(tmp_path, patient, plan, influence, plans):
    goals = PlanningGoals.from_entries(["PTV uniform 2 Gy, weight 100", "minimize Organ Mean, weight 3"])
    made = plan_pareto(patient, plan, goals, (), SETTINGS, gap=0.5, max_plans=2, influence=influence)
    assert len(made.notes) == 1
    assert "fluence smoothness, weight 0.01" in made.notes[0]
    assert ParetoPlans.load(made.save(tmp_path / "front.npz")).notes == made.notes
    assert plans.notes == ()


def test_dvh_rows_are_refused(patient, plan, influence):
    goals = PlanningGoals.from_entries(["PTV uniform 2 Gy", "Organ D10% <= 1 Gy", "External Max <= 2 Gy"])
    with pytest.raises(OptimizationError, match="MaxDVH of Organ is not convex"):
        plan_pareto(patient, plan, goals, (), SETTINGS, influence=influence)
