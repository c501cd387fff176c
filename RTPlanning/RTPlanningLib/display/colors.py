"""Colours of structures and doses, for every figure and table."""

from __future__ import annotations

from collections.abc import Sequence

# by role, spread so that neighbours in a list of structures differ
ROLE_COLORS = {
    "GTV": ((0.90, 0.10, 0.10),),
    "CTV": ((0.95, 0.45, 0.60), (0.80, 0.30, 0.50)),
    "PTV": ((0.85, 0.12, 0.12), (0.95, 0.40, 0.10), (0.75, 0.10, 0.45)),
    "ORGAN": (
        (0.12, 0.47, 0.71),
        (0.17, 0.63, 0.17),
        (0.58, 0.40, 0.74),
        (0.55, 0.34, 0.29),
        (0.09, 0.75, 0.81),
        (0.74, 0.74, 0.13),
        (0.89, 0.47, 0.76),
    ),
    "AVOIDANCE": ((0.85, 0.60, 0.10),),
    "EXTERNAL": ((0.35, 0.75, 0.35),),
    "CONTROL": ((0.60, 0.60, 0.60),),
    "SUPPORT": ((0.45, 0.45, 0.55),),
    "OTHER": ((0.50, 0.50, 0.50),),
}
# WCAG 2.1 asks 3:1 of graphics against their ground
_CONTRAST = 3.0


def role_color(role: str, number: int = 0) -> tuple[float, float, float]:
    """Return the colour (RGB in 0..1) of the n-th structure of a role, going round when there are more."""
    colors = ROLE_COLORS[role]
    return colors[number % len(colors)]


def hex_color(rgb: Sequence[float]) -> str:
    """Write RGB in 0..1 as ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * min(max(float(value), 0.0), 1.0)):02x}" for value in rgb[:3])


def relative_luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white), by WCAG 2.1."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (float(c) for c in rgb[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def readable_on_white(rgb: Sequence[float]) -> tuple[float, float, float]:
    """Return the colour, darkened where needed to stand out on white paper."""
    color = tuple(float(value) for value in rgb[:3])
    while 1.05 / (relative_luminance(color) + 0.05) < _CONTRAST:
        color = tuple(0.94 * value for value in color)
    return color


def readable_on_black(rgb: Sequence[float]) -> tuple[float, float, float]:
    """Return the colour, lightened where needed to stand out on a black image."""
    color = tuple(float(value) for value in rgb[:3])
    while (relative_luminance(color) + 0.05) / 0.05 < _CONTRAST:
        color = tuple(value + 0.06 * (1.0 - value) for value in color)
    return color
