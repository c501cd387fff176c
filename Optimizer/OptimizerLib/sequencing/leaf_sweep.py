"""The sweep of least beam-on time: when each leaf uncovers and covers each column of a fluence map.

Leaf pairs move from low to high X. A column of a row is uncovered by the leading leaf at some MU and covered by the
trailing leaf when it has got its exposure. Both times never fall along a row; where the exposure rises the trailing
leaf waits, where it falls the leading one does. For a row alone the beam-on time is then the sum of the rises of its
profile, the least that any sequence needs: T. Bortfeld, D. L. Kahler, T. J. Waldron, A. L. Boyer, Int. J. Radiat.
Oncol. Biol. Phys. 28 (1994) 723. Leaves that must not pass the opposing leaf of the next pair add conditions of the
same kind, differences between two times; the least times are longest paths, and their greatest is again the least
beam-on time of any sequence: T. Kalinowski, Discrete Appl. Math. 152 (2005) 52.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.errors import OptimizationError


@dataclass(frozen=True, eq=False)
class LeafSweep:
    """Times of a sweep, in units of the exposure (MU or levels).

    Attributes
    ----------
    uncovered, covered : (rows, columns) arrays
        When the leading leaf leaves a column and the trailing leaf reaches it; never falling along a row.
    """

    uncovered: np.ndarray
    covered: np.ndarray

    @property
    def beam_on_time(self) -> float:
        """When the last column of all is covered."""
        return self.covered.max()


def rises(exposure: np.ndarray) -> np.ndarray:
    """Sum of the rises along each row (rows,) of an exposure (rows, columns), from zero before the first column."""
    before = np.pad(exposure, ((0, 0), (1, 0)))[:, :-1]
    return np.maximum(exposure - before, 0).sum(axis=1)


def leaf_sweep(exposure: np.ndarray, *, interdigitation: bool = True, gap_columns: int = 0) -> LeafSweep:
    """Find the sweep of least beam-on time.

    Parameters
    ----------
    exposure : (rows, columns) array, not negative
        Neighbouring rows belong to neighbouring leaf pairs. Integers stay integers.
    interdigitation : bool
        False: a trailing leaf does not pass the leading leaf of a neighbouring row.
    gap_columns : int
        The leading leaf stays at least so many columns ahead of the trailing one, beyond the field's ends as well.

    Raises
    ------
    OptimizationError
        No sweep can hold the gap; with leaves that may interdigitate one column is always possible.
    """
    exposure = np.asarray(exposure)
    dtype = exposure.dtype if np.issubdtype(exposure.dtype, np.integer) else np.float64
    waits = np.maximum(exposure[:, :-1].astype(dtype) - exposure[:, 1:], 0)
    earliest = np.zeros(exposure.shape, dtype)
    earliest[:, 1:] = np.cumsum(waits, axis=1)
    uncovered = earliest.copy()
    slack = 0 if dtype is not np.float64 else 1e-9 * max(float(exposure.max(initial=0.0)), 1.0)
    # no time on a longest path without a cycle exceeds the sum of all waits
    bound = waits.sum() + slack
    while True:
        former = uncovered.copy()
        if not interdigitation:
            for row in range(1, len(uncovered)):
                np.maximum(uncovered[row], uncovered[row - 1] - exposure[row], out=uncovered[row])
            for row in range(len(uncovered) - 2, -1, -1):
                np.maximum(uncovered[row], uncovered[row + 1] - exposure[row], out=uncovered[row])
        if 0 < gap_columns < exposure.shape[1]:
            ahead = uncovered[:, gap_columns:] - exposure[:, :-gap_columns]
            np.maximum(uncovered[:, :-gap_columns], ahead, out=uncovered[:, :-gap_columns])
        # a later column is uncovered no earlier than the waits before it allow
        uncovered = earliest + np.maximum.accumulate(uncovered - earliest, axis=1)
        if uncovered.max(initial=0) > bound:
            raise OptimizationError(
                f"No sweep of the leaves gives this fluence with a gap of {gap_columns} columns in each pair"
                f"{'' if interdigitation else ' and leaves that do not interdigitate'}; use wider bixels, smoother "
                "fluence or a machine whose leaves close."
            )
        if (uncovered - former <= slack).all():
            return LeafSweep(uncovered, uncovered + exposure)
