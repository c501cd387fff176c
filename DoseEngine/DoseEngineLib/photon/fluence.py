"""Primary photon fluence in air at the isocentre plane: jaws, MLC, transmission, off-axis shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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


@dataclass(frozen=True, eq=False)
class BeamSegment:
    """A part of a beam that is delivered from one direction; weights of a beam's segments add up to one."""

    frame: BeamFrame
    fluence: FluenceMap
    collimation_distance_mm: float
    weight: float


def _open_fraction(edges: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Share (m, n) of each of n pixels between ``low[m]`` and ``high[m]``."""
    overlap = np.minimum(edges[None, 1:], np.asarray(high)[:, None]) - np.maximum(
        edges[None, :-1], np.asarray(low)[:, None]
    )
    return np.clip(overlap / np.diff(edges), 0.0, 1.0)


def aperture_fluence(aperture: Aperture, machine: Machine, pixel_mm: float = 1.0) -> FluenceMap:
    """Rasterize an aperture; every pixel holds the exact share of its area that is open, with transmission elsewhere.

    The map reaches a little beyond the primary collimator, outside which there is no fluence.
    """
    n = int(np.ceil((machine.field_radius_mm + 2.0) / pixel_mm / 8)) * 8
    edges = (np.arange(2 * n + 1) - n) * pixel_mm
    jaw_x = _open_fraction(edges, [aperture.jaw_x_mm[0]], [aperture.jaw_x_mm[1]])[0]
    jaw_y = _open_fraction(edges, [aperture.jaw_y_mm[0]], [aperture.jaw_y_mm[1]])[0]
    jaw_x = machine.jaw_x.transmission + (1 - machine.jaw_x.transmission) * jaw_x
    jaw_y = machine.jaw_y.transmission + (1 - machine.jaw_y.transmission) * jaw_y
    values = jaw_y[:, None] * jaw_x[None, :]
    if aperture.leaf_positions_mm is not None:
        mlc = machine.mlc
        tips = np.array(aperture.leaf_positions_mm)
        leaf_x = _open_fraction(edges, tips[:, 0], tips[:, 1])
        side = np.array(mlc.boundaries_mm)
        # share of each pixel row under each leaf pair; rows beyond the bank are not covered by leaves
        rows = _open_fraction(edges, side[:-1], side[1:]).T
        covered = rows.sum(axis=1, keepdims=True)
        values = values * (rows @ (mlc.transmission + (1 - mlc.transmission) * leaf_x) + (1 - covered))
    centre = (edges[:-1] + edges[1:]) / 2
    radius = np.hypot(centre[:, None], centre[None, :])
    values = values * off_axis_ratio(machine, radius) * (radius <= machine.field_radius_mm)
    return FluenceMap(values.astype(np.float32), pixel_mm)


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
            fluence = aperture_fluence(aperture, machine, pixel_mm)
            weighted = fluence.values * (share * part)
            entry[0] = weighted if entry[0] is None else entry[0] + weighted
            entry[1] += share * part
            entry[2] += share * part * collimation_distance_mm(aperture, machine)
    segments = []
    for (gantry, collimator, couch), (values, weight, distance) in merged.items():
        frame = beam_frame(gantry, collimator, couch, beam.isocenter_RAS_mm, patient_position)
        segments.append(BeamSegment(frame, FluenceMap(values / weight, pixel_mm), distance / weight, weight))
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
