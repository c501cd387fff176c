"""A fluence map blurred by Gaussians of many widths, stored compactly: the scale space of an aperture.

Widths rise by a third of an octave; each level is held with pixels no wider than half its width. Any Gaussian blur of
the aperture is then an interpolation between two levels.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def make_scale_space(fluence: FluenceMap, largest_sigma_mm: float) -> ScaleSpace:
    """Blur a fluence map by Gaussians from half a pixel to at least ``largest_sigma_mm``.

    Pixel averages read bilinearly are themselves blurred with a variance of a quarter of a pixel squared; the filters
    supply what is missing to each level's width.
    """
    smallest = fluence.pixel_mm / 2
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


def read_plane(space: ScaleSpace, u_mm: np.ndarray, v_mm: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Blurred fluence (v, u), float32, at the lattice of ``u_mm`` and ``v_mm`` in the isocentre plane.

    A blur below the narrowest level is read from that level.
    """
    place = LEVELS_PER_OCTAVE * np.log2(max(sigma_mm, 1e-9) / space.sigma_mm[0])
    place = float(np.clip(place, 0.0, space.sigma_mm.size - 1.000001))
    low = int(place)
    result = np.zeros((v_mm.size, u_mm.size), np.float32)
    for level, share in ((low, 1 - (place - low)), (low + 1, place - low)):
        half, pixel = int(space.half_count[level]), float(space.pixel_mm[level])
        image = space.values[space.offset[level] :][: 4 * half * half].reshape(2 * half, 2 * half)
        rows, row_share, row_inside = _bilinear_places(v_mm, half, pixel)
        columns, column_share, column_inside = _bilinear_places(u_mm, half, pixel)
        lines = image[rows] * (1 - row_share)[:, None] + image[rows + 1] * row_share[:, None]
        values = lines[:, columns] * (1 - column_share) + lines[:, columns + 1] * column_share
        result += np.float32(share) * (values * row_inside[:, None] * column_inside)
    return result


def _bilinear_places(at_mm: np.ndarray, half: int, pixel_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place = at_mm / pixel_mm + half - 0.5
    inside = (place >= 0) & (place < 2 * half - 1)
    low = np.clip(np.floor(place).astype(int), 0, 2 * half - 2)
    return low, np.where(inside, place - low, 0.0).astype(np.float32), inside
