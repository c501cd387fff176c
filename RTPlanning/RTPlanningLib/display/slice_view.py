"""Axial, coronal and sagittal pictures of CT, dose or a map that compares doses, and structures.

Radiological convention: the patient's right is on the left of axial and coronal pictures; sagittal pictures have
anterior on the left. Grids of any orientation are resampled onto planes along the RAS axes, at true proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from scipy import ndimage

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.display.axis_style import FRAME, INK
from RTPlanningLib.display.color_overlay import ColorOverlay
from RTPlanningLib.display.colors import readable_on_black
from RTPlanningLib.display.figure_bytes import new_figure
from RTPlanningLib.display.isodose_levels import IsodoseLevel, default_levels

# Room for a colour bar with its numbers and its label, and the bar itself.
_BAR_ROOM_INCH, _BAR_INCH = 0.95, 0.14
_AIR_HU = -1000.0
_BODY_HU = -400.0
_MARGIN_MM = 15.0
_COARSE_MM = 4.0
_PAPER = "white"
_GAP_INCH, _EDGE_INCH, _TITLE_INCH, _LEGEND_INCH, _TALLEST_INCH = 0.10, 0.03, 0.24, 2.6, 7.2
# Smooths the staircase of a mask, in voxels; a single voxel is still drawn.
_OUTLINE_SIGMA_VOXELS = 0.45
_WASH = LinearSegmentedColormap.from_list(
    "dose_wash", ["#2b3bd6", "#1f8fe0", "#16c7b0", "#4fd84a", "#f4e21c", "#fb8c12", "#e3201b"]
)


@dataclass(frozen=True)
class _Plane:
    """One of the three planes: which RAS axis it is cut at, and what runs right and up in the picture."""

    title: str
    normal: int
    right: int
    right_sign: int
    up: int
    marks: tuple[str, str, str, str]  # left, right, top, bottom
    coordinate: str


_PLANES = (
    _Plane("Axial", 2, 0, -1, 1, ("R", "L", "A", "P"), "S"),
    _Plane("Coronal", 1, 0, -1, 2, ("R", "L", "S", "I"), "A"),
    _Plane("Sagittal", 0, 1, -1, 2, ("A", "P", "S", "I"), "R"),
)


def draw_slices(
    hu: np.ndarray,
    grid: Grid,
    dose_Gy: np.ndarray | None = None,
    dose_grid: Grid | None = None,
    structures: Sequence[Structure] = (),
    point_RAS_mm: Sequence[float] | None = None,
    *,
    levels: Sequence[IsodoseLevel] | None = None,
    prescription_Gy: float | None = None,
    window_HU: float = 400.0,
    level_HU: float = 40.0,
    color_wash: bool = True,
    isocenter_RAS_mm: Sequence[float] | None = None,
    overlay: ColorOverlay | None = None,
    width_inch: float = 7.6,
) -> Figure:
    """Draw the three planes through a point.

    Parameters
    ----------
    hu : (k, j, i) array
        CT numbers on ``grid``.
    dose_Gy, dose_grid : (k, j, i) array and Grid, optional
        Drawn as a colour wash from 10 % of the reference dose and as isodose lines. The reference is the prescription,
        or the maximum dose without one.
    structures : sequence of Structure
        Drawn as outlines; empty ones are passed over.
    point_RAS_mm : (3,) array, optional
        Where the planes cross; the middle of the grid by default.
    levels : sequence of IsodoseLevel, optional
        Isodose lines; by default those of `default_levels`.
    window_HU, level_HU : float
        Width and centre of the grey scale.
    isocenter_RAS_mm : (3,) array, optional
        Marked by a cross in planes within 5 mm of it.
    overlay : ColorOverlay, optional
        A map of differences or of gamma, drawn voxel by voxel with a colour bar in place of the colour wash; isodose
        lines of a dose stay.

    Raises
    ------
    EvaluationError
        Arrays that do not fit their grids, a dose without a grid, a point outside the image.
    """
    _check(hu, grid, dose_Gy, dose_grid, window_HU)
    centre = grid.index_to_ras((np.array(grid.shape[::-1]) - 1) / 2)
    point = centre if point_RAS_mm is None else np.asarray(point_RAS_mm, float)
    if point.shape != (3,) or not np.isfinite(point).all() or not grid.contains(point):
        raise EvaluationError(
            f"The slice point {point_RAS_mm} (RAS, mm) lies outside the image; choose one within "
            f"{np.round(grid.bounds_RAS_mm, 1).tolist()}."
        )
    bounds = _shown_bounds(hu, grid, structures, point)
    maximum = float(dose_Gy.max()) if dose_Gy is not None else 0.0
    shown_levels: tuple[IsodoseLevel, ...] = ()
    if dose_Gy is not None and maximum > 0.0:
        shown_levels = tuple(levels) if levels is not None else default_levels(prescription_Gy, maximum)
    shown_levels = tuple(level for level in shown_levels if level.dose_Gy <= maximum)
    outlined = [structure for structure in structures if not structure.is_empty]

    legend_inch = _LEGEND_INCH if shown_levels or outlined else 0.0
    if overlay is not None:
        legend_inch += _BAR_ROOM_INCH
    figure, axes, corner = _layout(bounds, width_inch, legend_inch)
    for plane, ax in zip(_PLANES, axes, strict=True):
        _draw_plane(
            ax,
            plane,
            point,
            bounds,
            (hu, grid),
            None if dose_Gy is None else (dose_Gy, dose_grid, prescription_Gy or maximum),
            outlined,
            shown_levels,
            (level_HU - window_HU / 2, level_HU + window_HU / 2),
            color_wash and overlay is None,
            isocenter_RAS_mm,
            overlay,
        )
    room_inch = axes[0].get_position().height * figure.get_figheight()
    if overlay is not None:
        corner = _draw_color_bar(figure, corner, overlay, room_inch)
    _draw_legend(figure, corner, shown_levels, outlined, isocenter_RAS_mm is not None, room_inch)
    return figure


def _check(hu: np.ndarray, grid: Grid, dose_Gy: np.ndarray | None, dose_grid: Grid | None, window_HU: float) -> None:
    if hu.shape != grid.shape:
        raise EvaluationError(f"The CT array's shape {hu.shape} is not its grid's {grid.shape} (k, j, i).")
    if (dose_Gy is None) != (dose_grid is None):
        raise EvaluationError("A dose and its grid belong together; give both or none.")
    if dose_Gy is not None and dose_Gy.shape != dose_grid.shape:
        raise EvaluationError(f"The dose array's shape {dose_Gy.shape} is not its grid's {dose_grid.shape} (k, j, i).")
    if not window_HU > 0.0:
        raise EvaluationError(f"The grey-scale window must be positive; got {window_HU} HU.")


def _shown_bounds(hu: np.ndarray, grid: Grid, structures: Sequence[Structure], point: np.ndarray) -> np.ndarray:
    """RAS bounds (2, 3) of what is shown: the body outline or what is not air, with a margin, within the image."""
    external = [s for s in structures if s.role == "EXTERNAL" and not s.is_empty]
    mask, mask_grid = (external[0].mask, external[0].grid) if external else _largest_body(hu, grid)
    if not mask.any():
        return grid.bounds_RAS_mm
    inner = mask_grid.crop(mask)[0].bounds_RAS_mm
    low = np.maximum(np.minimum(inner[0], point) - _MARGIN_MM, grid.bounds_RAS_mm[0])
    high = np.minimum(np.maximum(inner[1], point) + _MARGIN_MM, grid.bounds_RAS_mm[1])
    return np.stack((low, high))


def _largest_body(hu: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """Return the largest connected piece that is not air, on every n-th voxel (4 mm): table parts are left aside."""
    step = np.maximum(np.round(_COARSE_MM / grid.spacing_mm), 1).astype(int)
    coarse = hu[:: step[2], :: step[1], :: step[0]] > _BODY_HU
    affine = grid.affine.copy()
    affine[:3, :3] *= step
    labels, count = ndimage.label(coarse)
    if count > 1:
        coarse = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    return coarse, Grid(coarse.shape, affine)


def _layout(
    bounds: np.ndarray, width_inch: float, legend_inch: float
) -> tuple[Figure, list[Axes], tuple[float, float]]:
    """Place axial over coronal, the legend over sagittal, at one scale; return also the legend's upper left corner."""
    size = bounds[1] - bounds[0]
    scale = (width_inch - _GAP_INCH - 2 * _EDGE_INCH) / (size[0] + size[1])
    # a long image would make a long picture: shrink it to half a page
    scale = min(scale, (_TALLEST_INCH - 2 * _TITLE_INCH - _GAP_INCH - _EDGE_INCH) / (size[1] + size[2]))
    right_column = max(size[1] * scale, legend_inch)
    width = size[0] * scale + right_column + _GAP_INCH + 2 * _EDGE_INCH
    height = (size[1] + size[2]) * scale + 2 * _TITLE_INCH + _GAP_INCH + _EDGE_INCH
    figure = new_figure(width, height, _PAPER)
    second = _EDGE_INCH + size[0] * scale + _GAP_INCH
    places = {
        "Axial": (_EDGE_INCH, _EDGE_INCH + size[2] * scale + _TITLE_INCH + _GAP_INCH),
        "Coronal": (_EDGE_INCH, _EDGE_INCH),
        "Sagittal": (second, _EDGE_INCH),
    }
    axes = []
    for plane in _PLANES:
        left, bottom = places[plane.title]
        wide, tall = size[plane.right] * scale, size[plane.up] * scale
        axes.append(figure.add_axes((left / width, bottom / height, wide / width, tall / height)))
    return figure, axes, ((second + 0.04) / width, 1.0 - _TITLE_INCH / height)


def _draw_plane(
    ax: Axes,
    plane: _Plane,
    point: np.ndarray,
    bounds: np.ndarray,
    image: tuple[np.ndarray, Grid],
    dose: tuple[np.ndarray, Grid, float] | None,
    structures: Sequence[Structure],
    levels: Sequence[IsodoseLevel],
    grey_HU: tuple[float, float],
    color_wash: bool,
    isocenter: Sequence[float] | None,
    overlay: ColorOverlay | None = None,
) -> None:
    spacing = float(np.clip(image[1].spacing_mm.min(), 0.5, 2.0))
    across = np.arange(bounds[0, plane.right] + spacing / 2, bounds[1, plane.right], spacing)
    upward = np.arange(bounds[0, plane.up] + spacing / 2, bounds[1, plane.up], spacing)
    ras = np.empty((len(upward), len(across), 3))
    ras[..., plane.normal] = point[plane.normal]
    ras[..., plane.right] = across
    ras[..., plane.up] = upward[:, None]
    extent = (across[0] - spacing / 2, across[-1] + spacing / 2, upward[0] - spacing / 2, upward[-1] + spacing / 2)
    grey = _sample(*image, ras, _AIR_HU)
    ax.imshow(
        grey, cmap="gray", vmin=grey_HU[0], vmax=grey_HU[1], extent=extent, origin="lower", interpolation="bilinear"
    )
    if dose is not None:
        values, dose_grid, reference = dose
        on_plane = _sample(values, dose_grid, ras, np.nan)
        if color_wash and reference > 0.0:
            relative = on_plane / reference
            # fades in, so that the threshold does not look like an edge of the dose
            alpha = 0.36 * np.clip((np.nan_to_num(relative) - 0.1) / 0.15, 0.0, 1.0)
            ax.imshow(
                np.nan_to_num(relative),
                cmap=_WASH,
                vmin=0.1,
                vmax=1.1,
                alpha=alpha,
                extent=extent,
                origin="lower",
                interpolation="bilinear",
            )
    if overlay is not None:
        voxels = _nearest(overlay.values, overlay.grid, ras)
        ax.imshow(
            np.nan_to_num(voxels),
            cmap=overlay.colormap,
            norm=overlay.norm,
            alpha=overlay.opacity(voxels),
            extent=extent,
            origin="lower",
            interpolation="nearest",
        )
    if dose is not None:
        for level in levels:
            if np.nanmax(on_plane, initial=-1.0) > level.dose_Gy > np.nanmin(on_plane, initial=np.inf):
                ax.contour(across, upward, on_plane, levels=[level.dose_Gy], colors=[level.color], linewidths=0.9)
    for structure in structures:
        _draw_outline(ax, structure, ras, across, upward)
    if isocenter is not None and abs(isocenter[plane.normal] - point[plane.normal]) <= 5.0:
        _draw_cross(ax, isocenter[plane.right], isocenter[plane.up])
    ax.set_xlim(extent[0], extent[1])
    if plane.right_sign < 0:
        ax.set_xlim(extent[1], extent[0])
    ax.set_ylim(extent[2], extent[3])
    ax.set_aspect("equal")
    ax.set_facecolor("black")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(
        f"{plane.title}  {plane.coordinate} = {point[plane.normal]:.1f} mm", fontsize=9, color=INK, pad=4, loc="left"
    )
    _draw_marks(ax, plane)
    _draw_scale(ax, extent)


def _sample(values: np.ndarray, grid: Grid, ras: np.ndarray, outside: float) -> np.ndarray:
    ijk = grid.ras_to_index(ras)
    coordinates = np.moveaxis(ijk[..., ::-1], -1, 0)
    result = ndimage.map_coordinates(values, coordinates, order=1, mode="nearest", output=np.float32)
    result[~grid.contains(ras)] = outside
    return result


def _nearest(values: np.ndarray, grid: Grid, ras: np.ndarray) -> np.ndarray:
    """Value of the voxel that holds each point, NaN outside: interpolated, voxels not judged would spread."""
    ijk = np.rint(grid.ras_to_index(ras)).astype(int)
    inside = ((ijk >= 0) & (ijk < np.array(grid.shape[::-1]))).all(axis=-1)
    i, j, k = np.moveaxis(ijk[inside], -1, 0)
    result = np.full(ras.shape[:-1], np.nan, np.float32)
    result[inside] = values[k, j, i]
    return result


def _draw_outline(ax: Axes, structure: Structure, ras: np.ndarray, across: np.ndarray, upward: np.ndarray) -> None:
    occupancy = _sample(structure.mask.astype(np.float32), structure.grid, ras, 0.0)
    pixel_mm = float(across[1] - across[0]) if len(across) > 1 else 1.0
    sigma = _OUTLINE_SIGMA_VOXELS * float(structure.grid.spacing_mm.min()) / pixel_mm
    occupancy = ndimage.gaussian_filter(occupancy, sigma, mode="nearest")
    if occupancy.max() >= 0.5 > occupancy.min():
        ax.contour(
            across,
            upward,
            occupancy,
            levels=[0.5],
            colors=[readable_on_black(structure.color)],
            linewidths=1.5,
            linestyles="solid",
        )


def _draw_cross(ax: Axes, x: float, y: float) -> None:
    (line,) = ax.plot(
        [x], [y], marker="+", markersize=11, markeredgewidth=1.2, color="white", linestyle="none", zorder=6
    )
    line.set_path_effects([withStroke(linewidth=2.6, foreground="black")])


def _draw_marks(ax: Axes, plane: _Plane) -> None:
    places = ((0.015, 0.5, "left", "center"), (0.985, 0.5, "right", "center"))
    places += ((0.5, 0.985, "center", "top"), (0.5, 0.015, "center", "bottom"))
    for mark, (x, y, horizontal, vertical) in zip(plane.marks, places, strict=True):
        text = ax.text(
            x, y, mark, transform=ax.transAxes, ha=horizontal, va=vertical, fontsize=9.5, color="white", weight="bold"
        )
        text.set_path_effects([withStroke(linewidth=2.2, foreground="black")])


def _draw_scale(ax: Axes, extent: tuple[float, float, float, float]) -> None:
    """A 50 mm bar in the lower right corner."""
    right = ax.get_xlim()[1]
    inward = 1.0 if ax.get_xlim()[0] > right else -1.0
    start = right + inward * 0.03 * abs(extent[1] - extent[0])
    y = extent[2] + 0.035 * (extent[3] - extent[2])
    (line,) = ax.plot(
        [start, start + inward * 50.0], [y, y], color="white", linewidth=1.8, solid_capstyle="butt", zorder=6
    )
    line.set_path_effects([withStroke(linewidth=3.2, foreground="black")])
    above = y + 0.012 * (extent[3] - extent[2])
    text = ax.text(start + inward * 25.0, above, "5 cm", fontsize=7, color="white", ha="center", va="bottom")
    text.set_path_effects([withStroke(linewidth=2.0, foreground="black")])


def _draw_legend(
    figure: Figure,
    corner: tuple[float, float],
    levels: Sequence[IsodoseLevel],
    structures: Sequence[Structure],
    isocenter: bool,
    room_inch: float,
) -> None:
    groups = []
    if levels:
        handles = [Line2D([], [], color=level.color, linewidth=2.6) for level in levels]
        groups.append(("Isodose", handles, [level.label for level in levels]))
    if structures or isocenter:
        handles = [Line2D([], [], color=readable_on_black(s.color), linewidth=3.2) for s in structures]
        names = [_shortened(s.name) for s in structures]
        if isocenter:
            handles.append(Line2D([], [], color=INK, marker="+", markersize=9, linestyle="none"))
            names.append("isocentre")
        groups.append(("Structures", handles, names))
    longest = max((len(names) for _, _, names in groups), default=0)
    fontsize = float(np.clip(72.0 * room_inch / (longest + 1.5) / 1.4, 4.5, 8.0))
    left = corner[0]
    for title, handles, names in groups:
        legend = figure.legend(
            handles,
            names,
            title=title,
            loc="upper left",
            bbox_to_anchor=(left, corner[1]),
            fontsize=fontsize,
            title_fontproperties={"size": fontsize + 0.5, "weight": "bold"},
            alignment="left",
            frameon=False,
            borderaxespad=0.0,
            borderpad=0.0,
            labelspacing=0.35,
            handlelength=1.3,
            handletextpad=0.5,
            labelcolor=INK,
        )
        left = legend.get_window_extent().x1 / figure.bbox.width + 0.025


def _draw_color_bar(
    figure: Figure, corner: tuple[float, float], overlay: ColorOverlay, room_inch: float
) -> tuple[float, float]:
    """Draw the bar at the upper left corner of the legend's place; return the corner that is left for the legend."""
    width, height = figure.get_size_inches()
    # the label stands left of the bar, its numbers right
    tall = max(0.9 * room_inch, 0.5) / height
    ax = figure.add_axes((corner[0] + 0.24 / width, corner[1] - tall - 0.04 / height, _BAR_INCH / width, tall))
    bar = figure.colorbar(ScalarMappable(overlay.norm, overlay.colormap), cax=ax)
    bar.set_ticks([value for value, _ in overlay.ticks], labels=[text for _, text in overlay.ticks])
    bar.set_label(overlay.label, fontsize=8.0, color=INK, labelpad=3)
    bar.ax.yaxis.set_label_position("left")
    bar.ax.tick_params(labelsize=7.5, colors=INK, length=2.5, pad=2)
    bar.outline.set_edgecolor(FRAME)
    bar.outline.set_linewidth(0.6)
    return corner[0] + _BAR_ROOM_INCH / width, corner[1]


def _shortened(name: str) -> str:
    return name if len(name) <= 20 else name[:18] + "…"
