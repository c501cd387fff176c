"""Without heterogeneity correction the body is water, in doses and in dose influence, and the result says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.engine import create_engine, engine_options
from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Structure
from OptimizerLib.fluence_planning import FluenceSettings, fluence_influence
from OptimizerLib.planning_goals import PlanningGoals

ENGINES = ("photon-pencil-beam", "photon-collapsed-cone")
GRID = Grid.from_spacing((24, 40, 24), 5.0, (-57.5, -97.5, -57.5))
FIELD = Beam.open_field("AP", jaw_x_mm=(-30.0, 30.0), jaw_y_mm=(-30.0, 30.0))
PLAN = Plan("One field", (FIELD,), dose_grid_spacing_mm=5.0)


def body() -> np.ndarray:
    inside = np.zeros(GRID.shape, bool)
    inside[2:-2, 2:-2, 2:-2] = True
    return inside


def lung_slab(*structures: Structure) -> Patient:
    """Water with a density override to lung, 0.26 g/cm3, from 40 to 100 mm deep for a beam from the front."""
    slab = np.zeros(GRID.shape, bool)
    slab[:, 18:30, :] = True
    given = (Structure("Slab", slab, GRID, "ORGAN"), *structures)
    density = np.ones(GRID.shape, np.float32)
    return Patient.from_density(density, GRID, body=body(), structures=given, density_overrides_g_cm3={"Slab": 0.26})


def water() -> Patient:
    return Patient.from_density(np.ones(GRID.shape, np.float32), GRID, body=body())


@pytest.mark.parametrize("label", ENGINES)
def test_the_body_is_water(label: str) -> None:
    options = {"rings": 8, "azimuths": 8, "pitch_mm": 5.0} if label == "photon-collapsed-cone" else {}
    with_it = create_engine(label, **options).calculate_dose(lung_slab(), PLAN)
    without = create_engine(label, heterogeneity=False, **options).calculate_dose(lung_slab(), PLAN)
    in_water = create_engine(label, **options).calculate_dose(water(), PLAN)
    np.testing.assert_array_equal(without.dose_Gy, in_water.dose_Gy)
    # behind 6 cm of lung: less is absorbed on the way
    assert with_it.dose_Gy[12, 6, 12] > 1.15 * without.dose_Gy[12, 6, 12]
    assert "water" in without.provenance["does_not_model"][-1]
    assert "water" in without.provenance["patient"]["heterogeneity"]
    assert without.provenance["patient"]["density_overrides_g_cm3"] == {}
    assert "heterogeneity" not in with_it.provenance["patient"]


def test_dose_influence_goes_by_it_too() -> None:
    target = np.zeros(GRID.shape, bool)
    target[10:14, 12:16, 10:14] = True
    ptv = Structure("PTV", target, GRID, "PTV")
    patient = lung_slab(ptv)
    flat = Patient.from_density(np.ones(GRID.shape, np.float32), GRID, body=body(), structures=(ptv,))
    given = {"target": "PTV", "structures": ["PTV"], "bixel_mm": 10.0}
    without = create_engine(ENGINES[0], heterogeneity=False).calculate_influence(patient, PLAN, **given)
    in_water = create_engine(ENGINES[0]).calculate_influence(flat, PLAN, **given)
    with_it = create_engine(ENGINES[0]).calculate_influence(patient, PLAN, **given)
    assert in_water.matrix.nnz > 1000
    assert abs(without.matrix - in_water.matrix).max() == 0.0
    assert with_it.matrix.sum() > 1.15 * without.matrix.sum()


def test_fluence_is_optimized_in_the_patient_that_the_dose_is_calculated_in() -> None:
    target = np.zeros(GRID.shape, bool)
    target[10:14, 6:10, 10:14] = True
    patient = lung_slab(Structure("PTV", target, GRID, "PTV"))
    goals = PlanningGoals.from_entries(["PTV uniform 2 Gy, weight 1"])
    settings = FluenceSettings(bixel_mm=10.0)
    plan = replace(PLAN, engine="photon-collapsed-cone", engine_options={"pitch_mm": 5.0})
    with_it = fluence_influence(patient, plan, goals, settings, ["PTV"])
    plan = replace(plan, engine_options={"pitch_mm": 5.0, "heterogeneity": False})
    without = fluence_influence(patient, plan, goals, settings, ["PTV"])
    # the target lies behind the lung
    assert with_it.matrix.sum() > 1.1 * without.matrix.sum()


@pytest.mark.parametrize("label", ENGINES)
def test_it_is_a_declared_option(label: str) -> None:
    option = next(option for option in engine_options(label) if option.name == "heterogeneity")
    assert (option.kind, option.default) == ("bool", True)
    with pytest.raises(EngineError, match="heterogeneity must be true or false"):
        create_engine(label, heterogeneity="no")
