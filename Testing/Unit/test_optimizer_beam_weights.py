"""Beam weights of forward plans: the C-shape with made-up beams, the thorax phantom with the pencil-beam engine."""

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.aperture import fit_mlc
from DoseEngineLib.engine import DoseResult, create_engine
from DoseEngineLib.errors import Cancelled
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from OptimizerLib.beam_weights import beam_influence, optimize_beam_weights, weighted_result
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose, SquaredUnderdose
from OptimizerLib.problem import Problem

GRID = Grid.from_spacing((20, 40, 40), (4.0, 4.0, 4.0), (-78.0, -78.0, -38.0))
GANTRIES = (0.0, 60.0, 120.0, 180.0, 240.0, 300.0)


def disc(name, radius, inner=0.0, role="ORGAN", anterior=False):
    r, a, _ = np.moveaxis(GRID.centres_RAS_mm(), -1, 0)
    distance = np.hypot(r, a)
    mask = (distance <= radius) & (distance >= inner)
    return Structure(name, mask & (a > -10) if anterior else mask, GRID, role)


@pytest.fixture
def structures():
    """A C-shaped target around a core."""
    return (disc("PTV", 37.0, 15.0, "PTV", anterior=True), disc("Core", 10.0), disc("Body", 76.0, role="EXTERNAL"))


@pytest.fixture
def result():
    """Six parallel beams that fall off exponentially, 80 mm wide, 100 MU each."""
    r, a, _ = np.moveaxis(GRID.centres_RAS_mm(), -1, 0)
    doses = {}
    for gantry in GANTRIES:
        angle = np.radians(gantry)
        # gantry 90 comes from the patient's left (head first supine)
        toward_source = -np.sin(angle) * r + np.cos(angle) * a
        across = np.cos(angle) * r + np.sin(angle) * a
        doses[f"G{gantry:g}"] = (10.0 * np.exp(0.005 * toward_source) * (np.abs(across) < 40)).astype(np.float32)
    beams = tuple(Beam.open_field(f"G{g:g}", gantry_deg=g, meterset_MU=100.0) for g in GANTRIES)
    plan = Plan("C-shape", beams, Prescription(50.0, 25, "PTV", "none"))
    return DoseResult(
        sum(doses.values()), GRID, doses, plan, provenance={"engine": "made up", "plan_hash": plan.hash()}
    )


OBJECTIVES = (SquaredDeviation("PTV", 50.0, 10.0), SquaredOverdose("Core", 30.0, 5.0), MeanDose("Body", 0.1))


def test_the_optimum_meets_kkt_and_beats_equal_weights(result, structures):
    solution = optimize_beam_weights(result, structures, OBJECTIVES)
    problem = Problem(*beam_influence(result, structures, ["PTV", "Core", "Body"]), OBJECTIVES)
    value, gradient = problem.value_and_gradient(solution.weights)
    assert solution.converged
    assert (solution.weights >= 0).all()
    assert np.abs(gradient[solution.weights > 0]).max() < 1e-5 * solution.history[0]
    assert (gradient[solution.weights == 0] > -1e-5 * solution.history[0]).all()
    # the best of all plans with equal weights, found by a scan
    equal = min(problem.value_and_gradient(np.full(6, w))[0] for w in np.linspace(0.2, 2.0, 400))
    assert value < 0.99 * equal
    # and no single weight can be moved to the better
    for n in range(6):
        for step in (-0.01, 0.01):
            moved = solution.weights.copy()
            moved[n] = max(moved[n] + step, 0.0)
            assert problem.value_and_gradient(moved)[0] >= value


def test_mirror_symmetry_of_the_case_is_kept(result, structures):
    weights = dict(zip(GANTRIES, optimize_beam_weights(result, structures, OBJECTIVES).weights))
    assert weights[60.0] == pytest.approx(weights[300.0], rel=1e-3, abs=1e-4)
    assert weights[120.0] == pytest.approx(weights[240.0], rel=1e-3, abs=1e-4)


def test_weighting_scales_MU_and_dose_together(result):
    weights = [0.5, 0.0, 1.0, 2.0, 1.0, 1.0]
    weighted = weighted_result(result, weights)
    assert [b.meterset_MU for b in weighted.plan.beams] == [50.0, 0.0, 100.0, 200.0, 100.0, 100.0]
    np.testing.assert_allclose(weighted.dose_Gy, sum(weighted.beam_doses_Gy.values()), rtol=1e-6)
    np.testing.assert_allclose(weighted.beam_doses_Gy["G180"], 2.0 * result.beam_doses_Gy["G180"], rtol=1e-6)
    assert not weighted.beam_doses_Gy["G60"].any()
    assert weighted.provenance["plan_hash"] == weighted.plan.hash() != result.provenance["plan_hash"]
    for useless in ([1.0], [1.0] * 5 + [-1.0], [1.0] * 5 + [np.nan]):
        with pytest.raises(OptimizationError, match="not negative"):
            weighted_result(result, useless)


def test_uncertainty_is_not_carried_over(result):
    noisy = replace(result, uncertainty_Gy=np.ones(GRID.shape))
    weighted = weighted_result(noisy, np.ones(6))
    assert weighted.uncertainty_Gy is None
    assert "again" in weighted.provenance["uncertainty"]


def test_dose_is_read_at_the_structures_own_voxels(result):
    fine = Grid.from_spacing((6, 9, 9), (1.5, 1.5, 1.5), (-6.0, -6.0, -3.0))
    core = Structure("Core", np.ones(fine.shape, bool), fine)
    influence, voxels = beam_influence(result, (core,), ["Core"])
    a = fine.centres_RAS_mm()[..., 1].ravel()
    assert influence.shape == (6 * 9 * 9, 6)
    np.testing.assert_array_equal(voxels["Core"], np.arange(486))
    # linear between voxels 4 mm apart: within the curvature of the exponential
    np.testing.assert_allclose(influence[:, 0], 10.0 * np.exp(0.005 * a), rtol=1e-4)


def test_large_structures_are_read_no_finer_than_the_dose(result):
    fine = Grid.from_spacing((60, 60, 60), (1.3, 2.5, 1.0), (-38.0, -75.0, -30.0))
    body = Structure("Body", np.ones(fine.shape, bool), fine)
    influence, _ = beam_influence(result, (body,), ["Body"])
    # every third voxel along R, each along A, every fourth along S
    assert influence.shape == (20 * 60 * 15, 6)
    everywhere = 10.0 * np.exp(0.005 * fine.centres_RAS_mm()[..., 1])
    assert influence[:, 0].mean() == pytest.approx(everywhere.mean(), rel=1e-3)


def test_structures_that_cannot_be_used_say_why(result, structures):
    empty = Structure("Heart", np.zeros(GRID.shape, bool), GRID)
    with pytest.raises(OptimizationError, match="Heart is empty"):
        optimize_beam_weights(result, (*structures, empty), [MeanDose("Heart")])
    with pytest.raises(OptimizationError, match=r"'Hart'.*PTV, Core, Body"):
        optimize_beam_weights(result, structures, [MeanDose("Hart")])
    with pytest.raises(OptimizationError, match="no objectives"):
        optimize_beam_weights(result, structures, [])
    wide = Grid.from_spacing((20, 40, 60), (4.0, 4.0, 4.0), (-118.0, -78.0, -38.0))
    outside = Structure("Arm", np.ones(wide.shape, bool), wide)
    with pytest.raises(OptimizationError, match="16000 of 48000 voxels of Arm lie outside the dose grid"):
        optimize_beam_weights(result, (outside,), [MeanDose("Arm")])


def test_a_beam_that_reaches_nothing_is_named(result, structures):
    result.beam_doses_Gy["G120"] = np.zeros(GRID.shape, np.float32)
    with pytest.raises(OptimizationError, match="Beam G120 gives no dose"):
        optimize_beam_weights(result, structures, OBJECTIVES)


def test_cancel_leaves_through_the_call(result, structures):
    def cancel(fraction, text):
        raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        optimize_beam_weights(result, structures, OBJECTIVES, cancel)


@pytest.fixture(scope="module")
def chest():
    """The thorax sample, coarse, with four fields of the pencil-beam engine through its tumour."""
    from RTPlanningLib.samples import load_sample

    case = load_sample("thorax", 4.0)
    patient = Patient.from_hu(case.hu, case.grid, structures=case.structures)
    target = case.structure("PTV")
    machine = load_machine("generic_6mv")
    beams = []
    for gantry in (0.0, 90.0, 180.0, 270.0):
        beam = Beam.open_field(
            f"G{gantry:g}", gantry_deg=gantry, isocenter_RAS_mm=target.centroid_RAS_mm(), meterset_MU=None
        )
        aperture = fit_mlc(target, beam.frame("HFS"), machine, 5.0)
        beams.append(
            Beam.static_field(
                beam.name,
                aperture,
                gantry_deg=gantry,
                isocenter_RAS_mm=beam.isocenter_RAS_mm,
                meterset_MU=None,
            )
        )
    plan = Plan("Chest", tuple(beams), Prescription(60.0, 30, "PTV", "mean"), dose_grid_spacing_mm=5.0)
    return case, create_engine("photon-pencil-beam").calculate_dose(patient, plan)


def test_the_opposite_lung_is_spared_in_the_thorax(chest):
    case, result = chest
    objectives = (
        SquaredDeviation("PTV", 60.0, 10.0),
        SquaredUnderdose("PTV", 57.0, 10.0),
        MeanDose("Lung_L", 5.0),
        SquaredOverdose("SpinalCord", 40.0, 1.0),
    )
    solution = optimize_beam_weights(result, case.structures, objectives)
    assert solution.converged
    assert solution.value < 0.9 * solution.history[0]
    # gantry 90 comes through the left lung
    weights = dict(zip((0, 90, 180, 270), solution.weights))
    assert weights[90] < 0.2
    assert min(weights[0], weights[180], weights[270]) > 0.4
    weighted = weighted_result(result, solution.weights)

    def mean(result, name):
        influence, _ = beam_influence(result, case.structures, [name])
        return float(influence.sum(axis=1).mean())

    assert mean(weighted, "PTV") == pytest.approx(60.0, abs=0.6)
    assert mean(weighted, "Lung_L") < 0.4 * mean(result, "Lung_L")
