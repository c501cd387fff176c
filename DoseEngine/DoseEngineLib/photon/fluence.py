"""Photon fluence in air at the isocentre plane: sources, jaws, MLC, transmission, off-axis shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
# More leaf edges than this are shared between places this far apart: a fraction of the extra-focal source's shadow.
_MOST_NODES = 400
_NODE_STEP_MM = 0.25
# What stands beside a bank of leaves reaches further than any field.
_BESIDE_MM = 1000.0


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
    return _strips_of_tips(np.array(aperture.leaf_positions_mm), machine)


def _strips_of_tips(tips_mm: np.ndarray, machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`leaf_strips` of tips (..., pairs, 2): sides (n + 1,), radiation edges (..., n)."""
    mlc = machine.mlc
    offset = np.where(tips_mm[..., 1] > tips_mm[..., 0], mlc.leaf_end_offset_mm, 0.0)
    low, high = tips_mm[..., 0] - offset, tips_mm[..., 1] + offset
    sides = np.array(mlc.boundaries_mm)
    width = mlc.tongue_and_groove_mm
    if width == 0:
        return sides, low, high
    n = low.shape[-1]
    strips = np.empty(2 * n)
    strips[0], strips[-1] = sides[0], sides[-1]
    strips[1:-1:2], strips[2:-1:2] = sides[1:-1] - width, sides[1:-1] + width
    both_low, both_high = (np.empty((*low.shape[:-1], 2 * n - 1)) for _ in range(2))
    both_low[..., ::2], both_high[..., ::2] = low, high
    both_low[..., 1::2] = np.maximum(low[..., :-1], low[..., 1:])
    both_high[..., 1::2] = np.minimum(high[..., :-1], high[..., 1:])
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
    return _primary_fluence(_positions(aperture)[None], np.ones(1), machine, pixel_mm)


def _primary_fluence(positions: np.ndarray, shares: np.ndarray, machine: Machine, pixel_mm: float) -> FluenceMap:
    """`aperture_fluence` of apertures with the same jaws, times their shares, added up."""
    n = _half_count(machine, pixel_mm)
    edges = (np.arange(2 * n + 1) - n) * pixel_mm
    jaws = Aperture(*positions[0, :2])
    jaw_x = _open_fraction(edges, [jaws.jaw_x_mm[0]], [jaws.jaw_x_mm[1]])[0]
    jaw_y = _open_fraction(edges, [jaws.jaw_y_mm[0]], [jaws.jaw_y_mm[1]])[0]
    jaw_x = machine.jaw_x.transmission + (1 - machine.jaw_x.transmission) * jaw_x
    jaw_y = machine.jaw_y.transmission + (1 - machine.jaw_y.transmission) * jaw_y
    values = jaw_y[:, None] * jaw_x[None, :]
    whole = shares.sum()
    if positions.shape[1] > 2:
        leak = machine.mlc.transmission
        sides, low, high = _strips_of_tips(positions[:, 2:], machine)
        leaf_x = _summed_open_fraction(edges, low, high, shares)
        # share of each pixel row under each strip; rows beyond the bank are not covered by leaves
        rows = _open_fraction(edges, sides[:-1], sides[1:]).T
        covered = rows.sum(axis=1, keepdims=True)
        values = values * (rows @ (leak * whole + (1 - leak) * leaf_x) + (1 - covered) * whole)
    else:
        values = values * whole
    values = values * _open_field(machine, pixel_mm)
    return FluenceMap((values * backscatter_factor(jaws, machine)).astype(np.float32), pixel_mm)


def _summed_open_fraction(edges: np.ndarray, low: np.ndarray, high: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Sum over m apertures of share times `_open_fraction`, (n, pixels), of edges (m, n); pixels are equally wide.

    What lies below an edge covers all pixels before the edge's own and a part of that one: two histograms and a sum
    from behind, instead of an image an aperture.
    """
    pixels, strips = edges.size - 1, low.shape[1]
    step = edges[1] - edges[0]
    weights = np.where(high > low, shares[:, None], 0.0).ravel()
    row = np.broadcast_to(np.arange(strips) * pixels, low.shape).ravel()

    def below(at: np.ndarray) -> np.ndarray:
        place = np.clip((at.ravel() - edges[0]) / step, 0.0, pixels)
        own = np.minimum(place.astype(np.int64), pixels - 1)
        size = strips * pixels
        reached = np.bincount(row + own, weights, size).reshape(strips, pixels)
        partly = np.bincount(row + own, weights * (place - own), size).reshape(strips, pixels)
        return np.cumsum(reached[:, ::-1], axis=1)[:, ::-1] - reached + partly

    return np.maximum(below(high) - below(low), 0.0)


def extra_focal_fluence(aperture: Aperture, machine: Machine, pixel_mm: float = 1.0) -> FluenceMap:
    """Share of the extra-focal source that each place of the isocentre plane sees past jaws and leaves.

    Each device is looked through at its own distance from the source, so that it matters which jaws are closed. Pixels
    are four times as wide as ``pixel_mm``: nothing in this map is sharp.
    """
    return _extra_focal_fluence(_positions(aperture)[None], np.ones(1), machine, pixel_mm)


def _extra_focal_fluence(positions: np.ndarray, shares: np.ndarray, machine: Machine, pixel_mm: float) -> FluenceMap:
    """`extra_focal_fluence` of apertures with the same jaws, times their shares, added up."""
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
    jaws = Aperture(*positions[0, :2])
    x_low, x_high = (through(x.distance_mm, edge) for edge in jaws.jaw_x_mm)
    y_low, y_high = (through(y.distance_mm, edge) for edge in jaws.jaw_y_mm)
    open_x = x.transmission + (1 - x.transmission) * between(x_low, x_high)
    open_y = y.transmission + (1 - y.transmission) * between(y_low, y_high)
    whole = shares.sum()
    values = open_y * open_x.T * whole
    if positions.shape[1] > 2:
        mlc = machine.mlc
        sides, low, high = _strips_of_tips(positions[:, 2:], machine)
        if mlc.frame_shields:
            sides[[0, -1]] = -_BESIDE_MM, _BESIDE_MM
        sides = through(mlc.distance_mm, sides)
        nodes, net = _net_at_nodes(low, high, shares)
        seen = through(mlc.distance_mm, nodes)
        # between two edges lies what is below the one less what is below the other
        below = x.transmission * ndtr(seen) + (1 - x.transmission) * ndtr(np.clip(seen, x_low, x_high))
        seen_x = below @ net
        seen_y = y.transmission * between(sides[:, :-1], sides[:, 1:]) + (1 - y.transmission) * between(
            np.maximum(sides[:, :-1], y_low), np.minimum(sides[:, 1:], y_high)
        )
        # what a strip of leaves stops is all but its transmission
        values = values - (1 - mlc.transmission) * (seen_y @ (open_x * whole - seen_x).T)
    radius = np.hypot(at[:, None], at[None, :])
    values = values * (radius <= machine.field_radius_mm)
    return FluenceMap((values * backscatter_factor(jaws, machine)).astype(np.float32), pixel_mm)


def _net_at_nodes(low: np.ndarray, high: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gather the edges (m, n) of m apertures: places (k,), and the shares (k, n) of upper less lower edges there.

    Few places are taken as they are; of many, each edge is shared between the two next places of an even row.
    """
    is_open = high > low
    nodes, index = np.unique(np.concatenate((low.ravel(), high.ravel())), return_inverse=True)
    weights = np.where(is_open, shares[:, None], 0.0).ravel()
    weights = np.concatenate((-weights, weights))
    strips = low.shape[1]
    strip = np.tile(np.arange(strips), 2 * low.shape[0])
    if nodes.size <= _MOST_NODES:
        parts = [(index.ravel(), weights)]
    else:
        even = np.linspace(nodes[0], nodes[-1], max(int(np.ceil((nodes[-1] - nodes[0]) / _NODE_STEP_MM)), 1) + 1)
        place = (nodes[index.ravel()] - even[0]) / (even[1] - even[0])
        first = np.minimum(place.astype(np.int64), even.size - 2)
        parts = [(first, weights * (1.0 - (place - first))), (first + 1, weights * (place - first))]
        nodes = even
    size = nodes.size * strips
    net = sum(np.bincount(at * strips + strip, part, size) for at, part in parts)
    return nodes, net.reshape(nodes.size, strips)


def fluence_sources(aperture: Aperture, machine: Machine, pixel_mm: float = 1.0) -> tuple[FluenceSource, ...]:
    """Return the primary source and, where the machine has one, the extra-focal source, seen through an aperture."""
    return _summed_sources(_positions(aperture)[None], np.ones(1), machine, pixel_mm)


def _summed_sources(
    positions: np.ndarray, shares: np.ndarray, machine: Machine, pixel_mm: float
) -> tuple[FluenceSource, ...]:
    """`fluence_sources` of apertures (m, 2 + pairs, 2) as `_positions` gives them, times their shares, added up."""
    extra = machine.extra_focal
    weight = 0.0 if extra is None else extra.weight
    jaws, group = np.unique(positions[:, :2].reshape(-1, 4), axis=0, return_inverse=True)
    primary, seen = 0.0, 0.0
    for number in range(len(jaws)):
        chosen = group.ravel() == number
        together = positions[chosen], shares[chosen], machine, pixel_mm
        lit = _primary_fluence(*together)
        primary = lit.values + primary
        if extra is not None:
            wide = _extra_focal_fluence(*together)
            seen = wide.values + seen
    sources = [
        FluenceSource("primary", 1.0 - weight, machine.source_sigma_mm, 0.0, FluenceMap(primary, lit.pixel_mm)),
    ]
    if extra is not None:
        seen = FluenceMap(seen, wide.pixel_mm)
        sources.append(FluenceSource("extra_focal", weight, extra.sigma_mm, extra.distance_mm, seen))
    return tuple(sources)


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


def beam_segments(
    beam: Beam, machine: Machine, patient_position: str, pixel_mm: float = 1.0, arc_step_deg: float = 0.0
) -> list[BeamSegment]:
    """Split a beam into directions with the fluence delivered from each.

    Control points that differ only in the aperture are merged into one fluence, moving leaves integrated in steps of
    1 mm; a rotating beam is computed at the middle of each segment between two control points.

    Parameters
    ----------
    beam : Beam
    machine : Machine
        With the leaves of the beam.
    patient_position : str
    pixel_mm : float
    arc_step_deg : float
        Segments of an arc that together turn the gantry by no more than this are given one direction, the mean of
        theirs by MU, and one fluence. 0: every segment has its own.

    Raises
    ------
    EngineError
        An arc segment of more than 10 degrees, or an MLC that appears or disappears within a beam.
    """
    merged: dict[tuple[float, float, float], list[tuple[np.ndarray, float]]] = {}
    turned: dict[tuple[float, float, float], float] = {}
    points = beam.control_points
    for aperture in dict.fromkeys(point.aperture for point in points):
        # travels between two positions that a machine can take stay within its limits
        machine.check_aperture(aperture, f"Beam {beam.name}")
    parked = {point.aperture.leaf_positions_mm is None for point in points}
    if len(parked) > 1:
        raise EngineError(
            f"Beam {beam.name}: the MLC is parked at some control points and set at others; set it at all."
        )
    positions = [_positions(point.aperture) for point in points]
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
        key = tuple(angles)
        merged.setdefault(key, []).append((_motion(positions[index], positions[index + 1]), share))
        turned[key] = (stop.gantry_deg - start.gantry_deg + 180.0) % 360.0 - 180.0
    if arc_step_deg > 0:
        merged = _joined(merged, turned, arc_step_deg)
    segments = []
    distance = collimation_distance_mm(points[0].aperture, machine)
    for (gantry, collimator, couch), parts in merged.items():
        frame = beam_frame(gantry, collimator, couch, beam.isocenter_RAS_mm, patient_position)
        weight = sum(share for _, share in parts)
        shares = np.concatenate([np.full(len(steps), share / len(steps) / weight) for steps, share in parts])
        sources = _summed_sources(np.concatenate([steps for steps, _ in parts]), shares, machine, pixel_mm)
        segments.append(BeamSegment(frame, sources, distance, weight))
    return segments


def _joined(
    parts_of: dict[tuple[float, float, float], list[tuple[np.ndarray, float]]],
    turned: dict[tuple[float, float, float], float],
    arc_step_deg: float,
) -> dict[tuple[float, float, float], list[tuple[np.ndarray, float]]]:
    """Join neighbouring directions of an arc, in order, as long as together they turn by no more than a step."""
    groups: list[dict[str, Any]] = []
    for key, parts in parts_of.items():
        gantry, collimator, couch = key
        share = sum(part for _, part in parts)
        ends = gantry - turned[key] / 2, gantry + turned[key] / 2
        if groups:
            last = groups[-1]
            # angles count on from the group's, across north too
            shift = 360.0 * np.round((last["middle"] - gantry) / 360.0)
            low = min(last["low"], *(end + shift for end in ends))
            high = max(last["high"], *(end + shift for end in ends))
            if last["rest"] == (collimator, couch) and high - low <= arc_step_deg + 1e-6:
                whole = last["share"] + share
                middle = (last["middle"] * last["share"] + (gantry + shift) * share) / whole
                last.update(low=low, high=high, middle=middle, share=whole, parts=[*last["parts"], *parts])
                continue
        groups.append(
            {
                "low": min(ends),
                "high": max(ends),
                "middle": gantry,
                "share": share,
                "rest": (collimator, couch),
                "parts": list(parts),
            }
        )
    joined: dict[tuple[float, float, float], list[tuple[np.ndarray, float]]] = {}
    for group in groups:
        joined.setdefault((group["middle"], *group["rest"]), []).extend(group["parts"])
    return joined


def _motion(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Positions (steps, 2 + pairs, 2) in the middle of equal steps from one aperture to the next."""
    steps = max(int(np.ceil(np.abs(stop - start).max() / _MOTION_STEP_MM)), 1)
    part = (np.arange(steps) + 0.5) / steps
    return start + (stop - start) * part[:, None, None]


def _positions(aperture: Aperture) -> np.ndarray:
    """Jaws X, jaws Y and leaf pairs as rows (2 + pairs, 2)."""
    return np.array([aperture.jaw_x_mm, aperture.jaw_y_mm, *(aperture.leaf_positions_mm or ())])
