"""The figure of a front shows plans, mixtures and bound where they are."""

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.errors import EvaluationError
from OptimizerLib.multicriteria import ParetoFront
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.pareto_plot import draw_pareto_front, lower_edges


def front(values, **changes):
    values = np.array(values, float)
    plans, goals = values.shape
    made = ParetoFront(
        goals=tuple(f"Goal {n}" for n in range(goals)),
        weights=np.ones((plans, 1)),
        values=values,
        normals=np.ones((plans, goals)),
        ideal=values.min(axis=0),
        nadir=values.max(axis=0),
        gap=0.1,
        gap_history=((plans, 0.1),),
        total_weight=1.0,
        plane_normals=np.ones((1, goals)),
        plane_offsets=np.array([values.sum(axis=1).min()]),
        voxels=np.zeros(0, int),
        voxels_of={},
        doses_Gy=np.zeros((plans, 0), np.float32),
        converged=False,
        message="Gap of 10 %.",
    )
    return replace(made, **changes)


def test_edges_by_hand():
    """Plans (0, 4), (1, 1), (4, 0) and (2, 2), which is above the line of the others; plane a + b >= 2."""
    first = np.array([-1.0, 0.0, 0.5, 1.0, 2.5, 4.0])
    mixtures, bound = lower_edges(front([[0, 4], [2, 2], [4, 0], [1, 1]]), first)
    assert np.isnan(mixtures[0])
    np.testing.assert_allclose(mixtures[1:], [4.0, 2.5, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(bound, [3.0, 2.0, 1.5, 1.0, 0.0, 0.0])


def test_two_goals_show_plans_bound_and_position():
    figure = draw_pareto_front(front([[0, 4], [1, 1], [4, 0]]), position=[2.0, 0.9], units=["Gy", "Gy²"])
    (axes,) = figure.axes
    lines = {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()}
    np.testing.assert_allclose(lines["plans"], [[0, 4], [1, 1], [4, 0]])
    np.testing.assert_allclose(lines["here"], [[2.0, 0.9]])
    bound = lines["no plan is below"]
    np.testing.assert_allclose(bound[:, 1], np.maximum(2.0 - bound[:, 0], 0.0), atol=1e-12)
    assert axes.get_xlabel() == "Goal 0 (Gy)"
    assert axes.get_title(loc="left") == "Gap of 10 %."
    left, right = axes.get_xlim()
    assert left < 0.0
    assert right > 4.0


@pytest.mark.parametrize(("goals", "panels"), [(3, 3), (4, 6)])
def test_more_goals_have_a_panel_a_pair(goals, panels):
    values = np.random.default_rng(0).random((5, goals))
    figure = draw_pareto_front(front(values))
    assert len(figure.axes) == panels
    last = figure.axes[-1]
    np.testing.assert_allclose(last.get_lines()[0].get_xydata(), values[:, -2:])
    assert (last.get_xlabel(), last.get_ylabel()) == (f"Goal {goals - 2}", f"Goal {goals - 1}")
    assert png_bytes(figure)[:4] == b"\x89PNG"


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(EvaluationError, match="no plans to draw"):
        draw_pareto_front(replace(front([[0, 1]]), weights=np.zeros((0, 1))))
    with pytest.raises(EvaluationError, match="2 numbers or texts as units"):
        draw_pareto_front(front([[0, 1], [1, 0]]), units=["Gy"])
