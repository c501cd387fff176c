"""Terms on the fluence: which bixels are neighbours, values by hand, gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.influence import BixelBeam
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import FluenceSmoothness, FluenceTotalVariation
from OptimizerLib.objectives.fluence_term import neighbouring_bixels


def beam(columns, rows, name="A") -> BixelBeam:
    x, y = (np.array(columns) + 0.5) * 5.0, (np.array(rows) + 0.5) * 5.0
    return BixelBeam(name, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), "generic_6mv", 5.0, x, y)


# an L of four bixels in any order, and a beam of two; a hole between columns 0 and 2 of the second row
BEAMS = (beam([0, -1, 0, 2], [0, 0, 1, 1]), beam([7, 7], [3, 4], "B"))


def test_neighbours_share_an_edge_within_a_beam():
    pairs = {tuple(sorted(pair)) for pair in neighbouring_bixels(BEAMS).tolist()}
    assert pairs == {(0, 1), (0, 2), (4, 5)}


def test_values():
    weights = np.array([4.0, 1.0, 4.0, 100.0, 2.0, 7.0])
    assert FluenceSmoothness.of_beams(BEAMS, 3.0).value(weights) == pytest.approx(3.0 * (9 + 0 + 25) / 3)
    variation = FluenceTotalVariation.of_beams(BEAMS, 3.0)
    exact = 3.0 * (3 + 0 + 5) / 3
    assert exact - 3.0 * variation.softness_MU <= variation.value(weights) <= exact


@pytest.mark.parametrize("kind", [FluenceSmoothness, FluenceTotalVariation])
def test_gradient_is_the_derivative(kind):
    term = kind.of_beams(BEAMS, 2.5)
    weights = np.random.default_rng(2).uniform(0.0, 5.0, 6)
    gradient = term.gradient(weights)
    assert np.abs(gradient).max() > 0
    for n in range(weights.size):
        up, down = weights.copy(), weights.copy()
        up[n] += 1e-5
        down[n] -= 1e-5
        assert gradient[n] == pytest.approx((term.value(up) - term.value(down)) / 2e-5, abs=1e-6)
    assert gradient[3] == 0.0
    assert np.abs(term.gradient(np.full(6, 3.0))).max() == 0.0


def test_terms_that_cannot_be_made_say_why():
    with pytest.raises(OptimizationError, match="beams with more than one bixel"):
        FluenceSmoothness.of_beams([beam([0], [0])])
    with pytest.raises(OptimizationError, match="not negative"):
        FluenceSmoothness.of_beams(BEAMS, -1.0)
    with pytest.raises(OptimizationError, match="softness_MU"):
        FluenceTotalVariation(neighbouring_bixels(BEAMS), softness_MU=0.0)
