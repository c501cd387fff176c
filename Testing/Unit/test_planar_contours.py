"""Contours to masks: the even-odd rule, planes off the slices, interpolation, broken contours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.contouring.planar_contours import fill_even_odd, interpolate_shape, mask_from_contours

SHAPE = (90, 110)


def star(radii: list[float], centre: tuple[float, float] = (55.3, 44.7), turn: float = 0.1) -> np.ndarray:
    angles = turn + 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack((np.cos(angles), np.sin(angles)), axis=-1) * np.array(radii)[:, None] + centre


def shoelace(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def perimeter(polygon: np.ndarray) -> float:
    return float(np.linalg.norm(polygon - np.roll(polygon, -1, axis=0), axis=1).sum())


stars = st.builds(
    star,
    st.lists(st.floats(5.0, 40.0), min_size=3, max_size=40),
    st.tuples(st.floats(45.0, 60.0), st.floats(42.0, 47.0)),
    st.floats(0.0, 6.0),
)
small_stars = st.builds(star, st.lists(st.floats(3.0, 20.0), min_size=3, max_size=20))


@given(stars)
@settings(max_examples=60, deadline=None)
def test_area_is_the_shoelace_area_to_sampling_accuracy(polygon: np.ndarray) -> None:
    # a lattice point count differs from the area by no more than about the perimeter; in practice by far less
    count = np.count_nonzero(fill_even_odd([polygon], SHAPE))
    assert abs(count - shoelace(polygon)) <= 0.5 * perimeter(polygon) + 2


@given(stars)
@settings(max_examples=40, deadline=None)
def test_agrees_with_an_independent_point_in_polygon_test(polygon: np.ndarray) -> None:
    row, column = np.indices(SHAPE)
    points = np.stack((column.ravel(), row.ravel()), axis=-1)
    expected = Outline(np.vstack((polygon, polygon[:1])), closed=True).contains_points(points).reshape(SHAPE)
    differing = np.argwhere(fill_even_odd([polygon], SHAPE) != expected)[:, ::-1]
    for point in differing:  # only centres that lie on the outline may differ
        a, b = polygon, np.roll(polygon, -1, axis=0)
        t = np.clip(np.sum((point - a) * (b - a), axis=1) / np.sum((b - a) ** 2, axis=1), 0, 1)
        assert np.linalg.norm(a + t[:, None] * (b - a) - point, axis=1).min() < 1e-6


@given(small_stars, st.integers(-30, 30), st.integers(-20, 20))
@settings(max_examples=40, deadline=None)
def test_moves_with_the_polygon(polygon: np.ndarray, right: int, down: int) -> None:
    # whole 1/1024 pixels, off the pixel centres, make the shifted sums exact
    polygon = np.round(polygon * 1024) / 1024 + 1 / 4096
    moved = fill_even_odd([polygon + (right, down)], SHAPE)
    assert np.array_equal(moved, np.roll(fill_even_odd([polygon], SHAPE), (down, right), axis=(0, 1)))


@given(stars)
@settings(max_examples=40, deadline=None)
def test_direction_and_first_point_do_not_matter(polygon: np.ndarray) -> None:
    filled = fill_even_odd([polygon], SHAPE)
    assert np.array_equal(fill_even_odd([polygon[::-1]], SHAPE), filled)
    assert np.array_equal(fill_even_odd([np.roll(polygon, 2, axis=0)], SHAPE), filled)
    assert np.array_equal(fill_even_odd([np.vstack((polygon, polygon[:1]))], SHAPE), filled)


@given(st.lists(st.floats(20.0, 40.0), min_size=8, max_size=20), st.lists(st.floats(2.0, 15.0), min_size=3, max_size=9))
@settings(max_examples=40, deadline=None)
def test_a_hole_is_outer_without_inner_and_a_keyhole_is_the_same(outer: list[float], inner: list[float]) -> None:
    outside, inside = star(outer), star(inner)
    expected = fill_even_odd([outside], SHAPE) & ~fill_even_odd([inside], SHAPE)
    assert np.array_equal(fill_even_odd([outside, inside], SHAPE), expected)
    keyhole = np.vstack((outside, outside[:1], inside[::-1], inside[-1:]))
    assert np.array_equal(fill_even_odd([keyhole], SHAPE), expected)
    island = star([0.4 * r for r in inner])
    with_island = expected | fill_even_odd([island], SHAPE)
    assert np.array_equal(fill_even_odd([outside, inside, island], SHAPE), with_island)


@given(st.lists(st.floats(2.0, 20.0), min_size=3, max_size=9), st.lists(st.floats(2.0, 20.0), min_size=3, max_size=9))
@settings(max_examples=40, deadline=None)
def test_separate_pieces_are_their_union(left: list[float], right: list[float]) -> None:
    a, b = star(left, (25.0, 40.0)), star(right, (80.0, 40.0))
    assert np.array_equal(fill_even_odd([a, b], SHAPE), fill_even_odd([a], SHAPE) | fill_even_odd([b], SHAPE))


def test_pixel_centres_on_the_outline_follow_the_half_open_rule() -> None:
    left = np.array([(2, 2), (5, 2), (5, 6), (2, 6)], float)
    right = left + (3, 0)
    filled = fill_even_odd([left], (10, 12))
    assert np.argwhere(filled).min(axis=0).tolist() == [2, 2]
    assert np.argwhere(filled).max(axis=0).tolist() == [5, 4]
    # neighbours share an edge: no overlap, no gap
    assert not (filled & fill_even_odd([right], (10, 12))).any()
    assert np.count_nonzero(fill_even_odd([left, right], (10, 12))) == 24


def test_a_vertex_on_a_row_does_not_leak() -> None:
    diamond = np.array([(5, 1), (9, 5), (5, 9), (1, 5)], float)
    filled = fill_even_odd([diamond], (11, 11))
    assert filled.sum(axis=1).tolist() == [0, 0, 2, 4, 6, 8, 6, 4, 2, 0, 0]


def test_polygons_beyond_the_image_are_cut_at_its_border() -> None:
    big = np.array([(-50, -50), (500, -50), (500, 500), (-50, 500)], float)
    assert fill_even_odd([big], (7, 9)).all()
    assert not fill_even_odd([big + 1000], (7, 9)).any()
    assert not fill_even_odd([], (7, 9)).any()


def test_shape_interpolation_of_discs_gives_the_disc_between() -> None:
    row, column = np.indices((81, 81)) - 40.0
    small, large = np.hypot(row, column) < 10.2, np.hypot(row, column) < 30.2
    between = interpolate_shape(small, large, 0.5)
    assert np.count_nonzero(between) == pytest.approx(np.pi * 20.2**2, rel=0.02)
    assert np.array_equal(interpolate_shape(small, large, 0.0), small)
    assert np.array_equal(interpolate_shape(small, large, 1.0), large)
    assert np.array_equal(interpolate_shape(small, large, 0.3), interpolate_shape(large, small, 0.7))
    assert not interpolate_shape(small, np.zeros_like(small), 0.2).any()


def grid_of(slices: int = 12) -> Grid:
    return Grid.from_spacing((slices, 40, 50), (2.0, 2.0, 3.0), (-50.0, -40.0, 0.0))


def square(k: float, grid: Grid, low: float = 10.2, high: float = 20.2) -> np.ndarray:
    index = [(low, low, k), (high, low, k), (high, high, k), (low, high, k)]
    return grid.index_to_ras(index)


def used_slices(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(mask.any(axis=(1, 2))).tolist()


def test_a_contour_a_slice_fills_each_slice_without_remark() -> None:
    grid = grid_of()
    filled = mask_from_contours("Cube", [square(k, grid) for k in range(3, 8)], grid)
    assert filled.notes == ()
    assert used_slices(filled.mask) == [3, 4, 5, 6, 7]
    assert np.count_nonzero(filled.mask) == 5 * 100


def test_contours_slightly_off_the_slices_go_to_the_nearest() -> None:
    grid = grid_of()
    filled = mask_from_contours("Cube", [square(k + 0.3, grid) for k in range(3, 8)], grid)
    assert used_slices(filled.mask) == [3, 4, 5, 6, 7]
    assert "0.90 mm off" in filled.notes[0]


@pytest.mark.parametrize("noise", [-1e-5, 0.0, 1e-5])
def test_contours_half_way_between_slices_do_not_collapse(noise: float) -> None:
    grid = grid_of()
    steps = [k + 0.5 + noise * (-1) ** k for k in range(3, 8)]
    filled = mask_from_contours("Cube", [square(k, grid) for k in steps], grid)
    assert len(used_slices(filled.mask)) == 5
    assert np.count_nonzero(filled.mask) == 5 * 100


def test_every_second_slice_is_filled_by_interpolation_and_noted() -> None:
    grid = grid_of()
    contours = [square(k, grid, 10.2, 10.2 + size) for k, size in ((2, 4), (4, 8), (6, 12), (8, 16))]
    filled = mask_from_contours("Cone", contours, grid)
    assert used_slices(filled.mask) == [2, 3, 4, 5, 6, 7, 8]
    counts = filled.mask.sum(axis=(1, 2))
    assert (np.diff(counts[2:9]) > 0).all()
    assert "every 2 slices; the slices between contours (3)" in filled.notes[0]


def test_a_missing_contour_is_left_empty_and_noted() -> None:
    grid = grid_of()
    filled = mask_from_contours("Gap", [square(k, grid) for k in (2, 3, 4, 7, 8)], grid)
    assert used_slices(filled.mask) == [2, 3, 4, 7, 8]
    assert "between contoured ones (2: " in filled.notes[0]
    assert "slice 6 (S 15.0 mm) to slice 7 (S 18.0 mm)" in filled.notes[0]


def test_contours_finer_than_the_slices_do_not_cancel() -> None:
    grid = grid_of()
    filled = mask_from_contours("Fine", [square(k, grid) for k in np.arange(3.0, 7.1, 0.5)], grid)
    assert np.count_nonzero(filled.mask) >= 5 * 100
    assert (filled.mask.sum(axis=(1, 2))[3:8] == 100).all()
    assert "more finely" in filled.notes[0]


def test_contours_off_the_ct_are_noted() -> None:
    grid = grid_of()
    filled = mask_from_contours("Off", [square(k, grid) for k in (-2, -1, 0, 1)], grid)
    assert used_slices(filled.mask) == [0, 1]
    assert "2 of 4 contours lie off the CT" in filled.notes[0]
    nothing = mask_from_contours("Off", [square(99, grid)], grid)
    assert not nothing.mask.any()
    assert "1 of 1" in nothing.notes[0]


def test_a_structure_cut_by_the_image_border_is_noted() -> None:
    grid = grid_of()
    filled = mask_from_contours("Wide", [square(k, grid, -8.5, 20.2) for k in (3, 4)], grid)
    assert "reaches 16.0 mm beyond" in filled.notes[0]
    assert np.count_nonzero(filled.mask[3]) == 21 * 21


def test_copies_are_used_once_and_crossings_noted() -> None:
    grid = grid_of()
    twice = mask_from_contours("Twice", [square(3, grid), square(3, grid)[::-1], square(4, grid)], grid)
    assert np.count_nonzero(twice.mask) == 200
    assert "copies" in twice.notes[0]
    crossed = mask_from_contours("Cross", [square(3, grid), square(3, grid) + (10.0, 0, 0)], grid)
    assert "cross each other" in crossed.notes[0]
    assert np.count_nonzero(crossed.mask) == 100


def test_oblique_grid_gives_the_same_voxels() -> None:
    straight = grid_of()
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    oblique = Grid.from_spacing(straight.shape, (2.0, 2.0, 3.0), (17.0, -5.0, 80.0), turn)
    expected = mask_from_contours("Cube", [square(k, straight) for k in (3, 4)], straight)
    turned = mask_from_contours("Cube", [square(k, oblique) for k in (3, 4)], oblique)
    assert np.array_equal(turned.mask, expected.mask)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(10, 10, 3), (20, 10, 3)], "at least 3 points; it has 2"),
        ([(10, 10, 3), (20, 10, 3), (20, np.nan, 3)], "NaN"),
        ([(10, 10, 3), (20, 10, 3), (20, 20, 4), (10, 20, 3)], "not planar"),
        ([(10, 10, 3), (20, 10, 3), (20, 10, 6), (10, 10, 6)], "not parallel to the CT's slices"),
    ],
)
def test_broken_contours_are_named(points: list[tuple[float, float, float]], message: str) -> None:
    grid = grid_of()
    with pytest.raises(CaseError, match=message) as caught:
        mask_from_contours("Heart", [square(3, grid), grid.index_to_ras(points)], grid)
    assert "Heart, contour 2" in str(caught.value)
    assert "leave the structure out" in str(caught.value)


def test_a_self_crossing_contour_follows_the_even_odd_rule() -> None:
    grid = grid_of()
    bow_tie = grid.index_to_ras([(10.2, 10.2, 3), (20.2, 20.2, 3), (20.2, 10.2, 3), (10.2, 20.2, 3)])
    filled = mask_from_contours("Bow", [bow_tie], grid)
    assert np.count_nonzero(filled.mask) == pytest.approx(50, abs=6)
    assert not filled.mask[3, 11, 15]
