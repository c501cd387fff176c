"""Doses from DICOM RT Dose files: values, places, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import FRAME, _new, ds, uid, write
from pydicom.dataset import FileDataset
from pydicom.uid import RTDoseStorage

from DoseEngineLib.errors import CaseError, EvaluationError
from RTPlanningLib.dicom.rt_dose import read_rt_dose

VALUES = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4) * 1000
SCALING = 2e-3


def rt_dose(values: np.ndarray = VALUES, offsets=(0.0, 3.0), **tags) -> FileDataset:
    dataset = _new(RTDoseStorage, uid("dose"), "RTDOSE")
    dataset.FrameOfReferenceUID = FRAME
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelSpacing = [ds(2.0), ds(5.0)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [10, 20, 30]
    dataset.GridFrameOffsetVector = [ds(offset) for offset in offsets]
    dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    dataset.DoseGridScaling = ds(SCALING)
    dataset.PixelData = values.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def read(tmp_path: Path, dataset: FileDataset):
    return read_rt_dose(write(dataset, tmp_path / "dose.dcm"))


def test_doses_lie_where_the_file_says(tmp_path):
    found = read(tmp_path, rt_dose())
    dose = found.dose
    np.testing.assert_allclose(dose.dose_Gy, VALUES * SCALING, rtol=1e-6)
    # voxel (i, j, k) = (2, 1, 1): 2 columns of 5 mm along x, 1 row of 2 mm along y, 1 frame of 3 mm, in LPS
    np.testing.assert_allclose(dose.grid.index_to_ras((2, 1, 1)), (-20.0, -22.0, 33.0))
    assert found.frame_of_reference_uid == FRAME
    assert found.notes == ()
    assert dose.dose_to == "unknown"


def test_frames_may_be_told_by_their_position_and_run_downwards(tmp_path):
    absolute = read(tmp_path, rt_dose(offsets=(30.0, 33.0))).dose
    np.testing.assert_allclose(absolute.grid.index_to_ras((0, 0, 1)), (-10.0, -20.0, 33.0))
    down = read(tmp_path, rt_dose(offsets=(0.0, -3.0))).dose
    np.testing.assert_allclose(down.grid.index_to_ras((0, 0, 1)), (-10.0, -20.0, 27.0))


def test_a_turned_grid_keeps_its_axes(tmp_path):
    found = read(tmp_path, rt_dose(ImageOrientationPatient=[0, 1, 0, 0, 0, 1], GridFrameOffsetVector=[0, 3])).dose
    # rows run along y, columns along z, frames along y x z = x
    np.testing.assert_allclose(found.grid.index_to_ras((1, 0, 0)), (-10.0, -25.0, 30.0))
    np.testing.assert_allclose(found.grid.index_to_ras((0, 0, 1)), (-13.0, -20.0, 30.0))


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"DoseUnits": "RELATIVE"}, "not in Gy"),
        ({"DoseType": "EFFECTIVE"}, "not PHYSICAL"),
        ({"DoseSummationType": "BEAM"}, "not of a whole plan"),
        ({"DoseSummationType": "FRACTION"}, "not of a whole plan"),
        ({"GridFrameOffsetVector": [0, 3, 6]}, "2 frames but 3 frame offsets"),
        ({"GridFrameOffsetVector": [7, 10]}, "neither 0 nor the first"),
        ({"GridFrameOffsetVector": [0, 0]}, "not evenly spaced"),
        ({"DoseGridScaling": "0"}, "DoseGridScaling"),
        ({"DoseGridScaling": None}, "DoseGridScaling"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no pair of axes"),
        ({"PixelSpacing": None}, "Pixel"),
        ({"PixelData": b"\0" * 10}, "cannot be read"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "is CT, not an RT Dose"),
    ],
)
def test_what_could_be_misread_is_refused(tmp_path, tags, text):
    with pytest.raises(CaseError, match=text):
        read(tmp_path, rt_dose(**tags))


def test_uneven_frames_are_refused(tmp_path):
    values = np.zeros((3, 3, 4), np.uint16)
    with pytest.raises(CaseError, match="not evenly spaced"):
        read(tmp_path, rt_dose(values, offsets=(0.0, 3.0, 7.0)))


def test_one_plane_is_no_volume(tmp_path):
    with pytest.raises(CaseError, match="single plane"):
        read(tmp_path, rt_dose(VALUES[:1], offsets=(0.0,)))


def test_negative_doses_are_refused(tmp_path):
    signed = (VALUES.astype(np.int16) - 500).astype(np.int16)
    with pytest.raises(EvaluationError, match="cannot be negative"):
        read(tmp_path, rt_dose(signed, PixelRepresentation=1))


def test_what_the_file_leaves_open_is_noted(tmp_path):
    found = read(tmp_path, rt_dose(DoseType=None, TissueHeterogeneityCorrection="WATER"))
    assert "does not say whether its dose is physical" in found.notes[0]
    assert "in water" in found.notes[1]
