"""Cases from files Slicer reads: any volume (NRRD, NIfTI, MHA) and a segmentation (``.seg.nrrd``)."""

from __future__ import annotations

from pathlib import Path

import slicer

from DoseEngineLib.errors import CaseError, GeometryError, PatientError, PlanError
from DoseEngineLib.mrml.segmentations import densityOverrides, structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from RTPlanningLib.case import Case

_ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".nii", ".mha", ".mhd")


def readVolumeCase(
    volumePath: str | Path,
    segmentationPath: str | Path | None = None,
    *,
    name: str | None = None,
    patient_position: str = "HFS",
) -> Case:
    """Read a CT volume in HU and a segmentation.

    Volume files say nothing of how the patient lay; ``patient_position`` does.

    Parameters
    ----------
    volumePath : path
        ``.nrrd``, ``.nhdr``, ``.nii``, ``.nii.gz``, ``.mha`` or ``.mhd``: one scalar value a voxel.
    segmentationPath : path, optional
        A segmentation saved by Slicer (``.seg.nrrd``); overlaps are kept.
    name : str, optional
        Name of the case, by default the file's.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}

    Raises
    ------
    CaseError
        A missing or unreadable file, a volume that is not a CT (several values a voxel, NaN, a flat or sheared grid), a
        segmentation without segments or nowhere on the volume.
    """
    volumePath = _existing(volumePath, "CT volume")
    # a scene of its own: a file that turns out unusable leaves nothing behind
    scene = slicer.vtkMRMLScene()
    volumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", _stem(volumePath))
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetSingleFile(True)
    # a color image is read as a vector volume, and refused here with its own text
    _read(storage, volumeNode, volumePath, "a scalar volume (one value a voxel)")
    try:
        grid = gridFromVolume(volumeNode)
        hu = arrayFromVolume(volumeNode)
    except (PatientError, GeometryError) as error:
        raise CaseError(f"{volumePath}: {error}") from error
    if min(grid.shape) < 2:
        raise CaseError(f"{volumePath} is a single slice {grid.shape}; dose needs a volume of several slices.")
    notes = [f"{volumePath.name} says nothing of the patient position; {patient_position} is used."]
    structures, overrides = (), {}
    if segmentationPath is not None:
        segmentationPath = _existing(segmentationPath, "segmentation")
        segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", _stem(segmentationPath))
        _read(
            scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode"),
            segmentationNode,
            segmentationPath,
            "a segmentation",
        )
        if segmentationNode.GetSegmentation().GetNumberOfSegments() == 0:
            raise CaseError(f"{segmentationPath} holds no segment.")
        try:
            structures = structuresFromSegmentation(segmentationNode, grid)
            overrides = densityOverrides(segmentationNode)
        except (PatientError, GeometryError, PlanError) as error:
            raise CaseError(f"{segmentationPath} with {volumePath.name}: {error}") from error
        notes += [f"Structure {s.name} is empty." for s in structures if s.is_empty]
    return Case(
        name=name or _stem(volumePath),
        hu=hu,
        grid=grid,
        structures=structures,
        patient_position=patient_position,
        density_overrides_g_cm3=overrides,
        description=f"Read from {volumePath.name}"
        + (f" and {segmentationPath.name}" if segmentationPath is not None else ""),
        notes=tuple(notes),
    )


def _existing(path: str | Path, what: str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise CaseError(f"There is no {what} file {path}.")
    if not path.name.lower().endswith(_ENDINGS):
        raise CaseError(f"The {what} {path.name} has an ending that is not read; use one of {', '.join(_ENDINGS)}.")
    return path


def _stem(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def _read(storage, node, path: Path, what: str) -> None:
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise CaseError(f"{path} could not be read as {what}; is the file complete and of that kind?")
