"""Fields wider than the leaves reach out of their carriage: split into parts that overlap and fade into each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import Beam
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing.delivery_limits import required_limits
from OptimizerLib.sequencing.leaf_tips import COVER_MM

# Parts share at least so much of the field, so that a leaf that stands a little off makes no cold or hot line.
_OVERLAP_MM = 20.0
_PART = re.compile(r"(.*) part [1-9][0-9]*")


def widest_field_mm(machine: Machine) -> float:
    """Widest field along the leaves whose closed pairs still fit behind the jaws."""
    limits = required_limits(machine)
    behind_jaws = COVER_MM + machine.mlc.leaf_end_offset_mm + limits.minimum_moving_gap_mm
    return limits.maximum_spread_mm - 2 * behind_jaws


def fading_shares(columns: int, column_mm: float, machine: Machine, owner: str = "Field") -> np.ndarray:
    """Shares (parts, columns) of the columns of a field; they add up to one and fade linearly where parts overlap.

    Raises
    ------
    OptimizationError
        Columns so wide that parts cannot overlap.
    """
    widest = int(widest_field_mm(machine) / column_mm + 1e-9)
    if columns <= widest:
        return np.ones((1, columns))
    overlap = int(np.ceil(_OVERLAP_MM / column_mm - 1e-9))
    if widest <= 2 * overlap:
        raise OptimizationError(
            f"{owner} is {columns * column_mm:g} mm wide along the leaves, {machine.name} reaches "
            f"{widest_field_mm(machine):g} mm, too little to split it; turn the collimator or use narrower bixels."
        )
    parts = int(np.ceil((columns - overlap) / (widest - overlap)))
    length = int(np.ceil((columns + (parts - 1) * overlap) / parts))
    starts = np.round(np.arange(parts) * (columns - length) / (parts - 1)).astype(int)
    at = np.arange(columns) + 0.5
    inside = np.minimum(at - starts[:, None], starts[:, None] + length - at)
    # the ends of the field do not fade
    inside[0, : length // 2] = inside[-1, columns - length // 2 :] = overlap
    shares = np.clip(inside, 0.0, overlap)
    return shares / shares.sum(axis=0)


def part_name(name: str, number: int) -> str:
    """Name of a part of a beam; the first is number 1."""
    return f"{name} part {number}"


def beams_by_name(beams: Sequence[Beam], names: Sequence[str]) -> dict[str, tuple[Beam, ...]]:
    """Beams of a plan by the names they had before they were split, in the plan's order."""
    found: dict[str, list[Beam]] = {}
    for beam in beams:
        match = None if beam.name in names else _PART.fullmatch(beam.name)
        found.setdefault(match[1] if match else beam.name, []).append(beam)
    return {name: tuple(parts) for name, parts in found.items()}
