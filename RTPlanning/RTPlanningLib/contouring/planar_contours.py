"""Planar contours to voxel masks: even-odd scanline fill, and interpolation between contoured slices.

A voxel belongs to a structure when its centre lies inside the contours by the even-odd rule: an inner contour is a
hole, separate contours are separate pieces, an island in a hole is solid again, and a keyhole (a hole joined to the
outside by a channel of zero width, DICOM PS3.3 C.8.8.6.3) needs no special case, since the two sides of its channel
cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid

# A contour's points may leave its slice plane by this much (rounded decimal strings), or by 10 % of the slice spacing.
_PLANAR_TOLERANCE_MM = 0.1
_PLANAR_TOLERANCE_SLICES = 0.1
# Contours nearer to each other than this are in one plane.
_SAME_PLANE_MM = 0.05
# No gap wider than this is filled by interpolation: beyond it, contours are taken for separate pieces.
_WIDEST_FILLED_GAP_MM = 15.0
# A pair of contours is said to cross when the part inside and the part outside both exceed this share of the smaller.
_CROSSING_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class ContourMask:
    """A structure's voxels.

    Attributes
    ----------
    mask : (k, j, i) bool array
    notes : tuple of str
        What had to be decided or left out, in words for the user.
    """

    mask: np.ndarray
    notes: tuple[str, ...]


def fill_even_odd(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Fill polygons by the even-odd rule.

    Parameters
    ----------
    polygons : sequence of (n, 2) arrays
        Vertices (column, row) in pixels, pixel centres at whole numbers; the last vertex joins the first.
    shape : (int, int)
        Rows, columns of the result.

    Returns
    -------
    (rows, columns) bool array
        True where the pixel's centre is inside. Edges are half open: a centre on a left or upper edge is inside, on a
        right or lower edge outside, so polygons that share an edge neither overlap nor leave a gap.
    """
    result = np.zeros(shape, dtype=bool)
    filled = _fill_window(polygons, shape)
    if filled is not None:
        window, mask = filled
        result[window] = mask
    return result


def _fill_window(
    polygons: Sequence[np.ndarray], shape: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Fill polygons within their bounding window only; None when no row is crossed."""
    rows, columns = shape
    polygons = [np.asarray(polygon, float) for polygon in polygons if len(polygon)]
    if not polygons:
        return None
    start = np.concatenate(polygons)
    stop = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    # Every edge runs from its lower to its upper row, so both directions of travel give the same crossing to the bit.
    # That makes the result independent of point order and lets a keyhole's channel cancel exactly.
    downward = start[:, 1] > stop[:, 1]
    low, high = np.where(downward[:, None], stop, start), np.where(downward[:, None], start, stop)
    first = np.ceil(np.clip(low[:, 1], 0, rows)).astype(int)
    last = np.ceil(np.clip(high[:, 1], 0, rows)).astype(int)
    count = last - first
    if not count.any():
        return None
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    low, high = low[edge], high[edge]
    crossing = low[:, 0] + (row - low[:, 1]) * (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    column = np.ceil(np.clip(crossing, 0, columns)).astype(int)
    row_0, column_0 = row.min(), column.min()
    height, width = row.max() - row_0 + 1, column.max() - column_0 + 1
    toggles = np.bincount((row - row_0) * width + (column - column_0), minlength=height * width)
    inside = (np.cumsum(toggles.reshape(height, width), axis=1) & 1).astype(bool)
    # the last column holds only right ends; it may be one past the image
    inside = inside[:, :-1]
    return (slice(row_0, row_0 + height), slice(column_0, column_0 + width - 1)), inside


def interpolate_shape(
    lower: np.ndarray, upper: np.ndarray, fraction: float, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Shape-based interpolation between two masks: the signed distances to their edges are mixed linearly.

    Source: S. P. Raya and J. K. Udupa, IEEE Trans. Med. Imaging 9 (1990) 32-42.

    Parameters
    ----------
    lower, upper : (rows, columns) bool arrays
    fraction : float
        0 gives ``lower``, 1 gives ``upper``.
    spacing_mm : (float, float)
        Pixel size along rows and columns.

    Returns
    -------
    (rows, columns) bool array
    """
    used = lower | upper
    result = np.zeros(used.shape, dtype=bool)
    if not lower.any() or not upper.any():
        return result
    window = tuple(
        slice(max(int(hit[0]) - 1, 0), int(hit[-1]) + 2)
        for hit in (np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0)))
    )
    distance = (1.0 - fraction) * _signed_distance(lower[window], spacing_mm) + fraction * _signed_distance(
        upper[window], spacing_mm
    )
    result[window] = distance > 0
    return result


def _signed_distance(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Distance to the edge in mm, positive inside; the world beyond the array is outside."""
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~padded, sampling=spacing_mm)
    return (inside - outside)[1:-1, 1:-1]


def mask_from_contours(
    name: str, contours_RAS_mm: Sequence[np.ndarray], grid: Grid, labels: Sequence[str] | None = None
) -> ContourMask:
    """Fill a structure's closed planar contours on a grid whose slices (k) they are parallel to.

    Contours of one plane are combined by the even-odd rule. A plane between two slices goes to the nearest slice. Where
    a structure is contoured more coarsely than the slices (no two contours on neighbouring slices), the slices between
    are filled by `interpolate_shape`. Slices beyond the grid are left out. Each of these is noted.

    Parameters
    ----------
    name : str
        The structure's name, for messages.
    contours_RAS_mm : sequence of (n, 3) arrays
        Points of each contour; the last joins the first.
    grid : Grid
    labels : sequence of str, optional
        How messages call each contour; default "contour 1" and so on.

    Raises
    ------
    CaseError
        A contour with fewer than three points, with NaN, not planar, or not parallel to the slices.
    """
    labels = [f"contour {number}" for number in range(1, len(contours_RAS_mm) + 1)] if labels is None else labels
    notes: list[str] = []
    slices, rows, columns = grid.shape
    slice_mm = float(grid.spacing_mm[2])
    placed = [
        _in_slice_plane(name, label, contour, grid) for label, contour in zip(labels, contours_RAS_mm, strict=True)
    ]
    on_grid = [one for one in placed if -0.5 - 1e-3 <= one[0] <= slices - 0.5 + 1e-3]
    if len(on_grid) < len(placed):
        notes.append(
            f"{name}: {len(placed) - len(on_grid)} of {len(placed)} contours lie off the CT and were left out."
        )
    mask = np.zeros(grid.shape, dtype=bool)
    if not on_grid:
        return ContourMask(mask, tuple(notes))
    notes += _beyond_edges(name, [polygon for _, polygon in on_grid], grid)

    positions, planes = _group_by_plane(on_grid, _SAME_PLANE_MM / slice_mm)
    planes, doubled = _without_copies(planes)
    if doubled:
        notes.append(f"{name}: copies of a contour in the same plane ({doubled}) were left out.")
    crossing = [k for k, plane in zip(positions, planes, strict=True) if _any_cross(plane, (rows, columns))]
    if crossing:
        notes.append(
            f"{name}: contours cross each other ({len(crossing)} slices, first {_where(grid, crossing[0])}); "
            "where two of them overlap, the voxels were left out (even-odd rule). Check these slices."
        )
    filled = [fill_even_odd(plane, (rows, columns)) for plane in planes]
    if sum(not plane.any() for plane in filled):
        notes.append(f"{name}: contours too small to hold a voxel on some slices ({sum(not p.any() for p in filled)}).")

    tolerance = max(_PLANAR_TOLERANCE_MM / slice_mm, _PLANAR_TOLERANCE_SLICES)
    # the small addend keeps planes exactly half way between slices from falling on the same slice by rounding
    nearest = np.clip(np.floor(positions + 0.5 + 1e-3).astype(int), 0, slices - 1)
    offset_mm = np.abs(positions - nearest).max() * slice_mm
    chosen: dict[int, int] = {}
    for plane, k in enumerate(nearest):
        if k not in chosen or abs(positions[plane] - k) < abs(positions[chosen[k]] - k):
            chosen[int(k)] = plane
    for k, plane in chosen.items():
        mask[k] = filled[plane]
    if len(chosen) < len(planes):
        notes.append(
            f"{name}: contoured more finely than the CT's slices ({len(planes)} planes on {len(chosen)} slices); "
            "each slice got the plane nearest to it."
        )

    gaps = np.diff(positions)
    coarse = len(gaps) > 0 and gaps.min() > 1.05
    widest = min(1.5 * float(np.median(gaps)), _WIDEST_FILLED_GAP_MM / slice_mm) if coarse else 0.0
    interpolated, empty = 0, []
    for plane, gap in enumerate(gaps):
        low, high = positions[plane], positions[plane + 1]
        if gap <= widest:
            for k in range(int(np.ceil(low + tolerance)), int(np.floor(high - tolerance)) + 1):
                mask[k] = interpolate_shape(
                    filled[plane],
                    filled[plane + 1],
                    (k - low) / gap,
                    (float(grid.spacing_mm[1]), float(grid.spacing_mm[0])),
                )
                interpolated += 1
        elif nearest[plane + 1] - nearest[plane] > 1:
            empty.append((nearest[plane] + 1, nearest[plane + 1] - 1))
    if interpolated:
        notes.append(
            f"{name}: contoured about every {np.median(gaps):.3g} slices; the slices between contours ({interpolated}) "
            "were filled by shape-based interpolation."
        )
    elif offset_mm > tolerance * slice_mm:
        notes.append(
            f"{name}: contours lie up to {offset_mm:.2f} mm off the CT's slices; each was drawn on the nearest slice."
        )
    if empty:
        spans = ", ".join(
            f"{_where(grid, a)} to {_where(grid, b)}" if a != b else _where(grid, a) for a, b in empty[:3]
        )
        notes.append(
            f"{name}: slices without a contour between contoured ones ({sum(b - a + 1 for a, b in empty)}: "
            f"{spans}{', ...' if len(empty) > 3 else ''}) were left empty."
        )
    return ContourMask(mask, tuple(notes))


def _where(grid: Grid, k: float) -> str:
    """Name a slice: its number and where it lies along the patient's axis it is nearest to."""
    centre = grid.index_to_ras([(grid.shape[2] - 1) / 2, (grid.shape[1] - 1) / 2, k])
    axis = int(np.argmax(np.abs(grid.directions[:, 2])))
    return f"slice {round(float(k)) + 1} ({'RAS'[axis]} {centre[axis]:.1f} mm)"


def _in_slice_plane(name: str, label: str, contour: np.ndarray, grid: Grid) -> tuple[float, np.ndarray]:
    """Check one contour; return its slice position k and its vertices (column, row)."""
    points = np.asarray(contour, float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise CaseError(f"{name}, {label}: a contour must be points of three coordinates; got shape {points.shape}.")
    if len(points) < 3:
        raise CaseError(
            f"{name}, {label}: a closed contour needs at least 3 points; it has {len(points)}. "
            "Delete or redraw that contour and export again, or leave the structure out."
        )
    if not np.isfinite(points).all():
        raise CaseError(
            f"{name}, {label}: has NaN or infinite coordinates. Redraw that contour and export again, or leave the "
            "structure out."
        )
    index = grid.ras_to_index(points)
    slice_mm = float(grid.spacing_mm[2])
    spread_mm = float(np.ptp(index[:, 2])) * slice_mm
    if spread_mm > max(_PLANAR_TOLERANCE_MM, _PLANAR_TOLERANCE_SLICES * slice_mm):
        centred = points - points.mean(axis=0)
        normal = np.linalg.svd(centred, full_matrices=False)[2][2]
        if np.ptp(centred @ normal) > _PLANAR_TOLERANCE_MM:
            what = f"is not planar (its points leave a common plane by {np.ptp(centred @ normal):.2f} mm)"
        else:
            what = f"is not parallel to the CT's slices (it runs across {spread_mm:.2f} mm of them)"
        raise CaseError(
            f"{name}, {label}: {what}. Redraw it on the CT's slices and export again, or leave the structure out."
        )
    return float(index[:, 2].mean()), index[:, :2]


def _group_by_plane(
    placed: Sequence[tuple[float, np.ndarray]], tolerance: float
) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Gather contours that lie in one plane; positions ascend."""
    positions: list[float] = []
    planes: list[list[np.ndarray]] = []
    for k, polygon in sorted(placed, key=lambda one: one[0]):
        if positions and k - positions[-1] <= tolerance:
            planes[-1].append(polygon)
        else:
            positions.append(k)
            planes.append([polygon])
    return np.array(positions), planes


def _without_copies(planes: Sequence[list[np.ndarray]]) -> tuple[list[list[np.ndarray]], int]:
    """Drop contours whose set of vertices another one of the plane has too: by even-odd the pair would vanish."""
    kept, dropped = [], 0
    for plane in planes:
        seen: dict[bytes, np.ndarray] = {}
        for polygon in plane:
            rounded = np.unique(np.round(polygon, 4) + 0.0, axis=0)
            seen.setdefault(rounded.tobytes(), polygon)
        dropped += len(plane) - len(seen)
        kept.append(list(seen.values()))
    return kept, dropped


def _any_cross(plane: Sequence[np.ndarray], shape: tuple[int, int]) -> bool:
    """Tell whether two contours of a plane overlap without one holding the other."""
    boxes = [(polygon.min(axis=0), polygon.max(axis=0)) for polygon in plane]
    filled: dict[int, np.ndarray] = {}
    for a in range(len(plane)):
        for b in range(a):
            if (boxes[a][0] > boxes[b][1]).any() or (boxes[b][0] > boxes[a][1]).any():
                continue
            for one in (a, b):
                if one not in filled:
                    filled[one] = fill_even_odd([plane[one]], shape)
            both = np.count_nonzero(filled[a] & filled[b])
            smaller = min(np.count_nonzero(filled[a]), np.count_nonzero(filled[b]))
            limit = _CROSSING_SHARE * smaller
            if both > limit and smaller - both > limit:
                return True
    return False


def _beyond_edges(name: str, polygons: Sequence[np.ndarray], grid: Grid) -> list[str]:
    points = np.concatenate(polygons)
    upper = np.array([grid.shape[2], grid.shape[1]]) - 0.5
    excess = np.maximum(-0.5 - points, points - upper) * grid.spacing_mm[:2]
    # up to half a pixel is the usual overshoot of a contour that hugs the border
    if (excess > 0.5 * grid.spacing_mm[:2]).any():
        return [f"{name}: reaches {excess.max():.1f} mm beyond the border of the CT's slices and was cut there."]
    return []
