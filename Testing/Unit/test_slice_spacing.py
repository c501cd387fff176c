"""The distance of slices, as contours tell it."""

from __future__ import annotations

import numpy as np
import pytest
from test_dvh_outlines import circle

from RTPlanningLib.contouring.slice_spacing import contoured_spacing_mm


def at(*heights: float) -> list[np.ndarray]:
    return [circle(10.0, z) for z in heights]


@pytest.mark.parametrize(
    ("structures", "spacing"),
    [
        ([at(0, 3, 6, 9)], 3.0),
        # a slice left out, a structure on every other slice, two contours in a plane
        ([at(0, 3, 9, 12, 15), at(0, 6, 12), at(3, 3)], 3.0),
        # as many of one as of the other
        ([at(0, 2, 4), at(0, 5, 10)], 2.0),
        ([at(9, 0, 3, 6)], 3.0),
        ([at(0), at(40)], None),
        ([], None),
        ([[]], None),
    ],
)
def test_spacing(structures, spacing):
    assert contoured_spacing_mm(structures) == (None if spacing is None else pytest.approx(spacing))


def test_planes_of_any_orientation():
    turn = np.array([[1, 0, 0], [0, np.cos(0.5), -np.sin(0.5)], [0, np.sin(0.5), np.cos(0.5)]])
    assert contoured_spacing_mm([[one @ turn.T + (7.0, 1.0, -300.0) for one in at(0, 2.5, 5)]]) == pytest.approx(2.5)


def test_what_is_no_contour_tells_nothing():
    line = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    flat = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [2.0, 0.0, 2.0]])
    assert contoured_spacing_mm([[line, np.full((4, 3), np.nan)], [flat]]) is None
