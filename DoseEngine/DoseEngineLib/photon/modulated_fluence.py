"""Weights of bixels as the fluence of a beam: what the forward engine computes, and the influence matrix repeats.

A bixel is a square opening in an otherwise closed collimator at the distance of the leaves. The focal spot lights it
as it lights an aperture. Of the extra-focal source each place sees what shows through that opening; seen through many
openings these shares add up, so the dose is linear in the weights. Jaws stand around all bixels of the beam: the
backscatter into the monitor is theirs, and by as much as they cut the view of the extra-focal source from the middle of
the field, every place loses of it. What depends on each aperture of a delivery is not in a bixel: jaws that move,
transmission, rounded leaf ends, tongue and groove.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from DoseEngineLib.errors import EngineError
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.fluence import (
    BeamSegment,
    FluenceMap,
    FluenceSource,
    backscatter_factor,
    extra_focal_fluence,
    off_axis_ratio,
)
from DoseEngineLib.plan import Aperture

NOT_IN_A_BIXEL = (
    "jaws other than around all bixels of the beam",
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


def jaw_factors(beam: BixelBeam, machine: Machine) -> tuple[float, float]:
    """What jaws around all bixels of a beam do.

    Returns
    -------
    monitor : float
        Fluence for each MU relative to jaws wide open.
    extra_focal : float
        Share of the extra-focal source that the jaws leave, of what the bixels show, seen from the middle of the field.
    """
    half = beam.width_mm / 2
    jaws = [
        (max(at.min() - half, jaw.minimum_mm), min(at.max() + half, jaw.maximum_mm))
        for at, jaw in ((beam.x_mm, machine.jaw_x), (beam.y_mm, machine.jaw_y))
    ]
    if any(low >= high for low, high in jaws):
        raise EngineError(f"The bixels of beam {beam.name} lie beyond the jaws of {machine.name}; lay them out again.")
    aperture = Aperture(*jaws)
    monitor = backscatter_factor(aperture, machine)
    if machine.extra_focal is None:
        return monitor, 1.0
    seen = extra_focal_fluence(aperture, machine)
    x, y = (sum(pair) / 2 for pair in jaws)
    column, row = (int(np.floor(at / seen.pixel_mm)) + seen.values.shape[0] // 2 for at in (x, y))
    magnification, sigma = extra_focal_view(machine)
    shown = 1.0
    for pair, middle in zip(jaws, (x, y), strict=True):
        shown *= float(_seen(np.array([middle]), np.array(pair) * magnification, sigma)[0, 0])
    return monitor, min(float(seen.values[row, column]) / monitor / shown, 1.0)


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
    monitor, seen_past_jaws = jaw_factors(beam, machine)
    lit *= monitor * off_axis_ratio(machine, radius) * (radius <= machine.field_radius_mm)
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
        seen *= monitor * seen_past_jaws * (np.hypot(centre[:, None], centre[None, :]) <= machine.field_radius_mm)
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
