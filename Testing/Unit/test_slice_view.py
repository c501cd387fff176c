"""Slice pictures, DVH figure, isodose levels and colours: the right place, the right side, the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.display.colors import hex_color, readable_on_black, readable_on_white, relative_luminance
from RTPlanningLib.display.dvh_plot import draw_dvh, volume_text
from RTPlanningLib.display.figure_bytes import png_bytes, svg_bytes
from RTPlanningLib.display.isodose_levels import default_levels, levels_in_Gy, levels_in_percent
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dvh import Dvh

OBLIQUE = Rotation.from_euler("zyx", (20.0, -10.0, 15.0), degrees=True).as_matrix()


def grid_about_zero(shape=(20, 40, 60), spacing=(2.0, 2.0, 5.0), directions=None) -> Grid:
    axes = np.eye(3) if directions is None else directions
    origin = -axes @ (np.array(spacing) * (np.array(shape[::-1]) - 1) / 2)
    return Grid.from_spacing(shape, spacing, origin, directions)


def positions(grid: Grid) -> np.ndarray:
    k, j, i = np.indices(grid.shape)
    return grid.index_to_ras(np.stack((i, j, k), axis=-1))


def block_at(grid: Grid, ras, half_mm=5.0) -> np.ndarray:
    """Water with a dense block around a point."""
    hu = np.zeros(grid.shape, np.float32)
    hu[(np.abs(positions(grid) - ras) <= half_mm).all(axis=-1)] = 1000.0
    return hu


def picture_position(ax) -> tuple[float, float]:
    """Where the block is in a drawn plane, in fractions of its width from the left and its height from the bottom."""
    grey = np.asarray(ax.images[0].get_array())
    rows, columns = np.nonzero(grey > 500.0)
    left, right, bottom, top = ax.images[0].get_extent()
    x = left + (columns.mean() + 0.5) / grey.shape[1] * (right - left)
    y = bottom + (rows.mean() + 0.5) / grey.shape[0] * (top - bottom)
    return tuple(ax.transAxes.inverted().transform(ax.transData.transform((x, y))))


@pytest.mark.parametrize("directions", [None, OBLIQUE], ids=["straight", "oblique"])
def test_a_block_appears_on_the_radiological_side(directions):
    grid = grid_about_zero(directions=directions)
    # right, anterior and superior of the middle
    block = np.array([25.0, 15.0, 20.0])
    figure = draw_slices(block_at(grid, block), grid, point_RAS_mm=block)
    axial, coronal, sagittal = figure.axes
    for ax in (axial, coronal):
        assert picture_position(ax)[0] < 0.4, "the patient's right is on the picture's left"
    assert picture_position(axial)[1] > 0.55, "anterior is up"
    assert picture_position(coronal)[1] > 0.55, "superior is up"
    assert picture_position(sagittal)[0] < 0.45, "anterior is left"
    assert picture_position(sagittal)[1] > 0.55


def test_planes_are_drawn_at_the_right_millimetre():
    grid = grid_about_zero()
    block = np.array([-20.0, 10.0, -12.5])
    figure = draw_slices(block_at(grid, block), grid, point_RAS_mm=block)
    for ax, (across, up) in zip(figure.axes, ((0, 1), (0, 2), (1, 2)), strict=True):
        x, y = ax.transData.inverted().transform(ax.transAxes.transform(picture_position(ax)))
        assert x == pytest.approx(block[across], abs=1.0)
        assert y == pytest.approx(block[up], abs=1.5)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "Axial  S = -12.5 mm",
        "Coronal  A = 10.0 mm",
        "Sagittal  R = -20.0 mm",
    ]


def test_the_picture_is_cut_to_the_body_without_the_table():
    grid = Grid.from_spacing((20, 100, 120), (3.0, 3.0, 5.0), (-178.5, -148.5, -47.5))
    ras = positions(grid)
    hu = np.where((ras[..., 0] / 60.0) ** 2 + (ras[..., 1] / 40.0) ** 2 <= 1.0, 0.0, -1000.0)
    hu[(np.abs(ras[..., 1] + 110.0) < 8.0) & (np.abs(ras[..., 0]) < 150.0)] = 200.0
    axial = draw_slices(hu, grid).axes[0]
    assert axial.get_xlim() == pytest.approx((75.0, -75.0), abs=6.0)
    assert axial.get_ylim() == pytest.approx((-55.0, 55.0), abs=6.0)


def test_orientation_marks_and_true_proportions():
    figure = draw_slices(np.zeros((20, 40, 60)), grid_about_zero())
    marks = [[text.get_text() for text in ax.texts if len(text.get_text()) == 1] for ax in figure.axes]
    assert marks == [["R", "L", "A", "P"], ["R", "L", "S", "I"], ["A", "P", "S", "I"]]
    scales = []
    for ax in figure.axes:
        box = ax.get_window_extent()
        wide, tall = abs(np.diff(ax.get_xlim()))[0], abs(np.diff(ax.get_ylim()))[0]
        assert box.width / wide == pytest.approx(box.height / tall, rel=0.02)
        scales.append(box.width / wide)
    assert max(scales) == pytest.approx(min(scales), rel=0.02)


def test_isodose_lines_lie_where_the_dose_is():
    grid = grid_about_zero()
    # falls by 1 Gy/mm from the axis along S: the 20 Gy line is a circle of 30 mm
    dose = 50.0 - np.linalg.norm(positions(grid)[..., :2], axis=-1)
    levels = levels_in_Gy([20.0])
    figure = draw_slices(np.zeros(grid.shape), grid, np.maximum(dose, 0.0), grid, levels=levels)
    (lines,) = [c for c in figure.axes[0].collections if len(c.get_paths())]
    vertices = lines.get_paths()[0].vertices
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 30.0, atol=0.3)
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert texts == ["20 Gy"]


def test_levels_above_the_maximum_are_not_in_the_legend_and_structures_are():
    grid = grid_about_zero()
    near = np.linalg.norm(positions(grid), axis=-1) < 20.0
    structures = (
        Structure("PTV", near, grid, "PTV", (0.8, 0.1, 0.1)),
        Structure("Empty", np.zeros(grid.shape, bool), grid),
    )
    figure = draw_slices(
        np.zeros(grid.shape), grid, 51.0 * near, grid, structures, prescription_Gy=50.0, isocenter_RAS_mm=(0, 0, 0)
    )
    isodoses, names = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert isodoses[0] == "100 % = 50 Gy"
    assert isodoses[-1] == "30 % = 15 Gy"
    assert names == ["PTV", "isocentre"]


def test_the_same_picture_has_the_same_bytes():
    grid = grid_about_zero()
    dose = np.full(grid.shape, 10.0)
    structure = Structure("S", block_at(grid, (0, 0, 0)) > 0, grid)

    def draw() -> tuple[bytes, bytes]:
        figure = draw_slices(np.zeros(grid.shape), grid, dose, grid, [structure], prescription_Gy=12.0)
        dvh = draw_dvh({"S": Dvh("S", 1.0, np.arange(30.0))}, prescription_Gy=20.0)
        return png_bytes(figure), svg_bytes(dvh)

    first, second = draw(), draw()
    assert first == second
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    assert b"<dc:date>" not in first[1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hu": np.zeros((3, 3, 3))}, "CT array's shape"),
        ({"dose_grid": None}, "belong together"),
        ({"dose_Gy": np.zeros((3, 3, 3))}, "dose array's shape"),
        ({"point_RAS_mm": (500.0, 0.0, 0.0)}, "outside the image"),
        ({"point_RAS_mm": (0.0, np.nan, 0.0)}, "outside the image"),
        ({"window_HU": 0.0}, "must be positive"),
    ],
)
def test_bad_requests_are_refused(change, text):
    grid = grid_about_zero()
    request = {"hu": np.zeros(grid.shape), "grid": grid, "dose_Gy": np.ones(grid.shape), "dose_grid": grid} | change
    with pytest.raises(EvaluationError, match=text):
        draw_slices(**request)


def test_a_dose_of_zero_draws_no_isodoses():
    grid = grid_about_zero()
    figure = draw_slices(np.zeros(grid.shape), grid, np.zeros(grid.shape), grid, prescription_Gy=50.0)
    assert not figure.legends


def test_isodose_levels():
    levels = levels_in_percent(60.0, (95, 110, 100))
    assert [level.label for level in levels] == ["110 % = 66 Gy", "100 % = 60 Gy", "95 % = 57 Gy"]
    assert [level.dose_Gy for level in levels] == pytest.approx([66.0, 60.0, 57.0])
    assert len(levels_in_percent(60.0)) == 10
    assert len({level.color for level in levels_in_percent(60.0)}) == 10
    assert [level.label for level in default_levels(None, 1.35)] == [
        "1.2 Gy",
        "1 Gy",
        "0.8 Gy",
        "0.6 Gy",
        "0.4 Gy",
        "0.2 Gy",
    ]
    for maximum in (0.003, 0.99, 7.0, 50.0, 83.0):
        assert 3 <= len(default_levels(None, maximum)) <= 8
    with pytest.raises(EvaluationError, match="positive reference"):
        levels_in_percent(0.0)
    with pytest.raises(EvaluationError, match="no dose"):
        default_levels(None, 0.0)
    with pytest.raises(EvaluationError, match="positive dose"):
        levels_in_Gy([10.0, -1.0])


def test_dvh_figure_draws_the_curves():
    dvhs = {"PTV": Dvh("PTV", 24.0, np.linspace(40.0, 50.0, 101)), "Body": Dvh("Body", 12345.6, np.arange(5.0), 0.5)}
    figure = draw_dvh(dvhs, {"PTV": (1.0, 1.0, 0.2)}, prescription_Gy=50.0)
    axes = figure.axes[0]
    lines = {line.get_label().split("\n")[0]: line for line in axes.lines}
    x, y = lines["PTV"].get_data()
    assert np.interp(45.0, x, y) == pytest.approx(50.0, abs=1.5)
    assert axes.get_xlabel() == "Dose (Gy)"
    assert axes.get_ylabel() == "Volume (%)"
    assert lines["Body"].get_label() == "Body\n6173 cm³, 50.0 % covered"
    assert lines["PTV"].get_label() == "PTV\n24.00 cm³"
    with pytest.raises(EvaluationError, match="no DVH"):
        draw_dvh({})


def test_colours_stand_out():
    for rgb in ((1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (0.1, 0.1, 0.1)):
        assert 1.05 / (relative_luminance(readable_on_white(rgb)) + 0.05) >= 3.0
        assert (relative_luminance(readable_on_black(rgb)) + 0.05) / 0.05 >= 3.0
    assert readable_on_white((0.1, 0.2, 0.3)) == (0.1, 0.2, 0.3)
    assert hex_color((1.0, 0.5, 0.0)) == "#ff8000"
    assert volume_text(0.0316) == "0.032"
    assert volume_text(10343.5) == "10344"
