"""Machine files: shipped ones load, broken ones say where they are broken."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from importlib import resources

import pytest

from DoseEngineLib.errors import MachineError, PlanError
from DoseEngineLib.machine import (
    ReferenceCalibration,
    available_machines,
    load_beam_machine,
    load_machine,
    machine_from_json,
)
from DoseEngineLib.plan import Aperture, Beam, LeafModel


def shipped(name="generic_6mv"):
    return json.loads(resources.files("DoseEngineLib").joinpath("machines", f"{name}.json").read_text())


@pytest.mark.parametrize("name", available_machines())
def test_shipped_machines_load_and_carry_provenance(name):
    machine = load_machine(name)
    assert machine.name == name
    assert sum(machine.fluence) == pytest.approx(1.0)
    assert {"spectrum", "source", "off_axis", "jaws", "calibration"} <= set(machine.provenance)
    assert machine.describe_calibration()


def mean_energy(machine):
    return sum(e * n for e, n in zip(machine.energy_MeV, machine.fluence, strict=True))


def test_beams_harden_with_the_voltage_and_the_flattening_filter():
    energies = [
        mean_energy(load_machine(f"generic_{n}")) for n in ("co60", "6mv_fff", "6mv", "10mv_fff", "10mv", "15mv")
    ]
    assert energies == sorted(energies)


def test_a_machine_says_what_it_leaves_out():
    assert load_machine("generic_6mv").does_not_model == ()
    assert {"head scatter", "electron contamination", "off-axis softening"} <= set(
        load_machine("ideal_6mv").does_not_model
    )


def test_attenuation_rises_off_the_axis_where_it_is_modelled():
    assert load_machine("ideal_6mv").attenuation_ratio([0.0, 150.0]) == pytest.approx([1.0, 1.0])
    linac = load_machine("generic_6mv").attenuation_ratio([0.0, 50.0, 200.0])
    assert linac[0] == 1.0
    # Tailor et al., Med. Phys. 25 (1998) 662: half-value layers shrink by several per cent at ten degrees
    assert 1.0 < linac[1] < 1.02 < linac[2] < 1.2


def test_the_generic_linac_is_what_it_says():
    machine = load_machine("generic_6mv")
    assert machine.mlc.pairs == 60
    assert machine.mlc.boundaries_mm[0] == -200
    assert machine.mlc.boundaries_mm[-1] == 200
    assert machine.calibration == ReferenceCalibration(0.01, 1000, 15, (100, 100))
    # Sheikh-Bagheri and Rogers' Varian 6 MV spectrum on the axis has 1.67 MeV; fitting depth doses hardens it a little
    assert mean_energy(machine) == pytest.approx(1.80, abs=0.02)


def test_a_machine_can_come_from_a_file_and_is_read_again_when_edited(tmp_path):
    path = tmp_path / "mine.json"
    data = shipped()
    path.write_text(json.dumps({**data, "title": "Mine"}))
    assert load_machine(path).title == "Mine"
    path.write_text(json.dumps({**data, "title": "Mine, edited and longer"}))
    os.utime(path, ns=(10**18, 10**18))
    assert load_machine(str(path)).title == "Mine, edited and longer"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sad_mm": -1}, "sad_mm"),
        ({"schema_version": 2}, "newer"),
        ({"wedge": 60}, "wedge"),
        ({"spectrum": {"energy_MeV": [1, 2], "fluence": [1]}}, "2 energies but 1"),
        ({"spectrum": {"energy_MeV": [2, 1], "fluence": [1, 1]}}, "rise strictly"),
        ({"spectrum": {"energy_MeV": [1, 2], "fluence": [0, 0]}}, "zero everywhere"),
        ({"spectrum": {"energy_MeV": [1, 50], "fluence": [1, 1]}}, "spectrum/energy_MeV/1"),
        ({"off_axis": {"kind": "radial", "radius_mm": [0, 10], "ratio": [1, 1, 1]}}, "one ratio each"),
        ({"off_axis": {"kind": "radial", "radius_mm": [5, 10], "ratio": [1, 1]}}, "ratio 1 at radius 0"),
        ({"mlc": {**shipped()["mlc"], "boundaries_mm": [0, 5, 5]}}, "leaf boundaries"),
        ({"mlc": {**shipped()["mlc"], "minimum_mm": 300}}, "below maximum_mm"),
        ({"mlc": {**shipped()["mlc"], "distance_mm": 1200}}, "less than sad_mm"),
        ({"extra_focal": {"weight": 0.9, "sigma_mm": 15, "distance_mm": 125}}, "extra_focal/weight"),
        ({"extra_focal": {"weight": 0.1, "sigma_mm": 15, "distance_mm": 400}}, "above jaws and leaves"),
        ({"electron_contamination": {"surface_ratio": 0.1}}, "electron_contamination"),
        ({"monitor_backscatter": {"jaw_x": 0.5, "jaw_y": 0}}, "monitor_backscatter/jaw_x"),
        ({"off_axis": {"kind": "flat", "softening": [-0.5]}}, "softening"),
        ({"mlc": {**shipped()["mlc"], "tongue_and_groove_mm": 1.9, "boundaries_mm": [0, 3, 6]}}, "half a leaf"),
        ({"provenance": {}}, "provenance"),
        ({"calibration": {"kind": "dose_in_water"}}, "calibration"),
    ],
)
def test_broken_machines_say_where(change, says):
    with pytest.raises(MachineError, match=says):
        machine_from_json(json.dumps({**shipped(), **change}), "mine.json")


def test_unreadable_and_unknown_machines():
    with pytest.raises(MachineError, match=r"choose one of: generic_10mv, .*generic_co60"):
        load_machine("linac")
    with pytest.raises(MachineError, match="cannot be read"):
        load_machine("none/such.json")
    with pytest.raises(MachineError, match="not JSON"):
        machine_from_json("{")
    with pytest.raises(MachineError, match="NaN"):
        machine_from_json('{"sad_mm": NaN}')


def test_apertures_beyond_the_machine_are_refused():
    machine = load_machine("generic_6mv")
    leaves = ((-10.0, 10.0),) * 60
    machine.check_aperture(Aperture((-200, 200), (-200, 200), leaves), "Beam A")
    with pytest.raises(PlanError, match="X jaws -201"):
        machine.check_aperture(Aperture((-201, 0), (0, 1)), "Beam A")
    with pytest.raises(PlanError, match="has 60"):
        machine.check_aperture(Aperture(leaf_positions_mm=leaves[:59]), "Beam A")
    with pytest.raises(PlanError, match="leaf pair 1"):
        machine.check_aperture(Aperture(leaf_positions_mm=((-10.0, 210.0), *leaves[1:])), "Beam A")
    with pytest.raises(PlanError, match="no MLC"):
        load_machine("ideal_6mv").check_aperture(Aperture(leaf_positions_mm=leaves), "Beam A")


@pytest.mark.parametrize("name", [n for n in available_machines() if load_machine(n).mlc is not None])
def test_machines_with_an_mlc_state_what_its_drives_allow(name):
    machine = load_machine(name)
    limits = machine.mlc.limits
    assert 0 <= limits.minimum_gap_mm <= limits.minimum_moving_gap_mm < 10
    assert limits.maximum_speed_mm_s > 0
    assert 0 < limits.maximum_spread_mm < machine.mlc.maximum_mm - machine.mlc.minimum_mm
    assert machine.maximum_dose_rate_MU_min > 0
    assert "limits" in machine.provenance


def test_limits_may_be_left_out_but_not_contradict_themselves():
    data = shipped()
    moving = {**data["mlc"]["limits"], "minimum_gap_mm": 5.0, "minimum_moving_gap_mm": 1.0}
    with pytest.raises(MachineError, match="moving"):
        machine_from_json(json.dumps({**data, "mlc": {**data["mlc"], "limits": moving}}))
    mlc = {key: value for key, value in data["mlc"].items() if key != "limits"}
    assert machine_from_json(json.dumps({**data, "mlc": mlc})).mlc.limits is None


def test_a_beam_may_bring_leaves_of_its_own_widths():
    sides = (-5.0, -2.5, 0.0, 2.5, 5.0)
    aperture = Aperture((-50, 50), (-5, 5), ((-10.0, 10.0),) * 4)
    beam = replace(Beam.static_field("B", aperture), leaf_boundaries_mm=sides)
    machine, usual = load_beam_machine(beam), load_machine("generic_6mv")
    assert machine.mlc.boundaries_mm == sides
    assert machine.mlc.transmission == usual.mlc.transmission
    assert "own widths" in machine.mlc.model
    machine.check_aperture(aperture, "Beam B")
    with pytest.raises(PlanError, match="has 60"):
        usual.check_aperture(aperture, "Beam B")
    # the machine's own leaves, said again, are no others
    own = Beam.static_field("B", Aperture(leaf_positions_mm=((-10.0, 10.0),) * 60))
    assert usual.for_beam(replace(own, leaf_boundaries_mm=usual.mlc.boundaries_mm)) is usual
    assert usual.for_beam(own) is usual
    with pytest.raises(MachineError, match="no MLC"):
        load_machine("ideal_6mv").for_beam(beam)
    narrow = replace(beam, leaf_boundaries_mm=(0.0, 0.5, 1.0, 1.5, 2.0))
    with pytest.raises(MachineError, match="groove"):
        usual.for_beam(narrow)


def test_a_beam_may_know_how_its_leaves_shape_radiation():
    beam = replace(Beam.static_field("B", Aperture()), leaf_model=LeafModel(0.009, 0.1, 0.25))
    machine, usual = load_beam_machine(beam), load_machine("generic_6mv")
    mlc = machine.mlc
    assert (mlc.transmission, mlc.leaf_end_offset_mm, mlc.tongue_and_groove_mm) == (0.009, 0.1, 0.25)
    assert mlc.boundaries_mm == usual.mlc.boundaries_mm
    assert "0.9 %" in mlc.model
    with pytest.raises(PlanError, match="transmission"):
        LeafModel(0.5, 0.0, 0.0)
