"""Photon pencil-beam engine: Gaussian-mixture pencil kernels on the diverging fluence, by radiological depth.

The aperture's fluence is blurred once by Gaussians of many widths (`scale_space`). The dose at a point is then

    D = fluence/MU * (SAD / distance)^2 * sum_j weights_j(depth) * [fluence blurred by sigma_j * SAD / distance](u, v)

with (u, v) the point's projection onto the isocentre plane, distance along the beam axis from the source and the
radiological depth along the ray. Source size adds its own blur in quadrature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numba
import numpy as np
from scipy.special import ndtr

from DoseEngineLib.engine_option import EngineOption
from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.influence import BixelBeam, DoseInfluence, beams_hash, patient_hash
from DoseEngineLib.influence_voxels import influence_voxels
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.beam_engine import PhotonBeamEngine, _package_version
from DoseEngineLib.photon.bixels import bixels_of_target
from DoseEngineLib.photon.fluence import BeamSegment, beam_segments
from DoseEngineLib.photon.modulated_fluence import NOT_IN_A_BIXEL, bixel_segment
from DoseEngineLib.photon.pencil_influence import pencil_influence
from DoseEngineLib.photon.pencil_kernel import PencilKernel
from DoseEngineLib.photon.pencil_terms import (
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
from DoseEngineLib.photon.photon_limits import PENCIL_BEAM_DOES_NOT_MODEL
from DoseEngineLib.photon.photon_options import PENCIL_BEAM_OPTIONS
from DoseEngineLib.photon.raytrace import trace_depth_fan
from DoseEngineLib.photon.scale_space import LEVELS_PER_OCTAVE, make_scale_space
from DoseEngineLib.photon.water_dose import dose_kernel, photons_per_cm2_per_MU
from DoseEngineLib.plan import Beam, Plan
from DoseEngineLib.progress import Progress, part

# Near an edge Gaussians less than so many pixels wide are integrated over the raster's pixels: at a straight edge a
# look-up between pixel centres would be off by 16 % of what they bring at half a pixel, by 4 % at one, by 0.5 % at
# three. Wider ones are read from the levels.
_SHARP_PIXELS = 3.0
_LEAST_SIGMA_PIXELS = 0.05
_END_SIGMAS = 4.5
# An edge is where the narrowest level and this one differ by more than this share.
_EDGE_LEVEL = 10
_EVEN = 1e-3
# No more pixels than these are covered by such a Gaussian, in u or v.
_MOST_PIXELS = int(2 * _END_SIGMAS * _SHARP_PIXELS) + 3
# Where blurs up to the edge level, or this one of a map without edges, differ by less than this share of the map's
# greatest, the map is so even that the blur in between is linear in the variance.
_EVEN_LEVEL = 6
_NEGLIGIBLE_STEP = 1e-4
# Kernels wider than this on the isocentre plane are read from the widest level.
_LARGEST_SIGMA_MM = 500.0


class PhotonPencilBeamEngine(PhotonBeamEngine):
    """Pencil-beam convolution for photons; options are those of `PhotonBeamEngine`."""

    label: ClassVar[str] = "photon-pencil-beam"
    title: ClassVar[str] = "Photon pencil beam"
    version: ClassVar[str] = "1.0"
    options: ClassVar[tuple[EngineOption, ...]] = PENCIL_BEAM_OPTIONS
    models: ClassVar[tuple[str, ...]] = (
        "beam divergence and inverse square law",
        "depth dose and lateral scatter in water from Monte Carlo point kernels, with spectral hardening",
        "jaws and MLC with transmission, moving leaves, arcs in steps",
        "focal spot, head scatter by an extra-focal source behind jaws and leaves, horns or cone, off-axis softening, "
        "electron contamination, monitor backscatter, leaf ends, tongue and groove: as far as the machine has them",
        "oblique surfaces and heterogeneities by radiological depth along each ray",
        "wider lateral spread in lung and air, by the mean density upstream",
    )
    does_not_model: ClassVar[tuple[str, ...]] = PENCIL_BEAM_DOES_NOT_MODEL

    def _beam_dose_per_MU(
        self,
        patient: Patient,
        beam: Beam,
        machine: Machine,
        position: str,
        grid: Grid,
        inside: np.ndarray,
        progress: Progress,
    ) -> np.ndarray:
        kernel = dose_kernel(machine)
        fluence_per_MU = photons_per_cm2_per_MU(machine)
        dose = np.zeros(grid.shape, np.float32)
        segments = beam_segments(beam, machine, position, arc_step_deg=self.arc_step_deg)
        for number, segment in enumerate(segments):
            progress(number / len(segments), f"{self.title}: {beam.name}")
            add_segment(dose, inside, grid, patient, segment, kernel, machine, fluence_per_MU * segment.weight)
        return dose

    def calculate_influence(
        self,
        patient: Patient,
        plan: Plan,
        *,
        target: str | None = None,
        structures: Sequence[str] | None = None,
        mask: np.ndarray | None = None,
        normal_tissue_every: int | None = None,
        bixel_mm: float = 5.0,
        target_margin_mm: float = 5.0,
        bixels: Sequence[BixelBeam] | None = None,
        grid: Grid | None = None,
        cutoff: float = 1e-3,
        max_memory_GB: float | None = None,
        progress: Progress | None = None,
    ) -> DoseInfluence:
        """Calculate the dose influence; see `DoseEngine.calculate_influence`, `pencil_influence` for the cut-off and
        `modulated_fluence` for what a bixel is."""
        report = part(progress, 0.0, 1.0)
        patient = self._patient_to_calculate(patient)
        self._check_isocenters(patient, plan)
        grid = grid or patient.body_grid.with_spacing(plan.dose_grid_spacing_mm)
        machines = [load_machine(beam.machine) for beam in plan.beams]
        if bixels is None:
            target = target or (plan.prescription.target if plan.prescription else None)
            if target is None:
                raise EngineError("Name the target that the bixels are laid around, or give the bixels.")
            structure = patient.structure(target)
            bixels = [
                bixels_of_target(structure, beam, machine, plan.patient_position, bixel_mm, target_margin_mm)
                for beam, machine in zip(plan.beams, machines, strict=True)
            ]
        else:
            bixels = list(bixels)
            _check_bixels(plan, bixels)
        voxels, weights = influence_voxels(patient, grid, structures, mask, normal_tissue_every)
        matrix, error, cost = pencil_influence(
            patient,
            bixels,
            machines,
            plan.patient_position,
            grid,
            voxels,
            cutoff,
            self.max_memory_GB if max_memory_GB is None else float(max_memory_GB),
            report,
        )
        return DoseInfluence(
            matrix=matrix,
            voxels=voxels,
            grid=grid,
            beams=tuple(bixels),
            fractions=plan.fractions,
            voxel_weights=weights,
            cutoff_error=error,
            provenance={
                "engine": self.label,
                "engine_version": self.version,
                "rtplanning_version": _package_version(),
                "machines": {machine.name: machine.title for machine in machines},
                "dose_to": self.dose_to,
                "grid_shape_kji": list(grid.shape),
                "grid_spacing_mm": [round(float(s), 6) for s in grid.spacing_mm],
                "patient": patient.provenance,
                "patient_position": plan.patient_position,
                "patient_hash": patient_hash(patient),
                "beams_hash": beams_hash(plan.beams, plan.patient_position),
                "target": target,
                "structures": None if structures is None else list(structures),
                "normal_tissue_every": normal_tissue_every,
                "cost": cost,
                "not_in_a_bixel": list(NOT_IN_A_BIXEL),
            },
        )

    def calculate_fluence_dose(
        self,
        patient: Patient,
        plan: Plan,
        bixels: Sequence[BixelBeam],
        weights: np.ndarray,
        grid: Grid | None = None,
        progress: Progress | None = None,
    ) -> tuple[np.ndarray, Grid]:
        """Calculate the dose of bixel weights by the forward engine, without an influence matrix.

        Parameters
        ----------
        bixels : sequence of BixelBeam
            One for each beam of the plan.
        weights : (bixels,) array
            MU a fraction, beam after beam.

        Returns
        -------
        dose_Gy : (k, j, i) float32 array
            Of the whole course.
        grid : Grid
        """
        report = part(progress, 0.0, 1.0)
        self._check_isocenters(patient, plan)
        _check_bixels(plan, bixels)
        weights = np.asarray(weights, dtype=float)
        ends = np.cumsum([0] + [beam.size for beam in bixels])
        if weights.shape != (ends[-1],):
            raise EngineError(f"There are {ends[-1]} bixels; got weights of shape {weights.shape}.")
        grid = grid or patient.body_grid.with_spacing(plan.dose_grid_spacing_mm)
        self._check_memory(grid, 1)
        inside = resample(patient.body, patient.grid, grid)
        dose = np.zeros(grid.shape, np.float32)
        for number, beam in enumerate(bixels):
            report(number / len(bixels), f"{self.title}: fluence of {beam.name}")
            machine = load_machine(beam.machine)
            segment = bixel_segment(beam, weights[ends[number] : ends[number + 1]], machine, plan.patient_position)
            photons = photons_per_cm2_per_MU(machine) * plan.fractions
            add_segment(dose, inside, grid, patient, segment, dose_kernel(machine), machine, photons)
        report(1.0, f"{self.title}: done")
        return dose, grid


def _check_bixels(plan: Plan, bixels: Sequence[BixelBeam]) -> None:
    if len(bixels) != len(plan.beams):
        raise EngineError(f"Give bixels for every beam: {len(plan.beams)} beams, bixels of {len(bixels)}.")
    for beam, its in zip(plan.beams, bixels, strict=True):
        first = beam.control_points[0]
        here = (first.gantry_deg, first.collimator_deg, first.couch_deg, *beam.isocenter_RAS_mm)
        there = (its.gantry_deg, its.collimator_deg, its.couch_deg, *its.isocenter_RAS_mm)
        if its.machine != beam.machine or not np.allclose(here, there, rtol=0.0, atol=1e-3):
            raise EngineError(
                f"The bixels of {its.name} belong to another direction, isocentre or machine than beam {beam.name}; "
                "lay them out again."
            )


def add_segment(
    dose: np.ndarray,
    inside: np.ndarray,
    grid: Grid,
    patient: Patient,
    segment: BeamSegment,
    kernel: PencilKernel,
    machine: Machine,
    photons_per_cm2: float,
    sharp: bool = True,
) -> None:
    """Add the dose of a pencil kernel under a segment's fluence, within the mask, to ``dose`` (Gy).

    Without ``sharp`` edges are not looked for: for kernels that are wider than the fluence's pixels.
    """
    fan = trace_depth_fan(patient, segment.frame, machine.sad_mm)
    table = depth_table(kernel)
    to_beam = grid_to_beam(grid, segment.frame)
    for source in segment.sources:
        space = make_scale_space(source.fluence, _LARGEST_SIGMA_MM)
        _accumulate(
            dose,
            inside,
            to_beam,
            fan.depth_mm,
            fan.first,
            fan.step,
            table,
            live_depths(table),
            kernel.sigma_mm,
            upstream_reach_mm(kernel.sigma_mm),
            space.values,
            space.offset,
            space.half_count,
            space.pixel_mm,
            space.sigma_mm,
            # the extra-focal map has no edges
            sharp and source.distance_mm == 0.0,
            machine.sad_mm,
            source.edge_sigma_mm,
            segment.collimation_distance_mm,
            source.distance_mm,
            np.array(machine.softening, dtype=float),
            photons_per_cm2 * source.weight,
        )


# The normal distribution's cumulative on a table, linear between: exact to 5e-7. The tails beyond it, 3.4e-6 each, are
# left out.
_PER_SIGMA = 256
_NORMAL = ndtr(np.arange(-_END_SIGMAS * _PER_SIGMA, _END_SIGMAS * _PER_SIGMA + 1.5) / _PER_SIGMA)


@numba.njit(cache=True, nogil=True)
def _place(u, a_mm):
    """Last pixel centre before u, counted from the axis, and how far u is behind it, in pixels."""
    at = u * a_mm - 0.5
    i = np.floor(at)
    return np.int64(i), at - i


@numba.njit(cache=True, nogil=True)
def _level_value(values, centre, half, i, j, a, b):
    """Bilinear look-up in one level; zero outside it."""
    if i < -half or j < -half or i > half - 2 or j > half - 2:
        return 0.0
    at = np.uint64(centre + j * (2 * half) + i)
    below = at + np.uint64(2 * half)
    one = np.uint64(1)
    near = values[at] + (values[at + one] - values[at]) * a
    far = values[below] + (values[below + one] - values[below]) * a
    return near + (far - near) * b


@numba.njit(cache=True, nogil=True)
def _pixel_shares(shares, first, last, pixel, u, sigma):
    """Write the shares of a Gaussian about u that fall into the pixels from first to last."""
    scale = _PER_SIGMA / sigma
    middle = _END_SIGMAS * _PER_SIGMA
    top = 2.0 * middle - 1e-6
    at = (first * pixel - u) * scale + middle
    below = 0.0
    for i in range(last - first + 2):
        place = at + i * (pixel * scale)
        place = place if place > 0.0 else 0.0
        place = place if place < top else top
        n = np.uint64(place)
        above = _NORMAL[n] + (_NORMAL[n + np.uint64(1)] - _NORMAL[n]) * (place - n)
        if i > 0:
            shares[i - 1] = above - below
        below = above


@numba.njit(cache=True, nogil=True)
def _sharp_value(values, half, pixel, u, v, sigma, shares, columns):
    """Gaussian blur of the raster itself, its pixels evenly lit squares."""
    reach = _END_SIGMAS * sigma
    first_i = max(int(np.floor((u - reach) / pixel)), -half)
    last_i = min(int(np.floor((u + reach) / pixel)), half - 1)
    first_j = max(int(np.floor((v - reach) / pixel)), -half)
    last_j = min(int(np.floor((v + reach) / pixel)), half - 1)
    if last_i < first_i or last_j < first_j:
        return 0.0
    _pixel_shares(shares, first_j, last_j, pixel, v, sigma)
    count = np.uint64(last_i - first_i + 1)
    rows = np.uint64(last_j - first_j + 1)
    size = np.uint64(2 * half)
    at = np.uint64((first_j + half) * 2 * half + first_i + half)
    # line by line: pixels beside each other, in float32 and counted without a sign, become vector instructions
    share = np.float32(shares[0])
    for i in range(count):
        columns[i] = share * values[at + i]
    for j in range(np.uint64(1), rows):
        at += size
        share = np.float32(shares[j])
        for i in range(count):
            columns[i] += share * values[at + i]
    _pixel_shares(shares, first_i, last_i, pixel, u, sigma)
    total = 0.0
    for i in range(count):
        total += shares[i] * columns[i]
    return total


@numba.njit(cache=True, nogil=True, parallel=True)
def _accumulate(
    dose, inside, to_beam, depth, first, step, table, live, kernel_sigma, reaches, values, offset, half, pixel,
    level_sigma, sharp, sad, source_sigma, collimation, source_distance, softening, photons,
):  # fmt: skip
    nk, nj, ni = dose.shape
    count = kernel_sigma.size
    last_depth = table.shape[0] - 1.000001
    flat = depth.reshape(depth.size)
    planes, ray_row, planes_a_mm = np.uint64(depth.shape[2]), np.uint64(depth.shape[1] * depth.shape[2]), 1.0 / step[2]
    centre, lattice, lattice_per_mm, terms, greatest = _level_terms(values, offset, half, pixel, level_sigma)
    last_level = offset.size - 2
    lattices = lattice_per_mm.size
    least = level_sigma[0] ** 2
    wide_level = _EDGE_LEVEL if sharp else _EVEN_LEVEL
    even_variance = level_sigma[wide_level] ** 2
    negligible = _NEGLIGIBLE_STEP * greatest
    least_sharp = (_LEAST_SIGMA_PIXELS * pixel[0]) ** 2
    sharp_variance = (_SHARP_PIXELS * pixel[0]) ** 2
    for row in numba.prange(nk * nj):
        k = row // nj
        j = row - k * nj
        at_level = np.full(count, 1)
        at_i, at_j = np.empty(lattices, np.int64), np.empty(lattices, np.int64)
        share_i, share_j = np.empty(lattices), np.empty(lattices)
        shares, columns = np.empty(_MOST_PIXELS), np.empty(_MOST_PIXELS, np.float32)
        for i in range(ni):
            if not inside[k, j, i]:
                continue
            x = to_beam[0, 0] * i + to_beam[0, 1] * j + to_beam[0, 2] * k + to_beam[0, 3]
            y = to_beam[1, 0] * i + to_beam[1, 1] * j + to_beam[1, 2] * k + to_beam[1, 3]
            z = to_beam[2, 0] * i + to_beam[2, 1] * j + to_beam[2, 2] * k + to_beam[2, 3]
            distance = sad - z
            scale = sad / distance
            u = x * scale
            v = y * scale
            start, here, right, below, both = fan_rays(u, v, first, step, depth.shape)
            plane = (distance - first[2]) * planes_a_mm
            depth_here = depth_on_rays(flat, planes, ray_row, start, here, right, below, both, plane)
            ratio = softening_ratio(softening, u, v, sad)
            d = depth_here * ratio / TABLE_STEP_MM
            d = d if d < last_depth else last_depth
            at = int(d)
            if not live[at]:
                continue
            share = d - at
            blur = source_sigma * (distance / collimation - 1.0) * scale
            blur *= blur
            for n in range(lattices):
                at_i[n], share_i[n] = _place(u, lattice_per_mm[n])
                at_j[n], share_j[n] = _place(v, lattice_per_mm[n])
            narrow = _level_value(values, centre[0], half[0], at_i[0], at_j[0], share_i[0], share_j[0])
            n = lattice[wide_level]
            wide = _level_value(values, centre[wide_level], half[wide_level], at_i[n], at_j[n], share_i[n], share_j[n])
            growth = abs(wide - narrow)
            # where a narrow and a wide blur agree there is no edge for the others to soften
            edge = sharp and growth > _EVEN * (narrow if narrow > wide else wide)
            even = growth < negligible
            if even:
                # a narrow and a wide blur may agree by chance, and those between them not
                m = wide_level // 2
                n = lattice[m]
                middle = _level_value(values, centre[m], half[m], at_i[n], at_j[n], share_i[n], share_j[n])
                even = abs(middle - narrow) < negligible
            growth = (wide - narrow) / (even_variance - least)
            total = 0.0
            last_reach, upstream = -1.0, 1.0
            for n in range(count):
                weight = table[at, n] * (1 - share) + table[at + 1, n] * share
                if weight == 0.0:
                    continue
                reach = reaches[n] if reaches[n] < depth_here else depth_here
                if reach != last_reach:
                    upstream = upstream_density(
                        reach, depth_here, flat, planes, ray_row, start, here, right, below, both, plane, planes_a_mm
                    )
                    last_reach = reach
                sigma = kernel_sigma[n] * scale / upstream
                variance = sigma * sigma + blur
                if edge and variance < sharp_variance:
                    variance = variance if variance > least_sharp else least_sharp
                    total += weight * _sharp_value(values, half[0], pixel[0], u, v, np.sqrt(variance), shares, columns)
                    continue
                if variance <= least:
                    total += weight * narrow
                    continue
                if even and variance <= even_variance:
                    total += weight * (narrow + growth * (variance - least))
                    continue
                # the nearest level is most often that of the voxel before: quicker than a logarithm
                m = at_level[n]
                while m < last_level and variance >= terms[m + 1, 0]:
                    m += 1
                while m > 1 and variance < terms[m, 0]:
                    m -= 1
                at_level[n] = m
                variance = variance if variance < terms[m + 1, 1] else terms[m + 1, 1]
                variance = variance if variance > terms[m - 1, 1] else terms[m - 1, 1]
                # a blurred map is a smooth function of the variance: a parabola through three levels
                o0, o1, o2 = variance - terms[m - 1, 1], variance - terms[m, 1], variance - terms[m + 1, 1]
                c0, c2 = o1 * o2 * terms[m, 2], o0 * o1 * terms[m, 3]
                g = lattice[m - 1]
                total += (
                    weight
                    * c0
                    * _level_value(values, centre[m - 1], half[m - 1], at_i[g], at_j[g], share_i[g], share_j[g])
                )
                g = lattice[m]
                total += (
                    weight
                    * (1.0 - c0 - c2)
                    * _level_value(values, centre[m], half[m], at_i[g], at_j[g], share_i[g], share_j[g])
                )
                g = lattice[m + 1]
                total += (
                    weight
                    * c2
                    * _level_value(values, centre[m + 1], half[m + 1], at_i[g], at_j[g], share_i[g], share_j[g])
                )
            spread = (sad - source_distance) / (distance - source_distance)
            dose[k, j, i] += np.float32(total * spread * spread * photons)


@numba.njit(cache=True, nogil=True)
def _level_terms(values, offset, half, pixel, level_sigma):
    """What look-ups in the levels need of each, worked out once.

    Returns
    -------
    centre : (levels,) int64
        Where the first pixel beyond the axis is in the flat array, in u and v.
    lattice : (levels,) int64
        Levels of equal pixels have one lattice.
    lattice_per_mm : (lattices,)
        Pixels a mm of each lattice.
    terms : (levels, 4)
        The least variance that is read about this level, its own, and the parabola's factors of the levels beside it.
    greatest : float
        Of the narrowest level.
    """
    levels = offset.size
    centre, lattice = np.empty(levels, np.int64), np.zeros(levels, np.int64)
    per_mm, terms = np.empty(levels), np.zeros((levels, 4))
    number = 0
    per_mm[0] = 1.0 / pixel[0]
    for m in range(levels):
        if m > 0 and pixel[m] != pixel[m - 1]:
            number += 1
            per_mm[number] = 1.0 / pixel[m]
        lattice[m] = number
        centre[m] = offset[m] + half[m] * (2 * half[m] + 1)
        terms[m, 0] = (level_sigma[0] * 2.0 ** ((m - 0.5) / LEVELS_PER_OCTAVE)) ** 2
        terms[m, 1] = level_sigma[m] ** 2
    for m in range(1, levels - 1):
        v0, v1, v2 = terms[m - 1, 1], terms[m, 1], terms[m + 1, 1]
        terms[m, 2] = 1.0 / ((v0 - v1) * (v0 - v2))
        terms[m, 3] = 1.0 / ((v2 - v0) * (v2 - v1))
    return centre, lattice, per_mm[: number + 1], terms, values[: 4 * half[0] ** 2].max()
