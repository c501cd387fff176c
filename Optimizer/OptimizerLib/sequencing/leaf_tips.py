"""From radiation edges to the tips of all leaves of an MLC."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.machine import Machine
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing.delivery_limits import required_limits

# How far behind a jaw a closed pair is put where the carriages allow it.
COVER_MM = 2.0


def least_opening_mm(machine: Machine, moving: bool) -> float:
    """Least distance between the radiation edges of an open pair at rest or in motion."""
    limits = required_limits(machine)
    gap = limits.minimum_moving_gap_mm if moving else limits.minimum_gap_mm
    return gap + 2.0 * machine.mlc.leaf_end_offset_mm


def leaf_tips(
    low_mm: np.ndarray,
    high_mm: np.ndarray,
    is_open: np.ndarray,
    pairs: slice,
    jaw_x_mm: tuple[float, float],
    machine: Machine,
    gap_mm: float,
) -> np.ndarray:
    """Tips of every leaf of the MLC for a series of openings of some neighbouring pairs.

    Closed pairs are put behind the nearer X jaw, where nothing gets through between their ends, if leaves may
    interdigitate; else between the leaves of their neighbours. Behind the Y jaws the next pair on either side follows
    the outermost pair of the field, so that its tongue or groove does not shade it; all others stay closed.
    Tips of opposing leaves that would come closer than allowed because their ends are rounded move back by half of what
    is missing, which opens a little more than asked for.

    Parameters
    ----------
    low_mm, high_mm : (shapes, rows) arrays
        Radiation edges; for closed pairs of leaves that may not interdigitate, where they are closed.
    is_open : (shapes, rows) bool array
    pairs : slice
        Of the MLC's pairs, the rows.
    jaw_x_mm : (float, float)
    gap_mm : float
        Least distance between tips.

    Returns
    -------
    (shapes, pairs of the MLC, 2) array

    Raises
    ------
    OptimizationError
        A field wider than the spread of a bank.
    """
    mlc, limits = machine.mlc, required_limits(machine)
    offset = mlc.leaf_end_offset_mm
    room = limits.maximum_spread_mm - (jaw_x_mm[1] - jaw_x_mm[0])
    if room < 0:
        raise OptimizationError(
            f"The field is {jaw_x_mm[1] - jaw_x_mm[0]:g} mm wide along the leaves, the leaves of {machine.name} reach "
            f"{limits.maximum_spread_mm:g} mm out of their carriage; split the target between two beams, or turn the "
            "collimator so that the field is narrower along X."
        )
    tips = np.empty((*low_mm.shape, 2))
    middle = 0.5 * (low_mm + high_mm)
    tips[..., 0] = np.where(is_open, np.minimum(low_mm + offset, middle - gap_mm / 2), middle)
    tips[..., 1] = np.where(is_open, np.maximum(high_mm - offset, middle + gap_mm / 2), middle)
    every = np.empty((len(tips), mlc.pairs, 2))
    if limits.interdigitation:
        half_gap = limits.minimum_gap_mm / 2
        needed = offset + half_gap if half_gap > 0 else 0.0
        if 2 * needed > room and not is_open.all():
            raise OptimizationError(
                f"Closed leaf pairs of {machine.name} keep a gap of {limits.minimum_gap_mm:g} mm, and the field is too "
                "wide to put it behind the jaws; turn the collimator so that the field is narrower along X."
            )
        cover = min(COVER_MM + offset + half_gap, room / 2)
        _put_closed_pairs_behind_jaws(tips, is_open, middle, jaw_x_mm, cover, half_gap)
        resting = 0.5 * (jaw_x_mm[0] + jaw_x_mm[1])
        every[...] = (resting - half_gap, resting + half_gap)
    else:
        _keep_clear_of_neighbours(tips, is_open, gap_mm)
        for outside, row in ((slice(0, pairs.start), 0), (slice(pairs.stop, None), -1)):
            every[:, outside, 0] = tips[:, None, row, 0]
            every[:, outside, 1] = tips[:, None, row, 0] + gap_mm
    every[:, pairs] = tips
    set_open = tips[is_open]
    if set_open.size and (set_open.min() < mlc.minimum_mm - 1e-6 or set_open.max() > mlc.maximum_mm + 1e-6):
        raise OptimizationError(
            f"The field needs leaves at {set_open.min():g}..{set_open.max():g} mm, those of {machine.name} travel from "
            f"{mlc.minimum_mm:g} to {mlc.maximum_mm:g} mm; move the isocentre nearer to the target's middle."
        )
    if pairs.start > 0:
        every[:, pairs.start - 1] = tips[:, 0]
    if pairs.stop < mlc.pairs:
        every[:, pairs.stop] = tips[:, -1]
    return np.clip(every, mlc.minimum_mm, mlc.maximum_mm)


def _put_closed_pairs_behind_jaws(
    tips: np.ndarray,
    is_open: np.ndarray,
    middle: np.ndarray,
    jaw_x_mm: tuple[float, float],
    cover_mm: float,
    half_gap_mm: float,
) -> None:
    for row in range(tips.shape[1]):
        opened = np.flatnonzero(is_open[:, row])
        for shape in np.flatnonzero(~is_open[:, row]):
            # near to where the pair was open last, or will be first
            near = opened[max(np.searchsorted(opened, shape) - 1, 0)] if opened.size else None
            at_low = near is None or middle[near, row] - jaw_x_mm[0] <= jaw_x_mm[1] - middle[near, row]
            place = jaw_x_mm[0] - cover_mm if at_low else jaw_x_mm[1] + cover_mm
            tips[shape, row] = (place - half_gap_mm, place + half_gap_mm)


def _keep_clear_of_neighbours(tips: np.ndarray, is_open: np.ndarray, gap_mm: float) -> None:
    for shape, opened in zip(tips, is_open, strict=True):
        rows = np.flatnonzero(opened)
        for one, other in zip(rows[:-1], rows[1:], strict=True):
            for low, high in ((one, other), (other, one)):
                missing = shape[low, 0] + gap_mm - shape[high, 1]
                if missing > 0:
                    shape[low, 0] -= missing / 2
                    shape[high, 1] += missing / 2
        for number, place in enumerate(shape):
            if opened[number]:
                continue
            # all closed pairs of a run stand in line, between the leaves of the open pairs on both sides
            before, after = rows[rows < number][-1:], rows[rows > number][:1]
            beside = shape[np.concatenate((before, after))]
            if len(beside):
                run = slice((before[0] + 1) if before.size else 0, after[0] if after.size else len(shape))
                wish = shape[run, 0].mean() if not before.size or number == before[0] + 1 else place[0]
                place[:] = np.clip(wish, beside[:, 0].max(), beside[:, 1].min())
