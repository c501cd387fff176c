"""CT images: one file a slice, CT numbers exact where they are whole (DICOM PS3.3 A.3, CT Image IOD)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid, lps_from_ras
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.decimal import decimal_string, decimal_value
from RTPlanningLib.dicom.identity import DicomIdentity, ct_digest, software_version, uid_of

_LEVELS = 65535
# Soft tissue, as CT consoles show it
_WINDOW_HU, _LEVEL_HU = "400", "40"
CT_SERIES_NUMBER = 1


@dataclass(frozen=True, eq=False)
class CtImages:
    """The images that structures and doses of an export refer to: made by us, or those the case came from.

    Attributes
    ----------
    grid : Grid
        Its slices (k) are the images.
    series_instance_uid : str
    sop_class_uid : str
    sop_instance_uids : tuple of str
        One a slice.
    """

    grid: Grid
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]


def original_images(case: Case) -> CtImages | None:
    """Return the images a case was read from; None where it did not come from DICOM."""
    if case.dicom is None or not case.series_instance_uid:
        return None
    return CtImages(case.grid, case.series_instance_uid, case.dicom.ct_sop_class_uid, case.dicom.ct_sop_instance_uids)


def new_images(case: Case) -> CtImages:
    """Lay out a case's CT as images of our own; its grid must be one of `dicom_grid`.

    UIDs follow from what the CT holds: the same CT exported again is the same series.
    """
    made = ct_digest(case), software_version()
    uids = tuple(uid_of("CT image", *made, str(k)) for k in range(case.grid.shape[0]))
    return CtImages(case.grid, uid_of("CT series", *made), str(CTImageStorage), uids)


def ct_datasets(case: Case, images: CtImages, identity: DicomIdentity) -> Iterator[Dataset]:
    """Yield the CT image of every slice, in the order of k.

    Parameters
    ----------
    case : Case
    images : CtImages
        From `new_images`.
    identity : DicomIdentity
    """
    stored, slope, intercept = stored_values(case.hu)
    grid = images.grid
    row, column, normal = lps_from_ras(grid.directions.T)
    for k in range(grid.shape[0]):
        dataset = identity.new_dataset(
            images.sop_class_uid,
            "CT",
            f"CT of {case.name}"[:64],
            sop_instance_uid=images.sop_instance_uids[k],
            series_instance_uid=images.series_instance_uid,
            series_number=CT_SERIES_NUMBER,
        )
        # The same UIDs stand for the same file, whenever it is written.
        for keyword in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime", "OperatorsName"):
            delattr(dataset, keyword)
        identity.add_frame_of_reference(dataset)
        position = lps_from_ras(grid.index_to_ras((0, 0, k)))
        # neither left nor right: only asked for of paired body parts, which an empty value leaves open
        dataset.Laterality = ""
        dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        dataset.PatientPosition = case.patient_position
        dataset.AcquisitionNumber = None
        dataset.InstanceNumber = k + 1
        dataset.KVP = None
        dataset.SliceThickness = decimal_string(grid.spacing_mm[2])
        dataset.ImagePositionPatient = [decimal_string(x) for x in position]
        dataset.ImageOrientationPatient = [decimal_string(x) for x in (*row, *column)]
        dataset.SliceLocation = decimal_string(position @ normal)
        dataset.PixelSpacing = [decimal_string(grid.spacing_mm[1]), decimal_string(grid.spacing_mm[0])]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = grid.shape[1:]
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.RescaleIntercept = decimal_string(intercept)
        dataset.RescaleSlope = decimal_string(slope)
        dataset.RescaleType = "HU"
        dataset.WindowCenter, dataset.WindowWidth = _LEVEL_HU, _WINDOW_HU
        dataset.PixelData = np.ascontiguousarray(stored[k]).astype(stored.dtype.newbyteorder("<")).tobytes()
        dataset["PixelData"].VR = "OW"
        yield dataset


def stored_values(hu: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return 16-bit values with slope and intercept: ``HU = value * slope + intercept``.

    Whole CT numbers stay exact. Others get the finest steps that 16 bits allow over their range.

    Raises
    ------
    CaseError
        NaN or infinite CT numbers.
    """
    if not np.isfinite(hu).all():
        raise CaseError("The CT holds NaN or infinite CT numbers; repair it before exporting.")
    low, high = float(hu.min()), float(hu.max())
    if np.array_equal(hu, np.rint(hu)) and high - low <= _LEVELS:
        limits = np.iinfo(np.int16)
        if limits.min <= low and high <= limits.max:
            return hu.astype(np.int16), 1.0, 0.0
        return (hu - low).astype(np.uint16), 1.0, low
    intercept = decimal_value(low)
    # rounded upwards, so that the largest value still fits
    slope = decimal_value(float(f"{(high - intercept) / _LEVELS * (1.0 + 1e-6):.8g}"))
    return np.rint((hu.astype(np.float64) - intercept) / slope).clip(0, _LEVELS).astype(np.uint16), slope, intercept
