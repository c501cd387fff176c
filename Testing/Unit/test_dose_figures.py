"""A dose summed up: figures known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Prescription, Structure
from RTPlanningLib.evaluation.dose_figures import dose_figures

GRID = Grid.from_spacing((20, 20, 20), 5.0, (-48.0, -48.0, -48.0))


def structure(name: str, role: str, low: int, high: int) -> Structure:
    mask = np.zeros(GRID.shape, bool)
    mask[low:high, low:high, low:high] = True
    return Structure(name, mask, GRID, role)


@pytest.fixture
def case() -> tuple[np.ndarray, list[Structure], dict]:
    """50 Gy everywhere, but for one hot voxel at R -3, A 2, S 7 mm."""
    dose = np.full(GRID.shape, 50.0, np.float32)
    dose[11, 10, 9] = 55.0
    structures = [
        structure("Body", "EXTERNAL", 0, 20),
        structure("PTV", "PTV", 5, 15),
        structure("Cord", "ORGAN", 1, 4),
    ]
    return dose, structures, {s.name: calculate_dvh(dose, GRID, s, allow_partial=True) for s in structures}


def test_maximum_with_its_place_and_the_targets_dose(case) -> None:
    dose, structures, dvhs = case
    rows = {r.name: r for r in dose_figures(dose, GRID, structures, dvhs, Prescription(50.0, 25, "PTV"))}
    assert rows["Maximum"].text == "55.00 Gy (110.0 %)"
    assert rows["Maximum"].note == "at L 3, A 2, S 7 mm, in PTV"
    assert rows["Mean in PTV"].text == f"{dvhs['PTV'].mean_Gy:.2f} Gy ({2 * dvhs['PTV'].mean_Gy:.1f} %)"
    assert rows["D95% of PTV"].text == "50.00 Gy (100.0 %)"
    assert dvhs["PTV"].mean_Gy == pytest.approx(50.005, abs=0.005)


def test_coverage_counts_what_reaches_the_prescription(case) -> None:
    dose, structures, _ = case
    # five of ten columns get 48 Gy, 96 % of the prescription; 50 Gy are reached at the centres of the sixth
    dose[:, :, :10] = 48.0
    dvhs = {"PTV": calculate_dvh(dose, GRID, structures[1])}
    rows = dose_figures(dose, GRID, structures, dvhs, Prescription(50.0, 25, "PTV"))
    full, most = (next(r for r in rows if r.name == name) for name in ("V100% of PTV", "V95% of PTV"))
    assert float(full.text.removesuffix(" %")) == pytest.approx(45.0, abs=0.2)
    assert most.text == "100.0 %"
    assert "95 % of the prescribed dose" in most.note


def test_without_prescription_or_target(case) -> None:
    dose, structures, dvhs = case
    rows = dose_figures(dose, GRID, structures, dvhs)
    assert [r.name for r in rows] == ["Maximum", "Mean in PTV", "D95% of PTV", "D2% of PTV"]
    assert rows[0].text == "55.00 Gy"
    alone = dose_figures(dose, GRID, structures[:1], {"Body": dvhs["Body"]})
    assert [r.name for r in alone] == ["Maximum"]
    assert "outside all structures but the body" in alone[0].note


def test_a_target_partly_outside_the_grid_says_so(case) -> None:
    dose, _, _ = case
    big = Grid.from_spacing((20, 20, 40), 5.0, (-48.0, -48.0, -48.0))
    mask = np.zeros(big.shape, bool)
    mask[5:15, 5:15, 15:25] = True
    target = Structure("PTV", mask, big, "PTV")
    dvhs = {"PTV": calculate_dvh(dose, GRID, target, allow_partial=True)}
    rows = dose_figures(dose, GRID, [target], dvhs, Prescription(50.0, 25, "PTV"))
    assert "50.0 % inside the dose grid" in rows[1].note


def test_doses_that_cannot_be_summed_up(case) -> None:
    dose, structures, dvhs = case
    with pytest.raises(EvaluationError, match="zero everywhere"):
        dose_figures(np.zeros(GRID.shape), GRID, structures, dvhs)
    with pytest.raises(EvaluationError, match="not its grid's"):
        dose_figures(dose[1:], GRID, structures, dvhs)
