"""Figure of modulated fluence: a map a beam, as wished and as delivered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.display.axis_style import FRAME, INK
from RTPlanningLib.display.figure_bytes import new_figure

_COLUMNS = 5
_GAP_MM = 5.0

FluenceMap = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def draw_fluence_maps(
    ideal: Sequence[FluenceMap], delivered: Sequence[FluenceMap] = (), *, width_inch: float = 7.4
) -> Figure:
    """Draw fluence in beam's eye view at the isocentre plane, X to the right, Y up, all on one scale.

    Parameters
    ----------
    ideal, delivered : sequence of (name, values (y, x), x edges, y edges)
        MU a fraction of open fluence; lengths in mm. What is delivered stands below what was wished.

    Raises
    ------
    EvaluationError
        When there is no map, or delivered ones are of other beams.
    """
    if not ideal:
        raise EvaluationError("There is no fluence to draw; optimize it first.")
    if delivered and [entry[0] for entry in delivered] != [entry[0] for entry in ideal]:
        raise EvaluationError("Delivered fluence is of other beams; give the same beams in the same order.")
    layers = [("wished", ideal)] + ([("delivered", delivered)] if delivered else [])
    columns = min(len(ideal), _COLUMNS)
    blocks = -(-len(ideal) // columns)
    low_x, high_x = min(x[0] for _, _, x, _ in ideal) - _GAP_MM, max(x[-1] for _, _, x, _ in ideal) + _GAP_MM
    low_y, high_y = min(y[0] for _, _, _, y in ideal) - _GAP_MM, max(y[-1] for _, _, _, y in ideal) + _GAP_MM
    maximum = max(float(values.max()) for _, maps in layers for _, values, _, _ in maps) or 1.0
    cell = (width_inch - 0.9) / max(columns, 3)
    rows = blocks * len(layers)
    height = rows * (cell * (high_y - low_y) / (high_x - low_x) + 0.24) + 0.35
    figure = new_figure(width_inch, height)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    figure.subplots_adjust(
        left=0.07,
        right=0.07 + (width_inch - 0.9) / width_inch * columns / max(columns, 3),
        top=1.0 - 0.26 / height,
        bottom=0.35 / height,
        wspace=0.06,
        hspace=0.16,
    )
    image = None
    for row in range(rows):
        block, layer = divmod(row, len(layers))
        what, maps = layers[layer]
        for column in range(columns):
            axes, number = panels[row, column], block * columns + column
            if number >= len(maps):
                axes.set_visible(False)
                continue
            name, values, x, y = maps[number]
            image = axes.pcolormesh(x, y, values, cmap="viridis", vmin=0.0, vmax=maximum)
            axes.set_aspect("equal")
            axes.set_xlim(low_x, high_x)
            axes.set_ylim(low_y, high_y)
            axes.set_title(name if layer == 0 else what, fontsize=7.5 if layer == 0 else 6.5, color=INK, pad=2)
            axes.tick_params(labelsize=6, colors=INK, length=2)
            axes.tick_params(labelbottom=number + columns >= len(maps) and layer == len(layers) - 1)
            for side in axes.spines.values():
                side.set_color(FRAME)
                side.set_linewidth(0.5)
    bar = figure.colorbar(image, ax=panels.ravel().tolist(), fraction=0.025, pad=0.02, shrink=min(1.0, 2.5 / height))
    bar.ax.tick_params(labelsize=6.5, colors=INK, length=2)
    bar.set_label("MU a fraction", fontsize=7.5, color=INK)
    bar.outline.set_linewidth(0.5)
    figure.supxlabel("X, Y at the isocentre plane (mm)", fontsize=7.5, color=INK, y=0.0, va="bottom")
    return figure
