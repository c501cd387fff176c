"""RT Dose objects: 32-bit doses with their scaling and frame offsets (DICOM PS3.3 A.18, C.8.8.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import RTDoseStorage, RTPlanStorage

from DoseEngineLib.errors import EvaluationError, GeometryError
from DoseEngineLib.geometry import Grid, lps_from_ras, resample
from RTPlanningLib.dicom.axial_grid import axial_grid
from RTPlanningLib.dicom.decimal import decimal_string, decimal_value
from RTPlanningLib.dicom.identity import DicomIdentity, text_for

DOSE_KINDS = ("PHYSICAL", "EFFECTIVE")
SUMMATIONS = ("PLAN", "BEAM")
_LARGEST = 2**32 - 1
DOSE_SERIES_NUMBER = 4
_FRACTION_GROUP = 1


@dataclass(frozen=True, eq=False)
class DoseToExport:
    """A dose of a whole course, to be written as RT Dose.

    Attributes
    ----------
    dose_Gy : (k, j, i) array
        Not negative.
    grid : Grid
    kind : {"PHYSICAL", "EFFECTIVE"}
        EFFECTIVE: EQD2 or BED; say in ``comment`` what it is and with which alpha/beta.
    beam_number : int, optional
        Of the one beam it is the dose of; None: of the plan.
    name : str
        What the file is called after, "RTDOSE" and so on.
    comment : str
        At most 64 characters.
    overridden_densities : bool
        Whether structures had densities assigned.

    Raises
    ------
    EvaluationError
        An unknown kind; doses that are negative, NaN or infinite; a shape that is not the grid's; an effective dose
        that does not say how it was made.
    """

    dose_Gy: np.ndarray
    grid: Grid
    kind: str = "PHYSICAL"
    beam_number: int | None = None
    name: str = "RTDOSE"
    comment: str = ""
    overridden_densities: bool = False

    def __post_init__(self) -> None:
        if self.kind not in DOSE_KINDS:
            raise EvaluationError(f"A dose to export is {' or '.join(DOSE_KINDS)}, not {self.kind!r}.")
        if self.dose_Gy.shape != self.grid.shape:
            raise EvaluationError(
                f"{self.name}: the dose has the shape {self.dose_Gy.shape}, its grid {self.grid.shape} (k, j, i)."
            )
        if not np.isfinite(self.dose_Gy).all() or self.dose_Gy.min() < 0.0:
            raise EvaluationError(f"{self.name}: the dose holds negative, NaN or infinite values; calculate it again.")
        if self.kind == "EFFECTIVE" and not self.comment:
            raise EvaluationError(f"{self.name}: an effective dose needs a comment that says how it was made.")

    @property
    def summation(self) -> str:
        """PLAN, or BEAM for the dose of one beam."""
        return "PLAN" if self.beam_number is None else "BEAM"


def rt_dose_dataset(
    dose: DoseToExport,
    identity: DicomIdentity,
    *,
    plan_uid: str,
    sop_instance_uid: str,
    series_instance_uid: str,
    instance_number: int,
    resample_oblique: bool = False,
) -> Dataset:
    """Make an RT Dose object.

    Parameters
    ----------
    dose : DoseToExport
    identity : DicomIdentity
    plan_uid : str
        SOP Instance UID of the RT Plan it is the dose of.
    sop_instance_uid, series_instance_uid : str
    instance_number : int
        Of the object in its series.
    resample_oblique : bool
        Resample a grid that is not along the patient's axes; without it such a grid raises.

    Raises
    ------
    GeometryError
        An oblique grid, or one of a single plane.
    PlanError
        A comment DICOM cannot hold.
    """
    turned = axial_grid(dose.grid)
    values = dose.dose_Gy
    if turned is None:
        if not resample_oblique:
            raise GeometryError(
                f"{dose.name}: the dose grid is oblique to the patient's axes, which most systems do not read. "
                "Calculate the dose on a CT resampled to axial slices, or ask for resampling (--resample-oblique); "
                "interpolated doses then differ from those calculated."
            )
        grid = _axial_box(dose.grid)
        values = resample(np.ascontiguousarray(values), dose.grid, grid)
    else:
        grid, values = turned.grid, turned.array(values)
    if grid.shape[0] < 2:
        raise GeometryError(f"{dose.name}: the dose grid has a single axial plane; use one of several.")
    stored, scaling = stored_dose(values)
    row, column, _ = lps_from_ras(grid.directions.T)
    dataset = identity.new_dataset(
        RTDoseStorage,
        "RTDOSE",
        "RTPlanning dose",
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_instance_uid,
        series_number=DOSE_SERIES_NUMBER,
        # what every system reads of pixels of 32 bits
        implicit_vr=True,
    )
    identity.add_frame_of_reference(dataset)
    dataset.InstanceNumber = instance_number
    dataset.ContentDate, dataset.ContentTime = identity.date, identity.time
    dataset.SliceThickness = decimal_string(grid.spacing_mm[2])
    dataset.ImagePositionPatient = [decimal_string(x) for x in lps_from_ras(grid.origin_RAS_mm)]
    dataset.ImageOrientationPatient = [decimal_string(x) for x in (*row, *column)]
    dataset.PixelSpacing = [decimal_string(grid.spacing_mm[1]), decimal_string(grid.spacing_mm[0])]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = grid.shape
    dataset.FrameIncrementPointer = Tag("GridFrameOffsetVector")
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31
    dataset.PixelRepresentation = 0
    dataset.DoseUnits = "GY"
    dataset.DoseType = dose.kind
    dataset.DoseSummationType = dose.summation
    if dose.comment:
        dataset.DoseComment = text_for(dose.comment, "LO", f"{dose.name}: comment")
    dataset.TissueHeterogeneityCorrection = ["IMAGE", "ROI_OVERRIDE"] if dose.overridden_densities else "IMAGE"
    dataset.GridFrameOffsetVector = [decimal_string(k * grid.spacing_mm[2]) for k in range(grid.shape[0])]
    dataset.DoseGridScaling = decimal_string(scaling)
    dataset.ReferencedRTPlanSequence = [_plan_reference(plan_uid, dose.beam_number)]
    dataset.PixelData = stored.astype("<u4").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def stored_dose(dose_Gy: np.ndarray) -> tuple[np.ndarray, float]:
    """Return 32-bit values and their scaling, ``dose = value * scaling``; the largest dose takes the largest value."""
    largest = float(dose_Gy.max())
    # Rounded upwards to what a decimal string holds, so that the largest dose still fits. No dose: any scaling will do.
    scaling = decimal_value(float(f"{largest / _LARGEST * (1.0 + 1e-8):.9e}")) if largest > 0.0 else 1.0
    return np.rint(dose_Gy.astype(np.float64) / scaling).astype(np.uint32), scaling


def _plan_reference(plan_uid: str, beam_number: int | None) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = RTPlanStorage
    reference.ReferencedSOPInstanceUID = plan_uid
    if beam_number is not None:
        beam = Dataset()
        beam.ReferencedBeamNumber = beam_number
        group = Dataset()
        group.ReferencedBeamSequence = [beam]
        group.ReferencedFractionGroupNumber = _FRACTION_GROUP
        reference.ReferencedFractionGroupSequence = [group]
    return reference


def _axial_box(grid: Grid) -> Grid:
    """A grid along the patient's axes that covers another, with its finest spacing."""
    low, high = grid.bounds_RAS_mm
    spacing = float(grid.spacing_mm.min())
    count = np.maximum(np.ceil((high - low) / spacing - 1e-6).astype(int), 2)
    directions = np.diag((-1.0, -1.0, 1.0))
    start = np.array((high[0], high[1], low[2])) + 0.5 * spacing * np.array((-1.0, -1.0, 1.0))
    return Grid.from_spacing(tuple(count[::-1]), spacing, start, directions)
