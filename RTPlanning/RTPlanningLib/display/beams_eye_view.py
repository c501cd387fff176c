"""Beam's-eye view: the radiograph of a beam with its jaws, its leaves and the outlines of structures.

Seen from the source at the isocentre plane in collimator coordinates (IEC 61217): X to the right, Y up. Jaws and leaves
stand straight, and the patient turns with the collimator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from scipy import ndimage

from DoseEngineLib.aperture import silhouette_raster
from DoseEngineLib.iec61217 import BeamFrame
from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import Aperture, Beam, Structure
from RTPlanningLib.display.axis_style import FRAME, INK
from RTPlanningLib.display.beams_eye_geometry import (
    JAW_COLOR,
    LEAF_COLOR,
    beam_words,
    control_point_of,
    grey_window_mm,
    half_width_mm,
    leaf_backs_mm,
    leaf_sides,
    outlined,
    patient_sides,
)
from RTPlanningLib.display.colors import readable_on_black
from RTPlanningLib.display.figure_bytes import new_figure
from RTPlanningLib.display.radiograph import Radiograph, RadiographVolume

_OUTLINE_PIXEL_MM, _THUMBNAIL_OUTLINE_PIXEL_MM = 0.5, 1.0
_PIXELS, _THUMBNAIL_PIXELS = 512, 320


def draw_beams_eye_view(
    beam: Beam,
    machine: Machine,
    patient_position: str,
    volume: RadiographVolume,
    structures: Sequence[Structure] = (),
    *,
    control_point: int = 0,
    thumbnail: bool = False,
    width_inch: float | None = None,
) -> Figure:
    """Draw what the beam's source sees at a control point.

    The grey scale is linear in the radiograph's line integral, from the 1st to the 99.8th percentile of the picture and
    at least 60 mm of water wide: bone is bright.

    Parameters
    ----------
    beam : Beam
    machine : Machine
        That of the beam; leaves of the beam's own (``leaf_boundaries_mm``) go before the machine's.
    patient_position : str
        That of the plan.
    volume : RadiographVolume
    structures : sequence of Structure
        Drawn as the outlines of their shadows. Empty ones and those of the roles EXTERNAL, SUPPORT and CONTROL are
        passed over.
    thumbnail : bool
        Smaller, without legend and numbers on the axes.
    width_inch : float, optional
        By default 6 inches, or 2.4 of a thumbnail.

    Raises
    ------
    EvaluationError
        A control point that there is not, or leaves that are not those of the machine.
    GeometryError
        A structure that reaches behind the source.
    """
    point = control_point_of(beam, control_point)
    sides = leaf_sides(beam, machine, point.aperture)
    frame = beam.frame(patient_position, control_point)
    half = half_width_mm(point.aperture)
    count = _THUMBNAIL_PIXELS if thumbnail else _PIXELS
    picture = volume.radiograph(frame, machine.sad_mm, (-half, half), (-half, half), (count, count))
    drawn = outlined(structures)

    figure, axes = _layout(width_inch or (2.4 if thumbnail else 6.0), thumbnail)
    _draw_radiograph(axes, picture)
    _draw_collimator(axes, point.aperture, sides, half, 0.7 if thumbnail else 1.0)
    for structure in drawn:
        pixel_mm = _THUMBNAIL_OUTLINE_PIXEL_MM if thumbnail else _OUTLINE_PIXEL_MM
        _draw_silhouette(axes, structure, frame, machine.sad_mm, pixel_mm, 0.9 if thumbnail else 1.3)
    _draw_isocenter(axes, 7 if thumbnail else 12)
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    _draw_directions(axes, frame, 7.0 if thumbnail else 10.0)
    _draw_scale(axes, half, 6.0 if thumbnail else 8.0)
    axes.set_title("\n".join(beam_words(beam, control_point)), fontsize=7.0 if thumbnail else 9.5, color=INK, pad=3)
    if not thumbnail:
        _draw_legend(figure, drawn, sides is not None)
    return figure


def _layout(width_inch: float, thumbnail: bool) -> tuple[Figure, Axes]:
    left, bottom, right, top = (0.03, 0.03, 0.03, 0.32) if thumbnail else (0.55, 0.48, 1.45, 0.42)
    side = width_inch - left - right
    height = side + bottom + top
    figure = new_figure(width_inch, height)
    axes = figure.add_axes((left / width_inch, bottom / height, side / width_inch, side / height))
    axes.set_aspect("equal")
    axes.set_facecolor("black")
    for spine in axes.spines.values():
        spine.set_color(FRAME)
        spine.set_linewidth(0.6)
    if thumbnail:
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        axes.tick_params(labelsize=8, colors=INK, length=3)
        axes.set_xlabel("collimator X at the isocentre plane (mm)", fontsize=8.5, color=INK)
        axes.set_ylabel("collimator Y (mm)", fontsize=8.5, color=INK, labelpad=1)
    return figure, axes


def _draw_radiograph(axes: Axes, picture: Radiograph) -> None:
    low, high = grey_window_mm(picture.water_mm)
    axes.imshow(
        picture.water_mm,
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=(*picture.x_mm, *picture.y_mm),
        origin="lower",
        interpolation="bilinear",
    )


def _draw_collimator(axes: Axes, aperture: Aperture, sides: np.ndarray | None, half: float, weight: float) -> None:
    if sides is not None:
        leaves, banks = [], ([], [])
        for tips, low, high in zip(aperture.leaf_positions_mm, sides[:-1], sides[1:], strict=True):
            backs = leaf_backs_mm(tips, half)
            for bank, tip, back in zip(banks, tips, backs, strict=True):
                leaves.append([(back, low), (tip, low), (tip, high), (back, high)])
                bank += [(tip, low), (tip, high)]
        axes.add_collection(
            PolyCollection(
                leaves,
                facecolors=to_rgba(LEAF_COLOR, 0.1),
                edgecolors=to_rgba(LEAF_COLOR, 0.3),
                linewidths=0.5 * weight,
            ),
            autolim=False,
        )
        axes.add_collection(LineCollection(banks, colors=LEAF_COLOR, linewidths=1.1 * weight), autolim=False)
    (x1, x2), (y1, y2) = aperture.jaw_x_mm, aperture.jaw_y_mm
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=JAW_COLOR, linewidth=1.3 * weight, zorder=4)
    )


def _draw_silhouette(
    axes: Axes, structure: Structure, frame: BeamFrame, sad_mm: float, pixel_mm: float, width: float
) -> None:
    # the silhouette is closed over gaps as wide as a voxel, which needs that much room around it
    room_mm = float(structure.grid.spacing_mm.max()) + 4 * pixel_mm
    image, first = silhouette_raster(structure, frame, sad_mm, room_mm, pixel_mm)
    rows, columns = image.shape
    # a pixel's width of smoothing takes the staircase off and leaves the outline where it is
    share = ndimage.gaussian_filter(image.astype(np.float32), 1.0)
    axes.contour(
        first[0] + pixel_mm * np.arange(columns),
        first[1] + pixel_mm * np.arange(rows),
        share,
        levels=[0.5],
        colors=[readable_on_black(structure.color)],
        linewidths=width,
        zorder=5,
    )


def _draw_isocenter(axes: Axes, size: float) -> None:
    (line,) = axes.plot(
        [0.0], [0.0], marker="+", markersize=size, markeredgewidth=1.1, color="white", linestyle="none", zorder=6
    )
    line.set_path_effects([withStroke(linewidth=2.4, foreground="black")])


def _draw_directions(axes: Axes, frame: BeamFrame, size: float) -> None:
    """Name the sides of the picture that an axis of the patient points to."""
    places = {
        "right": (0.985, 0.5, "right", "center"),
        "left": (0.015, 0.5, "left", "center"),
        "top": (0.5, 0.985, "center", "top"),
        "bottom": (0.5, 0.015, "center", "bottom"),
    }
    for side, letter in patient_sides(frame).items():
        x, y, horizontal, vertical = places[side]
        _outlined(axes, x, y, letter, size, horizontal, vertical, axes.transAxes)


def _draw_scale(axes: Axes, half: float, size: float) -> None:
    """A 50 mm bar at the isocentre plane, in the lower right corner."""
    end, y = 0.94 * half, -0.93 * half
    (line,) = axes.plot([end - 50.0, end], [y, y], color="white", linewidth=1.6, solid_capstyle="butt", zorder=6)
    line.set_path_effects([withStroke(linewidth=3.0, foreground="black")])
    _outlined(axes, end - 25.0, y + 0.025 * half, "5 cm", size, "center", "bottom", axes.transData)


def _outlined(
    axes: Axes, x: float, y: float, words: str, size: float, horizontal: str, vertical: str, transform: object
) -> None:
    text = axes.text(
        x, y, words, fontsize=size, color="white", ha=horizontal, va=vertical, transform=transform, zorder=6
    )
    text.set_path_effects([withStroke(linewidth=2.0, foreground="black")])


def _draw_legend(figure: Figure, structures: Sequence[Structure], leaves: bool) -> None:
    handles: list[object] = [Line2D([], [], color=JAW_COLOR, linewidth=2.4)]
    names = ["jaws"]
    if leaves:
        handles.append(Patch(facecolor=to_rgba(LEAF_COLOR, 0.3), edgecolor=LEAF_COLOR, linewidth=0.8))
        names.append("leaves")
    handles.append(Line2D([], [], color=INK, marker="+", markersize=9, linestyle="none"))
    names.append("isocentre")
    for structure in structures:
        handles.append(Line2D([], [], color=readable_on_black(structure.color), linewidth=2.8))
        names.append(structure.name if len(structure.name) <= 18 else f"{structure.name[:17]}…")
    width, height = figure.get_size_inches()
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(1.0 - 1.38 / width, 1.0 - 0.42 / height),
        fontsize=float(np.clip(7.5 * 22 / len(names), 4.0, 7.5)),
        frameon=False,
        borderaxespad=0.0,
        borderpad=0.0,
        labelspacing=0.4,
        handlelength=1.3,
        handletextpad=0.5,
        labelcolor=INK,
    )
