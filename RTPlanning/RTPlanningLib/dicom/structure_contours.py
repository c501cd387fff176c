"""The contours by which a structure is exported, slice by slice of the CT it lies on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.contouring.keyholes import join_holes
from RTPlanningLib.contouring.mask_outlines import outline_mask

# A contour this near to a slice, in slice spacings, lies on it.
_ON_SLICE = 0.01
# Contours of one plane, however their decimals were rounded.
_SAME_PLANE = 1e-3
_DECIMALS_MM = 5


@dataclass(frozen=True, eq=False)
class SliceContour:
    """A closed contour.

    Attributes
    ----------
    points_RAS_mm : (n, 3) array
        The last joins the first. A hole is part of it, by a channel of no width (keyhole).
    k : int or None
        Slice of the CT that it lies on; None: between slices.
    """

    points_RAS_mm: np.ndarray
    k: int | None


def contours_of(structure: Structure, grid: Grid) -> list[SliceContour]:
    """Return a structure's contours.

    A structure that was contoured keeps its contours, point by point, except that a contour inside another becomes a
    keyhole. Any other is outlined on every slice, so that filling the contours gives its voxels again and every contour
    encloses the area of its voxels.

    Parameters
    ----------
    structure : Structure
    grid : Grid
        Of the images; the slices (k) of the structure's grid, in either order and turned in themselves.
    """
    if isinstance(structure.outline, ContourStack):
        return _drawn(structure.outline, grid)
    found = []
    own = structure.grid
    for k in np.flatnonzero(structure.mask.any(axis=(1, 2))):
        rows, columns = (np.flatnonzero(structure.mask[k].any(axis=axis)) for axis in (1, 0))
        window = structure.mask[k, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for loop in join_holes(outline_mask(window)):
            index = np.column_stack((loop + (columns[0], rows[0]), np.full(len(loop), k)))
            found.append(_placed(np.round(own.index_to_ras(index), _DECIMALS_MM), grid))
    return found


def _drawn(stack: ContourStack, grid: Grid) -> list[SliceContour]:
    places = [grid.ras_to_index(points) for points in stack.contours_RAS_mm]
    heights = np.array([place[:, 2].mean() for place in places])
    found: list[SliceContour] = []
    planes: list[list[int]] = []
    for number in np.argsort(heights, kind="stable"):
        if planes and heights[number] - heights[planes[-1][-1]] <= _SAME_PLANE:
            planes[-1].append(int(number))
        else:
            planes.append([int(number)])
    for plane in planes:
        joined = join_holes([places[number][:, :2] for number in plane])
        if len(joined) == len(plane):
            # no holes: the contours as they were drawn, to the last digit
            found += [_placed(stack.contours_RAS_mm[number], grid) for number in plane]
            continue
        height = float(np.mean(heights[plane]))
        for loop in joined:
            points = grid.index_to_ras(np.column_stack((loop, np.full(len(loop), height))))
            found.append(_placed(np.round(points, _DECIMALS_MM), grid))
    return found


def _placed(points_RAS_mm: np.ndarray, grid: Grid) -> SliceContour:
    k = float(grid.ras_to_index(points_RAS_mm)[:, 2].mean())
    nearest = round(k)
    on_slice = abs(k - nearest) <= _ON_SLICE and 0 <= nearest < grid.shape[0]
    return SliceContour(points_RAS_mm, nearest if on_slice else None)
