"""RT Structure Set objects: contours with the images they lie on (DICOM PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import lps_from_ras
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.dicom.ct_writer import CtImages
from RTPlanningLib.dicom.decimal import decimal_string, set_long_decimals
from RTPlanningLib.dicom.identity import DicomIdentity, text_for
from RTPlanningLib.dicom.structure_contours import SliceContour, contours_of

# The study component that a structure set refers to (PS3.6), retired but asked for by the attribute's definition.
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
_CONTOUR_DATA = 0x30060050
# REL_MASS_DENSITY is relative to water
_WATER_G_CM3 = 1.0
STRUCTURE_SET_SERIES_NUMBER = 2


@dataclass(frozen=True, eq=False)
class StructureSetObject:
    """An RT Structure Set to be saved.

    Attributes
    ----------
    dataset : Dataset
    roi_numbers : mapping of structure name to ROI number
    notes : tuple of str
    """

    dataset: Dataset
    roi_numbers: Mapping[str, int]
    notes: tuple[str, ...]


def structure_set_object(
    structures: Sequence[Structure],
    images: CtImages,
    identity: DicomIdentity,
    *,
    name: str,
    sop_instance_uid: str,
    density_overrides_g_cm3: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> StructureSetObject:
    """Make an RT Structure Set of structures on the slices of a CT.

    Parameters
    ----------
    structures : sequence of Structure
        On the CT's grid. An empty one becomes a ROI without contours, and is noted.
    images : CtImages
    identity : DicomIdentity
    name : str
        Name of the structure set.
    sop_instance_uid : str
    density_overrides_g_cm3 : mapping of structure name to mass density, optional
        Written as ROI Physical Properties.
    progress : callable, optional

    Raises
    ------
    PlanError
        No structures; a name DICOM cannot hold, or two that it could not tell apart.
    """
    progress = progress or silent
    if not structures:
        raise PlanError("There is no structure to export; a structure set needs at least one.")
    overrides = dict(density_overrides_g_cm3 or {})
    names = [text_for(one.name, "LO", "Structure name") for one in structures]
    if len(set(names)) != len(names):
        raise PlanError(f"Structure names must differ by more than spaces at their ends; got {', '.join(names)}.")
    dataset = identity.new_dataset(
        RTStructureSetStorage,
        "RTSTRUCT",
        "RTPlanning structures",
        sop_instance_uid=sop_instance_uid,
        series_number=STRUCTURE_SET_SERIES_NUMBER,
        # contours of more than some 3000 points do not fit into explicit VR
        implicit_vr=True,
    )
    identity.add_frame_of_reference(dataset)
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel = "RTPlanning"
    dataset.StructureSetName = text_for(name, "LO", "Name of the structure set")
    dataset.StructureSetDate, dataset.StructureSetTime = identity.date, identity.time
    dataset.ReferencedFrameOfReferenceSequence = [_images(images, identity)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    dataset.ApprovalStatus = "UNAPPROVED"
    notes = []
    roi_numbers = {}
    for number, (structure, roi_name) in enumerate(zip(structures, names, strict=True), start=1):
        progress((number - 1) / len(structures), f"Contours of {structure.name}")
        roi_numbers[structure.name] = number
        contours = contours_of(structure, images.grid)
        if not contours:
            notes.append(f"{structure.name} is empty; it is exported without contours.")
        roi = Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = identity.frame_of_reference_uid
        roi.ROIName = roi_name
        roi.ROIGenerationAlgorithm = ""
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(_contours(contours, number, structure, images))
        dataset.RTROIObservationsSequence.append(_observation(number, structure, overrides.get(structure.name)))
    progress(1.0, "Contours made")
    return StructureSetObject(dataset, roi_numbers, tuple(notes))


def _images(images: CtImages, identity: DicomIdentity) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images.series_instance_uid
    series.ContourImageSequence = [_image(images, k) for k in range(len(images.sop_instance_uids))]
    study = Dataset()
    study.ReferencedSOPClassUID = _DETACHED_STUDY
    study.ReferencedSOPInstanceUID = identity.study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = identity.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(images: CtImages, k: int) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = images.sop_class_uid
    image.ReferencedSOPInstanceUID = images.sop_instance_uids[k]
    return image


def _contours(contours: Sequence[SliceContour], number: int, structure: Structure, images: CtImages) -> Dataset:
    drawn = Dataset()
    drawn.ReferencedROINumber = number
    drawn.ROIDisplayColor = [round(255 * min(max(float(value), 0.0), 1.0)) for value in structure.color]
    items = []
    for place, contour in enumerate(contours, start=1):
        item = Dataset()
        item.ContourNumber = place
        if contour.k is not None:
            item.ContourImageSequence = [_image(images, contour.k)]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(contour.points_RAS_mm)
        set_long_decimals(item, _CONTOUR_DATA, lps_from_ras(contour.points_RAS_mm))
        items.append(item)
    if items:
        drawn.ContourSequence = items
    return drawn


def _observation(number: int, structure: Structure, density_g_cm3: float | None) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = structure.role
    observation.ROIInterpreter = ""
    if density_g_cm3 is not None:
        density = Dataset()
        density.ROIPhysicalProperty = "REL_MASS_DENSITY"
        density.ROIPhysicalPropertyValue = decimal_string(density_g_cm3 / _WATER_G_CM3)
        observation.ROIPhysicalPropertiesSequence = [density]
    return observation
