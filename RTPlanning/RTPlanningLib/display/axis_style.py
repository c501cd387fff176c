"""How the axes of every plot look: a light grid behind the curves, ticks in ink, a frame of two sides."""

from __future__ import annotations

from matplotlib.axes import Axes

INK = "#1b1f24"
GRID = "#d9dde2"
FRAME = "#8b949e"
# Tick labels in points from which on a plot fills the width of a page: lines are a little heavier there.
_PAGE_WIDE = 8.0


def style_axes(axes: Axes, tick_size: float = 8.5) -> None:
    """Style the axes of a plot.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    tick_size : float
        Of the tick labels, in points; below 8 grid and ticks are finer.
    """
    wide = tick_size >= _PAGE_WIDE
    axes.grid(True, color=GRID, linewidth=0.6 if wide else 0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=tick_size, colors=INK, length=3 if wide else 2.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FRAME)
