"""Figure of a Pareto front: plans, the mixtures between them, and the bound that nothing can be below."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from DoseEngineLib.errors import EvaluationError
from OptimizerLib.multicriteria import ParetoFront
from RTPlanningLib.display.axis_style import GRID, INK, style_axes
from RTPlanningLib.display.figure_bytes import new_figure

_PLAN, _BETWEEN, _BOUND, _HERE = "#1f6fb4", "#dbe8f4", "#9aa4af", "#c62838"
_POINTS = 400


def draw_pareto_front(
    front: ParetoFront,
    position: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    *,
    width_inch: float = 7.4,
    height_inch: float | None = None,
) -> Figure:
    """Draw the plans of a front, goal against goal.

    Two goals: the mixtures of plans and what is worse are shaded, the dashed line is the bound that no plan is below,
    so that the unknown front runs between line and shade. More goals: one panel for each pair; a plan that looks worse
    than others in one pair is better in another.

    Parameters
    ----------
    front : ParetoFront
    position : (goals,) sequence of float, optional
        Values where the sliders stand, e.g. ``navigator.position.values``.
    units : (goals,) sequence of str, optional
        Of each goal's value, for the axes: "Gy", "Gy²".

    Raises
    ------
    EvaluationError
        When there are no plans, or positions or units are not one a goal.
    """
    goals = len(front.goals)
    if front.plans == 0:
        raise EvaluationError("The front has no plans to draw; compute it first.")
    for name, given in (("position", position), ("units", units)):
        if given is not None and len(given) != goals:
            raise EvaluationError(f"Give {goals} numbers or texts as {name}, one a goal; got {len(given)}.")
    labels = [name if units is None else f"{name} ({units[n]})" for n, name in enumerate(front.goals)]
    pairs = list(combinations(range(goals), 2))
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    figure = new_figure(width_inch, height_inch or (4.4 if goals == 2 else 2.6 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (across, up) in zip(panels, pairs, strict=True):
        style_axes(axes, 7.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        if goals == 2:
            _draw_bounds(axes, front)
        axes.plot(front.values[:, across], front.values[:, up], "o", color=_PLAN, markersize=4.5, label="plans")
        if position is not None:
            axes.plot(
                position[across],
                position[up],
                "D",
                color=_HERE,
                markersize=6.5,
                markeredgecolor="white",
                label="here",
                zorder=5,
            )
        for bounds, set_limits in ((across, axes.set_xlim), (up, axes.set_ylim)):
            low = min(front.ideal[bounds], front.values[:, bounds].min())
            high = max(front.nadir[bounds], front.values[:, bounds].max())
            margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
            set_limits(low - margin, high + margin)
        axes.set_xlabel(labels[across], fontsize=8.5, color=INK)
        axes.set_ylabel(labels[up], fontsize=8.5, color=INK)
    if goals == 2:
        panels[0].set_title(front.message, fontsize=8.5, color=INK, loc="left")
    panels[0].legend(fontsize=7.5, facecolor="white", framealpha=1.0, edgecolor=GRID, labelcolor=INK, loc="upper right")
    figure.tight_layout(pad=0.6)
    return figure


def lower_edges(front: ParetoFront, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second goal's least value at some values (n,) of the first, by mixtures of plans and by the bound of all plans.

    Of a front of two goals. Where no mixture has so low a value of the first goal, the edge of the mixtures is NaN.
    """
    first = np.asarray(first, float)
    order = np.lexsort((front.values[:, 1], front.values[:, 0]))
    hull: list[np.ndarray] = []
    for point in front.values[order]:
        if hull and point[1] >= hull[-1][1]:
            continue
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        hull.append(point)
    corners = np.array(hull)
    mixtures = np.interp(first, corners[:, 0], corners[:, 1], left=np.nan)
    bound = np.full(first.shape, front.ideal[1])
    for (a, b), offset in zip(front.plane_normals, front.plane_offsets, strict=True):
        if b > 0:
            bound = np.maximum(bound, (offset - a * first) / b)
    return mixtures, bound


def _turn(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> float:
    """Positive where the way from start to end turns left in the middle."""
    to_middle, to_end = middle - start, end - start
    return float(to_middle[0] * to_end[1] - to_middle[1] * to_end[0])


def _draw_bounds(axes: Axes, front: ParetoFront) -> None:
    first = np.unique(np.r_[np.linspace(front.ideal[0], front.nadir[0], _POINTS), front.values[:, 0]])
    mixtures, bound = lower_edges(front, first)
    reached = np.isfinite(mixtures)
    top = front.nadir[1] + 0.05 * (front.nadir[1] - front.ideal[1])
    axes.fill_between(first[reached], mixtures[reached], top, color=_BETWEEN, linewidth=0, label="mixtures and worse")
    axes.plot(first, bound, color=_BOUND, linewidth=1.0, dashes=(4, 2), label="no plan is below")
