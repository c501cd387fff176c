"""Radiological depth along the diverging rays of a beam."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.iec61217 import BeamFrame
from DoseEngineLib.patient import Patient

_RAY_PITCH_MM = 2.0
_STEP_MM = 1.25
# Nearer to the source than this nothing may lie: it would be inside the treatment head.
NEAREST_MM = 300.0


@dataclass(frozen=True, eq=False)
class DepthFan:
    """Radiological depth on a fan of rays from the source.

    Attributes
    ----------
    depth_mm : (v, u, w) float32 array
        Water-equivalent (mass density) path from outside the body, mm times g/cm3, along the ray through (u, v) in the
        isocentre plane, to the plane number w across the axis.
    first : (3,) array
        u, v of the first ray in mm at the isocentre plane; distance of the first plane from the source along the axis.
    step : (3,) array
        Steps in u, v and in distance, mm.
    """

    depth_mm: np.ndarray
    first: np.ndarray
    step: np.ndarray


def trace_depth_fan(patient: Patient, frame: BeamFrame, sad_mm: float, memory: np.ndarray | None = None) -> DepthFan:
    """Trace rays from the source through the body.

    Parameters
    ----------
    memory : float32 array, optional
        That of an earlier fan, to be written over where it is large enough: memory that is new to a process costs more
        than filling it.

    Raises
    ------
    GeometryError
        When the body reaches into the treatment head or behind the source.
    """
    body_grid, slices = patient.body_box
    corners = frame.to_beam(body_grid.corners_RAS_mm)
    distance = sad_mm - corners[:, 2]
    if distance.min() < NEAREST_MM:
        raise GeometryError(
            f"The image reaches to {distance.min():.0f} mm from the radiation source (the head needs {NEAREST_MM:.0f} "
            "mm); check the isocentre and the couch angle, or crop the image."
        )
    projected = corners[:, :2] * (sad_mm / distance)[:, None]
    low = projected.min(axis=0) - _RAY_PITCH_MM
    count = np.ceil((projected.max(axis=0) + _RAY_PITCH_MM - low) / _RAY_PITCH_MM).astype(int) + 1
    planes = int(np.ceil((distance.max() - distance.min()) / _STEP_MM)) + 2
    first = np.array([low[0], low[1], distance.min() - _STEP_MM])
    step = np.array([_RAY_PITCH_MM, _RAY_PITCH_MM, _STEP_MM])
    # beam coordinates (x, y, distance from source) -> index of the cropped density
    to_ras = np.eye(4)
    to_ras[:3, :3] = frame.rotation * (1.0, 1.0, -1.0)
    to_ras[:3, 3] = frame.source_RAS_mm(sad_mm)
    to_index = body_grid.inverse_affine @ to_ras
    density = np.ascontiguousarray(patient.density_g_cm3[slices], dtype=np.float32)
    size = int(count[0] * count[1] * planes)
    # numpy asks for large pages of memory, which are cheaper to come by
    flat = np.empty(size, np.float32) if memory is None or memory.size < size else memory.reshape(-1)[:size]
    depth = flat.reshape(count[1], count[0], planes)
    _trace(depth, density, to_index, first, step, float(sad_mm))
    return DepthFan(depth, first, step)


@numba.njit(cache=True, inline="always")
def density_at(density, i, j, k):
    """Trilinear density; the faces of the outer voxels end it, with the edge value up to them."""
    nk, nj, ni = density.shape
    if i < -0.5 or j < -0.5 or k < -0.5 or i > ni - 0.5 or j > nj - 0.5 or k > nk - 0.5:
        return 0.0
    i = min(max(i, 0.0), ni - 1.0)
    j = min(max(j, 0.0), nj - 1.0)
    k = min(max(k, 0.0), nk - 1.0)
    i0, j0, k0 = int(i), int(j), int(k)
    i1, j1, k1 = min(i0 + 1, ni - 1), min(j0 + 1, nj - 1), min(k0 + 1, nk - 1)
    a, b, c = i - i0, j - j0, k - k0
    return (
        (density[k0, j0, i0] * (1 - a) + density[k0, j0, i1] * a) * (1 - b)
        + (density[k0, j1, i0] * (1 - a) + density[k0, j1, i1] * a) * b
    ) * (1 - c) + (
        (density[k1, j0, i0] * (1 - a) + density[k1, j0, i1] * a) * (1 - b)
        + (density[k1, j1, i0] * (1 - a) + density[k1, j1, i1] * a) * b
    ) * c


@numba.njit(cache=True, nogil=True, parallel=True)
def _trace(depth, density, to_index, first, step, sad_mm):
    count_v, count_u, planes = depth.shape
    for row in numba.prange(count_v):
        v = first[1] + row * step[1]
        for column in range(count_u):
            u = first[0] + column * step[0]
            # per mm along the axis a ray is this much longer
            slant = np.sqrt(u * u + v * v + sad_mm * sad_mm) / sad_mm
            tx, ty = u / sad_mm, v / sad_mm
            sx = to_index[0, 0] * tx + to_index[0, 1] * ty + to_index[0, 2]
            sy = to_index[1, 0] * tx + to_index[1, 1] * ty + to_index[1, 2]
            sz = to_index[2, 0] * tx + to_index[2, 1] * ty + to_index[2, 2]
            # steps between which the ray is within the outer faces of voxels, and among their centres
            enter, leave = -np.inf, np.inf
            low, high = -np.inf, np.inf
            for at, along, count in (
                (to_index[0, 3], sx, density.shape[2]),
                (to_index[1, 3], sy, density.shape[1]),
                (to_index[2, 3], sz, density.shape[0]),
            ):
                if along == 0.0:
                    if not -0.5 <= at <= count - 0.5:
                        leave = -np.inf
                    if not 0.0 <= at < count - 1.0:
                        high = -np.inf
                else:
                    one, other = (-0.5 - at) / along, (count - 0.5 - at) / along
                    enter, leave = max(enter, min(one, other)), min(leave, max(one, other))
                    one, other = -at / along, (count - 1.0 - at) / along
                    low, high = max(low, min(one, other)), min(high, max(one, other))
            begin, end = _steps_within(enter, leave, first[2], step[2], planes, 1e-6)
            low_step, high_step = _steps_within(low, high, first[2], step[2], planes, -1e-6)
            low_step = min(max(low_step, begin), end)
            high_step = min(max(high_step, low_step), end)
            length = slant * step[2]
            total = 0.0
            ray = depth[row, column]
            for plane in range(np.uint64(begin)):
                ray[plane] = 0.0
            # into the first voxels, among the centres of voxels, and out of the last ones
            for start, stop, among in (
                (begin, low_step, False), (low_step, high_step, True), (high_step, end, False)
            ):  # fmt: skip
                t = first[2] + (start - 0.5) * step[2]
                at = (to_index[0, 3] + sx * t, to_index[1, 3] + sy * t, to_index[2, 3] + sz * t)
                to_next = (sx * step[2], sy * step[2], sz * step[2])
                if among:
                    total = _step_among(ray, density, start, stop, at, to_next, length, total)
                else:
                    for plane in range(np.uint64(start), np.uint64(stop)):
                        n = plane - np.uint64(start)
                        i, j, k = at[0] + n * to_next[0], at[1] + n * to_next[1], at[2] + n * to_next[2]
                        total += length * density_at(density, i, j, k)
                        ray[plane] = total
            for plane in range(np.uint64(end), np.uint64(planes)):
                ray[plane] = total


@numba.njit(cache=True, inline="always")
def _steps_within(low, high, first, step, planes, more):
    """Steps, by the plane where each ends, whose middle lies between two distances, ``more`` of a step let in."""
    begin, end = planes, planes
    if high > low:
        begin = min(max(int(np.ceil((low - first) / step + 0.5 - more)), 1), planes)
        end = min(max(int(np.ceil((high - first) / step + 0.5 + more)), begin), planes)
    return begin, end


# Places in voxels as whole numbers: so much is one voxel.
_VOXEL = 2**32


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _step_among(ray, density, start, stop, at, to_next, length, total):
    """Go on along a ray among the centres of voxels, where nothing need be looked after; the depth at the end."""
    nj, ni = np.uint64(density.shape[1]), np.uint64(density.shape[2])
    voxels = density.reshape(density.size)
    one, half_bits, part = np.uint64(1), np.uint64(32), np.uint64(_VOXEL - 1)
    to_share = np.float32(1.0 / _VOXEL)
    i, j, k = np.int64(at[0] * _VOXEL), np.int64(at[1] * _VOXEL), np.int64(at[2] * _VOXEL)
    di, dj, dk = np.int64(to_next[0] * _VOXEL), np.int64(to_next[1] * _VOXEL), np.int64(to_next[2] * _VOXEL)
    for plane in range(np.uint64(start), np.uint64(stop)):
        ui, uj, uk = np.uint64(i), np.uint64(j), np.uint64(k)
        here = ((uk >> half_bits) * nj + (uj >> half_bits)) * ni + (ui >> half_bits)
        a, b, c = (
            np.float32(np.int64(ui & part)) * to_share,
            np.float32(np.int64(uj & part)) * to_share,
            np.float32(np.int64(uk & part)) * to_share,
        )
        low = between(
            between(voxels[here], voxels[here + one], a), between(voxels[here + ni], voxels[here + ni + one], a), b
        )
        here += nj * ni
        high = between(
            between(voxels[here], voxels[here + one], a), between(voxels[here + ni], voxels[here + ni + one], a), b
        )
        total += length * between(low, high, c)
        ray[plane] = total
        i, j, k = i + di, j + dj, k + dk
    return total


@numba.njit(cache=True, inline="always")
def between(first, second, share):
    """Linear interpolation."""
    return first + (second - first) * share
