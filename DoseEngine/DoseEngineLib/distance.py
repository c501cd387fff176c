"""Distances from a structure's surface in mm, by the exact distance transform, on grids of any spacing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import GeometryError, PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.surface_offset import SurfaceOffset


def signed_distance_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Distance of every voxel centre from the surface of a mask.

    The exact Euclidean distance transform measures between voxel centres; how far the surface lies beyond the nearest
    one is told by the voxels around it (`DoseEngineLib.surface_offset`) and taken off along the direction to it. That
    is exact for faces along the axes, and around balls of three voxels' radius and more right to a tenth of a voxel in
    the mean.

    Parameters
    ----------
    mask : (k, j, i) bool array
        With at least one voxel inside. Beyond the array is taken as more of the same.
    spacing_mm : (3,) array
        Voxel size along i, j, k.

    Returns
    -------
    (k, j, i) float32 array
        Positive outside, negative inside.
    """
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        raise GeometryError("There is no distance from an empty mask; contour the structure first.")
    outside = _distance_to(mask, spacing_mm)
    if mask.all():
        return outside - np.inf
    return np.where(mask, -_distance_to(~mask, spacing_mm), outside)


def distance_from_structure_mm(structure: Structure, points_RAS_mm: np.ndarray, reach_mm: float) -> np.ndarray:
    """Distance of points from a structure's surface.

    Parameters
    ----------
    structure : Structure
    points_RAS_mm : (n, 3) array
        Inside or outside the structure's grid.
    reach_mm : float
        Larger distances are not told apart: they are returned as this one.

    Returns
    -------
    (n,) float32 array
        Up to ``reach_mm``; negative inside.

    Raises
    ------
    PatientError
        An empty structure.
    """
    distances, grid = _distances_around(structure, reach_mm)
    index = grid.ras_to_index(points_RAS_mm)[:, ::-1].T
    found = ndimage.map_coordinates(
        np.minimum(distances, np.float32(reach_mm)),
        index,
        order=1,
        mode="constant",
        cval=reach_mm,
        output=np.float32,
    )
    return np.minimum(found, np.float32(reach_mm))


def distance_on_grid_mm(structure: Structure, reach_mm: float) -> np.ndarray:
    """Distance of every voxel of a structure's own grid from its surface.

    Returns
    -------
    (k, j, i) float32 array
        Negative inside; distances beyond ``reach_mm`` are infinite.
    """
    distances, grid = _distances_around(structure, reach_mm, beyond_grid=False)
    result = np.full(structure.grid.shape, np.inf, np.float32)
    first = np.rint(structure.grid.ras_to_index(grid.index_to_ras(np.zeros(3)))).astype(int)[::-1]
    here, there = [], []
    for axis in range(3):
        low, high = max(first[axis], 0), min(first[axis] + distances.shape[axis], result.shape[axis])
        here.append(slice(low, high))
        there.append(slice(low - first[axis], high - first[axis]))
    near = distances[tuple(there)]
    result[tuple(here)] = np.where(near <= reach_mm, near, np.inf)
    return result


def _distances_around(structure: Structure, reach_mm: float, *, beyond_grid: bool = True) -> tuple[np.ndarray, Grid]:
    """Signed distances in the structure's bounding box with a margin, on its lattice but not bound by its grid."""
    if structure.is_empty:
        raise PatientError(f"Structure {structure.name} is empty; contour it before measuring distances from it.")
    if not (np.isfinite(reach_mm) and reach_mm >= 0.0):
        raise GeometryError(f"The reach of a distance must be finite and not negative; got {reach_mm} mm.")
    spacing = structure.grid.spacing_mm
    box, slices = structure.grid.crop(structure.mask)
    # two voxels more, for the interpolation between the last distance and the end
    margin = np.ceil(reach_mm / spacing).astype(int) + 2
    widths = [(int(m), int(m)) for m in margin[::-1]]
    if not beyond_grid:
        # some voxels beyond the grid tell that a structure at its end does not go on
        room = [(cut.start + 3, size - cut.stop + 3) for cut, size in zip(slices, structure.grid.shape)]
        widths = [(min(low, left), min(high, right)) for (low, high), (left, right) in zip(widths, room)]
    mask = np.pad(structure.mask[slices], widths)
    affine = box.affine.copy()
    affine[:3, 3] = box.index_to_ras([-low for low, _high in widths[::-1]])
    return signed_distance_mm(mask, spacing), Grid(mask.shape, affine)


def _distance_to(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Distance of every voxel centre to the surface of a mask; meaningless inside it."""
    spacing = np.asarray(spacing_mm, dtype=np.float32)[::-1]
    nearest = ndimage.distance_transform_edt(~mask, sampling=spacing, return_distances=False, return_indices=True)
    surface = SurfaceOffset(mask)
    result = np.zeros(mask.shape, np.float32)
    # slice by slice, for the sake of memory
    for k in range(mask.shape[0]):
        outside = np.nonzero(~mask[k])
        voxels = tuple(index[k][outside] for index in nearest)
        steps = np.stack([place - voxel for place, voxel in zip((k, *outside), voxels)], axis=1) * spacing
        distance = np.linalg.norm(steps, axis=1)
        # of a plane in index space through the voxel, facing the way to it
        normals = steps * spacing
        length = np.linalg.norm(normals, axis=1)
        offset = surface.at(voxels, normals / length[:, None]) * length / distance
        result[k][outside] = distance - offset
    return result
