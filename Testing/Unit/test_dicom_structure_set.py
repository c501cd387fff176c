"""A structure set from DICOM: masks in the right place, names, roles, and what must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import FRAME, Roi, SyntheticCt, rectangle, synthetic_ct, synthetic_structure_set, uid, write
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.uid import MRImageStorage
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import CaseError
from DoseEngineLib.structure_role import role_from_name
from RTPlanningLib.dicom import CtSeries, read_ct_series, read_structure_set
from RTPlanningLib.dicom.roi_role import role_from_type

# the synthetic CT: x -40..22 by 2 mm, y -30..27.5 by 2.5 mm, z 10..25 by 3 mm
LEVELS = (13.0, 16.0, 19.0)


@pytest.fixture(scope="module")
def made() -> SyntheticCt:
    return synthetic_ct()


@pytest.fixture(scope="module")
def ct(made: SyntheticCt, tmp_path_factory: pytest.TempPathFactory) -> CtSeries:
    return read_ct_series(made.write(tmp_path_factory.mktemp("ct")))


def box(name: str = "Box", kind: str = "ORGAN", size: float = 20.0, **options: object) -> Roi:
    return Roi(name, [rectangle((-25, -25 + size), (-20, -20 + size), z) for z in LEVELS], kind, **options)


def read(dataset: FileDataset, folder: Path, ct: CtSeries, **options: object):
    return read_structure_set(write(dataset, folder / "rs.dcm"), ct, **options)


def refused(dataset: FileDataset, folder: Path, ct: CtSeries, message: str) -> str:
    path = write(dataset, folder / "rs.dcm")
    with pytest.raises(CaseError, match=message) as caught:
        read_structure_set(path, ct)
    return str(caught.value)


def test_a_box_has_its_voxels_and_nothing_else(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    (structure,), notes = read(synthetic_structure_set([box(kind="PTV", color=(255, 0, 51))], made), tmp_path, ct)
    left, posterior, superior = np.moveaxis(ct.grid.centres_RAS_mm() * (-1, -1, 1), -1, 0)
    expected = (left >= -25) & (left < -5) & (posterior >= -20) & (posterior < 0) & (np.abs(superior - 16) < 3.5)
    assert np.array_equal(structure.mask, expected)
    assert (structure.name, structure.role, structure.color) == ("Box", "PTV", (1.0, 0.0, 0.2))
    assert notes == ()
    # three slices of 3 mm, as its voxels have them
    assert structure.outline.volume_cm3 == pytest.approx(2.0 * 2.0 * 0.3 * len(LEVELS))
    assert structure.outline.name == "Box"


def test_contours_beyond_the_ct_are_no_outline(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    wide = Roi("Body", [rectangle((-200, 200), (-200, 200), z) for z in LEVELS], "EXTERNAL")
    (structure,), notes = read(synthetic_structure_set([wide], made), tmp_path, ct)
    assert structure.outline is None
    assert any("cut there" in note for note in notes)


@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(-300, 300)] * 3))
@settings(max_examples=10, deadline=None)
def test_oblique_image_planes(tmp_path_factory: pytest.TempPathFactory, angles, origin) -> None:
    folder = tmp_path_factory.mktemp("oblique")
    turn = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    made = synthetic_ct(orientation=[*turn[:, 0], *turn[:, 1]], origin_LPS_mm=origin)
    ct = read_ct_series(made.write(folder))
    # in the frame of the image: columns 5..15, rows 4..12 (half-pixel edges), slices 1..3
    corners = np.array([(4.5, 3.5), (15.5, 3.5), (15.5, 12.5), (4.5, 12.5)]) * (2.0, 2.5)
    contours = [np.column_stack((corners, np.full(4, 3.0 * k))) @ turn.T + origin for k in (1, 2, 3)]
    (structure,), notes = read(synthetic_structure_set([Roi("Box", contours)], made), folder, ct)
    expected = np.zeros(ct.grid.shape, bool)
    expected[1:4, 4:13, 5:16] = True
    assert np.array_equal(structure.mask, expected)
    assert notes == ()


def test_a_hole_as_second_contour_and_as_keyhole(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    outer = [rectangle((-31, 11), (-21, 19), z) for z in LEVELS]
    inner = [rectangle((-15, 1), (-9, 4), z) for z in LEVELS]
    keyholes = [np.vstack((o, o[:1], i[::-1], i[-1:])) for o, i in zip(outer, inner, strict=True)]
    rois = [Roi("Outer", outer), Roi("Inner", inner), Roi("Two", [*outer, *inner]), Roi("Keyhole", keyholes)]
    rois.append(Roi("Xor", [*inner, *outer], geometric_type="CLOSEDPLANAR_XOR"))
    structures, notes = read(synthetic_structure_set(rois, made), tmp_path, ct)
    masks = {s.name: s.mask for s in structures}
    expected = masks["Outer"] & ~masks["Inner"]
    assert masks["Inner"].any()
    for name in ("Two", "Keyhole", "Xor"):
        assert np.array_equal(masks[name], expected)
    assert notes == ()


def test_another_frame_of_reference_is_refused(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], made, frame=uid("another frame"))
    text = refused(dataset, tmp_path, ct, "frame of reference")
    assert uid("another frame") in text
    assert FRAME in text
    assert "Choose the structure set" in text


def test_one_structure_in_another_frame_is_refused_unless_skipped(
    tmp_path: Path, made: SyntheticCt, ct: CtSeries
) -> None:
    dataset = synthetic_structure_set([box(), box("Other")], made)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = uid("another frame")
    refused(dataset, tmp_path, ct, "Structure 'Other' of rs.dcm has frame of reference")
    structures, notes = read(dataset, tmp_path, ct, skip_rois=["Other"])
    assert [s.name for s in structures] == ["Box"]
    assert "Other: left out as asked." in notes


def test_a_structure_set_of_another_series_is_refused(tmp_path: Path, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], referenced_series=uid("gone"), study=uid("another study"))
    text = refused(dataset, tmp_path, ct, "was drawn on series")
    assert uid("gone") in text
    assert uid("another study") in text


def test_a_structure_set_of_unknown_images_is_refused(tmp_path: Path, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box(images=[uid("x", n) for n in range(3)])], referenced_series=None)
    refused(dataset, tmp_path, ct, "refers to 3 images .* none of which is in this CT")


def test_some_unknown_images_are_noted(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    more = synthetic_ct((8, 24, 32))
    _, notes = read(synthetic_structure_set([box()], more), tmp_path, ct)
    assert "refers to 2 images that are not in the CT series" in notes[0]


def test_a_contour_away_from_its_image_is_refused(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    right = [made.slices[k].SOPInstanceUID for k in (1, 2, 3)]
    assert read(synthetic_structure_set([box(images=right)], made), tmp_path, ct)[1] == ()
    wrong = [made.slices[k].SOPInstanceUID for k in (1, 2, 5)]
    text = refused(synthetic_structure_set([box(images=wrong)], made), tmp_path, ct, "6.0 mm away from its points")
    assert "Box, contour 3" in text


def test_another_study_or_patient_and_no_references_are_noted(tmp_path: Path, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], referenced_series=None, study=uid("another study"))
    dataset.PatientID = "SOMEONE"
    (structure,), notes = read(dataset, tmp_path, ct)
    assert structure.mask.any()
    assert "names no images" in notes[0]
    assert "another study" in notes[1]
    assert "patient ID 'SOMEONE', the CT 'PHANTOM'" in notes[2]


def test_no_frame_of_reference_is_noted(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], made)
    del dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    del dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    _, notes = read(dataset, tmp_path, ct)
    assert "names no frame of reference" in notes[0]


def contour_of(dataset: FileDataset, roi: int = 0, contour: int = 1):
    return dataset.ROIContourSequence[roi].ContourSequence[contour]


def test_coordinates_not_a_multiple_of_three(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], made)
    contour_of(dataset).ContourData = contour_of(dataset).ContourData[:-1]
    text = refused(dataset, tmp_path, ct, "11 numbers, which is no multiple of 3")
    assert "Box, contour 2" in text
    assert "skip_rois=('Box',)" in text


def test_a_wrong_number_of_points(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], made)
    contour_of(dataset).NumberOfContourPoints = 9
    assert "Box, contour 2" in refused(dataset, tmp_path, ct, "says 9, but ContourData has 4 points")
    contour_of(dataset).NumberOfContourPoints = 12  # coordinates counted: nothing is lost
    assert read(dataset, tmp_path, ct)[1] == ()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(0, 0, 16), (5, 0, 16)], "at least 3 points; it has 2"),
        ([(0, 0, 16), (5, 0, 16), (5, 5, 18), (0, 5, 16)], "not planar"),
        ([(0, 0, 13), (5, 0, 13), (5, 0, 19), (0, 0, 19)], "not parallel"),
    ],
)
def test_broken_contours(tmp_path: Path, made: SyntheticCt, ct: CtSeries, points: list, message: str) -> None:
    roi = Roi("Bad", [rectangle((0, 9), (0, 9), 13.0), np.array(points, float)])
    assert "Bad, contour 2" in refused(synthetic_structure_set([box(), roi], made), tmp_path, ct, message)


@pytest.mark.parametrize(("new", "message"), [(b"NaN", "NaN"), (b"abc", "not a number"), (b"inf", "NaN or infinite")])
def test_contours_that_are_not_numbers(
    tmp_path: Path, made: SyntheticCt, ct: CtSeries, new: bytes, message: str
) -> None:
    path = write(synthetic_structure_set([box()], made), tmp_path / "rs.dcm")
    content = path.read_bytes()
    old = b"-25.000000000\\-20.000000000\\16.000000000"
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new.ljust(13) + old[13:]))
    with pytest.raises(CaseError, match=message) as caught:
        read_structure_set(path, ct)
    assert "Box, contour 2" in str(caught.value)


def test_missing_contour_data_is_named(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], made)
    del contour_of(dataset).ContourData
    assert "Box, contour 2" in refused(dataset, tmp_path, ct, r"ContourData \(3006,0050\) is missing")


def test_points_and_open_contours_and_empty_structures_are_noted(
    tmp_path: Path, made: SyntheticCt, ct: CtSeries
) -> None:
    rois = [
        box(),
        Roi("Marker", [np.array([(0.0, 0.0, 16.0)])], "MARKER", "POINT"),
        Roi("Wire", [np.array([(0.0, 0.0, 16.0), (5.0, 5.0, 16.0)])], geometric_type="OPEN_PLANAR"),
        Roi("Nothing"),
        Roi("Far", [rectangle((0, 9), (0, 9), 300.0)]),
        Roi("Tiny", [rectangle((0.1, 0.2), (0.1, 0.2), 16.0)]),
    ]
    structures, notes = read(synthetic_structure_set(rois, made), tmp_path, ct)
    assert [s.name for s in structures] == ["Box"]
    text = "\n".join(notes)
    assert "Marker: contours of type POINT (1)" in text
    assert "Wire: contours of type OPEN_PLANAR (1)" in text
    for name in ("Marker", "Wire", "Nothing"):
        assert f"{name}: has no closed contours; left out." in text
    assert "Far: 1 of 1 contours lie off the CT" in text
    assert "Tiny: holds no voxel of the CT; left out." in text


def test_names_are_made_unique(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box("PTV"), box("PTV"), box(""), box(" PTV ")], made)
    structures, notes = read(dataset, tmp_path, ct)
    assert [s.name for s in structures] == ["PTV", "PTV (2)", "ROI 3", "PTV (3)"]
    assert "Several structures are named 'PTV'; ROI number 2 was called 'PTV (2)'." in notes
    assert "ROI number 3 has no name" in "\n".join(notes)


def test_missing_colors_are_distinct(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    structures, _ = read(synthetic_structure_set([box(f"S{n}", color=None) for n in range(6)], made), tmp_path, ct)
    colors = [s.color for s in structures]
    assert len(set(colors)) == 6
    assert all(0 <= channel <= 1 for color in colors for channel in color)


@pytest.mark.parametrize(
    ("kind", "role"),
    [("PTV", "PTV"), ("EXTERNAL", "EXTERNAL"), ("AVOIDANCE", "AVOIDANCE"), ("FIXATION", "SUPPORT"), ("BOLUS", "OTHER")],
)
def test_roles_by_type(kind: str, role: str) -> None:
    assert role_from_type(kind) == role


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("PTV_50", "PTV"),
        ("ctv", "CTV"),
        (" ITV_1", "CTV"),
        ("IGTV", "GTV"),
        ("GTVp", "GTV"),
        ("Body", "EXTERNAL"),
        ("SKIN", "EXTERNAL"),
        ("Skin_5mm", "ORGAN"),
        ("Heart-PTV", "ORGAN"),
        ("CouchSurface", "SUPPORT"),
    ],
)
def test_roles_by_name(name: str, role: str) -> None:
    assert role_from_type("") is None
    assert role_from_name(name) == role


def test_type_wins_over_name_and_the_largest_external_is_kept(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    rois = [box("PTV", "CONTROL"), box("Body", "", 40.0), box("Skin", ""), box("CTV", "")]
    structures, notes = read(synthetic_structure_set(rois, made), tmp_path, ct)
    assert {s.name: s.role for s in structures} == {
        "PTV": "CONTROL",
        "Body": "EXTERNAL",
        "Skin": "OTHER",
        "CTV": "CTV",
    }
    assert "the largest, Body, was kept" in notes[0]


def test_skipping_an_unknown_structure_lists_those_there_are(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    path = write(synthetic_structure_set([box()], made), tmp_path / "rs.dcm")
    with pytest.raises(CaseError, match="no structure Heart; it has: Box"):
        read_structure_set(path, ct, skip_rois=["Heart"])


def test_skipping_a_broken_structure_reads_the_others(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    bad = Roi("Bad", [np.array([(0.0, 0, 16), (5, 0, 16)])])
    structures, _ = read(synthetic_structure_set([bad, box()], made), tmp_path, ct, skip_rois=["Bad"])
    assert [s.name for s in structures] == ["Box"]


def test_not_a_structure_set(tmp_path: Path, made: SyntheticCt, ct: CtSeries) -> None:
    dataset = synthetic_structure_set([box()], made)
    dataset.SOPClassUID = MRImageStorage
    refused(dataset, tmp_path, ct, "is not an RTSTRUCT")
    incomplete = synthetic_structure_set([box()], made)
    del incomplete.ROIContourSequence
    refused(incomplete, tmp_path, ct, "ROIContourSequence is missing")


@pytest.mark.parametrize("repeat", ["StructureSetROISequence", "ROIContourSequence"])
def test_repeated_roi_numbers_are_refused(tmp_path: Path, made: SyntheticCt, ct: CtSeries, repeat: str) -> None:
    dataset = synthetic_structure_set([box(), box("Second")], made)
    dataset.StructureSetROISequence[1].ROINumber = 1 if repeat == "StructureSetROISequence" else 2
    if repeat == "ROIContourSequence":
        dataset.ROIContourSequence[1].ReferencedROINumber = 1
    refused(dataset, tmp_path, ct, "used twice|two sets of contours")


@given(share=st.floats(0.0, 0.9999), undefined=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_file_cut_short_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, made: SyntheticCt, ct: CtSeries, share: float, undefined: bool
) -> None:
    dataset = synthetic_structure_set([box()], made)
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
    path = write(dataset, tmp_path_factory.mktemp("cut") / "cut.dcm")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CaseError, match=r"cut\.dcm"):
        read_structure_set(path, ct)
