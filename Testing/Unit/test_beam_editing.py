"""Beams edited one at a time: what changes, what stays, and what is refused in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DoseEngineLib.errors import MachineError, PlanError
from DoseEngineLib.iec61217 import PATIENT_POSITIONS
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription
from RTPlanningLib.beam_editing import (
    add_beam,
    copy_beam,
    opposed_beam,
    remove_beam,
    rename_beam,
    set_angles,
    set_isocenter,
    set_jaws,
    set_machine,
    set_meterset,
    set_weight,
    side_name,
    with_MU,
    with_weights,
)

PAIRS = load_machine("generic_6mv").mlc.pairs
LEAVES = tuple((-20.0 - n / 10, 35.0 + n / 7) for n in range(PAIRS))
APERTURE = Aperture((-30.0, 45.0), (-25.0, 60.0), LEAVES)
RX = Prescription(50.0, 25, "PTV")
AP = Beam.static_field("AP", APERTURE, isocenter_RAS_mm=(1.0, 2.0, 3.0), meterset_MU=None, weight=2.0)
OBLIQUE = replace(
    Beam.static_field("Oblique", APERTURE, gantry_deg=40, collimator_deg=350, couch_deg=15, meterset_MU=None),
    isocenter_RAS_mm=(1.0, 2.0, 3.0),
)
PLAN = Plan("Plan", (AP, OBLIQUE), RX)
MU_PLAN = PLAN.with_metersets((120.0, 60.0))


def named(plan: Plan, name: str) -> Beam:
    (beam,) = [beam for beam in plan.beams if beam.name == name]
    return beam


def arc(step=10.0, points=5) -> Beam:
    cumulative = np.linspace(0, 1, points)
    return Beam(
        "Arc",
        tuple(ControlPoint((350.0 + step * n) % 360, 10.0, 0.0, APERTURE, float(c)) for n, c in enumerate(cumulative)),
        (0.0, 0.0, 0.0),
        meterset_MU=100.0,
    )


def test_an_added_beam_is_like_the_selected_one_with_the_next_number() -> None:
    plan, name = add_beam(PLAN, "AP")
    assert (name, [beam.name for beam in plan.beams]) == ("Field 3", ["AP", "Field 3", "Oblique"])
    assert replace(named(plan, "Field 3"), name="AP") == AP
    again, name = add_beam(rename_beam(plan, "AP", "Field 4"), "Field 3")
    assert name == "Field 5"
    assert len(again.beams) == 4


def test_copies_are_named_after_the_beam() -> None:
    plan, first = copy_beam(PLAN, "AP")
    plan, second = copy_beam(plan, "AP")
    assert (first, second) == ("AP copy", "AP copy 2")
    assert replace(named(plan, second), name="AP") == AP


def test_the_last_beam_stays() -> None:
    plan = remove_beam(PLAN, "AP")
    assert [beam.name for beam in plan.beams] == ["Oblique"]
    with pytest.raises(PlanError, match="Oblique is the only beam of plan Plan, and a plan needs one"):
        remove_beam(plan, "Oblique")
    with pytest.raises(PlanError, match="has no beam 'AP'; it has: Oblique"):
        remove_beam(plan, "AP")


def test_names_are_unique_and_not_empty() -> None:
    assert [beam.name for beam in rename_beam(PLAN, "AP", " Front ").beams] == ["Front", "Oblique"]
    assert rename_beam(PLAN, "AP", "AP") == PLAN
    with pytest.raises(PlanError, match="already has a beam 'Oblique'"):
        rename_beam(PLAN, "AP", "Oblique")
    with pytest.raises(PlanError, match="needs a name"):
        rename_beam(PLAN, "AP", "  ")


@settings(max_examples=60, deadline=None)
@given(
    gantry=st.floats(0, 360),
    collimator=st.floats(-180, 180),
    couch=st.floats(-90, 90),
    position=st.sampled_from(PATIENT_POSITIONS),
)
def test_the_opposed_beam_comes_from_the_other_side_and_opens_on_the_same_points(
    gantry, collimator, couch, position
) -> None:
    beam = Beam.static_field(
        "A", APERTURE, gantry_deg=gantry, collimator_deg=collimator, couch_deg=couch, isocenter_RAS_mm=(5, -7, 11)
    )
    plan, name = opposed_beam(Plan("P", (beam,), None, position), "A")
    other = named(plan, name)
    here, there = beam.frame(position), other.frame(position)
    np.testing.assert_allclose(there.source_direction, -here.source_direction, atol=1e-12)
    np.testing.assert_allclose(there.y_axis, here.y_axis, atol=1e-12)
    # the corners of every leaf's opening, and of the jaws, are the same points of the isocentre plane
    sides = load_machine("generic_6mv").mlc.boundaries_mm

    def edges(of: Beam) -> list[np.ndarray]:
        aperture, frame = of.control_points[0].aperture, of.frame(position)
        rows = [(pair, (sides[n], sides[n + 1])) for n, pair in enumerate(aperture.leaf_positions_mm)]
        rows.append((aperture.jaw_x_mm, aperture.jaw_y_mm))
        return [frame.to_ras([(x, y, 0.0) for x in xs for y in ys]) for xs, ys in rows]

    for first, second in zip(edges(beam), edges(other), strict=True):
        # the lower X of one is the upper X of the other
        np.testing.assert_allclose(second, first[[2, 3, 0, 1]], atol=1e-9)
    # twice opposed is the beam again
    again, name = opposed_beam(Plan("P", (other,), None, position), other.name)
    back = named(again, name).control_points[0]
    assert back.aperture == APERTURE
    np.testing.assert_allclose(named(again, name).frame(position).rotation, here.rotation, atol=1e-12)


def test_the_opposed_beam_of_a_side_is_named_by_its_side() -> None:
    assert opposed_beam(PLAN, "AP")[1] == "PA"
    assert opposed_beam(PLAN, "Oblique")[1] == "Oblique opposed"
    assert side_name(0.0, "HFP") == "PA"
    assert side_name(90.0, "HFS", 90.0) == "Gantry 90 couch 90"


def test_the_opposed_beam_of_an_arc_is_an_arc() -> None:
    plan, name = opposed_beam(Plan("P", (arc(),), None), "Arc")
    points = named(plan, name).control_points
    assert [point.gantry_deg for point in points] == [170.0, 180.0, 190.0, 200.0, 210.0]
    assert {point.collimator_deg for point in points} == {350.0}
    assert [point.cumulative_meterset_weight for point in points] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_angles_are_kept_in_0_to_360() -> None:
    plan = set_angles(PLAN, "AP", gantry_deg=-90.0, couch_deg=360.0)
    for point in named(plan, "AP").control_points:
        assert (point.gantry_deg, point.collimator_deg, point.couch_deg) == (270.0, 0.0, 0.0)
    assert named(plan, "Oblique") == OBLIQUE
    for wrong in (361.0, float("nan"), -400.0):
        with pytest.raises(PlanError, match=r"gantry angle must be -360\.\.360"):
            set_angles(PLAN, "AP", gantry_deg=wrong)


def test_an_arc_turns_as_a_whole() -> None:
    beam = named(set_angles(Plan("P", (arc(),), None), "Arc", gantry_deg=100.0, collimator_deg=90.0), "Arc")
    assert [point.gantry_deg for point in beam.control_points] == [100.0, 110.0, 120.0, 130.0, 140.0]
    assert {point.collimator_deg for point in beam.control_points} == {90.0}


def test_jaws_are_held_to_the_machine() -> None:
    beam = named(set_jaws(PLAN, "AP", jaw_x_mm=(-10.0, 20.0)), "AP")
    assert {(p.aperture.jaw_x_mm, p.aperture.jaw_y_mm) for p in beam.control_points} == {((-10.0, 20.0), (-25.0, 60.0))}
    assert beam.control_points[0].aperture.leaf_positions_mm == LEAVES
    with pytest.raises(PlanError, match=r"exceed the travel of generic_6mv, -200\.\.200 mm"):
        set_jaws(PLAN, "AP", jaw_y_mm=(-10.0, 200.5))
    with pytest.raises(PlanError, match="X1 30 mm and X2 20 mm leave nothing open"):
        set_jaws(PLAN, "AP", jaw_x_mm=(30.0, 20.0))
    moving = replace(arc(), control_points=(*arc().control_points[:-1], replace(arc().control_points[-1])))
    points = list(moving.control_points)
    points[1] = replace(points[1], aperture=replace(APERTURE, jaw_x_mm=(-10.0, 10.0)))
    with pytest.raises(PlanError, match="its jaws move with the gantry"):
        set_jaws(Plan("P", (replace(moving, control_points=tuple(points)),)), "Arc", jaw_x_mm=(-1.0, 1.0))


def test_another_machine_must_be_able_to_form_the_aperture() -> None:
    assert named(set_machine(PLAN, "AP", "generic_15mv"), "AP").machine == "generic_15mv"
    with pytest.raises(PlanError, match="ideal_6mv has no MLC"):
        set_machine(PLAN, "AP", "ideal_6mv")
    assert named(set_machine(PLAN, "AP", "ideal_6mv", keeps_aperture=False), "AP").machine == "ideal_6mv"
    with pytest.raises(MachineError, match="There is no machine 'linac'"):
        set_machine(PLAN, "AP", "linac")


def test_the_isocentre_of_one_beam_or_of_all() -> None:
    assert [b.isocenter_RAS_mm for b in set_isocenter(PLAN, (4, 5, 6)).beams] == [(4.0, 5.0, 6.0)] * 2
    one = set_isocenter(PLAN, (4, 5, 6), "Oblique")
    assert [b.isocenter_RAS_mm for b in one.beams] == [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]
    with pytest.raises(PlanError, match="finite number"):
        set_isocenter(PLAN, (4, 5, float("inf")))


def test_weights_and_MU_are_not_mixed_up() -> None:
    assert named(set_weight(PLAN, "AP", 0.5), "AP").weight == 0.5
    assert named(set_meterset(MU_PLAN, "AP", 33.0), "AP").meterset_MU == 33.0
    with pytest.raises(PlanError, match="carry MU, so weights mean nothing"):
        set_weight(MU_PLAN, "AP", 0.5)
    with pytest.raises(PlanError, match="the prescription sets their MU"):
        set_meterset(PLAN, "AP", 100.0)
    with pytest.raises(PlanError, match="is negative"):
        set_weight(PLAN, "AP", -0.5)


def test_MU_become_weights_and_back() -> None:
    assert [b.meterset_MU for b in with_MU(PLAN).beams] == [200.0, 100.0]
    assert [b.meterset_MU for b in with_MU(PLAN, (51.0, 49.0)).beams] == [51.0, 49.0]
    weights = with_weights(MU_PLAN)
    assert not weights.has_MU
    assert [b.weight for b in weights.beams] == pytest.approx([4 / 3, 2 / 3], abs=1e-6)
    with pytest.raises(PlanError, match="all beams have 0 MU"):
        with_weights(MU_PLAN.with_metersets((0.0, 0.0)))
    with pytest.raises(PlanError, match="a prescription with a"):
        with_weights(replace(MU_PLAN, prescription=None))
