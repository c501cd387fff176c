"""Step and shoot: a fluence map of whole levels as a sum of openings with the least beam-on time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.sequencing.leaf_sweep import leaf_sweep, rises


@dataclass(frozen=True, eq=False)
class Openings:
    """Openings of a set of leaf pairs, each with the levels delivered through it.

    Attributes
    ----------
    first, last : (segments, rows) int arrays
        Column edges between which a row is open; closed where they are equal, with the closed leaves at that edge.
    levels : (segments,) int array
        Positive.
    """

    first: np.ndarray
    last: np.ndarray
    levels: np.ndarray

    def delivered(self, columns: int) -> np.ndarray:
        """Sum of the openings (rows, columns), in levels."""
        at = np.arange(columns)
        is_open = (self.first[..., None] <= at) & (at < self.last[..., None])
        return np.tensordot(self.levels, is_open.astype(np.int64), axes=1)


def sweep_openings(exposure: np.ndarray, *, interdigitation: bool = True, gap_columns: int = 0) -> Openings:
    """Openings of the sweep of least beam-on time, in the order of the sweep.

    Parameters
    ----------
    exposure : (rows, columns) int array
    interdigitation, gap_columns
        See `leaf_sweep`.

    Returns
    -------
    Openings
        With a gap, a pair at either end of the field may reach beyond it: ``first`` below zero or ``last`` beyond the
        last column, where the jaws cover it.
    """
    exposure = np.asarray(exposure)
    columns = exposure.shape[1]
    sweep = leaf_sweep(exposure, interdigitation=interdigitation, gap_columns=gap_columns)
    times = np.unique(np.concatenate((sweep.uncovered.ravel(), sweep.covered.ravel(), [0])))
    starts, levels = times[:-1], np.diff(times)
    first = (sweep.covered[None] <= starts[:, None, None]).sum(axis=2)
    last = (sweep.uncovered[None] <= starts[:, None, None]).sum(axis=2)
    if gap_columns:
        first = np.where(first == 0, np.minimum(first, last - gap_columns), first)
        last = np.where(last == columns, np.maximum(last, first + gap_columns), last)
    # a stretch of the sweep in which nothing is open gives nothing: the leaves move on with the beam off
    lit = (np.minimum(last, columns) > np.maximum(first, 0)).any(axis=1)
    return Openings(first[lit], last[lit], levels[lit])


def few_openings(exposure: np.ndarray) -> Openings:
    """Few openings with the least beam-on time, for leaves that may interdigitate and close.

    The least number of openings is hard to find; each step takes away the opening that can be used longest without
    losing the least beam-on time, and of these the one that leaves the fewest steps in the profile: K. Engel, Discrete
    Appl. Math. 152 (2005) 35, with the choice of T. Kalinowski (2005), see `leaf_sweep`.

    Parameters
    ----------
    exposure : (rows, columns) int array, not negative
    """
    rest = np.array(exposure, dtype=np.int64)
    rows, columns = rest.shape
    length = np.arange(columns)[None, :] - np.arange(columns)[:, None] + 1
    first, last, levels = [], [], []
    while rest.any():
        step = np.diff(np.pad(rest, ((0, 0), (1, 1))), axis=1)
        up, down = np.maximum(step[:, :-1], 0), np.maximum(-step[:, 1:], 0)
        needed = up.sum(axis=1)
        spare = needed.max() - needed
        # [row, l, r]: levels that columns l..r can be open without raising the beam-on time of the rest
        small, large = np.minimum(up[:, :, None], down[:, None, :]), np.maximum(up[:, :, None], down[:, None, :])
        spared = spare[:, None, None]
        usable = np.where(small + spared <= large, small + spared, (small + large + spared) // 2)
        lowest = np.zeros((rows, columns, columns), np.int64)
        running = np.full((rows, columns), np.iinfo(np.int64).max)
        for column in range(columns):
            running[:, : column + 1] = np.minimum(running[:, : column + 1], rest[:, column : column + 1])
            lowest[:, : column + 1, column] = running[:, : column + 1]
        usable = np.where(length[None] > 0, np.minimum(usable, lowest), 0)
        level = int(np.maximum(usable.max(axis=(1, 2)), spare).min())
        # steps of the profile that an opening ends, less those that it makes; of equals the longest
        at_low = np.where(up == level, 1, -(step[:, :-1] == 0).astype(np.int64))
        at_high = np.where(down == level, 1, -(step[:, 1:] == 0).astype(np.int64))
        score = (at_low[:, :, None] + at_high[:, None, :]) * (columns + 1) + length[None]
        never = -4 * (columns + 1)
        score = np.where(usable >= level, score, never).reshape(rows, -1)
        best = score.argmax(axis=1)
        gain = score[np.arange(rows), best]
        shut = (gain == never) | ((gain < 0) & (spare >= level))
        low, high = np.where(shut, 0, best // columns), np.where(shut, 0, best % columns + 1)
        at = np.arange(columns)
        rest -= level * ((low[:, None] <= at) & (at < high[:, None]))
        first.append(low)
        last.append(high)
        levels.append(level)
    shape = (len(levels), rows)
    found = Openings(np.reshape(first, shape), np.reshape(last, shape), np.array(levels, dtype=np.int64))
    return _in_travel_order(found) if levels else Openings(*(np.zeros(shape, np.int64),) * 2, found.levels)


def _in_travel_order(openings: Openings) -> Openings:
    """Order openings so that the next one is always the one that is reached first, beginning at low X."""
    is_open = openings.last > openings.first
    centre = np.where(is_open, openings.first + openings.last, 0).sum(axis=1) / np.maximum(is_open.sum(axis=1), 1)
    left = list(np.argsort(centre, kind="stable"))
    order = [left.pop(0)]
    while left:
        here = order[-1]
        both = is_open[left] & is_open[here]
        way = np.maximum(
            np.where(both, np.abs(openings.first[left] - openings.first[here]), 0).max(axis=1),
            np.where(both, np.abs(openings.last[left] - openings.last[here]), 0).max(axis=1),
        )
        order.append(left.pop(int(way.argmin())))
    return Openings(openings.first[order], openings.last[order], openings.levels[order])


def least_beam_on_levels(exposure: np.ndarray, *, interdigitation: bool = True, gap_columns: int = 0) -> int:
    """Levels for which the beam must be on at least."""
    if interdigitation and gap_columns == 0:
        return int(rises(np.asarray(exposure)).max(initial=0))
    return int(leaf_sweep(exposure, interdigitation=interdigitation, gap_columns=gap_columns).beam_on_time)
