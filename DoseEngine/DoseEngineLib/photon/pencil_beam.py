"""Photon pencil-beam engine: Gaussian-mixture pencil kernels on the diverging fluence, by radiological depth.

The aperture's fluence is blurred once by Gaussians of many widths (`scale_space`). The dose at a point is then

    D = fluence/MU * (SAD / distance)^2 * sum_j weights_j(depth) * [fluence blurred by sigma_j * SAD / distance](u, v)

with (u, v) the point's projection onto the isocentre plane, distance along the beam axis from the source and the
radiological depth along the ray. Source size adds its own blur in quadrature.
"""

from __future__ import annotations

from typing import ClassVar

import numba
import numpy as np

from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import Machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.beam_engine import PhotonBeamEngine
from DoseEngineLib.photon.fluence import BeamSegment, beam_segments
from DoseEngineLib.photon.pencil_kernel import PencilKernel
from DoseEngineLib.photon.pencil_terms import (
    TABLE_STEP_MM,
    depth_table,
    fan_depth,
    grid_to_beam,
    live_depths,
    softening_ratio,
    upstream_density,
)
from DoseEngineLib.photon.raytrace import trace_depth_fan
from DoseEngineLib.photon.scale_space import LEVELS_PER_OCTAVE, make_scale_space
from DoseEngineLib.photon.water_dose import dose_kernel, photons_per_cm2_per_MU
from DoseEngineLib.plan import Beam
from DoseEngineLib.progress import Progress

# Kernels wider than this on the isocentre plane are read from the widest level.
_LARGEST_SIGMA_MM = 500.0


class PhotonPencilBeamEngine(PhotonBeamEngine):
    """Pencil-beam convolution for photons; options are those of `PhotonBeamEngine`."""

    label: ClassVar[str] = "photon-pencil-beam"
    title: ClassVar[str] = "Photon pencil beam"
    version: ClassVar[str] = "1.0"
    models: ClassVar[tuple[str, ...]] = (
        "beam divergence and inverse square law",
        "depth dose and lateral scatter in water from Monte Carlo point kernels, with spectral hardening",
        "jaws and MLC with transmission, moving leaves, arcs in steps",
        "focal spot, head scatter by an extra-focal source behind jaws and leaves, horns or cone, off-axis softening, "
        "electron contamination, monitor backscatter, leaf ends, tongue and groove: as far as the machine has them",
        "oblique surfaces and heterogeneities by radiological depth along each ray",
        "wider lateral spread in lung and air, by the mean density upstream",
    )
    does_not_model: ClassVar[tuple[str, ...]] = (
        "electronic disequilibrium at the interfaces of lung, air, bone and metal: errors of 4 to 5 per cent in and "
        "behind lung and bone, more for small fields and in air cavities",
        "loss of backscatter and side scatter at exit surfaces and edges of the body",
        "scatter from jaws and leaves; penumbra of the primary takes one distance, the mean of both jaws or the MLC's",
    )

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
        segments = beam_segments(beam, machine, position)
        for number, segment in enumerate(segments):
            progress(number / len(segments), f"{self.title}: {beam.name}")
            add_segment(dose, inside, grid, patient, segment, kernel, machine, fluence_per_MU * segment.weight)
        return dose


def add_segment(
    dose: np.ndarray,
    inside: np.ndarray,
    grid: Grid,
    patient: Patient,
    segment: BeamSegment,
    kernel: PencilKernel,
    machine: Machine,
    photons_per_cm2: float,
) -> None:
    """Add the dose of a pencil kernel under a segment's fluence, within the mask, to ``dose`` (Gy)."""
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
            space.values,
            space.offset,
            space.half_count,
            space.pixel_mm,
            space.sigma_mm,
            machine.sad_mm,
            source.edge_sigma_mm,
            segment.collimation_distance_mm,
            source.distance_mm,
            np.array(machine.softening, dtype=float),
            photons_per_cm2 * source.weight,
        )


@numba.njit(cache=True, inline="always")
def _level_value(values, offset, half, pixel, u, v):
    """Bilinear look-up in one level; zero outside it."""
    a = u / pixel + half - 0.5
    b = v / pixel + half - 0.5
    last = 2 * half - 1
    if a < 0.0 or b < 0.0 or a >= last or b >= last:
        return 0.0
    i, j = int(a), int(b)
    a -= i
    b -= j
    at = offset + j * (2 * half) + i
    return (values[at] * (1 - a) + values[at + 1] * a) * (1 - b) + (
        values[at + 2 * half] * (1 - a) + values[at + 2 * half + 1] * a
    ) * b


@numba.njit(cache=True, parallel=True)
def _accumulate(
    dose, inside, to_beam, depth, first, step, table, live, kernel_sigma, values, offset, half, pixel, level_sigma,
    sad, source_sigma, collimation, source_distance, softening, photons,
):  # fmt: skip
    nk, nj, ni = dose.shape
    levels = offset.size
    count = kernel_sigma.size
    lowest = np.log2(level_sigma[0])
    last_depth = table.shape[0] - 1.000001
    for row in numba.prange(nk * nj):
        k = row // nj
        j = row - k * nj
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
            depth_here = fan_depth(depth, first, step, u, v, distance)
            ratio = softening_ratio(softening, u, v, sad)
            d = min(depth_here * ratio / TABLE_STEP_MM, last_depth)
            at = int(d)
            if not live[at]:
                continue
            share = d - at
            blur = source_sigma * (distance / collimation - 1.0) * scale
            total = 0.0
            for n in range(count):
                weight = table[at, n] * (1 - share) + table[at + 1, n] * share
                if weight == 0.0:
                    continue
                upstream = upstream_density(kernel_sigma[n], depth_here, depth, first, step, u, v, distance)
                sigma = kernel_sigma[n] * scale / upstream
                level = (0.5 * np.log2(sigma * sigma + blur * blur) - lowest) * LEVELS_PER_OCTAVE
                level = min(max(level, 0.0), levels - 1.000001)
                low = int(level)
                t = level - low
                total += weight * (
                    (1 - t) * _level_value(values, offset[low], half[low], pixel[low], u, v)
                    + t * _level_value(values, offset[low + 1], half[low + 1], pixel[low + 1], u, v)
                )
            spread = (sad - source_distance) / (distance - source_distance)
            dose[k, j, i] += np.float32(total * spread * spread * photons)
