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

from collections import OrderedDict
from dataclasses import replace
from typing import ClassVar

import numba
import numpy as np

from DoseEngineLib.engine_option import EngineOption, checked_options
from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.machine import Machine, ReferenceCalibration
from DoseEngineLib.materials.attenuation import water_to_medium_stopping_ratio
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.beam_engine import PhotonBeamEngine
from DoseEngineLib.photon.cone_kernels import GROUPS, RANGE_POWERS, RANGES_G_CM2, ConeKernels, cone_kernels
from DoseEngineLib.photon.fluence import BeamSegment, beam_segments
from DoseEngineLib.photon.lost_share import lost_share
from DoseEngineLib.photon.pencil_beam import add_segment as add_pencil_segment
from DoseEngineLib.photon.photon_limits import COLLAPSED_CONE_DOES_NOT_MODEL
from DoseEngineLib.photon.photon_options import COLLAPSED_CONE_OPTIONS
from DoseEngineLib.photon.terma import TermaLattice, add_to_grid, coarsened, make_terma_lattice, windowed
from DoseEngineLib.photon.water_dose import contamination_kernel
from DoseEngineLib.plan import Beam
from DoseEngineLib.progress import Progress, part, silent

MEV_G_IN_GY = 1.602176634e-10
# Exponentials carried at a time: the short ranges on fine cells, then the long ones on coarse cells.
_TERMS = 4
_SHORT, _LONG = slice(0, _TERMS), slice(_TERMS, 2 * _TERMS)
# Around the field, short ranges matter this far in water; further in light media, up to twice as far.
_SHORT_MARGIN_MM = 45.0
# Cells between two strips of a line's state: more than any line is long, and no multiple of a cache page.
_STRIP = 4096 + 320
_STRIP_1, _STRIP_2, _STRIP_3, _STRIP_4, _STRIP_5, _STRIP_6, _STRIP_7 = (np.uint64(n * _STRIP) for n in range(1, 8))
# Along a row, the share that rays send into a direction is found every so many cells.
_NODE_CELLS = 8
# Cells that are all but empty are marched as this, less than a hundredth of air's density.
_THINNEST_G_CM3 = 1e-5
# Tangent of the tilt against the axis, up to 31 degrees, for the correction of tilted kernels.
_TANGENT_STEP = 0.005
# Rows of the table of the kernel's energy over the cosine with the ray.
_COSINES = 1025
_GOLDEN = 0.6180339887498949
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
    options: ClassVar[tuple[EngineOption, ...]] = COLLAPSED_CONE_OPTIONS
    models: ClassVar[tuple[str, ...]] = (
        "TERMA by ray tracing, each energy bin attenuated on its own by water, bone or metal as the density says",
        "Monte Carlo point kernels for two spectral groups, so that the kernel hardens with depth",
        "kernel axes along the diverging rays, cones in rings of equal energy all round",
        "density-scaled transport of electrons and scattered photons in 3D, entry and exit surfaces included",
        "every part of the head that the machine file describes",
    )
    does_not_model: ClassVar[tuple[str, ...]] = COLLAPSED_CONE_DOES_NOT_MODEL

    def __init__(
        self,
        rings: int = 24,
        azimuths: int = 8,
        pitch_mm: float | None = None,
        dose_to: str = "medium",
        **beam_options: object,
    ) -> None:
        super().__init__(**beam_options)
        own = {"rings": rings, "azimuths": azimuths, "pitch_mm": pitch_mm, "dose_to": dose_to}
        checked = checked_options(self.options, own, self.title)
        self.rings: int = checked["rings"]
        self.azimuths: int = checked["azimuths"]
        self.pitch_mm: float | None = checked["pitch_mm"]
        self.dose_to: str = checked["dose_to"]

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

        def calibrating(fraction: float, text: str) -> None:
            progress(0.0, "Collapsed cone: what 1 MU gives in the reference phantom")

        per_MU = _photons_per_cm2_per_MU(machine, self.rings, self.azimuths, pitch, calibrating)
        segments = beam_segments(beam, machine, position, _FLUENCE_PIXEL_MM, self.arc_step_deg)
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


# What was found for a machine and the engine's options; not lru_cache, which would take the progress for an option.
_calibrations: OrderedDict[tuple[Machine, int, int, float], float] = OrderedDict()
_CALIBRATIONS_KEPT = 32


def _photons_per_cm2_per_MU(
    machine: Machine, rings: int, azimuths: int, pitch_mm: float, progress: Progress = silent
) -> float:
    """Photons/cm2 in air on the axis at the SAD for each MU, so that this engine meets the machine's calibration.

    The reference condition is computed like any other dose, in a water phantom 10 cm wider than the field on every side
    and 15 cm deeper than the reference depth.
    """
    calibration = machine.calibration
    if not isinstance(calibration, ReferenceCalibration):
        return calibration
    key = (machine, rings, azimuths, pitch_mm)
    if key in _calibrations:
        _calibrations.move_to_end(key)
        return _calibrations[key]
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
                     segment.weight, np.inf, progress)  # fmt: skip
    _calibrations[key] = calibration.dose_Gy_per_MU / float(dose.mean())
    while len(_calibrations) > _CALIBRATIONS_KEPT:
        _calibrations.popitem(last=False)
    return _calibrations[key]


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
        add_pencil_segment(dose, inside, grid, patient, wide, electrons, machine, photons_per_cm2, sharp=False)
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

    Parameters
    ----------
    terms : slice
        The four of short or of long range among `cone_kernels.RANGES_G_CM2`.

    Returns
    -------
    (z, y, x) float32 array
        Energy deposited per unit mass, in the units of the lattice's TERMA.
    """
    directions = cone_directions(kernels.cosine, azimuths)
    rings = np.repeat(np.arange(kernels.cosine.size), azimuths)
    places = [
        (lattice.first_mm[axis] + lattice.side_mm * np.arange(n)).astype(np.float32)
        for axis, n in enumerate(lattice.density_g_cm3.shape[::-1])
    ]
    correction = (1.0 / _tilted_energy(kernels, directions, rings, azimuths)).astype(np.float32)
    tilts = (_density_of_energy(kernels)[None, :] / kernels.energy_density[:, None]).astype(np.float32)
    longest = RANGES_G_CM2[terms][-1] * RANGE_POWERS[-1]
    dose = np.zeros(lattice.density_g_cm3.shape, np.float32)
    done = 0
    for main in (2, 1, 0):
        # array axes (z, y, x) are 0, 1, 2; components of a direction (x, y, t) are 2 - axis. Rows first, then the
        # march: what a line of rows passes lies close together in memory
        order = {2: (1, 0, 2), 1: (0, 1, 2), 0: (0, 2, 1)}[main]
        component = [2 - axis for axis in order]
        chosen = [n for n, d in enumerate(directions) if np.argmax(np.abs(d)) == main]
        if not chosen:
            continue
        coordinates = [places[c] for c in component]
        density, terma = _lay_out(
            lattice.density_g_cm3.transpose(order), lattice.terma.transpose(0, *(1 + axis for axis in order)),
            *coordinates, component.index(2), correction,
        )  # fmt: skip
        _, planes, columns = density.shape
        # mirrored lines part by up to a cell a plane, each to its side
        if columns + 2 * planes + _NODE_CELLS > _STRIP:
            raise EngineError(
                f"A lattice of {density.shape} cells is longer than the collapsed cone can march ({_STRIP} cells along "
                "one side and twice the other); use a larger pitch_mm or a coarser dose grid."
            )
        out = np.zeros(density.shape, np.float32)
        for pair in _mirrored_pairs(directions, chosen, component[2]):
            unit, ring = directions[pair[0]], rings[pair[0]]
            step = unit / np.abs(unit).max()
            # exponents of the longest exponential's root, for a cell of unit density
            per_cell = lattice.side_mm / 10.0 * np.sqrt((step * step).sum()) / longest
            # rounding starts at another place in every ring, in rings that balance
            phase = ((ring // 2) * _GOLDEN) % 1.0
            phase = 1.0 - phase if ring % 2 else phase
            across = _whole_cells(step[component[0]], planes, phase)
            along = _whole_cells(step[component[2]], planes, phase)
            weights = (kernels.weights[:, ring, terms] / azimuths).astype(np.float32)
            _march(
                density, terma, out, np.float32(per_cell), weights, across, np.array([along, -along][: len(pair)]),
                bool(unit[main] > 0), directions[pair][:, component].astype(np.float32), *coordinates,
                np.float32(lattice.side_mm), tilts[ring],
            )  # fmt: skip
            done += len(pair)
            progress(done / len(directions), "Collapsed cone: transport")
        dose += out.transpose(np.argsort(order))
    return dose


def _mirrored_pairs(directions: np.ndarray, chosen: list[int], component: int) -> list[list[int]]:
    """Group directions that differ in the sign of one component only; those without a partner stay alone."""

    def key(direction: np.ndarray) -> tuple[float, ...]:
        # adding zero turns -0.0 into 0.0
        return tuple(np.round(direction, 9) + 0.0)

    flip = np.where(np.arange(3) == component, -1.0, 1.0)
    left = {key(directions[n]): n for n in chosen}
    pairs = []
    while left:
        _, n = left.popitem()
        partner = left.pop(key(directions[n] * flip), None)
        pairs.append([n] if partner is None else [n, partner])
    return pairs


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


@numba.njit(cache=True, nogil=True, parallel=True)
def _lay_out(density, terma, at0, at1, at2, along, correction):
    """Copy a lattice in the order of its march, with TERMA corrected for the tilt of its rays.

    ``along`` says which of the three axes runs along the beam.
    """
    n0, n1, n2 = density.shape
    mass = np.empty((n0, n1, n2), np.float32)
    result = np.empty((GROUPS, n0, n1, n2), np.float32)
    last = correction.size - 1
    for i in numba.prange(n0):
        for j in range(n1):
            for k in range(n2):
                a, b, c = at0[i], at1[j], at2[k]
                depth = a if along == 0 else (b if along == 1 else c)
                tangent = np.sqrt(max(a * a + b * b + c * c - depth * depth, np.float32(0.0))) / depth
                factor = correction[min(int(tangent / np.float32(_TANGENT_STEP) + np.float32(0.5)), last)]
                # in a vacuum what passes deposits as in very thin air
                mass[i, j, k] = max(density[i, j, k], np.float32(_THINNEST_G_CM3))
                for g in range(GROUPS):
                    result[g, i, j, k] = terma[g, i, j, k] * factor
    return mass, result


@numba.njit(cache=True, inline="always")
def _share_at(unit0, unit1, unit2, x0, x1, x2, tilt):
    """Energy that a photon along the ray to a place sends into a direction, relative to one along the ring's axis."""
    cosine = (unit0 * x0 + unit1 * x1 + unit2 * x2) / np.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
    place = (cosine + np.float32(1.0)) * np.float32(0.5 * (_COSINES - 1)) + np.float32(0.5)
    return tilt[min(int(place), _COSINES - 1)]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
def _prepare_row(mass, first, second, per_cell, row):
    """Copy a row of cells and find what each takes from the four exponentials; they are powers of one.

    This and `_carry_row` become vector instructions: no table is read, all strips of ``row`` are a fixed distance
    apart, and indices are unsigned.
    """
    two = np.float32(2.0)
    for c in range(np.uint64(mass.size)):
        x = mass[c] * per_cell
        # 1 - exp(-x), and from it 1 - exp(-n x) for n = 2, 5, 12, 30
        q1 = lost_share(x)
        q2 = q1 * (two - q1)
        q4 = q2 * (two - q2)
        q5 = q4 + q1 - q4 * q1
        q10 = q5 * (two - q5)
        q12 = q10 + q2 - q10 * q2
        q15 = q10 + q5 - q10 * q5
        row[c] = q15 * (two - q15)
        row[c + _STRIP_1] = q12
        row[c + _STRIP_2] = q5
        row[c + _STRIP_3] = q2
        row[c + _STRIP_4] = np.float32(1.0) / x
        row[c + _STRIP_5] = first[c]
        row[c + _STRIP_6] = second[c]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
def _carry_row(row, lines, deposited, weights):
    """Carry a row of lines through the cells that `_prepare_row` laid out."""
    a0, a1, a2, a3 = weights[0, 0], weights[0, 1], weights[0, 2], weights[0, 3]
    b0, b1, b2, b3 = weights[1, 0], weights[1, 1], weights[1, 2], weights[1, 3]
    a_all, b_all = a0 + a1 + a2 + a3, b0 + b1 + b2 + b3
    for c in range(np.uint64(deposited.size)):
        share = row[c + _STRIP_7]
        t0 = row[c + _STRIP_5] * share
        t1 = row[c + _STRIP_6] * share
        s0 = t0 * a0 + t1 * b0
        s1 = t0 * a1 + t1 * b1
        s2 = t0 * a2 + t1 * b2
        s3 = t0 * a3 + t1 * b3
        x0 = lines[c] - s0
        x1 = lines[c + _STRIP_1] - s1
        x2 = lines[c + _STRIP_2] - s2
        x3 = lines[c + _STRIP_3] - s3
        lost0 = x0 * row[c]
        lost1 = x1 * row[c + _STRIP_1]
        lost2 = x2 * row[c + _STRIP_2]
        lost3 = x3 * row[c + _STRIP_3]
        lines[c] = s0 + x0 - lost0
        lines[c + _STRIP_1] = s1 + x1 - lost1
        lines[c + _STRIP_2] = s2 + x2 - lost2
        lines[c + _STRIP_3] = s3 + x3 - lost3
        lost = lost0 * np.float32(1 / 30) + lost1 * np.float32(1 / 12)
        lost += lost2 * np.float32(1 / 5) + lost3 * np.float32(1 / 2)
        deposited[c] += t0 * a_all + t1 * b_all + lost * row[c + _STRIP_4]


@numba.njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract", "nsz"})
def _march(density, terma, out, per_cell, weights, shift1, shift2, forward, units, at0, at1, at2, side, tilt):
    """Carry directions through the lattice that differ in the sign of their slope along rows; axis 1 is the march.

    Lines keep to whole cells: from plane to plane each moves on by the rounded slope, ``shift1`` across rows (the same
    for all directions) and ``shift2`` (directions, planes) along them. A thread carries one row of lines: for each
    direction a strip of what the lines hold for each exponential.
    """
    n1, planes, n2 = density.shape
    count = units.shape[0]
    top1, top2 = shift1.max(), shift2.max()
    lines1 = n1 + top1 - shift1.min()
    lines2 = n2 + top2 - shift2.min()
    for line in numba.prange(lines1):
        strips = np.empty(count * _TERMS * _STRIP, np.float32)
        for m in range(count * _TERMS):
            strips[m * _STRIP : m * _STRIP + lines2] = 0.0
        cells = np.empty(8 * _STRIP, np.float32)
        share = cells[7 * _STRIP :]
        for p in range(planes):
            row = line - (top1 - shift1[p])
            if row < 0 or row >= n1:
                continue
            k = p if forward else planes - 1 - p
            _prepare_row(density[row, k], terma[0, row, k], terma[1, row, k], per_cell, cells)
            for d in range(count):
                # the share varies slowly along a row: straight between nodes
                left = _share_at(units[d, 0], units[d, 1], units[d, 2], at0[row], at1[k], at2[0], tilt)
                for node in range(0, n2, _NODE_CELLS):
                    x2 = at2[node] + np.float32(_NODE_CELLS) * side
                    right = _share_at(units[d, 0], units[d, 1], units[d, 2], at0[row], at1[k], x2, tilt)
                    slope = (right - left) * np.float32(1.0 / _NODE_CELLS)
                    for n in range(_NODE_CELLS):
                        share[node + n] = left + slope * np.float32(n)
                    left = right
                lines = strips[d * _TERMS * _STRIP + top2 - shift2[d, p] :]
                _carry_row(cells, lines, out[row, k], weights)
