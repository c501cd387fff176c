"""What the Gaussians of a voxel give along the columns and the rows of a lattice of bixels; an entry is their product.

A pencil kernel is a sum of Gaussians, so a square bixel's dose at a voxel is a sum over Gaussians of a product of two
one-dimensional responses. For each voxel these are computed once for all columns and all rows; an entry is then a short
sum of products, over lanes: the narrow Gaussians, the wide ones, and those lit by the extra-focal source.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from scipy.special import ndtr

from DoseEngineLib.errors import EngineError
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.lanes import LANES, join_lanes, march_lanes, product_of_lanes
from DoseEngineLib.photon.modulated_fluence import extra_focal_view, opening_distance_mm

# Their numbers are fixed, so that loops over them become vector instructions.
_NARROW = LANES
_WIDE = LANES
_EXTRA = LANES
# Lanes of the amplitudes and variances of a voxel, and of its responses.
PRIMARY_LANES = _NARROW + _WIDE
_LANES = PRIMARY_LANES + _EXTRA
# A Gaussian this many bixels wide is constant enough over a bixel to be taken as a Gaussian a little wider: its fourth
# cumulant is then wrong by less than 0.02 % of its peak. Narrower ones are integrated over the bixel.
_WIDE_BIXELS = 1.73
# Kernel Gaussians up to this width count as one under the much wider blur of the extra-focal source.
_JOINED_MM = 10.0
# Narrow Gaussians end here, in standard deviations.
END_SIGMAS = 4.5
_PHI_STEP = 1.0 / 256
_PHI_END = 6.0


def phi_table() -> np.ndarray:
    """Cumulative normal distribution from -6 to 6, read linearly to 2e-6."""
    return ndtr(np.arange(-_PHI_END, _PHI_END + 2 * _PHI_STEP, _PHI_STEP))


def primary_lanes(kernel_sigma_mm: np.ndarray, pitch_mm: float, owner: str) -> np.ndarray:
    """Lane (n,) of each Gaussian lit by the focal spot: narrow ones from 0, wide ones behind them.

    Raises
    ------
    EngineError
        More Gaussians of a kind than there are lanes.
    """
    wide = kernel_sigma_mm > _WIDE_BIXELS * pitch_mm
    if np.count_nonzero(wide) > _WIDE:
        wide &= kernel_sigma_mm >= np.sort(kernel_sigma_mm)[-_WIDE]
    if np.count_nonzero(~wide) > _NARROW:
        raise EngineError(
            f"{owner}: bixels of {pitch_mm:g} mm are too {'narrow' if wide.sum() == _WIDE else 'wide'} for its pencil "
            "kernel; choose another width."
        )
    return np.where(wide, _NARROW + np.cumsum(wide) - 1, np.cumsum(~wide) - 1).astype(np.int64)


def sources(machine: Machine, kernel_sigma_mm: np.ndarray, lanes: np.ndarray, seen_past_jaws: float) -> tuple:
    """Focal spot and extra-focal source as the kernels take them.

    Parameters
    ----------
    lanes : (n,) int array
        Of `primary_lanes`.
    seen_past_jaws : float
        Share of the extra-focal source that the jaws leave in sight.

    Raises
    ------
    EngineError
        More wide Gaussians than there are lanes for the extra-focal source.
    """
    extra = machine.extra_focal
    if extra is None:
        weight, distance, magnification, variance = 0.0, 0.0, 1.0, 0.0
    else:
        weight, distance = extra.weight, extra.distance_mm
        magnification, sigma = extra_focal_view(machine)
        variance = sigma**2
    apart = np.flatnonzero(kernel_sigma_mm > _JOINED_MM)
    if apart.size + 1 > _EXTRA:
        raise EngineError(f"{machine.name}: its pencil kernel has more Gaussians than the dose influence takes.")
    # the first extra-focal lane is all joined ones together, the others one each
    origin, alone = np.zeros(_EXTRA, np.int64), np.zeros(_EXTRA, np.float32)
    origin[1 : apart.size + 1], alone[1 : apart.size + 1] = lanes[apart], 1.0
    joined = np.zeros(PRIMARY_LANES, np.float32)
    joined[np.delete(lanes, apart)] = 1.0
    return (
        float(machine.sad_mm), float(machine.source_sigma_mm), float(opening_distance_mm(machine)),
        1.0 - weight, float(weight) * seen_past_jaws, float(distance), float(magnification), float(variance),
        origin, alone, joined,
    )  # fmt: skip


@numba.njit(cache=True, inline="always")
def phi(table, z):
    """Cumulative normal distribution from `phi_table`."""
    at = (min(max(z, -_PHI_END), _PHI_END) + _PHI_END) * (1.0 / _PHI_STEP)
    low = np.uint64(at)
    share = at - low
    first = table[low]
    return first + (table[low + np.uint64(1)] - first) * share


@numba.njit(cache=True, inline="always")
def focal_blur2(source, distance):
    """Variance of the focal spot's blur in the isocentre plane, mm2."""
    sad, source_sigma, opening = source[0], source[1], source[2]
    blur = source_sigma * (distance / opening - 1.0) * sad / distance
    return blur * blur


@numba.njit(cache=True, inline="always")
def _extra_ratio(source, distance):
    """Extra-focal over primary fluence of a wide field."""
    sad, primary_weight, extra_weight, extra_distance = source[0], source[3], source[4], source[5]
    spread = (sad - extra_distance) / (distance - extra_distance) * distance / sad
    return extra_weight / primary_weight * spread * spread


_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_TINY = np.float32(1e-30)
_OVER_ROOT_TWO = np.float32(1.0 / math.sqrt(2.0))
_OVER_ROOT_TWO_PI = np.float32(1.0 / math.sqrt(2.0 * math.pi))
_LOG_2 = np.float32(math.log(2.0))
# log2(1 + x) for 0 <= x < 1, to 2e-4
_L1, _L2, _L3, _L4 = (np.float32(v) for v in (1.43901383, -0.67993894, 0.32558686, -0.08476405))
_MANTISSA, _EXPONENT_OF_ONE = np.int32(0x7FFFFF), np.int32(0x3F800000)


@numba.njit(cache=True, inline="always")
def _rough_log(x):
    """Natural logarithm of a positive, normal float32, to 2e-4; loops over it become vector instructions."""
    bits = np.float32(x).view(np.int32)
    rest = np.int32((bits & _MANTISSA) | _EXPONENT_OF_ONE).view(np.float32) - _ONE
    whole = np.float32((bits >> np.int32(23)) - np.int32(127))
    return _LOG_2 * (whole + rest * (_L1 + rest * (_L2 + rest * (_L3 + rest * _L4))))


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nnan", "nsz"}, error_model="numpy")
def fill_reach2(reach2, voxels, place, amplitude, variance, more, limit, source, pitch):
    """Squared distances at which the largest Gaussian of each voxel falls to half of ``limit`` over exp(more).

    Half, for the other Gaussians.

    Parameters
    ----------
    reach2 : (v, m) float32 array
        Filled; -1 for voxels that get no dose, and infinite for all others where ``limit`` is zero.
    voxels : (int, int)
        First voxel, and the one behind the last.
    place, amplitude, variance, source, pitch
        See `fill_values`.
    more : (m,) float32 array
    limit : float
        Gy a MU in a bixel.
    """
    extra_variance, joined = np.float32(source[7]), source[10]
    twelfth = np.float32(pitch * pitch / 12.0)
    scale = np.float32(pitch * pitch / (math.pi * limit)) if limit > 0.0 else _ZERO
    lanes = np.uint64(PRIMARY_LANES)
    double = np.empty(PRIMARY_LANES, np.float32)
    above = np.empty(PRIMARY_LANES, np.float32)
    for p in range(np.uint64(voxels[0]), np.uint64(voxels[1])):
        together, all_weights = _ZERO, _ZERO
        widening = np.float32(focal_blur2(source, place[p, 2])) + twelfth
        for n in range(lanes):
            square = variance[p, n] + widening
            weight = amplitude[p, n]
            together += weight * joined[n]
            all_weights += weight
            # a weight of zero reaches nowhere
            double[n] = _TWO * square
            above[n] = _rough_log(max(weight * scale / square, _TINY))
        if all_weights <= _ZERO or limit <= 0.0:
            reach2[p] = -_ONE if all_weights <= _ZERO else np.float32(np.inf)
            continue
        square = extra_variance + twelfth
        weight = together * np.float32(_extra_ratio(source, place[p, 2]))
        of_extra = _rough_log(max(weight * scale / square, _TINY))
        for m in range(np.uint64(more.size)):
            best = max(_TWO * square * (of_extra + more[m]), _ZERO)
            for n in range(lanes):
                best = max(best, double[n] * (above[n] + more[m]))
            reach2[p, m] = best


# exp(x) = exp(x / 16)^16 with a polynomial for exp(x / 16): vector instructions, to 1e-5 for what matters
_E1, _E2, _E3, _E4, _E5 = (np.float32(1.0 / math.factorial(n)) for n in (1, 2, 3, 4, 5))
_SIXTEENTH = np.float32(1.0 / 16.0)
_LEAST_EXPONENT = np.float32(-16.0)


@numba.njit(cache=True, inline="always")
def _exponential(x):
    """exp(x) for -16 < x < 1, zero below; loops over it become vector instructions."""
    y = max(x, _LEAST_EXPONENT)
    z = y * _SIXTEENTH
    e = _E1 + z * (_E1 + z * (_E2 + z * (_E3 + z * (_E4 + z * _E5))))
    e *= e
    e *= e
    e *= e
    e *= e
    return e if y > _LEAST_EXPONENT else _ZERO


# Strips of lanes in a voxel's scratch memory: where each begins.
_SCRATCH = 9 * _LANES
_WEIGHTED, _HALF_INVERSE, _OVER_SIGMA, _UNIT, _SPREAD, _FALL, _RIGHT, _LEFT, _NORM = (
    np.uint64(n * _LANES) for n in range(9)
)


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _gaussians(scratch, pitch):
    """From the variances of all lanes what their responses are computed with; strips of one array."""
    for n in range(np.uint64(_LANES)):
        over = _ONE / scratch[_SPREAD + n]
        sigma = np.sqrt(scratch[_SPREAD + n])
        half_inverse = _HALF * over
        scratch[_OVER_SIGMA + n] = _OVER_ROOT_TWO * sigma * over
        scratch[_HALF_INVERSE + n] = half_inverse
        scratch[_FALL + n] = _exponential(-_TWO * pitch * pitch * half_inverse)
        # narrow Gaussians are integrated: nothing to norm
        norm = pitch * _OVER_ROOT_TWO_PI * sigma * over if n >= np.uint64(_NARROW) else _ONE
        scratch[_NORM + n] = norm
        scratch[_WEIGHTED + n] *= norm


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _start_line(response, at, centre, here, of_extra, pitch, scratch, norm):
    """Responses at a place, and by what they change to the next place right and left; all but narrow Gaussians."""
    for n in range(np.uint64(_NARROW), np.uint64(_LANES)):
        x = centre - (here if n < np.uint64(PRIMARY_LANES) else of_extra)
        half_inverse = scratch[_HALF_INVERSE + n]
        response[at, n] = scratch[norm + n] * _exponential(-x * x * half_inverse)
        scratch[_RIGHT + n] = _exponential(-(_TWO * x + pitch) * pitch * half_inverse)
        scratch[_LEFT + n] = _exponential((_TWO * x - pitch) * pitch * half_inverse)


@numba.njit(cache=True, nogil=True)
def _wide_responses(response, count, low, here, of_extra, pitch, scratch, norm):
    """Responses (places, lanes) of all wide Gaussians, and of those from the extra-focal source, along an axis.

    Marched from the place nearest to the voxel: what is there is exact, what is far from there is small.
    """
    nearest = min(max(np.int64(math.floor((here - low) / pitch)), 0), count - 1)
    centre = np.float32(low + (nearest + 0.5) * pitch)
    _start_line(response, nearest, centre, here, of_extra, np.float32(pitch), scratch, norm)
    after = count - 1 - nearest
    march_lanes(response, nearest, after, 1, scratch, _RIGHT, _FALL, 1, 2)
    march_lanes(response, nearest, nearest, -1, scratch, _LEFT, _FALL, 1, 2)


# erf(x) = 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), to 1.5e-7: Abramowitz and Stegun 7.1.26
_P, _A1, _A2, _A3, _A4, _A5 = (
    np.float32(v) for v in (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _cumulate(x, count):
    """Cumulative normal distribution of sqrt(2) x in place, for the first values of a strip."""
    for m in range(np.uint64(count)):
        size = abs(x[m])
        t = _ONE / (_ONE + _P * size)
        rest = _HALF * t * (_A1 + t * (_A2 + t * (_A3 + t * (_A4 + t * _A5)))) * _exponential(-size * size)
        x[m] = rest if x[m] < _ZERO else _ONE - rest


@numba.njit(cache=True, nogil=True)
def _narrow_responses(response, count, low, pitch, here, reach, scratch, factor, edges):
    """Responses of the narrow Gaussians along an axis, as far as ``reach`` from the voxel."""
    begin = max(np.int64(math.floor((here - reach - low) / pitch)), 0)
    end = min(np.int64(math.floor((here + reach - low) / pitch)) + 1, count)
    for c in range(np.uint64(count)):
        for n in range(np.uint64(_NARROW)):
            response[c, n] = _ZERO
    if begin >= end:
        return
    bixels, lanes = np.uint64(end - begin), np.uint64(_NARROW)
    for c in range(bixels + np.uint64(1)):
        edge = np.float32(low + (begin + c) * pitch - here)
        for n in range(lanes):
            edges[c * lanes + n] = edge * scratch[_OVER_SIGMA + n]
    _cumulate(edges, (bixels + np.uint64(1)) * lanes)
    for c in range(bixels):
        at, place = c * lanes, np.uint64(begin) + c
        for n in range(lanes):
            response[place, n] = (edges[at + lanes + n] - edges[at + n]) * scratch[factor + n]


@numba.njit(cache=True, nogil=True)
def _join(response, starts, used, axis, near):
    """Responses of blocks from those of the level below."""
    for level in range(1, starts.size):
        if near:
            join_lanes(response, starts[level], starts[level - 1], used[level, axis], 0, 2)
        else:
            join_lanes(response, starts[level], starts[level - 1], used[level, axis], 1, 2)


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nnan", "nsz"}, error_model="numpy")
def fill_values(values, bixel, block, ends, voxels, place, amplitude, variance, source, axes, blocks, off_axis):
    """Entries of the rows of some voxels.

    Parameters
    ----------
    values : float32 array
        Filled: dose of the bixels of each block over how much of it they fill, Gy a MU in each.
    bixel, block, ends, voxels
        As `choose_blocks` chose them.
    place : (v, 3) float32 array
        u, v at the isocentre plane; distance from the source along the axis, mm.
    amplitude, variance : (v, PRIMARY_LANES) float32 arrays
        Of each Gaussian: Gy a MU, as lateral integral over the isocentre plane, and mm2 without the blur by a source.
    source, axes, blocks : tuple
        Of `sources`, `BixelBlocks.axes` and `BixelBlocks.blocks`.
    off_axis : (bixels,) float32 array
    """
    first, pitch, used, column_start, row_start = axes
    block_column, block_row, occupied = blocks
    magnification, extra_variance = source[6], np.float32(source[7])
    origin, alone, joined = source[8], source[9], source[10]
    wide, high = used[0, 1], used[0, 0]
    twelfth = np.float32(pitch * pitch / 12.0)
    less = np.float32(1.0 / (magnification * magnification))
    narrow, lanes, last = np.uint64(_NARROW), np.uint64(PRIMARY_LANES), used.shape[0] - 1
    # what rounds levels up to pairs stays zero
    columns = np.zeros((column_start[last] + used[last, 1], _LANES), np.float32)
    rows = np.zeros((row_start[last] + used[last, 0], _LANES), np.float32)
    scratch = np.empty(_SCRATCH, np.float32)
    edges = np.empty(_NARROW * (max(wide, high) + 1), np.float32)
    found = np.uint64(0)
    for p in range(np.uint64(voxels[0]), np.uint64(voxels[1])):
        end = np.uint64(ends[p - np.uint64(voxels[0])])
        if end == found:
            continue
        u, v = place[p, 0], place[p, 1]
        blur2 = np.float32(focal_blur2(source, place[p, 2]))
        ratio = np.float32(_extra_ratio(source, place[p, 2]))
        together, moment, widest = _ZERO, _ZERO, _ZERO
        for n in range(lanes):
            weight, square = amplitude[p, n], variance[p, n]
            lit = _ONE if weight > _ZERO else _ZERO
            is_narrow = n < narrow
            together += weight * joined[n]
            moment += weight * joined[n] * square
            widest = max(widest, (square + blur2) * lit if is_narrow else _ZERO)
            scratch[_WEIGHTED + n] = weight
            scratch[_UNIT + n] = lit
            scratch[_SPREAD + n] = square + blur2 + (np.float32(1e-9) if is_narrow else twelfth)
        for m in range(np.uint64(_EXTRA)):
            of = np.uint64(origin[m])
            scratch[_WEIGHTED + lanes + m] = amplitude[p, of] * alone[m] * ratio
            scratch[_SPREAD + lanes + m] = (variance[p, of] + extra_variance) * less + twelfth
        scratch[_WEIGHTED + lanes] = together * ratio
        scratch[_SPREAD + lanes] = (moment / max(together, _TINY) + extra_variance) * less + twelfth
        _gaussians(scratch, np.float32(pitch))
        reach = END_SIGMAS * math.sqrt(widest)
        near = (
            u > first[0] - reach
            and u < first[0] + wide * pitch + reach
            and v > first[1] - reach
            and v < first[1] + high * pitch + reach
        )
        _wide_responses(columns, wide, first[0], u, np.float32(u / magnification), pitch, scratch, _NORM)
        _wide_responses(rows, high, first[1], v, np.float32(v / magnification), pitch, scratch, _WEIGHTED)
        if near:
            _narrow_responses(columns, wide, first[0], pitch, u, reach, scratch, _UNIT, edges)
            _narrow_responses(rows, high, first[1], pitch, v, reach, scratch, _WEIGHTED, edges)
        _join(columns, column_start, used, 1, near)
        _join(rows, row_start, used, 0, near)
        if near:
            for e in range(found, end):
                here, factor = np.uint64(block[e]), off_axis[np.uint64(bixel[e])]
                value = product_of_lanes(columns, block_column[here], rows, block_row[here], factor, 0, 2)
                values[e] = value * occupied[here]
        else:
            for e in range(found, end):
                here, factor = np.uint64(block[e]), off_axis[np.uint64(bixel[e])]
                value = product_of_lanes(columns, block_column[here], rows, block_row[here], factor, 1, 2)
                values[e] = value * occupied[here]
        found = end
