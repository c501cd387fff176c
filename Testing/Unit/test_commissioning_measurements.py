"""Reading and checking of measured curves: CSV, W2CAD, and what contradicts itself."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.commissioning import measurement_csv
from DoseEngineLib.commissioning.curve_gamma import curve_gamma
from DoseEngineLib.commissioning.curve_normalization import Normalization
from DoseEngineLib.commissioning.measured_curve import MeasuredCurve, MeasurementError
from DoseEngineLib.commissioning.measurement_csv import parse_csv
from DoseEngineLib.commissioning.measurements import check_measurements, fit_for_machine, read_measurements
from DoseEngineLib.commissioning.profile_shape import profile_shape
from DoseEngineLib.commissioning.w2cad import parse_w2cad
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.machine import load_machine

PDD_HEADER = "kind = pdd\nssd_mm = 1000\nfield_x_mm = 100\nfield_y_mm = 100\ndepth_mm, dose\n"
PROFILE_HEADER = (
    "kind = profile\nssd_mm = 1000\nfield_x_mm = 100\nfield_y_mm = 100\ndepth_mm = 100\naxis = crossline\n"
    "position_mm, dose\n"
)
OUTPUT_HEADER = "kind = output_factor\nssd_mm = 900\nfield_mm = 100\ndepth_mm = 100\nfield_mm, dose\n"


def depth_dose(depth_mm: np.ndarray, fall: float = 0.0045) -> np.ndarray:
    return 100 * (1 - 0.6 * np.exp(-depth_mm / 4.0)) * np.exp(-fall * depth_mm)


def flat_profile(position_mm: np.ndarray, width_mm: float = 110.0, sigma_mm: float = 3.0) -> np.ndarray:
    from scipy.special import ndtr

    return 100 * ndtr((width_mm / 2 - np.abs(position_mm)) / sigma_mm) + 0.5


def rows(position: np.ndarray, dose: np.ndarray) -> str:
    return "".join(f"{p:g}, {d:.5g}\n" for p, d in zip(position, dose))


DEPTHS = np.arange(5.0, 301.0, 5.0)
POSITIONS = np.arange(-90.0, 91.0, 2.5)
PDD = PDD_HEADER + rows(DEPTHS, depth_dose(DEPTHS))
PROFILE = PROFILE_HEADER + rows(POSITIONS, flat_profile(POSITIONS))
OUTPUT = OUTPUT_HEADER + "30, 0.83\n50, 0.92\n100, 1.0\n200, 1.06\n"


def test_the_example_of_the_documentation_is_read():
    text = measurement_csv.__doc__.split("::\n")[1].split("Lengths may")[0]
    points = {
        "    10, 96.5\n": rows(DEPTHS[2:], depth_dose(DEPTHS[2:])),
        "    -75, 2.6\n": rows(POSITIONS[7:], flat_profile(POSITIONS[7:])),
    }
    for line, more in points.items():
        assert line in text
        text = text.replace(line, line + more)
    pdd, profile, output = parse_csv(text, "doc.csv")
    assert (pdd.kind, profile.kind, output.kind) == ("pdd", "profile", "output_factor")
    assert (pdd.position_mm[0], pdd.dose[0], pdd.detector) == (5.0, 81.2, "ionization chamber")
    assert (profile.depth_mm, profile.axis, profile.field_mm) == (100.0, "crossline", (100.0, 100.0))
    assert output.fields_mm.tolist() == [[30.0, 30.0], [100.0, 100.0]]


def test_the_users_guide_shows_the_same_example(repository):
    example = textwrap.dedent(measurement_csv.__doc__.split("::\n")[1].split("Lengths may")[0]).strip()
    guide = (repository / "DoseEngine" / "Documentation" / "DoseEngine.md").read_text(encoding="utf-8")
    assert f"```\n{example}\n```" in guide


def test_curves_keep_their_lines_and_rise():
    falling = PDD_HEADER + rows(DEPTHS[::-1], depth_dose(DEPTHS[::-1]))
    (curve,) = parse_csv("# a comment\n\n" + falling, "a.csv")
    assert curve.line == 3
    assert (curve.position_mm[0], curve.lines[-1]) == (5.0, 8)
    np.testing.assert_array_equal(curve.position_mm, DEPTHS)


def test_centimetres_commas_semicolons_and_rectangles():
    text = "kind,pdd,,\nssd_cm;100\nfield_cm = 10\ndepth_cm\tdose\n" + rows(DEPTHS / 10, depth_dose(DEPTHS))
    text += OUTPUT_HEADER.replace("field_mm, dose", "field_x_mm, field_y_mm, dose") + "100,100,1\n50,200,0.97\n"
    pdd, output = parse_csv(text, "a.csv")
    assert (pdd.ssd_mm, pdd.field_mm, pdd.position_mm[-1]) == (1000.0, (100.0, 100.0), 300.0)
    assert output.fields_mm.tolist() == [[50.0, 200.0], [100.0, 100.0]]
    assert output.position_mm.tolist() == [80.0, 100.0]  # 4 x area over perimeter


CSV_FAULTS = {
    "nothing": ("# only a comment\n", "there is no curve"),
    "points before kind": ("5, 80\n" + PDD, "line 1: '5, 80' stands before"),
    "unknown kind": (PDD.replace("pdd", "tmr"), "line 1: kind 'tmr' is unknown"),
    "unknown key": (PDD.replace("ssd_mm", "sdd_mm"), "line 2: 'sdd_mm' .* Did you mean 'ssd_mm'"),
    "key twice": (PDD.replace("field_x_mm = 100", "ssd_mm = 900"), "line 3: ssd_mm is given twice"),
    "no columns": (PDD.replace("depth_mm, dose\n", ""), "line 5: .* columns are not named"),
    "wrong column": (PDD.replace("depth_mm, dose", "radius_mm, dose"), "line 5: column 'radius_mm' is unknown"),
    "columns of another kind": (PROFILE.replace("position_mm, dose", "depth_mm, dose"), "line 7: a profile has"),
    "a condition is missing": (PROFILE.replace("axis = crossline\n", ""), "line 1: the profile lacks axis"),
    "a depth dose with a depth": (PDD.replace("kind = pdd\n", "kind = pdd\ndepth_mm = 100\n"), "a pdd has no depth"),
    "unknown axis": (PROFILE.replace("crossline", "sideways"), "line 1: axis 'sideways'"),
    "not a number": (PDD.replace("10, ", "ten, ", 1), "line 7: 'ten,"),
    "dose not a number": (PDD_HEADER + "5, high\n", "line 6: dose is not a number: 'high'"),
    "infinite": (PDD_HEADER + "5, inf\n", "line 6: dose is not a finite number"),
    "decimal comma": (PDD_HEADER + "5;81,2\n", "line 6: 3 numbers in .* decimal mark"),
    "header value with decimal comma": (PDD.replace("1000", "1000,5"), "line 2: .*decimal point"),
    "another header inside": (PDD + "ssd_mm = 900\n", "line 66: .* begins with 'kind"),
    "too few points": (PDD_HEADER + "5, 80\n10, 90\n", "line 1: the curve has 2 points"),
    "twice the same position": (PDD.replace("55, ", "50, "), "line 16: position 50 mm is there twice"),
    "positions turn back": (PDD + "250, 20\n", "line 66: positions turn back at 250"),
    "negative dose": (PROFILE.replace("-90, ", "-90, -"), "line 8: the dose is negative"),
    "zero dose": (PDD.replace(rows(DEPTHS[-1:], depth_dose(DEPTHS[-1:])), "300, 0\n"), "line 65: the dose is zero"),
    "depth above the surface": (PDD_HEADER + rows(DEPTHS - 10, depth_dose(DEPTHS)), "line 6: depth -5 mm"),
    "depths in cm": (PDD_HEADER + rows(DEPTHS / 10, depth_dose(DEPTHS)), "line 1: the dose falls .* look like cm"),
    "depths times ten": (PDD_HEADER + rows(DEPTHS * 2, depth_dose(DEPTHS, 0.0003)), "ten times too large"),
    "depths in um": (PDD_HEADER + rows(DEPTHS * 10, depth_dose(DEPTHS)), "line 65: depth 3000 mm"),
    "ssd in cm": (PDD.replace("ssd_mm = 1000", "ssd_mm = 100"), "line 1: ssd_mm is 100, .* looks like cm"),
    "field in cm": (PDD.replace("field_x_mm = 100", "field_x_mm = 1"), "field_x_mm is 1, .* looks like cm"),
    "only build-up": (PDD_HEADER + rows(DEPTHS[:8] / 10, depth_dose(DEPTHS[:8] / 10, 0)), "rises to the last point"),
}  # fmt: skip


@pytest.mark.parametrize("name", CSV_FAULTS)
def test_a_fault_in_a_csv_is_named_with_its_line(name):
    text, expected = CSV_FAULTS[name]
    with pytest.raises(MeasurementError, match=expected) as caught:
        parse_csv(text, "a.csv")
    assert str(caught.value).startswith("a.csv")


SET_FAULTS = {
    "the same curve, other doses": (
        PDD + PDD_HEADER + rows(DEPTHS, depth_dose(DEPTHS, 0.0055)),
        "line 66: Depth dose 10 x 10 cm, SSD 100 cm is also at a.csv, line 1, with different doses",
    ),
    "the reference field is not there": (OUTPUT.replace("100, 1.0\n", ""), "100 x 100 mm, is not among"),
    "output factors in cm": (
        OUTPUT_HEADER.replace("field_mm = 100", "field_mm = 10") + "3, 0.83\n10, 1.0\n20, 1.06\n",
        "the largest field is 20 mm; this looks like cm",
    ),
    "output falls": (OUTPUT.replace("200, 1.06", "200, 0.90"), "line 9: the output factor falls from 1.000"),
    "the same output twice": (OUTPUT + "100, 1.0\n", "line 10: the field is there twice"),
    "depth doses swapped": (
        PDD + PDD_HEADER.replace("= 100\n", "= 200\n") + rows(DEPTHS, depth_dose(DEPTHS, 0.0050)),
        "below the smaller field at a.csv, line 1",
    ),
    "profile beside the axis": (
        PROFILE_HEADER + rows(POSITIONS + 120, flat_profile(POSITIONS)), "does not cross the axis",
    ),
    "output factors against depth doses": (
        (PDD + PDD_HEADER.replace("= 100\n", "= 200\n") + rows(DEPTHS, depth_dose(DEPTHS, 0.0040))
         + OUTPUT.replace("ssd_mm = 900", "ssd_mm = 1000")
         + OUTPUT.replace("ssd_mm = 900", "ssd_mm = 1000").replace("depth_mm = 100", "depth_mm = 200")),
        "line 148: output factors and depth doses contradict each other: for 200 x 200 mm",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SET_FAULTS)
def test_curves_that_contradict_each_other(name):
    text, expected = SET_FAULTS[name]
    with pytest.raises(MeasurementError, match=expected):
        check_measurements(parse_csv(text, "a.csv"))


def test_consistent_curves_pass_and_a_repeat_is_left_out():
    noise = 1 + 0.002 * np.random.default_rng(1).standard_normal(DEPTHS.size)
    text = PDD + PROFILE + OUTPUT + PDD_HEADER + rows(DEPTHS, 0.83 * depth_dose(DEPTHS) * noise)
    measurements = check_measurements(parse_csv(text, "a.csv"))
    assert [c.kind for c in measurements.curves] == ["pdd", "profile", "output_factor"]
    assert len(measurements.notes) == 1
    assert "left out, the same curve as at a.csv, line 1" in measurements.notes[0]


MACHINE_FAULTS = {
    "field larger than the machine": (PDD.replace("= 100\n", "= 420\n"), "line 1: Field 420 x 420 mm: X jaws"),
    "output field larger": (OUTPUT + "500, 1.1\n", "line 10: Field 500 x 500 mm"),
    "width of another field": (
        PROFILE_HEADER + rows(POSITIONS, flat_profile(POSITIONS, 140.0)), "is 140.0 mm wide, .* has 110.0 mm",
    ),
    "positions in cm": (
        PROFILE_HEADER + rows(POSITIONS / 10, flat_profile(POSITIONS)), "is 11.0 mm wide, .* check the unit",
    ),
    "no edges": (PROFILE_HEADER + rows(POSITIONS, 0 * POSITIONS + 100), "does not show both edges"),
    "surface in the head": (PDD.replace("ssd_mm = 1000", "ssd_mm = 410"), "line 1: ssd_mm is 410, inside the head"),
    "far off centre": (PROFILE_HEADER + rows(POSITIONS + 15, flat_profile(POSITIONS)), "centre is at 15.0 mm"),
    "a wedge": (PROFILE_HEADER + rows(POSITIONS, flat_profile(POSITIONS) * np.exp(POSITIONS / 300)), "wedge"),
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINE_FAULTS)
def test_curves_that_the_machine_contradicts(name):
    text, expected = MACHINE_FAULTS[name]
    machine = load_machine("generic_6mv")
    if "head" in name:
        machine = replace(machine, jaw_x=replace(machine.jaw_x, distance_mm=600.0))
    measurements = check_measurements(parse_csv(text, "a.csv"))
    with pytest.raises(MeasurementError, match=expected):
        fit_for_machine(measurements, machine)


def test_a_shift_is_reported_and_corrected_only_when_asked():
    text = PROFILE_HEADER + rows(POSITIONS + 1.5, flat_profile(POSITIONS))
    measurements = check_measurements(parse_csv(text, "a.csv"))
    machine = load_machine("generic_6mv")
    left = fit_for_machine(measurements, machine)
    np.testing.assert_array_equal(left.curves[0].position_mm, POSITIONS + 1.5)
    assert left.curves[0].position_uncertainty_mm == pytest.approx(np.hypot(0.5, 1.5), abs=0.05)
    assert "centred at +1.50 mm; used as it is" in left.notes[0]
    moved = fit_for_machine(measurements, machine, centre_profiles=True)
    np.testing.assert_allclose(moved.curves[0].position_mm, POSITIONS, atol=0.05)
    assert "moved by -1.50 mm" in moved.notes[0]


def test_a_profile_that_ends_inside_the_field_is_used_unchecked():
    inner = POSITIONS[np.abs(POSITIONS) <= 50]
    measurements = check_measurements(parse_csv(PROFILE_HEADER + rows(inner, flat_profile(inner)), "a.csv"))
    found = fit_for_machine(measurements, load_machine("generic_6mv"))
    assert "does not cover both field edges" in found.notes[0]
    half = POSITIONS[POSITIONS >= 0]
    measurements = check_measurements(parse_csv(PROFILE_HEADER + rows(half, flat_profile(half)), "a.csv"))
    found = fit_for_machine(measurements, load_machine("generic_6mv"), centre_profiles=True)
    np.testing.assert_array_equal(found.curves[0].position_mm, half)
    assert "does not cover both field edges" in found.notes[0]


@pytest.mark.parametrize("peak", [0.0, 0.6], ids=["flat", "unflattened"])
def test_edges_and_centre_of_a_noisy_profile(peak):
    position = np.arange(-100, 100.1, 1.0)
    dose = flat_profile(position - 0.8, 120.0, 4.0) * np.exp(-peak * np.abs(position - 0.8) / 60)
    dose *= 1 + 0.005 * np.random.default_rng(2).standard_normal(position.size)
    shape = profile_shape(position, dose)
    assert shape.centre_mm == pytest.approx(0.8, abs=0.2)
    assert shape.width_mm == pytest.approx(120, abs=1.5)


def test_a_noisy_depth_dose_is_normalized_without_the_noise_of_one_point():
    depth = np.arange(2.0, 300.0, 2.0)
    noise = 1 + 0.01 * np.random.default_rng(3).standard_normal(depth.size)
    noise[49] = 1.03  # the point at 10 cm
    (curve,) = parse_csv(PDD_HEADER + rows(depth, depth_dose(depth) * noise), "a.csv")
    rule = Normalization(curve)
    assert rule.text == "100 % at 10 cm depth"
    assert rule.value(curve.dose) == pytest.approx(depth_dose(np.array(100.0)), rel=0.012)
    assert rule.value(depth_dose(depth)) == pytest.approx(depth_dose(np.array(100.0)), rel=1e-4)
    short = replace(curve, position_mm=depth[:45], dose=curve.dose[:45], lines=curve.lines[:45])
    assert Normalization(short).text == "100 % at its maximum"


# W2CAD


def w2cad_measurement(kind: str, points, **header) -> str:
    keys = {"VERSION": "02", "DATE": "01-01-2020", "DETY": "CHA", "BMTY": "PHO", "TYPE": kind, "SSD": "1000"}
    keys |= {"FLSZ": "100*100"} | header | {"PNTS": str(len(points))}
    lines = [f"%{key} {value}" for key, value in keys.items() if value is not None]
    return "\n".join(["$STOM", *lines, *points, "$ENOM", ""])


def w2cad_points(position, dose, axis) -> list[str]:
    at = {"X": (1, 0, 0), "Y": (0, 1, 0), "Z": (0, 0, 1), "D": (0.70710678, 0.70710678, 0)}[axis]
    depth = 0.0 if axis == "Z" else 100.0
    return [
        f"<{p * at[0]:+06.1f} {p * at[1]:+06.1f} {p * at[2] + depth:+06.1f} {d:+06.1f}>" for p, d in zip(position, dose)
    ]


OPD = w2cad_measurement("OPD", w2cad_points(DEPTHS, depth_dose(DEPTHS), "Z"), AXIS="Z", STEP="050")
OPP = w2cad_measurement(
    "OPP", w2cad_points(POSITIONS, flat_profile(POSITIONS), "Y"), AXIS="Y", DPTH="100", FLSZ="080*100", DETY="DIO"
)
DPR = w2cad_measurement("DPR", w2cad_points(POSITIONS, flat_profile(POSITIONS), "D"), AXIS="D", DPTH="100")
WEDGE = w2cad_measurement("WDD", w2cad_points(DEPTHS, depth_dose(DEPTHS), "Z"), AXIS="Z", WDGL="45", WDGD="L")


def test_w2cad():
    comments = "#\n# Comment: Detector: CC 13 %FLSZ\n"
    curves, notes = parse_w2cad(
        "$NUMS 004\n"
        + OPD.replace("$STOM\n", "$STOM\n" + comments).replace("$ENOM", "$ENOM ")
        + OPP
        + WEDGE
        + DPR
        + "$ENOF\n",
        "a.asc",
    )
    assert [(c.kind, c.axis, c.depth_mm) for c in curves] == [
        ("pdd", None, None),
        ("profile", "inline", 100.0),
        ("profile", "diagonal", 100.0),
    ]
    pdd, profile, diagonal = curves
    np.testing.assert_allclose(pdd.position_mm, DEPTHS)
    np.testing.assert_allclose(pdd.dose, depth_dose(DEPTHS), atol=0.051)
    assert (pdd.ssd_mm, pdd.field_mm, pdd.detector, pdd.line) == (1000.0, (100.0, 100.0), "ionization chamber", 2)
    assert (profile.field_mm, profile.detector) == ((80.0, 100.0), "diode")
    np.testing.assert_allclose(profile.position_mm, POSITIONS)
    np.testing.assert_allclose(diagonal.position_mm, POSITIONS, atol=0.08)
    assert len(notes) == 1
    assert "wedged field" in notes[0]


W2CAD_FAULTS = {
    "electrons": (OPD.replace("PHO", "ELE"), "%BMTY ELE: only photon beams"),
    "cut off": (OPD.replace("$ENOM\n", ""), "line 1: the measurement has no .ENOM"),
    "number of measurements": ("$NUMS 3\n" + OPD, "says 3 measurements, the file holds 1"),
    "number of points": (OPD.replace("%PNTS 60", "%PNTS 61"), "%PNTS says 61 points, the measurement has 60"),
    "unknown type": (OPD.replace("%TYPE OPD", "%TYPE XYZ"), "%TYPE XYZ is unknown"),
    "no field": (OPD.replace("%FLSZ 100*100\n", ""), "lacks %FLSZ"),
    "odd field": (OPD.replace("%FLSZ 100*100", "%FLSZ 100"), "%FLSZ '100' must be X\\*Y"),
    "odd point": (OPD.replace("<+000.0 +000.0 +010.0", "<+000.0 +010.0"), "must hold X, Y, Z and dose"),
    "a word": (OPD.replace("<+000.0 +000.0 +010.0", "<+000.0 +000.0 deep"), "a point is not a number: 'deep'"),
    "off the axis": (OPD.replace("<+000.0 +000.0 +010.0", "<+012.0 +000.0 +010.0"), "12 mm off the axis"),
    "another depth": (OPP.replace("%DPTH 100", "%DPTH 050"), "contradicts %DPTH 50"),
    "another axis": (OPP.replace("%AXIS Y", "%AXIS X"), "off the axis"),
    "a line outside": (OPD + "%SSD 900\n", "stands outside"),
    "a line inside": (OPD.replace("%SSD 1000", "SSD 1000"), "neither a %KEY nor"),
}


@pytest.mark.parametrize("name", W2CAD_FAULTS)
def test_a_fault_in_a_w2cad_file_is_named(name):
    text, expected = W2CAD_FAULTS[name]
    with pytest.raises(MeasurementError, match=expected) as caught:
        parse_w2cad(text, "a.asc")
    assert str(caught.value).startswith("a.asc, line ")


# Files


def test_a_folder_of_both_kinds(tmp_path):
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "open.asc").write_text("$NUMS 1\n" + OPD + "$ENOF\n", encoding="ascii")
    (tmp_path / "profiles.csv").write_bytes(b"\xef\xbb\xbf" + PROFILE.replace("\n", "\r\n").encode())
    (tmp_path / "output.csv").write_bytes("# Größe\n".encode("latin-1") + OUTPUT.encode())
    (tmp_path / "notes.doc").write_bytes(b"\0\0")
    measurements = read_measurements(tmp_path)
    assert measurements.files == ("depth/open.asc", "output.csv", "profiles.csv")
    assert [c.kind for c in measurements.curves] == ["pdd", "output_factor", "profile"]
    assert read_measurements(tmp_path / "output.csv").curves[0].kind == "output_factor"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MeasurementError, match="There are no measurements at"):
        read_measurements(tmp_path / "nowhere")
    with pytest.raises(MeasurementError, match=r"holds no \.csv, \.asc"):
        read_measurements(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"kind = pdd\0")
    with pytest.raises(MeasurementError, match="no text file"):
        read_measurements(tmp_path)
    only_wedges = tmp_path / "w.asc"
    only_wedges.write_text(WEDGE, encoding="ascii")
    with pytest.raises(MeasurementError, match="no curve of an open photon field"):
        read_measurements(only_wedges)


# Gamma


def test_gamma_of_shifted_and_scaled_lines_is_known():
    position = np.arange(0.0, 101.0, 1.0)
    ramp = position.copy()
    # a ramp of 1 % a mm, 1 % too high: the nearest point lies half a mm and half a per cent away
    gamma = curve_gamma(position[20:80], ramp[20:80] + 1.0, position, ramp, dose_criterion=1.0, distance_mm=1.0)
    np.testing.assert_allclose(gamma, np.sqrt(0.5), rtol=1e-9)
    flat = np.full_like(position, 50.0)
    gamma = curve_gamma(position, flat + 1.0, position, flat, dose_criterion=2.0, distance_mm=2.0)
    np.testing.assert_allclose(gamma, 0.5)


def test_gamma_agrees_with_another_program():
    import pymedphys

    reference = np.arange(-80.0, 80.1, 1.0)
    evaluated = np.arange(-80.0, 80.1, 0.1)
    doses = flat_profile(reference + 0.7, 101, 4), flat_profile(evaluated, 100, 3) * 1.01
    ours = curve_gamma(reference, doses[0], evaluated, doses[1], dose_criterion=2.0, distance_mm=2.0)
    theirs = pymedphys.gamma(
        reference, doses[0], evaluated, doses[1], 2.0, 2.0, lower_percent_dose_cutoff=0, interp_fraction=200,
        global_normalisation=100.0, max_gamma=5,
    )  # fmt: skip
    inner = np.abs(reference) < 70
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=0.02)


@pytest.mark.parametrize("criteria", [(0.0, 1.0), (1.0, -1.0), (np.nan, 1.0)])
def test_gamma_criteria_must_be_positive(criteria):
    with pytest.raises(PlanningError, match="must be positive"):
        curve_gamma(DEPTHS, DEPTHS, DEPTHS, DEPTHS, dose_criterion=criteria[0], distance_mm=criteria[1])


def test_a_curve_is_frozen():
    (curve,) = parse_csv(PDD, "a.csv")
    assert isinstance(curve, MeasuredCurve)
    with pytest.raises(ValueError, match="read-only"):
        curve.dose[0] = 1.0
