"""Plans: validation and exact storage."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import (
    Aperture,
    Beam,
    ControlPoint,
    LeafModel,
    Plan,
    Prescription,
    Structure,
    plan_from_json,
    plan_to_json,
)

numbers = st.floats(-400, 400)


@st.composite
def plans(draw):
    """Any valid plan."""
    with_MU = draw(st.booleans())
    beams = []
    for index in range(draw(st.integers(1, 3))):
        jaws = [tuple(sorted((draw(numbers), draw(numbers)))) for _ in range(2)]
        leaves = draw(st.none() | st.lists(st.tuples(numbers, numbers).map(sorted).map(tuple), min_size=1, max_size=4))
        aperture = Aperture(jaws[0], jaws[1], leaves and tuple(leaves))
        middle = draw(st.floats(0, 1))
        points = tuple(ControlPoint(draw(numbers), draw(numbers), draw(numbers), aperture, w) for w in (0, middle, 1))
        iso = (draw(numbers), draw(numbers), draw(numbers))
        MU = draw(st.floats(0, 500)) if with_MU else None
        sides = tuple(range(len(leaves) + 1)) if leaves and draw(st.booleans()) else None
        model = draw(st.none() | st.builds(LeafModel, st.floats(0, 0.1), st.floats(-1, 2), st.floats(0, 1)))
        weight = draw(st.floats(0.1, 5))
        beams.append(Beam(f"Beam {index}", points, iso, "generic_6mv", MU, weight, sides, model))
    prescription = Prescription(draw(st.floats(0.1, 80)), draw(st.integers(1, 40)), "PTV", "D95")
    return Plan("Any", tuple(beams), prescription, draw(st.sampled_from(["HFS", "FFP"])), dose_grid_spacing_mm=3.0)


@given(plans())
def test_json_gives_the_identical_plan(plan):
    text = plan_to_json(plan)
    again = plan_from_json(text)
    assert again == plan
    assert plan_to_json(again) == text
    assert again.hash() == plan.hash()


def test_hash_sees_a_moved_leaf():
    one = Beam.static_field("B", Aperture((-50, 50), (-50, 50), ((-10, 10), (-10, 10))))
    two = Beam.static_field("B", Aperture((-50, 50), (-50, 50), ((-10, 10), (-10, 10.1))))
    assert Plan("P", (one,)).hash() != Plan("P", (two,)).hash()


def test_open_field_keeps_the_jaws_exactly_as_set():
    beam = Beam.open_field(jaw_x_mm=(-30, 70), jaw_y_mm=(10, 20), gantry_deg=45, collimator_deg=10, couch_deg=5)
    assert beam.is_static
    point = beam.control_points[0]
    assert (point.aperture.jaw_x_mm, point.aperture.jaw_y_mm) == ((-30.0, 70.0), (10.0, 20.0))
    assert point.aperture.leaf_positions_mm is None
    assert (point.gantry_deg, point.collimator_deg, point.couch_deg) == (45, 10, 5)


def test_plans_of_the_machines_leaves_stay_readable_for_older_programs():
    leaves = Aperture((-50, 50), (-50, 50), ((-10, 10), (-10, 10)))
    beam = Beam.static_field("B", leaves)
    assert json.loads(plan_to_json(Plan("P", (beam,))))["schema_version"] == 1
    own = json.loads(plan_to_json(Plan("P", (replace(beam, leaf_boundaries_mm=(-5, 0, 5)),))))
    assert own["schema_version"] == 2
    assert own["beams"][0]["leaf_boundaries_mm"] == [-5.0, 0.0, 5.0]


@pytest.mark.parametrize(
    ("sides", "message"),
    [((0, 0, 5), "rise strictly"), ((0,), "two or more"), ((0, 5), "those of 1"), (("a", 1, 2), "positions in mm")],
)
def test_leaf_boundaries_must_fit_the_leaves(sides, message):
    beam = Beam.static_field("B", Aperture((-50, 50), (-50, 50), ((-10, 10), (-10, 10))))
    with pytest.raises(PlanError, match=message):
        replace(beam, leaf_boundaries_mm=sides)


def test_newer_and_damaged_schemas_are_refused():
    data = json.loads(plan_to_json(Plan("P", (Beam.open_field(),))))
    with pytest.raises(SchemaError, match="version 99"):
        plan_from_json(json.dumps({**data, "schema_version": 99}))
    with pytest.raises(SchemaError, match="not a stored plan"):
        plan_from_json("[]")
    with pytest.raises(SchemaError, match="damaged"):
        plan_from_json(json.dumps({key: value for key, value in data.items() if key != "beams"}))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Aperture((5, -5), (0, 1)), "closed beyond itself"),
        (lambda: Aperture((0, float("inf")), (0, 1)), "finite"),
        (lambda: Aperture((0, 1, 2), (0, 1)), "two positions"),
        (lambda: Aperture(leaf_positions_mm=()), "parked"),
        (lambda: ControlPoint(gantry_deg=float("nan")), "gantry_deg"),
        (lambda: ControlPoint(cumulative_meterset_weight=1.5), "0..1"),
        (lambda: Beam("B", (ControlPoint(),), (0, 0, 0)), "at least two control points"),
        (lambda: Beam("B", (ControlPoint(), ControlPoint()), (0, 0, 0)), "rise from 0 to 1"),
        (lambda: Beam.open_field(isocenter_RAS_mm=(0, 0)), "three RAS"),
        (lambda: Beam.open_field(meterset_MU=-1), "negative"),
        (lambda: Beam.open_field(weight=-1), "negative"),
        (lambda: Prescription(0), "positive"),
        (lambda: Prescription(50, 2.5), "whole number"),
        (lambda: Prescription(50, normalization="D99"), "unknown"),
        (lambda: Prescription(50, normalization="D95"), "needs a target"),
        (lambda: Plan("P", ()), "at least one beam"),
        (lambda: Plan("P", (Beam.open_field("A"), Beam.open_field("A"))), "unique"),
        (lambda: Plan("P", (Beam.open_field("A"), Beam.open_field("B", meterset_MU=None))), "every beam or to none"),
        (lambda: Plan("P", (Beam.open_field(meterset_MU=None),)), "weights but no MU"),
        (
            lambda: Plan("P", (Beam.open_field(meterset_MU=None, weight=0),), Prescription(50)),
            "every beam weight is zero",
        ),
        (lambda: Plan("P", (Beam.open_field(),), dose_grid_spacing_mm=0.01), "0.5..20 mm"),
    ],
)
def test_contradictions_say_what_to_do(make, says):
    with pytest.raises(PlanError, match=says):
        make()


def test_structure_volume_centroid_and_refusals():
    grid = Grid.from_spacing((4, 4, 4), 10.0)
    mask = np.zeros(grid.shape, bool)
    mask[1, 2, 3] = True
    one = Structure("PTV", mask, grid, "PTV")
    assert one.volume_cm3 == pytest.approx(1.0)
    assert one.centroid_RAS_mm() == pytest.approx([30, 20, 10])
    with pytest.raises(PlanError, match="is empty"):
        Structure("PTV", np.zeros(grid.shape, bool), grid).centroid_RAS_mm()
    with pytest.raises(PlanError, match="role"):
        Structure("PTV", mask, grid, "ptv")
    with pytest.raises(PlanError, match="shape"):
        Structure("PTV", mask[:2], grid)
