"""Figures of a validation: depth doses and profiles against Monte Carlo, with their differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from RTPlanningLib.display.axis_style import FRAME, INK, style_axes
from RTPlanningLib.display.figure_bytes import new_figure
from RTPlanningLib.validation.comparison import PENUMBRA_DEPTHS_MM, Comparison
from RTPlanningLib.validation.monte_carlo import SLABS

_REFERENCE, _BAND = "#6b7681", "#e3e7eb"
_COLORS = ("#1f6fb4", "#c2571a", "#2f8f4e", "#7a4fa3")
# Differences are drawn to at least this and no more than that: a build-up's or an edge's would hide all others.
_DEPTH_RANGE_PERCENT = (2.0, 8.0)
_PROFILE_RANGE_PERCENT = (2.0, 6.0)


def draw_depth_dose(comparisons: Sequence[Comparison], *, width_inch: float = 4.6, height_inch: float = 3.6) -> Figure:
    """Draw the axis dose of one case by all engines over the reference's, and the deviations.

    The grey band is two standard deviations of the reference; dotted lines are the bar on the deviation.
    """
    reference, bars = comparisons[0].reference, comparisons[0].bars
    figure, upper, lower = _axes(width_inch, height_inch)
    z, judged = reference.z_mm, reference.judged
    slab = SLABS[reference.phantom][1]
    for axes in (upper, lower):
        if slab is not None:
            axes.axvspan(slab[0], slab[1], color="#f3ecdc", zorder=0, linewidth=0)
    upper.plot(z, 1e12 * reference.axis, "o", color=_REFERENCE, markersize=1.8, label="Monte Carlo")
    error = 200 * reference.axis_error
    lower.fill_between(z, -error, error, color=_BAND, zorder=0.5, linewidth=0)
    reach = _DEPTH_RANGE_PERCENT[0]
    for comparison, color in zip(comparisons, _COLORS):
        upper.plot(z, 1e12 * comparison.axis, color=color, linewidth=1.0, label=comparison.engine)
        deviation = 100 * (comparison.axis / reference.axis - 1)
        reach = max(reach, 1.15 * float(np.abs(deviation[judged]).max()))
        lower.plot(z, deviation, color=color, linewidth=1.0)
    reach = min(reach, _DEPTH_RANGE_PERCENT[1])
    if bars.axis_percent is not None:
        for sign in (-1, 1):
            lower.axhline(sign * bars.axis_percent, color=FRAME, linewidth=0.8, linestyle=":")
    lower.axhline(0.0, color=FRAME, linewidth=0.7)
    lower.set_ylim(-reach, reach)
    upper.set_ylim(0.0, 1.06e12 * reference.axis.max())
    upper.set_xlim(0.0, z[-1])
    upper.set_ylabel("Dose (pGy cm²)", fontsize=7.5, color=INK)
    lower.set_ylabel("Deviation (%)", fontsize=7.5, color=INK)
    lower.set_xlabel("Depth (mm)", fontsize=7.5, color=INK)
    upper.legend(fontsize=7, frameon=False, labelcolor=INK, loc="best")
    return figure


def draw_profiles(comparisons: Sequence[Comparison], *, width_inch: float = 4.6, height_inch: float = 3.6) -> Figure:
    """Draw profiles of one case at four depths, and the differences in per cent of the largest reference dose."""
    reference = comparisons[0].reference
    figure, upper, lower = _axes(width_inch, height_inch)
    middle = reference.x_mm.size // 2
    x = reference.x_mm[middle:]
    largest = reference.axis.max()
    shown = reference.field_mm / 2 * 1.1 + 40.0
    reach = _PROFILE_RANGE_PERCENT[0]
    for depth in PENUMBRA_DEPTHS_MM:
        theirs = reference.profile_of(reference.dose, depth)[middle:]
        label = "Monte Carlo" if depth == PENUMBRA_DEPTHS_MM[0] else None
        upper.plot(x, 1e12 * theirs, "o", color=_REFERENCE, markersize=1.8, label=label)
        for comparison, color in zip(comparisons, _COLORS):
            ours = comparison.profiles[depth][middle:]
            label = comparison.engine if depth == PENUMBRA_DEPTHS_MM[0] else None
            upper.plot(x, 1e12 * ours, color=color, linewidth=1.0, label=label)
            difference = 100 * (ours - theirs) / largest
            reach = max(reach, 1.15 * float(np.abs(difference[x < shown]).max()))
            lower.plot(x, difference, color=color, linewidth=0.8)
    reach = min(reach, _PROFILE_RANGE_PERCENT[1])
    lower.axhline(0.0, color=FRAME, linewidth=0.7)
    lower.set_ylim(-reach, reach)
    upper.set_xlim(0.0, min(shown, x[-1]))
    upper.set_ylim(bottom=0.0)
    upper.set_ylabel("Dose (pGy cm²)", fontsize=7.5, color=INK)
    lower.set_ylabel("Difference\n(% of maximum)", fontsize=7.5, color=INK)
    lower.set_xlabel("Distance from the axis (mm)", fontsize=7.5, color=INK)
    upper.legend(fontsize=7, frameon=False, labelcolor=INK, loc="best")
    return figure


def _axes(width_inch: float, height_inch: float) -> tuple[Figure, Axes, Axes]:
    figure = new_figure(width_inch, height_inch)
    upper = figure.add_axes((0.125, 0.42, 0.86, 0.56))
    lower = figure.add_axes((0.125, 0.135, 0.86, 0.245), sharex=upper)
    for axes in (upper, lower):
        style_axes(axes, 7)
    upper.tick_params(labelbottom=False)
    return figure, upper, lower
