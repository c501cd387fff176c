"""The one progress contract: ``progress(fraction, text)``, which may raise `Cancelled` to stop the work."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]


def silent(fraction: float, text: str) -> None:
    """Report to nobody; the default of every ``progress`` argument."""


def part(progress: Progress | None, start: float, stop: float) -> Progress:
    """Return a callback that maps 0..1 onto ``start..stop`` of an outer one."""
    outer = progress or silent
    return lambda fraction, text: outer(start + (stop - start) * fraction, text)
