"""Curves and facts of a machine for its viewer: what they mean, that they are kept, and that engines agree."""

from __future__ import annotations

import json
import shutil
from importlib import resources

import numpy as np
import pytest

from DoseEngineLib import machine_curves as module
from DoseEngineLib.errors import Cancelled, MachineError
from DoseEngineLib.machine import available_machines, load_machine
from DoseEngineLib.machine_curves import CurveConditions, kept_curves, machine_curves, machine_file_hash
from DoseEngineLib.machine_facts import machine_facts
from DoseEngineLib.photon.water_dose import water_dose
from DoseEngineLib.plan import Aperture


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(module, "_kept", type(module._kept)())


@pytest.mark.parametrize("name", available_machines())
def test_curves_of_every_machine_are_plausible(name: str) -> None:
    curves = machine_curves(name)
    machine = load_machine(name)
    assert curves.ssd_mm == machine.sad_mm
    for curve in curves.depth_doses:
        assert curve.value.max() == pytest.approx(100.0)
        # past the maximum the dose falls all the way
        assert (np.diff(curve.value[np.argmax(curve.value) + 5 :]) < 0).all()
    at_20 = [np.interp(200.0, c.position_mm, c.value) for c in curves.depth_doses]
    assert (np.diff(at_20) > 0).all(), "a wider field has more scatter at depth"
    for curve in curves.profiles:
        np.testing.assert_allclose(curve.value, curve.value[::-1], atol=0.05)
    assert (np.diff(curves.output_factors.value) > 0).all()
    at_10_cm = curves.output_factors.position_mm == 100.0
    assert curves.output_factors.value[at_10_cm] == pytest.approx(1.0, abs=1e-12)
    axis = [curve.value[curve.position_mm.size // 2] for curve in curves.profiles]
    assert axis[0] == pytest.approx(100.0)
    assert (np.diff(axis) < 0).all()


def test_beam_quality_of_6_mv() -> None:
    """PDD(10) and TPR20,10 of 6 MV beams: 66 to 68 % and 0.66 to 0.68 (BJR supplement 25 and TRS-398)."""
    quality = machine_curves("generic_6mv").quality
    assert 66.0 < quality["pdd_10cm_percent"] < 68.0
    assert 0.66 < quality["tpr_20_10"] < 0.68
    assert quality["depth_of_maximum_mm"] == 15.0
    assert quality["maximum_Gy_per_MU"] == pytest.approx(0.01, rel=1e-3)
    assert 5.0 < quality["penumbra_mm"] < 7.0
    # 80 % of the axis is no edge of a cone
    assert "penumbra_mm" not in machine_curves("generic_10mv_fff").quality


@pytest.mark.parametrize("name", ["generic_6mv", "generic_10mv", "generic_15mv", "generic_6mv_fff", "generic_10mv_fff"])
def test_tpr_and_depth_dose_agree_as_measured_ones_do(name: str) -> None:
    """TPR20,10 = 1.2661 PDD20,10 - 0.0595 at SSD 100 cm (IAEA TRS-398, from measurements of many linacs)."""
    quality = machine_curves(name).quality
    ratio = quality["pdd_20cm_percent"] / quality["pdd_10cm_percent"]
    assert quality["tpr_20_10"] == pytest.approx(1.2661 * ratio - 0.0595, abs=0.003)


def test_values_are_those_of_the_water_phantom() -> None:
    conditions = CurveConditions(ssd_mm=900.0, profile_side_mm=150.0, profile_depths_mm=(70.0,))
    curves = machine_curves("generic_6mv", conditions)
    machine = load_machine("generic_6mv")
    field = Aperture((-75.0, 75.0), (-75.0, 75.0))
    depth = float(curves.depth_doses[1].position_mm[np.argmax(machine_curves("generic_6mv").depth_doses[1].value)])
    profile = curves.profiles[-1]
    assert profile.name == "7 cm deep"
    at = int(np.argmin(np.abs(profile.position_mm - 31.0)))
    along = np.zeros((300, 3))
    along[:, 2] = np.arange(1.0, 301.0)
    greatest = water_dose(machine, field, 900.0, along).max()
    expected = 100.0 * water_dose(machine, field, 900.0, np.array([[31.0, 0.0, 70.0]]))[0] / greatest
    assert profile.position_mm[at] == 31.0
    assert profile.value[at] == pytest.approx(expected, rel=1e-9)
    assert 10.0 < depth < 20.0


def test_a_voxel_engine_gives_the_same_curves_within_its_accuracy() -> None:
    """The pencil beam in a phantom of voxels against its closed form: 0.5 % of the maximum behind the build-up."""
    from DoseEngineLib.engine import _REGISTRY, register_engine, unregister_engine

    entry = _REGISTRY["photon-pencil-beam"]
    register_engine("test-voxels", "Voxels", entry.module, entry.class_name)
    told = []
    try:
        small = CurveConditions(engine="test-voxels", profile_side_mm=50.0)
        calculated = machine_curves("generic_6mv", small, lambda fraction, text: told.append(fraction))
        closed = machine_curves("generic_6mv", CurveConditions(profile_side_mm=50.0))
    finally:
        unregister_engine("test-voxels")
    assert "phantom of voxels" in calculated.computed_by
    assert (np.diff(told) >= 0).all()
    assert (told[0], told[-1]) == (0.0, 1.0)
    for curve in calculated.depth_doses:
        other = next(c for c in closed.depth_doses if c.name == curve.name)
        behind = curve.position_mm > 20.0
        difference = curve.value - np.interp(curve.position_mm, other.position_mm, other.value)
        assert np.abs(difference[behind]).max() < 0.5, curve.name
    for curve in calculated.profiles[1:]:
        other = next(c for c in closed.profiles if c.name == curve.name)
        inside = np.abs(curve.position_mm) < 18.0
        difference = curve.value - np.interp(curve.position_mm, other.position_mm, other.value)
        assert np.abs(difference[inside]).max() < 0.5, curve.name
    at = calculated.output_factors.position_mm
    expected = np.interp(at, closed.output_factors.position_mm, closed.output_factors.value)
    np.testing.assert_allclose(calculated.output_factors.value, expected, atol=0.005)


def test_curves_are_kept_by_the_files_content(tmp_path) -> None:
    shipped = resources.files("DoseEngineLib").joinpath("machines", "generic_6mv.json")
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    shutil.copyfile(str(shipped), one)
    shutil.copyfile(str(shipped), other)
    assert kept_curves(one) is None
    found = machine_curves(one)
    assert machine_curves(other) is found
    assert kept_curves("generic_6mv") is found
    assert machine_curves(one, CurveConditions(ssd_mm=900.0)) is not found
    data = json.loads(one.read_text(encoding="utf-8"))
    data["source"]["sigma_mm"] = 2.0
    one.write_text(json.dumps(data), encoding="utf-8")
    assert machine_file_hash(one) != machine_file_hash(other)
    assert kept_curves(one) is None
    assert machine_curves(one).quality["penumbra_mm"] > found.quality["penumbra_mm"] + 0.5


def test_cancelled_curves_are_not_kept() -> None:
    def stop(fraction: float, text: str) -> None:
        if fraction > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        machine_curves("generic_6mv", progress=stop)
    assert kept_curves("generic_6mv") is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ssd_mm": 10.0}, "500..2000"),
        ({"profile_side_mm": 500.0}, "10..400"),
        ({"profile_depths_mm": ()}, "Depths"),
        ({"profile_depths_mm": (50.0, 50.0)}, "Depths"),
        ({"profile_depths_mm": (350.0,)}, "0..300"),
    ],
)
def test_conditions_that_make_no_sense(wrong: dict, says: str) -> None:
    with pytest.raises(MachineError, match=says):
        CurveConditions(**wrong)


def test_a_field_that_the_machine_cannot_form() -> None:
    with pytest.raises(MachineError, match="forms no square field of 400 mm"):
        machine_curves("generic_co60", CurveConditions(profile_side_mm=400.0))
    with pytest.raises(MachineError, match="choose one of"):
        machine_curves("no_such_machine")


@pytest.mark.parametrize("name", available_machines())
def test_facts_name_every_source_and_what_is_left_out(name: str) -> None:
    machine = load_machine(name)
    facts = machine_facts(machine)
    assert {fact.value for fact in facts if fact.group == "Sources"} == set(machine.provenance.values())
    text = next(fact.value for fact in facts if fact.group == "Not modelled")
    assert all(part in text for part in machine.does_not_model)
    assert next(fact.value for fact in facts if fact.label == "Dose for 1 MU") == machine.describe_calibration()
    assert next(f.value for f in facts if f.label == "Source-axis distance") == f"{machine.sad_mm:g} mm"
    leaves = [fact.value for fact in facts if fact.label == "Leaves"]
    assert bool(leaves) == (machine.mlc is not None)
    assert not leaves or leaves[0].startswith(f"{machine.mlc.pairs} pairs")
