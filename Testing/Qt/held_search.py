"""A search of the optimizer that waits at an iteration for what a person does meanwhile."""

from __future__ import annotations

import threading
from typing import Any


def hold_at(logic: Any, monkeypatch, iteration: int, on_held) -> list[int]:
    """Let the search wait at an iteration until ``on_held`` was called on the main thread; return iterations seen.

    Parameters
    ----------
    logic : OptimizerLogic
    """
    import qt

    seen, reached, go_on = [], threading.Event(), threading.Event()
    former = logic.optimizeFluence

    def held(planNode, goals, settings, progress, callback, **options):
        def watch(state):
            if state.iteration == iteration:
                reached.set()
                assert go_on.wait(20)
            callback(state)
            seen.append(state.iteration)

        return former(planNode, goals, settings, progress, watch, **options)

    def look() -> None:
        if reached.is_set():
            timer.stop()
            on_held()
            go_on.set()

    timer = qt.QTimer()
    timer.timeout.connect(look)
    timer.start(5)
    monkeypatch.setattr(logic, "optimizeFluence", held)
    return seen
