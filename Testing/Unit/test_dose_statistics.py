"""Figures of a dose against a dose that rises along one axis, and provenance in rows."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.dose_statistics import dose_maximum, dose_statistics
from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import Cancelled
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Structure
from DoseEngineLib.provenance_rows import provenance_rows

GRID = Grid.from_spacing((20, 20, 40), 2.0, (0.0, 0.0, 0.0))
# 1 Gy a mm along R
DOSE = np.broadcast_to(2.0 * np.arange(40.0, dtype=np.float32), GRID.shape).copy()


def box(name: str, i: slice, grid: Grid = GRID) -> Structure:
    mask = np.zeros(grid.shape, bool)
    mask[5:15, 5:15, i] = True
    return Structure(name, mask, grid)


def test_figures_of_a_rising_dose() -> None:
    found = dose_statistics(DOSE, GRID, [box("Low", slice(10, 20)), box("High", slice(30, 40))])
    low, high = found.structures
    assert low.volume_cm3 == pytest.approx(8.0)
    # voxels 10..19, centres at 20..38 mm: half a voxel beyond on either side
    assert low.mean_Gy == pytest.approx(29.0, abs=0.1)
    assert low.d50_Gy == pytest.approx(29.0, abs=0.2)
    assert low.d98_Gy == pytest.approx(19.0 + 0.02 * 20.0, abs=0.4)
    assert low.d2_Gy == pytest.approx(39.0 - 0.02 * 20.0, abs=0.4)
    assert low.d98_Gy < low.d50_Gy < low.d2_Gy <= low.max_Gy
    assert (low.note, high.name) == ("", "High")


def test_the_maximum_and_where_it_is() -> None:
    dose = np.zeros(GRID.shape, np.float32)
    dose[7, 8, 33] = 12.5
    found = dose_maximum(dose, GRID, [box("Low", slice(10, 20)), box("High", slice(30, 40))])
    assert found.dose_Gy == 12.5
    assert found.position_RAS_mm == (66.0, 16.0, 14.0)
    assert found.structures == ("High",)


def test_structures_without_figures_say_why() -> None:
    elsewhere = Grid.from_spacing(GRID.shape, 2.0, (500.0, 0.0, 0.0))
    beyond = Grid.from_spacing(GRID.shape, 2.0, (10.0, 0.0, 0.0))
    empty = Structure("Empty", np.zeros(GRID.shape, bool), GRID)
    found = dose_statistics(DOSE, GRID, [empty, box("Away", slice(0, 9), elsewhere), box("Cut", slice(30, 40), beyond)])
    notes = [row.note for row in found.structures]
    assert notes[0] == "empty"
    assert "outside the dose grid" in notes[1]
    assert notes[2] == "of the 50.0 % inside the dose grid"
    assert [row.mean_Gy is None for row in found.structures] == [True, True, False]


def test_statistics_can_be_cancelled() -> None:
    def stop(fraction: float, text: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        dose_statistics(DOSE, GRID, [box("Low", slice(10, 20))], stop)


def test_everything_of_an_engines_provenance_can_be_read() -> None:
    grid = Grid.from_spacing((12, 12, 12), 5.0, (-27.5, -27.5, -27.5))
    phantom = Patient.from_density(np.ones(grid.shape, np.float32), grid, body=np.ones(grid.shape, bool))
    plan = Plan("P", (Beam.open_field("AP"),), dose_grid_spacing_mm=10.0)
    provenance = create_engine("photon-pencil-beam").calculate_dose(phantom, plan).provenance
    rows = provenance_rows(provenance)
    assert rows[0] == ("Engine", "photon-pencil-beam")
    labels = dict(rows)
    assert labels["Machine generic_6mv"] == "Generic 6 MV linac, 120-leaf MLC"
    assert labels["Dose to"] == "water"
    assert labels["Option arc_step_deg"] == "0"
    assert labels["Option heterogeneity"] == "yes"
    assert labels["Dose grid, spacing (mm)"] == "10 x 10 x 10"
    assert labels["CT calibration"] == "density given"
    assert labels["Density override (g/cm3)"] == "none"
    assert labels["Plan (SHA-256)"] == provenance["plan_hash"]
    assert "electronic disequilibrium" in labels["The engine does not model"]


def test_unknown_provenance_is_shown_all_the_same() -> None:
    rows = provenance_rows(
        {"engine": "mine", "histories": 1000000, "seeded": True, "notes": {"a_b": [1.5, "x"]}, "z": None}
    )
    assert rows == [
        ("Engine", "mine"),
        ("Histories", "1000000"),
        ("Notes a_b", "1.5; x"),
        ("Seeded", "yes"),
        ("Z", "not stated"),
    ]
