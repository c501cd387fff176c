"""Photon fluence in air at the isocentre plane: sources, jaws, MLC, transmission, off-axis shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from DoseEngineLib.errors import EngineError
from DoseEngineLib.iec61217 import BeamFrame, beam_frame
from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import Aperture, Beam

# Leaves and jaws that move between control points are integrated in steps of at most this length.
_MOTION_STEP_MM = 1.0
# A rotating beam is computed at the middle of each arc segment; wider segments need more control points.
_MAXIMUM_ARC_STEP_DEG = 10.0


@dataclass(frozen=True, eq=False)
class FluenceMap:
    """Fluence relative to the open field on the axis.

    Attributes
    ----------
    values : (2n, 2n) float32 array
        [y, x], averages over square pixels; the axis is the corner in the middle.
    pixel_mm : float
        At the isocentre plane.
    """

    values: np.ndarray
    pixel_mm: float

    @property
    def half_extent_mm(self) -> float:
        """Distance of the map's edges from the axis."""
        return self.values.shape[0] / 2 * self.pixel_mm

    def joined(self, pixels: int) -> FluenceMap:
        """Return the map with pixels joined ``pixels`` by ``pixels``; the rim is padded with zeros where it must."""
        half = self.values.shape[0] // 2
        pad = -half % pixels
        values = np.pad(self.values, pad)
        n = values.shape[0] // pixels
        values = values.reshape(n, pixels, n, pixels).mean(axis=(1, 3), dtype=np.float32)
        return FluenceMap(values, self.pixel_mm * pixels)


@dataclass(frozen=True, eq=False)
class FluenceSource:
    """One of the sources that light a segment, with the fluence it gives at the isocentre plane.

    The fluence of a segment at a distance D is the sum over its sources of ``strength`` times ``fluence`` blurred by a
    Gaussian of ``blur_sigma_mm``.

    Attributes
    ----------
    name : {"primary", "extra_focal"}
    weight : float
        The weights of all sources add up to one: the fluence on the axis of an infinitely wide field.
    sigma_mm : float
        One standard deviation of the source in its own plane.
    distance_mm : float
        From the focal spot to the source's plane.
    fluence : FluenceMap
        What passes the collimators, relative to the open field. An extra-focal source lies close to the collimators,
        which show much less than all of it; its map holds what each place of the isocentre plane sees.
    """

    name: str
    weight: float
    sigma_mm: float
    distance_mm: float
    fluence: FluenceMap

    @property
    def edge_sigma_mm(self) -> float:
        """The source's size as far as it is not in ``fluence`` already."""
        return 0.0 if self.distance_mm > 0 else self.sigma_mm

    def blur_sigma_mm(self, point_distance_mm: float, collimation_distance_mm: float, sad_mm: float) -> float:
        """Standard deviation, projected onto the isocentre plane, of the blur to apply to ``fluence`` for a point.

        Zero for an extra-focal source, whose map is blurred already; that the blur changes with distance is neglected.
        """
        return self.edge_sigma_mm * (point_distance_mm / collimation_distance_mm - 1.0) * sad_mm / point_distance_mm

    def strength(self, point_distance_mm: float, sad_mm: float) -> float:
        """Weight times the inverse square law from the source's own plane, 1 x weight at the isocentre."""
        return self.weight * ((sad_mm - self.distance_mm) / (point_distance_mm - self.distance_mm)) ** 2


@dataclass(frozen=True, eq=False)
class BeamSegment:
    """A part of a beam that is delivered from one direction; weights of a beam's segments add up to one.

    Attributes
    ----------
    sources : tuple of FluenceSource
        The primary source first. Engines sum over all of them.
    collimation_distance_mm : float
        Distance from the focal spot of what shapes the primary penumbra.
    """

    frame: BeamFrame
    sources: tuple[FluenceSource, ...]
    collimation_distance_mm: float
    weight: float

    @property
    def fluence(self) -> FluenceMap:
        """Fluence of the primary source."""
        return self.sources[0].fluence


def _open_fraction(edges: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Share (m, n) of each of n pixels between ``low[m]`` and ``high[m]``."""
    overlap = np.minimum(edges[None, 1:], np.asarray(high)[:, None]) - np.maximum(
        edges[None, :-1], np.asarray(low)[:, None]
    )
    return np.clip(overlap / np.diff(edges), 0.0, 1.0)


def leaf_strips(aperture: Aperture, machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sides and radiation edges of the strips that the leaves leave open.

    Tips are set back by the offset of rounded leaf ends; pairs that touch are taken as closed. Where tongue and groove
    are modelled, a strip along each side between two leaves is open only where both are.

    Returns
    -------
    sides_mm : (n + 1,) array
        Along Y at the isocentre plane, rising.
    low_mm, high_mm : (n,) arrays
        Open between them along X; closed where low is not below high.
    """
    mlc = machine.mlc
    tips = np.array(aperture.leaf_positions_mm)
    offset = np.where(tips[:, 1] > tips[:, 0], mlc.leaf_end_offset_mm, 0.0)
    low, high = tips[:, 0] - offset, tips[:, 1] + offset
    sides = np.array(mlc.boundaries_mm)
    width = mlc.tongue_and_groove_mm
    if width == 0:
        return sides, low, high
    n = low.size
    strips = np.empty(2 * n)
    strips[0], strips[-1] = sides[0], sides[-1]
    strips[1:-1:2], strips[2:-1:2] = sides[1:-1] - width, sides[1:-1] + width
    both_low, both_high = np.empty(2 * n - 1), np.empty(2 * n - 1)
    both_low[::2], both_high[::2] = low, high
    both_low[1::2], both_high[1::2] = np.maximum(low[:-1], low[1:]), np.minimum(high[:-1], high[1:])
    return strips, both_low, both_high


def backscatter_factor(aperture: Aperture, machine: Machine) -> float:
    """Fluence for each MU relative to wide open jaws: closed jaws scatter photons back into the monitor."""
    part = machine.monitor_backscatter
    if part is None:
        return 1.0
    signal = 1.0
    for share, jaw, (low, high) in (
        (part.jaw_x, machine.jaw_x, aperture.jaw_x_mm),
        (part.jaw_y, machine.jaw_y, aperture.jaw_y_mm),
    ):
        signal += share * (1.0 - (high - low) / (jaw.maximum_mm - jaw.minimum_mm))
    return 1.0 / signal


def _half_count(machine: Machine, pixel_mm: float) -> int:
    return int(np.ceil((machine.field_radius_mm + 2.0) / pixel_mm / 8)) * 8


@lru_cache(maxsize=4)
def _open_field(machine: Machine, pixel_mm: float) -> np.ndarray:
    """Off-axis ratio within the primary collimator, at the middles of a map's pixels."""
    n = _half_count(machine, pixel_mm)
    centre = (np.arange(2 * n) + 0.5 - n) * pixel_mm
    radius = np.hypot(centre[:, None], centre[None, :])
    values = off_axis_ratio(machine, radius) * (radius <= machine.field_radius_mm)
    values.setflags(write=False)
    return values


def aperture_fluence(aperture: Aperture, machine: Machine, pixel_mm: float = 1.0) -> FluenceMap:
    """Rasterize an aperture as the focal spot sees it.

    Every pixel holds the exact share of its area that is open, with transmission elsewhere. The map reaches a little
    beyond the primary collimator, outside which there is no fluence.
    """
    n = _half_count(machine, pixel_mm)
    edges = (np.arange(2 * n + 1) - n) * pixel_mm
    jaw_x = _open_fraction(edges, [aperture.jaw_x_mm[0]], [aperture.jaw_x_mm[1]])[0]
    jaw_y = _open_fraction(edges, [aperture.jaw_y_mm[0]], [aperture.jaw_y_mm[1]])[0]
    jaw_x = machine.jaw_x.transmission + (1 - machine.jaw_x.transmission) * jaw_x
    jaw_y = machine.jaw_y.transmission + (1 - machine.jaw_y.transmission) * jaw_y
    values = jaw_y[:, None] * jaw_x[None, :]
    if aperture.leaf_positions_mm is not None:
        leak = machine.mlc.transmission
        sides, low, high = leaf_strips(aperture, machine)
        leaf_x = _open_fraction(edges, low, high)
        # share of each pixel row under each strip; rows beyond the bank are not covered by leaves
        rows = _open_fraction(edges, sides[:-1], sides[1:]).T
        covered = rows.sum(axis=1, keepdims=True)
        values = values * (rows @ (leak + (1 - leak) * leaf_x) + (1 - covered))
    values = values * _open_field(machine, pixel_mm)
    return FluenceMap((values * backscatter_factor(aperture, machine)).astype(np.float32), pixel_mm)


def extra_focal_fluence(aperture: Aperture, machine: Machine, pixel_mm: float = 1.0) -> FluenceMap:
    """Share of the extra-focal source that each place of the isocentre plane sees past jaws and leaves.

    Each device is looked through at its own distance from the source, so that it matters which jaws are closed. Pixels
    are four times as wide as ``pixel_mm``: nothing in this map is sharp.
    """
    source = machine.extra_focal
    pixel_mm = 4 * pixel_mm
    n = _half_count(machine, pixel_mm / 4) // 4
    at = (np.arange(2 * n) + 0.5 - n) * pixel_mm

    def through(device_mm: float, edge_mm: np.ndarray) -> np.ndarray:
        """Where a ray from an edge (m,) of a device to each place (p,) leaves the source, in its sigmas: (p, m)."""
        sad, plane = machine.sad_mm, source.distance_mm
        edge = np.atleast_1d(edge_mm)[None, :] * (device_mm / sad)
        return (
            (edge - at[:, None] * (device_mm - plane) / (sad - plane))
            * (sad - plane)
            / ((sad - device_mm) * source.sigma_mm)
        )

    def between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.maximum(ndtr(high) - ndtr(low), 0.0)

    x, y = machine.jaw_x, machine.jaw_y
    x_low, x_high = (through(x.distance_mm, edge) for edge in aperture.jaw_x_mm)
    y_low, y_high = (through(y.distance_mm, edge) for edge in aperture.jaw_y_mm)
    open_x = x.transmission + (1 - x.transmission) * between(x_low, x_high)
    open_y = y.transmission + (1 - y.transmission) * between(y_low, y_high)
    values = open_y * open_x.T
    if aperture.leaf_positions_mm is not None:
        mlc = machine.mlc
        sides, low, high = leaf_strips(aperture, machine)
        sides, low, high = (through(mlc.distance_mm, edge) for edge in (sides, low, high))
        seen_x = x.transmission * between(low, high) + (1 - x.transmission) * between(
            np.maximum(low, x_low), np.minimum(high, x_high)
        )
        seen_y = y.transmission * between(sides[:, :-1], sides[:, 1:]) + (1 - y.transmission) * between(
            np.maximum(sides[:, :-1], y_low), np.minimum(sides[:, 1:], y_high)
        )
        # what a strip of leaves stops is all but its transmission
        values = values - (1 - mlc.transmission) * (seen_y @ (open_x - seen_x).T)
    radius = np.hypot(at[:, None], at[None, :])
    values = values * (radius <= machine.field_radius_mm)
    return FluenceMap((values * backscatter_factor(aperture, machine)).astype(np.float32), pixel_mm)


def fluence_sources(aperture: Aperture, machine: Machine, pixel_mm: float = 1.0) -> tuple[FluenceSource, ...]:
    """Return the primary source and, where the machine has one, the extra-focal source, seen through an aperture."""
    extra = machine.extra_focal
    primary = aperture_fluence(aperture, machine, pixel_mm)
    if extra is None:
        return (FluenceSource("primary", 1.0, machine.source_sigma_mm, 0.0, primary),)
    seen = extra_focal_fluence(aperture, machine, pixel_mm)
    return (
        FluenceSource("primary", 1.0 - extra.weight, machine.source_sigma_mm, 0.0, primary),
        FluenceSource("extra_focal", extra.weight, extra.sigma_mm, extra.distance_mm, seen),
    )


def off_axis_ratio(machine: Machine, radius_mm: np.ndarray) -> np.ndarray:
    """Fluence in air through a plane normal to the ray, relative to the axis, at a radius in the isocentre plane."""
    if machine.off_axis_kind == "point_source":
        return machine.sad_mm**2 / (machine.sad_mm**2 + np.asarray(radius_mm) ** 2)
    if machine.off_axis_kind == "flat":
        return np.ones_like(radius_mm, dtype=float)
    return np.interp(radius_mm, machine.off_axis_radius_mm, machine.off_axis_ratio)


def collimation_distance_mm(aperture: Aperture, machine: Machine) -> float:
    """Distance from the source of what shapes the penumbra: the MLC where it is set, else midway between the jaws."""
    if aperture.leaf_positions_mm is not None:
        return machine.mlc.distance_mm
    return (machine.jaw_x.distance_mm + machine.jaw_y.distance_mm) / 2


def beam_segments(beam: Beam, machine: Machine, patient_position: str, pixel_mm: float = 1.0) -> list[BeamSegment]:
    """Split a beam into directions with the fluence delivered from each.

    Control points that differ only in the aperture are merged into one fluence, moving leaves integrated in steps of
    1 mm; a rotating beam is computed at the middle of each segment between two control points.

    Raises
    ------
    EngineError
        An arc segment of more than 10 degrees, or an MLC that appears or disappears within a beam.
    """
    merged: dict[tuple[float, float, float], list] = {}
    points = beam.control_points
    for index, (start, stop) in enumerate(zip(points[:-1], points[1:], strict=True)):
        share = stop.cumulative_meterset_weight - start.cumulative_meterset_weight
        if share == 0:
            continue
        angles = []
        for name in ("gantry_deg", "collimator_deg", "couch_deg"):
            turn = (getattr(stop, name) - getattr(start, name) + 180.0) % 360.0 - 180.0
            if abs(turn) > _MAXIMUM_ARC_STEP_DEG:
                raise EngineError(
                    f"Beam {beam.name}: {name[:-4]} turns {abs(turn):g} degrees between control points {index} and "
                    f"{index + 1}; add control points so that no step exceeds {_MAXIMUM_ARC_STEP_DEG:g} degrees."
                )
            angles.append(getattr(start, name) + turn / 2)
        for aperture, part in _moving_apertures(start.aperture, stop.aperture, beam.name):
            machine.check_aperture(aperture, f"Beam {beam.name}")
            entry = merged.setdefault(tuple(angles), [None, 0.0, 0.0])
            sources = fluence_sources(aperture, machine, pixel_mm)
            weighted = [source.fluence.values * (share * part) for source in sources]
            entry[0] = weighted if entry[0] is None else [a + b for a, b in zip(entry[0], weighted, strict=True)]
            entry[1] += share * part
            entry[2] += share * part * collimation_distance_mm(aperture, machine)
    segments = []
    for (gantry, collimator, couch), (maps, weight, distance) in merged.items():
        frame = beam_frame(gantry, collimator, couch, beam.isocenter_RAS_mm, patient_position)
        lit = tuple(
            replace(source, fluence=FluenceMap(values / weight, source.fluence.pixel_mm))
            for source, values in zip(sources, maps, strict=True)
        )
        segments.append(BeamSegment(frame, lit, distance / weight, weight))
    return segments


def _moving_apertures(start: Aperture, stop: Aperture, name: str) -> list[tuple[Aperture, float]]:
    if start == stop:
        return [(start, 1.0)]
    if (start.leaf_positions_mm is None) != (stop.leaf_positions_mm is None):
        raise EngineError(f"Beam {name}: the MLC is parked at some control points and set at others; set it at all.")
    first, last = _positions(start), _positions(stop)
    if first.shape != last.shape:
        raise EngineError(f"Beam {name}: the number of leaf pairs changes between control points.")
    steps = max(int(np.ceil(np.abs(last - first).max() / _MOTION_STEP_MM)), 1)
    parts = []
    for step in range(steps):
        at = first + (last - first) * ((step + 0.5) / steps)
        leaves = None if start.leaf_positions_mm is None else tuple(map(tuple, at[2:]))
        parts.append(
            (replace(start, jaw_x_mm=tuple(at[0]), jaw_y_mm=tuple(at[1]), leaf_positions_mm=leaves), 1 / steps)
        )
    return parts


def _positions(aperture: Aperture) -> np.ndarray:
    return np.array([aperture.jaw_x_mm, aperture.jaw_y_mm, *(aperture.leaf_positions_mm or ())])
