"""Commissioning against synthetic measurements of a known machine."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from beam_data_factory import as_csv, base_data, measured, true_machine, true_values, write_base

from DoseEngineLib.commissioning import commission
from DoseEngineLib.commissioning.fit import compare_with_machine
from DoseEngineLib.commissioning.machine_parameters import (
    changed_machine,
    machine_parameters,
    read_machine_data,
)
from DoseEngineLib.commissioning.measured_curve import MeasurementError
from DoseEngineLib.commissioning.measurement_csv import parse_csv
from DoseEngineLib.commissioning.measurements import check_measurements
from DoseEngineLib.commissioning.model import MOST_POINTS, CurveModel, curve_dose
from DoseEngineLib.errors import Cancelled, MachineError
from DoseEngineLib.machine import available_machines, load_machine, machine_from_json


@pytest.fixture(scope="module")
def base_file(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def curves():
    return measured(true_machine())


@pytest.fixture(scope="module")
def reports():
    return []


@pytest.fixture(scope="module")
def result(base_file, curves, reports):
    return commission(check_measurements(curves), base_file, lambda *now: reports.append(now))


def test_the_base_is_visibly_wrong(result):
    assert max(c.rms_before_percent for c in result.curves) > 1.5
    assert min(c.passed_percent((1.0, 1.0)) for c in result.curves) > 95.0


def test_parameters_are_recovered_within_their_errors(result):
    true = true_values()
    found = {p.key: p for p in result.parameters}
    assert found.keys() == true.keys()
    assert all(p.determined for p in result.parameters)
    pulls = {key: (found[key].value - true[key]) / found[key].uncertainty for key in true}
    assert max(map(abs, pulls.values())) < 3.0, pulls
    assert np.sqrt(np.mean(np.square(list(pulls.values())))) < 1.6, pulls
    # and the errors say something
    largest = {"spectrum/tilt": 0.01, "source/sigma_mm": 0.08, "extra_focal/weight": 0.006, "off_axis/100_mm": 0.01}
    for key, limit in largest.items():
        assert found[key].uncertainty < limit


def test_curves_without_noise_are_met_within_half_a_per_cent(result):
    machine = true_machine()
    for comparison in result.curves:
        model = CurveModel(comparison.curve, machine)
        true = model.normalization.percent(curve_dose(machine, comparison.curve))
        off = np.abs(comparison.computed_percent - true)
        if comparison.curve.kind != "output_factor":
            # in the build-up and at edges, 0.1 mm
            off = off - 0.1 * np.abs(np.gradient(true, comparison.curve.position_mm))
        # of each curve's maximum
        assert off.max() < 0.005 * true.max(), comparison.curve.title


def test_what_is_left_is_the_noise(result, curves):
    assert result.chi2_reduced == pytest.approx(1.0, abs=0.25)
    used = sum(min(len(c.position_mm), MOST_POINTS) for c in curves)
    assert any("less than 3 mm are compared but not fitted" in note for note in result.notes)
    assert 0.8 * used < result.residuals.size <= used
    assert np.abs(result.residuals).max() < 5.0


def test_progress_rises_to_one(result, reports):
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert {"Fitting spectrum", "Fitting all parameters"} <= {text for _, text in reports}


def test_the_machine_file_is_a_machine_with_provenance(result, tmp_path):
    path = tmp_path / "fitted.json"
    path.write_text(result.machine_json, encoding="utf-8")
    machine = load_machine(path)
    assert machine == result.machine
    assert machine.name == "base_6mv_commissioned"
    found = {p.key: p.value for p in result.parameters}
    assert machine.source_sigma_mm == found["source/sigma_mm"]
    assert machine.extra_focal.weight == found["extra_focal/weight"]
    assert machine.softening[0] == pytest.approx(0.002 * found["off_axis/softening"])
    base = load_machine("generic_6mv")
    assert (machine.jaw_x, machine.mlc, machine.calibration) == (base.jaw_x, base.mlc, base.calibration)
    assert "curve1.csv" in machine.provenance["spectrum"]
    assert "base_6mv" in machine.provenance["commissioning"]
    assert machine.provenance["mlc"] == base.provenance["mlc"]


def test_gamma_of_the_fitted_curves(result):
    for comparison in result.curves:
        assert comparison.passed_percent((2.0, 2.0)) >= 99.0
        assert comparison.passed_percent((2.0, 2.0)) >= comparison.passed_percent((1.0, 1.0))
        if comparison.curve.kind == "profile":
            judged = np.isfinite(comparison.gamma[1.0, 1.0])
            np.testing.assert_array_equal(
                judged, comparison.measured_percent >= 0.05 * comparison.measured_percent.max()
            )


def test_the_same_measurements_give_the_same_machine(base_file, curves):
    few = check_measurements([c for c in curves if c.kind == "pdd"])
    first, second = (commission(few, base_file).machine_json for _ in range(2))
    assert first == second


def test_depth_doses_alone_leave_the_rest_at_the_base(base_file, curves):
    result = commission(check_measurements([c for c in curves if c.kind == "pdd"]), base_file)
    found = {p.key: p for p in result.parameters}
    assert found["spectrum/tilt"].determined
    assert found["spectrum/tilt"].value == pytest.approx(0.06, abs=4 * found["spectrum/tilt"].uncertainty)
    for key, reason in (
        ("source/sigma_mm", "no profile has four points in a penumbra"),
        ("extra_focal/weight", "neither output factors of four fields or more nor dose outside"),
    ):
        assert not found[key].determined
        assert found[key].uncertainty is None
        assert found[key].value == found[key].base
        assert reason in found[key].note
    base = base_data()
    data = json.loads(result.machine_json)
    for part in ("source", "extra_focal", "off_axis", "jaws"):
        assert data[part] == base[part]
    assert data["provenance"]["source"] == base["provenance"]["source"]


def test_one_depth_of_profiles_leaves_the_softening(base_file, curves):
    shallow = [c for c in curves if c.kind == "profile" and c.depth_mm == 100.0]
    found = {p.key: p for p in commission(check_measurements(shallow), base_file).parameters}
    assert "no wide profiles at two depths" in found["off_axis/softening"].note
    assert "no depth dose" in found["spectrum/tilt"].note
    assert found["source/sigma_mm"].determined
    assert found["off_axis/75_mm"].determined


def test_noise_that_hides_a_parameter_leaves_it_at_the_base(base_file):
    noisy = measured(true_machine(), seed=4, noise_percent=8.0)
    chosen = [c for c in noisy if c.kind == "output_factor"]
    table = replace(chosen[0], dose=np.sort(chosen[0].dose))
    with pytest.raises(MeasurementError, match="too noisy to determine any parameter"):
        commission(check_measurements([table]), base_file)


def test_robust_loss_withstands_points_that_stand_off(base_file, curves):
    spoiled = [c for c in curves if c.kind == "pdd"]
    dose = spoiled[1].dose.copy()
    dose[20:25] *= 0.9
    spoiled[1] = replace(spoiled[1], dose=dose)
    found = {}
    for robust in (False, True):
        result = commission(check_measurements(spoiled), base_file, robust=robust)
        found[robust] = next(p.value for p in result.parameters if p.key == "spectrum/tilt")
    assert abs(found[True] - 0.06) < 0.7 * abs(found[False] - 0.06), found


@pytest.mark.parametrize("centre", [False, True], ids=["as it is", "centred"])
def test_one_shifted_profile_does_not_spoil_the_fit(centre, base_file, curves):
    narrow = [c for c in curves if c.kind == "profile" and c.field_mm[0] == 100.0]
    shifted = [narrow[0], narrow[1].shifted(1.2)]
    result = commission(check_measurements(shifted), base_file, centre_profiles=centre)
    found = next(p for p in result.parameters if p.key == "source/sigma_mm")
    assert found.value == pytest.approx(1.1, abs=0.2)
    assert ("moved by -1.2" if centre else "centred at +1.2") in result.notes[0]
    assert result.curves[1].passed_percent((2.0, 2.0)) > (99.0 if centre else 95.0)


def test_measurements_that_determine_nothing(base_file):
    position = np.arange(-20.0, 21.0, 2.0)
    text = "kind = profile\nssd_mm = 1000\nfield_mm = 100\ndepth_mm = 100\naxis = inline\nposition_mm, dose\n"
    text += "".join(f"{p:g}, 100\n" for p in position)
    with pytest.raises(MeasurementError, match=r"determine no parameter of the machine: .*no depth dose reaches"):
        commission(check_measurements(parse_csv(text, "a.csv")), base_file)


def test_a_base_without_head_parts_says_so(tmp_path, curves):
    data = base_data()
    del data["extra_focal"], data["electron_contamination"]
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    result = commission(check_measurements([c for c in curves if c.kind == "pdd"]), path)
    assert [note.split(";")[0] for note in result.notes if "base machine" in note] == [
        "The base machine has no extra-focal source",
        "The base machine has no electron contamination",
    ]
    assert not any(p.key.startswith(("extra_focal", "electron")) for p in result.parameters)


def test_files_go_in_as_they_are(tmp_path, base_file, curves):
    (tmp_path / "depth.csv").write_text(as_csv([c for c in curves if c.kind == "pdd"]), encoding="utf-8")
    result = commission(tmp_path, base_file, name="ward-6")
    assert result.machine.name == "ward-6"
    assert result.files == ("depth.csv",)
    assert "depth.csv" in result.machine.provenance["spectrum"]


def test_cancel_and_unknown_machines(base_file, curves):
    def stop(fraction, text):
        if fraction > 0.1:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        commission(check_measurements(curves), base_file, stop)
    with pytest.raises(MachineError, match="There is no machine 'nothing'"):
        commission(check_measurements(curves), "nothing")


# The parameters themselves


@pytest.mark.parametrize("name", [n for n in available_machines() if not n.startswith("ideal")])
def test_parameters_at_their_base_values_are_the_base_machine(name):
    data = read_machine_data(name)
    parameters = machine_parameters(data, 150.0)
    assert len({p.key for p in parameters}) == len(parameters)
    _, machine = changed_machine(data, parameters, {p.key: p.base for p in parameters})
    base = load_machine(name)
    np.testing.assert_allclose(machine.fluence, base.fluence, rtol=1e-5)
    radius = np.linspace(0, base.field_radius_mm, 50)
    np.testing.assert_allclose(machine.attenuation_ratio(radius), base.attenuation_ratio(radius), rtol=1e-9)
    assert (machine.extra_focal, machine.electron_contamination) == (base.extra_focal, base.electron_contamination)
    for parameter in parameters:
        assert parameter.low <= parameter.base <= parameter.high


def test_every_parameter_at_its_bounds_is_a_machine():
    data = base_data()
    parameters = machine_parameters(data, 150.0)
    for parameter in parameters:
        for value in (parameter.low, parameter.high):
            changed, _ = changed_machine(data, parameters, {p.key: p.base for p in parameters} | {parameter.key: value})
            assert machine_from_json(json.dumps(changed)).name == "base_6mv"


def test_lines_are_not_tilted():
    data = base_data()
    data["spectrum"] = {"energy_MeV": [1.17, 1.33], "fluence": [1.0, 1.0]}
    assert "spectrum/tilt" not in {p.key for p in machine_parameters(data, 0.0)}


def test_a_step_that_leaves_the_machines_is_taken_back(base_file, curves, monkeypatch):
    from DoseEngineLib.commissioning import fit

    refused = []

    def careful(data, parameters, values):
        if values.get("spectrum/tilt", 0.0) > 0.03 and not refused:
            refused.append(values)
            raise MachineError("no such machine")
        return changed_machine(data, parameters, values)

    monkeypatch.setattr(fit, "changed_machine", careful)
    harder = measured(changed_machine(base_data(), machine_parameters(base_data(), 0.0), {"spectrum/tilt": 0.07})[1])
    result = commission(check_measurements([c for c in harder if c.kind == "pdd"]), base_file)
    assert len(refused) == 1
    found = {p.key: p for p in result.parameters}
    assert found["spectrum/tilt"].value == pytest.approx(0.07, abs=0.02)


def test_a_tilt_hardens_the_spectrum():
    data = base_data()
    parameters = machine_parameters(data, 0.0)
    mean = []
    for tilt in (-0.2, 0.0, 0.2):
        _, machine = changed_machine(data, parameters, {p.key: p.base for p in parameters} | {"spectrum/tilt": tilt})
        assert sum(machine.fluence) == pytest.approx(1.0)
        mean.append(np.dot(machine.energy_MeV, machine.fluence))
    assert mean == sorted(mean)
    assert mean[2] - mean[0] > 0.3


def test_corners_and_the_surface_are_left_out(curves):
    machine = true_machine()
    wide = next(c for c in curves if c.kind == "profile")
    position = np.arange(-330.0, 331.0, 5.0)
    dose = np.where(np.abs(position) < 300, 100.0, 1.0)
    diagonal = replace(
        wide, field_mm=(400.0, 400.0), axis="diagonal", position_mm=position, dose=dose, lines=np.arange(position.size)
    )
    model = CurveModel(diagonal, machine)
    radius = 0.85 * machine.field_radius_mm
    assert model.off_axis_reach_mm == pytest.approx(radius)
    reach = np.abs(position[model.used]).max() * machine.sad_mm / (diagonal.ssd_mm + diagonal.depth_mm)
    assert radius - 5.0 < reach <= radius
    pdd = next(c for c in curves if c.kind == "pdd")
    assert pdd.position_mm[0] < 3.0
    assert pdd.position_mm[CurveModel(pdd, machine).used].min() >= 3.0


def test_points_are_thinned_where_the_curve_is_plain(curves):
    curve = next(c for c in curves if c.kind == "profile" and c.field_mm[0] == 250.0)
    model = CurveModel(curve, true_machine())
    assert model.used.sum() <= MOST_POINTS < model.used.size
    penumbra = model.stage["penumbra"]
    assert model.used[penumbra].mean() > 1.5 * model.used[model.stage["off_axis"]].mean()


def test_only_chosen_stages_are_fitted(base_file, curves):
    profile = [c for c in curves if c.kind == "profile" and c.field_mm == (100.0, 100.0)]
    found = commission(check_measurements(profile), base_file, stages=("penumbra",))
    assert {p.key for p in found.parameters if p.determined} == {"source/sigma_mm"}
    assert {p.key for p in found.parameters if p.asked} == {"source/sigma_mm"}
    assert found.machine.fluence == found.base.fluence
    for wrong in ((), ("penumbras",)):
        with pytest.raises(MeasurementError, match="penumbra"):
            commission(check_measurements(profile), base_file, stages=wrong)


def test_a_machine_is_compared_as_it_stands(base_file, curves):
    compared, _notes = compare_with_machine(check_measurements(curves), base_file)
    assert len(compared) == len(curves)
    for found in compared:
        np.testing.assert_array_equal(found.before_percent, found.computed_percent)
        assert found.rms_percent > 0.3
