"""Signals connected for a time: after the settings took what a widget shows, and until there are other settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def connected(handler: Callable[..., None], signals: Iterable[Any]) -> Callable[[], None]:
    """Connect signals with a handler; returns what takes the connections away.

    Handlers are called in the order of their connection, so one that reads the settings has to be connected after the
    widgets were coupled with them.
    """
    signals = list(signals)
    for signal in signals:
        signal.connect(handler)

    def release() -> None:
        for signal in signals:
            signal.disconnect(handler)

    return release
