"""Search for the smallest gamma of every reference voxel: exact over the interpolated dose, or at sampled points.

Kernels for `RTPlanningLib.evaluation.gamma`. The whole call tree stands in this file, so that numba's cache is never
stale.

Lengths are in units of the distance criterion and doses in units of the dose criterion, so that gamma is the distance
in four dimensions between the reference point and the surface that the evaluated dose draws (Low et al., Med Phys 25,
656, 1998). Evaluated doses are trilinear between voxel centres and constant from the outermost centres to the grid's
faces.
"""

from __future__ import annotations

import math

import numba
import numpy as np

# Half the size of the smallest box, in parts of a cell, and the boxes a search can have in waiting.
_LEAST_HALF = 1e-7
_STACK = 96
_NEWTON_STEPS = 48


def cell_offsets(
    spacing: np.ndarray, shape: tuple[int, int, int], reach: float, frozen_axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cells around a point's own, nearest first.

    Parameters
    ----------
    spacing : (3,) array
        Voxel size along i, j, k, in units of the distance criterion.
    shape : (int, int, int)
        Voxels along k, j, i: no cell is farther away than the grid is wide.
    reach : float
        Search radius in the same unit.
    frozen_axis : int
        Axis (0 = i) along which the search does not move; -1 for none.

    Returns
    -------
    offsets : (n, 3) int64 array
    least_squared : (n,) array
        Square of the least distance such a cell can have, ascending.
    """
    axes = []
    for axis in range(3):
        count = 0 if axis == frozen_axis else min(math.ceil(reach / spacing[axis]) + 1, shape[2 - axis])
        axes.append(np.arange(-count, count + 1))
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    least = ((np.maximum(np.abs(offsets) - 1, 0) * spacing) ** 2).sum(axis=1)
    # equal distances: the cells that share a face before those that share a corner
    order = np.lexsort((np.abs(offsets).sum(axis=1), least))
    order = order[least[order] <= reach * reach]
    return np.ascontiguousarray(offsets[order], dtype=np.int64), np.ascontiguousarray(least[order])


def point_offsets(fraction: int, reach: float, frozen_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a cubic lattice around the reference point, nearest first; units as in `cell_offsets`.

    Returns
    -------
    offsets : (n, 3) float64 array
    squared : (n,) array
        Square of each one's distance, ascending.
    """
    steps = np.arange(-math.floor(reach * fraction), math.floor(reach * fraction) + 1) / fraction
    axes = [np.zeros(1) if axis == frozen_axis else steps for axis in range(3)]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    squared = (offsets**2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= reach * reach * (1.0 + 1e-12)]
    return np.ascontiguousarray(offsets[order]), np.ascontiguousarray(squared[order])


@numba.njit(cache=True, inline="always")
def _clip(value, low, high):
    return min(max(value, low), high)


@numba.njit(cache=True, nogil=True)
def _dose_at(dose, x, y, z):
    """Trilinear dose at a continuous index; beyond the outermost centres that of the nearest."""
    nk, nj, ni = dose.shape
    x, y, z = _clip(x, 0.0, ni - 1.0), _clip(y, 0.0, nj - 1.0), _clip(z, 0.0, nk - 1.0)
    i, j, k = min(int(x), max(ni - 2, 0)), min(int(y), max(nj - 2, 0)), min(int(z), max(nk - 2, 0))
    i1, j1, k1 = min(i + 1, ni - 1), min(j + 1, nj - 1), min(k + 1, nk - 1)
    x, y, z = x - i, y - j, z - k
    low = (dose[k, j, i] * (1.0 - x) + dose[k, j, i1] * x) * (1.0 - y) + (
        dose[k, j1, i] * (1.0 - x) + dose[k, j1, i1] * x
    ) * y
    high = (dose[k1, j, i] * (1.0 - x) + dose[k1, j, i1] * x) * (1.0 - y) + (
        dose[k1, j1, i] * (1.0 - x) + dose[k1, j1, i1] * x
    ) * y
    return low * (1.0 - z) + high * z


@numba.njit(cache=True, nogil=True)
def _gap(low, high):
    """Distance of an interval from zero."""
    if low > 0.0:
        return low
    if high < 0.0:
        return -high
    return 0.0


@numba.njit(cache=True, nogil=True)
def _multiplier(a, gx, gy, gz, lx, ux, ly, uy, lz, uz):
    """Solve s = a + g.y(s), y(s) = clip(-s g, l, u): the stationary point of |y|^2 + (a + g.y)^2 over a box.

    The residual falls strictly with s and is linear in pieces: Newton's steps inside a shrinking bracket arrive.
    """
    # slope between -1 and -(1 + |g|^2), and g.y is bounded by its corners
    low = a + min(gx * lx, gx * ux) + min(gy * ly, gy * uy) + min(gz * lz, gz * uz)
    high = a + max(gx * lx, gx * ux) + max(gy * ly, gy * uy) + max(gz * lz, gz * uz)
    steepest = 1.0 + gx * gx + gy * gy + gz * gz
    s = _clip(a / steepest, low, high)
    for step_number in range(_NEWTON_STEPS):
        value, slope = a - s, -1.0
        y = -s * gx
        if y < lx:
            value += gx * lx
        elif y > ux:
            value += gx * ux
        else:
            value += gx * y
            slope -= gx * gx
        y = -s * gy
        if y < ly:
            value += gy * ly
        elif y > uy:
            value += gy * uy
        else:
            value += gy * y
            slope -= gy * gy
        y = -s * gz
        if y < lz:
            value += gz * lz
        elif y > uz:
            value += gz * uz
        else:
            value += gz * y
            slope -= gz * gz
        if value > 0.0:
            low = s
        else:
            high = s
        step = value / slope
        # what is left moves y by less than 1e-8, however steep the dose
        if step * step * steepest <= 1e-16:
            break
        s -= step
        # alone, Newton's steps may run between two corners of the residual for ever
        if step_number % 3 == 2 or not low < s < high:
            s = 0.5 * (low + high)
    return s


@numba.njit(cache=True, inline="always")
def _dual_value(s, a, remainder, gx, gy, gz, px, py, pz):
    """Below the least of |y|^2 + (a + g.y + e)^2, |e| <= remainder, over a box, for every s with its p = y(s)."""
    return (
        (2.0 * a - s) * s
        + px * (px + 2.0 * s * gx)
        + py * (py + 2.0 * s * gy)
        + pz * (pz + 2.0 * s * gz)
        - 2.0 * abs(s) * remainder
    )


@numba.njit(cache=True, inline="always")
def _store(stack, n, x0, x1, y0, y1, z0, z1):
    stack[n, 0], stack[n, 1], stack[n, 2] = x0, x1, y0
    stack[n, 3], stack[n, 4], stack[n, 5] = y1, z0, z1


@numba.njit(cache=True, nogil=True)
def _search_cell(c, lx, ly, lz, wx, wy, wz, fx, fy, fz, frozen, best, tolerance, stack):
    """Lower ``best`` (gamma squared) to the least in one cell, to within ``tolerance`` of gamma: branch and bound.

    Within a box the dose is its linear part at the centre plus a remainder that is bounded. The least gamma of the
    linear part over the box is found exactly; less what the remainder may do, it bounds gamma from below, and the true
    gamma at the place where it is attained bounds it from above. The gap shrinks with the square of the box.

    Parameters
    ----------
    c : (8,) array
        Dose minus the reference's in the cell: 1, x, y, z, xy, xz, yz, xyz with x, y, z in 0..1.
    lx, wx, ... : float
        Position of the cell's lower corner from the reference point, and its size.
    fx, fy, fz : float
        Where along a frozen axis the point lies, 0..1.
    """
    c0, cx, cy, cz, cxy, cxz, cyz, cxyz = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    root = max(math.sqrt(best) - tolerance, 0.0)
    prune = root * root
    stack[0, 0], stack[0, 1] = (fx, fx) if frozen == 0 else (0.0, 1.0)
    stack[0, 2], stack[0, 3] = (fy, fy) if frozen == 1 else (0.0, 1.0)
    stack[0, 4], stack[0, 5] = (fz, fz) if frozen == 2 else (0.0, 1.0)
    top = 1
    while top > 0:
        top -= 1
        # what is farther away than the least gamma found cannot be less
        x0, x1 = max(stack[top, 0], (-root - lx) / wx), min(stack[top, 1], (root - lx) / wx)
        y0, y1 = max(stack[top, 2], (-root - ly) / wy), min(stack[top, 3], (root - ly) / wy)
        z0, z1 = max(stack[top, 4], (-root - lz) / wz), min(stack[top, 5], (root - lz) / wz)
        if x0 > x1 or y0 > y1 or z0 > z1:
            continue
        mx, my, mz = 0.5 * (x0 + x1), 0.5 * (y0 + y1), 0.5 * (z0 + z1)
        hx, hy, hz = 0.5 * (x1 - x0), 0.5 * (y1 - y0), 0.5 * (z1 - z0)
        value = c0 + cx * mx + cy * my + cz * mz + cxy * mx * my + cxz * mx * mz + cyz * my * mz + cxyz * mx * my * mz
        gx = (cx + cxy * my + cxz * mz + cxyz * my * mz) / wx
        gy = (cy + cxy * mx + cyz * mz + cxyz * mx * mz) / wy
        gz = (cz + cxz * mx + cyz * my + cxyz * mx * my) / wz
        rxy = abs(cxy + cxyz * mz) * hx * hy
        rxz = abs(cxz + cxyz * my) * hx * hz
        ryz = abs(cyz + cxyz * mx) * hy * hz
        remainder = rxy + rxz + ryz + abs(cxyz) * hx * hy * hz
        a = value - gx * (lx + wx * mx) - gy * (ly + wy * my) - gz * (lz + wz * mz)
        bx0, bx1 = lx + wx * x0, lx + wx * x1
        by0, by1 = ly + wy * y0, ly + wy * y1
        bz0, bz1 = lz + wz * z0, lz + wz * z1
        s = _multiplier(a, gx, gy, gz, bx0, bx1, by0, by1, bz0, bz1)
        px, py, pz = _clip(-s * gx, bx0, bx1), _clip(-s * gy, by0, by1), _clip(-s * gz, bz0, bz1)
        bound = _dual_value(s, a, remainder, gx, gy, gz, px, py, pz)
        if bound >= prune:
            continue
        x, y, z = _clip((px - lx) / wx, x0, x1), _clip((py - ly) / wy, y0, y1), _clip((pz - lz) / wz, z0, z1)
        here = c0 + cx * x + cy * y + cz * z + cxy * x * y + cxz * x * z + cyz * y * z + cxyz * x * y * z
        squared = px * px + py * py + pz * pz + here * here
        if squared < best:
            best = squared
            root = max(math.sqrt(best) - tolerance, 0.0)
            prune = root * root
            # nothing is left to gain; and no bound would ever reach zero
            if root <= 0.0:
                return best
            if bound >= prune:
                continue
        # the same with the remainder taken off the dose difference: the best bound there is, and another point
        if remainder > 0.0:
            if s > 0.0:
                s = max(_multiplier(a - remainder, gx, gy, gz, bx0, bx1, by0, by1, bz0, bz1), 0.0)
            else:
                s = min(_multiplier(a + remainder, gx, gy, gz, bx0, bx1, by0, by1, bz0, bz1), 0.0)
            px, py, pz = _clip(-s * gx, bx0, bx1), _clip(-s * gy, by0, by1), _clip(-s * gz, bz0, bz1)
            bound = _dual_value(s, a, remainder, gx, gy, gz, px, py, pz)
            if bound >= prune:
                continue
            x, y, z = _clip((px - lx) / wx, x0, x1), _clip((py - ly) / wy, y0, y1), _clip((pz - lz) / wz, z0, z1)
        # as small as single precision resolves; it also keeps the stack short: no more than 23 halvings along an axis
        if max(hx, hy, hz) < _LEAST_HALF:
            continue
        # the bound grows with the square of the distance from the point found: only a neighbourhood of it is left
        reach = math.sqrt(prune - bound)
        x0, x1 = max(x0, x - reach / wx), min(x1, x + reach / wx)
        y0, y1 = max(y0, y - reach / wy), min(y1, y + reach / wy)
        z0, z1 = max(z0, z - reach / wz), min(z1, z + reach / wz)
        _store(stack, top, x0, x1, y0, y1, z0, z1)
        top += 1
        kept = 1.0
        kept *= (x1 - x0) / (2.0 * hx) if hx > 0.0 else 1.0
        kept *= (y1 - y0) / (2.0 * hy) if hy > 0.0 else 1.0
        kept *= (z1 - z0) / (2.0 * hz) if hz > 0.0 else 1.0
        if kept < 0.4:
            continue
        # halved where the remainder comes from
        hx, hy, hz = 0.5 * (x1 - x0), 0.5 * (y1 - y0), 0.5 * (z1 - z0)
        of_x = (rxy + rxz) * hx if hx >= _LEAST_HALF else -1.0
        of_y = (rxy + ryz) * hy if hy >= _LEAST_HALF else -1.0
        of_z = (rxz + ryz) * hz if hz >= _LEAST_HALF else -1.0
        if max(of_x, of_y, of_z) <= 0.0:
            of_x, of_y, of_z = hx, hy, hz
        _store(stack, top, x0, x1, y0, y1, z0, z1)
        # the half that holds the point found is looked at first
        if of_x >= of_y and of_x >= of_z:
            first, last, middle, where = 0, 1, 0.5 * (x0 + x1), x
        elif of_y >= of_z:
            first, last, middle, where = 2, 3, 0.5 * (y0 + y1), y
        else:
            first, last, middle, where = 4, 5, 0.5 * (z0 + z1), z
        if where > middle:
            stack[top - 1, last] = middle
            stack[top, first] = middle
        else:
            stack[top - 1, first] = middle
            stack[top, last] = middle
        top += 1
    return best


@numba.njit(cache=True, nogil=True, parallel=True)
def search_interpolated(
    voxels, reference, evaluated, to_index, spacing, dose_criterion, offsets, least_squared, frozen, cap, tolerance, out
):
    """Gamma of the listed reference voxels, over all points of the interpolated evaluated dose.

    Parameters
    ----------
    voxels : (n,) int64 array
        Flat indices into ``reference``.
    reference, evaluated : (k, j, i) float32 arrays
    to_index : (3, 4) array
        Reference index (i, j, k, 1) to evaluated index (i, j, k).
    spacing : (3,) array
        Evaluated voxel size along i, j, k in units of the distance criterion.
    dose_criterion : float
        In Gy where positive (global); negative: minus its share of the local reference dose.
    offsets, least_squared
        From `cell_offsets`.
    frozen : int
        Evaluated axis along which the search stays at the reference point; -1 for none.
    cap : float
        Largest gamma searched for.
    tolerance : float
        The result is at most this much above the true least.
    out : (n,) float32 array
        Result; NaN where the voxel centre lies outside the evaluated grid.
    """
    count = voxels.size
    nk, nj, ni = evaluated.shape
    rows = (count + 255) // 256
    for row in numba.prange(rows):
        stack = np.empty((_STACK, 6))
        c = np.empty(8)
        for n in range(row * 256, min(row * 256 + 256, count)):
            flat = voxels[n]
            ri = flat % reference.shape[2]
            rj = (flat // reference.shape[2]) % reference.shape[1]
            rk = flat // (reference.shape[2] * reference.shape[1])
            x = to_index[0, 0] * ri + to_index[0, 1] * rj + to_index[0, 2] * rk + to_index[0, 3]
            y = to_index[1, 0] * ri + to_index[1, 1] * rj + to_index[1, 2] * rk + to_index[1, 3]
            z = to_index[2, 0] * ri + to_index[2, 1] * rj + to_index[2, 2] * rk + to_index[2, 3]
            if not (-0.5001 <= x <= ni - 0.4999 and -0.5001 <= y <= nj - 0.4999 and -0.5001 <= z <= nk - 0.4999):
                out[n] = np.nan
                continue
            x, y, z = _clip(x, -0.5, ni - 0.5), _clip(y, -0.5, nj - 0.5), _clip(z, -0.5, nk - 0.5)
            dose = float(reference[rk, rj, ri])
            scale = 1.0 / (dose_criterion if dose_criterion > 0.0 else -dose_criterion * dose)
            own = (_dose_at(evaluated, x, y, z) - dose) * scale
            best = min(cap * cap, own * own)
            root = max(math.sqrt(best) - tolerance, 0.0)
            prune = root * root
            if root <= 0.0:
                out[n] = math.sqrt(best)
                continue
            # cell number c lies between the centres c - 1 and c; the first and the last are half as wide
            ci, cj, ck = math.floor(x) + 1, math.floor(y) + 1, math.floor(z) + 1
            for m in range(offsets.shape[0]):
                if least_squared[m] >= prune:
                    break
                i, j, k = ci + offsets[m, 0], cj + offsets[m, 1], ck + offsets[m, 2]
                if i < 0 or i > ni or j < 0 or j > nj or k < 0 or k > nk:
                    continue
                x0, x1 = max(i - 1.0, -0.5), min(float(i), ni - 0.5)
                y0, y1 = max(j - 1.0, -0.5), min(float(j), nj - 0.5)
                z0, z1 = max(k - 1.0, -0.5), min(float(k), nk - 0.5)
                lx, wx = (x0 - x) * spacing[0], (x1 - x0) * spacing[0]
                ly, wy = (y0 - y) * spacing[1], (y1 - y0) * spacing[1]
                lz, wz = (z0 - z) * spacing[2], (z1 - z0) * spacing[2]
                dx, dy, dz = _gap(lx, lx + wx), _gap(ly, ly + wy), _gap(lz, lz + wz)
                away = dx * dx + dy * dy + dz * dz
                if away >= prune:
                    continue
                i0, i1 = max(i - 1, 0), min(i, ni - 1)
                j0, j1 = max(j - 1, 0), min(j, nj - 1)
                k0, k1 = max(k - 1, 0), min(k, nk - 1)
                v000 = (evaluated[k0, j0, i0] - dose) * scale
                v100 = (evaluated[k0, j0, i1] - dose) * scale
                v010 = (evaluated[k0, j1, i0] - dose) * scale
                v110 = (evaluated[k0, j1, i1] - dose) * scale
                v001 = (evaluated[k1, j0, i0] - dose) * scale
                v101 = (evaluated[k1, j0, i1] - dose) * scale
                v011 = (evaluated[k1, j1, i0] - dose) * scale
                v111 = (evaluated[k1, j1, i1] - dose) * scale
                gap = _gap(
                    min(min(min(v000, v100), min(v010, v110)), min(min(v001, v101), min(v011, v111))),
                    max(max(max(v000, v100), max(v010, v110)), max(max(v001, v101), max(v011, v111))),
                )
                if away + gap * gap >= prune:
                    continue
                c[0] = v000
                c[1], c[2], c[3] = v100 - v000, v010 - v000, v001 - v000
                c[4] = v110 - v100 - v010 + v000
                c[5] = v101 - v100 - v001 + v000
                c[6] = v011 - v010 - v001 + v000
                c[7] = v111 - v110 - v101 - v011 + v100 + v010 + v001 - v000
                best = _search_cell(
                    c, lx, ly, lz, wx, wy, wz, -lx / wx, -ly / wy, -lz / wz, frozen, best, tolerance, stack
                )
                root = max(math.sqrt(best) - tolerance, 0.0)
                prune = root * root
                if root <= 0.0:
                    break
            out[n] = min(math.sqrt(best), cap)


@numba.njit(cache=True, nogil=True, parallel=True)
def search_sampled(voxels, reference, evaluated, to_index, spacing, dose_criterion, offsets, squared, cap, out):
    """Gamma of the listed reference voxels at the lattice points of `point_offsets` alone.

    Parameters as in `search_interpolated`.
    """
    count = voxels.size
    nk, nj, ni = evaluated.shape
    rows = (count + 255) // 256
    for row in numba.prange(rows):
        for n in range(row * 256, min(row * 256 + 256, count)):
            flat = voxels[n]
            ri = flat % reference.shape[2]
            rj = (flat // reference.shape[2]) % reference.shape[1]
            rk = flat // (reference.shape[2] * reference.shape[1])
            x = to_index[0, 0] * ri + to_index[0, 1] * rj + to_index[0, 2] * rk + to_index[0, 3]
            y = to_index[1, 0] * ri + to_index[1, 1] * rj + to_index[1, 2] * rk + to_index[1, 3]
            z = to_index[2, 0] * ri + to_index[2, 1] * rj + to_index[2, 2] * rk + to_index[2, 3]
            if not (-0.5001 <= x <= ni - 0.4999 and -0.5001 <= y <= nj - 0.4999 and -0.5001 <= z <= nk - 0.4999):
                out[n] = np.nan
                continue
            dose = float(reference[rk, rj, ri])
            scale = 1.0 / (dose_criterion if dose_criterion > 0.0 else -dose_criterion * dose)
            best = cap * cap
            for m in range(offsets.shape[0]):
                if squared[m] >= best:
                    break
                u = x + offsets[m, 0] / spacing[0]
                v = y + offsets[m, 1] / spacing[1]
                w = z + offsets[m, 2] / spacing[2]
                # the reference point itself may lie on a face, a rounding beyond it
                if m > 0 and not (-0.5 <= u <= ni - 0.5 and -0.5 <= v <= nj - 0.5 and -0.5 <= w <= nk - 0.5):
                    continue
                difference = (_dose_at(evaluated, u, v, w) - dose) * scale
                total = squared[m] + difference * difference
                if total < best:
                    best = total
            out[n] = min(math.sqrt(best), cap)
