"""What is shown of a search: DVHs of voxels, snapshots between threads, what rows reach, memory estimated before."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.patient import Patient
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings, fluence_influence
from OptimizerLib.influence_estimate import estimate_influence, memory_text
from OptimizerLib.live_search import LiveSearch
from OptimizerLib.objective_rows import parse_row
from OptimizerLib.objectives import SquaredDeviation, SquaredOverdose
from OptimizerLib.objectives_reached import reached, row_outcomes
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.problem import Problem
from OptimizerLib.solvers import IterationState, QuasiNewton
from OptimizerLib.voxel_dvh import cumulative_percent, dvh_curves, voxel_dvh
from RTPlanningLib.plan_file import read_plan_file
from RTPlanningLib.samples import load_sample
from RTPlanningLib.samples.plan_files import find_plan_file


def test_a_curve_counts_each_voxel_by_its_volume():
    dose, volumes = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 1.0])
    at = np.array([0.0, 10.0, 10.1, 20.0, 20.1, 30.0, 31.0])
    np.testing.assert_allclose(cumulative_percent(dose, volumes, at), [100, 100, 75, 75, 25, 25, 0])
    np.testing.assert_allclose(cumulative_percent(dose, None, at)[2], 200.0 / 3.0)


def test_voxel_dvh_has_the_metrics_of_repeated_voxels():
    rng = np.random.default_rng(5)
    dose, counts = rng.uniform(0, 60, 300), rng.integers(1, 9, 300)
    whole = Dvh("A", 8.0, np.repeat(dose, counts))
    found = voxel_dvh("A", dose, counts, 8.0)
    assert found.mean_Gy == pytest.approx(whole.mean_Gy, abs=0.03)
    for percent in (98.0, 50.0, 2.0):
        assert found.dose_at_volume_percent(percent) == pytest.approx(whole.dose_at_volume_percent(percent), abs=0.3)
    assert found.max_Gy == pytest.approx(dose.max(), rel=1e-6)
    assert found.min_Gy == pytest.approx(dose.min(), rel=1e-6)


@pytest.mark.parametrize("volumes", [np.ones(2), np.zeros(3)])
def test_volumes_that_do_not_fit_are_refused(volumes):
    with pytest.raises(OptimizationError, match="a volume for each"):
        cumulative_percent(np.ones(3), volumes, np.zeros(1))


def problem() -> Problem:
    rng = np.random.default_rng(1)
    objectives = [
        SquaredDeviation("T", 10.0, voxel_weights=np.arange(1.0, 13.0)),
        SquaredOverdose("O", 2.0, voxel_weights=np.ones(8)),
    ]
    return Problem(rng.uniform(0, 1, (20, 6)), {"T": np.arange(12), "O": np.arange(12, 20)}, objectives)


def test_a_search_in_a_thread_is_seen_from_another_and_stopped():
    now = [0.0]
    live = LiveSearch(clock=lambda: now[0])
    seen, found = [], []

    def callback(state: IterationState) -> None:
        now[0] += 0.3
        live(state)
        snapshot = live.take()
        if snapshot is not None:
            seen.append(snapshot)
        if state.iteration == 2:
            live.stop()

    thread = threading.Thread(
        target=lambda: found.append(QuasiNewton(tolerance=1e-14).solve(problem(), np.ones(6), None, callback))
    )
    thread.start()
    thread.join(30)
    assert found[0].iterations == 3
    assert live.is_stopped
    # 0.3 s an iteration: not each of them; the one that ends it always
    assert [len(snapshot.history) for snapshot in seen] == [1, 3, 4]
    assert [entry.iteration for entry in seen[-1].history] == list(range(4))
    assert [entry.value for entry in seen[-1].history] == pytest.approx(found[0].history)
    last = seen[-1]
    dose = problem().structure_dose_Gy("T", found[0].weights)
    expected = cumulative_percent(dose, np.arange(1.0, 13.0), last.dose_Gy)
    np.testing.assert_allclose(last.volume_percent["T"], expected)
    assert list(last.volume_percent) == ["T", "O"]
    assert last.dose_Gy[-1] >= dose.max()
    assert live.take() is None


def test_curves_of_no_dose_at_all():
    at, curves = dvh_curves({"T": (np.zeros(3), None)})
    assert at[1] > 0
    np.testing.assert_array_equal(curves["T"], [100.0] + [0.0] * (at.size - 1))


def test_what_rows_reach():
    dvhs = {"PTV": Dvh("PTV", 10.0, np.linspace(40, 60, 1001)), "Cord": Dvh("Cord", 2.0, np.full(10, 20.0))}

    def of(text):
        found = reached(parse_row(text), dvhs, 50.0, 25)
        return found.text, found.met

    assert of("PTV D95% >= 40 Gy") == ("40.99 Gy", True)
    assert of("PTV Mean <= 4500 cGy") == ("5000 cGy", False)
    assert of("PTV D50% >= 100 %") == ("100 %", True)
    assert of("PTV V50Gy >= 51 %") == ("50.05 %", False)
    assert of("Cord Mean <= 0.8 Gy, per fraction") == ("0.8 Gy", True)
    assert of("Cord Mean <= 40 %, per fraction") == ("40 %", True)
    assert of("Cord V1Gy <= 10 %, per fraction") == ("judged per course only", None)
    assert of("Cord Max <= 19.9 Gy, constraint") == ("20 Gy", False)
    assert of("minimize Cord Mean") == ("20 Gy", None)
    assert of("PTV uniform 50 Gy") == ("mean 50 Gy, D98% 40.39, D2% 59.61", None)
    assert of("fluence smoothness") == ("", None)
    assert of("Lung Mean <= 3 Gy") == ("no dose of this structure", None)
    assert "2 cc" in of("Cord D5cc <= 3 Gy")[0]
    outcomes = row_outcomes([parse_row("Cord Max <= 25 Gy")], dvhs, {}, 50.0, 25)
    assert outcomes[0].ideal.met
    assert outcomes[0].delivered.met is None


@pytest.mark.parametrize(
    ("size", "text"), [(3.21e6, "3.2 MB"), (250.4e6, "250 MB"), (1.26e9, "1.3 GB"), (4.2e10, "42 GB")]
)
def test_sizes_are_written_as_people_read_them(size, text):
    assert memory_text(size) == text


@pytest.mark.parametrize(
    ("case", "settings", "body"),
    [
        ("tg119-cshape", FluenceSettings(bixel_mm=10.0, spacing_mm=5.0), True),
        ("tg119-prostate", FluenceSettings(bixel_mm=5.0, spacing_mm=8.0, target_margin_mm=10.0), True),
        ("thorax", FluenceSettings(bixel_mm=10.0, spacing_mm=7.0), False),
    ],
)
def test_the_estimate_of_memory_is_near_what_is_needed(case, settings, body):
    request = read_plan_file(find_plan_file(f"{case}-imrt"))
    sample = request.apply_to(load_sample(case, 5.0))
    overrides = sample.density_overrides_g_cm3
    patient = Patient.from_hu(sample.hu, sample.grid, structures=sample.structures, density_overrides_g_cm3=overrides)
    plan = request.build(sample)
    plan = replace(plan, beams=plan.beams[:2])
    outlines = {s.name for s in sample.structures if s.role == "EXTERNAL"}
    goals = request.optimization.goals
    if not body:
        goals = PlanningGoals(tuple(row for row in goals.rows if row.structure not in outlines))
    estimate = estimate_influence(patient, plan, goals, settings)
    influence = fluence_influence(patient, plan, goals, settings)
    assert (estimate.voxels, estimate.bixels) == influence.matrix.shape
    matrix = influence.matrix
    needed = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    assert estimate.matrix_bytes == pytest.approx(needed, rel=0.1)
    from OptimizerLib.sparse_dose import SparseDose

    assert estimate.total_bytes - estimate.matrix_bytes == pytest.approx(SparseDose(matrix).nbytes, rel=0.1)
    assert f"{estimate.bixels:,} bixels" in str(estimate)
