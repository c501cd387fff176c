"""DICOM objects out: CT, structure sets and doses come back as they were, refer to each other, and are well-formed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from conftest import missing
from dicom_checkers import have_checkers, iod_complaints, set_complaints
from dicom_factory import FRAME, SERIES, STUDY, Roi, rectangle, synthetic_ct, synthetic_structure_set, write
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import CaseError, EvaluationError, GeometryError, PlanError
from DoseEngineLib.geometry import Grid, ras_from_lps
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.contouring.keyholes import join_holes
from RTPlanningLib.contouring.mask_outlines import outline_mask
from RTPlanningLib.contouring.planar_contours import fill_even_odd
from RTPlanningLib.dicom import read_case
from RTPlanningLib.dicom.ct_writer import stored_values
from RTPlanningLib.dicom.decimal import decimal_string
from RTPlanningLib.dicom.export import DicomOptions, export_dicom
from RTPlanningLib.dicom.identity import identity_of_case, is_uid, text_for
from RTPlanningLib.dicom.rt_dose import read_rt_dose
from RTPlanningLib.dicom.rt_dose_writer import DoseToExport, stored_dose
from RTPlanningLib.output_folder import OutputError

SHAPE = (14, 40, 44)
# i to the left, j to the back, k to the head: what DICOM calls axial
AXIAL = Grid.from_spacing(SHAPE, (1.5, 1.2, 3.0), (20.3, 31.7, -12.9), np.diag((-1.0, -1.0, 1.0)))
PLAN = Plan(
    "Box",
    tuple(Beam.open_field(f"G{angle}", gantry_deg=angle) for angle in (0.0, 90.0)),
    Prescription(50.0, 25, "PTV", normalization="none"),
)


def ball(grid: Grid, centre, radius_mm: float) -> np.ndarray:
    distance = np.linalg.norm(grid.centres_RAS_mm() - grid.index_to_ras(centre), axis=-1)
    return distance <= radius_mm


def structures(grid: Grid = AXIAL) -> tuple[Structure, ...]:
    """A body with a hole, an island in the hole, a thin shell, two pieces, one voxel, and nothing."""
    centre = (np.array(grid.shape[::-1]) - 1) / 2
    body = ball(grid, centre, 17.0)
    hole = ball(grid, centre + (1, 2, 0), 10.0)
    island = ball(grid, centre + (1, 2, 0), 5.0)
    shell = ball(grid, centre, 15.0) & ~ndimage.binary_erosion(ball(grid, centre, 15.0))
    pieces = ball(grid, centre - (8, 0, 0), 6.0) | ball(grid, centre + (8, 3, 0), 6.5)
    voxel = np.zeros(grid.shape, bool)
    voxel[3, 4, 5] = True
    return (
        Structure("BODY", body & ~hole | island, grid, "EXTERNAL", (0.2, 0.8, 0.4)),
        Structure("PTV", pieces, grid, "PTV", (1.0, 0.0, 0.0)),
        Structure("Rectum~shell", shell, grid, "AVOIDANCE", (0.0, 1.0, 1.0)),
        Structure("Marker_é", voxel, grid, "OTHER"),
    )


def case(grid: Grid = AXIAL, **changes) -> Case:
    hu = np.random.default_rng(1).integers(-1024, 3071, grid.shape).astype(np.int16)
    hu.flat[:2] = (-1024, 3071)
    return replace(Case("prostate", hu, grid, structures(grid), patient_name="RTPLANNING^PROSTATE"), **changes)


def doses(grid: Grid | None = None) -> tuple[DoseToExport, ...]:
    grid = grid or AXIAL.with_spacing(3.0)
    dose = np.random.default_rng(2).random(grid.shape).astype(np.float32) * 53.0
    return (
        DoseToExport(dose, grid),
        DoseToExport(dose * np.float32(0.25), grid, beam_number=2, name="RTDOSE_beam_02"),
        DoseToExport(dose * np.float32(0.9), grid, "EFFECTIVE", name="RTDOSE_EQD2", comment="EQD2, alpha/beta 3 Gy"),
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# Contours


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 30), st.sampled_from((0.0, 0.7, 1.5)), st.floats(0.3, 0.7)
)
def test_outlines_hold_the_pixels_and_their_area(seed, rows, columns, blur, level):
    noise = np.random.default_rng(seed).random((rows, columns))
    mask = ndimage.gaussian_filter(noise, blur) > level
    loops = outline_mask(mask)
    np.testing.assert_array_equal(fill_even_odd(loops, mask.shape), mask)
    contours = join_holes(loops)
    np.testing.assert_array_equal(fill_even_odd(contours, mask.shape), mask)
    areas = [0.5 * np.sum(c[:, 0] * np.roll(c[:, 1], -1) - c[:, 1] * np.roll(c[:, 0], -1)) for c in contours]
    # no contour is a hole, so their areas add up
    assert abs(sum(map(abs, areas)) - np.count_nonzero(mask)) < 1e-6


def test_a_reader_that_fills_contour_by_contour_keeps_the_hole():
    mask = structures()[0].mask[7]
    union = np.zeros(mask.shape, bool)
    contours = join_holes(outline_mask(mask))
    for contour in contours:
        union |= fill_even_odd([contour], mask.shape)
    np.testing.assert_array_equal(union, mask)
    # the ring with its hole, and the island
    assert len(contours) == 2


def test_contours_that_cross_stay_as_they_are():
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    joined = join_holes([square, square + 5.0])
    np.testing.assert_array_equal(joined[0], square)
    np.testing.assert_array_equal(joined[1], square + 5.0)


# Round trips


@pytest.mark.parametrize(
    "directions",
    [
        np.diag((-1.0, -1.0, 1.0)),
        np.eye(3),
        # sagittal slices, as some volume files have them; mirrored
        np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
        np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    ],
    ids=("axial", "RAS", "sagittal", "mirrored"),
)
def test_a_case_comes_back_from_its_objects(tmp_path, directions):
    grid = Grid.from_spacing(SHAPE, (1.5, 1.2, 3.0), (20.3, 31.7, -12.9), directions)
    written = case(grid)
    export = export_dicom(written, tmp_path / "out")
    assert export.notes == ()
    read = read_case(tmp_path / "out")
    assert [s.name for s in read.structures] == [s.name for s in written.structures]
    # voxels are compared where they are, however the axes were turned
    index = np.rint(written.grid.ras_to_index(read.grid.centres_RAS_mm())).astype(int)
    i, j, k = np.moveaxis(index, -1, 0)
    assert np.abs(written.grid.index_to_ras(index) - read.grid.centres_RAS_mm()).max() < 1e-6
    np.testing.assert_array_equal(read.hu, written.hu[k, j, i])
    assert read.hu.dtype == np.int16
    for before, after in zip(written.structures, read.structures, strict=True):
        assert dice(after.mask, before.mask[k, j, i]) == 1.0, before.name
        assert after.role == before.role
        np.testing.assert_allclose(after.color, before.color, atol=0.5 / 255 + 1e-9)
        assert after.outline is not None
        assert after.outline.volume_cm3 == pytest.approx(before.volume_cm3, rel=1e-4)
    assert (read.patient_name, read.patient_id) == ("RTPLANNING^PROSTATE", "RTP-PROSTATE")
    assert read.patient_position == "HFS"


def test_an_oblique_ct_keeps_its_slices(tmp_path):
    turn = np.deg2rad(20.0)
    directions = np.array([[np.cos(turn), np.sin(turn), 0.0], [-np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    grid = Grid.from_spacing(SHAPE, (1.5, 1.2, 3.0), (20.3, 31.7, -12.9), directions)
    written = case(grid)
    export_dicom(written, tmp_path / "out")
    read = read_case(tmp_path / "out")
    assert read.grid.is_same_as(grid, 1e-6)
    np.testing.assert_array_equal(read.hu, written.hu)
    for before, after in zip(written.structures, read.structures, strict=True):
        np.testing.assert_array_equal(after.mask, before.mask)


def test_contours_that_were_drawn_come_back_to_the_last_digit(tmp_path):
    ct = synthetic_ct(origin_LPS_mm=(-40.123456789, -30.0, 10.0))
    ct.write(tmp_path / "in")
    rng = np.random.default_rng(3)
    drawn = [rectangle((-31.7, 1.1), (-20.3, 5.9), 10.0 + 3.0 * k) + 0.0 for k in (1, 2, 4)]
    for points in drawn:
        points[:, :2] += rng.normal(scale=0.3, size=(4, 2)).round(9)
    holed = [rectangle((-30, 10), (-20, 10), 16.0), rectangle((-20, 0), (-10, 0), 16.0)]
    rois = [Roi("Bladder", drawn), Roi("Rectum", holed)]
    write(synthetic_structure_set(rois, ct), tmp_path / "in" / "rs.dcm")
    first = read_case(tmp_path / "in")
    export = export_dicom(first, tmp_path / "out")
    assert [path.name for path in export.files] == ["RTSTRUCT.dcm"]
    assert "was not written again" in export.notes[0]
    for path in export.files:
        (tmp_path / "in" / "rs.dcm").write_bytes(path.read_bytes())
    second = read_case(tmp_path / "in")
    before, after = first.structure("Bladder").outline, second.structure("Bladder").outline
    assert isinstance(after, ContourStack)
    for a, b in zip(before.contours_RAS_mm, after.contours_RAS_mm, strict=True):
        np.testing.assert_array_equal(a, b)
    rectum = second.structure("Rectum")
    np.testing.assert_array_equal(rectum.mask, first.structure("Rectum").mask)
    assert len(rectum.outline.contours_RAS_mm) == 1
    assert rectum.outline.volume_cm3 == pytest.approx(first.structure("Rectum").outline.volume_cm3, rel=1e-9)


@pytest.mark.parametrize("directions", [np.diag((-1.0, -1.0, 1.0)), np.eye(3)], ids=("axial", "RAS"))
def test_doses_come_back(tmp_path, directions):
    grid = Grid.from_spacing((9, 11, 13), (2.5, 2.4, 3.1), (10.123456, -20.0, 5.0), directions)
    written = doses(grid)
    export_dicom(case(), tmp_path / "out", plan=PLAN, doses=written)
    for one in written:
        read = read_rt_dose(tmp_path / "out" / f"{one.name}.dcm", allow_beams=True, allow_effective=True)
        index = np.rint(grid.ras_to_index(read.dose.grid.centres_RAS_mm())).astype(int)
        assert np.abs(grid.index_to_ras(index) - read.dose.grid.centres_RAS_mm()).max() < 1e-6
        i, j, k = np.moveaxis(index, -1, 0)
        assert np.abs(read.dose.dose_Gy - one.dose_Gy[k, j, i]).max() < 1e-7 * one.dose_Gy.max()
        assert (read.kind, read.summation, read.comment) == (one.kind, one.summation, one.comment)
        assert read.beam_numbers == (() if one.beam_number is None else (one.beam_number,))
        assert read.plan_uid == pydicom.dcmread(tmp_path / "out" / "RTPLAN.dcm").SOPInstanceUID
    with pytest.raises(CaseError, match="not PHYSICAL"):
        read_rt_dose(tmp_path / "out" / "RTDOSE_EQD2.dcm")
    with pytest.raises(CaseError, match="of BEAM"):
        read_rt_dose(tmp_path / "out" / "RTDOSE_beam_02.dcm")


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-30, 1e30, allow_subnormal=False), st.integers(0, 1000))
def test_the_largest_dose_fits_whatever_it_is(largest, seed):
    dose = np.random.default_rng(seed).random(50) * largest
    stored, scaling = stored_dose(dose)
    assert len(decimal_string(scaling)) <= 16
    np.testing.assert_allclose(stored * float(decimal_string(scaling)), dose, atol=1e-9 * dose.max(), rtol=0)


def test_no_dose_is_a_dose():
    stored, scaling = stored_dose(np.zeros((2, 2, 2)))
    assert scaling > 0.0
    assert not stored.any()


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6))
def test_decimal_strings_are_short_and_near(number):
    text = decimal_string(number)
    assert len(text) <= 16
    assert abs(float(text) - number) <= 1e-9 * max(1.0, abs(number))


def test_ct_numbers_whole_large_and_broken():
    whole = np.array([[[-32768.0, 32767.0]]])
    stored, slope, intercept = stored_values(whole)
    assert (stored.dtype, slope, intercept) == (np.int16, 1.0, 0.0)
    metal = np.array([[[-1024, 40000]]], np.int32)
    stored, slope, intercept = stored_values(metal)
    np.testing.assert_array_equal(stored * slope + intercept, metal)
    broken = np.array([[[-1000.25, 17.3, 2976.0]]], np.float32)
    stored, slope, intercept = stored_values(broken)
    assert np.abs(stored * slope + intercept - broken).max() <= 0.5 * slope * 1.001 < 0.04
    with pytest.raises(CaseError, match="NaN"):
        stored_values(np.array([[[np.nan]]]))


# Identity and references


def references(dataset: pydicom.Dataset) -> set[str]:
    found = set()

    def look(_, element) -> None:
        if element.keyword in ("ReferencedSOPInstanceUID",):
            found.add(str(element.value))

    dataset.walk(look)
    return found


def test_every_reference_leads_to_an_object_of_the_export(tmp_path):
    export = export_dicom(case(), tmp_path / "out", plan=PLAN, doses=doses())
    datasets = {path.name: pydicom.dcmread(path) for path in export.files}
    uids = {str(d.SOPInstanceUID) for d in datasets.values()}
    assert len(uids) == len(datasets) == SHAPE[0] + 5
    study = {str(d.StudyInstanceUID) for d in datasets.values()}
    assert len(study) == 1
    assert len({d.FrameOfReferenceUID for d in datasets.values()}) == 1
    for name, dataset in datasets.items():
        assert references(dataset) - uids - study == set(), name
        assert all(is_uid(str(e.value)) for e in dataset.iterall() if e.VR == "UI" and e.VM == 1), name
    # every contour names the image it lies on
    images = {str(d.SOPInstanceUID): float(d.ImagePositionPatient[2]) for d in datasets.values() if d.Modality == "CT"}
    contours = [c for roi in datasets["RTSTRUCT.dcm"].ROIContourSequence for c in roi.ContourSequence]
    assert len(contours) > 40
    for contour in contours:
        assert images[contour.ContourImageSequence[0].ReferencedSOPInstanceUID] == pytest.approx(contour.ContourData[2])
    assert datasets["RTPLAN.dcm"].ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == (
        datasets["RTSTRUCT.dcm"].SOPInstanceUID
    )


def test_a_phantom_is_one_patient_however_often_it_is_exported(tmp_path):
    first = export_dicom(case(), tmp_path / "a", plan=PLAN).files
    second = export_dicom(case(), tmp_path / "b", plan=PLAN).files
    for one, other in zip(first, second, strict=True):
        a, b = pydicom.dcmread(one), pydicom.dcmread(other)
        assert (a.PatientID, a.StudyInstanceUID, a.FrameOfReferenceUID) == (
            (b.PatientID, b.StudyInstanceUID, b.FrameOfReferenceUID)
        )
        # the CT is the same to the byte; structures and plan are made anew
        assert (a.SOPInstanceUID == b.SOPInstanceUID) == (a.Modality == "CT")
        assert (one.read_bytes() == other.read_bytes()) == (a.Modality == "CT")
    changed = case()
    hu = changed.hu.copy()
    hu[0, 0, 5] += 1
    assert identity_of_case(replace(changed, hu=hu)).frame_of_reference_uid != a.FrameOfReferenceUID


def from_dicom(folder: Path) -> Case:
    def edit(k, dataset) -> None:
        dataset.PatientBirthDate, dataset.PatientSex = "19500203", "M"
        dataset.AccessionNumber, dataset.ReferringPhysicianName = "ACC-77", "Who^Doctor"

    ct = synthetic_ct((8, 30, 30), edit=edit)
    ct.write(folder)
    contours = [rectangle((-30.0, 0.0), (-20.0, 8.0), 10.0 + 3.0 * k) for k in range(1, 6)]
    write(synthetic_structure_set([Roi("PTV", contours, "PTV")], ct), folder / "rs.dcm")
    return read_case(folder)


def test_objects_of_a_case_from_dicom_belong_to_its_study(tmp_path):
    read = from_dicom(tmp_path / "in")
    export = export_dicom(read, tmp_path / "out", plan=PLAN, doses=doses(read.grid.with_spacing(4.0)))
    originals = {str(pydicom.dcmread(p).SOPInstanceUID) for p in (tmp_path / "in").glob("ct*.dcm")}
    assert [path.name for path in export.files if path.name.startswith("CT")] == []
    for path in export.files:
        dataset = pydicom.dcmread(path)
        assert (dataset.PatientName, dataset.PatientID) == ("Phantom^Test", "PHANTOM")
        assert (dataset.PatientBirthDate, dataset.PatientSex) == ("19500203", "M")
        assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (STUDY, FRAME)
        assert (dataset.StudyDate, dataset.StudyTime, dataset.StudyID) == ("20240101", "120000", "1")
        assert (dataset.AccessionNumber, dataset.ReferringPhysicianName) == ("ACC-77", "Who^Doctor")
        assert dataset.SeriesInstanceUID != SERIES
        if dataset.Modality == "RTSTRUCT":
            assert references(dataset) == originals | {STUDY}
    with_ct = export_dicom(read, tmp_path / "with", options=DicomOptions(with_ct=True))
    images = [pydicom.dcmread(path) for path in with_ct.files if path.name.startswith("CT")]
    assert len(images) == 8
    assert {d.StudyInstanceUID for d in images} == {STUDY}
    assert not {d.SOPInstanceUID for d in images} & originals
    again = read_case(tmp_path / "with")
    np.testing.assert_array_equal(again.hu, read.hu)
    np.testing.assert_array_equal(again.structure("PTV").mask, read.structure("PTV").mask)


def test_what_is_malformed_in_a_ct_is_not_copied(tmp_path):
    def edit(k, dataset) -> None:
        dataset["StudyDate"]._value = "yesterday"
        dataset.PatientSex = "X"

    ct = synthetic_ct(edit=edit)
    ct.write(tmp_path)
    read = read_case(tmp_path)
    assert (read.dicom.study_date, read.dicom.patient_sex, read.dicom.study_time) == ("", "", "120000")
    assert any("PatientSex, StudyDate malformed" in note for note in read.notes)


def test_a_study_uid_that_leads_out_of_a_folder_is_none():
    with pytest.raises(CaseError, match="no DICOM UID"):
        identity_of_case(case(study_instance_uid="../../etc/passwd"))


def test_images_named_by_what_is_no_uid_are_not_referred_to(tmp_path):
    read = from_dicom(tmp_path / "in")
    source = replace(read.dicom, ct_sop_instance_uids=("../x", *read.dicom.ct_sop_instance_uids[1:]))
    with pytest.raises(CaseError, match="no DICOM UIDs"):
        export_dicom(replace(read, dicom=source), tmp_path / "out")
    export_dicom(replace(read, dicom=source), tmp_path / "out", options=DicomOptions(with_ct=True))


def test_texts_that_dicom_cannot_hold_are_named():
    for text, vr, words in (
        ("a\\b", "LO", "does not allow"),
        ("x" * 65, "LO", "65 characters"),
        ("a\nb", "SH", "does not allow"),
    ):
        with pytest.raises(PlanError, match=words):
            text_for(text, vr, "Structure name")
    assert text_for("  Lung_L ", "LO", "Structure name") == "Lung_L"


# What is refused, and what is left behind


def test_nothing_is_left_behind_by_an_export_that_fails(tmp_path):
    oblique = Grid.from_spacing((5, 6, 7), 3.0, (0, 0, 0), _turned(10.0))
    bad = DoseToExport(np.ones(oblique.shape), oblique)
    with pytest.raises(GeometryError, match="oblique"):
        export_dicom(case(), tmp_path / "out", plan=PLAN, doses=[bad])
    assert list(tmp_path.iterdir()) == []

    def stop(fraction: float, text: str) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_dicom(case(), tmp_path / "out", plan=PLAN, progress=stop)
    assert list(tmp_path.iterdir()) == []


def _turned(degrees: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), np.sin(turn), 0.0], [-np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])


def test_an_oblique_dose_is_resampled_when_asked(tmp_path):
    grid = Grid.from_spacing((9, 20, 20), 3.0, (-30, -30, 0), _turned(10.0))
    r, a, s = np.moveaxis(grid.centres_RAS_mm(), -1, 0)
    ramp = (200.0 + r + 2.0 * a + 0.5 * s).astype(np.float32)
    export_dicom(
        case(),
        tmp_path / "out",
        plan=PLAN,
        doses=[DoseToExport(ramp, grid)],
        options=DicomOptions(resample_oblique=True),
    )
    read = read_rt_dose(tmp_path / "out" / "RTDOSE.dcm").dose
    r, a, s = np.moveaxis(read.grid.centres_RAS_mm(), -1, 0)
    index = grid.ras_to_index(read.grid.centres_RAS_mm())
    inside = ((index >= 0) & (index <= np.array(grid.shape[::-1]) - 1)).all(axis=-1)
    assert np.count_nonzero(inside) > 2000
    # linear interpolation is exact on a ramp
    np.testing.assert_allclose(read.dose_Gy[inside], (200.0 + r + 2.0 * a + 0.5 * s)[inside], rtol=1e-5)
    bounds, own = read.grid.bounds_RAS_mm, grid.bounds_RAS_mm
    assert (bounds[0] <= own[0] + 1e-6).all()
    assert (bounds[1] >= own[1] - 1e-6).all()


def test_files_of_others_are_not_lost(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "RTSTRUCT.dcm").write_text("somebody's work")
    with pytest.raises(OutputError, match=r"RTSTRUCT\.dcm"):
        export_dicom(case(), out)
    assert [path.name for path in out.iterdir()] == ["RTSTRUCT.dcm"]
    export_dicom(case(), out, force=True)
    # a second export replaces the first, its own
    export_dicom(case(), out, plan=PLAN)
    assert (out / "RTPLAN.dcm").exists()


def test_what_cannot_be_exported_says_why(tmp_path):
    with pytest.raises(PlanError, match="give the plan"):
        export_dicom(case(), tmp_path / "out", doses=doses())
    with pytest.raises(PlanError, match="no CT to refer to"):
        export_dicom(case(), tmp_path / "out", options=DicomOptions(with_ct=False))
    long = replace(case(), structures=(Structure("S" * 65, structures()[1].mask, AXIAL),))
    with pytest.raises(PlanError, match="65 characters"):
        export_dicom(long, tmp_path / "out")
    one = doses()[0]
    with pytest.raises(PlanError, match="names of letters"):
        export_dicom(case(), tmp_path / "out", plan=PLAN, doses=[replace(one, name="../RTDOSE")])
    with pytest.raises(EvaluationError, match="negative"):
        DoseToExport(one.dose_Gy - 1.0, one.grid)
    with pytest.raises(EvaluationError, match="needs a comment"):
        DoseToExport(one.dose_Gy, one.grid, "EFFECTIVE")
    assert list(tmp_path.iterdir()) == []


def test_empty_structures_keep_their_names(tmp_path):
    empty = Structure("GTV", np.zeros(SHAPE, bool), AXIAL, "GTV")
    export = export_dicom(replace(case(), structures=(empty, structures()[1])), tmp_path / "out")
    assert export.notes == ("GTV is empty; it is exported without contours.",)
    dataset = pydicom.dcmread(tmp_path / "out" / "RTSTRUCT.dcm")
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["GTV", "PTV"]
    none = export_dicom(replace(case(), structures=()), tmp_path / "none")
    assert none.notes == ("The case has no structures; there is no structure set.",)
    assert all(path.name.startswith("CT_") for path in none.files)


def test_density_overrides_are_told(tmp_path):
    export_dicom(case(density_overrides_g_cm3={"PTV": 1.05}), tmp_path / "out")
    dataset = pydicom.dcmread(tmp_path / "out" / "RTSTRUCT.dcm")
    told = {
        item.ReferencedROINumber: [
            (p.ROIPhysicalProperty, float(p.ROIPhysicalPropertyValue)) for p in item.ROIPhysicalPropertiesSequence
        ]
        for item in dataset.RTROIObservationsSequence
        if "ROIPhysicalPropertiesSequence" in item
    }
    assert told == {2: [("REL_MASS_DENSITY", 1.05)]}
    read = read_case(tmp_path / "out")
    assert read.density_overrides_g_cm3 == {"PTV": 1.05}
    assert any("PTV: its mass density is 1.05 g/cm3" in note for note in read.notes)


def test_properties_that_are_no_mass_densities_are_told_and_not_used(tmp_path):
    export_dicom(case(density_overrides_g_cm3={"PTV": 1.05}), tmp_path / "out")
    path = tmp_path / "out" / "RTSTRUCT.dcm"
    dataset = pydicom.dcmread(path)
    item = dataset.RTROIObservationsSequence[1].ROIPhysicalPropertiesSequence[0]
    item.ROIPhysicalProperty = "REL_ELEC_DENSITY"
    dataset.save_as(path)
    read = read_case(tmp_path / "out")
    assert read.density_overrides_g_cm3 == {}
    assert any("REL_ELEC_DENSITY 1.05, which is not used" in note for note in read.notes)
    item.ROIPhysicalProperty, item.ROIPhysicalPropertyValue = "REL_MASS_DENSITY", "-1"
    dataset.save_as(path)
    with pytest.raises(CaseError, match=r"RTSTRUCT\.dcm, PTV: ROIPhysicalPropertyValue"):
        read_case(tmp_path / "out")


@pytest.mark.parametrize("position", ["HFP", "FFS", "FFP"])
def test_patients_who_lie_otherwise(tmp_path, position):
    rows = {"HFP": (-1.0, 0, 0, 0, -1.0, 0), "FFS": (-1.0, 0, 0, 0, 1.0, 0), "FFP": (1.0, 0, 0, 0, -1.0, 0)}[position]

    def edit(k, dataset) -> None:
        dataset.PatientPosition = position

    ct = synthetic_ct((8, 30, 30), orientation=rows, origin_LPS_mm=(30.0, 25.0, 40.0), edit=edit)
    ct.write(tmp_path / "in")
    first = read_case(tmp_path / "in")
    mask = np.zeros(first.grid.shape, bool)
    mask[2:5, 4:12, 6:20] = True
    mask[3, 7:9, 8:12] = False
    drawn = replace(first, structures=(Structure("PTV", mask, first.grid, "PTV"),))
    # on the images it came from
    export_dicom(drawn, tmp_path / "structures")
    (tmp_path / "in" / "rs.dcm").write_bytes((tmp_path / "structures" / "RTSTRUCT.dcm").read_bytes())
    np.testing.assert_array_equal(read_case(tmp_path / "in").structure("PTV").mask, mask)
    # and on new ones, in their own order
    export_dicom(drawn, tmp_path / "with", options=DicomOptions(with_ct=True))
    read = read_case(tmp_path / "with")
    assert read.patient_position == position
    i, j, k = np.moveaxis(np.rint(first.grid.ras_to_index(read.grid.centres_RAS_mm())).astype(int), -1, 0)
    np.testing.assert_array_equal(read.hu, first.hu[k, j, i])
    np.testing.assert_array_equal(read.structure("PTV").mask, mask[k, j, i])


def test_long_contours_fit(tmp_path):
    # a comb: more points than 64 kB of explicit VR hold
    mask = np.zeros((2, 300, 500), bool)
    mask[:, 10, 1:499] = True
    mask[:, 10:290, 1:499:2] = True
    grid = Grid.from_spacing(mask.shape, 0.7, (100.123, 100.456, 0.789), np.diag((-1.0, -1.0, 1.0)))
    comb = Case("comb", np.zeros(mask.shape, np.int16), grid, (Structure("Comb", mask, grid),))
    export_dicom(comb, tmp_path / "out")
    dataset = pydicom.dcmread(tmp_path / "out" / "RTSTRUCT.dcm")
    assert len(bytes(str(dataset.ROIContourSequence[0].ContourSequence[0].ContourData), "ascii")) > 2**16 / 2
    np.testing.assert_array_equal(read_case(tmp_path / "out").structures[0].mask, mask)


# Checked by others


@pytest.fixture
def checkers() -> None:
    if not have_checkers():
        missing("dciodvfy and dcentvfy are missing; install dicom3tools (apt install dicom3tools).")


def test_dicom3tools_finds_every_object_and_the_set_right(tmp_path, checkers):
    export = export_dicom(case(), tmp_path / "out", plan=PLAN, doses=doses())
    for path in [*export.files[:1], *(path for path in export.files if path.name.startswith("RT"))]:
        assert iod_complaints(path, tmp_path) == [], path.name
    assert set_complaints(export.files, tmp_path) == []


def test_dicom3tools_finds_objects_of_a_case_from_dicom_right(tmp_path, checkers):
    read = from_dicom(tmp_path / "in")
    export = export_dicom(read, tmp_path / "out", plan=PLAN, doses=doses(read.grid.with_spacing(4.0)))
    for path in export.files:
        assert iod_complaints(path, tmp_path) == [], path.name
    originals = sorted((tmp_path / "in").glob("ct*.dcm"))
    assert set_complaints([*export.files, *originals], tmp_path) == []
    with_ct = export_dicom(read, tmp_path / "with", options=DicomOptions(with_ct=True)).files
    assert iod_complaints(with_ct[0], tmp_path) == []
    assert set_complaints([*with_ct, *originals], tmp_path) == []


def test_the_checkers_see_what_is_wrong(tmp_path, checkers):
    export = export_dicom(case(), tmp_path / "out")
    path = tmp_path / "out" / "RTSTRUCT.dcm"
    dataset = pydicom.dcmread(path)
    dataset.PatientID = "ANOTHER"
    del dataset.StructureSetLabel
    dataset.save_as(path)
    assert any("StructureSetLabel" in line for line in iod_complaints(path, tmp_path))
    assert any("PatientID" in line for line in set_complaints(export.files, tmp_path))


def test_points_of_the_body_lie_where_the_voxels_are(tmp_path):
    export_dicom(case(), tmp_path / "out")
    dataset = pydicom.dcmread(tmp_path / "out" / "RTSTRUCT.dcm")
    points = np.concatenate(
        [np.array(c.ContourData, float).reshape(-1, 3) for c in dataset.ROIContourSequence[1].ContourSequence]
    )
    index = AXIAL.ras_to_index(ras_from_lps(points))
    k, j, i = np.nonzero(structures()[1].mask)
    for axis, used in enumerate((i, j, k)):
        reach = 0.75 if axis < 2 else 1e-6
        assert used.min() - reach < index[:, axis].min() <= index[:, axis].max() < used.max() + reach
