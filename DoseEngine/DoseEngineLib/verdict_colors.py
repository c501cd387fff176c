"""Colours of verdicts, readable as text on light and on dark grounds."""

from __future__ import annotations

# On white, and on the dark grey of dark desktop themes; each at least 4.5:1 by WCAG 2.1.
_ON_LIGHT = {
    "passed": (0.07, 0.45, 0.20),
    "acceptable": (0.55, 0.36, 0.00),
    "warning": (0.55, 0.36, 0.00),
    "failed": (0.70, 0.11, 0.10),
    "not evaluated": (0.35, 0.35, 0.38),
    "not applicable": (0.35, 0.35, 0.38),
}
_ON_DARK = {
    "passed": (0.45, 0.85, 0.55),
    "acceptable": (0.98, 0.78, 0.35),
    "warning": (0.98, 0.78, 0.35),
    "failed": (1.00, 0.55, 0.50),
    "not evaluated": (0.75, 0.75, 0.78),
    "not applicable": (0.75, 0.75, 0.78),
}
VERDICTS = tuple(_ON_LIGHT)


def verdict_color(verdict: str, *, dark: bool) -> tuple[float, float, float] | None:
    """Return the RGB colour (0..1) of a verdict's text; None for words that are no verdict.

    Parameters
    ----------
    verdict : str
        Of a goal or a check.
    dark : bool
        The text stands on a dark ground.
    """
    return (_ON_DARK if dark else _ON_LIGHT).get(verdict)
