"""Transform nodes as what dose accumulation takes: a matrix or a displacement field, common anatomy to another."""

from __future__ import annotations

import numpy as np
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.evaluation.displacement_field import DisplacementField

# A point that comes back this far from where it began was not inverted.
_INVERSE_MM = 0.1


def mappingFromTransform(transformNode, doseNode, grid: Grid) -> np.ndarray | DisplacementField:
    """Return the mapping of the common anatomy to that of a dose.

    Parameters
    ----------
    transformNode : vtkMRMLLinearTransformNode or vtkMRMLGridTransformNode
        The transform one would put the dose volume under to bring it onto the common anatomy, as a registration with
        the image of the day as the moving and the planning CT as the fixed one gives it.
    doseNode : vtkMRMLScalarVolumeNode
    grid : Grid
        Of the common anatomy; a displacement field is given at its voxel centres.

    Raises
    ------
    EvaluationError
        A dose volume that is under the transform already; a transform of another kind, or a grid transform under
        another one; a displacement grid that does not cover what is asked; one that cannot be inverted.
    """
    name = transformNode.GetName()
    if not transformNode.IsA("vtkMRMLTransformNode"):
        raise EvaluationError(f"{name} is no transform; choose a linear transform or a grid transform.")
    above = doseNode.GetParentTransformNode()
    if above is not None and (above is transformNode or above.IsTransformNodeMyParent(transformNode)):
        raise EvaluationError(
            f"{doseNode.GetName()} is under the transform {name} already and would be moved twice; leave the transform "
            "out, or take the volume from under it."
        )
    if transformNode.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformFromWorld(matrix)
        return slicer.util.arrayFromVTKMatrix(matrix)
    toGrid = transformNode.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    if toGrid is None or transformNode.GetParentTransformNode() is not None:
        raise EvaluationError(
            f"{name} is neither linear nor a single grid transform; convert it to a grid transform (module Transforms) "
            "that is under no other."
        )
    points = grid.centres_RAS_mm().reshape(-1, 3)
    moved = _transformed(transformNode.GetTransformFromParent(), points)
    # beyond its displacements a grid transform goes on with those at its end, which nobody has measured
    _checkCovered(toGrid, moved if toGrid.GetInverseFlag() else points, name)
    if toGrid.GetInverseFlag():
        error = float(np.linalg.norm(_transformed(transformNode.GetTransformToParent(), moved) - points, axis=1).max())
        if error > _INVERSE_MM:
            raise EvaluationError(
                f"{name} cannot be inverted where the result lies: points come back up to {error:.3g} mm off. Give the "
                "transform in the other direction, or smooth it."
            )
    return DisplacementField((moved - points).reshape(*grid.shape, 3), grid)


def _transformed(transform, points: np.ndarray) -> np.ndarray:
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    source.SetDataTypeToDouble()
    target.SetDataTypeToDouble()
    source.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    transform.TransformPoints(source, target)
    return vtk_to_numpy(target.GetData()).astype(float)


def _checkCovered(gridTransform, points: np.ndarray, name: str) -> None:
    image = gridTransform.GetDisplacementGrid()
    directions = np.eye(3)
    if gridTransform.GetGridDirectionMatrix() is not None:
        directions = slicer.util.arrayFromVTKMatrix(gridTransform.GetGridDirectionMatrix())[:3, :3]
    field = Grid.from_spacing(image.GetDimensions()[::-1], image.GetSpacing(), image.GetOrigin(), directions)
    outside = int(np.count_nonzero(~field.contains(points)))
    if outside:
        raise EvaluationError(
            f"The displacement grid of {name} does not cover {outside} of {len(points)} voxels of the result; choose a "
            "smaller grid for the result, or a transform that covers it."
        )
