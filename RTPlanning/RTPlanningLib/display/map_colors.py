"""Colours of maps of dose differences and of gamma, the same in the scene and in pictures."""

from __future__ import annotations

import numpy as np

COLORS = 256
# The gamma shown by the last colour and above. With 256 colours, number n begins at n/255 of it, so that number 128,
# the first of those that fail, begins just above 1.
GAMMA_END = 255.0 / 128.0 * (1.0 + 1e-6)
_FIRST_FAILING = 128
# The colours of differences end where all but this share of the voxels lie within, at a round figure.
_WITHIN_PERCENT = 99.5
_ROUND = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_LEAST = 1e-3

# Ends of the diverging map of K. Moreland (Diverging Color Maps for Scientific Visualization, ISVC 2009).
_COLD, _NEUTRAL, _WARM = (0.23, 0.30, 0.75), (0.97, 0.97, 0.97), (0.71, 0.02, 0.15)
_PASS = ((0.05, 0.30, 0.55), (0.25, 0.70, 0.55), (0.75, 0.90, 0.60))
_FAIL = ((1.00, 0.75, 0.10), (0.95, 0.30, 0.05), (0.60, 0.00, 0.10))


def difference_colors() -> np.ndarray:
    """Return RGB in 0..1 from the largest negative difference over white to the largest positive one; (256, 3)."""
    return _ramp((_COLD, _NEUTRAL, _WARM), COLORS)


def gamma_colors() -> np.ndarray:
    """Return RGB in 0..1 from gamma 0 to `GAMMA_END`: blue to green pass, yellow to red fail; (256, 3)."""
    return np.concatenate((_ramp(_PASS, _FIRST_FAILING), _ramp(_FAIL, COLORS - _FIRST_FAILING)))


def difference_limit(differences: np.ndarray) -> float:
    """Return the round figure up to which differences (n,) are best coloured, either way, in their own unit."""
    if not differences.size:
        return 1.0
    reached = max(float(np.percentile(np.abs(differences), _WITHIN_PERCENT)), _LEAST)
    power = 10.0 ** np.floor(np.log10(reached))
    return float(power * next(figure for figure in _ROUND if figure * power >= reached * (1.0 - 1e-6)))


def _ramp(stops: tuple[tuple[float, float, float], ...], count: int) -> np.ndarray:
    places = np.linspace(0.0, 1.0, len(stops))
    at = np.linspace(0.0, 1.0, count)
    return np.stack([np.interp(at, places, channel) for channel in np.array(stops).T], axis=-1)
