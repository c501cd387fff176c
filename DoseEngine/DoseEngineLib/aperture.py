"""Apertures fitted to a target in the beam's eye view."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import PlanError
from DoseEngineLib.iec61217 import BeamFrame
from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import Aperture, Structure

# Resolution of the beam's-eye-view raster in which leaves are fitted.
_PIXEL_MM = 0.5
# Surface points of structures that were projected: a beam that turns sees the same ones again.
_surfaces: WeakKeyDictionary[Structure, np.ndarray] = WeakKeyDictionary()


def beams_eye_view_points(structure: Structure, frame: BeamFrame, sad_mm: float) -> np.ndarray:
    """Project a structure onto the isocentre plane.

    Returns
    -------
    (n, 2) array
        Collimator x, y in mm of the centres, corners and face centres of every surface voxel, each once, so that the
        outermost points are the structure's own faces.

    Raises
    ------
    PlanError
        When the structure is empty.
    """
    if structure.is_empty:
        raise PlanError(f"Structure {structure.name} is empty; contour it or choose another target.")
    points = _surfaces.get(structure)
    if points is None:
        points = _surfaces[structure] = _surface_points_RAS_mm(structure)
    return frame.project(points, sad_mm)


def _surface_points_RAS_mm(structure: Structure) -> np.ndarray:
    _, part = structure.grid.crop(structure.mask)
    first = np.array([axis.start for axis in part])
    mask = structure.mask[part]
    # voxels at the end of the image have nothing beyond them
    surface = mask & ~ndimage.binary_erosion(mask)
    # on a lattice of half voxels, where neighbours share their corners
    halves = np.zeros([2 * n + 1 for n in mask.shape], dtype=bool)
    for k, j, i in np.ndindex(3, 3, 3):
        halves[tuple(slice(o, o + 2 * n - 1, 2) for o, n in zip((k, j, i), mask.shape, strict=True))] |= surface
    index = np.argwhere(halves) / 2 - 0.5 + first
    return structure.grid.index_to_ras(index[:, ::-1])


def silhouette_raster(
    structure: Structure, frame: BeamFrame, sad_mm: float, pad_mm: float, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Raster of a structure's shadow on the isocentre plane, with at least ``pad_mm`` of room around it.

    Returns
    -------
    silhouette : (y, x) bool array
        Holes between the projected points are closed.
    first_mm : (2,) array
        Collimator x, y of the first pixel's middle, a multiple of ``pixel_mm``.
    """
    points = beams_eye_view_points(structure, frame, sad_mm)
    # holes are closed by spreading and shrinking again, which must not run into the raster's edge
    spread = float(structure.grid.spacing_mm.max())
    pad_mm = max(pad_mm, spread + 2 * pixel_mm)
    low = np.floor((points.min(axis=0) - pad_mm) / pixel_mm) * pixel_mm
    count = np.ceil((points.max(axis=0) + pad_mm - low) / pixel_mm).astype(int) + 1
    image = np.zeros((count[1], count[0]), dtype=bool)
    column, row = np.round((points - low) / pixel_mm).astype(int).T
    image[row, column] = True
    # the raster of surface points has pin holes; closing by two voxels' spread and filling makes a silhouette
    reach = ndimage.distance_transform_edt(~image, sampling=pixel_mm) <= spread
    silhouette = image | (ndimage.distance_transform_edt(ndimage.binary_fill_holes(reach), sampling=pixel_mm) > spread)
    return ndimage.binary_fill_holes(silhouette), low


def fit_jaws(structure: Structure, frame: BeamFrame, machine: Machine, margin_mm: float = 5.0) -> Aperture:
    """Return the smallest rectangle that holds the target's projection with a margin at the isocentre plane.

    Raises
    ------
    PlanError
        Empty target, negative margin, or a target too large for the machine's jaws.
    """
    _check_margin(margin_mm)
    points = beams_eye_view_points(structure, frame, machine.sad_mm)
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    aperture = Aperture((low[0], high[0]), (low[1], high[1]))
    machine.check_aperture(aperture, f"Jaws fitted to {structure.name} with {margin_mm:g} mm")
    return aperture


def fit_mlc(structure: Structure, frame: BeamFrame, machine: Machine, margin_mm: float = 5.0) -> Aperture:
    """Return an MLC aperture (with jaws around it) that holds the target's projection with a margin all round.

    Each leaf pair opens to the outermost point that the widened target has anywhere across the leaf's width, so the
    target with its margin is never cut. Leaf pairs that do not meet the target stay closed at the middle of the field.

    Raises
    ------
    PlanError
        The machine has no MLC, the target is empty, the margin negative, or the target exceeds the leaves' travel.
    """
    _check_margin(margin_mm)
    mlc = machine.mlc
    if mlc is None:
        raise PlanError(f"{machine.name} has no MLC; fit the jaws, or choose a machine with an MLC.")
    silhouette, low = silhouette_raster(structure, frame, machine.sad_mm, margin_mm + 2 * _PIXEL_MM, _PIXEL_MM)
    count = silhouette.shape[::-1]
    widened = ndimage.distance_transform_edt(~silhouette, sampling=_PIXEL_MM) <= margin_mm + 1e-9
    y = low[1] + _PIXEL_MM * np.arange(count[1])
    x = low[0] + _PIXEL_MM * np.arange(count[0])
    used_x, used_y = x[widened.any(axis=0)], y[widened.any(axis=1)]
    jaw_x, jaw_y = (used_x[0], used_x[-1]), (used_y[0], used_y[-1])
    middle = float(np.clip((jaw_x[0] + jaw_x[1]) / 2, mlc.minimum_mm, mlc.maximum_mm))
    leaves = []
    for lower, upper in zip(mlc.boundaries_mm[:-1], mlc.boundaries_mm[1:], strict=True):
        rows = (y >= lower - _PIXEL_MM / 2) & (y <= upper + _PIXEL_MM / 2)
        columns = np.flatnonzero(widened[rows].any(axis=0)) if rows.any() else np.array([], int)
        leaves.append((float(x[columns[0]]), float(x[columns[-1]])) if columns.size else (middle, middle))
    aperture = Aperture(tuple(map(float, jaw_x)), tuple(map(float, jaw_y)), tuple(leaves))
    machine.check_aperture(aperture, f"MLC fitted to {structure.name} with {margin_mm:g} mm")
    if jaw_y[0] < mlc.boundaries_mm[0] or jaw_y[1] > mlc.boundaries_mm[-1]:
        raise PlanError(f"{structure.name} with {margin_mm:g} mm reaches beyond the leaves of {mlc.model} along Y.")
    return aperture


def _check_margin(margin_mm: float) -> None:
    if not np.isfinite(margin_mm) or margin_mm < 0:
        raise PlanError(f"An aperture margin must be zero or more millimetres; got {margin_mm}.")
