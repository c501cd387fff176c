"""Synthetic DICOM for tests: small CT series and structure sets, written with pydicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*words: object) -> str:
    """Return the same UID for the same words."""
    return generate_uid(prefix="1.2.826.0.1.3680043.8.498.", entropy_srcs=[str(word) for word in words])


STUDY, FRAME, SERIES = uid("study"), uid("frame"), uid("series")


def _new(sop_class: str, instance: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = instance
    dataset.Modality = modality
    dataset.PatientName = "Phantom^Test"
    dataset.PatientID = "PHANTOM"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20240101", "120000", "1"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    return dataset


def ds(number: float) -> str:
    """Write a number as a decimal string of at most 16 characters."""
    return f"{number:.9f}"[:16] if abs(number) < 1e5 else f"{number:.8e}"[:16]


@dataclass
class SyntheticCt:
    """A CT series to be written; change ``slices`` (data sets in ascending order) before ``write``."""

    slices: list[FileDataset]
    stored: np.ndarray

    def write(self, folder: Path, names: Sequence[str] | None = None) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for k, dataset in enumerate(self.slices):
            path = folder / (names[k] if names else f"ct_{k:03d}.dcm")
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths


def synthetic_ct(
    shape: tuple[int, int, int] = (6, 24, 32),
    *,
    orientation: Sequence[float] = AXIAL,
    origin_LPS_mm: Sequence[float] = (-40.0, -30.0, 10.0),
    pixel_spacing_mm: tuple[float, float] = (2.5, 2.0),
    slice_spacing_mm: float = 3.0,
    series: str = SERIES,
    study: str = STUDY,
    frame: str = FRAME,
    description: str = "synthetic",
    signed: bool = False,
    slope: float = 1.0,
    intercept: float = -1024.0,
    seed: int = 0,
    edit: Callable[[int, FileDataset], None] | None = None,
) -> SyntheticCt:
    """Make a CT with random pixels; ``pixel_spacing_mm`` is (row spacing, column spacing) as in DICOM."""
    slices, rows, columns = shape
    generator = np.random.default_rng(seed)
    low, high = (-900, 1000) if signed else (0, 3000)
    stored = generator.integers(low, high, size=shape).astype(np.int16 if signed else np.uint16)
    normal = np.cross(orientation[:3], orientation[3:])
    made = []
    for k in range(slices):
        dataset = _new(CTImageStorage, uid(series, k), "CT")
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.SeriesDescription = description
        dataset.PatientPosition = "HFS"
        dataset.ImageOrientationPatient = [ds(x) for x in orientation]
        dataset.ImagePositionPatient = [ds(x) for x in np.asarray(origin_LPS_mm) + k * slice_spacing_mm * normal]
        dataset.PixelSpacing = [ds(x) for x in pixel_spacing_mm]
        dataset.SliceThickness = ds(slice_spacing_mm)
        dataset.Rows, dataset.Columns = rows, columns
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = int(signed)
        dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope), ds(intercept)
        dataset.PixelData = stored[k].tobytes()
        if edit is not None:
            edit(k, dataset)
        made.append(dataset)
    return SyntheticCt(made, stored)


@dataclass
class Roi:
    """A region of interest: contours are lists of LPS points (n, 3)."""

    name: str
    contours: list[np.ndarray] = field(default_factory=list)
    kind: str = "ORGAN"
    geometric_type: str = "CLOSED_PLANAR"
    color: tuple[int, int, int] | None = (255, 0, 0)
    images: list[str] | None = None


def synthetic_structure_set(
    rois: Sequence[Roi],
    ct: SyntheticCt | None = None,
    *,
    frame: str = FRAME,
    study: str = STUDY,
    instance: str | None = None,
    label: str = "TEST",
    referenced_series: str | None = SERIES,
) -> FileDataset:
    """Make a structure set; with ``ct`` it lists that CT's images."""
    dataset = _new(RTStructureSetStorage, instance or uid("rtstruct"), "RTSTRUCT")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, uid("rtstruct series", instance)
    dataset.StructureSetLabel = label
    if referenced_series is not None:
        series = Dataset()
        series.SeriesInstanceUID = referenced_series
        series.ContourImageSequence = Items([_image(s.SOPInstanceUID) for s in (ct.slices if ct else ())])
        study_item = Dataset()
        study_item.ReferencedSOPInstanceUID = study
        study_item.RTReferencedSeriesSequence = Items([series])
        frame_item = Dataset()
        frame_item.FrameOfReferenceUID = frame
        frame_item.RTReferencedStudySequence = Items([study_item])
        dataset.ReferencedFrameOfReferenceSequence = Items([frame_item])
    dataset.StructureSetROISequence = Items([])
    dataset.ROIContourSequence = Items([])
    dataset.RTROIObservationsSequence = Items([])
    for number, roi in enumerate(rois, start=1):
        item = Dataset()
        item.ROINumber = number
        item.ReferencedFrameOfReferenceUID = frame
        item.ROIName = roi.name
        dataset.StructureSetROISequence.append(item)
        drawn = Dataset()
        if roi.color is not None:
            drawn.ROIDisplayColor = list(roi.color)
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = Items([])
        for place, points in enumerate(roi.contours):
            contour = Dataset()
            if roi.images is not None:
                contour.ContourImageSequence = Items([_image(roi.images[place])])
            contour.ContourGeometricType = roi.geometric_type
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [ds(x) for x in np.asarray(points, float).ravel()]
            drawn.ContourSequence.append(contour)
        dataset.ROIContourSequence.append(drawn)
        seen = Dataset()
        seen.ObservationNumber = seen.ReferencedROINumber = number
        seen.RTROIInterpretedType = roi.kind
        dataset.RTROIObservationsSequence.append(seen)
    return dataset


def _image(instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = CTImageStorage
    item.ReferencedSOPInstanceUID = instance
    return item


def write(dataset: FileDataset, path: Path) -> Path:
    """Write a data set as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def rectangle(x: tuple[float, float], y: tuple[float, float], z: float) -> np.ndarray:
    """LPS corners of an axial rectangle."""
    return np.array([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)])
