"""Step and shoot: a fluence map of whole levels as a sum of openings with the least beam-on time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.sequencing.leaf_sweep import leaf_sweep, rises

# What ending one step of the profile is worth, against columns that are open in only one of two neighbouring rows.
_STEP_IN_COLUMNS = 1.0


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
    losing the least beam-on time: K. Engel, Discrete Appl. Math. 152 (2005) 35. Of these it is one that ends many steps
    of the profile, as in T. Kalinowski (2005), see `leaf_sweep`, and in which neighbouring rows are open alike, as the
    tongues and grooves between rows shade what is open in only one of them.

    Parameters
    ----------
    exposure : (rows, columns) int array, not negative
    """
    rest = np.array(exposure, dtype=np.int64)
    rows, columns = rest.shape
    # every interval of columns that can be open, and none
    low, last_column = np.triu_indices(columns)
    low, high = np.append(low, 0), np.append(last_column + 1, 0)
    together = np.clip(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0, None)
    apart = (high - low)[:, None] + (high - low) - 2 * together
    first, last, levels = [], [], []
    while rest.any():
        step = np.diff(np.pad(rest, ((0, 0), (1, 1))), axis=1)
        up, down = np.maximum(step[:, :-1], 0), np.maximum(-step[:, 1:], 0)
        needed = up.sum(axis=1)
        spare = (needed.max() - needed)[:, None]
        # [row, interval]: levels that it can be open without raising the beam-on time of the rest
        rise, fall = up[:, low[:-1]], down[:, last_column]
        small, large = np.minimum(rise, fall), np.maximum(rise, fall)
        usable = np.where(small + spare <= large, small + spare, (small + large + spare) // 2)
        usable = np.hstack((np.minimum(usable, _lowest(rest)[:, low[:-1], last_column]), spare))
        level = int(usable.max(axis=1).min())
        # steps of the profile that an opening ends, less those that it makes
        at_low = np.where(up == level, 1, -(step[:, :-1] == 0).astype(np.int64))
        at_high = np.where(down == level, 1, -(step[:, 1:] == 0).astype(np.int64))
        ended = np.hstack((at_low[:, low[:-1]] + at_high[:, last_column], np.zeros_like(spare)))
        chosen = _cheapest_path(np.where(usable >= level, -_STEP_IN_COLUMNS * ended, np.inf), apart)
        at = np.arange(columns)
        rest -= level * ((low[chosen, None] <= at) & (at < high[chosen, None]))
        first.append(low[chosen])
        last.append(high[chosen])
        levels.append(level)
    shape = (len(levels), rows)
    found = Openings(np.reshape(first, shape), np.reshape(last, shape), np.array(levels, dtype=np.int64))
    return _in_travel_order(found) if levels else Openings(*(np.zeros(shape, np.int64),) * 2, found.levels)


def _lowest(values: np.ndarray) -> np.ndarray:
    """Least value (rows, first, last) of each row between a first and a last column; any number where first > last."""
    rows, columns = values.shape
    lowest = np.zeros((rows, columns, columns), values.dtype)
    running = np.full((rows, columns), np.iinfo(values.dtype).max)
    for column in range(columns):
        running[:, : column + 1] = np.minimum(running[:, : column + 1], values[:, column : column + 1])
        lowest[:, : column + 1, column] = running[:, : column + 1]
    return lowest


def _cheapest_path(cost: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Choice (rows,) of least total cost: ``cost[row, choice]`` and ``between[choice, choice of the next row]``."""
    total = cost[0]
    came_from = np.empty(cost.shape, np.int64)
    for row in range(1, len(cost)):
        usable = np.flatnonzero(np.isfinite(total))
        way = total[usable, None] + between[usable]
        best = way.argmin(axis=0)
        came_from[row] = usable[best]
        total = way[best, np.arange(way.shape[1])] + cost[row]
    path = np.empty(len(cost), np.int64)
    path[-1] = total.argmin()
    for row in range(len(cost) - 1, 0, -1):
        path[row - 1] = came_from[row, path[row]]
    return path


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
