"""Figure of an optimization: how the objectives fell, and what the leaves then made of it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from DoseEngineLib.errors import EvaluationError
from OptimizerLib.fluence_planning import HistoryEntry
from RTPlanningLib.display.axis_style import GRID, INK, style_axes
from RTPlanningLib.display.figure_bytes import new_figure

_TOTAL, _IDEAL, _EDGE = INK, "#c62838", "#9aa4af"
_TERMS = ("#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f")
# Terms that never mattered would stretch the axis over many decades.
_LEAST_SHARE = 1e-4


def draw_convergence(
    history: Sequence[HistoryEntry],
    term_names: Sequence[str],
    refinement: Sequence[float] = (),
    *,
    width_inch: float = 7.4,
    height_inch: float = 2.9,
) -> Figure:
    """Draw the objectives over the iterations of the fluence, and beside them over those of the apertures.

    Parameters
    ----------
    history : sequence of HistoryEntry
        Of the fluence; may be empty when there is a refinement.
    term_names : sequence of str
    refinement : sequence of float
        Sum of the objectives over the refinement of the apertures.

    Raises
    ------
    EvaluationError
        When there is nothing to draw.
    """
    if not history and not refinement:
        raise EvaluationError("There is no history to draw; optimize first.")
    figure = new_figure(width_inch, height_inch)
    parts = [part for part in (history, refinement) if part]
    panels = figure.subplots(
        1, len(parts), sharey=True, squeeze=False, gridspec_kw={"width_ratios": [2.0, 1.0][: len(parts)]}
    )[0]
    end = history[-1].value if history else None
    if history:
        axes, steps = panels[0], [entry.iteration for entry in history]
        for number, name in enumerate(term_names):
            values = [entry.terms[number] for entry in history]
            if max(values) > 0:
                color = _TERMS[number % len(_TERMS)]
                axes.plot(steps, values, color=color, linewidth=1.0, label=_short(name))
        _draw_totals(axes, history)
        axes.set_xlabel("Iteration of the fluence", fontsize=8, color=INK)
        axes.set_ylim(bottom=max(end * _LEAST_SHARE, 1e-12))
        axes.legend(fontsize=6.5, facecolor="white", framealpha=0.9, edgecolor=GRID, labelcolor=INK, loc="best")
    if refinement:
        axes = panels[-1]
        axes.plot(range(len(refinement)), refinement, color=_TOTAL, linewidth=1.8)
        axes.set_xlabel("Iteration of the apertures", fontsize=8, color=INK)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("Objective", fontsize=8, color=INK)
    for axes in panels:
        if end is not None and len(parts) > 1:
            axes.axhline(end, color=_IDEAL, linewidth=0.8, dashes=(4, 2), label="ideal")
        style_axes(axes, 7.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.tight_layout(pad=0.5)
    return figure


def _draw_totals(axes: Axes, history: Sequence[HistoryEntry]) -> None:
    """What was minimized; with levels one line each, that of the level which had its turn."""
    levels = sorted({entry.level for entry in history})
    for number, level in enumerate(levels):
        turn = [entry for entry in history if entry.level == level]
        label = "total" if len(levels) == 1 else "total of the level"
        axes.plot(
            [entry.iteration for entry in turn],
            [entry.value for entry in turn],
            color=_TOTAL,
            linewidth=1.8,
            label=label if number == 0 else None,
        )
        if len(levels) > 1:
            axes.axvline(turn[0].iteration, color=_EDGE, linewidth=0.8)
            axes.annotate(
                f"level {level}",
                (turn[0].iteration, 1.0),
                (0, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="bottom",
                fontsize=7,
                color=INK,
            )


def _short(name: str) -> str:
    return name if len(name) <= 46 else f"{name[:45]}…"
