"""A transform from a file that Slicer reads, as what dose accumulation takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from DoseEngineLib.errors import CaseError, EvaluationError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.evaluation.displacement_field import DisplacementField
from RTPlanningLib.mrml.dose_mapping_transforms import mappingFromTransform


def readMapping(path: str | Path, grid: Grid) -> np.ndarray | DisplacementField:
    """Read a transform (.h5, .tfm, .mat, .txt, or a displacement field .nrrd) that brings a dose onto a common anatomy.

    Parameters
    ----------
    path : path
        As a registration writes it, with the image of the day as the moving and the planning CT as the fixed one.
    grid : Grid
        Of the common anatomy.

    Raises
    ------
    CaseError
        A missing or unreadable file.
    EvaluationError
        As `mappingFromTransform`.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError(f"There is no transform file {path}.")
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", path.name)
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise CaseError(f"{path} could not be read as a transform; is the file complete and of that kind?")
    try:
        return mappingFromTransform(node, scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "dose"), grid)
    except EvaluationError as error:
        raise EvaluationError(f"{path.name}: {error}") from error
