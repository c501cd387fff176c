"""Outlines of the shadows that structures throw from a beam's source onto the isocentre plane."""

from __future__ import annotations

import numpy as np
import vtk
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DoseEngineLib.aperture import silhouette_raster
from DoseEngineLib.iec61217 import BeamFrame
from DoseEngineLib.plan import Structure

_PIXEL_MM = 0.35
# Takes the staircase off the raster. Set so that outlines keep nearest to the projected voxels: 0.1 mm on average,
# 0.4 mm at the corners of single voxels.
_SMOOTHING_PIXELS, _SHARE = 0.7, 0.65


def silhouette_outlines(
    structure: Structure, frame: BeamFrame, sad_mm: float, pixel_mm: float = _PIXEL_MM
) -> tuple[np.ndarray, ...]:
    """Return the outlines of a structure's shadow; holes in a shadow are not outlined.

    Parameters
    ----------
    structure : Structure
        Not empty.
    frame : BeamFrame
    sad_mm : float
    pixel_mm : float
        Of the raster they are found in.

    Returns
    -------
    tuple of (n, 2) arrays
        Closed polygons (first point not repeated), x, y of the frame in mm at the isocentre plane.

    Raises
    ------
    PlanError
        An empty structure.
    GeometryError
        A structure that reaches behind the source.
    """
    # the silhouette is closed over gaps as wide as a voxel, which needs that much room around it
    room_mm = float(structure.grid.spacing_mm.max()) + 4 * pixel_mm
    image, first = silhouette_raster(structure, frame, sad_mm, room_mm, pixel_mm)
    share = ndimage.gaussian_filter(image.astype(np.float32), _SMOOTHING_PIXELS)
    rows, columns = share.shape
    data = vtk.vtkImageData()
    data.SetDimensions(columns, rows, 1)
    data.GetPointData().SetScalars(numpy_to_vtk(share.ravel(), deep=True))
    contour = vtk.vtkFlyingEdges2D()
    contour.SetInputData(data)
    contour.SetValue(0, _SHARE)
    joined = vtk.vtkStripper()
    joined.SetInputConnection(contour.GetOutputPort())
    # a line of many pixels stays one
    joined.SetMaximumLength(share.size)
    joined.JoinContiguousSegmentsOn()
    joined.Update()
    lines = joined.GetOutput()
    if lines.GetNumberOfLines() == 0:
        return ()
    points = first + pixel_mm * vtk_to_numpy(lines.GetPoints().GetData())[:, :2].astype(float)
    ends = vtk_to_numpy(lines.GetLines().GetOffsetsArray())
    corners = vtk_to_numpy(lines.GetLines().GetConnectivityArray())
    loops = [corners[start:stop] for start, stop in zip(ends, ends[1:])]
    return tuple(points[loop[:-1] if loop[0] == loop[-1] else loop] for loop in loops)
