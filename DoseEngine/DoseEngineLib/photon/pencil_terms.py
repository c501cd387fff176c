"""What the forward pencil beam and its dose influence share: depth look-up, kernel table, spread in light media."""

from __future__ import annotations

import numba
import numpy as np

from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import BeamFrame
from DoseEngineLib.photon.pencil_kernel import PencilKernel
from DoseEngineLib.photon.raytrace import between

TABLE_STEP_MM = 0.5
# Lateral spread grows in light media: each Gaussian is widened by one over the mean density along the ray over about
# twice its own width upstream, where the particles that form it started. Denser media do not narrow it: behind thin
# bone that was further from Monte Carlo than leaving it.
_REACH_MM = 4.0
_LONGEST_REACH_MM = 120.0
_SHORTEST_REACH_MM = 0.5
LEAST_DENSITY = 0.15
# Depths at which a kernel deposits less than this share of its greatest are passed over.
_NEGLIGIBLE = 1e-7


def depth_table(kernel: PencilKernel) -> np.ndarray:
    """Kernel weights on a uniform depth table, (depths, sigmas) float64, step 0.5 mm."""
    depth = np.arange(0.0, kernel.depth_mm[-1] + TABLE_STEP_MM / 2, TABLE_STEP_MM)
    return np.stack([np.interp(depth, kernel.depth_mm, row) for row in kernel.weights_Gy_cm2], axis=1)


def live_depths(table: np.ndarray) -> np.ndarray:
    """Depths (n,) bool of a table at which the kernel deposits anything; contaminating electrons do not go deep."""
    deposited = table.sum(axis=1)
    return deposited > _NEGLIGIBLE * deposited.max()


def grid_to_beam(grid: Grid, frame: BeamFrame) -> np.ndarray:
    """4 x 4 transform from a grid's index (i, j, k, 1) to collimator coordinates in mm."""
    to_beam = np.eye(4)
    to_beam[:3, :3] = frame.rotation.T
    to_beam[:3, 3] = -frame.rotation.T @ frame.isocenter_RAS_mm
    return to_beam @ grid.affine


@numba.njit(cache=True, inline="always")
def fan_depth(depth, first, step, u, v, distance):
    """Trilinear radiological depth in a `DepthFan`; its edge values hold beyond it."""
    i, j, a, b = fan_ray(depth, first, step, u, v)
    return ray_depth(depth, first, step, i, j, a, b, distance)


@numba.njit(cache=True, inline="always")
def fan_ray(depth, first, step, u, v):
    """Where in a `DepthFan` the ray through (u, v) lies: two indices, two shares of the next."""
    a = min(max((u - first[0]) / step[0], 0.0), depth.shape[1] - 1.000001)
    b = min(max((v - first[1]) / step[1], 0.0), depth.shape[0] - 1.000001)
    i, j = np.uint64(a), np.uint64(b)
    return i, j, a - i, b - j


@numba.njit(cache=True, inline="always")
def ray_depth(depth, first, step, i, j, a, b, distance):
    """Radiological depth on a ray of `fan_ray`."""
    c = min(max((distance - first[2]) / step[2], 0.0), depth.shape[2] - 1.000001)
    k = np.uint64(c)
    c -= k
    one = np.uint64(1)
    a, b, c = np.float32(a), np.float32(b), np.float32(c)
    # the two planes on each of the four rays lie side by side in memory
    near = between(
        between(depth[j, i, k], depth[j, i + one, k], a),
        between(depth[j + one, i, k], depth[j + one, i + one, k], a),
        b,
    )
    k += one
    far = between(
        between(depth[j, i, k], depth[j, i + one, k], a),
        between(depth[j + one, i, k], depth[j + one, i + one, k], a),
        b,
    )
    return between(near, far, c)


@numba.njit(cache=True, inline="always")
def softening_ratio(softening, u, v, sad):
    """Attenuation of the ray through (u, v) relative to the axis; see `Machine.attenuation_ratio`."""
    ratio = 1.0
    if softening.size:
        power = 1.0
        angle = np.degrees(np.arctan(np.sqrt(u * u + v * v) / sad))
        for c in softening:
            power *= angle
            ratio += c * power
    return ratio


@numba.njit(cache=True, inline="always")
def upstream_density(kernel_sigma, depth_here, depth, first, step, u, v, distance):
    """Mean density, at most 1, along the ray over the reach of a Gaussian."""
    i, j, a, b = fan_ray(depth, first, step, u, v)
    reach = upstream_reach(kernel_sigma, depth_here)
    return ray_upstream_density(reach, depth_here, depth, first, step, i, j, a, b, distance)


@numba.njit(cache=True, inline="always")
def upstream_reach(kernel_sigma, depth_here):
    """How far upstream of a point the density matters to a Gaussian, mm."""
    return min(min(_REACH_MM + 2.0 * kernel_sigma, _LONGEST_REACH_MM), depth_here)


@numba.njit(cache=True, inline="always")
def ray_upstream_density(reach, depth_here, depth, first, step, i, j, a, b, distance):
    """As `upstream_density`, on a ray of `fan_ray`."""
    upstream = 1.0
    if reach > _SHORTEST_REACH_MM:
        upstream = (depth_here - ray_depth(depth, first, step, i, j, a, b, distance - reach)) / reach
        upstream = min(max(upstream, LEAST_DENSITY), 1.0)
    return upstream
