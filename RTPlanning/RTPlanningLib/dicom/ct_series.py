"""A CT series: slices in any order become one array of CT numbers on a `Grid`.

Placement follows DICOM PS3.3 C.7.6.2.1.1: a voxel's position is Image Position plus column index times column spacing
along the row direction, plus row index times row spacing along the column direction.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid, ras_from_lps
from DoseEngineLib.iec61217 import PATIENT_POSITIONS
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.dicom.dataset import number, numbers, read_dataset, required, text, texts
from RTPlanningLib.dicom.source import DicomSource

# Slices may leave an even spacing, or the line along their normal, by this much; the voxels then stay within 0.1 mm.
_POSITION_TOLERANCE_MM = 0.05
_SAME_POSITION_MM = 0.01
_TILT_TOLERANCE_DEG = 0.05
_AIR_HU = -1024
_TEXT = r"[^\\\x00-\x1f\x7f]"
_DATE = r"([0-9]{8})?"
# Attributes of patient and study that objects of the same study repeat: the source's field, and what is well-formed.
_STUDY_KEYWORDS = {
    "PatientBirthDate": ("patient_birth_date", _DATE),
    "PatientSex": ("patient_sex", r"[MFO]?"),
    "StudyDate": ("study_date", _DATE),
    "StudyTime": ("study_time", r"([0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?)?"),
    "StudyID": ("study_id", _TEXT + "{0,16}"),
    "StudyDescription": ("study_description", _TEXT + "{0,64}"),
    "AccessionNumber": ("accession_number", _TEXT + "{0,16}"),
    "ReferringPhysicianName": ("referring_physician_name", _TEXT + "{0,64}"),
    "PositionReferenceIndicator": ("position_reference_indicator", _TEXT + "{0,64}"),
}


@dataclass(frozen=True, eq=False)
class CtSeries:
    """A CT on a grid.

    Attributes
    ----------
    hu : (k, j, i) int16 or float32 array
        CT numbers in HU; int16 wherever they are whole.
    grid : Grid
        i runs along the rows (column index), j down the columns, k along row direction x column direction.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
    series_instance_uid, study_instance_uid, frame_of_reference_uid : str
    sop_instance_uids : tuple of str
        One a slice, in the order of k.
    patient_name, patient_id, description : str
    source : DicomSource, optional
        Images and study, for objects that refer to them.
    notes : tuple of str
        What had to be decided or left out, in words for the user.
    """

    hu: np.ndarray
    grid: Grid
    patient_position: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    sop_instance_uids: tuple[str, ...]
    patient_name: str = ""
    patient_id: str = ""
    description: str = ""
    notes: tuple[str, ...] = ()
    source: DicomSource | None = None


@dataclass(frozen=True, eq=False)
class _Slice:
    path: Path
    sop_instance_uid: str
    position_LPS_mm: np.ndarray
    orientation: np.ndarray
    pixel_spacing_mm: np.ndarray
    shared: dict[str, str]
    patient_position: str
    thickness_mm: float | None
    hu: np.ndarray
    rescale: tuple[float, float]
    remarks: tuple[str, ...]


def read_ct_series(
    files: Sequence[str | os.PathLike], *, patient_position: str | None = None, progress: Progress | None = None
) -> CtSeries:
    """Read the slices of one CT series, given in any order.

    Parameters
    ----------
    files : sequence of paths
    patient_position : {"HFS", "HFP", "FFS", "FFP"}, optional
        Needed where the files do not say it (DICOM type 2C); overrides them where they do, which is noted.
    progress : callable, optional

    Raises
    ------
    CaseError
        Damaged files or missing tags; multi-frame images; a single slice; missing, doubled, tilted or unevenly spaced
        slices; slices that differ in what they must share; a patient position that is unknown or not supported.
    """
    progress = progress or silent
    if not files:
        raise CaseError("A CT series needs at least two slices; no file was given.")
    if patient_position is not None and patient_position not in PATIENT_POSITIONS:
        raise CaseError(
            f"patient_position {patient_position!r} is not supported; use one of {', '.join(PATIENT_POSITIONS)}."
        )
    notes: list[str] = []
    slices: dict[str, _Slice] = {}
    localizers = 0
    copies: list[str] = []
    for done, path in enumerate(sorted(Path(file) for file in files)):
        progress(done / len(files), f"Reading CT slice {done + 1} of {len(files)}")
        dataset = read_dataset(path)
        _check_kind(dataset, path)
        if "LOCALIZER" in texts(dataset, "ImageType", str(path)):
            localizers += 1
            continue
        one = _read_slice(dataset, path)
        known = slices.get(one.sop_instance_uid)
        if known is None:
            slices[one.sop_instance_uid] = one
        elif np.array_equal(known.position_LPS_mm, one.position_LPS_mm) and np.array_equal(known.hu, one.hu):
            copies.append(path.name)
        else:
            raise CaseError(
                f"Two different images have the same SOP Instance UID {one.sop_instance_uid}: {known.path} and {path}. "
                "Remove the wrong one."
            )
    if localizers:
        notes.append(f"Localizer (scout) images of the series were left out ({localizers}).")
    if copies:
        notes.append(f"Copies of other slices were left out ({len(copies)}): {', '.join(copies[:5])}.")
    ordered = list(slices.values())
    if len(ordered) < 2:
        raise CaseError(
            f"The CT series has {len(ordered)} slice{'' if len(ordered) == 1 else 's'}"
            f"{f' ({ordered[0].path})' if ordered else ''}; planning needs a volume of at least two. "
            "Export the whole series."
        )
    _check_shared(ordered)
    ordered, grid = _place(ordered)
    thickness = ordered[0].thickness_mm
    if thickness and grid.spacing_mm[2] > 1.5 * thickness:
        notes.append(
            f"CT slices are {grid.spacing_mm[2]:.2f} mm apart but {thickness:.2f} mm thick; if every second slice was "
            "lost, export the series again."
        )
    position = _patient_position(ordered, patient_position, notes)
    for remark in dict.fromkeys(remark for one in ordered for remark in one.remarks):
        notes.append(f"CT: {remark}.")
    if len({one.rescale for one in ordered}) > 1:
        notes.append("CT: rescale slope or intercept differ between slices; each slice was converted with its own.")
    whole = all(one.hu.dtype == np.int16 for one in ordered)
    hu = np.stack([one.hu for one in ordered]) if whole else np.stack([one.hu.astype(np.float32) for one in ordered])
    shared = ordered[0].shared
    source = _source(ordered, notes)
    progress(1.0, "CT read")
    return CtSeries(
        hu,
        grid,
        position,
        shared["SeriesInstanceUID"],
        shared["StudyInstanceUID"],
        shared["FrameOfReferenceUID"],
        tuple(one.sop_instance_uid for one in ordered),
        shared["PatientName"],
        shared["PatientID"],
        shared["SeriesDescription"],
        tuple(notes),
        source,
    )


def _check_kind(dataset: Dataset, path: Path) -> None:
    sop_class = text(dataset, "SOPClassUID", str(path))
    frames = number(dataset, "NumberOfFrames", str(path)) or 1
    if sop_class in (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage) or (
        sop_class == CTImageStorage and frames > 1
    ):
        raise CaseError(
            f"{path}: is a multi-frame (enhanced) CT, which is not read. Convert it to single-frame CT images, for "
            "example with dcm4che's emf2sf or by exporting 'classic' CT from the archive."
        )
    if sop_class != CTImageStorage:
        raise CaseError(
            f"{path}: is not a CT image (SOP Class UID {sop_class or 'missing'}). Give the files of one CT series only."
        )


def _read_slice(dataset: Dataset, path: Path) -> _Slice:
    where = str(path)
    orientation = numbers(dataset, "ImageOrientationPatient", where, 6).reshape(2, 3)
    lengths = np.linalg.norm(orientation, axis=1)
    if np.abs(lengths - 1).max() > 1e-3 or abs(orientation[0] @ orientation[1]) > 1e-3:
        raise CaseError(
            f"{path}: ImageOrientationPatient (0020,0037) is not two perpendicular unit vectors "
            f"({', '.join(f'{x:g}' for x in orientation.ravel())}). Export the file again."
        )
    pixel_spacing = numbers(dataset, "PixelSpacing", where, 2)
    if pixel_spacing.min() <= 0:
        raise CaseError(f"{path}: PixelSpacing (0028,0030) must be positive; got {pixel_spacing.tolist()} mm.")
    tilt = number(dataset, "GantryDetectorTilt", where) or 0.0
    if abs(tilt) > _TILT_TOLERANCE_DEG:
        raise CaseError(
            f"{path}: the CT was taken with a gantry tilt of {tilt:g} degrees (GantryDetectorTilt (0018,1120)), "
            "so its slices are sheared against each other. Resample it to an untilted CT first (in 3D Slicer: DICOM "
            "import with acquisition geometry regularization, then harden the transform)."
        )
    hu, rescale, remarks = _hounsfield(dataset, path)
    shared = {
        keyword: str(required(dataset, keyword, where))
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    }
    shared |= {
        keyword: text(dataset, keyword, where)
        for keyword in ("PatientID", "PatientName", "SeriesDescription", *_STUDY_KEYWORDS)
    }
    return _Slice(
        path,
        str(required(dataset, "SOPInstanceUID", where)),
        numbers(dataset, "ImagePositionPatient", where, 3),
        orientation / lengths[:, None],
        pixel_spacing,
        shared,
        text(dataset, "PatientPosition", where).upper(),
        number(dataset, "SliceThickness", where),
        hu,
        rescale,
        remarks,
    )


def _hounsfield(dataset: Dataset, path: Path) -> tuple[np.ndarray, tuple[float, float], tuple[str, ...]]:
    """Decode the pixels and rescale them to HU."""
    where = str(path)
    remarks = []
    for keyword in ("Rows", "Columns", "BitsAllocated", "PixelRepresentation", "PhotometricInterpretation"):
        required(dataset, keyword, where)
    if "PixelData" not in dataset:
        raise CaseError(
            f"{path}: the required tag PixelData (7FE0,0010) is missing; the file is cut short or holds no image. "
            "Export it again."
        )
    photometric = text(dataset, "PhotometricInterpretation", where)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise CaseError(
            f"{path}: PhotometricInterpretation is {photometric}; a CT with CT numbers is MONOCHROME1 or MONOCHROME2. "
            "Is this a colour capture? Export the original CT."
        )
    kind = text(dataset, "RescaleType", where)
    if kind not in ("", "HU", "US"):
        raise CaseError(
            f"{path}: RescaleType (0028,1054) is {kind}, so the values are not CT numbers in HU. Export the CT in HU."
        )
    if kind == "US":
        remarks.append("the rescale type is 'unspecified'; the values were taken as HU")
    slope = float(numbers(dataset, "RescaleSlope", where, 1)[0])
    intercept = float(numbers(dataset, "RescaleIntercept", where, 1)[0])
    if slope == 0:
        raise CaseError(f"{path}: RescaleSlope (0028,1053) is 0; export the file again.")
    try:
        stored = dataset.pixel_array
    except Exception as error:  # decoders are plug-ins and fail in their own ways
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        compressed = syntax is not None and syntax.is_transfer_syntax and syntax.is_compressed
        advice = (
            "Install a decoder (pip install python-gdcm) or export without compression."
            if compressed
            else "The file is damaged or cut short; export it again."
        )
        raise CaseError(
            f"{path}: the pixels cannot be decoded ({error}; transfer syntax {syntax.name if syntax else 'unknown'}). "
            f"{advice}"
        ) from error
    if stored.ndim != 2:
        raise CaseError(f"{path}: the image has shape {stored.shape}; a CT slice has rows and columns only.")
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise CaseError(f"{path}: the image holds NaN or infinite values; export it again.")
    hu = stored * slope + intercept
    padding = number(dataset, "PixelPaddingValue", where)
    if padding is not None:
        limit = number(dataset, "PixelPaddingRangeLimit", where)
        low, high = sorted((padding, padding if limit is None else limit))
        padded = (stored >= low) & (stored <= high) & (hu < _AIR_HU)
        if padded.any():
            hu[padded] = _AIR_HU
            remarks.append(f"padding pixels beyond the field of view were set to {_AIR_HU} HU")
    limits = np.iinfo(np.int16)
    if slope.is_integer() and intercept.is_integer() and limits.min <= hu.min() and hu.max() <= limits.max:
        return hu.astype(np.int16), (slope, intercept), tuple(remarks)
    return hu.astype(np.float32), (slope, intercept), tuple(remarks)


def _check_shared(slices: Sequence[_Slice]) -> None:
    """Refuse slices that differ in what the slices of a volume share."""
    first = slices[0]
    names = {
        "SeriesInstanceUID": "series",
        "StudyInstanceUID": "study",
        "FrameOfReferenceUID": "frame of reference",
        "PatientID": "patient",
    }
    for one in slices[1:]:
        for keyword, name in names.items():
            if one.shared[keyword] != first.shared[keyword]:
                raise CaseError(
                    f"The CT slices differ in {name} ({keyword}): {first.path.name} has {first.shared[keyword]!r}, "
                    f"{one.path.name} has {one.shared[keyword]!r}. Give the slices of one series."
                )
        if one.hu.shape != first.hu.shape:
            raise CaseError(
                f"The CT slices differ in size: {first.path.name} has {first.hu.shape[0]} rows x {first.hu.shape[1]} "
                f"columns, {one.path.name} {one.hu.shape[0]} x {one.hu.shape[1]}. Export one series of equal slices."
            )
        # a relative error of 1e-4 is 0.05 mm over a 500 mm image
        if np.abs(one.pixel_spacing_mm / first.pixel_spacing_mm - 1).max() > 1e-4:
            raise CaseError(
                f"The CT slices differ in pixel spacing: {first.path.name} has {first.pixel_spacing_mm.tolist()} mm, "
                f"{one.path.name} {one.pixel_spacing_mm.tolist()} mm. Export one series of equal slices."
            )
        if np.abs(one.orientation - first.orientation).max() > 1e-4:
            raise CaseError(
                f"The CT slices differ in orientation: {first.path.name} and {one.path.name} have different "
                "ImageOrientationPatient. Export a series of parallel slices (without scout or reformatted images)."
            )
        if one.patient_position != first.patient_position:
            raise CaseError(
                f"The CT slices differ in patient position: {first.path.name} has "
                f"{first.patient_position or 'none'}, {one.path.name} {one.patient_position or 'none'}."
            )


def _place(slices: Sequence[_Slice]) -> tuple[list[_Slice], Grid]:
    """Sort the slices along their normal and check that they make a regular grid."""
    row, column = slices[0].orientation
    normal = np.cross(row, column)
    ordered = sorted(slices, key=lambda one: float(one.position_LPS_mm @ normal))
    positions = np.array([one.position_LPS_mm for one in ordered])
    along = positions @ normal
    steps = np.diff(along)
    same = np.flatnonzero(steps < _SAME_POSITION_MM)
    if len(same):
        a, b = ordered[same[0]], ordered[same[0] + 1]
        raise CaseError(
            f"Duplicate slices: {a.path.name} and {b.path.name} are different images at the same position "
            f"({along[same[0]]:.2f} mm along the slice normal; {len(same)} such pairs). Is this a 4D CT, or two "
            "reconstructions in one series? Keep the files of one of them."
        )
    sideways = positions - positions[0] - np.outer(along - along[0], normal)
    shift = np.linalg.norm(sideways, axis=1)
    if shift.max() > _POSITION_TOLERANCE_MM:
        lean = np.degrees(np.arctan2(np.linalg.norm(sideways[-1] - sideways[0]), along[-1] - along[0]))
        if lean > 0.01:
            raise CaseError(
                f"The slices are stacked at {lean:.2f} degrees to their normal (gantry tilt): the last is shifted "
                f"sideways by {shift[-1]:.2f} mm. Resample to an untilted CT first (in 3D Slicer: DICOM import with "
                "acquisition geometry regularization, then harden the transform)."
            )
        worst = int(np.argmax(shift))
        raise CaseError(
            f"Slice {ordered[worst].path.name} is shifted sideways against the others by {shift[worst]:.2f} mm. "
            "Export the series again."
        )
    _check_steps(ordered, along, steps)
    affine = np.eye(4)
    affine[:3, 0] = row * slices[0].pixel_spacing_mm[1]
    affine[:3, 1] = column * slices[0].pixel_spacing_mm[0]
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine[:3, 3] = positions[0]
    # adding zero turns -0.0 into 0.0
    affine[:3] = ras_from_lps(affine[:3].T).T + 0.0
    return ordered, Grid((len(ordered), *slices[0].hu.shape), affine)


def _check_steps(ordered: Sequence[_Slice], along: np.ndarray, steps: np.ndarray) -> None:
    even = np.linspace(along[0], along[-1], len(along))
    if np.abs(along - even).max() <= _POSITION_TOLERANCE_MM and np.ptp(steps) <= 2 * _POSITION_TOLERANCE_MM:
        return
    smallest = float(steps.min())
    multiple = np.rint(steps / smallest)
    if np.abs(steps - multiple * smallest).max() <= 2 * _POSITION_TOLERANCE_MM:
        gaps = np.flatnonzero(multiple > 1)
        where = "; ".join(
            f"{int(multiple[g]) - 1} between {along[g]:.2f} and {along[g + 1]:.2f} mm "
            f"({ordered[g].path.name} and {ordered[g + 1].path.name})"
            for g in gaps[:5]
        )
        raise CaseError(
            f"Missing slices: at the smallest spacing of {smallest:.3g} mm the CT lacks "
            f"{int((multiple - 1).sum())} slices, {where}{'; ...' if len(gaps) > 5 else ''} (positions along the slice "
            "normal). Export the whole series; if it was scanned with changing spacing, resample it to an even one."
        )
    worst = int(np.argmax(np.abs(steps - np.median(steps))))
    raise CaseError(
        f"Non-uniform slice spacing: from {steps.min():.3f} to {steps.max():.3f} mm (most unlike the rest between "
        f"{along[worst]:.2f} and {along[worst + 1]:.2f} mm along the slice normal, {ordered[worst].path.name} and "
        f"{ordered[worst + 1].path.name}). Resample the CT to an even spacing first."
    )


def _source(slices: Sequence[_Slice], notes: list[str]) -> DicomSource:
    """Keep whose study the CT is; what is malformed there is left out, so that it is not copied into other objects."""
    kept: dict[str, str] = {}
    malformed = []
    for keyword, (name, pattern) in _STUDY_KEYWORDS.items():
        found = slices[0].shared[keyword]
        kept[name] = found if re.fullmatch(pattern, found) else ""
        if found and not kept[name]:
            malformed.append(keyword)
    if malformed:
        notes.append(f"CT: {', '.join(malformed)} malformed; what is exported for this case goes without.")
    return DicomSource(tuple(one.sop_instance_uid for one in slices), str(CTImageStorage), **kept)


def _patient_position(slices: Sequence[_Slice], wanted: str | None, notes: list[str]) -> str:
    stated = slices[0].patient_position
    if wanted is not None:
        if stated and stated != wanted:
            notes.append(f"The CT says patient position {stated}; {wanted} was used as asked.")
        return wanted
    if not stated:
        raise CaseError(
            f"{slices[0].path}: PatientPosition (0018,5100) is missing or empty, so it is unknown how the patient lay. "
            f"Say it with patient_position=, one of {', '.join(PATIENT_POSITIONS)}."
        )
    if stated not in PATIENT_POSITIONS:
        raise CaseError(
            f"Patient position {stated} of {slices[0].path.name} is not supported; {', '.join(PATIENT_POSITIONS)} are. "
            "A decubitus or sitting patient cannot be planned here."
        )
    return stated
