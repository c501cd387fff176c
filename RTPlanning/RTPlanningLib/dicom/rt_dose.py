"""A dose from a DICOM RT Dose file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import CaseError, GeometryError
from DoseEngineLib.geometry import Grid, ras_from_lps
from RTPlanningLib.dicom.dataset import (
    decimal_strings,
    number,
    numbers,
    read_dataset,
    required,
    text,
    value,
    whole_number,
)
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution

RT_DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"
# DoseSummationType (PS3.3 C.8.8.3): a dose of the whole course. A fraction or a beam is a part of it, and which part
# the file does not say.
WHOLE_COURSE = ("PLAN", "MULTI_PLAN")
# Frames may leave their even spacing by this much: positions are written as rounded decimals.
_POSITION_TOLERANCE_MM = 0.01
_ORTHOGONAL_COSINE = 1e-3


@dataclass(frozen=True, eq=False)
class RtDose:
    """What an RT Dose file holds.

    Attributes
    ----------
    dose : DoseDistribution
        Its number of fractions is not in the file; it stands as 1.
    frame_of_reference_uid : str
    notes : tuple of str
        What the user should know.
    kind : {"PHYSICAL", "EFFECTIVE"}
    summation : {"PLAN", "MULTI_PLAN", "BEAM"}
    plan_uid : str
        SOP Instance UID of the RT Plan it is the dose of; empty where the file names none or several.
    beam_numbers : tuple of int
        Of a BEAM dose.
    comment : str
    """

    dose: DoseDistribution
    frame_of_reference_uid: str
    notes: tuple[str, ...]
    kind: str = "PHYSICAL"
    summation: str = "PLAN"
    plan_uid: str = ""
    beam_numbers: tuple[int, ...] = ()
    comment: str = ""


def read_rt_dose(file: str | os.PathLike, *, allow_effective: bool = False, allow_beams: bool = False) -> RtDose:
    """Read an RT Dose file.

    Parameters
    ----------
    file : path
    allow_effective : bool
        Take a biologically effective dose (EQD2 and the like) too; by default only a physical one.
    allow_beams : bool
        Take the dose of single beams of a plan too; by default only that of a whole plan.

    Raises
    ------
    CaseError
        No RT Dose, doses that are not in Gy or not physical, a part of a course (one beam, one fraction), frames that
        are missing or unevenly spaced, a damaged file.
    """
    path = Path(file)
    where = str(path)
    dataset = read_dataset(path)
    if text(dataset, "SOPClassUID", where) != RT_DOSE_STORAGE and text(dataset, "Modality", where) != "RTDOSE":
        kind = text(dataset, "Modality", where) or "something else"
        raise CaseError(f"{path} is {kind}, not an RT Dose; give the RTDOSE file of the plan.")
    units = text(dataset, "DoseUnits", where).upper()
    if units != "GY":
        raise CaseError(
            f"{path}: doses are in {units or 'an unknown unit'}, not in Gy; export the dose as absolute dose."
        )
    kind = text(dataset, "DoseType", where).upper()
    if kind not in (("PHYSICAL", "EFFECTIVE", "") if allow_effective else ("PHYSICAL", "")):
        raise CaseError(f"{path}: the dose is {kind}, not PHYSICAL; export the physical dose.")
    summation = text(dataset, "DoseSummationType", where).upper()
    if summation not in ((*WHOLE_COURSE, "BEAM") if allow_beams else WHOLE_COURSE):
        raise CaseError(
            f"{path}: the dose is of {summation or 'nothing it names'}, not of a whole plan "
            f"({', '.join(WHOLE_COURSE)}); export the dose of the plan."
        )
    grid = _grid(dataset, path)
    values = _values(dataset, path, grid)
    notes = [] if kind else [f"{path.name} does not say whether its dose is physical; it is taken to be."]
    if text(dataset, "TissueHeterogeneityCorrection", where).upper() == "WATER":
        notes.append(f"{path.name}: the dose was calculated in water, without the patient's densities.")
    label = text(dataset, "SeriesDescription", where) or path.stem
    dose = DoseDistribution(
        label,
        values,
        grid,
        dose_to="unknown",
        provenance={
            "file": path.name,
            "sop_instance_uid": text(dataset, "SOPInstanceUID", where),
            "manufacturer": text(dataset, "Manufacturer", where),
            "summation": summation,
        },
    )
    plans = value(dataset, "ReferencedRTPlanSequence", where) or ()
    beams = [
        whole_number(beam, "ReferencedBeamNumber", where)
        for plan in plans
        for group in value(plan, "ReferencedFractionGroupSequence", where) or ()
        for beam in value(group, "ReferencedBeamSequence", where) or ()
    ]
    return RtDose(
        dose,
        text(dataset, "FrameOfReferenceUID", where),
        tuple(notes),
        kind or "PHYSICAL",
        summation,
        text(plans[0], "ReferencedSOPInstanceUID", where) if len(plans) == 1 else "",
        tuple(beams),
        text(dataset, "DoseComment", where),
    )


def _grid(dataset, path: Path) -> Grid:
    where = str(path)
    rows, columns = whole_number(dataset, "Rows", where), whole_number(dataset, "Columns", where)
    frames = whole_number(dataset, "NumberOfFrames", where) if "NumberOfFrames" in dataset else 1
    if frames < 2:
        raise CaseError(f"{path} holds a single plane of dose; export a dose of several planes.")
    row_mm, column_mm = numbers(dataset, "PixelSpacing", where, 2)
    orientation = numbers(dataset, "ImageOrientationPatient", where, 6)
    along_row, along_column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if max(abs(length - 1.0) for length in lengths) > _ORTHOGONAL_COSINE or abs(along_row @ along_column) > (
        _ORTHOGONAL_COSINE
    ):
        raise CaseError(f"{path}: ImageOrientationPatient {orientation.tolist()} is no pair of axes. Export it again.")
    offsets = decimal_strings(dataset, "GridFrameOffsetVector", where)
    if len(offsets) != frames:
        raise CaseError(f"{path}: {frames} frames but {len(offsets)} frame offsets; export the dose again.")
    steps = np.diff(offsets)
    if not np.isfinite(offsets).all():
        raise CaseError(f"{path}: the frame offsets hold NaN or infinity; export the dose again.")
    if np.abs(steps - steps[0]).max() > _POSITION_TOLERANCE_MM or abs(steps[0]) < _POSITION_TOLERANCE_MM:
        raise CaseError(
            f"{path}: the planes of dose are not evenly spaced ({steps.min():g} to {steps.max():g} mm); export the "
            "dose on an even grid."
        )
    normal = np.cross(along_row, along_column)
    origin = numbers(dataset, "ImagePositionPatient", where, 3)
    if abs(offsets[0]) > _POSITION_TOLERANCE_MM and abs(offsets[0] - origin @ normal) > _POSITION_TOLERANCE_MM:
        # offsets are relative to the first plane, or (PS3.3 C.8.8.3.2 b) the z coordinates themselves
        raise CaseError(
            f"{path}: the frame offsets begin at {offsets[0]:g} mm, which is neither 0 nor the first plane's position; "
            "export the dose again."
        )
    affine = np.eye(4)
    affine[:3, 0] = ras_from_lps(along_row * column_mm)
    affine[:3, 1] = ras_from_lps(along_column * row_mm)
    affine[:3, 2] = ras_from_lps(normal * float(offsets[-1] - offsets[0]) / (frames - 1))
    affine[:3, 3] = ras_from_lps(origin)
    try:
        return Grid((frames, rows, columns), affine)
    except GeometryError as error:
        raise CaseError(f"{path}: {error}") from error


def _values(dataset, path: Path, grid: Grid) -> np.ndarray:
    scaling = number(dataset, "DoseGridScaling", str(path))
    if scaling is None or not np.isfinite(scaling) or scaling <= 0.0:
        raise CaseError(f"{path}: DoseGridScaling is missing or not positive; export the dose again.")
    required(dataset, "PixelData", str(path))
    try:
        stored = dataset.pixel_array
    except Exception as error:  # a codec that is missing, or pixels of the wrong length
        raise CaseError(f"{path}: its pixels cannot be read ({error}). Export it uncompressed.") from error
    if stored.shape != grid.shape:
        raise CaseError(f"{path}: pixels of shape {stored.shape} for a grid of {grid.shape}; export the dose again.")
    return (stored.astype(np.float64) * scaling).astype(np.float32)
