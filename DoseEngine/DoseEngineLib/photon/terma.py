"""TERMA on a lattice of cubes along the beam: where photons interact, and with how much energy.

Energy bins are attenuated on their own along a fan of diverging rays; the lattice reads the fan and the fluence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from DoseEngineLib.errors import EngineError, GeometryError
from DoseEngineLib.machine import Machine
from DoseEngineLib.materials.attenuation import mass_attenuation_by_density_cm2_g
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.fluence import BeamSegment
from DoseEngineLib.photon.lost_share import lost_share
from DoseEngineLib.photon.raytrace import NEAREST_MM, density_at
from DoseEngineLib.photon.scale_space import make_scale_space, read_planes

# Scatter further than this from the field's edge, at the isocentre plane, is left out.
FIELD_MARGIN_MM = 200.0
_DENSITY_STEP_G_CM3 = 0.01
_DENSITY_LIMIT_G_CM3 = 22.6
# The fan of attenuation: it varies slowly; density is sampled at least twice a voxel or every half millimetre.
_RAY_PITCH_MM = 2.5
_RAY_STEP_MM = 2.5
_MOST_SAMPLES_A_STEP = 5
# TERMA, density, fluence and the copies laid out for each march axis.
_BYTES_A_CELL = 60


@dataclass(frozen=True, eq=False)
class TermaLattice:
    """TERMA of spectral groups on cubes along the beam.

    Attributes
    ----------
    terma : (g, z, y, x) float32 array
        MeV/g for 1 photon/cm2 in air on the axis at the SAD.
    density_g_cm3 : (z, y, x) float32 array
    first_mm : (3,) array
        Centre of cell (0, 0, 0): collimator x and y, and distance from the source along the axis.
    side_mm : float
    """

    terma: np.ndarray
    density_g_cm3: np.ndarray
    first_mm: np.ndarray
    side_mm: float


def _lit_box(segment: BeamSegment) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper (u, v) in mm at the isocentre plane of what the field opens."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    values, pixel = segment.fluence.values, segment.fluence.pixel_mm
    n = values.shape[0] // 2
    lit = values > 0.05 * values.max()
    for axis in (0, 1):
        used = np.flatnonzero(lit.any(axis=axis))
        low[axis], high[axis] = (used[0] - n) * pixel, (used[-1] + 1 - n) * pixel
    return low, high


def make_terma_lattice(
    patient: Patient,
    segment: BeamSegment,
    machine: Machine,
    group_of_bin: np.ndarray,
    groups: int,
    side_mm: float,
    max_memory_GB: float,
) -> TermaLattice:
    """Release a segment's energy in the body.

    Parameters
    ----------
    group_of_bin : (b,) array of int
        Spectral group of each energy bin of the machine, below ``groups``.
    side_mm : float
        Side of the lattice's cubes.
    max_memory_GB : float
        Refuse a lattice whose calculation would need more.

    Raises
    ------
    GeometryError
        When the body reaches into the treatment head or behind the source.
    EngineError
        When the field passes the body at more than `FIELD_MARGIN_MM`, or the lattice needs too much memory.
    """
    sad = machine.sad_mm
    body_grid, slices = patient.body_box
    corners = segment.frame.to_beam(body_grid.corners_RAS_mm)
    near, far = sad - corners[:, 2].max(), sad - corners[:, 2].min()
    if near < NEAREST_MM:
        raise GeometryError(
            f"The image reaches to {near:.0f} mm from the radiation source (the head needs {NEAREST_MM:.0f} mm); "
            "check the isocentre and the couch angle, or crop the image."
        )
    open_low, open_high = _lit_box(segment)
    low = np.maximum(corners[:, :2].min(axis=0), (open_low - FIELD_MARGIN_MM) * far / sad)
    high = np.minimum(corners[:, :2].max(axis=0), (open_high + FIELD_MARGIN_MM) * far / sad)
    if (low >= high).any():
        raise EngineError(
            f"The field passes the body at more than {FIELD_MARGIN_MM / 10:.0f} cm; check isocentre, jaws and angles."
        )
    # cells meet at the axis
    first = np.append((np.floor(low / side_mm) + 0.5) * side_mm, near + side_mm / 2)
    counts = np.ceil((np.append(high, far) - first) / side_mm + 0.5).astype(int)
    need_GB = float(np.prod(counts.astype(float))) * _BYTES_A_CELL / 1e9
    if need_GB > max_memory_GB:
        raise EngineError(
            f"Cells of {side_mm:g} mm along the beam need about {need_GB:.1f} GB, more than the {max_memory_GB:g} GB "
            "allowed; use a coarser dose grid, a larger pitch_mm or a higher max_memory_GB."
        )
    x, y, distance = (first[axis] + side_mm * np.arange(counts[axis]) for axis in range(3))
    to_ras = np.eye(4)
    to_ras[:3, :3] = segment.frame.rotation * (1.0, 1.0, -1.0)
    to_ras[:3, 3] = segment.frame.source_RAS_mm(sad)
    to_index = body_grid.inverse_affine @ to_ras
    ct = np.ascontiguousarray(patient.density_g_cm3[slices], dtype=np.float32)

    energy = np.array(machine.energy_MeV)
    densities = np.arange(0.0, _DENSITY_LIMIT_G_CM3 + _DENSITY_STEP_G_CM3, _DENSITY_STEP_G_CM3)
    attenuation = mass_attenuation_by_density_cm2_g(densities, energy)
    released = np.array(machine.fluence) * energy * attenuation[0]
    # what a group interacts in a medium relative to water, at 10 cm depth
    seen = released * np.exp(-10.0 * attenuation[0])
    member = np.eye(groups)[group_of_bin]
    # (a group may be empty: few lines, or one)
    relative = ((attenuation / attenuation[0] * seen) @ member) / np.maximum(seen @ member, 1e-300)

    u_low = min(low[0] * sad / near, low[0] * sad / far)
    v_low = min(low[1] * sad / near, low[1] * sad / far)
    u_high = max(high[0] * sad / near, high[0] * sad / far)
    v_high = max(high[1] * sad / near, high[1] * sad / far)
    fan_first = np.array([u_low - _RAY_PITCH_MM, v_low - _RAY_PITCH_MM, near])
    fan_counts = (
        np.ceil(
            (np.array([u_high + 2 * _RAY_PITCH_MM, v_high + 2 * _RAY_PITCH_MM]) - fan_first[:2]) / _RAY_PITCH_MM
        ).astype(int)
        + 1
    )
    fan_planes = int(np.ceil((far - near) / _RAY_STEP_MM)) + 2
    samples = int(np.clip(np.ceil(2 * _RAY_STEP_MM / body_grid.spacing_mm.min()), 2, _MOST_SAMPLES_A_STEP))
    fan = _attenuate(
        ct, to_index, fan_first, fan_counts[1], fan_counts[0], fan_planes, sad, attenuation.astype(np.float32),
        released.astype(np.float32), np.ascontiguousarray(member.T, dtype=np.float32),
        np.array(machine.softening, dtype=float), samples,
    )  # fmt: skip
    fluence = np.zeros((counts[2], counts[1], counts[0]), np.float32)
    u, v = (places[None, :] * (sad / distance)[:, None] for places in (x, y))
    for source in segment.sources:
        blur = np.array([source.blur_sigma_mm(t, segment.collimation_distance_mm, sad) for t in distance])
        sigma = np.hypot(blur, side_mm / np.sqrt(12) * sad / distance)
        space = make_scale_space(
            source.fluence, max(float(sigma.max()), source.fluence.pixel_mm), smallest_sigma_mm=float(sigma.min())
        )
        strength = np.array([source.strength(t, sad) for t in distance], np.float32)
        fluence += strength[:, None, None] * read_planes(space, u, v, sigma)
    terma, density = _read(ct, to_index, first, side_mm, fluence, fan, fan_first, sad, relative.astype(np.float32))
    return TermaLattice(terma, density, first, side_mm)


def windowed(lattice: TermaLattice, segment: BeamSegment, sad_mm: float, margin_mm: float) -> TermaLattice:
    """Cut a lattice to the field and a margin across the beam, wider where the body is light (up to twice)."""
    planes, rows, columns = lattice.density_g_cm3.shape
    dense = lattice.density_g_cm3[lattice.density_g_cm3 > 0.05]
    lightest = float(np.percentile(dense, 5)) if dense.size else 1.0
    margin = margin_mm / float(np.clip(lightest, 0.5, 1.0))
    far = (lattice.first_mm[2] + planes * lattice.side_mm) / sad_mm
    low, high = _lit_box(segment)
    cut = []
    for axis, count in ((1, rows), (0, columns)):
        start = (low[axis] * (far if low[axis] < 0 else 1.0) - margin - lattice.first_mm[axis]) / lattice.side_mm
        stop = (high[axis] * (far if high[axis] > 0 else 1.0) + margin - lattice.first_mm[axis]) / lattice.side_mm
        first = int(np.clip(np.floor(start), 0, max(count - 2, 0)))
        cut.append(slice(first, int(np.clip(np.ceil(stop) + 1, first + 2, count))))
    first_mm = lattice.first_mm + lattice.side_mm * np.array([cut[1].start, cut[0].start, 0])
    window = (..., *cut)
    return TermaLattice(lattice.terma[window], lattice.density_g_cm3[window], first_mm, lattice.side_mm)


def coarsened(lattice: TermaLattice) -> TermaLattice:
    """Join cells two by two by two: mean density, TERMA averaged by mass."""
    terma, density = _join(lattice.terma, lattice.density_g_cm3)
    return TermaLattice(terma, density, lattice.first_mm + lattice.side_mm / 2, 2 * lattice.side_mm)


@numba.njit(cache=True, nogil=True, parallel=True)
def _join(terma, density):
    groups, planes, rows, columns = terma.shape
    nz, ny, nx = (planes + 1) // 2, (rows + 1) // 2, (columns + 1) // 2
    joined = np.zeros((groups, nz, ny, nx), np.float32)
    mass = np.zeros((nz, ny, nx), np.float32)
    for n in numba.prange(nz * ny):
        z = n // ny
        y = n - z * ny
        for x in range(nx):
            total = np.float32(0.0)
            for k in range(2 * z, min(2 * z + 2, planes)):
                for j in range(2 * y, min(2 * y + 2, rows)):
                    for i in range(2 * x, min(2 * x + 2, columns)):
                        here = density[k, j, i]
                        total += here
                        for g in range(groups):
                            joined[g, z, y, x] += here * terma[g, k, j, i]
            # cells beyond the lattice are empty
            mass[z, y, x] = total / np.float32(8.0)
            if total > 0.0:
                for g in range(groups):
                    joined[g, z, y, x] /= total
    return joined, mass


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
def _pass_on(energy, attenuation, mass):
    """Attenuate the bins by a mass in g/cm2; in four quarters, so that metal is within the approximant too."""
    quarter = np.float32(0.25 * mass)
    for b in range(energy.size):
        passed = np.float32(1.0) - lost_share(attenuation[b] * quarter)
        passed *= passed
        energy[b] *= passed * passed


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _sum_of_group(energy, member):
    total = np.float32(0.0)
    for b in range(energy.size):
        total += energy[b] * member[b]
    return total


@numba.njit(cache=True, nogil=True, parallel=True)
def _attenuate(
    density, to_index, first, count_v, count_u, planes, sad, attenuation, released, member, softening, samples
):
    """Energy each group would release a gram in water, MeV cm2/g, at the nodes (w, v, u, g) of a fan of rays.

    ``attenuation`` is (densities, bins), ``member`` (groups, bins).
    """
    groups = member.shape[0]
    result = np.zeros((planes, count_v, count_u, groups), np.float32)
    last = attenuation.shape[0] - 1
    for row in numba.prange(count_v):
        v = first[1] + row * _RAY_PITCH_MM
        for column in range(count_u):
            u = first[0] + column * _RAY_PITCH_MM
            slant = np.sqrt(u * u + v * v + sad * sad) / sad
            harder = 1.0
            if softening.size:
                angle = np.degrees(np.arctan(np.sqrt(u * u + v * v) / sad))
                power = 1.0
                for c in softening:
                    power *= angle
                    harder += c * power
            tx, ty = u / sad, v / sad
            sx = to_index[0, 0] * tx + to_index[0, 1] * ty + to_index[0, 2]
            sy = to_index[1, 0] * tx + to_index[1, 1] * ty + to_index[1, 2]
            sz = to_index[2, 0] * tx + to_index[2, 1] * ty + to_index[2, 2]
            energy = released.copy()
            for g in range(groups):
                result[0, row, column, g] = _sum_of_group(energy, member[g])
            for plane in range(1, planes):
                here = 0.0
                for sample in range(samples):
                    t = first[2] + (plane - 1 + (sample + 0.5) / samples) * _RAY_STEP_MM
                    here += density_at(
                        density, to_index[0, 3] + sx * t, to_index[1, 3] + sy * t, to_index[2, 3] + sz * t
                    )
                here /= samples
                if here > 0.0:
                    # mm to cm
                    mass = here * slant * harder * _RAY_STEP_MM * 0.1
                    _pass_on(energy, attenuation[min(int(here / _DENSITY_STEP_G_CM3 + 0.5), last)], mass)
                for g in range(groups):
                    result[plane, row, column, g] = _sum_of_group(energy, member[g])
    return result


@numba.njit(cache=True, nogil=True, parallel=True)
def _read(density, to_index, first, side, fluence, fan, fan_first, sad, relative):
    """TERMA and density at the cells of the lattice."""
    planes, rows, columns = fluence.shape
    nw, nv, nu, groups = fan.shape
    last = relative.shape[0] - 1
    terma = np.zeros((groups, planes, rows, columns), np.float32)
    mass = np.zeros((planes, rows, columns), np.float32)
    for n in numba.prange(planes * rows):
        plane = n // rows
        row = n - plane * rows
        t = first[2] + plane * side
        y = first[1] + row * side
        for column in range(columns):
            x = first[0] + column * side
            here = density_at(
                density,
                to_index[0, 0] * x + to_index[0, 1] * y + to_index[0, 2] * t + to_index[0, 3],
                to_index[1, 0] * x + to_index[1, 1] * y + to_index[1, 2] * t + to_index[1, 3],
                to_index[2, 0] * x + to_index[2, 1] * y + to_index[2, 2] * t + to_index[2, 3],
            )
            mass[plane, row, column] = here
            lit = fluence[plane, row, column]
            if lit <= 0.0:
                continue
            a = min(max((x * sad / t - fan_first[0]) / _RAY_PITCH_MM, 0.0), nu - 1.000001)
            b = min(max((y * sad / t - fan_first[1]) / _RAY_PITCH_MM, 0.0), nv - 1.000001)
            c = min(max((t - fan_first[2]) / _RAY_STEP_MM, 0.0), nw - 1.000001)
            i, j, k = int(a), int(b), int(c)
            a -= i
            b -= j
            c -= k
            at = min(int(here / _DENSITY_STEP_G_CM3 + 0.5), last)
            for g in range(groups):
                value = (
                    (fan[k, j, i, g] * (1 - a) + fan[k, j, i + 1, g] * a) * (1 - b)
                    + (fan[k, j + 1, i, g] * (1 - a) + fan[k, j + 1, i + 1, g] * a) * b
                ) * (1 - c) + (
                    (fan[k + 1, j, i, g] * (1 - a) + fan[k + 1, j, i + 1, g] * a) * (1 - b)
                    + (fan[k + 1, j + 1, i, g] * (1 - a) + fan[k + 1, j + 1, i + 1, g] * a) * b
                ) * c
                terma[g, plane, row, column] = value * lit * relative[at, g]
    return terma, mass


@numba.njit(cache=True, inline="always")
def _cubic(t):
    """Catmull-Rom weights: interpolation that, unlike linear, does not widen edges."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@numba.njit(cache=True, nogil=True, parallel=True)
def _gather(dose, inside, to_lattice, values):
    """Read lattice values (z, y, x) at the voxels of a dose grid, cubic across the beam, linear along it; add them."""
    nk, nj, ni = dose.shape
    nz, ny, nx = values.shape
    for row in numba.prange(nk * nj):
        k = row // nj
        j = row - k * nj
        for i in range(ni):
            if not inside[k, j, i]:
                continue
            a = to_lattice[0, 0] * i + to_lattice[0, 1] * j + to_lattice[0, 2] * k + to_lattice[0, 3]
            b = to_lattice[1, 0] * i + to_lattice[1, 1] * j + to_lattice[1, 2] * k + to_lattice[1, 3]
            c = to_lattice[2, 0] * i + to_lattice[2, 1] * j + to_lattice[2, 2] * k + to_lattice[2, 3]
            if a < -0.5 or b < -0.5 or a > nx - 0.5 or b > ny - 0.5:
                continue
            c = min(max(c, 0.0), nz - 1.000001)
            iu, iv, iq = int(np.floor(a)), int(np.floor(b)), int(c)
            wu, wv = _cubic(a - iu), _cubic(b - iv)
            share = c - iq
            total = 0.0
            for n in range(4):
                at_v = min(max(iv - 1 + n, 0), ny - 1)
                for m in range(4):
                    at_u = min(max(iu - 1 + m, 0), nx - 1)
                    here = values[iq, at_v, at_u] * (1 - share) + values[iq + 1, at_v, at_u] * share
                    total += wv[n] * wu[m] * here
            dose[k, j, i] += total


def add_to_grid(
    dose: np.ndarray,
    inside: np.ndarray,
    grid_affine: np.ndarray,
    segment: BeamSegment,
    lattice: TermaLattice,
    values: np.ndarray,
    sad_mm: float,
) -> None:
    """Add values (z, y, x) on a lattice to a dose array (k, j, i) on the grid of ``grid_affine`` where ``inside``."""
    to_lattice = np.eye(4)
    # RAS -> collimator x, y and distance from the source -> index x, y, z
    rotation = segment.frame.rotation.T * np.array([[1.0], [1.0], [-1.0]])
    offset = -rotation @ segment.frame.isocenter_RAS_mm + np.array([0.0, 0.0, sad_mm])
    to_lattice[:3, :3] = rotation / lattice.side_mm
    to_lattice[:3, 3] = (offset - lattice.first_mm) / lattice.side_mm
    _gather(dose, inside, to_lattice @ grid_affine, values)
