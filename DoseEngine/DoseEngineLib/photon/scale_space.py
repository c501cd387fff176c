"""A fluence map blurred by Gaussians of many widths, stored compactly: the scale space of an aperture.

Widths rise by a third of an octave; each level is held with pixels no wider than half its width. Any Gaussian blur of
the aperture is then an interpolation between two levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy import ndimage

from DoseEngineLib.photon.fluence import FluenceMap

LEVELS_PER_OCTAVE = 3
_TRUNCATE = 4.0


@dataclass(frozen=True, eq=False)
class ScaleSpace:
    """Blurred fluence maps, flat in memory.

    Attributes
    ----------
    values : (n,) float32 array
        All levels, one after the other, each [y, x].
    offset, half_count : (levels,) int64 arrays
        Start of each level in ``values``; its pixels from the axis to its edge.
    pixel_mm : (levels,) float64 array
    sigma_mm : (levels,) float64 array
        Width of the blur of a bilinear look-up in the level.
    """

    values: np.ndarray
    offset: np.ndarray
    half_count: np.ndarray
    pixel_mm: np.ndarray
    sigma_mm: np.ndarray


def make_scale_space(fluence: FluenceMap, largest_sigma_mm: float, smallest_sigma_mm: float = 0.0) -> ScaleSpace:
    """Blur a fluence map by Gaussians from half a pixel, or ``smallest_sigma_mm``, to at least ``largest_sigma_mm``.

    Pixel averages read bilinearly are themselves blurred with a variance of a quarter of a pixel squared; the filters
    supply what is missing to each level's width.
    """
    smallest = fluence.pixel_mm / 2
    if smallest_sigma_mm > smallest:
        smallest *= 2.0 ** (np.floor(LEVELS_PER_OCTAVE * np.log2(smallest_sigma_mm / smallest)) / LEVELS_PER_OCTAVE)
    count = int(np.ceil(LEVELS_PER_OCTAVE * np.log2(largest_sigma_mm / smallest))) + 1
    sigmas = smallest * 2.0 ** (np.arange(count) / LEVELS_PER_OCTAVE)
    base, pixel = fluence.values, fluence.pixel_mm
    levels, offsets, halves, pixels, total = [], [], [], [], 0
    for sigma in sigmas:
        while pixel * 2 <= sigma / 2:
            n = base.shape[0] // 2
            # odd halves are padded so that the axis stays a pixel corner
            if n % 2:
                base = np.pad(base, 1)
                n += 1
            base = base.reshape(n, 2, n, 2).mean(axis=(1, 3), dtype=np.float32)
            pixel *= 2
        missing = np.sqrt(max(sigma**2 - pixel**2 / 4, 0.0)) / pixel
        pad = int(np.ceil(_TRUNCATE * missing)) if missing > 0 else 0
        level = np.pad(base, pad)
        if missing > 0:
            taps = _taps(missing)
            level = ndimage.correlate1d(
                ndimage.correlate1d(level, taps, axis=0, mode="constant"), taps, axis=1, mode="constant"
            )
        levels.append(level.ravel())
        offsets.append(total)
        halves.append(level.shape[0] // 2)
        pixels.append(pixel)
        total += level.size
    return ScaleSpace(
        np.concatenate(levels).astype(np.float32, copy=False),
        np.array(offsets, np.int64),
        np.array(halves, np.int64),
        np.array(pixels, float),
        sigmas,
    )


def _taps(sigma: float) -> np.ndarray:
    """Normalized filter of the given standard deviation in pixels, its variance exact."""
    if sigma < 0.7:
        # a sampled Gaussian this narrow has the wrong variance; three taps can have the right one
        side = sigma**2 / 2
        return np.array([side, 1 - 2 * side, side])
    n = int(np.ceil(_TRUNCATE * sigma))
    taps = np.exp(-0.5 * (np.arange(-n, n + 1) / sigma) ** 2)
    return taps / taps.sum()


def read_planes(space: ScaleSpace, u_mm: np.ndarray, v_mm: np.ndarray, sigma_mm: np.ndarray) -> np.ndarray:
    """Blurred fluence (planes, v, u), float32, read on planes that each have a lattice and a blur of their own.

    Parameters
    ----------
    u_mm, v_mm : (planes, nu), (planes, nv) arrays
        Lines of each plane's lattice, rising, in the isocentre plane.
    sigma_mm : (planes,) array
        A blur below the narrowest level is read from that level.
    """
    place = LEVELS_PER_OCTAVE * np.log2(np.maximum(sigma_mm, 1e-9) / space.sigma_mm[0])
    place = np.clip(place, 0.0, space.sigma_mm.size - 1.000001)
    return _read_planes(space.values, space.offset, space.half_count, space.pixel_mm, u_mm, v_mm, place)


@numba.njit(cache=True, nogil=True, parallel=True)
def _read_planes(values, offset, half_count, pixel_mm, u_mm, v_mm, place):
    planes, nu = u_mm.shape
    nv = v_mm.shape[1]
    result = np.zeros((planes, nv, nu), np.float32)
    for plane in numba.prange(planes):
        low = int(place[plane])
        start, part = np.empty(nu, np.int64), np.empty(nu, np.float32)
        for level in range(low, low + 2):
            weight = np.float32(1.0 - abs(place[plane] - level))
            half, pixel = half_count[level], pixel_mm[level]
            size = 2 * half
            image = values[offset[level] : offset[level] + size * size].reshape((size, size))
            first, stop = nu, 0
            for i in range(nu):
                a = u_mm[plane, i] / pixel + half - 0.5
                if 0.0 <= a < size - 1.0:
                    start[i] = int(a)
                    part[i] = a - int(a)
                    first, stop = min(first, i), i + 1
            for j in range(nv):
                b = v_mm[plane, j] / pixel + half - 0.5
                if not 0.0 <= b < size - 1.0:
                    continue
                row = int(b)
                share = np.float32(b - row)
                lower, upper = image[row], image[row + 1]
                for i in range(first, stop):
                    at = start[i]
                    left = lower[at] + (upper[at] - lower[at]) * share
                    right = lower[at + 1] + (upper[at + 1] - lower[at + 1]) * share
                    result[plane, j, i] += weight * (left + (right - left) * part[i])
    return result
