"""The status of a case: what a clinic would look at before planning, on good cases and on bad ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.calibration import calibration_from_points
from DoseEngineLib.errors import Cancelled
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.case import Case
from RTPlanningLib.case_status import StatusLine, case_status, status_summary
from RTPlanningLib.samples import load_sample

SHAPE, SPACING = (30, 40, 40), (5.0, 5.0, 3.0)
NAMES = [
    *("Patient position", "Image geometry", "CT numbers", "CT calibration", "Body", "Targets", "Organs"),
    *("Couch and support", "Density overrides", "Structures"),
]


def box(k: slice, j: slice, i: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[k, j, i] = True
    return mask


BODY = box(slice(None), slice(5, 35), slice(5, 35))


@pytest.fixture
def grid() -> Grid:
    return Grid.from_spacing(SHAPE, SPACING, directions=np.diag((-1.0, -1.0, 1.0)))


@pytest.fixture
def good(grid) -> Case:
    """A scan with an outlined body, a PTV about a CTV, two organs, and a curve of its own."""
    hu = np.where(BODY, 40, -1000).astype(np.int16)
    structures = (
        Structure("External", BODY, grid, "EXTERNAL"),
        Structure("PTV", box(slice(10, 20), slice(15, 25), slice(15, 25)), grid, "PTV"),
        Structure("CTV", box(slice(11, 19), slice(16, 24), slice(16, 24)), grid, "CTV"),
        Structure("Rectum", box(slice(10, 20), slice(24, 30), slice(17, 23)), grid),
        Structure("Bladder", box(slice(10, 20), slice(8, 16), slice(12, 28)), grid),
    )
    return Case("scan", hu, grid, structures, study_instance_uid="1.2.3")


def line(case: Case, name: str, **options) -> StatusLine:
    return next(one for one in case_status(case, **options) if one.name == name)


def having(case: Case, *more: Structure, without: tuple[str, ...] = ()) -> Case:
    return replace(case, structures=(*(s for s in case.structures if s.name not in without), *more))


CURVE = calibration_from_points("Our scanner", [(-1000, 0.0012), (0, 1.0), (3000, 2.8)])


def test_a_good_case_is_ready(good) -> None:
    lines = case_status(good, CURVE)
    assert [one.name for one in lines] == NAMES
    assert [(one.name, one.text) for one in lines if one.mark != "ok"] == []
    assert status_summary(lines) == "Ready for planning."
    text = {one.name: one.text for one in lines}
    assert text["Patient position"] == "HFS (head first, supine)."
    assert text["Image geometry"] == "40 x 40 x 30 voxels of 5 x 5 x 3 mm, evenly spaced, axial."
    assert "Our scanner" in text["CT calibration"]
    # 900 voxels of 75 mm3 in each of 30 slices
    assert text["Body"] == "External, 2.02 litres."
    assert "PTV 75 cm³" in text["Targets"]


def test_samples_are_ready_or_say_what_to_look_at() -> None:
    assert status_summary(case_status(load_sample("thorax", (4.0, 4.0, 3.0)))) == "Ready for planning."
    lines = case_status(load_sample("tg119-prostate", 5.0))
    assert {one.name for one in lines if one.mark != "ok"} == {"Density overrides", "Notes"}
    assert all(one.mark != "missing" for one in lines)


def test_the_published_curve_asks_for_the_scanners_own(good) -> None:
    found = line(good, "CT calibration")
    assert found.mark == "look"
    assert "Choose the curve of your scanner" in found.text


def test_densities_beyond_the_curve_are_told(good) -> None:
    hu = good.hu.copy()
    hu[0, 20, 20:24] = 1500
    short = calibration_from_points("short", [(-1000, 0.001), (1000, 1.6)])
    found = line(replace(good, hu=hu), "CT calibration", calibration=short)
    # 4 voxels of 0.075 cm3
    assert found.mark == "look"
    assert "0.3 cm³ of the body lie above its end and get 1.6 g/cm³" in found.text


@pytest.mark.parametrize(
    ("make", "mark", "said"),
    [
        (lambda hu: hu * 0 - 1000, "missing", "the image is empty"),
        (lambda hu: hu + 1024, "missing", "rescale slope and intercept"),
        (lambda hu: np.maximum(hu, -200), "look", "no air"),
        (lambda hu: np.where((hu == 40) & (np.arange(SHAPE[2]) == 20), 3000, hu), "look", "metal"),
    ],
)
def test_implausible_ct_numbers(good, make, mark, said) -> None:
    found = line(replace(good, hu=make(good.hu).astype(np.int16)), "CT numbers")
    assert found.mark == mark, found.text
    assert said in found.text


def test_an_assumed_position_is_told_once(good) -> None:
    note = "CT says nothing of the patient position; head-first supine is assumed."
    lines = case_status(replace(good, notes=(note, "One slice was repaired.")))
    assert lines[0].mark == "look"
    assert "is assumed" in lines[0].text
    assert (lines[-1].name, lines[-1].text) == ("Notes", "One slice was repaired.")


def test_oblique_coronal_thick_and_thin_images(good) -> None:
    turn = np.radians(10.0)
    tilted = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    coronal = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    for directions, spacing, said in (
        (tilted, SPACING, "oblique by 10.0 degrees"),
        (coronal, SPACING, "coronal"),
        (np.diag((-1.0, -1.0, 1.0)), (5.0, 5.0, 6.0), "Slices 6 mm apart"),
    ):
        other = Grid.from_spacing(SHAPE, spacing, directions=directions)
        structures = tuple(replace(s, grid=other) for s in good.structures)
        found = line(replace(good, grid=other, structures=structures), "Image geometry")
        assert found.mark == "look"
        assert said in found.text
    flat = Grid.from_spacing((2, 40, 40), SPACING)
    assert line(Case("flat", good.hu[:2], flat), "Image geometry").mark == "missing"


def test_small_targets_want_thin_slices(grid, good) -> None:
    four = Grid.from_spacing(SHAPE, (2.0, 2.0, 4.0), directions=np.diag((-1.0, -1.0, 1.0)))
    structures = tuple(replace(s, grid=four) for s in good.structures)
    found = line(replace(good, grid=four, structures=structures), "Image geometry")
    assert found.mark == "look"
    assert "coarse for PTV, CTV" in found.text


def test_a_body_that_is_missing_is_found_and_said(good, grid) -> None:
    found = line(having(good, without=("External",)), "Body")
    assert found.mark == "look"
    assert "found in the image, 2.0" in found.text
    two = having(good, Structure("Body", BODY, grid, "EXTERNAL"))
    assert line(two, "Body").mark == "missing"
    assert "External, Body" in line(two, "Body").text
    empty = having(good, Structure("External", np.zeros(SHAPE, bool), grid, "EXTERNAL"), without=("External",))
    assert line(empty, "Body").mark == "missing"
    air = replace(having(good, without=("External",)), hu=np.full(SHAPE, -1000, np.int16))
    assert line(air, "Body").mark == "missing"
    assert "contour the body" in line(air, "Body").text


def test_a_body_cut_by_the_image_or_of_no_persons_size_is_told(good, grid) -> None:
    wide = Structure("External", box(slice(None), slice(5, 35), slice(0, 40)), grid, "EXTERNAL")
    found = line(having(good, wide, without=("External",)), "Body")
    assert found.mark == "look"
    assert "first columns, last columns" in found.text
    tiny = Structure("External", box(slice(5), slice(5, 10), slice(5, 10)), grid, "EXTERNAL")
    assert "no person's volume" in line(having(good, tiny, without=("External",)), "Body").text


def test_targets_missing_outside_or_not_nested(good, grid) -> None:
    assert "contour a target" in line(having(good, without=("PTV", "CTV")), "Targets").text
    empty = having(good, Structure("PTV", np.zeros(SHAPE, bool), grid, "PTV"), without=("PTV", "CTV"))
    assert line(empty, "Targets").mark == "missing"
    assert "PTV is empty" in line(empty, "Targets").text
    assert "There is no PTV" in line(having(good, without=("PTV",)), "Targets").text
    # half of these ten columns are in the air
    out = Structure("PTV_Skin", box(slice(10, 20), slice(10, 20), slice(0, 10)), grid, "PTV")
    found = line(having(good, out), "Targets")
    assert found.mark == "look"
    assert "50.0 % of PTV_Skin lie outside the body" in found.text
    ctv = Structure("CTV", box(slice(10, 20), slice(15, 25), slice(20, 30)), grid, "CTV")
    assert "50 % of CTV lie outside PTV" in line(having(good, ctv, without=("CTV",)), "Targets").text


def test_no_organs_and_a_couch(good, grid) -> None:
    assert line(having(good, without=("Rectum", "Bladder")), "Organs").mark == "look"
    couch = Structure("CouchSurface", box(slice(None), slice(36, 38), slice(None)), grid, "SUPPORT")
    found = line(having(good, couch), "Couch and support")
    assert found.mark == "look"
    assert "calculated without it" in found.text
    board = Structure("Board", box(slice(None), slice(33, 35), slice(6, 34)), grid, "SUPPORT")
    assert line(having(good, board), "Couch and support").mark == "ok"


def test_overrides_are_confirmed_and_never_of_nothing(good) -> None:
    found = line(replace(good, density_overrides_g_cm3={"Bladder": 1.05}), "Density overrides")
    assert found.mark == "look"
    assert "Bladder 1.05 g/cm³" in found.text
    lost = line(replace(good, density_overrides_g_cm3={"Implant": 4.5}), "Density overrides")
    assert lost.mark == "missing"
    assert "Implant has no contour" in lost.text


def test_empty_tiny_gappy_double_and_overlapping_structures(good, grid) -> None:
    holes = box(slice(2, 9), slice(10, 14), slice(10, 14))
    holes[[4, 6]] = False
    bad = having(
        good,
        Structure("Empty", np.zeros(SHAPE, bool), grid),
        Structure("Lens_L", box(slice(1), slice(10, 12), slice(10, 12)), grid),
        Structure("Gappy", holes, grid),
        Structure("PTV copy", good.structure("PTV").mask, grid, "PTV"),
        # half of it is bladder
        Structure("Sigmoid", box(slice(10, 20), slice(12, 20), slice(12, 14)), grid),
        # wholly within the bladder, as a wall is
        Structure("Bladder_Wall", box(slice(10, 20), slice(8, 10), slice(12, 28)), grid),
    )
    found = line(bad, "Structures")
    assert found.mark == "look"
    assert "Without a contour: Empty;" in found.text
    assert "Fewer than 27 voxels: Lens_L;" in found.text
    assert "Gappy (2)" in found.text
    assert "The same volume twice: PTV and PTV copy;" in found.text
    assert "Organs that overlap: Bladder and Sigmoid (6 cm³);" in found.text
    assert "Wall" not in found.text


def test_the_summary_names_the_gravest(good) -> None:
    assert status_summary(case_status(good)) == "Ready, after a look at: CT calibration."
    assert status_summary(case_status(having(good, without=("PTV", "CTV")))) == "Not ready: Targets."
    with pytest.raises(ValueError, match="ok, look, missing"):
        StatusLine("x", "fine", "")


def test_it_can_be_cancelled(good) -> None:
    def stop(fraction: float, text: str) -> None:
        if fraction >= 0.5:
            raise Cancelled(text)

    with pytest.raises(Cancelled):
        case_status(good, progress=stop)
