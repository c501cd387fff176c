"""RT Plans: what is written comes back, dicom3tools finds no error, and what cannot be computed is named."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from conftest import missing
from dicom_checkers import have_checkers, iod_complaints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import RTIonPlanStorage

from DoseEngineLib.errors import CaseError, PlanError
from DoseEngineLib.geometry import lps_from_ras
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription
from RTPlanningLib.dicom.identity import DicomIdentity, new_uid
from RTPlanningLib.dicom.rt_plan_reader import read_rt_plan
from RTPlanningLib.dicom.rt_plan_writer import rt_plan_dataset

PAIRS = 60
# a decimal string has 16 characters: with a sign, a point and an exponent's worth of digits, positions keep 1e-9 mm
TOLERANCE = 1e-9


def identity() -> DicomIdentity:
    return DicomIdentity(
        patient_name="Phantom^Test",
        patient_id="PHANTOM",
        study_instance_uid=new_uid(),
        frame_of_reference_uid=new_uid(),
        created=datetime(2024, 1, 2, 3, 4, 5),
        study_id="1",
    )


def write(plan: Plan, path, **references):
    dataset = rt_plan_dataset(plan, identity(), **references)
    dataset.save_as(path, enforce_file_format=True)
    return path


def leaves(generator, reach=150.0):
    low = generator.uniform(-reach, reach, PAIRS)
    return tuple(zip(low.tolist(), (low + generator.uniform(0, 40, PAIRS)).tolist(), strict=True))


def arc(name="Arc", machine="generic_6mv", seed=0, points=9, start=350.0, step=4.0, jaws_move=True) -> Beam:
    """Gantry over the top, collimator slowly back, jaws and leaves moving, uneven MU."""
    generator = np.random.default_rng(seed)
    weights = np.concatenate(([0.0], np.sort(generator.uniform(0, 1, points - 2)), [1.0]))
    made = tuple(
        ControlPoint(
            (start + step * n) % 360.0,
            (5.0 - n) % 360.0,
            10.0,
            Aperture((-80.0 - n * jaws_move, 70.0), (-60.0, 55.5), leaves(generator)),
            float(weights[n]),
        )
        for n in range(points)
    )
    return Beam(name, made, (1.25, -33.75, 7.0), machine, 123.456789)


def plan_of(*beams: Beam, **changes) -> Plan:
    prescription = Prescription(50.4, 28, "PTV", "none")
    return replace(Plan("Test plan", beams, prescription, engine="photon-collapsed-cone"), **changes)


angles = st.floats(0, 359.99)
positions = st.floats(-190, 190)


@st.composite
def beams(draw, name):
    """Any beam: static, stepping, sliding or turning; with or without leaves; on any machine."""
    machine = draw(st.sampled_from(["generic_6mv", "generic_10mv", "generic_10mv_fff", "generic_15mv"]))
    moves = draw(st.sampled_from(["static", "window", "arc"]))
    count = 2 if moves == "static" else draw(st.integers(2, 5))
    weights = sorted(draw(st.lists(st.floats(0, 1), min_size=count - 2, max_size=count - 2)))
    weights = [0.0, *weights, 1.0]
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    with_leaves = draw(st.booleans())

    def aperture():
        jaws = [tuple(sorted((draw(positions), draw(positions)))) for _ in range(2)]
        return Aperture(*jaws, leaves(generator) if with_leaves else None)

    first = aperture()
    gantry, collimator, couch = draw(angles), draw(angles), draw(angles)
    turn = draw(st.floats(-9.9, 9.9)) if moves == "arc" else 0.0
    points = tuple(
        ControlPoint((gantry + turn * n) % 360.0, collimator, couch, first if moves == "static" else aperture(), weight)
        for n, weight in enumerate(weights)
    )
    isocenter = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    return Beam(name, points, isocenter, machine, draw(st.floats(0.1, 1500)))


@st.composite
def plans(draw):
    count = draw(st.integers(1, 2))
    prescription = draw(
        st.none() | st.builds(Prescription, st.floats(0.5, 80), st.integers(1, 40), st.just("PTV"), st.just("none"))
    )
    return Plan(
        "Any plan",
        tuple(draw(beams(f"Beam {n}")) for n in range(count)),
        prescription,
        draw(st.sampled_from(["HFS", "HFP", "FFS", "FFP"])),
    )


def assert_same_delivery(again: Plan, plan: Plan) -> None:
    """Every delivered quantity: MU, fractions, geometry, all of every control point."""
    assert again.patient_position == plan.patient_position
    assert again.fractions == plan.fractions
    assert [beam.name for beam in again.beams] == [beam.name for beam in plan.beams]
    for one, other in zip(again.beams, plan.beams, strict=True):
        assert one.machine == other.machine
        assert one.leaf_boundaries_mm == other.leaf_boundaries_mm
        assert one.meterset_MU == pytest.approx(other.meterset_MU, rel=1e-9, abs=TOLERANCE)
        np.testing.assert_allclose(one.isocenter_RAS_mm, other.isocenter_RAS_mm, rtol=0, atol=TOLERANCE)
        assert len(one.control_points) == len(other.control_points)
        for a, b in zip(one.control_points, other.control_points, strict=True):
            assert a.cumulative_meterset_weight == pytest.approx(b.cumulative_meterset_weight, rel=0, abs=1e-12)
            for name in ("gantry_deg", "collimator_deg", "couch_deg"):
                turn = (getattr(a, name) - getattr(b, name) + 180.0) % 360.0 - 180.0
                assert turn == pytest.approx(0.0, abs=TOLERANCE)
            assert (a.aperture.leaf_positions_mm is None) == (b.aperture.leaf_positions_mm is None)
            for x, y in (
                (a.aperture.jaw_x_mm, b.aperture.jaw_x_mm),
                (a.aperture.jaw_y_mm, b.aperture.jaw_y_mm),
                (a.aperture.leaf_positions_mm or (), b.aperture.leaf_positions_mm or ()),
            ):
                np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE)


@given(plans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_written_plan_comes_back_in_every_delivered_quantity(tmp_path, plan):
    found = read_rt_plan(write(plan, tmp_path / "plan.dcm"))
    assert_same_delivery(found.plan, plan)
    if plan.prescription is not None:
        assert found.plan.prescription.dose_Gy == pytest.approx(plan.prescription.dose_Gy, rel=1e-9)
        assert found.plan.prescription.target == "PTV"
    # what comes from here needs no remark
    assert found.notes == ()


def test_leaves_of_other_widths_come_back(tmp_path):
    sides = tuple(np.arange(-40, 41, 2.5).tolist())
    aperture = Aperture((-50, 50), (-40, 40), tuple((-10.0 - n, 5.0 + n) for n in range(32)))
    beam = replace(Beam.static_field("B", aperture), leaf_boundaries_mm=sides)
    found = read_rt_plan(write(plan_of(beam), tmp_path / "plan.dcm"))
    assert_same_delivery(found.plan, plan_of(beam))
    assert any("32 leaf pairs of 2.5 mm" in note for note in found.notes)


@pytest.mark.parametrize("beam", [Beam.open_field(), arc(), arc("FFF", "generic_6mv_fff", 3, 4)], ids=lambda b: b.name)
@pytest.mark.parametrize("with_references", [False, True])
def test_dicom3tools_finds_no_error(tmp_path, beam, with_references):
    if not have_checkers():
        missing("dciodvfy is missing; install dicom3tools (apt install dicom3tools).")
    references = (
        {"structure_set_uid": new_uid(), "dose_uids": [new_uid()], "target_roi_number": 3} if with_references else {}
    )
    point = plan_of(beam, prescription=Prescription(2.0, 1, "PTV", "point", (0.0, 1.0, 2.0)))
    for number, plan in enumerate((plan_of(beam), plan_of(beam, prescription=None), point)):
        assert iod_complaints(write(plan, tmp_path / f"{number}.dcm", **references), tmp_path) == []


def test_banks_jaws_isocentre_and_senses_as_dicom_says(tmp_path):
    beam = arc()
    dataset = dcmread(write(plan_of(beam), tmp_path / "plan.dcm"))
    item = dataset.BeamSequence[0]
    points = item.ControlPointSequence
    kinds = {one.RTBeamLimitingDeviceType: one for one in item.BeamLimitingDeviceSequence}
    assert list(kinds) == ["ASYMX", "ASYMY", "MLCX"]
    machine = load_machine("generic_6mv")
    assert list(map(float, kinds["MLCX"].LeafPositionBoundaries)) == list(machine.mlc.boundaries_mm)
    first = {one.RTBeamLimitingDeviceType: one.LeafJawPositions for one in points[0].BeamLimitingDevicePositionSequence}
    pairs = beam.control_points[0].aperture.leaf_positions_mm
    # all of bank 1 (X1), then all of bank 2
    np.testing.assert_allclose(np.array(first["MLCX"], float), [p[0] for p in pairs] + [p[1] for p in pairs], atol=1e-9)
    assert list(map(float, first["ASYMX"])) == [-80.0, 70.0]
    # x and y of LPS are those of RAS turned round
    assert list(map(float, points[0].IsocenterPosition)) == [-1.25, 33.75, 7.0]
    np.testing.assert_allclose(
        np.array(points[0].IsocenterPosition, float), lps_from_ras(np.array((1.25, -33.75, 7.0)))
    )
    assert [p.GantryRotationDirection for p in points] == ["CW"] * 8 + ["NONE"]
    # the collimator turns to smaller angles: clockwise seen from the source
    assert [p.BeamLimitingDeviceRotationDirection for p in points] == ["CW"] * 8 + ["NONE"]
    assert [p.get("PatientSupportAngle") for p in points[1:]] == [None] * 8
    assert item.BeamType == "DYNAMIC"
    # Y jaws stay, so they stand at the first control point only
    assert [d.RTBeamLimitingDeviceType for d in points[1].BeamLimitingDevicePositionSequence] == ["ASYMX", "MLCX"]
    group = dataset.FractionGroupSequence[0]
    assert float(group.ReferencedBeamSequence[0].BeamMeterset) == 123.456789
    assert group.NumberOfFractionsPlanned == 28
    assert float(points[-1].CumulativeMetersetWeight) == float(item.FinalCumulativeMetersetWeight) == 1.0


def test_step_and_shoot_is_static_and_fff_is_said(tmp_path):
    one, two = (Aperture((-50, 50), (-50, 50), ((-x, x),) * PAIRS) for x in (10.0, 20.0))
    weights = ((one, 0.0), (one, 0.4), (two, 0.4), (two, 1.0))
    points = tuple(ControlPoint(0, 0, 0, aperture, weight) for aperture, weight in weights)
    beam = Beam("Steps", points, (0, 0, 0), "generic_10mv_fff", 50.0)
    item = dcmread(write(plan_of(beam), tmp_path / "plan.dcm")).BeamSequence[0]
    assert item.BeamType == "STATIC"
    assert item.PrimaryFluenceModeSequence[0].FluenceMode == "NON_STANDARD"
    assert item.PrimaryFluenceModeSequence[0].FluenceModeID == "FFF"
    assert float(item.ControlPointSequence[0].NominalBeamEnergy) == 10.0
    assert item.TreatmentMachineName == "generic_10mv_fff"


def test_what_dicom_cannot_hold_is_refused():
    weighted = Plan("W", (Beam.open_field(meterset_MU=None),), Prescription(2.0))
    with pytest.raises(PlanError, match="no MU"):
        rt_plan_dataset(weighted, identity())
    half = replace(Beam.open_field().control_points[1], gantry_deg=180.0)
    turned = replace(Beam.open_field(), control_points=(Beam.open_field().control_points[0], half))
    with pytest.raises(PlanError, match="half a circle"):
        rt_plan_dataset(plan_of(turned), identity())
    with pytest.raises(PlanError, match="Beam name"):
        rt_plan_dataset(plan_of(replace(Beam.open_field(), name="N" * 65)), identity())


# What others write


def changed(tmp_path, change, plan=None, **wishes):
    """Write a plan, change its data set, read it."""
    path = write(plan or plan_of(arc()), tmp_path / "plan.dcm")
    dataset = dcmread(path)
    change(dataset, dataset.BeamSequence[0], dataset.BeamSequence[0].ControlPointSequence)
    dataset.save_as(path)
    return read_rt_plan(path, **wishes)


def item(**values) -> Dataset:
    made = Dataset()
    for name, content in values.items():
        setattr(made, name, content)
    return made


def test_metersets_in_any_unit_of_weight_are_shares(tmp_path):
    def percent(dataset, beam, points):
        beam.FinalCumulativeMetersetWeight = "100"
        for point in points:
            point.CumulativeMetersetWeight = f"{100 * float(point.CumulativeMetersetWeight):.10f}"

    found = changed(tmp_path, percent).plan.beams[0]
    expected = [p.cumulative_meterset_weight for p in arc().control_points]
    assert [p.cumulative_meterset_weight for p in found.control_points] == pytest.approx(expected, abs=1e-9)
    assert found.control_points[-1].cumulative_meterset_weight == 1.0


def test_set_up_and_portal_beams_are_left_out_and_said_so(tmp_path):
    plan = plan_of(Beam.open_field("AP"), Beam.open_field("kV set-up"), Beam.open_field("Port"), Beam.open_field("Old"))

    def mark(dataset, beam, points):
        dataset.BeamSequence[2].TreatmentDeliveryType = "TRMT_PORTFILM"
        references = dataset.FractionGroupSequence[0].ReferencedBeamSequence
        del references[1].BeamMeterset
        del references[3]

    found = changed(tmp_path, mark, plan)
    assert [beam.name for beam in found.plan.beams] == ["AP"]
    assert found.beam_numbers == (1,)
    text = " ".join(found.notes)
    for words in ("without MU", "kV set-up", "TRMT_PORTFILM", "not in the fraction group: Old"):
        assert words in text


def test_wide_arc_segments_are_divided_along_the_stated_direction(tmp_path):
    window = Aperture((-50, 50), (-50, 50), ((-10.0, 10.0),) * PAIRS)
    moved = Aperture((-40, 60), (-50, 50), ((0.0, 30.0),) * PAIRS)
    start, stop = ControlPoint(181.0, 0, 0, window, 0.0), ControlPoint(179.0, 0, 0, moved, 1.0)
    beam = Beam("Conformal arc", (start, stop), (0, 0, 0))

    def clockwise(dataset, beam, points):
        points[0].GantryRotationDirection = "CW"

    plan = plan_of(replace(beam, meterset_MU=200.0))
    points = changed(tmp_path, clockwise, plan).plan.beams[0].control_points
    gantry = np.unwrap(np.radians([p.gantry_deg for p in points]))
    assert math.degrees(gantry[-1] - gantry[0]) == pytest.approx(358.0)
    assert np.degrees(np.diff(gantry)).max() <= 5.0
    middle = points[len(points) // 2]
    share = middle.cumulative_meterset_weight
    assert middle.gantry_deg == pytest.approx((181.0 + 358.0 * share) % 360.0)
    assert middle.aperture.leaf_positions_mm[0] == pytest.approx((10 * share - 10 + 0, 10 + 20 * share))
    assert middle.aperture.jaw_x_mm == pytest.approx((-50 + 10 * share, 50 + 10 * share))

    def other_way(dataset, beam, points):
        points[0].GantryRotationDirection = "CC"

    short = changed(tmp_path, other_way, plan).plan.beams[0].control_points
    assert [p.gantry_deg for p in short] == [181.0, 179.0]


def test_jaws_that_a_machine_lacks_are_opened_wide(tmp_path):
    def without_x(dataset, beam, points):
        del beam.BeamLimitingDeviceSequence[0]
        for point in points:
            devices = point.BeamLimitingDevicePositionSequence
            if devices[0].RTBeamLimitingDeviceType == "ASYMX":
                del devices[0]

    found = changed(tmp_path, without_x)
    assert found.plan.beams[0].control_points[0].aperture.jaw_x_mm == (-200.0, 200.0)
    assert any("no X jaws" in note for note in found.notes)


def test_unknown_machines_are_replaced_by_energy_and_said_so(tmp_path):
    def rename(dataset, beam, points):
        beam.TreatmentMachineName = "Room 7"

    found = changed(tmp_path, rename)
    assert found.plan.beams[0].machine == "generic_6mv"
    assert any("Room 7" in note and "chosen by the energy alone" in note for note in found.notes)
    given = changed(tmp_path, rename, machine={"Room 7": "generic_10mv"})
    assert given.plan.beams[0].machine == "generic_10mv"
    assert any("though its energy is 10 MV" in note for note in given.notes)
    assert changed(tmp_path, rename, machine="generic_6mv").plan.beams[0].machine == "generic_6mv"


def test_energies_without_a_machine_are_refused(tmp_path):
    def eighteen(dataset, beam, points):
        points[0].NominalBeamEnergy = "18"

    with pytest.raises(CaseError, match=r"18 MV.*Give one"):
        changed(tmp_path, eighteen)
    assert changed(tmp_path, eighteen, machine="generic_15mv").plan.beams[0].machine == "generic_15mv"


def test_closed_pairs_may_overlap_by_rounding_only(tmp_path):
    def overlap(by):
        def change(dataset, beam, points):
            values = list(points[0].BeamLimitingDevicePositionSequence[2].LeafJawPositions)
            values[0], values[PAIRS] = by, 0.0
            points[0].BeamLimitingDevicePositionSequence[2].LeafJawPositions = values

        return change

    pair = changed(tmp_path, overlap(0.01)).plan.beams[0].control_points[0].aperture.leaf_positions_mm[0]
    assert pair == (0.005, 0.005)
    with pytest.raises(CaseError, match=r"close beyond themselves, pair 1"):
        changed(tmp_path, overlap(1.0))


def test_leaves_parked_far_out_behind_the_jaws_are_drawn_in(tmp_path):
    def parked(dataset, beam, points):
        values = list(points[0].BeamLimitingDevicePositionSequence[2].LeafJawPositions)
        values[0], values[PAIRS] = -215.0, -210.0
        points[0].BeamLimitingDevicePositionSequence[2].LeafJawPositions = values

    found = changed(tmp_path, parked)
    assert found.plan.beams[0].control_points[0].aperture.leaf_positions_mm[0] == (-200.0, -200.0)
    assert any("drawn in" in note for note in found.notes)

    def jaws_too(dataset, beam, points):
        parked(dataset, beam, points)
        points[0].BeamLimitingDevicePositionSequence[0].LeafJawPositions = [-220, 70]

    with pytest.raises(CaseError, match="exceed the travel"):
        changed(tmp_path, jaws_too)


MODIFIERS = {
    "wedges": lambda d, b, p: setattr(b, "WedgeSequence", [item(WedgeNumber=1, WedgeType="STANDARD", WedgeAngle=45)]),
    "blocks": lambda d, b, p: setattr(b, "BlockSequence", [item(BlockType="SHIELDING")]),
    "compensators": lambda d, b, p: setattr(b, "CompensatorSequence", [item(MaterialID="BRASS", CompensatorNumber=1)]),
    "boluses": lambda d, b, p: setattr(b, "NumberOfBoli", 1),
    "applicators": lambda d, b, p: setattr(b, "ApplicatorSequence", [item(ApplicatorType="STEREOTACTIC")]),
    "couch-tilt": lambda d, b, p: setattr(p[0], "TableTopPitchAngle", 2.5),
    "sad": lambda d, b, p: setattr(b, "SourceAxisDistance", "800"),
    "fluence-mode": lambda d, b, p: setattr(
        b, "PrimaryFluenceModeSequence", [item(FluenceMode="NON_STANDARD", FluenceModeID="SRS")]
    ),
}


@pytest.mark.parametrize("kind", MODIFIERS)
def test_what_no_engine_models_is_an_error_unless_allowed(tmp_path, kind):
    with pytest.raises(CaseError, match=rf"beam 1 \(Arc\).*allow={kind}"):
        changed(tmp_path, MODIFIERS[kind])
    found = changed(tmp_path, MODIFIERS[kind], allow=[kind])
    assert any(note.startswith("NOT IN THE DOSE, beam 1 (Arc)") for note in found.notes)
    with pytest.raises(CaseError, match="nothing called"):
        changed(tmp_path, MODIFIERS[kind], allow=["everything"])


def test_wedges_that_stay_out_and_stored_fluences_change_nothing(tmp_path):
    def out(dataset, beam, points):
        MODIFIERS["wedges"](dataset, beam, points)
        points[0].WedgePositionSequence = [item(ReferencedWedgeNumber=1, WedgePosition="OUT")]
        beam.CompensatorSequence = [item(MaterialID="", CompensatorNumber=1, CompensatorType="TOTAL_ACTUAL")]
        beam.NumberOfCompensators = 1

    found = changed(tmp_path, out)
    assert any("without material" in note for note in found.notes)


def test_electron_beams_are_left_out_only_when_allowed(tmp_path):
    plan = plan_of(Beam.open_field("Boost"), Beam.open_field("AP"))

    def electrons(dataset, beam, points):
        beam.RadiationType = "ELECTRON"

    with pytest.raises(CaseError, match=r"Boost.*electron beam"):
        changed(tmp_path, electrons, plan)
    found = changed(tmp_path, electrons, plan, allow="electrons")
    assert [beam.name for beam in found.plan.beams] == ["AP"]
    assert any("NOT IN THE DOSE" in note and "Boost" in note for note in found.notes)


def test_ion_and_brachytherapy_plans_are_recognised(tmp_path):
    def ion(dataset, beam, points):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTIonPlanStorage

    with pytest.raises(CaseError, match=r"ion plan.*not computed yet"):
        changed(tmp_path, ion)

    def brachy(dataset, beam, points):
        dataset.BrachyTreatmentType = "HDR"

    with pytest.raises(CaseError, match=r"brachytherapy plan \(HDR\).*not computed yet"):
        changed(tmp_path, brachy)


def delete(where, keyword):
    def change(dataset, beam, points):
        delattr(
            {"plan": dataset, "group": dataset.FractionGroupSequence[0], "beam": beam, "point": points[0]}[where],
            keyword,
        )

    return change


@pytest.mark.parametrize(
    ("where", "keyword"),
    [
        ("plan", "FractionGroupSequence"),
        ("group", "NumberOfFractionsPlanned"),
        ("plan", "BeamSequence"),
        ("beam", "BeamNumber"),
        ("beam", "ControlPointSequence"),
        ("beam", "BeamLimitingDeviceSequence"),
        ("beam", "FinalCumulativeMetersetWeight"),
        ("beam", "PrimaryDosimeterUnit"),
        ("point", "NominalBeamEnergy"),
        ("point", "GantryAngle"),
        ("point", "BeamLimitingDeviceAngle"),
        ("point", "IsocenterPosition"),
        ("point", "CumulativeMetersetWeight"),
        ("plan", "PatientSetupSequence"),
    ],
)
def test_missing_tags_are_named_with_their_file(tmp_path, where, keyword):
    named = "PatientPosition" if keyword == "PatientSetupSequence" else keyword
    with pytest.raises(CaseError, match=rf"plan\.dcm.*{named}"):
        changed(tmp_path, delete(where, keyword))


def test_missing_positions_and_meterset_are_named(tmp_path):
    def no_leaves(dataset, beam, points):
        del points[0].BeamLimitingDevicePositionSequence[2]

    with pytest.raises(CaseError, match=r"control point 0.*does not set MLCX"):
        changed(tmp_path, no_leaves)

    def no_meterset(dataset, beam, points):
        del dataset.FractionGroupSequence[0].ReferencedBeamSequence[0].BeamMeterset

    with pytest.raises(CaseError, match="BeamMeterset"):
        changed(tmp_path, no_meterset)

    def minutes(dataset, beam, points):
        beam.PrimaryDosimeterUnit = "MINUTE"

    with pytest.raises(CaseError, match="MINUTE"):
        changed(tmp_path, minutes)


def test_wishes_fill_what_the_file_lacks(tmp_path):
    found = changed(tmp_path, delete("plan", "PatientSetupSequence"), patient_position="FFP")
    assert found.plan.patient_position == "FFP"
    assert changed(tmp_path, delete("group", "NumberOfFractionsPlanned"), fractions=5).plan.fractions == 5

    def no_prescription(dataset, beam, points):
        del dataset.DoseReferenceSequence

    with pytest.raises(CaseError, match="prescription_Gy"):
        changed(tmp_path, no_prescription)
    assert changed(tmp_path, no_prescription, prescription_Gy=60.0).plan.prescription.dose_Gy == 60.0


def test_files_that_are_no_plans_are_said_to_be_none(tmp_path):
    def dose(dataset, beam, points):
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"

    with pytest.raises(CaseError, match="RTDOSE, not an RT Plan"):
        changed(tmp_path, dose)
    with pytest.raises(CaseError, match="cannot be read"):
        read_rt_plan(tmp_path / "none.dcm")
