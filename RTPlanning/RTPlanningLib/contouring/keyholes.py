"""Holes in contours by the keyhole technique of DICOM PS3.3 C.8.8.6.3: one contour that walks in, around and out again.

Systems differ in what they make of one contour inside another (hole, or nothing); a keyhole is a hole to all of them,
whether they fill by the even-odd rule, by winding number, or contour by contour. It also survives readers that know no
contour type CLOSEDPLANAR_XOR.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def join_holes(loops: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Join every loop around a hole with the loop it lies in by a channel of no width.

    Parameters
    ----------
    loops : sequence of (n, 2) arrays
        Loops of one plane, which stand for a region by the even-odd rule: a loop inside another is a hole, one inside
        that is an island again. Loops that cross each other are left as they are.

    Returns
    -------
    list of (n, 2) arrays
        Loops none of which is a hole, in the order of the outer ones. They fill the same region by the even-odd rule.
        Holes are walked the other way round than what they are cut from.
    """
    if len(loops) == 1:
        return [np.asarray(loops[0], float)]
    loops = [np.asarray(loop, float) for loop in loops]
    areas = np.array([_signed_area(loop) for loop in loops])
    boxes = [(loop.min(axis=0), loop.max(axis=0)) for loop in loops]
    around: list[list[int]] = []
    for inner, loop in enumerate(loops):
        around.append(
            [
                outer
                for outer in range(len(loops))
                if outer != inner
                and abs(areas[outer]) > abs(areas[inner])
                and (boxes[outer][0] <= boxes[inner][0]).all()
                and (boxes[outer][1] >= boxes[inner][1]).all()
                and _inside(loop, loops[outer]).all()
            ]
        )
    holes: dict[int, list[int]] = {}
    for inner, outer in enumerate(around):
        if len(outer) % 2:
            holes.setdefault(min(outer, key=lambda one: abs(areas[one])), []).append(inner)
    joined = []
    for outer, loop in enumerate(loops):
        if len(around[outer]) % 2 == 0:
            turned = [loops[hole][:: -1 if areas[hole] * areas[outer] > 0.0 else 1] for hole in holes.get(outer, ())]
            joined.append(_cut(loop, turned))
    return joined


def _cut(loop: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """Cut holes out of a loop. A hole is entered at its first row, from the nearest edge at lower columns.

    In ascending order of where they are entered, such an edge belongs to the loop or to a hole already joined to it.
    """
    turned = []
    for hole in holes:
        entry = int(np.lexsort((hole[:, 0], hole[:, 1]))[0])
        turned.append(np.roll(hole, -entry, axis=0))
    for hole in sorted(turned, key=lambda one: (one[0, 1], one[0, 0])):
        column, row = hole[0]
        start, stop = loop, np.roll(loop, -1, axis=0)
        crossed = (start[:, 1] <= row) != (stop[:, 1] <= row)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = start[:, 0] + (row - start[:, 1]) * (stop[:, 0] - start[:, 0]) / (stop[:, 1] - start[:, 1])
        at[~crossed | (at > column)] = -np.inf
        edge = int(np.argmax(at))
        door = np.array([[at[edge], row]])
        loop = np.concatenate((loop[: edge + 1], door, hole, hole[:1], door, loop[edge + 1 :]))
    return loop


def _signed_area(loop: np.ndarray) -> float:
    following = np.roll(loop, -1, axis=0)
    return 0.5 * float((loop[:, 0] * following[:, 1] - loop[:, 1] * following[:, 0]).sum())


def _inside(points: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """Tell which points lie inside a loop, by the even-odd rule."""
    start, stop = loop, np.roll(loop, -1, axis=0)
    inside = np.zeros(len(points), dtype=bool)
    # points in blocks: all pairs of points and edges would not fit for long contours
    for first in range(0, len(points), 256):
        x, y = points[first : first + 256, 0, None], points[first : first + 256, 1, None]
        crossed = (start[:, 1] <= y) != (stop[:, 1] <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = start[:, 0] + (y - start[:, 1]) * (stop[:, 0] - start[:, 0]) / (stop[:, 1] - start[:, 1])
        inside[first : first + 256] = (np.count_nonzero(crossed & (at < x), axis=1) & 1).astype(bool)
    return inside
