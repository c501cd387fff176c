"""Digitally reconstructed radiographs: what a beam's source would show of a CT, at the isocentre plane."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import BeamFrame

_MOST_PIXELS = 4096


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A projection from the source onto the isocentre plane, in the axes of the frame that it was made for.

    Attributes
    ----------
    water_mm : (y, x) float32 array
        Line integral of attenuation relative to water along the ray through a pixel's middle, in mm of water: minus the
        logarithm of the transmission over the attenuation coefficient of water, of rays like the CT's. Row 0 is the
        lowest y.
    x_mm, y_mm : (float, float)
        Outer edges of the picture at the isocentre plane.
    """

    water_mm: np.ndarray
    x_mm: tuple[float, float]
    y_mm: tuple[float, float]

    @property
    def x_middles_mm(self) -> np.ndarray:
        """X of the pixels' middles."""
        return _middles(self.x_mm, self.water_mm.shape[1])

    @property
    def y_middles_mm(self) -> np.ndarray:
        """Y of the pixels' middles."""
        return _middles(self.y_mm, self.water_mm.shape[0])


@dataclass(frozen=True, eq=False)
class RadiographVolume:
    """A CT made ready for radiographs from any side; make one with `from_hu` and use it for every beam.

    Attributes
    ----------
    attenuation : (k + 2, j + 2, i + 2) float32 array
        Linear attenuation relative to water, 1 + HU / 1000 and nowhere below 0, with a rim of nothing around it.
    grid : Grid
        Of the CT, without the rim.
    """

    attenuation: np.ndarray
    grid: Grid

    @classmethod
    def from_hu(cls, hu: np.ndarray, grid: Grid) -> RadiographVolume:
        """Turn CT numbers into attenuation by their definition; what is below -1000 HU (padding) counts as nothing.

        Raises
        ------
        GeometryError
            An array that is not of the grid's shape, or CT numbers that are not finite.
        """
        hu = np.asarray(hu)
        if hu.shape != grid.shape:
            raise GeometryError(f"The CT array's shape {hu.shape} is not its grid's {grid.shape} (k, j, i).")
        attenuation = np.zeros(tuple(n + 2 for n in grid.shape), np.float32)
        inner = attenuation[1:-1, 1:-1, 1:-1]
        inner[...] = hu
        if not np.isfinite(float(inner.sum(dtype=np.float64))):
            raise GeometryError("The CT has NaN or infinite voxels; repair the image before making a radiograph of it.")
        inner *= np.float32(0.001)
        inner += np.float32(1.0)
        np.maximum(inner, np.float32(0.0), out=inner)
        return cls(attenuation, grid)

    def radiograph(
        self,
        frame: BeamFrame,
        sad_mm: float,
        x_mm: tuple[float, float] = (-200.0, 200.0),
        y_mm: tuple[float, float] = (-200.0, 200.0),
        pixels: tuple[int, int] = (512, 512),
    ) -> Radiograph:
        """Make the radiograph of a beam.

        Joseph's method (IEEE Trans. Med. Imaging 1 (1982) 192): along the voxel axis that a ray crosses fastest one
        sample a voxel plane, bilinear between the four voxels around it.

        Parameters
        ----------
        frame : BeamFrame
            The picture has its axes: those of the collimator for `Beam.frame`, so that jaws and leaves stand straight;
            those of the gantry for a frame with the collimator at 0.
        sad_mm : float
        x_mm, y_mm : (float, float)
            Edges of the picture at the isocentre plane.
        pixels : (int, int)
            Rows along y and columns along x.

        Raises
        ------
        GeometryError
            A picture without extent or pixels, or a distance of the source that is not positive.
        """
        rows, columns = _checked_pixels(pixels)
        low_x, high_x = _checked_edges("x_mm", x_mm)
        low_y, high_y = _checked_edges("y_mm", y_mm)
        if not np.isfinite(sad_mm) or sad_mm <= 0:
            raise GeometryError(f"The source-axis distance must be a positive number of mm; got {sad_mm}.")
        # beam coordinates relative to the source, z away from it -> index in the array with its rim
        to_ras = np.eye(4)
        to_ras[:3, :3] = frame.rotation * (1.0, 1.0, -1.0)
        to_ras[:3, 3] = frame.source_RAS_mm(sad_mm)
        to_index = self.grid.inverse_affine @ to_ras
        to_index[:3, 3] += 1.0
        water_mm = np.empty((rows, columns), np.float32)
        pixel = ((high_x - low_x) / columns, (high_y - low_y) / rows)
        first = (low_x + pixel[0] / 2, low_y + pixel[1] / 2)
        nk, nj, ni = self.attenuation.shape
        _project(
            water_mm,
            self.attenuation.reshape(-1),
            np.array([ni, nj, nk], np.int64),
            np.array([1, ni, ni * nj], np.int64),
            np.ascontiguousarray(to_index),
            np.array(first, float),
            np.array(pixel, float),
            float(sad_mm),
        )
        return Radiograph(water_mm, (low_x, high_x), (low_y, high_y))


def thinned(hu: np.ndarray, grid: Grid, most_voxels: int) -> tuple[np.ndarray, Grid]:
    """Return a CT of no more voxels than that, every four of a slice made one as often as needed.

    Radiographs that must be quick are made of it; they lose nothing that is wider than two voxels.

    Parameters
    ----------
    hu : (k, j, i) array
    grid : Grid
    most_voxels : int

    Returns
    -------
    hu : (k, j, i) array
        Means, float32; as given where nothing had to be done.
    grid : Grid
    """
    while hu.size > most_voxels and min(hu.shape[1:]) >= 2:
        k, j, i = hu.shape[0], hu.shape[1] // 2, hu.shape[2] // 2
        parts = [hu[:, a : a + 2 * j : 2, b : b + 2 * i : 2] for a in (0, 1) for b in (0, 1)]
        hu = sum(part.astype(np.float32) for part in parts) / np.float32(4.0)
        affine = grid.affine.copy()
        affine[:3, :2] *= 2.0
        affine[:3, 3] = grid.index_to_ras((0.5, 0.5, 0.0))
        grid = Grid((k, j, i), affine)
    return hu, grid


def compile_radiographs() -> None:
    """Compile the projection without running it, so that the first radiograph takes no longer than others.

    Any thread may do so while others compute, other than with a radiograph itself.
    """
    real, real32, whole = numba.float64, numba.float32, numba.int64
    _project.compile((real32[:, ::1], real32[::1], whole[::1], whole[::1], real[:, ::1], real[::1], real[::1], real))


def _middles(edges: tuple[float, float], count: int) -> np.ndarray:
    step = (edges[1] - edges[0]) / count
    return edges[0] + step * (np.arange(count) + 0.5)


def _checked_pixels(pixels: tuple[int, int]) -> tuple[int, int]:
    rows, columns = (int(n) for n in pixels)
    if not (1 <= rows <= _MOST_PIXELS and 1 <= columns <= _MOST_PIXELS):
        raise GeometryError(f"A radiograph needs 1 to {_MOST_PIXELS} rows and columns of pixels; got {pixels}.")
    return rows, columns


def _checked_edges(name: str, edges: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(edge) for edge in edges)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise GeometryError(f"{name} of a radiograph must be two rising positions in mm; got {edges}.")
    return low, high


@numba.njit(cache=True, nogil=True, parallel=True)
def _project(water_mm, attenuation, count, stride, to_index, first, step, sad_mm):
    rows, columns = water_mm.shape
    for row in numba.prange(rows):
        y = first[1] + row * step[1]
        for column in range(columns):
            x = first[0] + column * step[0]
            water_mm[row, column] = _line_integral(attenuation, count, stride, to_index, x, y, sad_mm)


@numba.njit(cache=True, inline="always")
def _line_integral(attenuation, count, stride, to_index, x, y, sad_mm):
    """Attenuation times mm along the ray from the source through x, y of the isocentre plane and on."""
    # index along the ray: start + t * along, t = 1 at the isocentre plane
    along0 = to_index[0, 0] * x + to_index[0, 1] * y + to_index[0, 2] * sad_mm
    along1 = to_index[1, 0] * x + to_index[1, 1] * y + to_index[1, 2] * sad_mm
    along2 = to_index[2, 0] * x + to_index[2, 1] * y + to_index[2, 2] * sad_mm
    along = (along0, along1, along2)
    a, b, c = 0, 1, 2
    if abs(along1) >= abs(along0) and abs(along1) >= abs(along2):
        a, b, c = 1, 0, 2
    elif abs(along2) >= abs(along0):
        a, b, c = 2, 0, 1
    slope_b, slope_c = along[b] / along[a], along[c] / along[a]
    b_at_0 = to_index[b, 3] - slope_b * to_index[a, 3]
    c_at_0 = to_index[c, 3] - slope_c * to_index[a, 3]
    # planes where the ray is among the voxels, and not behind the source; the rim's outermost planes hold nothing
    low, high = 1.0, count[a] - 2.0
    if along[a] > 0.0:
        low = max(low, to_index[a, 3])
    else:
        high = min(high, to_index[a, 3])
    for at_0, slope, n in ((b_at_0, slope_b, count[b]), (c_at_0, slope_c, count[c])):
        # a hair within the rim: more than rounding can add up to, so that the voxel above is always there
        least, most = 1e-6, n - 1.0 - 1e-6
        if abs(slope) < 1e-12:
            if at_0 < least or at_0 > most:
                return 0.0
        else:
            one, other = (least - at_0) / slope, (most - at_0) / slope
            low, high = max(low, min(one, other)), min(high, max(one, other))
    begin, end = int(np.ceil(low)), int(np.floor(high))
    if begin > end:
        return 0.0
    length = np.sqrt(x * x + y * y + sad_mm * sad_mm) / abs(along[a])
    at_b, at_c = np.int64((b_at_0 + begin * slope_b) * _VOXEL), np.int64((c_at_0 + begin * slope_c) * _VOXEL)
    to_next_b, to_next_c = np.int64(slope_b * _VOXEL), np.int64(slope_c * _VOXEL)
    return length * _sum_of_planes(
        attenuation,
        begin * stride[a],
        stride[a],
        stride[b],
        stride[c],
        at_b,
        at_c,
        to_next_b,
        to_next_c,
        end + 1 - begin,
    )


# Places in voxels as whole numbers: so much is one voxel.
_VOXEL = 2**32


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _sum_of_planes(attenuation, plane, stride_a, stride_b, stride_c, at_b, at_c, to_next_b, to_next_c, planes):
    """Sum of one bilinear sample in each of a number of voxel planes, all of which the ray meets within the array."""
    # unsigned: numba then does not look for indices from the end
    half_bits, part = np.uint64(32), np.uint64(_VOXEL - 1)
    plane, stride_a, stride_b, stride_c = (
        np.uint64(plane),
        np.uint64(stride_a),
        np.uint64(stride_b),
        np.uint64(stride_c),
    )
    to_share = np.float32(1.0 / _VOXEL)
    total = np.float32(0.0)
    for _ in range(planes):
        ub, uc = np.uint64(at_b), np.uint64(at_c)
        here = plane + (ub >> half_bits) * stride_b + (uc >> half_bits) * stride_c
        share_b, share_c = np.float32(np.int64(ub & part)) * to_share, np.float32(np.int64(uc & part)) * to_share
        near, far = attenuation[here], attenuation[here + stride_c]
        near += (attenuation[here + stride_b] - near) * share_b
        far += (attenuation[here + stride_b + stride_c] - far) * share_b
        total += near + (far - near) * share_c
        at_b += to_next_b
        at_c += to_next_c
        plane += stride_a
    return total
