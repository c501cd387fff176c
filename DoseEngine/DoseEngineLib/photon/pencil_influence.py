"""Dose influence of the photon pencil beam: the forward engine's dose of every bixel, sparse.

A pencil kernel is a sum of Gaussians, so a square bixel's dose at a voxel is a sum over Gaussians of a product of two
one-dimensional responses. For each voxel these are computed once for all columns and all rows of the lattice; an entry
is then a short dot product.

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
from scipy.special import ndtr

from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import Machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.fluence import off_axis_ratio
from DoseEngineLib.photon.lanes import LANES, add_lanes, dot_lanes
from DoseEngineLib.photon.modulated_fluence import extra_focal_view, jaw_factors, opening_distance_mm
from DoseEngineLib.photon.pencil_terms import (
    TABLE_STEP_MM,
    depth_table,
    fan_ray,
    grid_to_beam,
    live_depths,
    ray_depth,
    ray_upstream_density,
    softening_ratio,
    upstream_reach,
)
from DoseEngineLib.photon.raytrace import trace_depth_fan
from DoseEngineLib.photon.water_dose import dose_kernel, photons_per_cm2_per_MU
from DoseEngineLib.progress import Progress, part

# Lanes of Gaussians: narrow ones, wide ones, and those lit by the extra-focal source. Their numbers are fixed, so that
# loops over them become vector instructions.
_NARROW = LANES
_WIDE = LANES
_EXTRA = LANES
_PRIMARY = _NARROW + _WIDE
_MOST_GAUSSIANS = 12
_LANES = _PRIMARY + _EXTRA
# A Gaussian this many bixels wide is constant enough over a bixel to be taken as a Gaussian a little wider: its fourth
# cumulant is then wrong by less than 0.02 % of its peak. Narrower ones are integrated over the bixel.
_WIDE_BIXELS = 1.73
# Kernel Gaussians up to this width count as one under the much wider blur of the extra-focal source.
_JOINED_MM = 10.0
# Narrow Gaussians end here, in standard deviations.
_END_SIGMAS = 4.5
# Blocks of at most 2^4 = 16 bixels a side.
_MOST_LEVELS = 4
# Blocks of the largest size that give less than this share of the cut-off are dropped.
_DROPPED_SHARE = 0.02
# Voxels a parallel task: fixed, so that results do not depend on the number of threads.
_TASK = 256
# Parts a thread, for all to end at about the same time.
_PARTS = 8
_SAMPLED_ROWS = 1000
# Steps of a sequence that fills the unit interval evenly along i, j, k (powers of the root of x^4 = x + 1).
_PATTERN = np.array([0.8191725133961645, 0.6710436067037893, 0.5497004779019703])
_PHI_STEP = 1.0 / 256
_PHI_END = 6.0
_BYTES_AN_ENTRY = 8
_GB = 1e9


@dataclass(frozen=True, eq=False)
class _Lattice:
    """The bixels of a beam on their lattice, and the tree of blocks over them; flat arrays for the kernels.

    Level 0 holds single places of the lattice, each next level blocks of 2 x 2 of the level below.
    """

    first: np.ndarray  # (2,) x, y of the lattice's lower corner, mm
    pitch: float
    shape: np.ndarray  # (levels, 2) blocks along y, x
    node_start: np.ndarray  # (levels,) first node of each level
    column_start: np.ndarray  # (levels,) first column response of each level
    row_start: np.ndarray
    count: np.ndarray  # (nodes,) bixels in each block
    member_start: np.ndarray
    member: np.ndarray  # bixels of each block
    phase: np.ndarray  # (nodes,) where in the pattern a block starts
    only: np.ndarray  # (places,) int32: bixel at each place of the lattice, -1 where none is
    used: np.ndarray  # (2,) rows and columns up to the last bixel
    node_column: np.ndarray  # (nodes,) int32: column response of each block
    node_row: np.ndarray
    occupied: np.ndarray  # (nodes,) float32: bixels over places of the lattice up to its last row and column
    off_axis: np.ndarray  # (bixels,) fluence relative to the axis


def make_lattice(beam: BixelBeam, machine: Machine) -> _Lattice:
    """Lay the bixels of a beam out."""
    columns, rows = beam.columns, beam.rows
    first = np.array([columns.min(), rows.min()])
    columns, rows = columns - first[0], rows - first[1]
    across = max(columns.max(), rows.max()) + 1
    levels = int(min(max(math.ceil(math.log2(across)), 1), _MOST_LEVELS)) + 1
    top = 2 ** (levels - 1)
    shape, starts, counts, members, places, node_rows, node_columns = [], [], [], [], [], [], []
    seen_rows, seen_columns = 0, 0
    node_starts, nodes = [], 0
    filled = 0
    for level in range(levels):
        n_rows, n_columns = (-(-(int(n.max()) + 1) // top) * top >> level for n in (rows, columns))
        node = (rows >> level) * n_columns + (columns >> level)
        count = np.bincount(node, minlength=n_rows * n_columns)
        shape.append((n_rows, n_columns))
        high, wide = (
            np.clip(last.max() + 1 - (np.arange(blocks) << level), 0, 1 << level)
            for last, blocks in ((rows, n_rows), (columns, n_columns))
        )
        places.append(np.outer(high, wide).ravel())
        in_row, in_column = np.divmod(np.arange(count.size), n_columns)
        node_rows.append(seen_rows + in_row)
        node_columns.append(seen_columns + in_column)
        seen_rows += n_rows
        seen_columns += n_columns
        node_starts.append(nodes)
        nodes += count.size
        counts.append(count)
        starts.append(filled + np.cumsum(count) - count)
        members.append(np.argsort(node, kind="stable"))
        filled += node.size
    shape = np.array(shape, np.int64)
    x = beam.x_mm[:, None] + (np.arange(5) - 2) / 5 * beam.width_mm
    y = beam.y_mm[:, None] + (np.arange(5) - 2) / 5 * beam.width_mm
    radius = np.hypot(x[:, None, :], y[:, :, None])
    lit = (off_axis_ratio(machine, radius) * (radius <= machine.field_radius_mm)).mean(axis=(1, 2))
    return _Lattice(
        first=np.array(beam.lattice_mm) + first * beam.width_mm,
        pitch=beam.width_mm,
        shape=shape,
        node_start=np.array(node_starts, np.int64),
        column_start=np.cumsum(shape[:, 1]) - shape[:, 1],
        row_start=np.cumsum(shape[:, 0]) - shape[:, 0],
        count=np.concatenate(counts).astype(np.int64),
        member_start=np.concatenate(starts).astype(np.int64),
        member=np.concatenate(members).astype(np.int64),
        phase=np.modf(np.arange(nodes) * 0.6180339887498949)[0],
        only=np.where(counts[0] > 0, members[0][np.minimum(starts[0], rows.size - 1)], -1).astype(np.int32),
        used=np.array([rows.max() + 1, columns.max() + 1], np.int64),
        node_column=np.concatenate(node_columns).astype(np.int32),
        node_row=np.concatenate(node_rows).astype(np.int32),
        occupied=(np.concatenate(counts) / np.maximum(np.concatenate(places), 1)).astype(np.float32),
        off_axis=lit.astype(np.float32),
    )


def _tree(lattice: _Lattice) -> tuple:
    return (
        lattice.first, lattice.pitch, lattice.shape, lattice.node_start, lattice.column_start, lattice.row_start,
        lattice.count, lattice.member_start, lattice.member, lattice.phase, lattice.only, lattice.used,
    )  # fmt: skip


def _nodes(lattice: _Lattice) -> tuple:
    return lattice.node_column, lattice.node_row, lattice.occupied


@dataclass(frozen=True, eq=False)
class _Terms:
    """What the kernel's Gaussians of a beam are at every voxel."""

    place: np.ndarray  # (v, 3) float32 u, v at the isocentre plane; distance from the source along the axis
    amplitude: np.ndarray  # (v, n) float32, Gy a MU: primary, lateral integral over the isocentre plane
    variance: np.ndarray  # (v, n) float32, mm2, without the blur by a source
    radius2: np.ndarray  # (v, levels + 1) float32: beyond its square root blocks of a level are gathered; last: dropped
    counts: np.ndarray  # (tasks, bixels) int32 entries
    lanes: np.ndarray  # (n,) see _primary_lanes
    head: tuple  # see _head


def _head(machine: Machine, seen_past_jaws: float) -> tuple:
    """Sources as the kernels take them."""
    kernel = dose_kernel(machine)
    extra = machine.extra_focal
    if extra is None:
        weight, distance, magnification, variance = 0.0, 0.0, 1.0, 0.0
    else:
        weight, distance = extra.weight, extra.distance_mm
        magnification, sigma = extra_focal_view(machine)
        variance = sigma**2
    return (
        float(machine.sad_mm), float(machine.source_sigma_mm), float(opening_distance_mm(machine)),
        1.0 - weight, float(weight) * seen_past_jaws, float(distance), float(magnification), float(variance),
        _lanes_of(kernel.sigma_mm > _JOINED_MM, _EXTRA, machine.name),
    )  # fmt: skip


def _lanes_of(apart: np.ndarray, lanes: int, owner: str) -> np.ndarray:
    """Lane (n,) of each Gaussian of the extra-focal source: one each for the wide, the first for all joined."""
    if np.count_nonzero(apart) + 1 > lanes:
        raise EngineError(f"{owner}: its pencil kernel has more Gaussians than the dose influence takes.")
    return np.where(apart, np.cumsum(apart), 0).astype(np.int64)


def _primary_lanes(kernel_sigma_mm: np.ndarray, pitch_mm: float, owner: str) -> np.ndarray:
    """Lane (n,) of each Gaussian lit by the focal spot: narrow ones from 0, wide ones from `_NARROW`."""
    wide = kernel_sigma_mm > _WIDE_BIXELS * pitch_mm
    if np.count_nonzero(wide) > _WIDE:
        wide &= kernel_sigma_mm >= np.sort(kernel_sigma_mm)[-_WIDE]
    if np.count_nonzero(~wide) > _NARROW:
        raise EngineError(
            f"{owner}: bixels of {pitch_mm:g} mm are too {'narrow' if wide.sum() == _WIDE else 'wide'} for its pencil "
            "kernel; choose another width."
        )
    return np.where(wide, _NARROW + np.cumsum(wide) - 1, np.cumsum(~wide) - 1).astype(np.int64)


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
    lattices = [make_lattice(beam, machine) for beam, machine in zip(beams, machines, strict=True)]
    working_GB = sum(
        voxels.size * (3 + 2 * _MOST_GAUSSIANS + lattice.shape.shape[0] + 1) * 4 + voxels.size / _TASK * beam.size * 12
        for beam, lattice in zip(beams, lattices, strict=True)
    ) / _GB + _fan_GB(patient)
    # where the entries of a task are sorted
    working_GB += _PARTS * numba.get_num_threads() * _TASK * max(beam.size for beam in beams) * _BYTES_AN_ENTRY / _GB
    size = f"{voxels.size / 1e3:,.0f} thousand voxels and {bixels:,} bixels of {len(beams)} beams"
    if working_GB > max_memory_GB:
        raise EngineError(_too_large(size, working_GB, max_memory_GB))
    clock = [time.perf_counter()]
    pattern = _pattern(voxels, grid)
    phi = _phi_table()
    terms = []
    for number, (beam, machine, lattice) in enumerate(zip(beams, machines, lattices, strict=True)):
        report(0.5 * number / len(beams), f"Dose influence: rays of {beam.name}")
        terms.append(_beam_terms(patient, beam, machine, patient_position, grid, voxels, lattice, cutoff, pattern, phi))
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
            data,
            indices,
            begin,
            term.counts,
            *_inputs(term),
            pattern,
            phi,
            lattice.off_axis,
            _tree(lattice),
            _nodes(lattice),
            _PARTS * numba.get_num_threads(),
        )
        start += beam.size
    matrix = sparse.csc_array((data, indices, indptr.astype(np.int32)), shape=(voxels.size, bixels), copy=False)
    # as computed: ascending in every column, no voxel twice
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    clock.append(time.perf_counter())
    report(0.95, "Dose influence: error of the cut-off")
    error = measure_cutoff(terms, lattices, pattern, phi, cutoff)
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


def _phi_table() -> np.ndarray:
    """Cumulative normal distribution from -6 to 6, read linearly to 2e-6."""
    return ndtr(np.arange(-_PHI_END, _PHI_END + 2 * _PHI_STEP, _PHI_STEP))


def _inputs(term: _Terms) -> tuple:
    return term.place, term.amplitude, term.variance, term.radius2, term.lanes, term.head


def _beam_terms(patient, beam, machine, patient_position, grid, voxels, lattice, cutoff, pattern, phi) -> _Terms:
    frame = beam.frame(patient_position)
    fan = trace_depth_fan(patient, frame, machine.sad_mm)
    kernel = dose_kernel(machine)
    table = depth_table(kernel)
    monitor, seen_past_jaws = jaw_factors(beam, machine)
    head = _head(machine, seen_past_jaws)
    levels = lattice.shape.shape[0]
    place = np.empty((voxels.size, 3), np.float32)
    amplitude = np.empty((voxels.size, kernel.sigma_mm.size), np.float32)
    variance = np.empty((voxels.size, kernel.sigma_mm.size), np.float32)
    peak = np.empty(voxels.size, np.float32)
    sides = np.stack((lattice.first, lattice.first + lattice.shape[0, ::-1] * lattice.pitch))
    # the largest entry of a beam lies under it; where no voxel does, any counts
    for within in (sides, np.array([[-np.inf, -np.inf], [np.inf, np.inf]])):
        _terms(
            place, amplitude, variance, peak, voxels, grid.shape[1], grid.shape[2], grid_to_beam(grid, frame),
            fan.depth_mm, fan.first, fan.step, table, live_depths(table), kernel.sigma_mm, head,
            np.array(machine.softening, dtype=float), photons_per_cm2_per_MU(machine) * monitor, lattice.pitch, phi,
            within,
        )  # fmt: skip
        largest = float(peak.max())
        if largest >= 0.0:
            break
    radius2 = np.empty((voxels.size, levels + 1), np.float32)
    counts = np.zeros((-(-voxels.size // _TASK), beam.size), np.int32)
    _count(counts, radius2, place, amplitude, variance, pattern, cutoff * largest, 2.0 * largest, head, _tree(lattice))
    lanes = _primary_lanes(kernel.sigma_mm, lattice.pitch, f"Beam {beam.name}")
    return _Terms(place, amplitude, variance, radius2, counts, lanes, head)


@numba.njit(cache=True, inline="always")
def _spread_tasks(number, tasks):
    """The task to do as the n-th, so that each thread gets its share of voxels under the beam."""
    half = (tasks + 1) // 2
    return 2 * number if number < half else 2 * (number - half) + 1


@numba.njit(cache=True, inline="always")
def _phi(table, z):
    at = (min(max(z, -_PHI_END), _PHI_END) + _PHI_END) * (1.0 / _PHI_STEP)
    low = np.uint64(at)
    share = at - low
    first = table[low]
    return first + (table[low + np.uint64(1)] - first) * share


@numba.njit(cache=True, parallel=True)
def _terms(
    place, amplitude, variance, peak, voxels, nj, ni, to_beam, depth, first, step, table, live, kernel_sigma, head,
    softening, photons, pitch, phi, within,
):  # fmt: skip
    sad, source_sigma, opening, primary_weight = head[0], head[1], head[2], head[3]
    last_depth = table.shape[0] - 1.000001
    tasks = (voxels.size + _TASK - 1) // _TASK
    for number in numba.prange(tasks):
        task = _spread_tasks(number, tasks)
        for p in range(task * _TASK, min((task + 1) * _TASK, voxels.size)):
            k = voxels[p] // (nj * ni)
            rest = voxels[p] - k * nj * ni
            j = rest // ni
            i = rest - j * ni
            x = to_beam[0, 0] * i + to_beam[0, 1] * j + to_beam[0, 2] * k + to_beam[0, 3]
            y = to_beam[1, 0] * i + to_beam[1, 1] * j + to_beam[1, 2] * k + to_beam[1, 3]
            z = to_beam[2, 0] * i + to_beam[2, 1] * j + to_beam[2, 2] * k + to_beam[2, 3]
            distance = sad - z
            scale = sad / distance
            u = x * scale
            v = y * scale
            place[p, 0] = u
            place[p, 1] = v
            place[p, 2] = distance
            # below zero: not under the beam
            under = within[0, 0] <= u <= within[1, 0] and within[0, 1] <= v <= within[1, 1]
            peak[p] = 0.0 if under else -1.0
            for n in range(kernel_sigma.size):
                amplitude[p, n] = 0.0
                variance[p, n] = 1.0
            column, row, a, b = fan_ray(depth, first, step, u, v)
            depth_here = ray_depth(depth, first, step, column, row, a, b, distance)
            d = min(depth_here * softening_ratio(softening, u, v, sad) / TABLE_STEP_MM, last_depth)
            at = int(d)
            if not live[at]:
                continue
            share = d - at
            blur = source_sigma * (distance / opening - 1.0) * scale
            primary = photons * primary_weight * scale * scale
            highest = 0.0
            reach, upstream = -1.0, 1.0
            for n in range(kernel_sigma.size):
                weight = table[at, n] * (1 - share) + table[at + 1, n] * share
                if weight == 0.0:
                    continue
                before = reach
                reach = upstream_reach(kernel_sigma[n], depth_here)
                if reach != before:
                    upstream = ray_upstream_density(reach, depth_here, depth, first, step, column, row, a, b, distance)
                sigma = kernel_sigma[n] * scale / upstream
                amplitude[p, n] = weight * primary
                variance[p, n] = sigma * sigma
                if not under:
                    continue
                lit = 2.0 * _phi(phi, 0.5 * pitch / math.sqrt(sigma * sigma + blur * blur + 1e-12)) - 1.0
                highest += weight * primary * lit * lit
            if under:
                peak[p] = highest


@numba.njit(cache=True, inline="always")
def _blur2(head, distance):
    """Variance of the focal spot's blur in the isocentre plane."""
    sad, source_sigma, opening = head[0], head[1], head[2]
    blur = source_sigma * (distance / opening - 1.0) * sad / distance
    return blur * blur


@numba.njit(cache=True, inline="always")
def _extra_ratio(head, distance):
    """Extra-focal over primary fluence of a wide field."""
    sad, primary_weight, extra_weight, source = head[0], head[3], head[4], head[5]
    spread = (sad - source) / (distance - source) * distance / sad
    return extra_weight / primary_weight * spread * spread


@numba.njit(cache=True)
def _gathering_radii(radius2, p, place, amplitude, variance, limit, highest, head, pitch):
    """Squared distances beyond which a block of each level gives a voxel less than the limit; last: is dropped."""
    levels = radius2.shape[1] - 1
    for level in range(levels + 1):
        radius2[p, level] = 0.0 if limit > 0.0 else np.inf
    if limit <= 0.0:
        return
    log4 = math.log(4.0)
    last = (levels - 1) * log4 - math.log(_DROPPED_SHARE)
    most = math.log(highest / limit)
    blur2 = _blur2(head, place[p, 2])
    ratio = _extra_ratio(head, place[p, 2])
    extra_variance, extra_lanes = head[7], head[8]
    joined = 0.0
    # from the widest down: what is narrower seldom reaches further
    for m in range(amplitude.shape[1] + 1):
        n = amplitude.shape[1] - 1 - m
        if n >= 0:
            weight = amplitude[p, n]
            square = variance[p, n] + blur2 + pitch * pitch / 12.0
            if extra_lanes[n] == 0:
                joined += weight * ratio
        else:
            weight = joined
            square = extra_variance + pitch * pitch / 12.0
        if weight <= 0.0 or 2.0 * square * most <= radius2[p, 0]:
            continue
        # twice, for the other Gaussians
        above = np.float64(math.log(np.float32(weight * pitch * pitch / (math.pi * square * limit))))
        for level in range(levels):
            reach = 2.0 * square * (above + level * log4)
            if reach > radius2[p, level]:
                radius2[p, level] = reach
        reach = 2.0 * square * (above + last)
        if reach > radius2[p, levels]:
            radius2[p, levels] = reach


@numba.njit(cache=True)
def _select(u, v, radius2, p, start, tree, away_column, away_row, waiting, bixel, node):
    """Blocks and single bixels that make up a voxel's row: who carries each, and which it is; their number.

    ``away_column``, ``away_row`` and ``waiting`` (2, n) are scratch: squared distances of columns and rows, and the
    blocks to look at on this level and the next.
    """
    first, pitch, shape, node_start, column_start, row_start, count, member_start, member, phase, only, used = tree
    top = shape.shape[0] - 1
    for level in range(1, top + 1):
        half = 0.5 * pitch * (1 << level)
        at = np.uint64(column_start[level])
        for c in range(np.uint64(((used[1] - 1) >> level) + 1)):
            d = max(abs(u - first[0] - (2 * c + 1) * half) - half, 0.0)
            away_column[at + c] = d * d
        at = np.uint64(row_start[level])
        for r in range(np.uint64(((used[0] - 1) >> level) + 1)):
            d = max(abs(v - first[1] - (2 * r + 1) * half) - half, 0.0)
            away_row[at + r] = d * d
    # unsigned indices need no look at their sign; a block's column and row are packed in one number
    one, sixteen, low16 = np.uint64(1), np.uint64(16), np.uint64(0xFFFF)
    zero = np.uint64(0)
    found = zero
    number = zero
    now, following_row = zero, one
    for r in range(np.uint64(shape[top, 0])):
        for c in range(np.uint64(shape[top, 1])):
            if count[np.uint64(node_start[top]) + r * np.uint64(shape[top, 1]) + c] > 0:
                waiting[zero, number] = (r << sixteen) | c
                number += one
    for level in range(top, 0, -1):
        gathered = radius2[p, level]
        dropped = radius2[p, top + 1] if level == top else np.float32(np.inf)
        columns, below_columns = np.uint64(shape[level, 1]), np.uint64(shape[level - 1, 1])
        at_column, at_row = np.uint64(column_start[level]), np.uint64(row_start[level])
        start_here, start_below = np.uint64(node_start[level]), np.uint64(node_start[level - 1])
        following = zero
        for w in range(number):
            packed = np.uint64(waiting[now, w])
            r, c = packed >> sixteen, packed & low16
            away = away_column[at_column + c] + away_row[at_row + r]
            if away > gathered:
                if away <= dropped:
                    here = start_here + r * columns + c
                    turn = start + phase[here]
                    pick = int((turn - int(turn)) * count[here])
                    bixel[found] = member[np.uint64(member_start[here] + pick)]
                    node[found] = here
                    found += one
                continue
            line = start_below + (r << one) * below_columns + (c << one)
            packed <<= one
            for _ in range(2):
                for across in range(np.uint64(2)):
                    # written in any case, counted where a bixel is: no branch to guess wrong
                    if level == 1:
                        carrier = only[line + across]
                        bixel[found] = carrier
                        node[found] = line + across
                        found += np.uint64(carrier >= 0)
                    else:
                        waiting[following_row, following] = packed + across
                        following += np.uint64(count[line + across] > 0)
                line += below_columns
                packed += np.uint64(0x10000)
        number = following
        now, following_row = following_row, now
    return np.int64(found)


@numba.njit(cache=True)
def _is_lit(amplitude, p):
    lit = False
    for n in range(amplitude.shape[1]):
        lit |= amplitude[p, n] > 0.0
    return lit


@numba.njit(cache=True, parallel=True)
def _count(counts, radius2, place, amplitude, variance, pattern, limit, highest, head, tree):
    tasks, bixels = counts.shape
    for number in numba.prange(tasks):
        task = _spread_tasks(number, tasks)
        waiting, bixel, node = (
            np.empty((2, bixels + 4), np.uint32),
            np.empty(bixels + 4, np.int32),
            np.empty(bixels + 4, np.int32),
        )
        away_column, away_row = np.empty(tree[2][:, 1].sum()), np.empty(tree[2][:, 0].sum())
        here_counts = counts[task]
        for p in range(task * _TASK, min((task + 1) * _TASK, place.shape[0])):
            _gathering_radii(radius2, p, place, amplitude, variance, limit, highest, head, tree[1])
            if not _is_lit(amplitude, p):
                continue
            found = _select(
                place[p, 0], place[p, 1], radius2, p, pattern[p], tree, away_column, away_row, waiting, bixel, node
            )
            for e in range(np.uint64(found)):
                here_counts[np.uint64(bixel[e])] += np.int32(1)


# exp(x) = exp(x / 16)^16 with a polynomial for exp(x / 16): vector instructions, to 1e-5 for what matters
_E1, _E2, _E3, _E4, _E5 = (np.float32(1.0 / math.factorial(n)) for n in (1, 2, 3, 4, 5))
_SIXTEENTH = np.float32(1.0 / 16.0)
_LEAST_EXPONENT = np.float32(-16.0)
_ZERO = np.float32(0.0)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_OVER_ROOT_TWO_PI = np.float32(1.0 / math.sqrt(2.0 * math.pi))
# Strips of lanes in a voxel's scratch memory: where each begins.
_STRIPS = 7
_SHIFT, _NORM, _WEIGHTED, _HALF_INVERSE, _SIGMA, _UNIT, _SPREAD = (np.uint64(n * _LANES) for n in range(_STRIPS))


@numba.njit(cache=True, fastmath={"contract"})
def _wide_responses(response, count, low, pitch, shift, norm, half_inverse):
    """Responses (places, lanes) of all wide Gaussians, and of those from the extra-focal source, along an axis."""
    for c in range(count):
        centre = np.float32(low + (c + 0.5) * pitch)
        line = response[c]
        for n in range(_NARROW, _LANES):
            x = centre - shift[n]
            y = max(-(x * x) * half_inverse[n], _LEAST_EXPONENT)
            z = y * _SIXTEENTH
            e = _E1 + z * (_E1 + z * (_E2 + z * (_E3 + z * (_E4 + z * _E5))))
            e *= e
            e *= e
            e *= e
            e *= e
            line[n] = norm[n] * e if y > _LEAST_EXPONENT else _ZERO


@numba.njit(cache=True)
def _narrow_responses(response, count, low, pitch, here, sigma, factor, phi):
    """Responses of the narrow Gaussians along an axis: differences of the cumulative distribution."""
    for c in range(np.uint64(count)):
        for n in range(np.uint64(_NARROW)):
            response[c, n] = _ZERO
    for n in range(np.uint64(_NARROW)):
        if factor[n] <= 0.0:
            continue
        over = 1.0 / np.float64(sigma[n])
        reach = _END_SIGMAS * sigma[n]
        begin = max(math.floor((here - reach - low) / pitch), 0)
        end = min(math.floor((here + reach - low) / pitch) + 1, count)
        z, step = (low + begin * pitch - here) * over, pitch * over
        below = _phi(phi, z)
        for c in range(begin, end):
            z += step
            above = _phi(phi, z)
            response[np.uint64(c), n] = np.float32(above - below) * factor[n]
            below = above


@numba.njit(cache=True)
def _join(response, starts, count, near):
    """Responses of blocks from those of the level below; ``count`` places of the lattice are used."""
    for level in range(1, starts.size):
        below, at = starts[level - 1], starts[level]
        count = (count + 1) // 2
        for c in range(count):
            one = below + 2 * c
            if near:
                add_lanes(response, at + c, one, one + 1, 0)
            add_lanes(response, at + c, one, one + 1, 1)
            add_lanes(response, at + c, one, one + 1, 2)


@numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _gaussians(scratch, pitch):
    """From the variances of all lanes what their responses are computed with; strips of one array (see `_STRIPS`)."""
    for n in range(np.uint64(_LANES)):
        variance = scratch[_SPREAD + n]
        sigma = np.sqrt(variance)
        norm = pitch * _OVER_ROOT_TWO_PI / sigma
        scratch[_SIGMA + n] = sigma
        scratch[_NORM + n] = norm
        scratch[_HALF_INVERSE + n] = _HALF / variance
        # narrow Gaussians are integrated: nothing to norm
        scratch[_WEIGHTED + n] *= norm if n >= np.uint64(_NARROW) else _ONE


@numba.njit(cache=True)
def _voxel_responses(columns, rows, scratch, p, place, amplitude, variance, lanes, head, tree, used, phi):
    """Fill the responses of lattice and blocks along both axes for a voxel; tell whether narrow Gaussians reach it."""
    first, pitch, column_start, row_start = tree[0], tree[1], tree[4], tree[5]
    shift, norm, weighted, half_inverse, sigma, unit, spread = (
        scratch[_SHIFT : _SHIFT + _LANES], scratch[_NORM : _NORM + _LANES],
        scratch[_WEIGHTED : _WEIGHTED + _LANES], scratch[_HALF_INVERSE : _HALF_INVERSE + _LANES],
        scratch[_SIGMA : _SIGMA + _LANES], scratch[_UNIT : _UNIT + _LANES], scratch[_SPREAD : _SPREAD + _LANES],
    )  # fmt: skip
    magnification, extra_variance, extra_lanes = head[6], head[7], head[8]
    u, v = place[p, 0], place[p, 1]
    blur2 = _blur2(head, place[p, 2])
    ratio = _extra_ratio(head, place[p, 2])
    # lanes without a Gaussian weigh nothing
    weighted[:] = _ZERO
    unit[:] = _ZERO
    spread[:] = np.float32(1.0)
    widest = 0.0
    together, moment = 0.0, 0.0
    twelfth = pitch * pitch / 12.0
    less = 1.0 / (magnification * magnification)
    for n in range(np.uint64(amplitude.shape[1])):
        weight = amplitude[p, n]
        if weight <= 0.0:
            continue
        square = np.float64(variance[p, n])
        lane = np.uint64(lanes[n])
        weighted[lane] = weight
        if lane < _NARROW:
            spread[lane] = square + blur2 + 1e-9
            unit[lane] = 1.0
            widest = max(widest, square + blur2)
        else:
            spread[lane] = square + blur2 + twelfth
        if extra_lanes[n] == 0:
            together += weight
            moment += weight * square
        else:
            lane = np.uint64(_PRIMARY + extra_lanes[n])
            spread[lane] = (square + extra_variance) * less + twelfth
            weighted[lane] = weight * ratio
    if together > 0.0:
        spread[_PRIMARY] = (moment / together + extra_variance) * less + twelfth
        weighted[_PRIMARY] = together * ratio
    _gaussians(scratch, np.float32(pitch))
    reach = _END_SIGMAS * math.sqrt(widest)
    near = (
        u > first[0] - reach
        and u < first[0] + used[1] * pitch + reach
        and v > first[1] - reach
        and v < first[1] + used[0] * pitch + reach
    )
    for n in range(_LANES):
        shift[n] = u if n < _PRIMARY else u / magnification
    _wide_responses(columns, used[1], first[0], pitch, shift, norm, half_inverse)
    for n in range(_LANES):
        shift[n] = v if n < _PRIMARY else v / magnification
    _wide_responses(rows, used[0], first[1], pitch, shift, weighted, half_inverse)
    if near:
        _narrow_responses(columns, used[1], first[0], pitch, u, sigma, unit, phi)
        _narrow_responses(rows, used[0], first[1], pitch, v, sigma, weighted, phi)
    _join(columns, column_start, used[1], near)
    _join(rows, row_start, used[0], near)
    return near


@numba.njit(cache=True, inline="always")
def _near_entry(columns, rows, c, r, off_axis):
    primary = dot_lanes(columns, c, rows, r, 0) + dot_lanes(columns, c, rows, r, 1)
    return primary * off_axis + dot_lanes(columns, c, rows, r, 2)


@numba.njit(cache=True, inline="always")
def _far_entry(columns, rows, c, r, off_axis):
    return dot_lanes(columns, c, rows, r, 1) * off_axis + dot_lanes(columns, c, rows, r, 2)


@numba.njit(cache=True, parallel=True)
def _fill(
    data, indices, begin, counts, place, amplitude, variance, radius2, lanes, head, pattern, phi, off_axis, tree, nodes,
    parts,
):  # fmt: skip
    tasks, bixels = begin.shape
    shape = tree[2]
    node_column, node_row, occupied = nodes
    used = tree[11]
    most = 0
    for task in range(tasks):
        most = max(most, counts[task].sum())
    # memory that is new to the process costs more than filling it: each part uses its own again for all its tasks
    sorted_values = np.empty((parts, most), np.float32)
    sorted_voxels = np.empty((parts, most), np.int32)
    next_place = np.empty((parts, bixels), np.int64)
    for number in numba.prange(parts):
        waiting, bixel, node = (
            np.empty((2, bixels + 4), np.uint32),
            np.empty(bixels + 4, np.int32),
            np.empty(bixels + 4, np.int32),
        )
        away_column, away_row = np.empty(tree[2][:, 1].sum()), np.empty(tree[2][:, 0].sum())
        # places that round the lattice up to whole blocks stay zero
        columns = np.zeros((shape[:, 1].sum(), _LANES), np.float32)
        rows = np.zeros((shape[:, 0].sum(), _LANES), np.float32)
        scratch = np.empty(_STRIPS * _LANES, np.float32)
        # entries are sorted by bixel here first: all columns at once would be out of reach of the fastest memory
        values, voxels, to = sorted_values[number], sorted_voxels[number], next_place[number]
        for task in range(number, tasks, parts):
            filled = 0
            for b in range(bixels):
                to[b] = filled
                filled += counts[task, b]
            for p in range(task * _TASK, min((task + 1) * _TASK, place.shape[0])):
                if not _is_lit(amplitude, p):
                    continue
                found = _select(
                    place[p, 0], place[p, 1], radius2, p, pattern[p], tree, away_column, away_row, waiting, bixel, node
                )
                if found == 0:
                    continue
                near = _voxel_responses(
                    columns, rows, scratch, p, place, amplitude, variance, lanes, head, tree, used, phi
                )
                for e in range(np.uint64(found)):
                    b, here = np.uint64(bixel[e]), np.uint64(node[e])
                    if near:
                        value = _near_entry(columns, rows, node_column[here], node_row[here], off_axis[b])
                    else:
                        value = _far_entry(columns, rows, node_column[here], node_row[here], off_axis[b])
                    at = np.uint64(to[b])
                    values[at] = value * occupied[here]
                    voxels[at] = p
                    to[b] += 1
            at = np.uint64(0)
            for b in range(bixels):
                there, number_here = np.uint64(begin[task, b]), np.uint64(counts[task, b])
                for e in range(number_here):
                    data[there + e] = values[at + e]
                    indices[there + e] = voxels[at + e]
                at += number_here


def measure_cutoff(
    terms: Sequence[_Terms],
    lattices: Sequence[_Lattice],
    pattern: np.ndarray,
    phi: np.ndarray,
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
        _measure(sums, sample, rough, *_inputs(term), pattern, phi, lattice.off_axis, _tree(lattice), _nodes(lattice))
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


@numba.njit(cache=True, parallel=True)
def _measure(
    sums, sample, rough, place, amplitude, variance, radius2, lanes, head, pattern, phi, off_axis, tree, nodes
):  # fmt: skip
    shape, count, member_start, member = tree[2], tree[6], tree[7], tree[8]
    node_column, node_row, occupied = nodes
    bixels = off_axis.size
    used = tree[11]
    tasks = (sample.size + 15) // 16
    for number in numba.prange(tasks):
        task = _spread_tasks(number, tasks)
        waiting, bixel, node = (
            np.empty((2, bixels + 4), np.uint32),
            np.empty(bixels + 4, np.int32),
            np.empty(bixels + 4, np.int32),
        )
        away_column, away_row = np.empty(tree[2][:, 1].sum()), np.empty(tree[2][:, 0].sum())
        columns = np.zeros((shape[:, 1].sum(), _LANES), np.float32)
        rows = np.zeros((shape[:, 0].sum(), _LANES), np.float32)
        scratch = np.empty(_STRIPS * _LANES, np.float32)
        for s in range(task * 16, min(task * 16 + 16, sample.size)):
            p = sample[s]
            if not _is_lit(amplitude, p):
                continue
            found = _select(
                place[p, 0], place[p, 1], radius2, p, pattern[p], tree, away_column, away_row, waiting, bixel, node
            )
            near = _voxel_responses(columns, rows, scratch, p, place, amplitude, variance, lanes, head, tree, used, phi)
            for e in range(found):
                b, here = bixel[e], node[e]
                if near:
                    value = occupied[here] * _near_entry(columns, rows, node_column[here], node_row[here], off_axis[b])
                else:
                    value = occupied[here] * _far_entry(columns, rows, node_column[here], node_row[here], off_axis[b])
                sums[s, 1] += value
                sums[s, 3] += value * rough[b]
            for r in range(used[0]):
                for c in range(used[1]):
                    here = r * shape[0, 1] + c
                    if count[here] == 0:
                        continue
                    b = member[member_start[here]]
                    if near:
                        value = _near_entry(columns, rows, c, r, off_axis[b])
                    else:
                        value = _far_entry(columns, rows, c, r, off_axis[b])
                    sums[s, 0] += value
                    sums[s, 2] += value * rough[b]
