"""Pictures that compare doses: the right colour in the right place, the bar beside it, DVHs of several plans."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.display.color_overlay import difference_overlay, gamma_overlay
from RTPlanningLib.display.dvh_overlay_plot import draw_dvh_overlay
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.map_colors import difference_colors, difference_limit, gamma_colors
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dvh import Dvh

GRID = Grid.from_spacing((10, 12, 14), 5.0, (-32.5, -27.5, -22.5))


def rgba_at(axes, x: float, y: float) -> np.ndarray:
    """What the topmost map of an axes draws at a point."""
    image = axes.images[-1]
    left, right, bottom, top = image.get_extent()
    values = np.asarray(image.get_array())
    row = int((y - bottom) / (top - bottom) * values.shape[0])
    column = int((x - left) / (right - left) * values.shape[1])
    rgba = image.cmap(image.norm(values[row, column]))
    return np.array([*rgba[:3], np.asarray(image.get_alpha())[row, column]])


def test_color_maps_part_at_zero_and_at_one():
    difference, gamma = difference_colors(), gamma_colors()
    assert difference.shape == gamma.shape == (256, 3)
    assert (difference[:120, 2] > difference[:120, 0]).all()
    assert (difference[136:, 0] > difference[136:, 2]).all()
    np.testing.assert_allclose(difference[127:129], 0.97, atol=0.02)
    assert (gamma[:128, 0] < gamma[:128, 1]).all()
    assert (gamma[128:, 0] > gamma[128:, 1]).all()


@pytest.mark.parametrize(
    ("values", "limit"),
    [([0.0, 3.1], 4.0), ([-0.0123], 0.015), ([100.0], 100.0), ([-7.0, 7.9], 8.0), ([0.0], 1e-3), ([], 1.0)],
)
def test_difference_limits_are_round_figures(values, limit):
    assert difference_limit(np.array(values)) == pytest.approx(limit, rel=1e-6)


def test_a_difference_is_red_where_more_and_blue_where_less():
    values = np.full(GRID.shape, np.nan, np.float32)
    # the patient's right half more, the left half less, the posterior part not judged
    right, anterior = GRID.centres_RAS_mm()[..., 0], GRID.centres_RAS_mm()[..., 1]
    values[(right > 0) & (anterior > -5)] = 2.0
    values[(right < 0) & (anterior > -5)] = -2.0
    figure = draw_slices(
        np.zeros(GRID.shape, np.float32),
        GRID,
        point_RAS_mm=(1.0, 1.0, 1.0),
        overlay=difference_overlay(values, GRID, "Gy", 2.0),
    )
    axial = figure.axes[0]
    more, less, unjudged = (rgba_at(axial, x, y) for x, y in ((20.0, 10.0), (-20.0, 10.0), (20.0, -20.0)))
    assert more[0] > more[2]
    assert less[2] > less[0]
    assert more[3] == less[3] > 0.5
    assert unjudged[3] == 0.0
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "Dose difference (Gy)"
    assert [label.get_text() for label in bar.get_yticklabels()] == ["-2", "-1", "0", "+1", "+2"]
    assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("gamma", "fails"), [(0.0, False), (1.0, False), (1.0001, True), (2.0, True), (9.0, True)])
def test_gamma_fails_above_one(gamma, fails):
    figure = draw_slices(
        np.zeros(GRID.shape, np.float32),
        GRID,
        overlay=gamma_overlay(np.full(GRID.shape, gamma, np.float32), GRID),
    )
    red, green, _, opacity = rgba_at(figure.axes[0], 0.0, 0.0)
    assert (red > green) == fails
    assert opacity > 0.5


def test_overlays_refuse_what_they_cannot_draw():
    with pytest.raises(EvaluationError, match="shape"):
        gamma_overlay(np.zeros((2, 2, 2), np.float32), GRID)
    with pytest.raises(EvaluationError, match="nothing to draw"):
        difference_overlay(np.full(GRID.shape, np.nan, np.float32), GRID, "Gy")
    with pytest.raises(EvaluationError, match="limit"):
        difference_overlay(np.zeros(GRID.shape, np.float32), GRID, "Gy", -1.0)


def test_dvhs_of_plans_share_colours_and_differ_in_style():
    rng = np.random.default_rng(1)
    plans = {
        name: {s: Dvh(s, 10.0, rng.uniform(20.0, high, 500)) for s in ("PTV", "Cord")}
        for name, high in (("A", 60.0), ("B", 66.0), ("C", 50.0))
    }
    figure = draw_dvh_overlay(plans, {"PTV": (1.0, 0.0, 0.0)}, 60.0)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 6
    colors = [to_rgb(line.get_color()) for line in lines]
    assert colors[0] == colors[2] == colors[4] == (1.0, 0.0, 0.0)
    assert colors[0] != colors[1] == colors[3]
    patterns = [line._unscaled_dash_pattern for line in lines]
    assert patterns[0] == patterns[1]
    assert len({str(p) for p in patterns}) == 3
    ends = [line.get_xdata()[np.flatnonzero(np.asarray(line.get_ydata()) > 0.0)[-1]] for line in lines]
    assert ends[2] > ends[0] > ends[4], "each plan has its own curve"
    with pytest.raises(EvaluationError, match="choose fewer"):
        draw_dvh_overlay({str(n): plans["A"] for n in range(6)})
