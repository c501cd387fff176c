"""From weights of bixels to beams with control points that a machine can deliver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from DoseEngineLib.machine import Machine, load_beam_machine
from DoseEngineLib.photon.fluence import backscatter_factor
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan
from DoseEngineLib.progress import Progress, silent
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing.bixel_exposure import beam_exposure
from OptimizerLib.sequencing.delivery_limits import check_deliverable, required_limits
from OptimizerLib.sequencing.leaf_pair_fluence import LeafPairFluence, leaf_pair_fluence
from OptimizerLib.sequencing.leaf_sweep import leaf_sweep
from OptimizerLib.sequencing.leaf_tips import leaf_tips, least_opening_mm
from OptimizerLib.sequencing.sliding_window import crossing_exposure, sliding_window
from OptimizerLib.sequencing.step_and_shoot import few_openings, least_beam_on_levels, sweep_openings
from OptimizerLib.sequencing.wide_fields import beams_by_name, fading_shares, part_name

if TYPE_CHECKING:
    from DoseEngineLib.influence import BixelBeam, DoseInfluence

METHODS = ("step_and_shoot", "sliding_window")


def sequence(
    influence: DoseInfluence,
    weights: np.ndarray,
    plan: Plan,
    method: str = "step_and_shoot",
    *,
    levels: int = 10,
    dose_rate_MU_min: float | None = None,
    control_points: int = 100,
    compensations: int = 3,
    progress: Progress | None = None,
) -> Plan:
    """Turn weights of bixels into a plan of static-field IMRT with the least MU.

    What passes closed leaves is taken off what the openings have to give, rounded leaf ends are allowed for, and the
    jaws are fitted to the outermost opening. With moving leaves tongue and groove are compensated in the mean over each
    bixel; `refine_apertures` does it for step and shoot. Extra-focal radiation is left to the final dose calculation.

    Parameters
    ----------
    influence : DoseInfluence
        Only its ``beams`` are used.
    weights : (bixels,) array
        MU of open fluence a fraction.
    plan : Plan
        Its beams have the names of the influence's; their apertures and MU are replaced.
    method : {"step_and_shoot", "sliding_window"}
    levels : int
        Step and shoot: levels of fluence of a beam. More are closer to the wish and take more segments.
    dose_rate_MU_min : float, optional
        Sliding window: at which the beam is delivered, the machine's greatest by default. A lower one needs fewer MU,
        as the leaves cross the field in a given time.
    control_points : int
        Sliding window: of each beam.
    compensations : int
        Sliding window: how often what tongue and groove, slits and few control points do to the fluence is added to the
        wish with its sign turned. 0 gives the least MU for the weights as they are.
    progress : callable, optional

    Returns
    -------
    Plan
        Beams with control points and MU. A beam whose weights are all zero is closed and has no MU. A field wider than
        the leaves reach becomes two or more beams, "NAME part 1" and so on, that fade into each other.

    Raises
    ------
    OptimizationError
        Weights or options that make no sense, a machine without MLC or stated limits, a field that its leaves cannot
        reach.
    """
    if method not in METHODS:
        raise OptimizationError(f"There is no way of delivery {method!r}; choose one of: {', '.join(METHODS)}.")
    pieces = split_by_beam(influence, weights, plan)
    report = progress or silent
    beams = []
    for number, (parts, bixels, wanted) in enumerate(pieces):
        report(number / len(pieces), f"Leaves of {bixels.name}")
        whole = replace(parts[0], name=bixels.name)
        machine = load_beam_machine(whole)
        shares = _shares_of_bixels(bixels, wanted, machine)
        for part, share in enumerate(shares, start=1):
            beam = whole if len(shares) == 1 else replace(whole, name=part_name(whole.name, part))
            if method == "step_and_shoot":
                beams.append(step_and_shoot_beam(beam, bixels, share * wanted, machine, levels))
            else:
                beams.append(
                    sliding_window_beam(
                        beam, bixels, share * wanted, machine, dose_rate_MU_min, control_points, compensations
                    )
                )
    report(1.0, "Leaves are sequenced")
    return replace(plan, beams=tuple(beams))


def _shares_of_bixels(bixels: BixelBeam, wanted: np.ndarray, machine: Machine) -> np.ndarray:
    """Share (parts, bixels) of the bixels that each part of a beam gives."""
    required_limits(machine)
    lit = bixels.columns[wanted != 0]
    if lit.size == 0:
        return np.ones((1, bixels.size))
    shares = fading_shares(int(np.ptp(lit)) + 1, bixels.width_mm, machine, f"Beam {bixels.name}")
    return shares[:, np.clip(bixels.columns - lit.min(), 0, shares.shape[1] - 1)]


def split_by_beam(
    influence: DoseInfluence, weights: np.ndarray, plan: Plan
) -> list[tuple[tuple[Beam, ...], BixelBeam, np.ndarray]]:
    """Bixels and weights of an influence's beams, each with the plan's beam or its parts; raises if they do not fit."""
    count = sum(bixels.size for bixels in influence.beams)
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (count,):
        raise OptimizationError(f"The influence has {count} bixels; got weights of shape {weights.shape}.")
    names = [bixels.name for bixels in influence.beams]
    by_name = beams_by_name(plan.beams, names)
    if names != list(by_name):
        raise OptimizationError(
            f"The plan has the beams {', '.join(by_name)}, the influence {', '.join(names)}; "
            "calculate the influence of this plan."
        )
    pieces, start = [], 0
    for bixels in influence.beams:
        parts = by_name[bixels.name]
        for beam in parts:
            if beam.machine != bixels.machine:
                raise OptimizationError(
                    f"Beam {beam.name} is on {beam.machine}, its influence on {bixels.machine}; calculate it anew."
                )
        pieces.append((parts, bixels, weights[start : start + bixels.size]))
        start += bixels.size
    return pieces


def delivered_weights(influence: DoseInfluence, plan: Plan) -> np.ndarray:
    """Weights (bixels,) in MU of open fluence that the control points of a plan give the bixels of an influence.

    Exact for jaws, leaves, their transmission, ends and tongues; see `bixel_exposure` for what is left out.
    """
    pieces = split_by_beam(influence, np.zeros(sum(b.size for b in influence.beams)), plan)
    return np.concatenate([sum(beam_weights(beam, bixels) for beam in parts) for parts, bixels, _ in pieces])


def beam_weights(beam: Beam, bixels: BixelBeam) -> np.ndarray:
    """Weights (n,) in MU of open fluence that a beam gives its bixels."""
    _, x, y = bixels.fluence_map(np.zeros(bixels.size))
    exposure = beam_exposure(beam, x, y, load_beam_machine(beam))
    return exposure[bixels.rows - bixels.rows.min(), bixels.columns - bixels.columns.min()]


def step_and_shoot_beam(beam: Beam, bixels: BixelBeam, weights: np.ndarray, machine: Machine, levels: int = 10) -> Beam:
    """Sequence one beam with leaves at rest; see `sequence`."""
    if int(levels) != levels or not 1 <= levels <= 1000:
        raise OptimizationError(f"levels must be a whole number from 1 to 1000; got {levels}.")
    limits = required_limits(machine)
    field = leaf_pair_fluence(*bixels.fluence_map(weights), machine.mlc, f"Beam {beam.name}")
    if field is None:
        return closed_beam(beam, bixels, machine)
    opening = least_opening_mm(machine, moving=False)
    gap_columns = int(np.ceil(opening / field.width_mm - 1e-9)) if limits.minimum_gap_mm > 0 else 0
    if gap_columns == 0 and opening >= field.width_mm:
        raise OptimizationError(
            f"Beam {beam.name}: bixels of {field.width_mm:g} mm are narrower than the least opening of {machine.name}, "
            f"{opening:g} mm between radiation edges; use wider bixels."
        )
    rules = {"interdigitation": limits.interdigitation, "gap_columns": gap_columns}
    leak = machine.mlc.transmission
    total = _beam_on_time(lambda on: leaf_sweep(_openings_share(field, leak, on), **rules).beam_on_time)
    unit = _openings_share(field, leak, total).max() / levels

    def whole(on: int) -> np.ndarray:
        return np.floor(_openings_share(field, leak, on * unit) / unit + 0.5).astype(np.int64)

    on, most = 0, least_beam_on_levels(whole(0), **rules)
    while on < most:
        middle = (on + most) // 2
        if least_beam_on_levels(whole(middle), **rules) <= middle:
            most = middle
        else:
            on = middle + 1
    if limits.interdigitation and gap_columns == 0:
        openings = few_openings(whole(on))
    else:
        openings = sweep_openings(whole(on), **rules)
    is_open = openings.last > openings.first
    tips = leaf_tips(
        field.x_edges_mm[0] + openings.first * field.width_mm,
        field.x_edges_mm[0] + openings.last * field.width_mm,
        is_open,
        field.pairs,
        field.jaw_x_mm,
        machine,
        limits.minimum_gap_mm,
    )
    return static_segments_beam(beam, bixels, tips, openings.levels * unit, field.jaw_x_mm, field.jaw_y_mm, machine)


def sliding_window_beam(
    beam: Beam,
    bixels: BixelBeam,
    weights: np.ndarray,
    machine: Machine,
    dose_rate_MU_min: float | None = None,
    control_points: int = 100,
    compensations: int = 3,
) -> Beam:
    """Sequence one beam with moving leaves; see `sequence`.

    Each compensation adds what was missed to the wish and sequences anew; the beam that comes nearest is taken.
    """
    if int(compensations) != compensations or not 0 <= compensations <= 20:
        raise OptimizationError(f"compensations must be a whole number from 0 to 20; got {compensations}.")
    wish, nearest, least = weights, None, np.inf
    for _ in range(int(compensations) + 1):
        made = _swept_beam(beam, bixels, wish, machine, dose_rate_MU_min, control_points)
        missed = np.where(weights > 0, weights - beam_weights(made, bixels), 0.0)
        error = float(missed @ missed)
        if error < least:
            nearest, least = made, error
        wish = np.maximum(wish + missed, 0.0)
    return nearest


def _swept_beam(
    beam: Beam,
    bixels: BixelBeam,
    weights: np.ndarray,
    machine: Machine,
    dose_rate_MU_min: float | None,
    control_points: int,
) -> Beam:
    if int(control_points) != control_points or not 2 <= control_points <= 1000:
        raise OptimizationError(f"control_points must be a whole number from 2 to 1000; got {control_points}.")
    limits = required_limits(machine)
    field = leaf_pair_fluence(*bixels.fluence_map(weights), machine.mlc, f"Beam {beam.name}")
    if field is None:
        return closed_beam(beam, bixels, machine)
    dose_rate = machine.maximum_dose_rate_MU_min if dose_rate_MU_min is None else float(dose_rate_MU_min)
    if not 0 < dose_rate <= machine.maximum_dose_rate_MU_min:
        raise OptimizationError(
            f"{machine.name} delivers up to {machine.maximum_dose_rate_MU_min:g} MU/min; got {dose_rate:g} MU/min."
        )
    opening = least_opening_mm(machine, moving=True)
    if opening > field.width_mm:
        raise OptimizationError(
            f"Beam {beam.name}: bixels of {field.width_mm:g} mm are narrower than the least opening of moving leaves "
            f"of {machine.name}, {opening:g} mm between radiation edges; use wider bixels or step and shoot."
        )
    jaws = Aperture(field.jaw_x_mm, field.jaw_y_mm)
    # times below are MU of open fluence
    mm_per_MU = limits.maximum_speed_mm_s * 60.0 / dose_rate / backscatter_factor(jaws, machine)
    at_least = crossing_exposure(opening, mm_per_MU)
    crossing = field.values.shape[1] * field.width_mm / mm_per_MU
    leak = machine.mlc.transmission
    # pairs that have nothing to give stay closed, unless they would be in their neighbours' way
    takes_part = field.values.any(axis=1) if limits.interdigitation else np.ones(len(field.values), dtype=bool)

    def moving_share(on: float) -> np.ndarray:
        return np.where(takes_part[:, None], np.maximum(_openings_share(field, leak, on), at_least), 0.0)

    def beam_on(on: float) -> float:
        return leaf_sweep(moving_share(on), interdigitation=limits.interdigitation).beam_on_time + crossing

    motion = sliding_window(
        moving_share(_beam_on_time(beam_on)),
        field.x_edges_mm,
        mm_per_MU,
        least_opening_mm=opening,
        interdigitation=limits.interdigitation,
        control_points=int(control_points),
    )
    tips = leaf_tips(
        motion.low_mm,
        motion.high_mm,
        np.broadcast_to(takes_part, motion.low_mm.shape),
        field.pairs,
        field.jaw_x_mm,
        machine,
        limits.minimum_moving_gap_mm,
    )
    total = motion.time_MU[-1]
    made = _make_beam(beam, bixels, tips, motion.time_MU / total, total / backscatter_factor(jaws, machine), jaws)
    check_deliverable(made, machine, dose_rate)
    return made


def static_segments_beam(
    beam: Beam,
    bixels: BixelBeam,
    tips_mm: np.ndarray,
    open_MU: np.ndarray,
    jaw_x_mm: tuple[float, float],
    jaw_y_mm: tuple[float, float],
    machine: Machine,
) -> Beam:
    """Make a step-and-shoot beam: two control points alike for each segment.

    Parameters
    ----------
    tips_mm : (segments, pairs, 2) array
    open_MU : (segments,) array
        MU of open fluence, positive.

    Raises
    ------
    PlanError
        A machine that cannot deliver it.
    """
    jaws = Aperture(jaw_x_mm, jaw_y_mm)
    share = np.cumsum(open_MU) / np.sum(open_MU)
    share[-1] = 1.0
    cumulative = np.stack((np.concatenate(([0.0], share[:-1])), share), axis=1).ravel()
    meterset = float(np.sum(open_MU)) / backscatter_factor(jaws, machine)
    made = _make_beam(beam, bixels, np.repeat(tips_mm, 2, axis=0), cumulative, meterset, jaws)
    check_deliverable(made, machine)
    return made


def _openings_share(field: LeafPairFluence, transmission: float, beam_on: float) -> np.ndarray:
    """What openings have to give of a wanted fluence, when the leaves let some of the beam through all the time."""
    return np.maximum(field.values - transmission * beam_on, 0.0) / (1.0 - transmission)


def _beam_on_time(needed: Callable[[float], float]) -> float:
    """Beam-on time that is what is needed at that time; what is needed never rises with it."""
    low, high = 0.0, float(needed(0.0))
    for _ in range(60):
        middle = 0.5 * (low + high)
        if needed(middle) <= middle:
            high = middle
        else:
            low = middle
    return high


def _make_beam(
    beam: Beam, bixels: BixelBeam, tips: np.ndarray, cumulative: np.ndarray, meterset_MU: float, jaws: Aperture
) -> Beam:
    points = tuple(
        ControlPoint(
            bixels.gantry_deg,
            bixels.collimator_deg,
            bixels.couch_deg,
            replace(jaws, leaf_positions_mm=tuple(map(tuple, leaves.tolist()))),
            float(share),
        )
        for leaves, share in zip(np.round(tips, 6), cumulative, strict=True)
    )
    return replace(
        beam, control_points=points, isocenter_RAS_mm=tuple(bixels.isocenter_RAS_mm), meterset_MU=float(meterset_MU)
    )


def closed_beam(beam: Beam, bixels: BixelBeam, machine: Machine) -> Beam:
    """Make a beam that is closed and has no MU."""
    half_gap = required_limits(machine).minimum_gap_mm / 2
    tips = np.empty((2, machine.mlc.pairs, 2))
    tips[...] = (-half_gap, half_gap)
    return _make_beam(beam, bixels, tips, np.array([0.0, 1.0]), 0.0, Aperture((0.0, 0.0), (0.0, 0.0)))
