"""Photon pencil-beam engine: Gaussian-mixture pencil kernels on the diverging fluence, by radiological depth.

The aperture's fluence is blurred once by Gaussians of many widths (`scale_space`). The dose at a point is then

    D = fluence/MU * (SAD / distance)^2 * sum_j weights_j(depth) * [fluence blurred by sigma_j * SAD / distance](u, v)

with (u, v) the point's projection onto the isocentre plane, distance along the beam axis from the source and the
radiological depth along the ray. Source size adds its own blur in quadrature.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

import numba
import numpy as np

from DoseEngineLib.engine import DoseEngine, DoseResult
from DoseEngineLib.errors import EngineError, PlanError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.normalization import normalization_factor
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.fluence import BeamSegment, beam_segments
from DoseEngineLib.photon.pencil_kernel import PencilKernel
from DoseEngineLib.photon.raytrace import trace_depth_fan
from DoseEngineLib.photon.scale_space import LEVELS_PER_OCTAVE, make_scale_space
from DoseEngineLib.photon.water_dose import dose_kernel, photons_per_cm2_per_MU
from DoseEngineLib.plan import Beam, Plan
from DoseEngineLib.progress import Progress, part

_TABLE_STEP_MM = 0.5
# Lateral spread grows in light media: each Gaussian is widened by one over the mean density along the ray over about
# twice its own width upstream, where the particles that form it started. Denser media do not narrow it: behind thin
# bone that was further from Monte Carlo than leaving it.
_REACH_MM = 4.0
_LONGEST_REACH_MM = 120.0
_SHORTEST_REACH_MM = 0.5
_LEAST_DENSITY = 0.15
# Kernels wider than this on the isocentre plane are read from the widest level.
_LARGEST_SIGMA_MM = 500.0


class PhotonPencilBeamEngine(DoseEngine):
    """Pencil-beam convolution for photons.

    Parameters
    ----------
    max_memory_GB : float
        Refuse requests whose arrays would need more.
    allow_isocenter_outside : bool
        Compute beams whose isocentre is outside the image (extended distances).
    """

    label: ClassVar[str] = "photon-pencil-beam"
    title: ClassVar[str] = "Photon pencil beam"
    version: ClassVar[str] = "1.0"
    models: ClassVar[tuple[str, ...]] = (
        "beam divergence and inverse square law",
        "depth dose and lateral scatter in water from Monte Carlo point kernels, with spectral hardening",
        "jaws and MLC with transmission, moving leaves, arcs in steps",
        "finite source size",
        "oblique surfaces and heterogeneities by radiological depth along each ray",
        "wider lateral spread in lung and air, by the mean density upstream",
    )
    does_not_model: ClassVar[tuple[str, ...]] = (
        "electronic disequilibrium at the interfaces of lung, air, bone and metal: errors of 4 to 5 per cent in and "
        "behind lung and bone, more for small fields and in air cavities",
        "loss of backscatter and side scatter at exit surfaces and edges of the body",
        "head scatter, electron contamination, horns and off-axis softening, rounded leaf ends, tongue and groove",
    )

    def __init__(self, max_memory_GB: float = 8.0, allow_isocenter_outside: bool = False) -> None:
        if not max_memory_GB > 0:
            raise EngineError(f"max_memory_GB must be positive; got {max_memory_GB}.")
        self.max_memory_GB = float(max_memory_GB)
        self.allow_isocenter_outside = bool(allow_isocenter_outside)

    def calculate_dose(
        self, patient: Patient, plan: Plan, grid: Grid | None = None, progress: Progress | None = None
    ) -> DoseResult:
        """Calculate the dose of a plan; see `DoseEngine.calculate_dose`."""
        report = part(progress, 0.0, 1.0)
        grid = grid or patient.body_grid.with_spacing(plan.dose_grid_spacing_mm)
        self._check_memory(grid, len(plan.beams))
        machines = {beam.machine: load_machine(beam.machine) for beam in plan.beams}
        self._check_isocenters(patient, plan)
        inside = resample(patient.body, patient.grid, grid)
        if not inside.any():
            raise EngineError("The dose grid does not meet the body; check the grid's position.")
        metersets = [beam.meterset_MU if plan.has_MU else 100.0 * beam.weight for beam in plan.beams]
        doses = {}
        for number, (beam, meterset) in enumerate(zip(plan.beams, metersets, strict=True)):
            report(number / len(plan.beams), f"Pencil beam: {beam.name}")
            dose = self._beam_dose_per_MU(patient, beam, machines[beam.machine], plan.patient_position, grid, inside)
            dose *= np.float32(meterset * plan.fractions)
            doses[beam.name] = dose
        total = np.zeros(grid.shape, np.float32)
        for dose in doses.values():
            total += dose
        normalization = "MU as planned"
        if not plan.has_MU:
            factor, normalization = normalization_factor(plan, patient, total, grid)
            metersets = [meterset * factor for meterset in metersets]
            total *= np.float32(factor)
            for dose in doses.values():
                dose *= np.float32(factor)
        delivered = plan.with_metersets(metersets)
        report(1.0, "Pencil beam: done")
        return DoseResult(
            dose_Gy=total,
            grid=grid,
            beam_doses_Gy=doses,
            plan=delivered,
            dose_to="water",
            provenance={
                "engine": self.label,
                "engine_version": self.version,
                "rtplanning_version": _package_version(),
                "machines": {name: machine.title for name, machine in machines.items()},
                "dose_to": "water",
                "grid_shape_kji": list(grid.shape),
                "grid_spacing_mm": [round(float(s), 6) for s in grid.spacing_mm],
                "normalization": normalization,
                "plan_hash": delivered.hash(),
                "patient": patient.provenance,
                "does_not_model": list(self.does_not_model),
            },
        )

    def _check_memory(self, grid: Grid, beams: int) -> None:
        # plan and beam doses, mask, and the fan of depths
        need_GB = grid.size * (4 * (beams + 1) + 1) / 1e9 + 0.3
        if need_GB > self.max_memory_GB:
            raise EngineError(
                f"A dose grid of {grid.size / 1e6:.1f} million voxels for {beams} beams needs about {need_GB:.1f} GB, "
                f"more than the {self.max_memory_GB:g} GB allowed; use a coarser grid or raise max_memory_GB."
            )

    def _check_isocenters(self, patient: Patient, plan: Plan) -> None:
        if self.allow_isocenter_outside:
            return
        for beam in plan.beams:
            if not patient.grid.contains(np.array(beam.isocenter_RAS_mm)):
                raise PlanError(
                    f"Beam {beam.name}: the isocentre R {beam.isocenter_RAS_mm[0]:.1f}, A "
                    f"{beam.isocenter_RAS_mm[1]:.1f}, S {beam.isocenter_RAS_mm[2]:.1f} mm lies outside the image; "
                    "place it in the patient, or create the engine with allow_isocenter_outside=True."
                )

    def _beam_dose_per_MU(
        self, patient: Patient, beam: Beam, machine: Machine, position: str, grid: Grid, inside: np.ndarray
    ) -> np.ndarray:
        kernel = dose_kernel(machine)
        fluence_per_MU = photons_per_cm2_per_MU(machine)
        dose = np.zeros(grid.shape, np.float32)
        for segment in beam_segments(beam, machine, position):
            add_segment(dose, inside, grid, patient, segment, kernel, machine, fluence_per_MU * segment.weight)
        return dose


def depth_table(kernel: PencilKernel) -> np.ndarray:
    """Kernel weights on a uniform depth table, (depths, sigmas) float64, step 0.5 mm."""
    depth = np.arange(0.0, kernel.depth_mm[-1] + _TABLE_STEP_MM / 2, _TABLE_STEP_MM)
    return np.stack([np.interp(depth, kernel.depth_mm, row) for row in kernel.weights_Gy_cm2], axis=1)


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
    # index (i, j, k, 1) of the dose grid -> beam coordinates
    to_beam = np.eye(4)
    to_beam[:3, :3] = segment.frame.rotation.T
    to_beam[:3, 3] = -segment.frame.rotation.T @ segment.frame.isocenter_RAS_mm
    to_beam = to_beam @ grid.affine
    for source in segment.sources:
        space = make_scale_space(source.fluence, _LARGEST_SIGMA_MM)
        _accumulate(
            dose,
            inside,
            to_beam,
            fan.depth_mm,
            fan.first,
            fan.step,
            depth_table(kernel),
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
def _fan_depth(depth, first, step, u, v, distance):
    nw, nv, nu = depth.shape
    a = min(max((u - first[0]) / step[0], 0.0), nu - 1.000001)
    b = min(max((v - first[1]) / step[1], 0.0), nv - 1.000001)
    c = min(max((distance - first[2]) / step[2], 0.0), nw - 1.000001)
    i, j, k = int(a), int(b), int(c)
    a -= i
    b -= j
    c -= k
    return (
        (depth[k, j, i] * (1 - a) + depth[k, j, i + 1] * a) * (1 - b)
        + (depth[k, j + 1, i] * (1 - a) + depth[k, j + 1, i + 1] * a) * b
    ) * (1 - c) + (
        (depth[k + 1, j, i] * (1 - a) + depth[k + 1, j, i + 1] * a) * (1 - b)
        + (depth[k + 1, j + 1, i] * (1 - a) + depth[k + 1, j + 1, i + 1] * a) * b
    ) * c


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
    dose, inside, to_beam, depth, first, step, table, kernel_sigma, values, offset, half, pixel, level_sigma,
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
            depth_here = _fan_depth(depth, first, step, u, v, distance)
            ratio = 1.0
            power = 1.0
            if softening.size:
                angle = np.degrees(np.arctan(np.sqrt(u * u + v * v) / sad))
                for c in softening:
                    power *= angle
                    ratio += c * power
            d = min(depth_here * ratio / _TABLE_STEP_MM, last_depth)
            at = int(d)
            share = d - at
            blur = source_sigma * (distance / collimation - 1.0) * scale
            total = 0.0
            for n in range(count):
                weight = table[at, n] * (1 - share) + table[at + 1, n] * share
                if weight == 0.0:
                    continue
                reach = min(min(_REACH_MM + 2.0 * kernel_sigma[n], _LONGEST_REACH_MM), depth_here)
                upstream = 1.0
                if reach > _SHORTEST_REACH_MM:
                    upstream = (depth_here - _fan_depth(depth, first, step, u, v, distance - reach)) / reach
                    upstream = min(max(upstream, _LEAST_DENSITY), 1.0)
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


def _package_version() -> str:
    try:
        return version("rtplanning")
    except PackageNotFoundError:
        return "source tree"
