"""Bixels of a beam: the squares of a lattice in the isocentre plane that the target's beam's eye view asks for."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from DoseEngineLib.aperture import silhouette_raster
from DoseEngineLib.errors import PlanError
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import Aperture, Beam, Structure

# Resolution of the beam's-eye-view raster.
_PIXEL_MM = 0.5


def bixels_of_target(
    target: Structure,
    beam: Beam,
    machine: Machine,
    patient_position: str,
    width_mm: float = 5.0,
    margin_mm: float = 5.0,
) -> BixelBeam:
    """Return every bixel that the target's shadow with a margin touches.

    Parameters
    ----------
    target : Structure
    beam : Beam
        One direction; its apertures do not matter.
    width_mm : float
        Side of a bixel at the isocentre plane; bixel edges are multiples of it from the axis.
    margin_mm : float
        At the isocentre plane; 5 mm covers the penumbra.

    Raises
    ------
    PlanError
        A rotating beam, an empty target, a width below 1 mm, a negative margin, or bixels beyond the jaws' travel.
    """
    if not (np.isfinite(width_mm) and width_mm >= 1.0):
        raise PlanError(f"Bixels must be at least 1 mm wide; got {width_mm} mm.")
    if not (np.isfinite(margin_mm) and margin_mm >= 0):
        raise PlanError(f"The target margin must be zero or more millimetres; got {margin_mm}.")
    first = beam.control_points[0]
    for point in beam.control_points:
        if any(getattr(point, name) != getattr(first, name) for name in ("gantry_deg", "collimator_deg", "couch_deg")):
            raise PlanError(
                f"Beam {beam.name} rotates; fluence is modulated beam by beam: replace it by static beams, "
                "one for each direction."
            )
    silhouette, low = silhouette_raster(
        target, beam.frame(patient_position), machine.sad_mm, margin_mm + width_mm, _PIXEL_MM
    )
    widened = ndimage.distance_transform_edt(~silhouette, sampling=_PIXEL_MM) <= margin_mm + 1e-9
    row, column = np.nonzero(widened)
    cells = np.unique(
        np.floor((low + _PIXEL_MM * np.stack((column, row), axis=1)) / width_mm + 1e-9).astype(int), axis=0
    )
    # by rows: neighbours along x, the way of the leaves, are neighbours in the matrix
    cells = cells[np.lexsort((cells[:, 0], cells[:, 1]))]
    edges = np.stack((cells.min(axis=0), cells.max(axis=0) + 1)) * width_mm
    machine.check_aperture(
        Aperture(tuple(edges[:, 0]), tuple(edges[:, 1])), f"Bixels of beam {beam.name} for {target.name}"
    )
    x, y = ((cells + 0.5) * width_mm).T
    return BixelBeam(
        beam.name, first.gantry_deg, first.collimator_deg, first.couch_deg, beam.isocenter_RAS_mm, beam.machine,
        width_mm, x, y,
    )  # fmt: skip
