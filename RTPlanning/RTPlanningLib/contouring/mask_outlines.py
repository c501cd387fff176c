"""From voxels to contours: loops half way between voxels inside and outside, which enclose the area of the voxels."""

from __future__ import annotations

import numpy as np
from contourpy import LineType, contour_generator


def outline_mask(mask: np.ndarray) -> list[np.ndarray]:
    """Return the loops around a slice's mask: outer ones, and those around holes.

    A loop passes between the centres of pixels inside and outside (marching squares), so filling the loops by the
    even-odd rule gives the mask again, to the last pixel. Half way between them a loop would cut off corners and lose
    half a pixel of area, which counts for small structures; every loop therefore keeps so much more distance from the
    centres inside that it encloses exactly the area of its pixels (for a single pixel 0.707 of its side, not 0.5).

    Parameters
    ----------
    mask : (rows, columns) bool array

    Returns
    -------
    list of (n, 2) arrays
        Vertices (column, row) in pixels, pixel centres at whole numbers; the last joins the first. Pixels that touch at
        a corner only may share a loop or have one each.
    """
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        return []
    # a border of outside pixels closes every loop
    padded = np.pad(mask, 1)
    lines = contour_generator(z=padded.astype(float), name="serial", line_type=LineType.Separate).lines(0.5)
    return [_with_area_of_pixels(_corners(line[:-1]), padded) - 1.0 for line in lines]


def _corners(loop: np.ndarray) -> np.ndarray:
    """Leave out vertices on the straight line between their neighbours; exact, since all are half numbers."""
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    return loop[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _with_area_of_pixels(loop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Move a loop's vertices away from the pixels it encloses until its area is theirs."""
    low, high = np.floor(loop).astype(int), np.ceil(loop).astype(int)
    # from the pixel inside the mask to the one outside, along a row or a column
    outwards = np.where(mask[low[:, 1], low[:, 0]][:, None], high - low, low - high).astype(float)
    area = _area(loop, loop)
    edge = loop[1] - loop[0]
    if area * (edge[1] * outwards[0, 0] - edge[0] * outwards[0, 1]) < 0.0:
        # around a hole, the pixels enclosed are those outside the mask
        outwards = -outwards
    sign = np.sign(area)
    # A loop turns four more corners outwards than inwards, each of which costs an eighth of a pixel.
    quadratic = sign * np.array([_area(outwards, outwards), _area(loop, outwards) + _area(outwards, loop), -0.5 * sign])
    roots = np.roots(quadratic)
    shift = min(float(root.real) for root in roots if abs(root.imag) < 1e-12 and root.real > 0.0)
    return loop + shift * outwards


def _area(a: np.ndarray, b: np.ndarray) -> float:
    """Bilinear form of the shoelace formula: with ``a`` twice it is the polygon's signed area."""
    following = np.roll(b, -1, axis=0)
    return 0.5 * float((a[:, 0] * following[:, 1] - a[:, 1] * following[:, 0]).sum())
