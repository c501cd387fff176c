"""A `Case` as nodes: CT volume and segmentation under a patient and study of the subject hierarchy, and back."""

from __future__ import annotations

import json

import numpy as np
import slicer

from DoseEngineLib.errors import CaseError, GeometryError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.segmentations import (
    densityOverrides,
    setDensityOverrides,
    setStructures,
    structuresFromSegmentation,
)
from DoseEngineLib.mrml.subject_hierarchy import createPatient, createStudy, hierarchyNode, placeNode
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume, setVolumeFromArray
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.source import DicomSource

_CASE = "RTPlanning.Case"
_SCHEMA_VERSION = 1
# Soft tissue, as CT consoles show it
_WINDOW_HU, _LEVEL_HU = 400.0, 40.0
_FIELDS = (
    "name",
    "patient_position",
    "patient_name",
    "patient_id",
    "study_instance_uid",
    "series_instance_uid",
    "frame_of_reference_uid",
    "description",
)


def createCaseNodes(scene, case: Case, segmentationNode=None):
    """Add a case to a scene.

    Parameters
    ----------
    scene : vtkMRMLScene
    case : Case
    segmentationNode : vtkMRMLSegmentationNode, optional
        One of the scene that takes the structures in place of its segments; by default a new one.

    Returns
    -------
    volumeNode : vtkMRMLScalarVolumeNode
        CT numbers in HU, on the case's grid.
    segmentationNode : vtkMRMLSegmentationNode
        Segment IDs are the structures' names, as far as these are safe in a scene file.
    """
    hierarchy = hierarchyNode(scene)
    patient = createPatient(scene, case.patient_name or case.name, case.patient_id)
    study = createStudy(scene, patient, "Radiotherapy planning", case.study_instance_uid)
    volumeNode = slicer.vtkMRMLScalarVolumeNode()
    volumeNode.SetName(scene.GetUniqueNameByString(f"{case.name}_CT"))
    setVolumeFromArray(volumeNode, case.hu, case.grid)
    volumeNode.SetAttribute(_CASE, _caseJson(case))
    volumeNode = scene.AddNode(volumeNode)
    _showSoftTissue(volumeNode)
    item = placeNode(volumeNode, study)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "CT")
    if case.series_instance_uid:
        hierarchy.SetItemUID(item, "DICOM", case.series_instance_uid)

    if segmentationNode is None:
        segmentationNode = slicer.vtkMRMLSegmentationNode()
        segmentationNode.SetName(scene.GetUniqueNameByString(f"{case.name}_Structures"))
        segmentationNode = scene.AddNode(segmentationNode)
    segmentationNode.CreateDefaultDisplayNodes()
    setStructures(segmentationNode, case.structures, volumeNode)
    setDensityOverrides(segmentationNode, case.density_overrides_g_cm3)
    placeNode(segmentationNode, study)
    return volumeNode, segmentationNode


def caseFromNodes(volumeNode, segmentationNode=None) -> Case:
    """Return the case that a CT volume and a segmentation describe.

    Volumes that were not loaded as a case (any CT in Slicer) take the node's name and head-first supine.

    Raises
    ------
    PatientError, GeometryError
        A volume or segmentation that cannot be used.
    SchemaError
        A volume whose case was stored by a newer version.
    """
    grid = gridFromVolume(volumeNode)
    hu = arrayFromVolume(volumeNode)
    stored = _storedCase(volumeNode)
    structures = structuresFromSegmentation(segmentationNode, grid) if segmentationNode is not None else ()
    notes = [f"Structure {s.name} is empty." for s in structures if s.is_empty]
    if not stored:
        notes.insert(0, f"{volumeNode.GetName()} says nothing of the patient position; head-first supine is assumed.")
    source = _storedSource(stored, grid, notes, volumeNode.GetName())
    notes = list(dict.fromkeys((*stored.get("notes", ()), *notes)))
    return Case(
        **{"name": volumeNode.GetName(), **{field: stored[field] for field in _FIELDS if field in stored}},
        hu=hu,
        grid=grid,
        structures=structures,
        goals=tuple(stored.get("goals", ())),
        density_overrides_g_cm3=densityOverrides(segmentationNode) if segmentationNode is not None else {},
        notes=tuple(notes),
        dicom=source,
    )


def caseName(volumeNode) -> str:
    """Return the name of the case stored with a CT; as in `caseFromNodes`, the node's where it says nothing."""
    return _storedCase(volumeNode).get("name", volumeNode.GetName())


def patientPosition(volumeNode) -> str:
    """Return the patient position stored with a CT; as in `caseFromNodes`, head-first supine where it says nothing."""
    return _storedCase(volumeNode).get("patient_position", "HFS")


def _showSoftTissue(volumeNode) -> None:
    """Give a CT its display node; the window is set before the voxels are seen, else a histogram is made of them."""
    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(_WINDOW_HU, _LEVEL_HU)
    display = volumeNode.GetScene().AddNode(display)
    display.SetDefaultColorMap()
    volumeNode.SetAndObserveDisplayNodeID(display.GetID())


def _caseJson(case: Case) -> str:
    data = {field: getattr(case, field) for field in _FIELDS}
    data |= {"schema_version": _SCHEMA_VERSION, "goals": list(case.goals), "notes": list(case.notes)}
    if case.dicom is not None:
        # with the place of its slices: a volume that was resampled since is another CT
        data["dicom"] = case.dicom.to_dict() | {"affine": case.grid.affine.tolist(), "shape": list(case.grid.shape)}
    return json.dumps(data, sort_keys=True, ensure_ascii=False)


def _storedSource(stored: dict, grid: Grid, notes: list[str], name: str) -> DicomSource | None:
    """The CT images the volume was read from, unless its grid was changed since."""
    data = stored.get("dicom")
    if data is None:
        return None
    try:
        before = Grid(tuple(data["shape"]), np.array(data["affine"], dtype=float))
        source = DicomSource.from_dict(data)
    except (TypeError, KeyError, ValueError, GeometryError) as error:
        raise CaseError(
            f"What {name} says of its DICOM images is damaged ({error!r}); remove its attribute {_CASE}."
        ) from error
    if not before.is_same_as(grid, tolerance_mm=0.01):
        notes.append(
            f"{name} was resampled or moved since it was read from DICOM; it no longer refers to those images."
        )
        stored.pop("series_instance_uid", None)
        stored.pop("frame_of_reference_uid", None)
        return None
    return source


def _storedCase(volumeNode) -> dict:
    text = volumeNode.GetAttribute(_CASE)
    if not text:
        return {}
    try:
        data = json.loads(text)
        version = data["schema_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise CaseError(
            f"What {volumeNode.GetName()} says of its case is damaged ({error!r}); remove its attribute {_CASE}."
        ) from error
    if version != _SCHEMA_VERSION:
        raise SchemaError(
            f"{volumeNode.GetName()} holds a case of schema version {version}; this version of RTPlanning reads "
            f"{_SCHEMA_VERSION}. Update RTPlanning; the volume was left as it is."
        )
    return data
