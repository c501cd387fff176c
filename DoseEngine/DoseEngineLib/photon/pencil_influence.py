"""Dose influence of the photon pencil beam: the forward engine's dose of every bixel, sparse.

Entries fall off slowly: a quarter of the dose in a wide field is scatter from far, spread over entries of a ten
thousandth of the largest. Dropped, they would be missed; kept, they would fill the matrix. Here they are *gathered*:
where the bixels of a square block of 2, 4, 8 ... a side give a voxel less than the cut-off between them, one of them
stands for the block and carries what all of them give. Which one changes from voxel to voxel in an even pattern: every
bixel keeps its share in any structure of more than a few voxels, sums over neighbouring bixels are right in every
voxel, and a gathered entry is no larger than about the cut-off. Only what is far below the cut-off for the largest
blocks is dropped. (Blocks that grow with distance are those of J. Barnes and P. Hut, Nature 324 (1986) 446.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import Machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.bixel_blocks import BixelBlocks, choose_blocks, make_blocks
from DoseEngineLib.photon.bixel_responses import (
    END_SIGMAS,
    PRIMARY_LANES,
    fill_reach2,
    fill_values,
    focal_blur2,
    phi,
    phi_table,
    primary_lanes,
    sources,
)
from DoseEngineLib.photon.modulated_fluence import jaw_factors
from DoseEngineLib.photon.pencil_terms import (
    LEAST_DENSITY,
    TABLE_STEP_MM,
    depth_on_rays,
    depth_table,
    fan_rays,
    grid_to_beam,
    live_depths,
    softening_ratio,
    upstream_density,
    upstream_reach_mm,
)
from DoseEngineLib.photon.raytrace import between, trace_depth_fan
from DoseEngineLib.photon.water_dose import dose_kernel, photons_per_cm2_per_MU
from DoseEngineLib.progress import Progress, part

# Blocks of the largest size that give less than this share of the cut-off are dropped.
_DROPPED_SHARE = 0.02
# Voxels a parallel task: fixed, so that results do not depend on the number of threads.
_TASK = 256
# Parts a thread, for all to end at about the same time.
_PARTS = 8
_SAMPLED_ROWS = 1000
# Steps of a sequence that fills the unit interval evenly along i, j, k (powers of the root of x^4 = x + 1).
_PATTERN = np.array([0.8191725133961645, 0.6710436067037893, 0.5497004779019703])
_BYTES_AN_ENTRY = 8
_GB = 1e9


@dataclass(frozen=True, eq=False)
class _Terms:
    """What the kernel's Gaussians of a beam are at every voxel."""

    place: np.ndarray  # (v, 3) float32 u, v at the isocentre plane; distance from the source along the axis
    amplitude: np.ndarray  # (v, lanes) float32, Gy a MU: primary, lateral integral over the isocentre plane
    variance: np.ndarray  # (v, lanes) float32, mm2, without the blur by a source
    radius2: np.ndarray  # (v, levels + 1) float32: see `choose_blocks`
    counts: np.ndarray  # (tasks, bixels) int32 entries
    source: tuple  # see `sources`


def pencil_influence(
    patient: Patient,
    beams: Sequence[BixelBeam],
    machines: Sequence[Machine],
    patient_position: str,
    grid: Grid,
    voxels: np.ndarray,
    cutoff: float,
    max_memory_GB: float,
    progress: Progress | None = None,
) -> tuple[sparse.csc_array, dict, dict]:
    """Compute the matrix.

    Parameters
    ----------
    voxels : (v,) int64 array
        Flat indices into the grid, ascending.
    cutoff : float
        Relative to the largest entry of each beam: blocks of bixels that together give less are gathered. 0: every
        entry is computed and kept.

    Returns
    -------
    matrix : (v, bixels) csc_array
        float32, Gy in one fraction for a MU of open fluence.
    cutoff_error : dict
        See `measure_cutoff`.
    cost : dict
        Entries, memory and seconds of each stage.

    Raises
    ------
    EngineError
        A cut-off out of 0..0.1, or a matrix that would not fit in ``max_memory_GB``.
    """
    if not 0.0 <= cutoff <= 0.1:
        raise EngineError(f"The cut-off must lie in 0..0.1 of the largest entry; got {cutoff}.")
    report = part(progress, 0.0, 1.0)
    bixels = sum(beam.size for beam in beams)
    lattices = [make_blocks(beam, machine) for beam, machine in zip(beams, machines, strict=True)]
    working_GB = sum(
        voxels.size * (3 + 2 * PRIMARY_LANES + lattice.levels + 1) * 4 + voxels.size / _TASK * beam.size * 12
        for beam, lattice in zip(beams, lattices, strict=True)
    ) / _GB + _fan_GB(patient)
    # where the entries of a task are chosen, computed and sorted
    a_task = _TASK * max(beam.size for beam in beams) * (_BYTES_AN_ENTRY + 12)
    working_GB += _PARTS * numba.get_num_threads() * a_task / _GB
    size = f"{voxels.size / 1e3:,.0f} thousand voxels and {bixels:,} bixels of {len(beams)} beams"
    if working_GB > max_memory_GB:
        raise EngineError(_too_large(size, working_GB, max_memory_GB))
    clock = [time.perf_counter()]
    pattern = _pattern(voxels, grid)
    table = phi_table()
    terms = []
    memory = None
    for number, (beam, machine, lattice) in enumerate(zip(beams, machines, lattices, strict=True)):
        report(0.5 * number / len(beams), f"Dose influence: rays of {beam.name}")
        fan = trace_depth_fan(patient, beam.frame(patient_position), machine.sad_mm, memory)
        memory = fan.depth_mm if memory is None or fan.depth_mm.size > memory.size else memory
        terms.append(_beam_terms(fan, beam, machine, patient_position, grid, voxels, lattice, cutoff, pattern, table))
    del fan, memory
    clock.append(time.perf_counter())
    # the entries are counted, not guessed, before any is computed
    entries = sum(int(term.counts.sum(dtype=np.int64)) for term in terms)
    need_GB = working_GB + entries * _BYTES_AN_ENTRY / _GB
    if need_GB > max_memory_GB or entries >= 2**31:
        raise EngineError(_too_large(f"{size}, {entries / 1e6:,.0f} million entries,", need_GB, max_memory_GB))
    counts = np.concatenate([term.counts.sum(axis=0, dtype=np.int64) for term in terms])
    indptr = np.zeros(bixels + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    data = np.empty(entries, np.float32)
    indices = np.empty(entries, np.int32)
    start = 0
    for number, (beam, lattice, term) in enumerate(zip(beams, lattices, terms, strict=True)):
        report(0.5 + 0.45 * number / len(beams), f"Dose influence: bixels of {beam.name}")
        begin = indptr[start : start + beam.size] + np.cumsum(term.counts, axis=0, dtype=np.int64) - term.counts
        _fill(
            data, indices, begin, term.counts, *_inputs(term), pattern, lattice.off_axis, lattice.choice(),
            lattice.axes(), lattice.blocks(), _PARTS * numba.get_num_threads(),
        )  # fmt: skip
        start += beam.size
    matrix = sparse.csc_array((data, indices, indptr.astype(np.int32)), shape=(voxels.size, bixels), copy=False)
    # as computed: ascending in every column, no voxel twice
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    clock.append(time.perf_counter())
    report(0.95, "Dose influence: error of the cut-off")
    error = measure_cutoff(terms, lattices, pattern, cutoff)
    clock.append(time.perf_counter())
    report(1.0, "Dose influence: done")
    seconds = np.diff(clock).round(4).tolist()
    cost = {
        "entries": entries,
        "entries_a_voxel_and_beam": round(entries / (voxels.size * len(beams)), 2),
        "matrix_GB": round(entries * _BYTES_AN_ENTRY / _GB, 4),
        "needed_GB": round(need_GB, 4),
        "seconds": dict(zip(("rays_and_counts", "entries", "cutoff_error"), seconds, strict=True)),
    }
    return matrix, error, cost


def _too_large(size: str, need_GB: float, max_memory_GB: float) -> str:
    return (
        f"A dose influence of {size} needs about {need_GB:.1f} GB, more than the {max_memory_GB:g} GB allowed (or 2^31 "
        "entries); use a coarser grid or wider bixels, name structures and sample the normal tissue, raise the "
        "cut-off, or raise max_memory_GB."
    )


def _fan_GB(patient: Patient) -> float:
    """About what the ray fan of one beam takes: rays 2 mm apart, samples 1.25 mm apart, over the body's diagonal."""
    return float(np.linalg.norm(np.ptp(patient.body_grid.corners_RAS_mm, axis=0))) ** 3 / 5.0 * 4 / _GB / 2


def _pattern(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    k, j, i = np.unravel_index(voxels, grid.shape)
    return np.modf(i * _PATTERN[0] + j * _PATTERN[1] + k * _PATTERN[2])[0]


def _inputs(term: _Terms) -> tuple:
    return term.place, term.amplitude, term.variance, term.radius2, term.source


def _beam_terms(fan, beam, machine, patient_position, grid, voxels, lattice, cutoff, pattern, table) -> _Terms:
    frame = beam.frame(patient_position)
    kernel = dose_kernel(machine)
    monitor, seen_past_jaws = jaw_factors(beam, machine)
    lanes = primary_lanes(kernel.sigma_mm, lattice.pitch, f"Beam {beam.name}")
    source = sources(machine, kernel.sigma_mm, lanes, seen_past_jaws)
    place = np.empty((voxels.size, 3), np.float32)
    amplitude = np.empty((voxels.size, PRIMARY_LANES), np.float32)
    variance = np.empty((voxels.size, PRIMARY_LANES), np.float32)
    peak = np.empty(voxels.size, np.float32)
    sides = np.stack((lattice.first, lattice.first + lattice.used[0, ::-1] * lattice.pitch))
    depths = depth_table(kernel)
    of_lanes = np.zeros((depths.shape[0], PRIMARY_LANES), np.float32)
    of_lanes[:, lanes] = depths
    of_beam = (
        of_lanes, live_depths(depths), kernel.sigma_mm, upstream_reach_mm(kernel.sigma_mm), lanes,
        np.array(machine.softening, dtype=float), photons_per_cm2_per_MU(machine) * monitor, lattice.pitch, sides,
        table,
    )  # fmt: skip
    # the largest entry of a beam lies under it; where no voxel does, any counts
    for within in (sides, np.array([[-np.inf, -np.inf], [np.inf, np.inf]])):
        _terms(
            place, amplitude, variance, peak, voxels, grid.shape[1], grid.shape[2], grid_to_beam(grid, frame),
            (fan.depth_mm, fan.first, fan.step), within, source, of_beam,
        )  # fmt: skip
        largest = float(peak.max())
        if largest >= 0.0:
            break
    levels = lattice.levels
    # blocks of the largest size are dropped where they give less than a share of the cut-off
    below = np.append(np.arange(levels) * math.log(4.0), (levels - 1) * math.log(4.0) - math.log(_DROPPED_SHARE))
    radius2 = np.empty((voxels.size, levels + 1), np.float32)
    counts = np.zeros((-(-voxels.size // _TASK), beam.size), np.int32)
    _count(
        counts, radius2, place, amplitude, variance, pattern, cutoff * largest, below.astype(np.float32), source,
        lattice.pitch, lattice.choice(), _PARTS * numba.get_num_threads(),
    )  # fmt: skip
    return _Terms(place, amplitude, variance, radius2, counts, source)


@numba.njit(cache=True, inline="always")
def _spread_tasks(number, tasks):
    """The task to do as the n-th, so that each thread gets its share of voxels under the beam."""
    half = (tasks + 1) // 2
    return 2 * number if number < half else 2 * (number - half) + 1


@numba.njit(cache=True, nogil=True, parallel=True)
def _terms(place, amplitude, variance, peak, voxels, nj, ni, to_beam, fan, within, source, beam):
    tasks = (voxels.size + _TASK - 1) // _TASK
    for number in numba.prange(tasks):
        task = _spread_tasks(number, tasks)
        these = (task * _TASK, min((task + 1) * _TASK, voxels.size))
        _fill_terms(place, amplitude, variance, peak, these, voxels, nj, ni, to_beam, fan, within, source, beam)


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _fill_terms(place, amplitude, variance, peak, these, voxels, nj, ni, to_beam, fan, within, source, beam):
    """Gaussians of some voxels from a `DepthFan`, the largest entry of each; -1 where not under the beam."""
    depth, first, step = fan
    flat = depth.reshape(depth.size)
    planes, ray_row, planes_a_mm = np.uint64(depth.shape[2]), np.uint64(depth.shape[1] * depth.shape[2]), 1.0 / step[2]
    depths, live, kernel_sigma, reaches, lanes, softening, photons, pitch, sides, table = beam
    sad, primary_weight = source[0], source[3]
    sigmas = np.zeros(PRIMARY_LANES, np.float32)
    for n in range(kernel_sigma.size):
        sigmas[lanes[n]] = kernel_sigma[n]
    # over the mean density upstream
    widening = np.ones(PRIMARY_LANES, np.float32)
    for p in range(np.uint64(these[0]), np.uint64(these[1])):
        k = voxels[p] // (nj * ni)
        rest = voxels[p] - k * nj * ni
        j = rest // ni
        i = rest - j * ni
        x = to_beam[0, 0] * i + to_beam[0, 1] * j + to_beam[0, 2] * k + to_beam[0, 3]
        y = to_beam[1, 0] * i + to_beam[1, 1] * j + to_beam[1, 2] * k + to_beam[1, 3]
        z = to_beam[2, 0] * i + to_beam[2, 1] * j + to_beam[2, 2] * k + to_beam[2, 3]
        distance = sad - z
        scale = sad / distance
        u, v = x * scale, y * scale
        place[p, 0], place[p, 1], place[p, 2] = u, v, distance
        start, here, right, below, both = fan_rays(u, v, first, step, depth.shape)
        plane = (distance - first[2]) * planes_a_mm
        depth_here = depth_on_rays(flat, planes, ray_row, start, here, right, below, both, plane)
        d = min(depth_here * softening_ratio(softening, u, v, sad) / TABLE_STEP_MM, depths.shape[0] - 1.000001)
        at = np.uint64(d)
        under = within[0, 0] <= u <= within[1, 0] and within[0, 1] <= v <= within[1, 1]
        peak[p] = 0.0 if under else -1.0
        if not live[at]:
            for n in range(np.uint64(PRIMARY_LANES)):
                amplitude[p, n] = 0.0
                variance[p, n] = 1.0
            continue
        # a Gaussian that the thinnest medium does not bring to the field need not be looked after
        away = max(max(sides[0, 0] - u, u - sides[1, 0]), max(sides[0, 1] - v, v - sides[1, 1]), 0.0)
        least_sigma = away / scale * LEAST_DENSITY / END_SIGMAS
        reach, upstream = -1.0, 1.0
        widening[:] = 1.0
        for n in range(np.uint64(kernel_sigma.size)):
            lane = np.uint64(lanes[n])
            if depths[at + np.uint64(1), lane] + depths[at, lane] == 0.0 or kernel_sigma[n] < least_sigma:
                continue
            reach_here = reaches[n] if reaches[n] < depth_here else depth_here
            if reach_here != reach:
                reach = reach_here
                upstream = upstream_density(
                    reach, depth_here, flat, planes, ray_row, start, here, right, below, both, plane, planes_a_mm
                )
            widening[lane] = upstream
        share, primary = np.float32(d - at), np.float32(photons * primary_weight * scale * scale)
        scale_here = np.float32(scale)
        for n in range(np.uint64(PRIMARY_LANES)):
            sigma = sigmas[n] * scale_here / widening[n]
            amplitude[p, n] = between(depths[at, n], depths[at + np.uint64(1), n], share) * primary
            variance[p, n] = sigma * sigma
        if under:
            blur2 = focal_blur2(source, distance) + 1e-12
            highest = 0.0
            for n in range(np.uint64(PRIMARY_LANES)):
                lit = 2.0 * phi(table, 0.5 * pitch / math.sqrt(variance[p, n] + blur2)) - 1.0
                highest += amplitude[p, n] * lit * lit
            peak[p] = highest


@numba.njit(cache=True, nogil=True, parallel=True)
def _count(counts, radius2, place, amplitude, variance, pattern, limit, below, source, pitch, choice, parts):
    tasks, bixels = counts.shape
    for number in numba.prange(parts):
        bixel, block = np.empty(_TASK * bixels, np.int32), np.empty(_TASK * bixels, np.int32)
        ends = np.empty(_TASK, np.int64)
        for task in range(number, tasks, parts):
            voxels = (task * _TASK, min((task + 1) * _TASK, place.shape[0]))
            fill_reach2(radius2, voxels, place, amplitude, variance, below, limit, source, pitch)
            choose_blocks(bixel, block, ends, voxels, place, radius2, pattern, choice)
            here = counts[task]
            for e in range(np.uint64(ends[voxels[1] - voxels[0] - 1])):
                here[np.uint64(bixel[e])] += np.int32(1)


@numba.njit(cache=True, nogil=True, parallel=True)
def _fill(
    data, indices, begin, counts, place, amplitude, variance, radius2, source, pattern, off_axis, choice, axes,
    blocks, parts,
):  # fmt: skip
    tasks, bixels = begin.shape
    data_bits = data.view(np.uint32)
    most = 0
    for task in range(tasks):
        most = max(most, counts[task].sum())
    # memory that is new to the process costs more than filling it: each part uses its own again for all its tasks
    sorted_entries = np.empty((parts, most), np.uint64)
    for number in numba.prange(parts):
        bixel, block = np.empty(most, np.int32), np.empty(most, np.int32)
        ends, to = np.empty(_TASK, np.int64), np.empty(bixels, np.uint32)
        values = np.empty(most, np.float32)
        bits = values.view(np.uint32)
        # entries are sorted by bixel here first: all columns at once would be out of reach of the fastest memory
        in_order = sorted_entries[number]
        for task in range(number, tasks, parts):
            voxels = (task * _TASK, min((task + 1) * _TASK, place.shape[0]))
            choose_blocks(bixel, block, ends, voxels, place, radius2, pattern, choice)
            fill_values(values, bixel, block, ends, voxels, place, amplitude, variance, source, axes, blocks, off_axis)
            filled = np.uint32(0)
            for b in range(np.uint64(bixels)):
                to[b] = filled
                filled += np.uint32(counts[task, b])
            begin_of_voxel = np.uint64(0)
            for p in range(np.uint64(voxels[0]), np.uint64(voxels[1])):
                end_of_voxel = np.uint64(ends[p - np.uint64(voxels[0])])
                for n in range(begin_of_voxel, end_of_voxel):
                    b = np.uint64(bixel[n])
                    at = to[b]
                    # a value and its voxel in one word
                    in_order[np.uint64(at)] = (p << np.uint64(32)) | np.uint64(bits[n])
                    to[b] = at + np.uint32(1)
                begin_of_voxel = end_of_voxel
            at = np.uint64(0)
            for b in range(np.uint64(bixels)):
                there, number_here = np.uint64(begin[task, b]), np.uint64(counts[task, b])
                for n in range(number_here):
                    entry = in_order[at + n]
                    data_bits[there + n] = np.uint32(entry)
                    indices[there + n] = np.int32(entry >> np.uint64(32))
                at += number_here


def measure_cutoff(
    terms: Sequence[_Terms],
    lattices: Sequence[BixelBlocks],
    pattern: np.ndarray,
    cutoff: float,
) -> dict:
    """What the cut-off does, measured on a sample of the voxels against all entries of all bixels.

    Returns
    -------
    dict
        ``cutoff``; ``sampled_voxels``; for unit weights ``dropped_share`` (of the summed dose), ``largest_local_error``
        and ``rms_local_error`` (of the largest dose in the sample); for weights drawn evenly from 0 to 2, bixel by
        bixel, which no fluence a leaf can make exceeds in roughness: ``rough_largest_local_error``,
        ``rough_rms_local_error``.
    """
    voxels = pattern.size
    sample = np.unique(np.linspace(0, voxels - 1, min(_SAMPLED_ROWS, voxels)).astype(np.int64))
    sums = np.zeros((sample.size, 4))
    rng = np.random.default_rng(1)
    for term, lattice in zip(terms, lattices, strict=True):
        rough = rng.uniform(0.0, 2.0, lattice.off_axis.size).astype(np.float32)
        parts = [part[sample] for part in (term.place, term.amplitude, term.variance, term.radius2, pattern)]
        # all entries: nothing ever gathered
        for column, radius2 in ((1, parts[3]), (0, np.where(parts[3] < 0.0, np.float32(-1.0), np.float32(np.inf)))):
            _sum_rows(
                sums[:, column], sums[:, column + 2], rough, *parts[:3], radius2, term.source, parts[4],
                lattice.off_axis, lattice.choice(), lattice.axes(), lattice.blocks(),
            )  # fmt: skip
    exact, kept, rough_exact, rough_kept = sums.T
    largest, rough_largest = exact.max(), rough_exact.max()
    if not largest > 0:
        raise EngineError("No bixel gives any dose to the chosen voxels; check isocentre, target and structures.")
    return {
        "cutoff": float(cutoff),
        "sampled_voxels": int(sample.size),
        "dropped_share": float(1.0 - kept.sum() / exact.sum()),
        "largest_local_error": float(np.abs(kept - exact).max() / largest),
        "rms_local_error": float(np.sqrt(((kept - exact) ** 2).mean()) / largest),
        "rough_largest_local_error": float(np.abs(rough_kept - rough_exact).max() / rough_largest),
        "rough_rms_local_error": float(np.sqrt(((rough_kept - rough_exact) ** 2).mean()) / rough_largest),
    }


@numba.njit(cache=True, nogil=True, parallel=True)
def _sum_rows(
    ones, weighted, weights, place, amplitude, variance, radius2, source, pattern, off_axis, choice, axes, blocks
):  # fmt: skip
    """Add the sum of every row, and that weighted bixel by bixel."""
    bixels = off_axis.size
    a_task = 16
    for task in numba.prange((ones.size + a_task - 1) // a_task):
        voxels = (task * a_task, min((task + 1) * a_task, ones.size))
        bixel, block = np.empty(a_task * bixels, np.int32), np.empty(a_task * bixels, np.int32)
        values, ends = np.empty(a_task * bixels, np.float32), np.empty(a_task, np.int64)
        choose_blocks(bixel, block, ends, voxels, place, radius2, pattern, choice)
        fill_values(values, bixel, block, ends, voxels, place, amplitude, variance, source, axes, blocks, off_axis)
        e = 0
        for p in range(voxels[0], voxels[1]):
            for n in range(e, ends[p - voxels[0]]):
                ones[p] += values[n]
                weighted[p] += values[n] * weights[bixel[n]]
            e = ends[p - voxels[0]]
