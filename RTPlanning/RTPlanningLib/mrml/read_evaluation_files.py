"""A dose and structures from files Slicer reads, for evaluation without a CT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk

from DoseEngineLib.errors import CaseError, GeometryError, PatientError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure

_VOLUMES = (".nrrd", ".nhdr", ".nii.gz", ".nii", ".mha", ".mhd")


def readDoseVolume(path: str | Path) -> tuple[np.ndarray, Grid]:
    """Read a volume of one value a voxel: its values as they stand, (k, j, i), and its grid.

    Raises
    ------
    CaseError
        A missing or unreadable file, several values a voxel, NaN, a sheared grid.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError(f"There is no dose file {path}.")
    name = path.name.lower()
    if name.endswith(".seg.nrrd") or not name.endswith(_VOLUMES):
        raise CaseError(f"{path.name} is no dose volume; give a DICOM RT Dose, or one of {', '.join(_VOLUMES)}.")
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.stem)
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetSingleFile(True)
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise CaseError(f"{path} could not be read as a scalar volume; is the file complete and of that kind?")
    try:
        return arrayFromVolume(node), gridFromVolume(node)
    except (PatientError, GeometryError) as error:
        raise CaseError(f"{path}: {error}") from error


def readSegmentation(path: str | Path) -> tuple[Structure, ...]:
    """Read a segmentation saved by Slicer (``.seg.nrrd``) on the grid it was drawn on; overlaps are kept.

    Raises
    ------
    CaseError
        A missing or unreadable file, no segments, a grid that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError(f"There is no segmentation file {path}.")
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", path.stem)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise CaseError(f"{path} could not be read as a segmentation; is the file complete and of that kind?")
    if node.GetSegmentation().GetNumberOfSegments() == 0:
        raise CaseError(f"{path} holds no segment.")
    try:
        return structuresFromSegmentation(node, _referenceGrid(node, path))
    except (PatientError, GeometryError, PlanError) as error:
        raise CaseError(f"{path}: {error}") from error


def _referenceGrid(segmentationNode, path: Path) -> Grid:
    """The grid of the image that the segments were drawn on."""
    segmentation = segmentationNode.GetSegmentation()
    converter = slicer.vtkSegmentationConverter
    geometry = segmentation.GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    image = slicer.vtkOrientedImageData()
    if not geometry or not converter.DeserializeImageGeometry(geometry, image, False):
        raise CaseError(
            f"{path} does not say which image it was drawn on; give the CT too (--ct), or save it from Slicer again."
        )
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    extent = np.array(image.GetExtent())
    affine[:3, 3] = affine[:3, :3] @ extent[::2] + affine[:3, 3]
    return Grid(tuple(int(n) for n in (extent[1::2] - extent[::2] + 1)[::-1]), affine)
