"""Ctrl-C while objectives fall: the first one ends the search, another cancels."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from DoseEngineLib.progress import Progress

if TYPE_CHECKING:
    from OptimizerLib.solvers import IterationState


# The search answers an interrupt within this many progress reports, else it is over and there is nothing to stop.
REPORTS_TO_ANSWER = 3


@contextmanager
def stop_on_interrupt(progress: Progress) -> Iterator[tuple[Progress, Callable[[IterationState], None]]]:
    """Give a progress and a callback that end the search at the first Ctrl-C while it runs; any other cancels."""
    searching = asked = False
    unanswered = 0

    def callback(state: IterationState) -> None:
        nonlocal searching, asked
        searching = not asked
        if asked:
            state.stop()
            asked = False

    def watched(fraction: float, text: str) -> None:
        nonlocal unanswered
        unanswered = unanswered + 1 if asked else 0
        if unanswered > REPORTS_TO_ANSWER:
            raise KeyboardInterrupt
        progress(fraction, text)

    def interrupt(signum: int, frame: object) -> None:
        nonlocal asked, searching
        if not searching:
            raise KeyboardInterrupt
        asked, searching = True, False

    try:
        former = signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        # not in the main thread: signals are someone else's
        yield progress, callback
        return
    try:
        yield watched, callback
    finally:
        signal.signal(signal.SIGINT, former)
