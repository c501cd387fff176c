"""The validation: references read or refused, figures known by hand, bars, page and table."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np
import pytest
from reference_factory import Z_CM, analytic_dose, write_reference
from report_page import Page

from DoseEngineLib.engine import create_engine
from RTPlanningLib.report.validation_report import render_validation_report, validation_csv
from RTPlanningLib.validation import comparison
from RTPlanningLib.validation.comparison import Figure, bars_for, compare, gamma_pass_rate
from RTPlanningLib.validation.measured_beam import compare_measured, load_measured_data
from RTPlanningLib.validation.monte_carlo import (
    ReferenceDataError,
    calculate,
    load_reference,
    penumbra_mm,
    reference_names,
)

PENCIL = "photon-pencil-beam"


@pytest.fixture
def reference(tmp_path):
    write_reference(tmp_path)
    return load_reference(tmp_path, "w10")


def test_a_reference_is_read_in_millimetres(reference):
    assert (reference.field_mm, reference.machine, reference.voxel_mm) == (100.0, "ideal_6mv", 5.0)
    assert reference.title == "water, 6 MV, 10 x 10 cm"
    assert reference.z_mm[[0, -1]] == pytest.approx([2.5, 297.5])
    assert reference.axis_error == pytest.approx(0.005)  # 3 and 4 per mille, independent
    # beyond 15 mm and above the last 20 mm
    assert reference.z_mm[reference.judged][[0, -1]] == pytest.approx([17.5, 277.5])


@pytest.mark.parametrize(
    ("name", "field_cm", "phantom", "machine"),
    [("w05", 5.0, "w", "ideal_6mv"), ("l03", 3.0, "l", "ideal_6mv"), ("b10_15MV", 10.0, "b", "ideal_15mv")],
)
def test_the_name_says_phantom_and_spectrum_and_the_file_the_field(tmp_path, name, field_cm, phantom, machine):
    write_reference(tmp_path, name, field_cm)
    found = load_reference(tmp_path, name)
    assert (found.phantom, found.machine, found.field_mm) == (phantom, machine, 10 * field_cm)


def test_names_that_say_nothing_known_are_told_apart(tmp_path):
    for name in ("w10", "l03_prestaI", "x10", "w10_15MV"):
        write_reference(tmp_path, name)
    assert reference_names(tmp_path) == (["w10", "w10_15MV"], ["l03_prestaI", "x10"])
    with pytest.raises(ReferenceDataError, match=r"l03_prestaI.npz is no known reference"):
        load_reference(tmp_path, "l03_prestaI")


def test_folders_without_references_are_refused(tmp_path):
    with pytest.raises(ReferenceDataError, match="There is no folder"):
        reference_names(tmp_path / "nowhere")
    with pytest.raises(ReferenceDataError, match="holds no reference dose; they are files named like"):
        reference_names(tmp_path)
    with pytest.raises(ReferenceDataError, match="There is no reference dose at"):
        load_reference(tmp_path, "w10")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"axis": None}, "lacks axis"),
        ({"dose3d": np.ones((60, 41, 40))}, r"shape \(60, 41, 40\)"),
        ({"dose3d": np.ones((60, 41))}, r"shape \(60, 41\)"),
        ({"axis_relunc": np.ones(3)}, "do not have a value a depth"),
        ({"axis_relunc": np.full(60, np.nan)}, "not finite"),
        ({"axis": np.zeros(60)}, "zero on the axis"),
        ({"dose3d": -analytic_dose()}, "negative"),
        ({"field_cm": 0.0}, "out of range"),
        ({"axis_halfwidth_cm": [0.5, 1.0]}, "single numbers"),
        ({"z": Z_CM + 1.0}, "begin at the surface"),
        ({"z": Z_CM**1.01}, "even cubes"),
        ({"x": np.arange(-20, 21) * 0.25}, "even cubes"),
        ({"axis": np.array(["a"] * 60)}, "cannot be read"),
    ],
)
def test_malformed_references_are_refused_with_the_reason(tmp_path, changed, expected):
    write_reference(tmp_path, **changed)
    with pytest.raises(ReferenceDataError, match=expected):
        load_reference(tmp_path, "w10")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "w10.npz").write_bytes(b"not a reference")
    with pytest.raises(ReferenceDataError, match="cannot be read as a reference dose"):
        load_reference(tmp_path, "w10")
    whole = write_reference(tmp_path).read_bytes()
    (tmp_path / "w10.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReferenceDataError, match="cannot be read as a reference dose"):
        load_reference(tmp_path, "w10")


def test_penumbra_of_a_straight_edge():
    """100 % to 0 from 45 to 55 mm: 50 % at 50 mm, 80 to 20 % in 6 mm."""
    x = np.arange(-80.0, 81.0)
    assert penumbra_mm(x, np.clip((55 - np.abs(x)) / 10, 0, 1)) == pytest.approx((50.0, 6.0))


def test_figures_known_by_hand(reference):
    """1.8 % more everywhere: 0.8 % is left beyond two standard deviations of 0.5 %, and rms is 1.8 % too."""
    found = compare(reference, 1.018 * reference.dose, "engine", gamma=False, seconds=1.0)
    assert found.largest_percent == pytest.approx(1.8, abs=1e-4)
    assert found.rms_percent == pytest.approx(1.8, abs=1e-4)
    assert found.beyond_2_sigma_percent == pytest.approx(0.8, abs=1e-4)
    assert [p.edge_difference_mm for p in found.penumbrae] == pytest.approx([0.0] * 4, abs=1e-6)
    assert all(figure.reached for figure in found.figures() if figure.bar is not None)


def test_a_bar_is_missed(reference):
    found = compare(reference, 0.975 * reference.dose, "engine", gamma=False, seconds=1.0)
    missed = [figure.name for figure in found.figures() if figure.reached is False]
    assert missed == ["axis, largest deviation beyond 2 sigma"]
    shifted = analytic_dose(edge_shift_cm=0.08)
    found = compare(reference, shifted, "engine", gamma=False, seconds=1.0)
    assert [p.edge_difference_mm for p in found.penumbrae] == pytest.approx([0.8] * 4, abs=0.05)
    missed = [figure.name for figure in found.figures() if figure.reached is False]
    assert missed == [f"field edge, difference {depth} mm deep" for depth in (15, 50, 100, 200)]


def test_the_build_up_and_the_end_do_not_count(reference):
    dose = reference.dose.copy()
    dose[reference.z_mm < 15] *= 1.3
    dose[reference.z_mm > 280] *= 0.7
    found = compare(reference, dose, "engine", gamma=False, seconds=1.0)
    assert found.largest_percent == pytest.approx(0.0, abs=1e-4)


def test_gamma_is_absolute_and_global(reference):
    assert gamma_pass_rate(reference, reference.dose, 2, 1) == 1.0
    assert gamma_pass_rate(reference, 1.015 * reference.dose, 2, 1) == 1.0
    assert gamma_pass_rate(reference, 1.10 * reference.dose, 2, 1) < 0.5


def test_a_pass_rate_is_held_from_below():
    assert Figure("gamma", 99.2, "%", 99.0, at_least=True).reached is True
    assert Figure("gamma", 98.9, "%", 99.0, at_least=True).reached is False
    assert Figure("axis", 1.1, "%").reached is None


@pytest.mark.parametrize(
    ("name", "field_cm", "axis_percent", "criterion", "rate"),
    [("w03", 3.0, 1.0, (2, 1), 0.99), ("w20", 20.0, 1.0, (2, 1), 0.99), ("l03", 3.0, 4.0, (3, 2), 0.95),
     ("l05", 5.0, 4.0, (3, 2), 0.95), ("l10", 10.0, 2.0, (2, 2), 0.97), ("b10", 10.0, 3.0, (3, 2), None),
     ("w10_15MV", 10.0, 1.5, (2, 1), None), ("l10_15MV", 10.0, None, (3, 2), None)],
)  # fmt: skip
def test_the_bars_of_a_case(tmp_path, name, field_cm, axis_percent, criterion, rate):
    write_reference(tmp_path, name, field_cm)
    bars = bars_for(load_reference(tmp_path, name))
    assert (bars.axis_percent, (bars.gamma_percent, bars.gamma_mm), bars.gamma_rate) == (axis_percent, criterion, rate)


def test_the_engine_stands_in_the_references_geometry(tmp_path):
    """Water then lung: the dose falls more slowly in the slab, from its first voxel to its last, and is symmetric."""
    write_reference(tmp_path, "w05", 5.0)
    write_reference(tmp_path, "l05", 5.0)
    water, lung = (calculate(load_reference(tmp_path, name)) for name in ("w05", "l05"))
    assert water.shape == (60, 41, 41)
    axis, slowed = water[:, 20, 20], lung[:, 20, 20]
    assert 10 <= 5 * np.argmax(axis) <= 20  # depth of the maximum in mm, at 5 mm voxels
    assert slowed[:8] == pytest.approx(axis[:8], rel=0.01)
    assert (slowed[32:] > 1.1 * axis[32:]).all()
    assert water == pytest.approx(water[:, ::-1, :], rel=1e-3, abs=1e-15)
    assert water == pytest.approx(water.transpose(0, 2, 1), rel=2e-2, abs=1e-14)
    edge, _ = penumbra_mm(np.arange(-20, 21) * 5.0, water[19:21, :, 20].mean(axis=0))
    assert edge == pytest.approx(25.0, abs=0.7)  # 100 mm deep is the isocentre plane


def test_measured_data_are_complete_and_the_machine_meets_them():
    data = load_measured_data()
    for kind in ("depth_doses", "output_factors", "penumbrae"):
        assert all(row["source"] and row["name"] for row in data[kind])
    seen = []
    found = compare_measured(lambda fraction, text: seen.append(fraction))
    assert len(found) == 6
    assert all(m.figure().reached for m in found)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    factors = next(m for m in found if m.name.startswith("Output factors of small"))
    assert factors.difference == pytest.approx(100 * (factors.calculated / factors.measured - 1))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two engines on a lung slab, one of them off, and the measured data."""
    folder = tmp_path_factory.mktemp("references")
    write_reference(folder, "l10")
    reference = load_reference(folder, "l10")
    good = compare(reference, 1.001 * reference.dose, PENCIL, gamma=False, seconds=1.25)
    bad = compare(reference, 1.05 * reference.dose, "photon-collapsed-cone", gamma=False, seconds=2.5)
    return [good, bad], compare_measured()


def test_the_page_is_one_file_that_says_everything(results):
    comparisons, measured = results
    engines = [create_engine(PENCIL), create_engine("photon-collapsed-cone")]
    text = render_validation_report(comparisons, measured, engines, ["A note & more."], {"rtplanning": "0.1.0"})
    page = Page(text)
    for word in (
        "Not for clinical use",
        "lung slab, 6 MV, 10 x 10 cm",
        "A note & more.",
        "Photon collapsed cone 1.",
        "ideal_6mv",
        "generic_6mv",
        "Followill",
        "rtplanning 0.1.0",
        "no scaling of either",
    ):
        assert word in page.text, word
    page.assert_one_file(pictures=2)
    assert 'class="verdict passed">yes' in text
    assert 'class="verdict failed">no' in text
    assert text == render_validation_report(comparisons, measured, engines, ["A note & more."], {"rtplanning": "0.1.0"})


def test_the_table_holds_every_figure(results):
    rows = list(csv.DictReader(StringIO(validation_csv(*results))))
    axis = [r for r in rows if r["figure"] == "axis, largest deviation beyond 2 sigma"]
    assert [(r["engine"], r["case"], float(r["value"]), r["bar"], r["reached"]) for r in axis] == [
        (PENCIL, "l10", 0.0, "2", "yes"),
        ("photon-collapsed-cone", "l10", pytest.approx(4.0, abs=1e-3), "2", "no"),
    ]
    # nothing is asked of the penumbra in lung
    assert {r["reached"] for r in rows if r["figure"].startswith(("80-20", "field edge"))} == {""}
    assert sum(r["against"] == "measured" for r in rows) == 6


def test_without_pymedphys_gamma_is_refused_with_the_remedy(reference, monkeypatch):
    monkeypatch.setattr(comparison, "gamma_available", lambda: False)
    with pytest.raises(comparison.EvaluationError, match=r"rtplanning\[validate\]"):
        gamma_pass_rate(reference, reference.dose, 2, 1)
