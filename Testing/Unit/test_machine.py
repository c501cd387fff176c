"""Machine files: shipped ones load, broken ones say where they are broken."""

from __future__ import annotations

import json
import os
from importlib import resources

import pytest

from DoseEngineLib.errors import MachineError, PlanError
from DoseEngineLib.machine import ReferenceCalibration, available_machines, load_machine, machine_from_json
from DoseEngineLib.plan import Aperture


def shipped(name="generic_6mv"):
    return json.loads(resources.files("DoseEngineLib").joinpath("machines", f"{name}.json").read_text())


@pytest.mark.parametrize("name", available_machines())
def test_shipped_machines_load_and_carry_provenance(name):
    machine = load_machine(name)
    assert machine.name == name
    assert sum(machine.fluence) == pytest.approx(1.0)
    assert {"spectrum", "source", "off_axis", "jaws", "calibration"} <= set(machine.provenance)
    assert machine.describe_calibration()


def test_the_generic_linac_is_what_it_says():
    machine = load_machine("generic_6mv")
    assert machine.mlc.pairs == 60
    assert machine.mlc.boundaries_mm[0] == -200
    assert machine.mlc.boundaries_mm[-1] == 200
    assert machine.calibration == ReferenceCalibration(0.01, 1000, 15, (100, 100))
    # mean energy of Sheikh-Bagheri and Rogers' Varian 6 MV spectrum on the axis: about 1.7 MeV
    mean = sum(e * n for e, n in zip(machine.energy_MeV, machine.fluence, strict=True))
    assert mean == pytest.approx(1.67, abs=0.02)


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
        ({"provenance": {}}, "provenance"),
        ({"calibration": {"kind": "dose_in_water"}}, "calibration"),
    ],
)
def test_broken_machines_say_where(change, says):
    with pytest.raises(MachineError, match=says):
        machine_from_json(json.dumps({**shipped(), **change}), "mine.json")


def test_unreadable_and_unknown_machines():
    with pytest.raises(MachineError, match="choose one of: generic_6mv"):
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
