"""A color for a new structure that the others do not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The first seven are of M. Okabe and K. Ito (Color Universal Design, 2008): told apart by color-blind people, too.
_PALETTE = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
    (0.55, 0.85, 0.55),
    (0.60, 0.40, 0.85),
    (0.65, 0.45, 0.30),
    (0.95, 0.65, 0.75),
)
_ALIKE = 0.15


def free_color(wanted: Sequence[float], taken: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the wanted color, or where a structure has one like it, the one of a palette farthest from all others.

    Parameters
    ----------
    wanted : (3,) sequence of float
        RGB in 0..1.
    taken : sequence of (3,) sequences
    """
    if not taken or _distance(wanted, taken) > _ALIKE:
        return tuple(float(part) for part in wanted)
    return max(_PALETTE, key=lambda color: _distance(color, taken))


def _distance(color: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    return float(np.linalg.norm(np.asarray(others, float) - np.asarray(color, float), axis=1).min())
