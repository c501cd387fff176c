"""A search as it goes: written by the thread that searches, read by the one that shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from OptimizerLib.fluence_planning import HistoryEntry
from OptimizerLib.solvers import IterationState
from OptimizerLib.voxel_dvh import dvh_curves, problem_doses_Gy

# No eye follows more, and every DVH costs about what an iteration does.
LEAST_INTERVAL_S = 0.5


@dataclass(frozen=True, eq=False)
class SearchSnapshot:
    """Where a search stands.

    Attributes
    ----------
    history : tuple of HistoryEntry
        So far, with the level 1.
    dose_Gy : (points,) array
        Of the curves.
    volume_percent : dict of str to (points,) array
        DVH of each structure that a row names, at the iteration that was drawn last.
    """

    history: tuple[HistoryEntry, ...]
    dose_Gy: np.ndarray
    volume_percent: dict[str, np.ndarray]


class LiveSearch:
    """The callback of a search: keeps its history, its latest DVHs, and whether it shall end.

    Nothing waits for the one that shows: `take` gets the newest snapshot, older ones are gone.

    Parameters
    ----------
    interval_s : float
        Least time between two snapshots.
    clock : callable
        Seconds.
    """

    def __init__(self, interval_s: float = LEAST_INTERVAL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = float(interval_s)
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._history: list[HistoryEntry] = []
        self._snapshot: SearchSnapshot | None = None
        self._drawn_at = -np.inf

    def __call__(self, state: IterationState) -> None:
        """Take an iteration in; of the thread that searches."""
        if self._stop.is_set():
            state.stop()
        self._history.append(HistoryEntry(state.iteration, state.value, state.values))
        now = self._clock()
        if now - self._drawn_at < self._interval_s and not self._stop.is_set():
            return
        curves = dvh_curves(problem_doses_Gy(state.problem, state.weights))
        with self._lock:
            self._snapshot = SearchSnapshot(tuple(self._history), *curves)
        self._drawn_at = self._clock()

    def stop(self) -> None:
        """Let the search end at its next iteration, with what it has."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def take(self) -> SearchSnapshot | None:
        """The newest snapshot, once; None where there is nothing new."""
        with self._lock:
            snapshot, self._snapshot = self._snapshot, None
        return snapshot
