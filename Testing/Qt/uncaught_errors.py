"""Errors that slots and observers raised: Qt and VTK print them and go on."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncaught_errors() -> Iterator[list[str]]:
    """Collect what reaches ``sys.excepthook``.

    Not what is raised while garbage is collected: VTK objects of an earlier test that go then call observers which are
    half gone themselves.
    """
    found: list[str] = []
    collecting = False

    def on_collection(phase: str, _info: dict[str, int]) -> None:
        nonlocal collecting
        collecting = phase == "start"

    def keep(*error) -> None:
        if not collecting:
            found.append("".join(traceback.format_exception(*error)))

    former = sys.excepthook
    sys.excepthook = keep
    gc.callbacks.append(on_collection)
    try:
        yield found
    finally:
        sys.excepthook = former
        gc.callbacks.remove(on_collection)
