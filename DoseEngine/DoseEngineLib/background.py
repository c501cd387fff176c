"""Where pure work runs: at once, or in a thread beside a panel whose events must turn.

A logic reads nodes, hands the pure work to its ``background``, and writes nodes when that returns. What is handed over
touches no node, so it may run anywhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from DoseEngineLib.errors import Cancelled
from DoseEngineLib.progress import Progress, silent

T = TypeVar("T")

# Long enough to leave the interpreter to the work, short enough that a panel feels alive.
_TURN_EVERY_S = 0.02
# A cancelled work that reports within this is seen to its end; one that does not, ends unseen.
_PATIENCE_S = 0.4

# Parallel kernels must not be entered by two threads (numba's workqueue layer aborts): one work at a time.
_computing = threading.Lock()


class Background(Protocol):
    """How a logic has its pure work done: ``background(function, progress)`` returns ``function(progress)``."""

    def __call__(self, function: Callable[[Progress], T], progress: Progress | None = None) -> T:
        """Run the function; raises what it raises."""


def at_once(function: Callable[[Progress], T], progress: Progress | None = None) -> T:
    """Run the function here and now; what logics do unless a panel drives them."""
    return function(progress or silent)


def is_computing() -> bool:
    """Whether a work runs in a thread; parallel kernels must not be called meanwhile."""
    return _computing.locked()


class _Work:
    """A function in its thread, and what it last reported."""

    def __init__(self, function: Callable[[Progress], Any]) -> None:
        self._function = function
        self.reported: tuple[float, str] | None = None
        self.cancelled = False
        self.finished = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin; the gate is held already and is opened when the work ends."""
        thread = threading.Thread(target=self._run, name="RTPlanning computation", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            _computing.release()
            raise

    def _run(self) -> None:
        try:
            self.result = self._function(self._report)
        except BaseException as error:  # handed to the thread that waits, which raises it
            self.error = error
        finally:
            self._function = None
            _computing.release()
            self.finished.set()

    def _report(self, fraction: float, text: str) -> None:
        self.reported = (fraction, text)
        if self.cancelled:
            raise Cancelled("Cancelled by the user.")


def in_thread(
    function: Callable[[Progress], T], progress: Progress | None = None, *, turn: Callable[[], None] = lambda: None
) -> T:
    """Run the function in a thread of its own and wait for it, turning events meanwhile.

    Parameters
    ----------
    function : callable
        Gets a progress callback of its own and touches nothing that belongs to the calling thread.
    progress : callable, optional
        Called in the calling thread with what the function reported last; when it raises, the function is told to stop
        at its next report. One that does not report soon ends unseen, and its result is dropped.
    turn : callable
        Turns the event loop once.

    Raises
    ------
    Exception
        What the function raised, or what ``progress`` did.
    """
    report = progress or silent
    last = (0.0, "Starting")
    # a work that was given up before may still be on its way to its end
    while not _computing.acquire(timeout=_TURN_EVERY_S):
        turn()
        report(0.0, "Waiting for the calculation before to end")
    work = _Work(function)
    work.start()
    try:
        while not work.finished.wait(_TURN_EVERY_S):
            last = work.reported or last
            report(*last)
            turn()
    except BaseException:
        work.cancelled = True
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and not work.finished.wait(_TURN_EVERY_S):
            turn()
        raise
    if work.error is not None:
        raise work.error
    if work.reported is not None:
        report(*work.reported)
    return work.result
