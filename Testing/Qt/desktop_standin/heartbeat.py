"""How long the event loop stood still while something ran."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType

from PySide6 import QtCore, QtWidgets

_STARE_S = 0.1  # a gap longer than this is looked into


class Heartbeat:
    """Measure the longest gap between two turns of the event loop within a ``with`` block.

    A block that never turns the loop is one gap as long as the block.

    Attributes
    ----------
    longest_s : float
        Longest gap by the clock on the wall, s.
    longest_cpu_s : float
        Most processor time that this thread took between two turns, s: what other programs do does not count.
    turns : int
        Turns counted; an action that takes long and turns never has 0.
    where : str
        The stack of this thread a tenth of a second into the longest gap, empty when there was none so long.
    """

    def __init__(self) -> None:
        self.longest_s = self.longest_cpu_s = 0.0
        self.turns = 0
        self.where = ""

    @classmethod
    def calmest(cls, press: Callable[[], object], enough_s: float, *, most: int = 3) -> Heartbeat:
        """Measure a press until its longest gap on the wall is short enough, and return the shortest one.

        Another program can take the machine away at any moment; what the press itself does happens every time.
        """
        beats: list[Heartbeat] = []
        while len(beats) < most and not any(beat.longest_s <= enough_s for beat in beats):
            with cls() as beat:
                press()
            beats.append(beat)
        return min(beats, key=lambda beat: beat.longest_s)

    def __enter__(self) -> Heartbeat:
        QtWidgets.QApplication.instance().processEvents()
        self._thread_id = threading.get_ident()
        self._last, self._last_cpu = time.perf_counter(), time.thread_time()
        self._stack = ""
        self._timer = QtCore.QTimer()
        self._timer.timeout.connect(self._turn)
        self._timer.start(10)
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._look, daemon=True)
        self._watcher.start()
        return self

    def _close_gap(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        if now - self._last > self.longest_s:
            self.longest_s, self.where = now - self._last, self._stack
        self.longest_cpu_s = max(self.longest_cpu_s, cpu - self._last_cpu)
        self._last, self._last_cpu, self._stack = now, cpu, ""

    def _turn(self) -> None:
        self.turns += 1
        self._close_gap()

    def _look(self) -> None:
        while not self._stopped.wait(0.02):
            if not self._stack and time.perf_counter() - self._last > _STARE_S:
                frame = sys._current_frames().get(self._thread_id)
                self._stack = "".join(traceback.format_stack(frame)[-8:]) if frame is not None else ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_gap()
        self._timer.stop()
        self._stopped.set()
        self._watcher.join()
