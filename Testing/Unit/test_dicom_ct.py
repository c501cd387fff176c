"""A CT series from DICOM: placement, CT numbers, and every kind of series that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import AXIAL, SyntheticCt, ds, synthetic_ct, uid
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import EnhancedCTImageStorage, JPEGLosslessSV1, RLELossless, SecondaryCaptureImageStorage
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import Cancelled, CaseError
from RTPlanningLib.dicom import read_ct_series


def refused(ct: SyntheticCt, folder: Path, message: str, **options: str) -> str:
    paths = ct.write(folder)
    with pytest.raises(CaseError, match=message) as caught:
        read_ct_series(paths, **options)
    return str(caught.value)


def test_numbers_and_identity(tmp_path: Path) -> None:
    made = synthetic_ct()
    ct = read_ct_series(made.write(tmp_path))
    assert ct.hu.dtype == np.int16
    assert np.array_equal(ct.hu, made.stored.astype(int) - 1024)
    assert ct.grid.shape == (6, 24, 32)
    # PixelSpacing is (row spacing, column spacing): i steps by the column spacing
    assert ct.grid.spacing_mm == pytest.approx((2.0, 2.5, 3.0))
    assert ct.grid.origin_RAS_mm == pytest.approx((40.0, 30.0, 10.0))
    assert ct.patient_position == "HFS"
    assert ct.sop_instance_uids == tuple(s.SOPInstanceUID for s in made.slices)
    assert (ct.patient_id, ct.patient_name, ct.description) == ("PHANTOM", "Phantom^Test", "synthetic")
    assert ct.notes == ()


@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.tuples(*[st.floats(0.3, 3)] * 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_any_oblique_ct_is_placed_by_dicoms_own_formula(tmp_path_factory, angles, origin, spacing, random) -> None:
    turn = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    made = synthetic_ct(
        (5, 12, 14),
        orientation=[*turn[:, 0], *turn[:, 1]],
        origin_LPS_mm=origin,
        pixel_spacing_mm=spacing[:2],
        slice_spacing_mm=spacing[2],
    )
    paths = made.write(tmp_path_factory.mktemp("ct"))
    random.shuffle(paths)
    ct = read_ct_series(paths)
    for k, dataset in enumerate(made.slices):
        # PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, read straight off the data set
        position = np.array(dataset.ImagePositionPatient, float)
        along_row = np.array(dataset.ImageOrientationPatient[:3], float)
        along_column = np.array(dataset.ImageOrientationPatient[3:], float)
        row_spacing, column_spacing = (float(x) for x in dataset.PixelSpacing)
        for j, i in ((0, 0), (11, 0), (0, 13), (7, 5)):
            lps = position + along_row * column_spacing * i + along_column * row_spacing * j
            assert np.abs(ct.grid.index_to_ras((i, j, k)) * (-1, -1, 1) - lps).max() < 0.01
            assert ct.hu[k, j, i] == int(made.stored[k, j, i]) - 1024


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    made = synthetic_ct()
    first = read_ct_series(made.write(tmp_path / "a"))
    second = read_ct_series(made.write(tmp_path / "b", names=["e", "b", "f", "a", "d", "c"])[::-1])
    assert np.array_equal(first.hu, second.hu)
    assert first.grid.is_same_as(second.grid, 1e-9)
    assert first.sop_instance_uids == second.sop_instance_uids


def test_feet_first_slices_ascend_along_row_x_column(tmp_path: Path) -> None:
    made = synthetic_ct(orientation=(-1, 0, 0, 0, 1, 0), edit=lambda k, d: setattr(d, "PatientPosition", "FFS"))
    ct = read_ct_series(made.write(tmp_path))
    assert ct.grid.directions[:, 2] == pytest.approx((0, 0, -1))
    assert np.array_equal(ct.hu, made.stored.astype(int) - 1024)
    assert ct.patient_position == "FFS"


def test_signed_pixels(tmp_path: Path) -> None:
    made = synthetic_ct(signed=True, intercept=0.0)
    assert np.array_equal(read_ct_series(made.write(tmp_path)).hu, made.stored)


def test_fractional_slope_gives_float(tmp_path: Path) -> None:
    made = synthetic_ct(slope=0.5, intercept=-1000.25)
    ct = read_ct_series(made.write(tmp_path))
    assert ct.hu.dtype == np.float32
    assert np.allclose(ct.hu, made.stored * 0.5 - 1000.25)


def test_each_slice_is_rescaled_with_its_own_slope(tmp_path: Path) -> None:
    made = synthetic_ct(edit=lambda k, d: setattr(d, "RescaleIntercept", "-1000") if k == 2 else None)
    ct = read_ct_series(made.write(tmp_path))
    assert np.array_equal(ct.hu[2], made.stored[2].astype(int) - 1000)
    assert np.array_equal(ct.hu[3], made.stored[3].astype(int) - 1024)
    assert "each slice was converted with its own" in ct.notes[0]


def test_monochrome1_has_the_same_ct_numbers(tmp_path: Path) -> None:
    made = synthetic_ct(edit=lambda k, d: setattr(d, "PhotometricInterpretation", "MONOCHROME1"))
    assert np.array_equal(read_ct_series(made.write(tmp_path)).hu, made.stored.astype(int) - 1024)


def test_compressed_pixels_are_decoded(tmp_path: Path) -> None:
    made = synthetic_ct()
    for dataset in made.slices:
        dataset.compress(RLELossless, generate_instance_uid=False)
    assert np.array_equal(read_ct_series(made.write(tmp_path)).hu, made.stored.astype(int) - 1024)


def test_padding_becomes_air_and_is_noted(tmp_path: Path) -> None:
    def pad(k: int, dataset: FileDataset) -> None:
        dataset.PixelPaddingValue = -2000
        pixels = np.frombuffer(dataset.PixelData, np.int16).copy()
        pixels[:5] = -2000
        dataset.PixelData = pixels.tobytes()

    ct = read_ct_series(synthetic_ct(signed=True, intercept=0.0, edit=pad).write(tmp_path))
    assert (ct.hu[:, 0, :5] == -1024).all()
    assert ct.hu.min() >= -1024
    assert "padding pixels" in ct.notes[0]


def test_missing_slices_say_between_which_positions(tmp_path: Path) -> None:
    ct = synthetic_ct((9, 4, 5))
    del ct.slices[6], ct.slices[3]
    text = refused(ct, tmp_path, "Missing slices")
    assert "lacks 2 slices" in text
    assert "1 between 16.00 and 22.00 mm" in text
    assert "1 between 25.00 and 31.00 mm" in text
    assert "Export the whole series" in text


def test_a_copy_of_a_slice_is_harmless_and_noted(tmp_path: Path) -> None:
    paths = synthetic_ct().write(tmp_path)
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(paths[2].read_bytes())
    ct = read_ct_series([*paths, copy])
    assert ct.grid.shape[0] == 6
    assert "Copies of other slices were left out (1): ct_002.dcm" in ct.notes[0]


def test_the_same_uid_with_another_image_is_refused(tmp_path: Path) -> None:
    ct = synthetic_ct()
    ct.slices[3].SOPInstanceUID = ct.slices[2].SOPInstanceUID
    refused(ct, tmp_path, "Two different images have the same SOP Instance UID")


def test_different_images_at_one_position_are_refused(tmp_path: Path) -> None:
    ct = synthetic_ct()
    ct.slices[3].ImagePositionPatient = ct.slices[2].ImagePositionPatient
    text = refused(ct, tmp_path, "Duplicate slices")
    assert "ct_002.dcm and ct_003.dcm" in text
    assert "4D CT" in text


def test_gantry_tilt_by_tag_and_by_positions(tmp_path: Path) -> None:
    tagged = synthetic_ct(edit=lambda k, d: setattr(d, "GantryDetectorTilt", "10"))
    assert "Resample" in refused(tagged, tmp_path / "tag", "gantry tilt of 10 degrees")

    def lean(k: int, dataset: FileDataset) -> None:
        dataset.ImagePositionPatient = [ds(x) for x in (-40.0, -30.0 + 0.5 * k, 10.0 + 3.0 * k)]

    sheared = synthetic_ct(edit=lean)
    assert "9.46 degrees" in refused(sheared, tmp_path / "positions", "gantry tilt")


def test_one_slice_shifted_sideways(tmp_path: Path) -> None:
    ct = synthetic_ct()
    ct.slices[2].ImagePositionPatient = [ds(x) for x in (-39.0, -30.0, 16.0)]
    assert "1.00 mm" in refused(ct, tmp_path, "ct_002.dcm is shifted sideways")


def test_non_uniform_spacing(tmp_path: Path) -> None:
    ct = synthetic_ct()
    ct.slices[3].ImagePositionPatient = [ds(x) for x in (-40.0, -30.0, 19.7)]
    text = refused(ct, tmp_path, "Non-uniform slice spacing: from 2.300 to 3.700 mm")
    assert "ct_002.dcm and ct_003.dcm" in text or "ct_003.dcm and ct_004.dcm" in text


def test_rounded_positions_are_accepted(tmp_path: Path) -> None:
    ct = synthetic_ct(slice_spacing_mm=1.0 / 3.0)
    for k, dataset in enumerate(ct.slices):
        dataset.ImagePositionPatient = ["-40", "-30", f"{10 + k / 3:.2f}"]
    assert read_ct_series(ct.write(tmp_path)).grid.spacing_mm[2] == pytest.approx(1 / 3, abs=0.003)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("PixelSpacing", ["2.5", "2.1"], "differ in pixel spacing"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], "differ in orientation"),
        ("FrameOfReferenceUID", uid("another frame"), "differ in frame of reference"),
        ("SeriesInstanceUID", uid("another series"), "differ in series"),
        ("StudyInstanceUID", uid("another study"), "differ in study"),
        ("PatientID", "SOMEONE", "differ in patient"),
        ("PatientPosition", "FFS", "differ in patient position"),
    ],
)
def test_slices_that_differ_are_refused(tmp_path: Path, keyword: str, value: object, message: str) -> None:
    ct = synthetic_ct()
    setattr(ct.slices[4], keyword, value)
    assert "ct_004.dcm" in refused(ct, tmp_path, message)


def test_slices_of_another_size_are_refused(tmp_path: Path) -> None:
    ct = synthetic_ct()
    ct.slices[4].Rows, ct.slices[4].Columns = 32, 24
    assert "32 x 24" in refused(ct, tmp_path, "differ in size")


def test_a_single_slice_and_no_slice(tmp_path: Path) -> None:
    ct = synthetic_ct()
    ct.slices = ct.slices[:1]
    assert "Export the whole series" in refused(ct, tmp_path, "has 1 slice")
    with pytest.raises(CaseError, match="no file was given"):
        read_ct_series([])


@pytest.mark.parametrize("position", ["HFDR", "FFDL", "SITTING"])
def test_unsupported_patient_positions(tmp_path: Path, position: str) -> None:
    ct = synthetic_ct(edit=lambda k, d: setattr(d, "PatientPosition", position))
    assert "HFS, HFP, FFS, FFP" in refused(ct, tmp_path, f"Patient position {position} of ct_000.dcm is not supported")


def test_missing_patient_position_can_be_given(tmp_path: Path) -> None:
    ct = synthetic_ct(edit=lambda k, d: delattr(d, "PatientPosition"))
    assert "patient_position=" in refused(ct, tmp_path, r"PatientPosition \(0018,5100\) is missing")
    paths = sorted(tmp_path.iterdir())
    assert read_ct_series(paths, patient_position="FFP").patient_position == "FFP"
    with pytest.raises(CaseError, match="'supine' is not supported"):
        read_ct_series(paths, patient_position="supine")


def test_overriding_the_patient_position_is_noted(tmp_path: Path) -> None:
    ct = read_ct_series(synthetic_ct().write(tmp_path), patient_position="HFP")
    assert ct.patient_position == "HFP"
    assert "says patient position HFS; HFP was used" in ct.notes[0]


def test_multi_frame_ct_is_refused(tmp_path: Path) -> None:
    enhanced = synthetic_ct(edit=lambda k, d: setattr(d, "SOPClassUID", EnhancedCTImageStorage))
    assert "Convert it to single-frame" in refused(enhanced, tmp_path / "a", "multi-frame")
    frames = synthetic_ct(edit=lambda k, d: setattr(d, "NumberOfFrames", 2))
    refused(frames, tmp_path / "b", "multi-frame")


def test_other_images_are_refused(tmp_path: Path) -> None:
    capture = synthetic_ct(edit=lambda k, d: setattr(d, "SOPClassUID", SecondaryCaptureImageStorage))
    refused(capture, tmp_path / "a", "is not a CT image")
    color = synthetic_ct(edit=lambda k, d: setattr(d, "PhotometricInterpretation", "RGB"))
    refused(color, tmp_path / "b", "colour capture")
    density = synthetic_ct(edit=lambda k, d: setattr(d, "RescaleType", "ED"))
    refused(density, tmp_path / "c", "not CT numbers in HU")


def test_localizers_are_left_out_and_noted(tmp_path: Path) -> None:
    def scout(k: int, dataset: FileDataset) -> None:
        if k == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    ct = read_ct_series(synthetic_ct(edit=scout).write(tmp_path))
    assert ct.grid.shape[0] == 5
    assert "Localizer" in ct.notes[0]


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("ImagePositionPatient", "0020,0032"),
        ("ImageOrientationPatient", "0020,0037"),
        ("PixelSpacing", "0028,0030"),
        ("RescaleSlope", "0028,1053"),
        ("RescaleIntercept", "0028,1052"),
        ("FrameOfReferenceUID", "0020,0052"),
        ("StudyInstanceUID", "0020,000D"),
        ("SOPInstanceUID", "0008,0018"),
        ("Rows", "0028,0010"),
        ("PixelRepresentation", "0028,0103"),
        ("PixelData", "7FE0,0010"),
    ],
)
def test_missing_tags_are_named_with_the_file(tmp_path: Path, keyword: str, tag: str) -> None:
    ct = synthetic_ct()
    delattr(ct.slices[4], keyword)
    text = refused(ct, tmp_path, rf"{keyword} \({tag}\) is missing")
    assert "ct_004.dcm" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"-40.000000000\\-30.000000000\\22.000000000 ", b"NaN".ljust(13) + b"\\-30.000000000\\22.000000000 ", "NaN"),
        (b"2.500000000\\2.000000000 ", b"0.000000000\\2.000000000 ", "must be positive"),
        (b"2.500000000\\2.000000000 ", b"2.500000000 2.000000000 ", "PixelSpacing"),
        (b"1.000000000\\0.000000000\\0.000000000\\0.0", b"1.000000000\\0.000000000\\0.000000000\\0.5", "perpendicular"),
    ],
)
def test_malformed_numbers_are_named_with_the_file(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    paths = synthetic_ct().write(tmp_path)
    content = paths[4].read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    paths[4].write_bytes(content.replace(old, new))
    with pytest.raises(CaseError, match=message) as caught:
        read_ct_series(paths)
    assert "ct_004.dcm" in str(caught.value)


@pytest.fixture(scope="module")
def six_slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synthetic_ct((6, 5, 6)).write(tmp_path_factory.mktemp("whole"))


@given(share=st.floats(0.0, 0.9999))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, six_slices: list[Path], share: float) -> None:
    content = six_slices[2].read_bytes()
    cut = tmp_path_factory.mktemp("cut") / "cut.dcm"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CaseError, match=r"cut\.dcm"):
        read_ct_series([*six_slices[:2], cut, *six_slices[3:]])


def test_slices_that_are_thin_for_their_spacing_are_noted(tmp_path: Path) -> None:
    ct = synthetic_ct(edit=lambda k, d: setattr(d, "SliceThickness", "1.5"))
    assert "3.00 mm apart but 1.50 mm thick" in read_ct_series(ct.write(tmp_path)).notes[0]


def test_progress_may_cancel(tmp_path: Path) -> None:
    def stop(fraction: float, text: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        read_ct_series(synthetic_ct(orientation=AXIAL).write(tmp_path), progress=stop)


def test_pixels_that_cannot_be_decoded_say_what_to_install(tmp_path: Path) -> None:
    ct = synthetic_ct()
    for dataset in ct.slices:
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.PixelData = encapsulate([b"not a JPEG stream "])
    text = refused(ct, tmp_path, "pixels cannot be decoded")
    assert "JPEG Lossless" in text
    assert "export without compression" in text
