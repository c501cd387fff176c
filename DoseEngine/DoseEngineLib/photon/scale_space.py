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
