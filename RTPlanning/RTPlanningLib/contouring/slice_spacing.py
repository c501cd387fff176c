"""How far apart the slices are that structures were drawn on, told by their contours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

# Contours nearer to each other than this are in one plane.
_SAME_PLANE_MM = 0.05


def contoured_spacing_mm(contours_RAS_mm: Sequence[Sequence[np.ndarray]]) -> float | None:
    """Return the distance in mm that most neighbouring contours of a set of structures have, the smaller of equals.

    Parameters
    ----------
    contours_RAS_mm : sequence of sequence of (n, 3) arrays
        Closed planar contours, structure by structure.

    Returns
    -------
    float or None
        To 0.001 mm; None where no structure has contours in two planes.
    """
    gaps: Counter[float] = Counter()
    for contours in contours_RAS_mm:
        usable = [one for one in contours if len(one) >= 3 and np.isfinite(one).all()]
        if not usable:
            continue
        areas = [np.cross(one - one.mean(axis=0), np.roll(one - one.mean(axis=0), -1, axis=0)).sum(0) for one in usable]
        normal = max(areas, key=np.linalg.norm)
        if not np.linalg.norm(normal) > 0.0:
            continue
        positions = np.sort([float(one.mean(axis=0) @ normal) / np.linalg.norm(normal) for one in usable])
        apart = np.diff(positions)
        gaps.update(np.round(apart[apart > _SAME_PLANE_MM], 3).tolist())
    if not gaps:
        return None
    most = max(gaps.values())
    return min(gap for gap, times in gaps.items() if times == most)
