"""RT Plans of other systems: every one is read, to the numbers that stand in the file."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from DoseEngineLib.machine import load_beam_machine
from RTPlanningLib.dicom.rt_plan_fluence import read_stored_fluences, stored_leaf_model
from RTPlanningLib.dicom.rt_plan_reader import read_rt_plan

pytestmark = pytest.mark.reference
PLANS = (
    "plans/06MV_plan.dcm",
    "plans/24mm_x_20mm_rectangle.dcm",
    "plans/FFF_example.dcm",
    "plans/RP.3DCRT.dcm",
    "plans/RP_FiF.dcm",
    "plans/vmat_example.dcm",
    "clinical/thorax_imrt/RTPLAN_Hashed.dcm",
    "clinical/breast_imrt_rtdose/rtplan.dcm",
)


def carried_on(points, keyword):
    """Values of an attribute at every control point, from the last one that gives it."""
    values, last = [], None
    for point in points:
        last = point.get(keyword, last)
        values.append(float(last))
    return values


def device_positions(points, kinds):
    """Positions of a device at every control point, by the file's own carrying on."""
    result, last = [], None
    for point in points:
        for device in point.get("BeamLimitingDevicePositionSequence", ()):
            if device.RTBeamLimitingDeviceType in kinds:
                last = np.array(device.LeafJawPositions, dtype=float)
        result.append(last)
    return result


@pytest.mark.parametrize("name", PLANS)
def test_plans_are_read_to_the_numbers_in_the_file(shared_data, name):
    raw = dcmread(shared_data / name, force=True)
    found = read_rt_plan(shared_data / name)
    group = raw.FractionGroupSequence[0]
    metersets = {
        int(one.ReferencedBeamNumber): float(one.BeamMeterset)
        for one in group.ReferencedBeamSequence
        if one.get("BeamMeterset") is not None
    }
    raw_beams = {int(beam.BeamNumber): beam for beam in raw.BeamSequence}
    assert set(found.beam_numbers) == set(metersets)
    assert found.plan.fractions == int(group.NumberOfFractionsPlanned)
    assert found.plan.patient_position == raw.PatientSetupSequence[0].PatientPosition
    for number, beam, energy in zip(found.beam_numbers, found.plan.beams, found.energies, strict=True):
        item = raw_beams[number]
        points = item.ControlPointSequence
        assert beam.meterset_MU == metersets[number]
        x, y, z = (float(v) for v in points[0].IsocenterPosition)
        assert beam.isocenter_RAS_mm == (-x, -y, z)
        assert energy.nominal_MV == float(points[0].NominalBeamEnergy)
        assert len(beam.control_points) == len(points)
        final = float(item.FinalCumulativeMetersetWeight)
        ours = beam.control_points
        np.testing.assert_allclose(
            [p.cumulative_meterset_weight for p in ours],
            [float(p.CumulativeMetersetWeight) / final for p in points],
            atol=1e-6,
        )
        assert [p.gantry_deg for p in ours] == carried_on(points, "GantryAngle")
        assert [p.collimator_deg for p in ours] == carried_on(points, "BeamLimitingDeviceAngle")
        assert [p.couch_deg for p in ours] == carried_on(points, "PatientSupportAngle")
        for kinds, read in (
            (("ASYMX", "X"), [p.aperture.jaw_x_mm for p in ours]),
            (("ASYMY", "Y"), [p.aperture.jaw_y_mm for p in ours]),
            (("MLCX",), [np.array(p.aperture.leaf_positions_mm or ((0, 0),)).T.ravel() for p in ours]),
        ):
            stated = device_positions(points, kinds)
            if stated[0] is None:
                continue
            # pairs that overlap by rounding meet in their middle
            np.testing.assert_allclose(np.array(read), np.array(stated), atol=0.01)
        boundaries = next(
            (d.LeafPositionBoundaries for d in item.BeamLimitingDeviceSequence if d.RTBeamLimitingDeviceType == "MLCX"),
            None,
        )
        if boundaries is not None:
            assert load_beam_machine(beam).mlc.boundaries_mm == pytest.approx([float(b) for b in boundaries])


def test_what_the_plans_hold_is_told(shared_data):
    thorax = read_rt_plan(shared_data / "clinical" / "thorax_imrt" / "RTPLAN_Hashed.dcm")
    assert len(thorax.plan.beams) == 7
    assert thorax.plan.prescription.dose_Gy == 41.4
    assert thorax.plan.prescription.target == "PTV_41.4"
    text = " ".join(thorax.notes)
    for words in ("CBCT", "TrueBeamSN1399", "generic_6mv", "high-definition", "without material"):
        assert words in text
    unflattened = read_rt_plan(shared_data / "plans" / "FFF_example.dcm")
    assert unflattened.plan.beams[0].machine == "generic_6mv_fff"
    assert "Agility" in " ".join(unflattened.notes)
    arcs = read_rt_plan(shared_data / "plans" / "vmat_example.dcm").plan
    first, second = ([p.gantry_deg for p in beam.control_points] for beam in arcs.beams)
    assert (first[0], first[-1]) == (90.0, 150.0)
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) < 0).all()


def test_leaves_give_the_fluence_that_the_planning_system_stored(shared_data):
    """Seven sliding windows, their fluences by Eclipse: one leaf model explains all of them to 0.02 % of open."""
    path = shared_data / "clinical" / "thorax_imrt" / "RTPLAN_Hashed.dcm"
    found, stored = read_rt_plan(path), read_stored_fluences(path)
    assert set(stored) == set(found.beam_numbers)
    notes: list[str] = []
    models = [
        stored_leaf_model(found.plan, [stored[n] if n in chosen else None for n in found.beam_numbers], notes)
        for chosen in ((1, 2), (3, 4), (5, 6, 7))
    ]
    assert notes == []
    for one in models:
        assert one.rms < 2e-4
        assert one.model.transmission == pytest.approx(0.00875, abs=5e-5)
        assert one.model.leaf_end_offset_mm == pytest.approx(0.087, abs=0.003)
        assert one.model.tongue_and_groove_mm == pytest.approx(0.3125, abs=0.001)
    # upside down the leaves are others: no model, and it is said
    turned = [type(one)(one.values[::-1], one.x_mm, one.y_mm) for one in (stored[n] for n in found.beam_numbers)]
    assert stored_leaf_model(found.plan, turned, notes) is None
    assert "differ from those of its leaves" in notes[0]
