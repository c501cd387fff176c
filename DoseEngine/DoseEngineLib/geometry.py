"""Voxel grids in Slicer's RAS world (mm), LPS conversion and resampling.

Arrays are ``[k, j, i]`` in C order, as VTK gives them; affines map the index vector ``(i, j, k, 1)`` to RAS in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import GeometryError

# Columns of a usable affine are orthogonal to this cosine; a sheared grid (uncorrected gantry tilt) is refused.
_ORTHOGONAL_COSINE = 1e-3
_MINIMUM_SPACING_MM = 1e-3


def ras_from_lps(points: np.ndarray) -> np.ndarray:
    """Convert DICOM LPS coordinates (..., 3) in mm to RAS; the conversion is its own inverse."""
    return np.asarray(points, dtype=float) * (-1.0, -1.0, 1.0)


def lps_from_ras(points: np.ndarray) -> np.ndarray:
    """Convert RAS coordinates (..., 3) in mm to DICOM LPS."""
    return np.asarray(points, dtype=float) * (-1.0, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular voxel grid, of any orientation.

    Parameters
    ----------
    shape : (int, int, int)
        Voxels along k, j, i.
    affine : (4, 4) array
        Index (i, j, k, 1) of a voxel centre -> RAS in mm.

    Raises
    ------
    GeometryError
        When the shape is not three positive integers or the affine is not finite, invertible and free of shear.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"A grid needs three positive sizes (k, j, i); got {tuple(self.shape)}.")
        affine = np.array(self.affine, dtype=float)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError("A grid affine must be a finite 4 x 4 matrix from index (i, j, k, 1) to RAS in mm.")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GeometryError("The last row of a grid affine must be 0, 0, 0, 1.")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() < _MINIMUM_SPACING_MM:
            raise GeometryError(f"Voxel spacing {spacing} mm is not usable; check the image's spacing.")
        directions = affine[:3, :3] / spacing
        if np.abs(directions.T @ directions - np.eye(3)).max() > _ORTHOGONAL_COSINE:
            raise GeometryError("The voxel axes are not perpendicular (gantry tilt?); resample the image first.")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_spacing(
        cls,
        shape: Sequence[int],
        spacing_mm: Sequence[float] | float,
        origin_RAS_mm: Sequence[float] = (0.0, 0.0, 0.0),
        directions: np.ndarray | None = None,
    ) -> Grid:
        """Make a grid from sizes (k, j, i), spacing (i, j, k), RAS of voxel (0, 0, 0), direction columns (i, j, k)."""
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3) if directions is None else np.asarray(directions, float)) * np.broadcast_to(
            np.asarray(spacing_mm, float), 3
        )
        affine[:3, 3] = origin_RAS_mm
        return cls(tuple(shape), affine)

    @cached_property
    def inverse_affine(self) -> np.ndarray:
        """RAS in mm -> index (i, j, k)."""
        return np.linalg.inv(self.affine)

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        """Voxel size along i, j, k in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @cached_property
    def directions(self) -> np.ndarray:
        """Unit vectors of the i, j, k axes in RAS, as columns."""
        return self.affine[:3, :3] / self.spacing_mm

    @property
    def origin_RAS_mm(self) -> np.ndarray:
        """RAS of the centre of voxel (0, 0, 0)."""
        return self.affine[:3, 3].copy()

    @property
    def voxel_volume_cm3(self) -> float:
        """Volume of one voxel in cm3."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    def index_to_ras(self, ijk: np.ndarray) -> np.ndarray:
        """Map indices (..., 3) ordered i, j, k to RAS in mm."""
        return np.asarray(ijk, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def ras_to_index(self, ras_mm: np.ndarray) -> np.ndarray:
        """Map RAS points (..., 3) in mm to continuous indices ordered i, j, k."""
        return np.asarray(ras_mm, float) @ self.inverse_affine[:3, :3].T + self.inverse_affine[:3, 3]

    def centres_RAS_mm(self) -> np.ndarray:
        """RAS of every voxel centre, shape (k, j, i, 3)."""
        k, j, i = np.indices(self.shape, dtype=float)
        return self.index_to_ras(np.stack((i, j, k), axis=-1))

    @cached_property
    def corners_RAS_mm(self) -> np.ndarray:
        """The eight outer corners (voxel edges, not centres), shape (8, 3)."""
        upper = np.array(self.shape[::-1], float) - 0.5
        ijk = np.array([[x, y, z] for z in (-0.5, upper[2]) for y in (-0.5, upper[1]) for x in (-0.5, upper[0])])
        return self.index_to_ras(ijk)

    @property
    def bounds_RAS_mm(self) -> np.ndarray:
        """Axis-aligned bounds [[r0, a0, s0], [r1, a1, s1]] of the outer corners."""
        return np.stack((self.corners_RAS_mm.min(axis=0), self.corners_RAS_mm.max(axis=0)))

    def contains(self, ras_mm: np.ndarray) -> np.ndarray:
        """Tell which RAS points (..., 3) lie within the grid's outer faces."""
        ijk = self.ras_to_index(ras_mm)
        return ((ijk >= -0.5) & (ijk <= np.array(self.shape[::-1]) - 0.5)).all(axis=-1)

    def is_same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Tell whether two grids have equal shape and corners equal to within ``tolerance_mm``."""
        return self.shape == other.shape and bool(
            np.abs(self.corners_RAS_mm - other.corners_RAS_mm).max() <= tolerance_mm
        )

    def crop(self, mask: np.ndarray, margin_mm: float = 0.0) -> tuple[Grid, tuple[slice, slice, slice]]:
        """Return the sub-grid that holds a mask (k, j, i) with a margin, and the slices that cut it out."""
        if mask.shape != self.shape:
            raise GeometryError(f"The mask's shape {mask.shape} is not the grid's {self.shape}.")
        if not mask.any():
            raise GeometryError("Cannot crop to an empty mask.")
        slices, start = [], []
        for axis in range(3):
            used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            pad = int(np.ceil(margin_mm / self.spacing_mm[2 - axis]))
            low, high = max(used[0] - pad, 0), min(used[-1] + pad + 1, self.shape[axis])
            slices.append(slice(int(low), int(high)))
            start.append(low)
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_ras(start[::-1])
        return Grid(tuple(s.stop - s.start for s in slices), affine), tuple(slices)

    def with_spacing(self, spacing_mm: float | Sequence[float]) -> Grid:
        """Return a grid over the same box and axes with another voxel size; it covers the box, never less."""
        wanted = np.broadcast_to(np.asarray(spacing_mm, float), 3)
        if wanted.min() <= 0:
            raise GeometryError(f"Grid spacing must be positive; got {spacing_mm} mm.")
        extent = np.array(self.shape[::-1]) * self.spacing_mm
        count = np.maximum(np.ceil(extent / wanted - 1e-6).astype(int), 1)
        affine = np.eye(4)
        affine[:3, :3] = self.directions * wanted
        centre = self.index_to_ras((np.array(self.shape[::-1]) - 1) / 2)
        affine[:3, 3] = centre - affine[:3, :3] @ ((count - 1) / 2)
        return Grid(tuple(int(n) for n in count[::-1]), affine)


def resample(values: np.ndarray, source: Grid, target: Grid, order: int = 1, fill: float = 0.0) -> np.ndarray:
    """Resample a (k, j, i) array from one grid to another.

    Parameters
    ----------
    values : array
        Values on ``source``.
    order : int
        Spline order: 0 nearest, 1 linear.
    fill : float
        Value outside the source. Within half a voxel of its faces the edge value is used.

    Returns
    -------
    array
        Values on ``target``, float32. A mask stays a mask: whether the target's voxel centre lies in a marked voxel.
    """
    if values.shape != source.shape:
        raise GeometryError(f"The array's shape {values.shape} is not the grid's {source.shape}.")
    if source.is_same_as(target):
        return values.copy()
    to_source = source.inverse_affine @ target.affine
    # index order (k, j, i) for scipy
    matrix = to_source[:3, :3][::-1, ::-1]
    offset = to_source[:3, 3][::-1]
    is_mask = values.dtype == bool
    if is_mask:
        # interpolated, a single voxel could vanish
        order = 0
        if np.abs(matrix - np.diag(np.diag(matrix))).max() * max(target.shape) < 1e-6:
            return _nearest_of_parallel(values, np.diag(matrix), offset, target.shape, bool(fill >= 0.5))
    data = values.astype(np.float32, copy=False)
    result = ndimage.affine_transform(
        data, matrix, offset, output_shape=target.shape, order=order, mode="nearest", prefilter=order > 1
    )
    low = np.full(3, -0.5)
    high = np.array(source.shape[::-1]) - 0.5
    axes = [np.arange(n, dtype=np.float32) for n in target.shape]
    outside = np.zeros(target.shape, dtype=bool)
    for axis in range(3):
        index = (
            to_source[axis, 3]
            + (to_source[axis, 2] * axes[0])[:, None, None]
            + (to_source[axis, 1] * axes[1])[None, :, None]
            + (to_source[axis, 0] * axes[2])[None, None, :]
        )
        outside |= (index < low[axis] - 1e-4) | (index > high[axis] + 1e-4)
    result[outside] = fill
    return result >= 0.5 if is_mask else result


def _nearest_of_parallel(
    values: np.ndarray, scale: np.ndarray, offset: np.ndarray, shape: tuple[int, int, int], fill: bool
) -> np.ndarray:
    """Nearest values where both grids have parallel axes: voxel n of the result lies at scale * n + offset."""
    places, outside = [], []
    for axis in range(3):
        index = scale[axis] * np.arange(shape[axis]) + offset[axis]
        places.append(np.clip(np.floor(index + 0.5).astype(int), 0, values.shape[axis] - 1))
        outside.append((index < -0.5 - 1e-4) | (index > values.shape[axis] - 0.5 + 1e-4))
    result = values[np.ix_(*places)]
    for axis, beyond in enumerate(outside):
        result[(slice(None),) * axis + (beyond,)] = fill
    return result
