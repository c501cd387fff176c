"""Parent transforms of nodes: linear ones are followed, others refused."""

from __future__ import annotations

import numpy as np
import slicer.util
import vtk

from DoseEngineLib.errors import GeometryError


def matrixToWorld(node) -> np.ndarray:
    """Return the 4 x 4 matrix from a transformable node's own frame to world RAS (mm).

    Raises
    ------
    GeometryError
        When a transform above the node is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise GeometryError(
            f"{node.GetName()} is under the non-linear transform {parent.GetName()}; resample the node with it "
            "(harden the transform) first."
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
