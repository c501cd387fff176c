"""Voxels of a structure that is known by its contours or its surface alone, where no image gives a grid."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.closed_surface import ClosedSurface
from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import GeometryError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.scan_lines import spans_inside

# Voxels are cubes of the structure's volume over this, in these limits.
_VOXELS = 200_000
_SMALLEST_MM, _LARGEST_MM = 0.05, 2.0
_MAXIMUM_VOXELS = 100_000_000


def structure_from_outline(
    outline: ContourStack | ClosedSurface,
    role: str = "ORGAN",
    color: tuple[float, float, float] = (0.5, 0.5, 0.5),
    spacing_mm: float | None = None,
) -> Structure:
    """Return a structure with its outline, and with voxels on a grid of its own around it.

    DVHs and volumes are those of the outline; the voxels serve what asks which voxels of a dose lie inside.

    Parameters
    ----------
    outline : ContourStack or ClosedSurface
    role : str
    color : (3,) tuple of float
    spacing_mm : float, optional
        Voxel size; by default so that the structure has about 200 000 voxels of 0.05 to 2 mm.

    Raises
    ------
    GeometryError
        A spacing that is not positive, or that makes too many voxels.
    """
    mask, grid = outline_voxels(outline, spacing_mm)
    return Structure(outline.name, mask, grid, role, color, outline)


def outline_voxels(outline: ContourStack | ClosedSurface, spacing_mm: float | None = None) -> tuple[np.ndarray, Grid]:
    """Return the voxels whose centres lie inside an outline, as a mask (k, j, i) and its grid; see above."""
    if spacing_mm is None:
        spacing_mm = float(np.clip((1000.0 * outline.volume_cm3 / _VOXELS) ** (1 / 3), _SMALLEST_MM, _LARGEST_MM))
    if not 0.0 < spacing_mm < np.inf:
        raise GeometryError(f"{outline.name}: a voxel size of {spacing_mm} mm is not positive.")
    frame, low, high = outline.extent
    count = np.maximum(np.ceil((high - low) / spacing_mm - 1e-6).astype(int), 1)
    if np.prod(count.astype(float)) > _MAXIMUM_VOXELS:
        raise GeometryError(
            f"{outline.name}: voxels of {spacing_mm:g} mm would be {count[0]} x {count[1]} x {count[2]}; choose a "
            "larger size."
        )
    first = 0.5 * (low + high) - 0.5 * (count - 1) * spacing_mm
    columns, rows, slices = (int(n) for n in count)
    affine = np.eye(4)
    affine[:3, :3] = frame * spacing_mm
    affine[:3, 3] = frame @ first
    edges, slice_of_layer = outline.cross_sections(first[2] + spacing_mm * np.arange(slices))
    # all rows of every layer, sorted by layer, then y
    row_layer = np.repeat(np.arange(len(slice_of_layer)), rows)
    row_y = np.tile(first[1] + spacing_mm * np.arange(rows), len(slice_of_layer))
    row, x_start, x_stop = spans_inside(edges, row_layer, row_y)
    toggles = np.zeros((slices * rows, columns + 1), np.int32)
    k, j = slice_of_layer[row_layer[row]], row % rows
    for x in (x_start, x_stop):
        i = np.ceil((x - first[0]) / spacing_mm).astype(int).clip(0, columns)
        np.add.at(toggles, (k * rows + j, i), 1)
    inside = (np.cumsum(toggles, axis=1)[:, :columns] % 2).astype(bool)
    return inside.reshape(slices, rows, columns), Grid((slices, rows, columns), affine)
