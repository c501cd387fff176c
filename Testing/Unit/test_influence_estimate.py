"""The memory that is estimated is that of the influence which the optimization would compute of the same plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from OptimizerLib import fluence_planning
from OptimizerLib.fluence_planning import FluenceSettings, fluence_influence
from OptimizerLib.influence_estimate import estimate_influence
from OptimizerLib.objective_rows import parse_row
from OptimizerLib.planning_goals import PlanningGoals

SETTINGS = FluenceSettings(bixel_mm=5.0, spacing_mm=5.0)
GOALS = PlanningGoals((parse_row("PTV uniform 50 Gy"), parse_row("Behind max <= 10 Gy")))


def box_patient(density_g_cm3: float) -> Patient:
    """A box of one density with a target in its middle and a structure behind it."""
    grid = Grid.from_spacing((30, 40, 30), 5.0, (-72.5, -97.5, -72.5))
    R, A, S = np.moveaxis(grid.centres_RAS_mm(), -1, 0)
    near = (np.abs(R) < 30) & (np.abs(S) < 30)
    structures = (
        Structure("PTV", near & (np.abs(A) < 20), grid, "PTV"),
        Structure("Behind", near & (A < -40), grid, "ORGAN"),
    )
    return Patient.from_density(np.full(grid.shape, density_g_cm3, np.float32), grid, structures=structures)


def plan_with(isocentre=(0.0, 0.0, 0.0), **options) -> Plan:
    beams = tuple(Beam.open_field(f"G{g}", gantry_deg=g, isocenter_RAS_mm=isocentre) for g in (0, 40))
    plan = Plan("P", beams, Prescription(50, 25, "PTV"), dose_grid_spacing_mm=5.0)
    return replace(plan, engine_options=options)


@pytest.mark.parametrize("heterogeneity", [True, False])
def test_the_estimate_is_near_what_the_plans_options_need(heterogeneity):
    patient, plan = box_patient(0.25), plan_with(heterogeneity=heterogeneity)
    needed = fluence_influence(patient, plan, GOALS, SETTINGS).matrix.nnz
    assert estimate_influence(patient, plan, GOALS, SETTINGS).entries == pytest.approx(needed, rel=0.04)


def test_without_heterogeneity_correction_the_estimate_is_that_of_water():
    lung, water, corrected = box_patient(0.25), box_patient(1.0), plan_with()
    in_water = estimate_influence(water, corrected, GOALS, SETTINGS)
    assert estimate_influence(lung, plan_with(heterogeneity=False), GOALS, SETTINGS) == in_water
    assert estimate_influence(lung, corrected, GOALS, SETTINGS).entries != pytest.approx(in_water.entries, rel=0.04)


def test_an_isocentre_that_the_plan_allows_is_allowed():
    patient, outside = box_patient(0.25), (0.0, 130.0, 0.0)
    with pytest.raises(PlanError, match="lies outside the image"):
        estimate_influence(patient, plan_with(outside), GOALS, SETTINGS)
    plan = plan_with(outside, allow_isocenter_outside=True)
    needed = fluence_influence(patient, plan, GOALS, SETTINGS).matrix.nnz
    assert estimate_influence(patient, plan, GOALS, SETTINGS).entries == pytest.approx(needed, rel=0.04)


@pytest.mark.parametrize(
    "plan",
    [
        plan_with(),
        plan_with(heterogeneity=False, max_memory_GB=3.0, arc_step_deg=2.0),
        # options of another engine are not the influence's
        replace(plan_with(rings=12, dose_to="water", max_memory_GB=2.0), engine="photon-collapsed-cone"),
    ],
)
def test_the_engine_is_made_as_the_optimization_makes_it(monkeypatch, plan):
    class MadeError(Exception):
        pass

    def made(label, **options):
        raise MadeError(label, options)

    said = []
    monkeypatch.setattr(fluence_planning, "create_engine", made)
    for ask in (fluence_influence, estimate_influence):
        with pytest.raises(MadeError) as caught:
            ask(box_patient(0.25), plan, GOALS, SETTINGS)
        said.append(caught.value.args)
    assert said[0] == said[1]
    assert said[0][1] == {
        name: value for name, value in plan.engine_options.items() if name not in ("rings", "dose_to")
    }
