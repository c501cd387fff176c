"""Pure work in a thread while events turn: result, errors, cancel, and one at a time."""

from __future__ import annotations

import threading
import time

import pytest

from DoseEngineLib.background import at_once, in_thread, is_computing
from DoseEngineLib.errors import Cancelled, PlanError


def test_result_and_progress_arrive_in_the_calling_thread() -> None:
    caller = threading.get_ident()
    threads, reports, turns = [], [], []

    def work(progress):
        threads.append(threading.get_ident())
        progress(0.5, "half way")
        time.sleep(0.1)
        progress(1.0, "done")
        return 42

    def report(fraction, text):
        assert threading.get_ident() == caller
        reports.append((fraction, text))

    assert in_thread(work, report, turn=lambda: turns.append(threading.get_ident())) == 42
    assert threads != [caller]
    assert (0.5, "half way") in reports
    assert reports[-1] == (1.0, "done")
    assert set(turns) == {caller}
    assert not is_computing()
    assert at_once(lambda progress: progress(1.0, "") or 7) == 7


def test_errors_come_back_as_they_are() -> None:
    def work(progress):
        raise PlanError("no beams; add one")

    with pytest.raises(PlanError, match="add one"):
        in_thread(work)
    assert not is_computing()


def test_cancel_stops_a_work_that_reports() -> None:
    stopped = threading.Event()

    def work(progress):
        try:
            while True:
                progress(0.1, "on the way")
                time.sleep(0.01)
        except Cancelled:
            stopped.set()
            raise

    def report(fraction, text):
        if text == "on the way":
            raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        in_thread(work, report)
    assert stopped.is_set()
    assert not is_computing()


def test_cancel_takes_effect_within_a_second_though_the_work_does_not_report() -> None:
    """The caller is free after 1 s; the next work waits for the thread, so that never two compute at once."""
    release, running = threading.Event(), []

    def deaf(progress):
        running.append("deaf")
        release.wait(10.0)
        running.remove("deaf")
        return "dropped"

    def report(fraction, text):
        if running:
            raise Cancelled("by the user")

    began = time.monotonic()
    with pytest.raises(Cancelled):
        in_thread(deaf, report)
    assert time.monotonic() - began < 1.0
    assert is_computing()
    waiting = []

    def waits(fraction, text):
        waiting.append(text)
        release.set()

    assert in_thread(lambda progress: list(running), waits) == []
    assert any("calculation before" in text for text in waiting)
    assert not is_computing()


def test_a_cancel_while_waiting_starts_nothing() -> None:
    release = threading.Event()

    def give_up(fraction, text):
        raise Cancelled("by the user")

    with pytest.raises(Cancelled):
        in_thread(lambda progress: release.wait(10.0), give_up)
    started = []
    with pytest.raises(Cancelled):
        in_thread(started.append, give_up)
    release.set()
    assert started == []
    assert in_thread(lambda progress: "next") == "next"
