"""Isodose surfaces in RAS, for dose grids of any orientation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.progress import Progress, part

# SlicerRT's name for the dose level of a point
LEVEL_ARRAY = "isolevels"
# Position of the level among the given ones, for colors that do not depend on equal steps
INDEX_ARRAY = "isolevelIndex"


def isodose_surface(
    dose_Gy: np.ndarray, grid: Grid, levels_Gy: Sequence[float], progress: Progress | None = None
) -> vtk.vtkPolyData:
    """Return the surfaces of equal dose, all levels in one.

    A surface is open where the dose grid ends.

    Parameters
    ----------
    dose_Gy : (k, j, i) array
    grid : Grid
    levels_Gy : sequence of float
        Positive; levels above the maximum give no surface.
    progress : callable, optional

    Returns
    -------
    vtkPolyData
        Triangles in RAS mm with normals out of the high dose, point arrays ``isolevels`` (Gy) and ``isolevelIndex``.

    Raises
    ------
    EvaluationError
        No level, a level that is not positive and finite, or a dose that does not fit the grid or is not finite.
    """
    levels = [float(level) for level in levels_Gy]
    if not levels or not all(np.isfinite(level) and level > 0 for level in levels):
        raise EvaluationError(f"Isodose levels must be positive doses in Gy; got {levels}.")
    dose = np.ascontiguousarray(dose_Gy, dtype=np.float32)
    if dose.shape != grid.shape:
        raise EvaluationError(f"The dose array's shape {dose.shape} is not its grid's {grid.shape} (k, j, i).")
    if not np.isfinite(dose).all():
        raise EvaluationError("The dose has NaN or infinite voxels; repair it before drawing isodoses.")
    appended, report = vtk.vtkAppendPolyData(), part(progress, 0.0, 1.0)
    for index, level in enumerate(levels):
        report(index / len(levels), f"Isodose of {level:.4g} Gy")
        surface = contour(dose, grid, level)
        count = surface.GetNumberOfPoints()
        for name, values in (
            (LEVEL_ARRAY, np.full(count, level, np.float32)),
            (INDEX_ARRAY, np.full(count, index, np.float32)),
        ):
            array = numpy_to_vtk(values, deep=True)
            array.SetName(name)
            surface.GetPointData().AddArray(array)
        if count:
            appended.AddInputData(surface)
    result = vtk.vtkPolyData()
    if appended.GetNumberOfInputConnections(0):
        appended.Update()
        result.ShallowCopy(appended.GetOutput())
    result.GetPointData().SetActiveScalars(LEVEL_ARRAY)
    return result


def contour(values: np.ndarray, grid: Grid, level: float) -> vtk.vtkPolyData:
    """Return the surface where a (k, j, i) array passes a level: RAS mm, normals to the lower side."""
    image = vtk.vtkImageData()
    image.SetDimensions(*grid.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float32).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    # contoured in index space and moved to RAS: exact for oblique and left-handed grids
    flying_edges = vtk.vtkFlyingEdges3D()
    flying_edges.SetInputData(image)
    flying_edges.SetValue(0, float(level))
    flying_edges.ComputeNormalsOff()
    flying_edges.ComputeScalarsOff()
    flying_edges.ComputeGradientsOff()
    flying_edges.Update()
    surface = vtk.vtkPolyData()
    surface.ShallowCopy(flying_edges.GetOutput())
    if surface.GetNumberOfPoints() == 0:
        return surface
    points = grid.index_to_ras(vtk_to_numpy(surface.GetPoints().GetData()))
    moved = vtk.vtkPoints()
    moved.SetData(numpy_to_vtk(points.astype(np.float32), deep=True))
    surface.SetPoints(moved)
    if np.linalg.det(grid.affine[:3, :3]) < 0:
        reverse = vtk.vtkReverseSense()
        reverse.SetInputData(surface)
        reverse.Update()
        surface = reverse.GetOutput()
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(surface)
    normals.ConsistencyOff()
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()
