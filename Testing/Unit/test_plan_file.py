"""Plan files: what a person writes becomes the plan, and every mistake becomes a clear text."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DoseEngineLib.errors import PlanError, PlanFileError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Aperture, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.plan_file import DEFAULT_MARGIN_MM, BeamRequest, PlanRequest, parse_plan_file, read_plan_file
from RTPlanningLib.plan_templates import conformal_request, four_field_box

GOOD = """
name = "Four-field box"
goals = ["PTV D95% >= 47.5 Gy", "Bladder Dmean <= 30 Gy"]

[prescription]
dose_Gy = 50.0
fractions = 25
target = "PTV"

[defaults]
machine = "generic_6mv"
isocenter = "target"
aperture = "mlc"
margin_mm = 6

[[beam]]
name = "AP"
gantry = 0
field = [100, 80]
weight = 2.0

[[beam]]
name = "Left"
gantry = 90
collimator = 10
jaws_x = [-20, 60]
jaws_y = [-30.5, 40]

[[beam]]
name = "PA"
gantry = -180
couch = 15
isocenter = [1.5, -2, 3]

[[beam]]
gantry = 270
fit = "jaws"
margin_mm = 4

[dose]
engine = "photon-pencil-beam"
spacing_mm = 3

[case]
ct_series_uid = "1.2.3"
patient_position = "HFS"
skip_rois = ["Marker", "Couch"]
density_overrides_g_cm3 = {Bladder = 1.0}
"""


def box(grid: Grid, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    centres = grid.centres_RAS_mm()
    return ((centres >= low) & (centres <= high)).all(axis=-1)


@pytest.fixture(scope="module")
def case() -> Case:
    grid = Grid.from_spacing((24, 40, 40), (5.0, 5.0, 5.0), (-97.5, -97.5, -57.5))
    target = Structure("PTV", box(grid, (0, -20, -30), (40, 20, 10)), grid, "PTV")
    bladder = Structure("Bladder", box(grid, (0, 30, -30), (40, 60, 10)), grid, "ORGAN")
    empty = Structure("Empty", np.zeros(grid.shape, bool), grid, "ORGAN")
    return Case(
        "phantom",
        np.zeros(grid.shape, np.int16),
        grid,
        (target, bladder, empty),
        goals=("PTV Dmean >= 40 Gy",),
        density_overrides_g_cm3={"PTV": 1.1},
    )


def test_every_key_of_a_good_file_arrives():
    request = parse_plan_file(GOOD)
    ap, left, pa, last = request.beams
    assert request.name == "Four-field box"
    assert request.prescription == Prescription(50.0, 25, "PTV", "point")
    assert request.goals == ("PTV D95% >= 47.5 Gy", "Bladder Dmean <= 30 Gy")
    assert (ap.name, ap.gantry_deg, ap.weight, ap.meterset_MU) == ("AP", 0.0, 2.0, None)
    assert ap.aperture == Aperture((-50.0, 50.0), (-40.0, 40.0))
    assert left.aperture == Aperture((-20.0, 60.0), (-30.5, 40.0))
    assert (left.collimator_deg, left.isocenter_RAS_mm) == (10.0, None)
    assert (pa.gantry_deg, pa.couch_deg, pa.isocenter_RAS_mm) == (180.0, 15.0, (1.5, -2.0, 3.0))
    assert (pa.aperture, pa.fit, pa.margin_mm) == (None, "mlc", 6.0)
    assert (last.name, last.fit, last.margin_mm) == ("Beam 4", "jaws", 4.0)
    assert (request.engine, request.dose_grid_spacing_mm) == ("photon-pencil-beam", 3.0)
    assert (request.ct_series_uid, request.structure_set_uid, request.patient_position) == ("1.2.3", None, "HFS")
    assert request.skip_rois == ("Marker", "Couch")
    assert request.density_overrides_g_cm3 == {"Bladder": 1.0}


def test_a_square_field_stays_the_square_that_was_asked_for(case):
    plan = parse_plan_file(GOOD).build(case)
    aperture = plan.beams[0].control_points[0].aperture
    assert aperture.jaw_x_mm == (-50.0, 50.0)
    assert aperture.jaw_y_mm == (-40.0, 40.0)
    assert aperture.leaf_positions_mm is None


def test_the_isocentre_is_the_targets_centroid_unless_given(case):
    plan = parse_plan_file(GOOD).build(case)
    assert plan.beams[0].isocenter_RAS_mm == pytest.approx((20.0, 0.0, -10.0), abs=0.01)
    assert plan.beams[2].isocenter_RAS_mm == (1.5, -2.0, 3.0)


def test_fitted_apertures_hold_the_target_with_the_margin(case):
    plan = parse_plan_file(GOOD).build(case)
    jaws = plan.beams[3].control_points[0].aperture
    assert jaws.leaf_positions_mm is None
    # the target is a 40 mm cube about the isocentre: half its side, the margin, and at most the divergence
    for low, high in (jaws.jaw_x_mm, jaws.jaw_y_mm):
        assert -25.5 <= low <= -24.0
        assert 24.0 <= high <= 25.5
    mlc = plan.beams[2].control_points[0].aperture
    assert mlc.leaf_positions_mm is not None
    assert any(high - low > 40.0 for low, high in mlc.leaf_positions_mm)


def test_apply_to_merges_the_case_with_the_file(case):
    merged = parse_plan_file(GOOD).apply_to(case)
    assert merged.goals == ("PTV D95% >= 47.5 Gy", "Bladder Dmean <= 30 Gy")
    assert merged.density_overrides_g_cm3 == {"PTV": 1.1, "Bladder": 1.0}
    without = parse_plan_file(GOOD.replace(GOOD.splitlines()[2], ""))
    assert without.apply_to(case).goals == case.goals


def test_MU_set_the_dose_and_need_no_prescription(case):
    text = 'name = "Output"\n[[beam]]\ngantry = 0\nMU = 100\nfield = [100, 100]\nisocenter = [0, 0, 0]\n'
    plan = parse_plan_file(text).build(case)
    assert plan.beams[0].meterset_MU == 100.0
    assert plan.prescription is None
    prescribed = parse_plan_file(text + "[prescription]\ndose_Gy = 2\nfractions = 1\n").build(case)
    assert prescribed.prescription == Prescription(2.0, 1, None, "none")


def test_a_prescription_point_is_kept(case):
    text = GOOD.replace('target = "PTV"', 'target = "PTV"\npoint = [20, 5, -10]', 1)
    assert parse_plan_file(text).build(case).prescription.point_RAS_mm == (20.0, 5.0, -10.0)


def test_a_file_with_byte_order_mark_and_windows_lines_reads_the_same(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_plan_file(path).beams == parse_plan_file(GOOD).beams


def test_a_machine_path_is_meant_from_the_plan_files_folder(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(GOOD.replace('machine = "generic_6mv"', 'machine = "mine.json"'), encoding="utf-8")
    assert {beam.machine for beam in read_plan_file(path).beams} == {str(tmp_path / "mine.json")}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("gantry = 0", "gantri = 0", ['[[beam]] 1, key "gantri"', "not known", 'Did you mean "gantry"?']),
        ("gantry = 0", 'gantry = "zero"', ['[[beam]] 1 "AP", key "gantry"', "a number in -360..360", '"zero"']),
        ("gantry = 0", "gantry = 361", ['key "gantry"', "-360..360", "361"]),
        ("gantry = 0", "gantry = true", ['key "gantry"', "true"]),
        ("gantry = 0", "gantry = nan", ['key "gantry"', "NaN"]),
        ("gantry = 0\n", "", ['[[beam]] 1 "AP", key "gantry"', "missing"]),
        ("gantry = 90", "gantry = 2020-01-01", ['[[beam]] 2 "Left", key "gantry"']),
        ("field = [100, 80]", "field = 100", ['key "field"', "a list of 2 numbers"]),
        ("field = [100, 80]", "field = [100, 0]", ['key "field"', "more than 0 mm"]),
        ("field = [100, 80]", "field = [100, 80, 60]", ['key "field"', "a list of 2 numbers"]),
        ("field = [100, 80]", 'field = [100, 80]\nfit = "mlc"', ['key "fit"', '"field"', "keep one"]),
        ("field = [100, 80]", "field = [100, 80]\njaws_x = [-5, 5]", ['key "jaws_x"', "keep one"]),
        ("field = [100, 80]", "field = [100, 80]\nmargin_mm = 5", ['key "margin_mm"', "exactly as set"]),
        ("jaws_y = [-30.5, 40]\n", "", ['key "jaws_x"', "both jaws_x and jaws_y"]),
        ("jaws_y = [-30.5, 40]", "jaws_y = [40, -30.5]", ['key "jaws_y"', "low below high"]),
        ('fit = "jaws"', 'fit = "mcl"', ['key "fit"', '"jaws", "mlc"', 'Did you mean "mlc"?']),
        ("weight = 2.0", "weight = -1", ['key "weight"', "0..1e+06"]),
        ("weight = 2.0", "weight = 2.0\nMU = 100", ['key "MU"', "keep one"]),
        ("weight = 2.0", "MU = 100", ['key "beam"', "MU to every beam", '"Left"']),
        ('isocenter = "target"', 'isocenter = "tagret"', ["[defaults]", 'key "isocenter"', "[r, a, s]"]),
        ("isocenter = [1.5, -2, 3]", "isocenter = [1.5, -2]", ['key "isocenter"', "a list of 3 numbers"]),
        ('aperture = "mlc"', 'aperture = "MLC"', ["[defaults]", 'key "aperture"', 'Did you mean "mlc"?']),
        ('name = "Left"', 'name = "AP"', ['two beams are named "AP"']),
        ("[prescription]", "[perscription]", ['key "perscription"', 'Did you mean "prescription"?']),
        ("dose_Gy = 50.0", "dose_Gy = 0", ["[prescription]", 'key "dose_Gy"', "more than 0"]),
        ("dose_Gy = 50.0", "dose = 50.0", ["[prescription]", 'key "dose"', 'Did you mean "dose_Gy"?']),
        ("dose_Gy = 50.0\n", "", ["[prescription]", 'key "dose_Gy"', "missing"]),
        ("fractions = 25", "fractions = 2.5", ['key "fractions"', "a whole number"]),
        ("fractions = 25", 'fractions = 25\nnormalization = "d95"', ['key "normalization"', 'Did you mean "D95"?']),
        ("fractions = 25", 'fractions = 25\nnormalization = "none"', ['key "normalization"', "weights only"]),
        ('target = "PTV"', 'normalization = "D95"', ['key "target"', "needs a target"]),
        ('target = "PTV"', "", ["target", "[prescription]"]),
        ("spacing_mm = 3", "spacing_mm = 0.01", ["[dose]", 'key "spacing_mm"', "0.5..20"]),
        ('"photon-pencil-beam"', '"photon-pensil-beam"', ['key "engine"', 'Did you mean "photon-pencil-beam"?']),
        ("spacing_mm = 3", 'spacing_mm = 3\ngoals = ["PTV D95% >= 1 Gy"]', ["before the first [table]"]),
        ('patient_position = "HFS"', 'patient_position = "HFD"', ['key "patient_position"', '"FFP"']),
        ('["Marker", "Couch"]', '"Marker"', ["[case]", 'key "skip_rois"', "a list of texts"]),
        ("{Bladder = 1.0}", "{Bladder = -1.0}", ['"Bladder"', "0..22.6", "-1.0"]),
        ('"PTV D95% >= 47.5 Gy"', '"PTV D95% about 47.5 Gy"', ['"goals"', "entry 1"]),
        ('name = "Four-field box"', "name = 4", ['key "name"', "a text in quotes", "got 4"]),
        ('name = "Four-field box"', "name = Four-field box", ["not valid TOML", "quotes", "line 2"]),
        ("[dose]", "[[dose]]", ['key "dose"', "write [dose]"]),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(old, new, expected):
    assert old in GOOD
    with pytest.raises(PlanFileError) as caught:
        parse_plan_file(GOOD.replace(old, new, 1), "box.toml")
    text = str(caught.value)
    assert text.startswith("box.toml")
    for part in expected:
        assert part in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "there is no beam"),
        ('name = "x"\nbeam = 3', "[[beam]]"),
        ('name = "x"\n[beam]\ngantry = 0', "two brackets"),
        (
            'name = "x"\n[[beam]]\ngantry = 0\nweight = 1\nfield = [5, 5]\nisocenter = [0, 0, 0]',
            "[prescription] is missing",
        ),
        ('name = "x"\n[[beam]]\ngantry = 0\nMU = 1\nisocenter = [0, 0, 0]', "no aperture is given"),
        ('name = "x"\n[[beam]]\ngantry = 0\nMU = 1\nfield = [5, 5]', "name a target"),
        ("a = " + "[" * 5000, "not valid TOML"),
        ("a = " + "9" * 5000, "not valid TOML"),
    ],
)
def test_what_is_missing_or_unreadable_is_said(text, expected):
    with pytest.raises(PlanFileError, match="plan") as caught:
        parse_plan_file(text)
    assert expected in str(caught.value)


def test_MU_and_a_normalization_contradict_each_other():
    text = (
        'name = "x"\n[prescription]\ndose_Gy = 2\nfractions = 1\ntarget = "PTV"\nnormalization = "D95"\n'
        "[[beam]]\ngantry = 0\nMU = 100\nfield = [50, 50]\n"
    )
    with pytest.raises(PlanFileError, match="MU, which already set the dose"):
        parse_plan_file(text)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.toml", None, "no plan file"),
        ("latin.toml", "name = 'Büschel'".encode("latin-1"), "UTF-8"),
        ("folder.toml", "folder", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_plan_file_error(tmp_path, name, content, expected):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanFileError, match=expected) as caught:
        read_plan_file(path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('target = "PTV"', 'target = "ptv"', ['[prescription], key "target"', 'Did you mean "PTV"?']),
        ('target = "PTV"', 'target = "Empty"', ['key "target"', "empty"]),
        ("{Bladder = 1.0}", "{Bladdder = 1.0}", ["density_overrides", 'Did you mean "Bladder"?']),
        ('machine = "generic_6mv"', 'machine = "generic_66mv"', ['[[beam]] 1 "AP"', "generic_6mv"]),
        ("margin_mm = 4", "margin_mm = 100", None),
    ],
)
def test_what_the_case_cannot_serve_names_the_place_in_the_file(case, old, new, expected):
    request = parse_plan_file(GOOD.replace(old, new, 1), "box.toml")
    if expected is None:
        # a wide margin is no mistake as long as the machine can form it
        assert request.build(case).beams[3].control_points[0].aperture.jaw_x_mm[1] > 119.0
        return
    with pytest.raises(PlanFileError) as caught:
        request.build(request.apply_to(case))
    for part in ["box.toml", *expected]:
        assert part in str(caught.value)


def test_a_request_survives_writing_and_reading():
    request = parse_plan_file(GOOD)
    assert parse_plan_file(request.to_toml()) == request


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
POSITION = st.floats(-400, 400, allow_nan=False).map(lambda v: v + 0.0)
APERTURES = st.tuples(*[st.tuples(st.floats(-400, -0.1), st.floats(0, 400))] * 2).map(lambda pair: Aperture(*pair))


@settings(max_examples=60, deadline=None)
@given(
    name=TEXT,
    target=TEXT,
    fits=st.lists(st.sampled_from(["mlc", "jaws"]), min_size=1, max_size=3),
    aperture=st.none() | APERTURES,
    isocenter=st.none() | st.tuples(POSITION, POSITION, POSITION),
    gantry=st.floats(0, 359.99),
    weight=st.floats(1e-6, 1e6),
    dose=st.floats(1e-3, 1000),
    overrides=st.dictionaries(TEXT, st.floats(0, 22.6), max_size=2),
)
def test_any_request_survives_writing_and_reading(
    name, target, fits, aperture, isocenter, gantry, weight, dose, overrides
):
    beams = [BeamRequest(f"{name} {n}", gantry, fit=fit, margin_mm=5.0) for n, fit in enumerate(fits)]
    last = replace(
        beams[-1],
        name="last",
        aperture=aperture,
        fit=None if aperture else "mlc",
        margin_mm=DEFAULT_MARGIN_MM if aperture else 5.0,
        isocenter_RAS_mm=isocenter,
        weight=weight,
    )
    request = PlanRequest(name, (*beams, last), Prescription(dose, 3, target), density_overrides_g_cm3=overrides)
    assert parse_plan_file(request.to_toml()) == request


VALUES = st.sampled_from(
    [
        *("0", "-1", "1e400", "nan", "inf", "true", '"target"', '"mlc"', '"x"', '""', "[]", "[1]", "[1, 2]"),
        *("[0, 0, 0]", '["a", 1]', "{}", "{a = 1}", "[{}]", "2020-01-01", "12:00:00", "9999999999999999999999"),
        *("[true, false]", "[[1], [2]]", "[nan, 1]", '"none"', '"\\u0000"', "[-1e308, 1e308]"),
    ]
)
KEYS = st.sampled_from(
    [
        *("name", "goals", "gantry", "field", "fit", "jaws_x", "jaws_y", "margin_mm", "weight", "MU", "isocenter"),
        *("machine", "dose_Gy", "fractions", "target", "normalization", "point", "engine", "spacing_mm", "options"),
        *("collimator", "couch", "aperture", "density_overrides_g_cm3", "patient_position", "Gantry", "beam", "dose"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    line=st.integers(0, GOOD.count("\n")),
    key=KEYS,
    value=VALUES,
    replaced=st.booleans(),
)
def test_a_wrong_line_anywhere_is_a_plan_file_error_or_a_plan(case, line, key, value, replaced):
    lines = GOOD.splitlines()
    lines[line : line + replaced] = [f"{key} = {value}"]
    try:
        request = parse_plan_file("\n".join(lines))
        plan = request.build(request.apply_to(case))
    except PlanFileError:
        return
    assert len(plan.beams) == len(request.beams)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_plan_file_error(text):
    with pytest.raises(PlanFileError):
        parse_plan_file(text)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(categories=("L", "N"), max_codepoint=0x24F), min_size=1, max_size=10))
def test_any_unknown_key_is_refused_by_name(key):
    text = GOOD.replace("weight = 2.0", f'weight = 2.0\n"x_{key}" = 1', 1)
    with pytest.raises(PlanFileError, match="not known") as caught:
        parse_plan_file(text)
    assert f'[[beam]] 1, key "x_{key}"' in str(caught.value)


def test_four_field_box_is_a_box_about_the_target(case):
    plan = four_field_box(case, "PTV", 50.0, 25, margin_mm=5.0, aperture="jaws")
    assert [beam.control_points[0].gantry_deg for beam in plan.beams] == [0.0, 90.0, 180.0, 270.0]
    assert [beam.name for beam in plan.beams] == ["AP", "Left lateral", "PA", "Right lateral"]
    assert {beam.isocenter_RAS_mm for beam in plan.beams} == {(20.0, 0.0, -10.0)}
    assert {beam.weight for beam in plan.beams} == {1.0}
    assert plan.prescription == Prescription(50.0, 25, "PTV", "point")
    # 90 degrees enters from the side it is named after: the patient's left is -R
    source = plan.beams[1].frame("HFS").source_RAS_mm(1000.0)
    assert source == pytest.approx((20.0 - 1000.0, 0.0, -10.0), abs=1e-9)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_the_boxs_beams_are_named_after_the_side_they_enter(case, position):
    plan = four_field_box(replace(case, patient_position=position), "PTV", 50.0, 25, aperture="jaws")
    sides = {"AP": (1, 1), "PA": (1, -1), "Left lateral": (0, -1), "Right lateral": (0, 1)}
    for beam in plan.beams:
        axis, sign = sides[beam.name]
        assert beam.frame(position).source_direction[axis] * sign == pytest.approx(1.0)


def test_four_field_box_refuses_an_unknown_aperture(case):
    with pytest.raises(PlanError, match="jaws, mlc"):
        four_field_box(case, "PTV", 50.0, 25, aperture="circle")


def test_the_box_request_writes_a_plan_file_that_gives_the_same_plan(case):
    request = conformal_request("PTV", 50.0, 25, goals=("PTV D95% >= 47.5 Gy",))
    text = request.to_toml()
    assert text.count("machine") == 1
    assert text.index("[defaults]") < text.index("[[beam]]")
    again = parse_plan_file(text)
    assert again.build(case) == request.build(case)


OPTIMIZED = """
name = "Five beams"

[prescription]
dose_Gy = 50
fractions = 25
target = "PTV"
normalization = "D95"

[beams]
gantry = [0, 72, 144, 216, 288]
couch = 10
collimator = [0, 0, 5, 0, 0]

[optimization]
objectives = ["PTV uniform 51 Gy, weight 100", {aim = "Bladder Mean <= 20 Gy", weight = 5}]
targets = ["PTV"]
bixel_mm = 8
spacing_mm = 4
iterations = 60
delivery = "sliding_window"
refine = false
"""


def test_an_optimization_arrives_with_beams_that_are_directions(case):
    request = parse_plan_file(OPTIMIZED)
    asked = request.optimization
    assert asked.goals.to_entries() == ["PTV uniform 51 Gy, weight 100", "Bladder Mean <= 20 Gy, weight 5"]
    assert asked.targets == ("PTV",)
    assert (asked.settings.bixel_mm, asked.settings.spacing_mm, asked.settings.iterations) == (8.0, 4.0, 60)
    assert (asked.settings.delivery, asked.settings.refine) == ("sliding_window", False)
    assert asked.settings.levels == 10
    assert request.engine == "photon-collapsed-cone"
    assert [beam.name for beam in request.beams][:2] == ["Gantry 0 couch 10", "Gantry 72 couch 10"]
    assert [beam.collimator_deg for beam in request.beams] == [0.0, 0.0, 5.0, 0.0, 0.0]
    plan = request.build(case)
    assert [beam.meterset_MU for beam in plan.beams] == [0.0] * 5
    assert plan.beams[0].isocenter_RAS_mm == pytest.approx((20.0, 0.0, -10.0), abs=0.01)
    aperture = plan.beams[0].control_points[0].aperture
    assert aperture.jaw_x_mm[0] == aperture.jaw_x_mm[1]
    assert plan.prescription.normalization == "D95"


def test_the_short_table_of_beams_serves_conformal_plans_too(case):
    text = OPTIMIZED.split("[optimization]")[0] + '[defaults]\naperture = "mlc"\nmargin_mm = 5\n'
    request = parse_plan_file(text)
    assert {beam.fit for beam in request.beams} == {"mlc"}
    assert request.build(case).beams[1].control_points[0].aperture.leaf_positions_mm is not None
    assert parse_plan_file(request.to_toml()) == request


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("couch = 10\n", ""),
        lambda text: re.sub(r"(?s)\[beams\].*?\n\n", "", text)
        + '[[beam]]\nname = "A"\ngantry = 10\n[[beam]]\nname = "B"\ngantry = 40\nisocenter = [1, 2, 3]\n',
        lambda text: text.replace('normalization = "D95"', "point = [1, 2, 3]"),
    ],
)  # fmt: skip
def test_an_optimization_is_written_and_read_back(change):
    request = parse_plan_file(change(OPTIMIZED))
    assert parse_plan_file(request.to_toml()) == request


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("bixel_mm = 8", "bixel = 8", ["[optimization]", 'key "bixel"', 'Did you mean "bixel_mm"?']),
        ("bixel_mm = 8", "bixel_mm = 0.1", ["[optimization]", "bixel_mm must lie in 1..50", "0.1"]),
        ("bixel_mm = 8", 'bixel_mm = "8"', ['key "bixel_mm"', "a number"]),
        ("iterations = 60", "iterations = 1.5", ['key "iterations"', "a whole number"]),
        ("refine = false", "refine = 0", ['key "refine"', "true or false"]),
        (
            '"sliding_window"',
            '"slidingwindow"',
            ['key "delivery"', '"step_and_shoot"', 'Did you mean "sliding_window"?'],
        ),
        ('"sliding_window"', '"ideal"', ['key "delivery"', '"step_and_shoot"']),
        ("refine = false", 'solver = "newton"', ['key "solver"', '"quasi-newton"']),
        ("Mean <= 20 Gy", "Mean about 20 Gy", ["[optimization]", "entry 2", "Bladder Mean about 20 Gy"]),
        ("weight = 5}", "wait = 5}", ["[optimization]", "entry 2", "'wait'", "weight"]),
        ("gantry = [0, 72, 144, 216, 288]", "gantry = []", ["[beams]", 'key "gantry"', "a list"]),
        ("gantry = [0, 72, 144, 216, 288]", "gantry = [0, 400]", ["[beams]", 'key "gantry"', "-360..360"]),
        ("[0, 0, 5, 0, 0]", "[0, 5]", ["[beams]", 'key "collimator"', "each of the 5 beams", "got 2"]),
        ("gantry = [0, 72,", "gantry = [0, 0,", ['two beams are named "Gantry 0 couch 10"']),
        ("couch = 10", "field = [10, 10]", ["[beams]", 'key "field"', "allowed here: gantry"]),
        (
            "[optimization]",
            '[defaults]\naperture = "mlc"\n[optimization]',
            ["[defaults]", 'key "aperture"', "leave it"],
        ),
        ("[optimization]", "[[beam]]\ngantry = 0\n[optimization]", ["[beams]", "keep one"]),
        ('targets = ["PTV"]', 'targets = "PTV"', ['key "targets"', "a list of texts"]),
    ],
)
def test_a_mistake_in_an_optimization_is_named(old, new, expected):
    assert old in OPTIMIZED
    with pytest.raises(PlanFileError) as caught:
        parse_plan_file(OPTIMIZED.replace(old, new, 1), "imrt.toml")
    for text in ["imrt.toml", *expected]:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"), [("Bladder Mean", "Blader Mean"), ('targets = ["PTV"]', 'targets = ["Blader"]')]
)
def test_structures_of_an_optimization_are_those_of_the_case(case, old, new):
    with pytest.raises(PlanFileError, match=r"\[optimization\].*Blader") as caught:
        parse_plan_file(OPTIMIZED.replace(old, new, 1)).build(case)
    assert 'Did you mean "Bladder"?' in str(caught.value)


def test_the_readme_shows_the_inverse_plan_that_comes_with_the_samples(repository):
    from RTPlanningLib.samples.plan_files import find_plan_file

    shipped = find_plan_file("tg119-cshape-imrt").read_text(encoding="utf-8")
    assert f"```toml\n{shipped}```" in (repository / "README.md").read_text(encoding="utf-8")
