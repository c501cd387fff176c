"""The shape of a beam: a pyramid from the source through what the collimator leaves open, in collimator coordinates."""

from __future__ import annotations

import numpy as np
import vtk

from DoseEngineLib.errors import PlanError
from DoseEngineLib.plan import Aperture, Beam


def aperture_outline(aperture: Aperture, leaf_boundaries_mm: tuple[float, ...] | None = None) -> list[np.ndarray]:
    """Return the outlines of what jaws and MLC leave open.

    Parameters
    ----------
    aperture : Aperture
    leaf_boundaries_mm : tuple of float, optional
        Leaf boundaries along Y, one more than leaf pairs; needed when the aperture has leaves.

    Returns
    -------
    list of (n, 2) arrays
        Closed polygons (first point not repeated), collimator x, y in mm at the isocentre plane; empty when closed.

    Raises
    ------
    PlanError
        Leaves without boundaries, or a number of leaf pairs that is not the machine's.
    """
    (x1, x2), (y1, y2) = aperture.jaw_x_mm, aperture.jaw_y_mm
    rows = [(y1, y2, x1, x2)] if aperture.leaf_positions_mm is None else _leaf_rows(aperture, leaf_boundaries_mm)
    rows = [(low, high, left, right) for low, high, left, right in rows if high > low and right > left]
    groups: list[list[tuple[float, float, float, float]]] = []
    for row in rows:
        above = groups[-1][-1] if groups else None
        # leaf rows belong together where they touch and their openings meet
        if above and row[0] <= above[1] and row[2] < above[3] and above[2] < row[3]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_polygon(group) for group in groups]


def beam_outline(beam: Beam, leaf_boundaries_mm: tuple[float, ...] | None = None) -> list[np.ndarray]:
    """Return the outlines of all that a beam opens at any of its control points, in the manner of `aperture_outline`.

    Each leaf pair spans all of its openings, so for a dynamic beam this is the envelope.
    """
    return aperture_outline(_envelope(beam), leaf_boundaries_mm)


def beam_model(
    beam: Beam, sad_mm: float, beyond_mm: float, leaf_boundaries_mm: tuple[float, ...] | None = None
) -> vtk.vtkPolyData:
    """Return the pyramid of a beam in collimator coordinates (mm, source at (0, 0, SAD), z towards the source).

    Parameters
    ----------
    beam : Beam
        The model is that of the beam's envelope over its control points.
    sad_mm : float
        Source to axis distance.
    beyond_mm : float
        How far beyond the isocentre plane the pyramid goes.
    leaf_boundaries_mm : tuple of float, optional
        As for `aperture_outline`.

    Returns
    -------
    vtkPolyData
        Side faces as triangles; the outline at the isocentre plane as lines.

    Raises
    ------
    PlanError
        A beam that is closed throughout, or leaves that do not fit the boundaries.
    """
    outlines = beam_outline(beam, leaf_boundaries_mm)
    if not outlines:
        raise PlanError(f"Beam {beam.name} is closed: jaws or leaves leave nothing open. Open them to show the beam.")
    if sad_mm <= 0 or beyond_mm < 0:
        raise PlanError(f"A beam model needs a positive SAD and a depth of at least 0; got {sad_mm}, {beyond_mm} mm.")
    points, triangles, lines = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkCellArray()
    source = points.InsertNextPoint(0.0, 0.0, sad_mm)
    scale = (sad_mm + beyond_mm) / sad_mm
    for outline in outlines:
        far = [points.InsertNextPoint(x * scale, y * scale, -beyond_mm) for x, y in outline]
        for first, second in zip(far, far[1:] + far[:1]):
            triangles.InsertNextCell(3, (source, first, second))
        at_isocentre = [points.InsertNextPoint(x, y, 0.0) for x, y in outline]
        lines.InsertNextCell(len(outline) + 1, [*at_isocentre, at_isocentre[0]])
    model = vtk.vtkPolyData()
    model.SetPoints(points)
    model.SetPolys(triangles)
    model.SetLines(lines)
    return model


def closed_beam_model() -> vtk.vtkPolyData:
    """Return the empty model of a beam that lets nothing through, such as a direction before its optimization."""
    model = vtk.vtkPolyData()
    model.SetPoints(vtk.vtkPoints())
    return model


def _leaf_rows(aperture: Aperture, boundaries_mm: tuple[float, ...] | None) -> list[tuple[float, float, float, float]]:
    leaves = aperture.leaf_positions_mm
    if boundaries_mm is None:
        raise PlanError("The aperture has leaf positions, but the machine has no MLC; choose a machine with one.")
    if len(boundaries_mm) != len(leaves) + 1:
        raise PlanError(f"The aperture has {len(leaves)} leaf pairs, the machine {len(boundaries_mm) - 1}.")
    (x1, x2), (y1, y2) = aperture.jaw_x_mm, aperture.jaw_y_mm
    return [
        (max(low, y1), min(high, y2), max(left, x1), min(right, x2))
        for low, high, (left, right) in zip(boundaries_mm[:-1], boundaries_mm[1:], leaves)
    ]


def _polygon(rows: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Up the right side of a stack of rows, down the left one."""
    right = [(x2, y) for low, high, _, x2 in rows for y in (low, high)]
    left = [(x1, y) for low, high, x1, _ in reversed(rows) for y in (high, low)]
    outline = [point for point, former in zip(right + left, [None, *right, *left]) if point != former]
    return np.array(outline)


def _envelope(beam: Beam) -> Aperture:
    apertures = [point.aperture for point in beam.control_points]
    jaws_x = (min(a.jaw_x_mm[0] for a in apertures), max(a.jaw_x_mm[1] for a in apertures))
    jaws_y = (min(a.jaw_y_mm[0] for a in apertures), max(a.jaw_y_mm[1] for a in apertures))
    with_leaves = [a.leaf_positions_mm for a in apertures if a.leaf_positions_mm is not None]
    if len(with_leaves) < len(apertures):
        # the MLC is parked at some control point: then the jaws alone limit the envelope
        return Aperture(jaws_x, jaws_y)
    if len({len(leaves) for leaves in with_leaves}) > 1:
        raise PlanError(f"Beam {beam.name}: the number of leaf pairs changes between its control points.")
    leaves = []
    for pairs in zip(*with_leaves):
        openings = [pair for pair in pairs if pair[1] > pair[0]] or [pairs[0]]
        leaves.append((min(low for low, _ in openings), max(high for _, high in openings)))
    return Aperture(jaws_x, jaws_y, tuple(leaves))
