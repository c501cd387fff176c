"""Which voxels a margin reaches: exact nearest-voxel search in the space that the margins scale to a unit ball.

The margin's shape is an ellipsoid whose half axes may differ on either side: eight octants of eight ellipsoids. A point
is reached when it lies within that shape about some point of the structure. Divided by the margin of its sign, every
component of a displacement is a length in a space in which the shape is the unit ball, and the sum of squares is
minimal for the nearest voxel. The minimum is found axis by axis, as in exact distance transforms (P. F. Felzenszwalb
and D. P. Huttenlocher, Theory of Computing 8 (2012) 415), here over the few voxels within the margin.
"""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
from scipy import ndimage

from DoseEngineLib.geometry import Grid
from DoseEngineLib.progress import Progress, part, silent
from DoseEngineLib.surface_offset import LARGEST_OFFSET, SurfaceOffset
from RTPlanningLib.contouring.margins import Margins

# Direction cosines nearer than this to an axis are on it: 20 mm of margin turn by a tenth of a millimetre.
_ON_AXIS = 5e-3
# A surface that lies on a voxel's centre counts as reached, whatever the rounding.
_ROUNDING = 1e-5
_RIM_VOXELS = 2


def reached(mask: np.ndarray, grid: Grid, margins: Margins, progress: Progress | None = None) -> np.ndarray:
    """Return the voxels of a grid that a mask grown by margins covers.

    Parameters
    ----------
    mask : (k, j, i) bool array
        With room for the margins around it; beyond the array there is nothing.
    grid : Grid
        Of any orientation and spacing.
    margins : Margins
        None negative.
    progress : callable, optional

    Returns
    -------
    (k, j, i) bool array
        Voxels whose centres are not farther from the mask's surface than the margin in that direction. Margins below
        half a voxel, if not all are equal, count as half a voxel on a grid that `is_turned`.
    """
    if not mask.any() or margins.is_zero:
        return mask.copy()
    axes = _margins_of_axes(grid, margins)
    if axes is None:
        margins = _at_least_half_a_voxel(margins, grid)
        squared, offsets = _nearest_by_displacement(mask, grid, margins, progress)
        weights = None
    else:
        # (lower, upper) in scaled lengths a voxel, k, j, i
        spacing = grid.spacing_mm[::-1]
        weights = [tuple(s / m if m > 0.0 else np.inf for m in pair) for s, pair in zip(spacing, axes)]
        squared, offsets = _nearest_by_axis(mask, weights, part(progress, 0.0, 0.9))
    result = squared <= 1.0
    unsure = np.nonzero((squared > 1.0) & np.isfinite(squared))
    if unsure[0].size == 0:
        return result
    displacement = np.stack([offset[unsure] for offset in offsets], axis=1).astype(float)
    if weights is None:
        covector = _covectors(displacement, grid, margins)
    else:
        covector = np.zeros_like(displacement)
        for axis, (lower, upper) in enumerate(weights):
            along = displacement[:, axis]
            used = along != 0
            covector[used, axis] = along[used] * np.where(along[used] > 0, upper, lower) ** 2
    length = np.linalg.norm(covector, axis=1)
    nearest = tuple(index - step for index, step in zip(unsure, displacement.astype(int).T))
    distance = np.sqrt(squared[unsure], dtype=float)
    # along the displacement, from the voxel's centre to its plane
    offset = SurfaceOffset(mask).at(nearest, covector / length[:, None]) * length / distance
    result[unsure] = distance - offset <= 1.0 + _ROUNDING
    return result


def is_turned(grid: Grid) -> bool:
    """Whether the axes of a grid are not those of the patient."""
    return bool((np.abs(np.sort(np.abs(grid.directions), axis=0)[:2]) > _ON_AXIS).any())


def reach_voxels(grid: Grid, margins: Margins) -> np.ndarray:
    """Return how many voxels (k, j, i; lower, upper) margins can reach on a grid, an upper bound; shape (3, 2)."""
    if is_turned(grid) and not margins.is_uniform:
        margins = _at_least_half_a_voxel(margins, grid)
    corners = np.array(
        [
            (r, a, s)
            for r in (-margins.left_mm, margins.right_mm)
            for a in (-margins.posterior_mm, margins.anterior_mm)
            for s in (-margins.inferior_mm, margins.superior_mm)
        ]
    )
    if margins.is_uniform:
        half = np.full(3, margins.left_mm) / grid.spacing_mm
        low, high = -half, half
    else:
        index = corners @ grid.inverse_affine[:3, :3].T
        low, high = index.min(axis=0), index.max(axis=0)
    beyond = np.ceil(np.stack((-low, high), axis=1) - 1e-9).astype(int) + 1
    return beyond[::-1]


def _margins_of_axes(grid: Grid, margins: Margins) -> list[tuple[float, float]] | None:
    """Margins towards lower and higher indices of k, j, i; None where the axes are not the patient's."""
    if margins.is_uniform:
        return [(margins.left_mm, margins.left_mm)] * 3
    sides = (
        (margins.left_mm, margins.right_mm),
        (margins.posterior_mm, margins.anterior_mm),
        (margins.inferior_mm, margins.superior_mm),
    )
    found = []
    if is_turned(grid):
        return None
    for column in grid.directions.T[::-1]:
        main = int(np.abs(column).argmax())
        lower, upper = sides[main]
        found.append((lower, upper) if column[main] > 0.0 else (upper, lower))
    return found


def _nearest_by_axis(
    mask: np.ndarray, weights: list[tuple[float, float]], progress: Progress
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scaled distance squared to the nearest voxel of a mask, and the displacement from it (k, j, i) in voxels."""
    squared = np.where(mask, np.float32(0.0), np.float32(np.inf))
    offsets: list[np.ndarray] = []
    for axis, (lower, upper) in enumerate(weights):
        steps = _steps(lower, upper)
        best, chosen = squared.copy(), np.zeros(mask.shape, np.int16)
        for number, step in enumerate(steps):
            progress((axis + number / len(steps)) / 3.0, "Measuring distances")
            count = mask.shape[axis] - abs(step)
            if count <= 0:
                continue
            here, there = [slice(None)] * 3, [slice(None)] * 3
            here[axis] = slice(step, None) if step > 0 else slice(None, count)
            there[axis] = slice(None, count) if step > 0 else slice(-step, None)
            candidate = squared[tuple(there)] + np.float32((step * (upper if step > 0 else lower)) ** 2)
            nearer = candidate < best[tuple(here)]
            np.copyto(best[tuple(here)], candidate, where=nearer)
            chosen[tuple(here)][nearer] = step
        if steps:
            source = np.arange(mask.shape[axis], dtype=np.int32).reshape([-1 if a == axis else 1 for a in range(3)])
            source = source - chosen
            offsets = [np.take_along_axis(former, source, axis) for former in offsets]
        offsets.append(chosen)
        squared = best
    return squared, offsets


def _steps(lower: float, upper: float) -> list[int]:
    """Displacements in voxels that a margin and the half voxel before it can span, nearest first."""
    steps = [step for step in range(1, _last_step(upper) + 1)]
    steps += [-step for step in range(1, _last_step(lower) + 1)]
    return sorted(steps, key=abs)


def _last_step(weight: float) -> int:
    return int(np.floor(1.0 / weight + LARGEST_OFFSET + 1e-6)) if np.isfinite(weight) else 0


def _nearest_by_displacement(
    mask: np.ndarray, grid: Grid, margins: Margins, progress: Progress | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The same on axes that are not the patient's: displacements from the farthest to the nearest, last one stays."""
    progress = progress or silent
    room = reach_voxels(grid, margins)
    ranges = [np.arange(-low, high + 1) for low, high in room]
    steps = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    steps = steps[steps.any(axis=1)]
    scaled = _scaled_squared(steps, grid, margins)
    distance = np.sqrt(scaled)
    most = LARGEST_OFFSET * np.linalg.norm(_covectors(steps, grid, margins), axis=1) / distance
    within = distance - most <= 1.0 + _ROUNDING
    order = np.flatnonzero(within)[np.argsort(-scaled[within], kind="stable")]
    # Deep inside, nothing is nearest to anything outside; on turned axes the way there may miss the outermost voxels.
    core = ndimage.binary_erosion(mask, np.ones((3, 3, 3), bool), iterations=_RIM_VOXELS)
    rim = np.stack(np.nonzero(mask & ~core), axis=1)
    shape = np.array(mask.shape)
    padded = [(int(low), int(high)) for low, high in room]
    squared = np.full(shape + room.sum(axis=1), np.inf, np.float32)
    offsets = [np.zeros(squared.shape, np.int16) for _ in range(3)]
    strides = np.array([squared.shape[1] * squared.shape[2], squared.shape[2], 1])
    base = (rim + room[:, 0]) @ strides
    flat = squared.reshape(-1)
    flat_offsets = [offset.reshape(-1) for offset in offsets]
    for number, index in enumerate(order):
        if number % 50 == 0:
            progress(0.9 * number / len(order), "Measuring distances")
        target = base + steps[index] @ strides
        flat[target] = scaled[index]
        for axis in range(3):
            flat_offsets[axis][target] = steps[index, axis]
    inner = tuple(slice(low, low + n) for (low, _), n in zip(padded, mask.shape))
    squared, offsets = squared[inner], [offset[inner] for offset in offsets]
    squared[mask] = 0.0
    for offset in offsets:
        offset[mask] = 0
    return squared, offsets


def _patient_weights(ras_mm: np.ndarray, margins: Margins) -> np.ndarray:
    """Scaled lengths a mm for displacements (n, 3) in RAS, by the sign of each component."""
    lower = np.array((margins.left_mm, margins.posterior_mm, margins.inferior_mm))
    upper = np.array((margins.right_mm, margins.anterior_mm, margins.superior_mm))
    return np.where(ras_mm > 0.0, 1.0 / upper, 1.0 / lower)


def _scaled_squared(steps: np.ndarray, grid: Grid, margins: Margins) -> np.ndarray:
    ras = steps[:, ::-1] @ grid.affine[:3, :3].T
    return ((ras * _patient_weights(ras, margins)) ** 2).sum(axis=1)


def _covectors(steps: np.ndarray, grid: Grid, margins: Margins) -> np.ndarray:
    """Normals in index space (k, j, i) of the scaled spheres through displacements."""
    ras = steps[:, ::-1] @ grid.affine[:3, :3].T
    gradient = ras * _patient_weights(ras, margins) ** 2
    return (gradient @ grid.affine[:3, :3])[:, ::-1]


def _at_least_half_a_voxel(margins: Margins, grid: Grid) -> Margins:
    """Margins none of which is thinner than the voxels that are to tell it."""
    return Margins(*(max(margin, 0.5 * float(grid.spacing_mm.min())) for margin in astuple(margins)))
