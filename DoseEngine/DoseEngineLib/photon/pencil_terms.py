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


# min and max of Python look after what is not a number, which costs more than all the rest; a conditional does not.
@numba.njit(cache=True, inline="always")
def _within(x, last):
    x = x if x > 0.0 else 0.0
    return x if x < last else last


@numba.njit(cache=True, nogil=True)
def fan_rays(u, v, first, step, shape):
    """The four rays of a `DepthFan` around (u, v).

    Returns
    -------
    start : uint64
        Where the first of them begins in the flat array of depths.
    here, right, below, both : float32
        Shares of it, of the next in u, of the next in v, and of the next in both.
    """
    a = _within((u - first[0]) / step[0], shape[1] - 1.000001)
    b = _within((v - first[1]) / step[1], shape[0] - 1.000001)
    i, j = np.uint64(a), np.uint64(b)
    a, b = np.float32(a - i), np.float32(b - j)
    start = (j * np.uint64(shape[1]) + i) * np.uint64(shape[2])
    one = np.float32(1.0)
    return start, (one - a) * (one - b), a * (one - b), (one - a) * b, a * b


@numba.njit(cache=True, nogil=True)
def depth_on_rays(flat, planes, row, start, here, right, below, both, plane):
    """Radiological depth on rays of `fan_rays`; edge values hold beyond the fan.

    Parameters
    ----------
    flat : (w * u * v,) float32 array
        `DepthFan.depth_mm` as one strip.
    planes, row : uint64
        Planes of the fan, and how far apart in ``flat`` rays are that follow each other in v.
    plane : float
        Where on the rays, in planes.
    """
    plane = _within(plane, planes - 1.000001)
    k = np.uint64(plane)
    at = start + k
    near = here * flat[at] + right * flat[at + planes] + below * flat[at + row] + both * flat[at + row + planes]
    at += np.uint64(1)
    far = here * flat[at] + right * flat[at + planes] + below * flat[at + row] + both * flat[at + row + planes]
    return between(near, far, np.float32(plane - k))


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


def upstream_reach_mm(kernel_sigma_mm: np.ndarray) -> np.ndarray:
    """How far upstream of a point the density matters to each Gaussian, mm; not further than to where rays begin."""
    return np.minimum(_REACH_MM + 2.0 * kernel_sigma_mm, _LONGEST_REACH_MM)


@numba.njit(cache=True, nogil=True)
def upstream_density(reach, depth_here, flat, planes, row, start, here, right, below, both, plane, planes_a_mm):
    """Mean density, at most 1, over a reach along rays of `fan_rays`; see `depth_on_rays`."""
    upstream = 1.0
    if reach > _SHORTEST_REACH_MM:
        begin = depth_on_rays(flat, planes, row, start, here, right, below, both, plane - reach * planes_a_mm)
        upstream = (depth_here - begin) / reach
        upstream = upstream if upstream < 1.0 else 1.0
        upstream = upstream if upstream > LEAST_DENSITY else LEAST_DENSITY
    return upstream
