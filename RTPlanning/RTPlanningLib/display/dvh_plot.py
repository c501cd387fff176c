"""The DVH figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.display.axis_style import INK, style_axes
from RTPlanningLib.display.colors import readable_on_white
from RTPlanningLib.display.figure_bytes import new_figure
from RTPlanningLib.evaluation.dvh import Dvh

_POINTS = 600


def draw_dvh(
    dvhs: Mapping[str, Dvh],
    colors: Mapping[str, Sequence[float]] | None = None,
    prescription_Gy: float | None = None,
    *,
    dashed: Mapping[str, Dvh] | None = None,
    dashed_label: str = "",
    width_inch: float = 7.4,
    height_inch: float = 4.2,
) -> Figure:
    """Draw cumulative DVHs.

    Parameters
    ----------
    dvhs : mapping of structure name to Dvh
        Drawn and listed in this order.
    colors : mapping of structure name to RGB in 0..1, optional
        Too light ones are darkened to be seen on white.
    prescription_Gy : float, optional
        Marked by a vertical line.
    dashed : mapping of structure name to Dvh, optional
        Of the same structures in another dose, drawn dashed in their colours.
    dashed_label : str
        What the dashed curves are, written below the list of structures.

    Raises
    ------
    EvaluationError
        When there is no DVH to draw.
    """
    if not dvhs:
        raise EvaluationError("There is no DVH to draw; calculate one of at least one structure.")
    colors = colors or {}
    dashed = dashed or {}
    end = end_of_dose_axis((*dvhs.values(), *dashed.values()), prescription_Gy)
    figure = new_figure(width_inch, height_inch)
    axes = dose_volume_axes(figure, end)
    for number, (name, dvh) in enumerate(dvhs.items()):
        dose, volume = dvh.curve(end / _POINTS, stop_Gy=end)
        color = readable_on_white(colors.get(name, _FALLBACK[number % len(_FALLBACK)]))
        label = f"{volume_text(dvh.covered_volume_cm3)} cm³"
        if dvh.covered_fraction < 1.0:
            label += f", {dvh.covered_percent_text} % covered"
        axes.plot(dose, volume, color=color, linewidth=1.7, label=f"{name}\n{label}", solid_joinstyle="round", zorder=3)
        if name in dashed:
            axes.plot(*dashed[name].curve(end / _POINTS, stop_Gy=end), color=color, linewidth=1.2, dashes=(4, 2))
    if dashed:
        figure.text(0.715, 0.115, f"dashed: {dashed_label}", fontsize=8, color=INK, va="bottom", wrap=True)
    if prescription_Gy is not None:
        axes.axvline(prescription_Gy, color=INK, linewidth=1.0, linestyle=(0, (5, 3)), zorder=2)
        write_prescription(axes, prescription_Gy)
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(0.715, 0.965),
        fontsize=8 if len(dvhs) <= 12 else 6.5,
        frameon=False,
        labelcolor=INK,
        handlelength=1.5,
        labelspacing=0.65,
        borderaxespad=0.0,
    )
    return figure


def end_of_dose_axis(dvhs: Iterable[Dvh], prescription_Gy: float | None) -> float:
    """The dose in Gy that a figure of DVHs ends at: beyond their maxima and the prescription."""
    return max(max(dvh.max_Gy for dvh in dvhs) * 1.04, (prescription_Gy or 0.0) * 1.1, 1e-3)


def dose_volume_axes(figure: Figure, end_Gy: float) -> Axes:
    """Add axes of dose in Gy and volume in %, with room for a list of structures on the right."""
    axes = figure.add_axes((0.078, 0.115, 0.625, 0.845))
    axes.set_xlim(0.0, end_Gy)
    axes.set_ylim(0.0, 106.0)
    axes.set_yticks(range(0, 101, 10))
    axes.set_xlabel("Dose (Gy)", fontsize=9.5, color=INK)
    axes.set_ylabel("Volume (%)", fontsize=9.5, color=INK)
    style_axes(axes)
    return axes


def write_prescription(axes: Axes, prescription_Gy: float) -> None:
    """Write the prescribed dose over its place."""
    text = f"prescribed {prescription_Gy:.4g} Gy "
    axes.annotate(text, (prescription_Gy, 101.2), ha="right", va="bottom", fontsize=8, color=INK)


def volume_text(volume_cm3: float) -> str:
    """Write a volume in cm3 with about four digits and never an exponent."""
    decimals = 0 if volume_cm3 >= 1000.0 else 1 if volume_cm3 >= 100.0 else 2 if volume_cm3 >= 1.0 else 3
    return f"{volume_cm3:.{decimals}f}"


_FALLBACK = (
    (0.84, 0.15, 0.16),
    (0.12, 0.47, 0.71),
    (0.17, 0.63, 0.17),
    (0.58, 0.40, 0.74),
    (0.55, 0.34, 0.29),
    (0.89, 0.47, 0.76),
    (0.50, 0.50, 0.50),
    (0.74, 0.74, 0.13),
    (0.09, 0.75, 0.81),
)
