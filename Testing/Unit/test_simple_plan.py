"""Plans made in a moment, and the beams of a plan taken to another image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.errors import MachineError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Prescription
from DoseEngineLib.simple_plan import angles_from_text, body_centre_RAS_mm, open_field_plan, plan_on_other_image


def test_angles_are_read() -> None:
    assert angles_from_text("0, 90;180  270") == (0.0, 90.0, 180.0, 270.0)
    assert angles_from_text("12.5") == (12.5,)


@pytest.mark.parametrize("text", ["", " , ", "north", "400", "-1", "nan", "0, 360", "90 90"])
def test_what_is_no_angle_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"angle"):
        angles_from_text(text)


def test_open_fields() -> None:
    plan = open_field_plan(
        "Box", (0.0, 90.0), (1.0, 2.0, 3.0), field_mm=(80.0, 120.0), meterset_MU=50.0, machine="generic_10mv"
    )
    assert [beam.name for beam in plan.beams] == ["Gantry 0", "Gantry 90"]
    first = plan.beams[0]
    assert first.control_points[0].aperture.jaw_x_mm == (-40.0, 40.0)
    assert first.control_points[0].aperture.jaw_y_mm == (-60.0, 60.0)
    assert (first.meterset_MU, first.machine, first.isocenter_RAS_mm) == (50.0, "generic_10mv", (1.0, 2.0, 3.0))
    assert plan.beams[1].control_points[0].gantry_deg == 90.0
    assert plan.fractions == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"gantry_deg": ()}, PlanError),
        ({"meterset_MU": 0.0}, PlanError),
        ({"meterset_MU": float("nan")}, PlanError),
        ({"field_mm": (0.0, 100.0)}, PlanError),
        ({"field_mm": (500.0, 100.0)}, PlanError),
        ({"machine": "no_such"}, MachineError),
        ({"isocenter_RAS_mm": (float("nan"), 0.0, 0.0)}, PlanError),
    ],
)
def test_fields_that_cannot_be(wrong: dict, error: type) -> None:
    arguments = {"gantry_deg": (0.0,), "isocenter_RAS_mm": (0.0, 0.0, 0.0)} | wrong
    with pytest.raises(error):
        open_field_plan("P", **arguments)


def test_centre_of_the_body() -> None:
    grid = Grid.from_spacing((20, 30, 40), 2.0, (-10.0, 5.0, 7.0))
    density = np.zeros(grid.shape, np.float32)
    density[4:9, 10:21, 6:17] = 1.0
    patient = Patient.from_density(density, grid, body=density > 0)
    np.testing.assert_allclose(body_centre_RAS_mm(patient), (-10 + 2 * 11, 5 + 2 * 15, 7 + 2 * 6))


def two_beams(**options: object) -> Plan:
    beams = (
        Beam.open_field("A", isocenter_RAS_mm=(1.0, 2.0, 3.0), **options),
        Beam.open_field("B", gantry_deg=90.0, isocenter_RAS_mm=(11.0, 2.0, 3.0), **options),
    )
    return Plan(
        "Two", beams, Prescription(50.0, 25, "PTV", "mean", (1.0, 2.0, 3.0)), engine_options={"arc_step_deg": 2.0}
    )


def test_beams_keep_their_distances_on_another_image() -> None:
    plan = two_beams(meterset_MU=None)
    moved = plan_on_other_image(plan, "There", (0.0, 0.0, 0.0))
    assert [beam.isocenter_RAS_mm for beam in moved.beams] == [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0)]
    # weights: scaled to the prescription again, at the moved point
    assert moved.prescription == replace(plan.prescription, point_RAS_mm=(0.0, 0.0, 0.0))
    assert (moved.name, moved.engine_options) == ("There", plan.engine_options)
    assert plan_on_other_image(plan, "Two") == plan


def test_the_same_MU_are_delivered_on_another_image() -> None:
    plan = two_beams(meterset_MU=None)
    there = plan_on_other_image(plan, "There", delivered=plan.with_metersets((120.0, 80.0)))
    assert [beam.meterset_MU for beam in there.beams] == [120.0, 80.0]
    assert there.prescription == Prescription(50.0, 25, "PTV", "none")
    stated = two_beams(meterset_MU=100.0)
    assert plan_on_other_image(stated, "There").prescription.normalization == "none"
