"""DVHs of several plans in one figure: a colour is a structure, a line style a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.display.axis_style import INK
from RTPlanningLib.display.colors import ROLE_COLORS, readable_on_white
from RTPlanningLib.display.dvh_plot import dose_volume_axes, end_of_dose_axis, write_prescription
from RTPlanningLib.display.figure_bytes import new_figure
from RTPlanningLib.evaluation.dvh import Dvh

_POINTS = 600
_STYLES = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (5, 1.6, 1.2, 1.6)), (0, (5, 1.6, 1.2, 1.6, 1.2, 1.6)))
_FALLBACK = ROLE_COLORS["ORGAN"]


def draw_dvh_overlay(
    plans: Mapping[str, Mapping[str, Dvh]],
    colors: Mapping[str, Sequence[float]] | None = None,
    prescription_Gy: float | None = None,
    *,
    width_inch: float = 7.4,
    height_inch: float = 4.2,
) -> Figure:
    """Draw the cumulative DVHs of plans.

    Parameters
    ----------
    plans : mapping of plan name to mapping of structure name to Dvh
        Up to five; the first is drawn solid.
    colors : mapping of structure name to RGB in 0..1, optional
        Too light ones are darkened to be seen on white.
    prescription_Gy : float, optional
        Marked by a vertical line.

    Raises
    ------
    EvaluationError
        No DVH to draw, or more plans than there are line styles.
    """
    structures = list(dict.fromkeys(name for dvhs in plans.values() for name in dvhs))
    if not structures:
        raise EvaluationError("There is no DVH to draw; calculate one of at least one structure.")
    if len(plans) > len(_STYLES):
        raise EvaluationError(f"A figure can tell {len(_STYLES)} plans apart, not {len(plans)}; choose fewer.")
    given = colors or {}
    color = {
        name: readable_on_white(given.get(name, _FALLBACK[n % len(_FALLBACK)])) for n, name in enumerate(structures)
    }
    end = end_of_dose_axis((dvh for dvhs in plans.values() for dvh in dvhs.values()), prescription_Gy)
    figure = new_figure(width_inch, height_inch)
    axes = dose_volume_axes(figure, end)
    for style, dvhs in zip(_STYLES, plans.values(), strict=False):
        for name, dvh in dvhs.items():
            axes.plot(*dvh.curve(end / _POINTS, stop_Gy=end), color=color[name], linestyle=style, linewidth=1.6)
    if prescription_Gy is not None:
        axes.axvline(prescription_Gy, color=INK, linewidth=0.8, alpha=0.6, zorder=1)
        write_prescription(axes, prescription_Gy)
    plan_lines = [Line2D([], [], color=INK, linestyle=s, linewidth=1.6) for s, _ in zip(_STYLES, plans, strict=False)]
    structure_lines = [Line2D([], [], color=color[name], linewidth=3.0) for name in structures]
    legend = {"fontsize": 8 if len(structures) <= 14 else 6.5, "frameon": False, "labelcolor": INK}
    first = figure.legend(
        plan_lines,
        [_marked(plan, dvhs) for plan, dvhs in plans.items()],
        loc="upper left",
        bbox_to_anchor=(0.715, 0.965),
        borderaxespad=0.0,
        handlelength=3.0,
        title="Plans",
        alignment="left",
        **legend,
    )
    top = first.get_window_extent().y0 / figure.bbox.height - 0.03
    figure.legend(
        structure_lines,
        structures,
        loc="upper left",
        bbox_to_anchor=(0.715, top),
        borderaxespad=0.0,
        handlelength=1.5,
        title="Structures",
        alignment="left",
        **legend,
    )
    return figure


def _marked(plan: str, dvhs: Mapping[str, Dvh]) -> str:
    """The plan's name, and which of its curves are those of a part of the structure."""
    partly = [f"{name} {dvh.covered_percent_text} %" for name, dvh in dvhs.items() if dvh.covered_fraction < 1.0]
    return plan if not partly else f"{plan}\n(covered: {', '.join(partly)})"
