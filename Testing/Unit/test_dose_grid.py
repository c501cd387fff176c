"""The dose grid before it is calculated is the one that is calculated."""

from __future__ import annotations

import pytest

from DoseEngineLib.dose_grid import dose_memory_GB, estimate_dose_grid
from DoseEngineLib.patient import Patient
from RTPlanningLib.samples import load_sample


@pytest.mark.parametrize("spacing_mm", [2.5, 3.0, 7.0])
def test_voxels_are_those_of_the_engines_grid(spacing_mm: float) -> None:
    case = load_sample("tg119-prostate", 5.0)
    patient = Patient.from_hu(case.hu, case.grid, structures=case.structures)
    estimate = estimate_dose_grid(patient.body_grid, spacing_mm, 4)
    assert estimate.shape == patient.body_grid.with_spacing(spacing_mm).shape
    assert estimate.voxels == patient.body_grid.with_spacing(spacing_mm).size


def test_it_is_said_in_words() -> None:
    case = load_sample("water-tank", 10.0)
    estimate = estimate_dose_grid(case.grid, 10.0, 4, is_of_body=False)
    assert str(estimate) == "at most 44 x 44 x 44 = 0.09 million voxels, about 0.3 GB"
    assert dose_memory_GB(100_000_000, 4) == pytest.approx(0.3 + 2.1)
