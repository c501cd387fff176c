"""Fields and arcs about a target, and beams that follow it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.aperture import beams_eye_view_points, fit_mlc
from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.fluence import beam_segments
from DoseEngineLib.plan import Aperture, Plan, Prescription
from RTPlanningLib.beam_arrangement import arc_angles_deg, arc_beam, conformal_fields, equally_spaced_deg
from RTPlanningLib.beam_editing import rename_beam, set_angles, set_jaws, set_weight
from RTPlanningLib.beam_fit import BeamFit, fit_beam, fit_plan, fits_from_json, fits_to_json
from RTPlanningLib.plan_templates import BOX_GANTRY_DEG, four_field_box
from RTPlanningLib.samples import load_sample

MACHINE = load_machine("generic_6mv")
RX = Prescription(50.0, 25, "PTV")
MLC, JAWS = BeamFit("mlc", 7.0), BeamFit("jaws", 5.0)


@pytest.fixture(scope="module")
def case():
    return load_sample("tg119-prostate", 5.0)


@pytest.fixture(scope="module")
def target(case):
    return case.structure("PTV")


@pytest.fixture(scope="module")
def plan(target):
    return Plan("Box", conformal_fields(target, BOX_GANTRY_DEG, MLC, machine="generic_6mv"), RX)


def test_four_fields_are_the_templates_box(case, plan) -> None:
    assert plan.beams == four_field_box(case, "PTV", 50.0, 25, margin_mm=7.0).beams
    assert [beam.name for beam in plan.beams] == ["AP", "Left lateral", "PA", "Right lateral"]


def test_equally_spaced() -> None:
    assert equally_spaced_deg(5) == (0.0, 72.0, 144.0, 216.0, 288.0)
    assert equally_spaced_deg(4, 315.0) == (315.0, 45.0, 135.0, 225.0)
    assert equally_spaced_deg(7)[1] == pytest.approx(360 / 7, abs=1e-6)
    for wrong in (0, 37, 2.5):
        with pytest.raises(PlanError, match="1 to 36 fields"):
            equally_spaced_deg(wrong)


def test_fields_of_the_same_direction_are_refused(target) -> None:
    with pytest.raises(PlanError, match="different gantry angles; got 0, 0"):
        conformal_fields(target, (0.0, 360.0), MLC, machine="generic_6mv")


@pytest.mark.parametrize(
    ("start", "stop", "clockwise", "count", "turn"),
    [(181, 179, True, 91, 358), (179, 181, False, 91, -358), (30, 330, False, 16, -60), (0, 0, True, 91, 360)],
)
def test_arcs_run_from_start_to_stop_in_their_sense(start, stop, clockwise, count, turn) -> None:
    angles = arc_angles_deg(start, stop, clockwise=clockwise, spacing_deg=4.0)
    assert len(angles) == count
    assert (angles[0], angles[-1]) == (start, stop)
    steps = (np.diff(angles) + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(steps, turn / (count - 1), atol=2e-6)
    assert np.abs(steps).max() <= 4.0 + 1e-6


def test_arcs_that_no_engine_takes_are_refused() -> None:
    with pytest.raises(PlanError, match="every 1 to 10 degrees; got 12"):
        arc_angles_deg(0, 90, spacing_deg=12)
    with pytest.raises(PlanError, match="start angle must be"):
        arc_angles_deg(-500, 90)
    with pytest.raises(PlanError, match="at least two control points"):
        arc_beam("Arc", [0.0], machine="generic_6mv", isocenter_RAS_mm=(0, 0, 0))


def test_an_arc_is_delivered_at_a_constant_rate_by_the_engines(target) -> None:
    arc = arc_beam(
        "Arc",
        arc_angles_deg(300, 60, spacing_deg=8),
        machine="generic_6mv",
        isocenter_RAS_mm=target.centroid_RAS_mm(),
        collimator_deg=15,
        aperture=Aperture((-20, 20), (-20, 20)),
        meterset_MU=100.0,
    )
    segments = beam_segments(arc, MACHINE, "HFS", pixel_mm=5.0)
    assert len(segments) == 15
    assert [segment.weight for segment in segments] == pytest.approx([1 / 15] * 15)
    # the middle of the arc comes from the front
    np.testing.assert_allclose(segments[7].frame.source_direction, (0, 1, 0), atol=1e-6)


def test_a_fitted_arc_covers_the_target_from_every_angle(target) -> None:
    arc = arc_beam(
        "Arc", arc_angles_deg(0, 30, spacing_deg=10), machine="generic_6mv", isocenter_RAS_mm=target.centroid_RAS_mm()
    )
    told = []
    fitted = fit_beam(arc, BeamFit("jaws", 3.0), target, "HFS", lambda fraction, text: told.append(fraction))
    assert told == [0.0, 0.25, 0.5, 0.75]
    for number, point in enumerate(fitted.control_points):
        points = beams_eye_view_points(target, fitted.frame("HFS", number), MACHINE.sad_mm)
        assert point.aperture.jaw_x_mm == pytest.approx((points[:, 0].min() - 3, points[:, 0].max() + 3))
        assert point.aperture.leaf_positions_mm is None
    assert len({point.aperture for point in fitted.control_points}) == 4


def test_a_turned_beam_is_fitted_anew(plan, target) -> None:
    turned = set_angles(plan, "AP", gantry_deg=33.0, couch_deg=10.0)
    fits = {"AP": MLC, "PA": JAWS}
    refitted = fit_plan(turned, fits, target, names=["AP"])
    assert refitted.beams[1:] == plan.beams[1:]
    assert refitted.beams[0].control_points[0].aperture == fit_mlc(target, turned.beams[0].frame("HFS"), MACHINE, 7.0)
    both = fit_plan(turned, fits, target)
    assert both.beams[2].control_points[0].aperture.leaf_positions_mm is None
    assert both.beams[3] == plan.beams[3]


def test_fits_that_cannot_be_are_refused(plan, target) -> None:
    with pytest.raises(PlanError, match="mlc or jaws"):
        BeamFit("block")
    with pytest.raises(PlanError, match=r"must be 0..100 mm; got -1"):
        BeamFit("mlc", -1.0)
    with pytest.raises(PlanError, match="Beam AP: ideal_6mv has no MLC"):
        fit_beam(replace(plan.beams[0], machine="ideal_6mv"), MLC, target, "HFS")
    far = replace(plan.beams[0], isocenter_RAS_mm=(300.0, 0.0, 0.0))
    with pytest.raises(PlanError, match=r"Beam AP: .*exceed the travel"):
        fit_beam(far, JAWS, target, "HFS")


def test_fits_are_kept_with_what_they_made(plan, target) -> None:
    fits = {"AP": MLC, "PA": JAWS, "gone": MLC}
    fitted = fit_plan(plan, fits, target)
    text = fits_to_json(fitted, fits)
    assert fits_from_json(fitted, text) == {"AP": MLC, "PA": JAWS}
    assert fits_from_json(fitted, None) == {}
    # weights, MU and other beams do not matter; angles, jaws and target do
    assert fits_from_json(set_weight(fitted, "AP", 2.0), text) == {"AP": MLC, "PA": JAWS}
    assert fits_from_json(fitted.with_metersets((1, 2, 3, 4)), text) == {"AP": MLC, "PA": JAWS}
    assert fits_from_json(set_angles(fitted, "AP", gantry_deg=1.0), text) == {"PA": JAWS}
    assert fits_from_json(set_jaws(fitted, "PA", (-10.0, 10.0)), text) == {"AP": MLC}
    other_target = replace(fitted, prescription=replace(RX, target="CTV"))
    assert fits_from_json(other_target, text) == {}
    assert fits_from_json(other_target, text, changed_too=True) == {"AP": MLC, "PA": JAWS}
    # beams that no longer are as fitted are kept as such
    kept = fits_to_json(fitted, {"PA": JAWS}, {"AP": MLC, "PA": MLC})
    assert fits_from_json(fitted, kept) == {"PA": JAWS}
    assert fits_from_json(fitted, kept, changed_too=True) == {"AP": MLC, "PA": JAWS}
    assert fits_from_json(rename_beam(fitted, "AP", "Front"), text) == {"PA": JAWS}


def test_beams_do_not_fit_a_target_that_was_contoured_anew(plan, target, case) -> None:
    text = fits_to_json(plan, {"AP": MLC}, target=target)
    same = replace(target, mask=target.mask.copy(), name="renamed", color=(0.0, 0.0, 0.0))
    assert fits_from_json(plan, text, target=same) == {"AP": MLC}
    mask = target.mask.copy()
    mask[tuple(index[0] for index in np.nonzero(mask))] = False
    for other in (replace(target, mask=mask), case.structure("CTV"), replace(target, mask=np.zeros_like(mask))):
        assert fits_from_json(plan, text, target=other) == {}
        assert fits_from_json(plan, text, target=other, changed_too=True) == {"AP": MLC}
    assert fits_from_json(plan, text) == {"AP": MLC}
    assert fits_from_json(plan, fits_to_json(plan, {"AP": MLC}), target=target) == {"AP": MLC}


def test_stored_fits_of_the_future_or_damaged_are_refused(plan) -> None:
    newer = json.dumps({"schema_version": 2, "beams": {}})
    with pytest.raises(SchemaError, match="schema version 2; this version of RTPlanning reads 1"):
        fits_from_json(plan, newer)
    for text in ("{", "[]", '{"schema_version": 1, "beams": {"AP": {"fit": "mlc"}}}'):
        with pytest.raises(SchemaError, match="damaged"):
            fits_from_json(plan, text, changed_too=True)
