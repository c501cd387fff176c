"""Photon collapsed-cone superposition.

TERMA of each spectral group is released on a lattice of cubes along the beam (`terma`). Its energy is carried along
straight lines of whole cells in the directions of the cones, by exponentials of radiological distance (`cone_kernels`),
one recursion a line: the cost grows linearly with the number of cells. Transport scales with mass density. Kernels are
tilted to the diverging rays: what a cell sends into a direction follows from the angle with its own ray. The
exponentials of short range, electrons and soft scatter, are carried on fine cells around the field; those of long
range on cells twice as wide everywhere, with more cones.

A. Ahnesjo, Med. Phys. 16 (1989) 577. Lines of whole cells, the tilt by weights and the fitted sums of exponentials are
this implementation's own.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

import numba
import numpy as np

from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.machine import Machine, ReferenceCalibration
from DoseEngineLib.materials.attenuation import water_to_medium_stopping_ratio
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.beam_engine import PhotonBeamEngine
from DoseEngineLib.photon.cone_kernels import GROUPS, RANGES_G_CM2, ConeKernels, cone_kernels
from DoseEngineLib.photon.fluence import BeamSegment, beam_segments
from DoseEngineLib.photon.pencil_beam import add_segment as add_pencil_segment
from DoseEngineLib.photon.terma import TermaLattice, add_to_grid, coarsened, make_terma_lattice, windowed
from DoseEngineLib.photon.water_dose import contamination_kernel
from DoseEngineLib.plan import Beam
from DoseEngineLib.progress import Progress, part

MEV_G_IN_GY = 1.602176634e-10
# Exponentials carried at a time: the short ranges on fine cells, then the long ones on coarse cells.
_TERMS = 4
_SHORT, _LONG = slice(0, _TERMS), slice(_TERMS, 2 * _TERMS)
# Around the field, short ranges matter this far in water; further in light media, up to twice as far.
_SHORT_MARGIN_MM = 45.0
_HIGHEST_LEVEL = 65535
# Tangent of the tilt against the axis, up to 31 degrees, for the correction of tilted kernels.
_TANGENT_STEP = 0.005
# Rows of the table of the kernel's energy over the cosine with the ray.
_COSINES = 1025
_GOLDEN = 0.6180339887498949
# Radiological thickness of a cell, quantized for the tables of exponentials.
_LEVEL_G_CM2 = 2e-4
_FLUENCE_PIXEL_MM = 0.5
# Contaminating electrons are computed with fluence pixels joined this many by this many.
_ELECTRON_PIXELS = 4
# Cells are this part of the dose grid's spacing, so that interpolation does not widen penumbras.
_PITCH_OF_SPACING = 0.8
_PITCH_LIMITS_MM = (1.0, 3.0)


class PhotonCollapsedConeEngine(PhotonBeamEngine):
    """Collapsed-cone superposition for photons.

    Parameters
    ----------
    rings, azimuths : int
        Cones for the long ranges: rings of equal energy times directions around each. Short ranges take half the rings.
    pitch_mm : float, optional
        Cell of the calculation at the isocentre plane; by default 0.8 of the dose grid's spacing, within 1 to 3 mm.
    dose_to : {"medium", "water"}
        Dose to the medium is what the transport gives; dose to water is that times the ratio of collision stopping
        powers (NIST ESTAR, 1 MeV) of what the density stands for.
    """

    label: ClassVar[str] = "photon-collapsed-cone"
    title: ClassVar[str] = "Photon collapsed cone"
    version: ClassVar[str] = "1.0"
    models: ClassVar[tuple[str, ...]] = (
        "TERMA by ray tracing, each energy bin attenuated on its own by water, bone or metal as the density says",
        "Monte Carlo point kernels for two spectral groups, so that the kernel hardens with depth",
        "kernel axes along the diverging rays, cones in rings of equal energy all round",
        "density-scaled transport of electrons and scattered photons in 3D, entry and exit surfaces included",
        "every part of the head that the machine file describes",
    )
    does_not_model: ClassVar[tuple[str, ...]] = (
        "electron scattering that differs from water's but for density: small fields in lung are off by +4 and -3 per "
        "cent at its interfaces",
        "scatter further than 20 cm from the field's edge",
    )

    def __init__(
        self,
        rings: int = 24,
        azimuths: int = 8,
        pitch_mm: float | None = None,
        dose_to: str = "medium",
        **options: object,
    ) -> None:
        super().__init__(**options)
        if not (isinstance(rings, int) and isinstance(azimuths, int) and 4 <= rings <= 96 and 4 <= azimuths <= 96):
            raise EngineError(f"rings and azimuths must be whole numbers in 4..96; got {rings} and {azimuths}.")
        if pitch_mm is not None and not 0.5 <= pitch_mm <= 5.0:
            raise EngineError(f"pitch_mm must be in 0.5..5 mm; got {pitch_mm}.")
        if dose_to not in ("medium", "water"):
            raise EngineError(f'dose_to must be "medium" or "water"; got {dose_to!r}.')
        self.rings, self.azimuths, self.pitch_mm, self.dose_to = rings, azimuths, pitch_mm, dose_to

    def pitch_for(self, grid: Grid) -> float:
        """Cell at the isocentre plane in mm used for a dose grid."""
        if self.pitch_mm is not None:
            return float(self.pitch_mm)
        low, high = _PITCH_LIMITS_MM
        return float(np.clip(_PITCH_OF_SPACING * grid.spacing_mm.min(), low, high))

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
        pitch = self.pitch_for(grid)
        per_MU = _photons_per_cm2_per_MU(machine, self.rings, self.azimuths, pitch)
        segments = beam_segments(beam, machine, position, _FLUENCE_PIXEL_MM)
        dose = np.zeros(grid.shape, np.float32)
        for number, segment in enumerate(segments):

            def report(fraction: float, text: str, number: int = number) -> None:
                progress((number + fraction) / len(segments), text)

            _add_segment(dose, inside, grid, patient, segment, machine, self.rings, self.azimuths, pitch,
                         per_MU * segment.weight, self.max_memory_GB, report)  # fmt: skip
        if self.dose_to == "water":
            density = resample(patient.density_g_cm3, patient.grid, grid)
            dose *= water_to_medium_stopping_ratio(density.ravel()).reshape(grid.shape).astype(np.float32)
        return dose


@lru_cache(maxsize=32)
def _photons_per_cm2_per_MU(machine: Machine, rings: int, azimuths: int, pitch_mm: float) -> float:
    """Photons/cm2 in air on the axis at the SAD for each MU, so that this engine meets the machine's calibration.

    The reference condition is computed like any other dose, in a water phantom 10 cm wider than the field on every side
    and 15 cm deeper than the reference depth.
    """
    calibration = machine.calibration
    if not isinstance(calibration, ReferenceCalibration):
        return calibration
    voxel = 5.0
    at_surface = max(calibration.field_mm) * calibration.ssd_mm / machine.sad_mm
    across = int(np.ceil((at_surface + 200.0) / voxel / 2)) * 2
    depth_voxels = int(np.ceil((calibration.depth_mm + 150.0) / voxel))
    first = (-(across - 1) / 2 * voxel, -(depth_voxels - 0.5) * voxel, -(across - 1) / 2 * voxel)
    phantom = Grid.from_spacing((across, depth_voxels, across), voxel, first)
    patient = Patient.from_density(np.ones(phantom.shape, np.float32), phantom)
    half = [side / 2 for side in calibration.field_mm]
    beam = Beam.open_field(
        "Reference",
        jaw_x_mm=(-half[0], half[0]),
        jaw_y_mm=(-half[1], half[1]),
        isocenter_RAS_mm=(0.0, calibration.ssd_mm - machine.sad_mm, 0.0),
    )
    # averaged over 5 mm across, as an ionization chamber would
    points = Grid.from_spacing((5, 1, 5), 1.25, (-2.5, -calibration.depth_mm, -2.5))
    dose = np.zeros(points.shape, np.float32)
    for segment in beam_segments(beam, machine, "HFS", _FLUENCE_PIXEL_MM):
        _add_segment(dose, np.ones(points.shape, bool), points, patient, segment, machine, rings, azimuths, pitch_mm,
                     segment.weight, np.inf, lambda fraction, text: None)  # fmt: skip
    return calibration.dose_Gy_per_MU / float(dose.mean())


def _add_segment(
    dose: np.ndarray,
    inside: np.ndarray,
    grid: Grid,
    patient: Patient,
    segment: BeamSegment,
    machine: Machine,
    rings: int,
    azimuths: int,
    pitch_mm: float,
    photons_per_cm2: float,
    max_memory_GB: float,
    progress: Progress,
) -> None:
    progress(0.0, "Collapsed cone: TERMA")
    few = cone_kernels(machine.energy_MeV, machine.fluence, max(rings // 2, 4))
    many = cone_kernels(machine.energy_MeV, machine.fluence, rings)
    fine = make_terma_lattice(patient, segment, machine, many.group_of_bin, GROUPS, pitch_mm, max_memory_GB)
    coarse = coarsened(fine)
    near = windowed(fine, segment, machine.sad_mm, _SHORT_MARGIN_MM)
    to_Gy = np.float32(MEV_G_IN_GY * photons_per_cm2)
    for lattice, kernels, terms, start, stop in ((near, few, _SHORT, 0.1, 0.8), (coarse, many, _LONG, 0.8, 1.0)):
        deposited = transport(lattice, kernels, terms, azimuths, part(progress, start, stop))
        add_to_grid(dose, inside, grid.affine, segment, lattice, deposited * to_Gy, machine.sad_mm)
    electrons = contamination_kernel(machine)
    if electrons is not None:
        # nothing sharp in their dose
        sources = tuple(replace(s, fluence=s.fluence.joined(_ELECTRON_PIXELS)) for s in segment.sources)
        wide = replace(segment, sources=sources)
        add_pencil_segment(dose, inside, grid, patient, wide, electrons, machine, photons_per_cm2)
    # fitted kernels and cubic interpolation leave a trace below zero far from the field
    np.maximum(dose, 0.0, out=dose)


def cone_directions(cosine: np.ndarray, azimuths: int) -> np.ndarray:
    """Unit vectors (rings * azimuths, 3) in (x, y, away from the source).

    Every other ring is turned by half a step; each keeps the mirror symmetries of a square where azimuths are a
    multiple of four.
    """
    rows = []
    for ring, c in enumerate(cosine):
        phi = 2 * np.pi * (np.arange(azimuths) + 0.5 * (ring % 2)) / azimuths
        s = np.sqrt(1 - c * c)
        rows.append(np.stack((s * np.cos(phi), s * np.sin(phi), np.full(azimuths, c)), axis=1))
    return np.concatenate(rows)


def _whole_cells(slope: float, planes: int, phase: float) -> np.ndarray:
    """Cells (planes,) that a line has moved by at each plane; opposite slopes move exactly oppositely."""
    slope = 0.0 if abs(slope) < 1e-9 else slope
    return (np.sign(slope) * np.floor(abs(slope) * np.arange(planes) + phase)).astype(np.int64)


def transport(
    lattice: TermaLattice, kernels: ConeKernels, terms: slice, azimuths: int, progress: Progress
) -> np.ndarray:
    """Carry TERMA along all cones by four of the exponentials.

    Returns
    -------
    (z, y, x) float32 array
        Energy deposited per unit mass, in the units of the lattice's TERMA.
    """
    directions = cone_directions(kernels.cosine, azimuths)
    rings = np.repeat(np.arange(kernels.cosine.size), azimuths)
    places = [
        lattice.first_mm[axis] + lattice.side_mm * np.arange(n) for axis, n in enumerate(lattice.terma.shape[2::-1])
    ]
    correction = 1.0 / _tilted_energy(kernels, directions, rings, azimuths)
    ranges = np.array(RANGES_G_CM2[terms])
    energy_density = _density_of_energy(kernels)
    to_level = lattice.side_mm / 10.0 / _LEVEL_G_CM2
    levels = int(min(round(float(lattice.density_g_cm3.max()) * to_level), _HIGHEST_LEVEL)) + 1
    dose = np.zeros(lattice.density_g_cm3.shape, np.float32)
    done = 0
    for main in (2, 1, 0):
        # array axes (z, y, x) are 0, 1, 2; components of a direction (x, y, t) are 2 - axis
        order = {2: (0, 1, 2), 1: (1, 0, 2), 0: (2, 0, 1)}[main]
        component = [2 - axis for axis in order]
        chosen = [n for n, d in enumerate(directions) if np.argmax(np.abs(d)) == main]
        if not chosen:
            continue
        level_t, inverse_t, terma_t = _prepare(
            lattice.density_g_cm3.transpose(order), lattice.terma.transpose(*order, 3), *[places[c] for c in component],
            component.index(2), np.float32(to_level), correction.astype(np.float32),
        )  # fmt: skip
        coordinates = [places[c] for c in component]
        out = np.zeros(level_t.shape, np.float32)
        planes = level_t.shape[0]
        for n in chosen:
            unit = directions[n]
            step = unit / np.abs(unit).max()
            attenuated = np.arange(levels)[:, None] * (_LEVEL_G_CM2 * np.sqrt((step * step).sum()))
            attenuated = attenuated / ranges
            stay = np.exp(-attenuated)
            mean = np.where(attenuated > 1e-9, -np.expm1(-attenuated) / np.maximum(attenuated, 1e-30), 1.0)
            weights = (kernels.weights[:, rings[n], terms] / azimuths).astype(np.float32)
            # rounding starts at another place in every ring, in pairs that balance
            pair = ((rings[n] // 2) * _GOLDEN) % 1.0
            phase = 1.0 - pair if rings[n] % 2 else pair
            shifts = [_whole_cells(step[component[a]], planes, phase) for a in (1, 2)]
            tilt = (energy_density / kernels.energy_density[rings[n]]).astype(np.float32)
            _march(
                level_t, terma_t, inverse_t, out, stay.astype(np.float32), mean.astype(np.float32), weights, shifts[0],
                shifts[1], bool(unit[main] > 0), *[(unit[c] * coordinates[a]).astype(np.float32)
                                                   for a, c in enumerate(component)], tilt,
            )  # fmt: skip
            done += 1
            progress(done / len(directions), "Collapsed cone: transport")
        dose += out.transpose(np.argsort(order))
    return dose


def _density_of_energy(kernels: ConeKernels) -> np.ndarray:
    """Energy a steradian, tabulated over the cosine with the ray from -1 to 1 in `_COSINES` steps."""
    at = np.linspace(-1.0, 1.0, _COSINES)
    order = np.argsort(kernels.table_cosine)
    return np.interp(at, kernels.table_cosine[order], kernels.table_density[order])


def _tilted_energy(kernels: ConeKernels, directions: np.ndarray, rings: np.ndarray, azimuths: int) -> np.ndarray:
    """Energy that all directions together carry by the table for a tilted ray, relative to what the rings hold.

    Fixed directions sample a tilted kernel a little unevenly, and the table is rounded; cells are corrected for both.

    Returns
    -------
    (t,) array
        Over the tangent of the tilt, in steps of `_TANGENT_STEP` from 0.
    """
    table = _density_of_energy(kernels)
    carried = kernels.weights.sum(axis=(0, 2))[rings] / azimuths
    energy = carried / kernels.energy_density[rings]
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    total = []
    for angle in np.arctan(np.arange(0.0, 0.6 + _TANGENT_STEP / 2, _TANGENT_STEP)):
        ray = np.stack((np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.full(turn.size, np.cos(angle))))
        at = np.rint((directions @ ray + 1.0) * (0.5 * (_COSINES - 1))).astype(int)
        total.append((energy[:, None] * table[at]).sum() / turn.size)
    return np.array(total) / carried.sum()


@numba.njit(cache=True, parallel=True)
def _prepare(density, terma, at0, at1, at2, along, to_level, correction):
    """Lay out a lattice along its march axis: level of thickness, inverse distance from the source, corrected TERMA.

    ``along`` says which of the three axes runs along the beam.
    """
    n0, n1, n2 = density.shape
    level = np.empty((n0, n1, n2), np.uint16)
    inverse = np.empty((n0, n1, n2), np.float32)
    result = np.empty((n0, n1, n2, GROUPS), np.float32)
    last = correction.size - 1
    for i in numba.prange(n0):
        for j in range(n1):
            for k in range(n2):
                a, b, c = at0[i], at1[j], at2[k]
                square = a * a + b * b + c * c
                depth = a if along == 0 else (b if along == 1 else c)
                inverse[i, j, k] = 1.0 / np.sqrt(square)
                level[i, j, k] = min(int(density[i, j, k] * to_level + np.float32(0.5)), _HIGHEST_LEVEL)
                tangent = np.sqrt(max(square - depth * depth, 0.0)) / depth
                factor = correction[min(int(tangent / _TANGENT_STEP + 0.5), last)]
                for g in range(GROUPS):
                    result[i, j, k, g] = terma[i, j, k, g] * factor
    return level, inverse, result


@numba.njit(cache=True, parallel=True, fastmath={"reassoc", "contract", "nsz"})
def _march(level, terma, inverse, out, stay, mean, weights, shift1, shift2, forward, part0, part1, part2, tilt):
    """Carry one direction through the lattice; axis 0 is the one it crosses fastest.

    Lines keep to whole cells: from plane to plane each moves on by the rounded slope. A line's state holds what it
    carries, one value an exponential.
    """
    planes, n1, n2 = level.shape
    w0, w1 = weights[0], weights[1]
    top1, top2 = shift1.max(), shift2.max()
    lines1 = n1 + top1 - shift1.min()
    lines2 = n2 + top2 - shift2.min()
    half = np.float32(0.5 * (_COSINES - 1))
    for line in numba.prange(lines1):
        state = np.zeros((lines2, _TERMS), np.float32)
        for p in range(planes):
            row = line - (top1 - shift1[p])
            if row < 0 or row >= n1:
                continue
            k = p if forward else planes - 1 - p
            off = top2 - shift2[p]
            along = part0[k] + part1[row]
            for column in range(n2):
                at = level[k, row, column]
                here = column + off
                t0 = terma[k, row, column, 0]
                t1 = terma[k, row, column, 1]
                cosine = (along + part2[column]) * inverse[k, row, column]
                share = tilt[int((cosine + np.float32(1.0)) * half + np.float32(0.5))]
                t0 *= share
                t1 *= share
                total = np.float32(0.0)
                for m in range(_TERMS):
                    s = t0 * w0[m] + t1 * w1[m]
                    x = state[here, m] - s
                    total += s + x * mean[at, m]
                    state[here, m] = s + x * stay[at, m]
                out[k, row, column] += total
