"""Weights of bixels as the fluence of a beam: what the forward engine computes, and the influence matrix repeats.

A bixel is a square opening in an otherwise closed collimator at the distance of the leaves, jaws wide open. The focal
spot lights it as it lights an aperture. Of the extra-focal source each place sees what shows through that opening; seen
through many openings these shares add up, so the dose is linear in the weights. What depends on the aperture as a whole
is not in a bixel: jaws that cut the view of the extra-focal source, backscatter from closed jaws into the monitor,
transmission, rounded leaf ends, tongue and groove.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from DoseEngineLib.errors import EngineError
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.fluence import BeamSegment, FluenceMap, FluenceSource, off_axis_ratio

NOT_IN_A_BIXEL = (
    "jaws that cut the view of the extra-focal source",
    "backscatter from closed jaws into the monitor",
    "transmission of jaws and leaves",
    "rounded leaf ends, tongue and groove",
)
# Beyond this many standard deviations nothing of the extra-focal source is seen.
_REACH_SIGMAS = 4.0


def opening_distance_mm(machine: Machine) -> float:
    """Distance from the source of what forms bixels: the leaves, or midway between the jaws."""
    if machine.mlc is not None:
        return machine.mlc.distance_mm
    return (machine.jaw_x.distance_mm + machine.jaw_y.distance_mm) / 2


def extra_focal_view(machine: Machine) -> tuple[float, float]:
    """How an opening shows in the light of the extra-focal source, in the isocentre plane.

    Returns
    -------
    magnification : float
        The opening's shadow from the middle of that source over its shadow from the focal spot.
    sigma_mm : float
        Blur of that shadow.
    """
    source, opening, sad = machine.extra_focal, opening_distance_mm(machine), machine.sad_mm
    above = opening - source.distance_mm
    return opening / sad * (sad - source.distance_mm) / above, source.sigma_mm * (sad - opening) / above


def bixel_segment(beam: BixelBeam, weights: np.ndarray, machine: Machine, patient_position: str) -> BeamSegment:
    """Fluence of bixel weights as a segment for `add_segment`.

    Parameters
    ----------
    weights : (n,) array
        One a bixel, MU.

    Returns
    -------
    BeamSegment
        Of weight one; its fluence is that of all the MU.

    Raises
    ------
    EngineError
        Weights that are negative or not finite.
    """
    weights = np.asarray(weights, dtype=float)
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise EngineError(f"Beam {beam.name}: bixel weights must be finite and not negative.")
    values, x_edges, y_edges = beam.fluence_map(weights)
    extent = max(np.abs(x_edges).max(), np.abs(y_edges).max())
    pixel = 1.0
    edges = _pixel_edges(min(extent, machine.field_radius_mm) + 2.0, pixel)
    lit = _covered(edges, y_edges) @ values @ _covered(edges, x_edges).T
    centre = (edges[:-1] + edges[1:]) / 2
    radius = np.hypot(centre[:, None], centre[None, :])
    lit *= off_axis_ratio(machine, radius) * (radius <= machine.field_radius_mm)
    primary = FluenceMap(lit.astype(np.float32), pixel)
    extra = machine.extra_focal
    sources = [
        FluenceSource("primary", 1.0 if extra is None else 1.0 - extra.weight, machine.source_sigma_mm, 0.0, primary)
    ]
    if extra is not None:
        magnification, sigma = extra_focal_view(machine)
        pixel = 4.0
        reach = min(extent * magnification + _REACH_SIGMAS * sigma, machine.field_radius_mm)
        edges = _pixel_edges(reach, pixel)
        centre = (edges[:-1] + edges[1:]) / 2
        seen = _seen(centre, y_edges * magnification, sigma) @ values @ _seen(centre, x_edges * magnification, sigma).T
        seen *= np.hypot(centre[:, None], centre[None, :]) <= machine.field_radius_mm
        sources.append(
            FluenceSource(
                "extra_focal", extra.weight, extra.sigma_mm, extra.distance_mm,
                FluenceMap(seen.astype(np.float32), pixel),
            )
        )  # fmt: skip
    return BeamSegment(beam.frame(patient_position), tuple(sources), opening_distance_mm(machine), 1.0)


def _pixel_edges(extent_mm: float, pixel_mm: float) -> np.ndarray:
    half = int(np.ceil(extent_mm / pixel_mm / 8)) * 8
    return (np.arange(2 * half + 1) - half) * pixel_mm


def _covered(edges: np.ndarray, bixel_edges: np.ndarray) -> np.ndarray:
    """Share (pixels, bixels) of each pixel that each bixel covers along one axis."""
    overlap = np.minimum(edges[1:, None], bixel_edges[None, 1:]) - np.maximum(edges[:-1, None], bixel_edges[None, :-1])
    return np.clip(overlap / np.diff(edges)[:, None], 0.0, None)


def _seen(at_mm: np.ndarray, bixel_edges: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Share (places, bixels) of a Gaussian about each place that lies within each bixel along one axis."""
    return np.diff(ndtr((bixel_edges[None, :] - at_mm[:, None]) / sigma_mm), axis=1)
