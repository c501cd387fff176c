"""Control and complication probabilities over prescribed dose, with the bands of their parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.display.axis_style import INK, style_axes
from RTPlanningLib.display.colors import readable_on_white
from RTPlanningLib.display.figure_bytes import new_figure
from RTPlanningLib.radiobiology.dose_response import DoseResponse

_TCP_COLORS = ((0.12, 0.47, 0.29), (0.10, 0.55, 0.55))
_NTCP_COLORS = ((0.76, 0.22, 0.17), (0.85, 0.50, 0.10), (0.48, 0.31, 0.64), (0.12, 0.44, 0.71), (0.45, 0.33, 0.22))


def draw_dose_response(
    responses: Sequence[DoseResponse],
    colors: dict[str, Sequence[float]] | None = None,
    *,
    width_inch: float = 7.4,
    height_inch: float = 4.4,
) -> Figure:
    """Draw TCP (solid) and NTCP (dashed) over prescribed dose.

    The light band holds 95 %, the darker one 68 % of the probabilities with parameters drawn within their published
    limits; a curve without a band has none published. A dot marks the plan as it is.

    Parameters
    ----------
    responses : sequence of DoseResponse
        Listed in this order.
    colors : mapping of label to RGB in 0..1, optional

    Raises
    ------
    EvaluationError
        When there is no curve to draw, or more of them than can be told apart.
    """
    if not responses:
        raise EvaluationError("There is no dose response to draw; give at least one.")
    if len(responses) > 7:
        raise EvaluationError(f"{len(responses)} dose responses cannot be told apart in one figure; draw at most 7.")
    figure = new_figure(width_inch, height_inch)
    # the legend stands below, for endpoints are long
    rows = len(responses)
    banded = any(response.band is not None for response in responses)
    bottom = (0.52 + 0.185 * (rows + banded)) / height_inch
    axes = figure.add_axes((0.085, bottom, 0.895, 0.97 - bottom))
    counts = {"TCP": 0, "NTCP": 0}
    for response in responses:
        palette = _TCP_COLORS if response.quantity == "TCP" else _NTCP_COLORS
        chosen = (colors or {}).get(response.label, palette[counts[response.quantity] % len(palette)])
        color = readable_on_white(chosen)
        counts[response.quantity] += 1
        dose = response.prescription_Gy
        if response.band is not None:
            for (low, high), shade in (((2.5, 97.5), 0.13), ((16.0, 84.0), 0.20)):
                axes.fill_between(
                    dose,
                    100.0 * response.band.at(low),
                    100.0 * response.band.at(high),
                    color=color,
                    alpha=shade,
                    linewidth=0.0,
                    zorder=1.5,
                )
        text = f"{response.quantity}  {response.label}  ({_percent(response.planned_probability)}"
        text += f" at {response.planned_Gy:.4g} Gy"
        if response.band is not None:
            planned = [
                float(np.interp(response.planned_Gy, dose, response.band.at(percentile))) for percentile in (2.5, 97.5)
            ]
            text += f", 95 %: {_percent(planned[0])} to {_percent(planned[1])}"
        axes.plot(
            dose,
            100.0 * response.probability,
            color=color,
            linewidth=1.8,
            linestyle="-" if response.quantity == "TCP" else (0, (5, 2)),
            label=text + ")",
            zorder=3,
        )
        axes.plot(
            [response.planned_Gy],
            [100.0 * response.planned_probability],
            "o",
            color=color,
            markersize=5.0,
            zorder=4,
            clip_on=False,
        )
    ends = np.concatenate([response.prescription_Gy[[0, -1]] for response in responses])
    axes.set_xlim(ends.min(), ends.max())
    axes.set_ylim(0.0, 100.0)
    axes.set_yticks(range(0, 101, 10))
    axes.set_xlabel("Prescribed dose (Gy), number of fractions kept", fontsize=9.5, color=INK)
    axes.set_ylabel("Probability (%)", fontsize=9.5, color=INK)
    style_axes(axes)
    figure.legend(
        loc="lower left",
        bbox_to_anchor=(0.075, 0.2 / height_inch if banded else 0.0),
        fontsize=8,
        frameon=False,
        labelcolor=INK,
        labelspacing=0.35,
        borderaxespad=0.2,
        handlelength=2.6,
    )
    if banded:
        figure.text(
            0.085,
            0.07 / height_inch,
            "Bands: 68 % and 95 % of the curves with parameters drawn within their published limits.",
            fontsize=7.5,
            color=INK,
        )
    return figure


def _percent(probability: float) -> str:
    value = 100.0 * probability
    return f"{value:.2g} %" if 0.0 < value < 1.0 else f"{value:.1f} %"
