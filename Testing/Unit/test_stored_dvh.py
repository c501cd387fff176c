"""DVHs stored in an RT Dose: read, named, left out with the reason, and set beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import Roi, rectangle, synthetic_ct, synthetic_structure_set, uid, write
from pydicom.dataset import Dataset
from test_rt_dose import rt_dose

from DoseEngineLib.dvh import Dvh
from RTPlanningLib.dicom.stored_dvh import StoredDvh, read_stored_dvhs
from RTPlanningLib.evaluation.stored_dvh_comparison import compare_with_stored

WIDTH_GY = 0.1
VOLUME = np.array([8.0, 8.0, 6.0, 4.0, 2.0, 0.0])


def stored(number: int = 1, **tags) -> Dataset:
    """A DVH that falls from 8 cm3 in steps of 0.1 Gy."""
    entry, roi = Dataset(), Dataset()
    roi.ReferencedROINumber = number
    entry.DVHType, entry.DoseUnits, entry.DoseType = "CUMULATIVE", "GY", "PHYSICAL"
    entry.DVHDoseScaling, entry.DVHVolumeUnits, entry.DVHNumberOfBins = "1", "CM3", len(VOLUME)
    entry.DVHData = [f"{n:g}" for pair in zip([WIDTH_GY] * len(VOLUME), VOLUME) for n in pair]
    entry.DVHReferencedROISequence = [roi]
    for name, value in tags.items():
        setattr(entry, name, value)
    return entry


@pytest.fixture
def read(tmp_path):
    """Write a dose with these DVHs beside a structure set of Heart and Cord, and read them."""
    ct = synthetic_ct()
    x, y, z = (float(n) for n in ct.slices[1].ImagePositionPatient)
    rois = [Roi(name, [rectangle((x + 4, x + 9), (y + 4, y + 9), z)]) for name in ("Heart", "Cord")]
    structure_set = synthetic_structure_set(rois, ct)
    numbers = [int(roi.ROINumber) for roi in structure_set.StructureSetROISequence]
    names = write(structure_set, tmp_path / "rs.dcm")

    def reading(*entries: Dataset, belongs: str | None = None) -> tuple[dict[str, StoredDvh], tuple[str, ...]]:
        for entry in entries:
            number = entry.DVHReferencedROISequence[0].ReferencedROINumber
            entry.DVHReferencedROISequence[0].ReferencedROINumber = numbers[number - 1] if number < 3 else number
        reference = Dataset()
        reference.ReferencedSOPInstanceUID = belongs or structure_set.SOPInstanceUID
        dose = rt_dose(DVHSequence=list(entries), ReferencedStructureSetSequence=[reference])
        return read_stored_dvhs(write(dose, Path(tmp_path) / "rd.dcm"), names)

    return reading


def test_curves_are_read_at_the_middle_of_their_bins(read):
    found, notes = read(stored(1), stored(2, DVHDoseScaling="2", DVHVolumeUnits="PERCENT"))
    assert notes == ()
    heart, cord = found["Heart"], found["Cord"]
    np.testing.assert_allclose(heart.dose_Gy, WIDTH_GY * (np.arange(len(VOLUME)) + 0.5))
    np.testing.assert_allclose(heart.volume_percent, VOLUME / 8.0 * 100.0)
    assert heart.volume_cm3 == 8.0
    # 8 cm3 up to 0.15 Gy, then a straight line to nothing at 0.55 Gy
    assert heart.mean_Gy == pytest.approx(0.15 + 0.5 * 0.4)
    assert heart.dose_at_volume_percent(50.0) == pytest.approx(0.35)
    assert cord.volume_cm3 is None
    np.testing.assert_allclose(cord.volume_percent, VOLUME)
    np.testing.assert_allclose(cord.dose_Gy, 2.0 * heart.dose_Gy)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"DVHType": "DIFFERENTIAL"}, "its DVHType is DIFFERENTIAL"),
        ({"DoseUnits": "RELATIVE"}, "its DoseUnits is RELATIVE"),
        ({"DoseType": "EFFECTIVE"}, "its DoseType is EFFECTIVE"),
        ({"DVHVolumeUnits": "PER_U"}, "its volumes are in PER_U"),
        ({"DVHData": ["0.1", "8", "0.1"]}, "its bins are not complete"),
        ({"DVHData": ["0.1", "4", "0.1", "8"]}, "it does not fall with dose"),
        ({"DVHDoseScaling": "0"}, "its bins are not complete"),
    ],
)
def test_what_cannot_be_compared_is_left_out_and_said(read, tags, reason):
    found, notes = read(stored(1, **tags), stored(2))
    assert list(found) == ["Cord"]
    assert len(notes) == 1
    assert notes[0].startswith("The DVH of Heart in rd.dcm was left out")
    assert reason in notes[0]


def test_curves_of_nobody_or_of_another_structure_set(read):
    found, notes = read(stored(77))
    assert found == {}
    assert "ROI 77 in rd.dcm was left out: not of one structure with a name" in notes[0]
    found, notes = read(stored(1), belongs=uid("another"))
    assert found == {}
    assert "of another structure set" in notes[0]
    assert read() == ({}, ())


def test_a_curve_agrees_with_itself_and_not_with_one_elsewhere():
    samples = np.linspace(10.0, 50.0, 200_001)
    dose = np.arange(0.05, 60.0, 0.1)
    percent = 100.0 * np.clip((50.0 - dose) / 40.0, 0.0, 1.0)
    same = compare_with_stored(Dvh("Ramp", 30.0, samples), StoredDvh(dose, percent, 30.0), 60.0)
    assert same.agreement_percent == 100.0
    assert (same.mean_Gy, same.stored_mean_Gy) == pytest.approx((30.0, 30.0), rel=1e-4)
    assert (same.D2_Gy, same.stored_D2_Gy) == pytest.approx((49.2, 49.2), rel=1e-4)
    assert (same.D98_Gy, same.stored_D98_Gy) == pytest.approx((10.8, 10.8), rel=1e-4)
    # 1 Gy higher: 1.67 times the reach in dose, or 2.5 % of the volume; the flat ends agree, up to 1 % below the first
    other = compare_with_stored(Dvh("Ramp", 30.0, samples + 1.0), StoredDvh(dose, percent, 30.0), 60.0)
    on_the_slope = (dose > 10.4) & (dose < 50.3)
    assert other.agreement_percent == pytest.approx(100.0 * (1.0 - np.mean(on_the_slope)), abs=1.0)
