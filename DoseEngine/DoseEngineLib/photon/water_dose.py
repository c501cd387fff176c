"""Dose in a semi-infinite flat water phantom: pencil kernels under the head's sources, without a voxel grid.

What the focal spot lights is a sum of rectangles (jaws, leaves) times the off-axis shape. With the shape written as a
sum of Gaussians of the radius, its blur by the Gaussians of kernel and spot has a closed form. The extra-focal source
is smooth and read from its map. The primary collimator is a square here: what its corners let through is transmission.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numba
import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import EngineError, MachineError
from DoseEngineLib.machine import ElectronContamination, Machine, ReferenceCalibration
from DoseEngineLib.photon.fluence import (
    FluenceSource,
    backscatter_factor,
    collimation_distance_mm,
    extra_focal_fluence,
    leaf_strips,
    off_axis_ratio,
)
from DoseEngineLib.photon.pencil_kernel import PencilKernel, pencil_kernel
from DoseEngineLib.photon.scale_space import LEVELS_PER_OCTAVE, ScaleSpace, make_scale_space
from DoseEngineLib.plan import Aperture

# Widths of the Gaussians of the radius that make up the off-axis shape; the last is flat.
_SHAPE_SIGMAS_MM = np.array([6.0, 9.0, 14.0, 20.0, 30.0, 45.0, 65.0, 90.0, 130.0, 180.0, 260.0, 400.0, 1e6])
_SHAPE_TOLERANCE = 0.015
# Kernels wider than this on the isocentre plane are read from the widest level.
_LARGEST_SIGMA_MM = 500.0


def dose_kernel(machine: Machine) -> PencilKernel:
    """Pencil kernel of a machine: its photons, and where they are modelled one Gaussian more for the electrons."""
    kernel = pencil_kernel(machine.energy_MeV, machine.fluence)
    if machine.electron_contamination is None:
        return kernel
    return _with_electrons(kernel, machine.electron_contamination)


def contamination_kernel(machine: Machine) -> PencilKernel | None:
    """Pencil kernel of the contaminating electrons alone; None where the machine has none."""
    if machine.electron_contamination is None:
        return None
    whole = dose_kernel(machine)
    return PencilKernel(whole.depth_mm, whole.sigma_mm[-1:], whole.weights_Gy_cm2[-1:])


def _with_electrons(kernel: PencilKernel, part: ElectronContamination) -> PencilKernel:
    greatest = kernel.weights_Gy_cm2.sum(axis=0).max()
    electrons = part.surface_ratio * greatest * np.exp(-kernel.depth_mm / part.decay_mm)
    return PencilKernel(
        kernel.depth_mm, np.append(kernel.sigma_mm, part.sigma_mm), np.vstack([kernel.weights_Gy_cm2, electrons])
    )


@lru_cache(maxsize=64)
def photons_per_cm2_per_MU(machine: Machine) -> float:
    """Photon fluence in air on the axis at the SAD for each MU of a wide open field, from the machine's calibration."""
    calibration = machine.calibration
    if isinstance(calibration, ReferenceCalibration):
        reference = axis_dose_in_water(machine, calibration.ssd_mm, calibration.depth_mm, calibration.field_mm)
        return calibration.dose_Gy_per_MU / reference
    return calibration


def axis_dose_in_water(machine: Machine, ssd_mm: float, depth_mm: float, field_mm: tuple[float, float]) -> float:
    """Dose on the axis of an open field in Gy cm2: Gy for 1 photon/cm2 in air on the axis at the SAD, jaws wide open.

    Parameters
    ----------
    field_mm : (float, float)
        Jaw setting X, Y at the isocentre plane.
    """
    (half_x, half_y) = (side / 2 for side in field_mm)
    aperture = Aperture((-half_x, half_x), (-half_y, half_y))
    return float(dose_for_fluence(machine, aperture, ssd_mm, np.array([[0.0, 0.0, depth_mm]]))[0])


def water_dose(machine: Machine, aperture: Aperture, ssd_mm: float, points_mm: np.ndarray) -> np.ndarray:
    """Dose for each MU in a semi-infinite water phantom whose surface is flat and normal to the axis.

    Parameters
    ----------
    points_mm : (n, 3) array
        x, y in the collimator frame (not projected) and depth below the surface.

    Returns
    -------
    (n,) array
        Gy/MU.

    Raises
    ------
    EngineError
        A point above the surface or deeper than the kernels reach, or an SSD that puts the surface in the head.
    PlanError
        An aperture that the machine cannot form.
    """
    return dose_for_fluence(machine, aperture, ssd_mm, points_mm) * photons_per_cm2_per_MU(machine)


def dose_for_fluence(machine: Machine, aperture: Aperture, ssd_mm: float, points_mm: np.ndarray) -> np.ndarray:
    """As `water_dose`, in Gy cm2: Gy for 1 photon/cm2 in air on the axis at the SAD with jaws wide open."""
    machine.check_aperture(aperture, "Water phantom")
    x, y, depth = np.asarray(points_mm, dtype=float).reshape(-1, 3).T
    kernel = dose_kernel(machine)
    collimation = collimation_distance_mm(aperture, machine)
    if not ssd_mm > collimation:
        raise EngineError(f"SSD {ssd_mm:g} mm lies in the head; give more than {collimation:g} mm.")
    if depth.size and not (depth.min() >= 0 and depth.max() <= kernel.depth_mm[-1]):
        raise EngineError(f"Depths in water must lie in 0..{kernel.depth_mm[-1]:g} mm below the surface.")
    distance = ssd_mm + depth
    scale = machine.sad_mm / distance
    u, v = x * scale, y * scale
    radius = np.hypot(u, v)
    along_ray = depth * np.sqrt(1.0 + (radius / machine.sad_mm) ** 2) * machine.attenuation_ratio(radius)
    weights = np.stack([np.interp(along_ray, kernel.depth_mm, row) for row in kernel.weights_Gy_cm2])
    sigma = kernel.sigma_mm[:, None] * scale
    extra = machine.extra_focal
    primary = FluenceSource("primary", 1.0 if extra is None else 1.0 - extra.weight, machine.source_sigma_mm, 0.0, None)
    blur = primary.blur_sigma_mm(distance, collimation, machine.sad_mm)
    lit = np.empty_like(sigma)
    _blurred_rectangles(
        lit, u, v, np.hypot(sigma, blur), *_rectangles(aperture, machine), _SHAPE_SIGMAS_MM, _off_axis_shape(machine)
    )
    lit *= primary.strength(distance, machine.sad_mm) * backscatter_factor(aperture, machine)
    if extra is not None:
        seen = FluenceSource("extra_focal", extra.weight, extra.sigma_mm, extra.distance_mm, None)
        lit += seen.strength(distance, machine.sad_mm) * _read(_extra_focal_space(aperture, machine), u, v, sigma)
    return (weights * lit).sum(axis=0)


@lru_cache(maxsize=64)
def _off_axis_shape(machine: Machine) -> np.ndarray:
    """Amplitudes (m,) of the Gaussians of the radius that make up the off-axis shape."""
    if machine.off_axis_kind == "flat":
        return (_SHAPE_SIGMAS_MM[-1] == _SHAPE_SIGMAS_MM).astype(float)
    radius = np.arange(0.0, machine.field_radius_mm + 1.0, 2.0)
    terms = np.exp(-0.5 * (radius[:, None] / _SHAPE_SIGMAS_MM) ** 2)
    # a little damping keeps amplitudes of neighbouring widths from cancelling each other in large numbers
    damping = 1e-5 * np.eye(terms.shape[1])
    ratio = off_axis_ratio(machine, radius)
    amplitude = np.linalg.lstsq(np.vstack([terms, damping]), np.append(ratio, np.zeros(terms.shape[1])), rcond=None)[0]
    worst = np.abs(terms @ amplitude - ratio)[radius < machine.field_radius_mm - 10].max()
    if worst > _SHAPE_TOLERANCE:
        raise MachineError(
            f"{machine.name}: the off-axis table bends too sharply for the water phantom (off by {worst:.3f}); "
            "smooth it."
        )
    return amplitude


def _extra_focal_space(aperture: Aperture, machine: Machine) -> ScaleSpace:
    # a fit changes one number at a time, and most do not change what is seen of the source
    seen_through = replace(
        machine,
        energy_MeV=(),
        fluence=(),
        source_sigma_mm=0.0,
        off_axis_radius_mm=(),
        off_axis_ratio=(),
        softening=(),
        extra_focal=replace(machine.extra_focal, weight=0.0),
        electron_contamination=None,
        provenance={},
    )
    return _cached_extra_focal_space(aperture, seen_through)


@lru_cache(maxsize=64)
def _cached_extra_focal_space(aperture: Aperture, machine: Machine) -> ScaleSpace:
    return make_scale_space(extra_focal_fluence(aperture, machine), _LARGEST_SIGMA_MM)


def _read(space: ScaleSpace, u: np.ndarray, v: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Blurred map at (p,) places of the isocentre plane for (n, p) widths."""
    levels = np.empty((space.sigma_mm.size, u.size))
    for n, (offset, half, pixel) in enumerate(zip(space.offset, space.half_count, space.pixel_mm, strict=True)):
        image = space.values[offset : offset + 4 * half * half].reshape(2 * half, 2 * half)
        at = np.stack((v, u)) / pixel + half - 0.5
        levels[n] = ndimage.map_coordinates(image, at, output=float, order=1, mode="constant")
    place = np.log2(sigma / space.sigma_mm[0]) * LEVELS_PER_OCTAVE
    place = np.clip(place, 0.0, space.sigma_mm.size - 1.000001)
    low = place.astype(int)
    share = place - low
    column = np.arange(u.size)
    return levels[low, column] * (1 - share) + levels[low + 1, column] * share


@lru_cache(maxsize=64)
def _rectangles(aperture: Aperture, machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bands along Y, each cut along X, that the focal spot lights evenly.

    Returns
    -------
    band_mm : (b + 1,) array
        Edges of the bands along Y at the isocentre plane.
    cut_mm : (b, c + 1) array
        Edges of each band's pieces along X.
    value : (b, c) array
        Fluence of each piece, without the off-axis shape.
    """
    reach = machine.field_radius_mm
    x, y = machine.jaw_x.transmission, machine.jaw_y.transmission
    bands = [-reach, reach, *aperture.jaw_y_mm]
    if aperture.leaf_positions_mm is not None:
        sides, low, high = leaf_strips(aperture, machine)
        bands.extend(sides)
    bands = np.unique(np.clip(bands, -reach, reach))
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    edges = [bands[0]]
    for bottom, top in zip(bands[:-1], bands[1:], strict=True):
        middle = (bottom + top) / 2
        cuts = [-reach, *aperture.jaw_x_mm, reach]
        strip = -1
        if aperture.leaf_positions_mm is not None:
            strip = int(np.searchsorted(sides, middle)) - 1
            if 0 <= strip < low.size:
                cuts += [low[strip], max(low[strip], high[strip])]
            else:
                strip = -1
        cuts = np.sort(np.clip(cuts + [reach] * (6 - len(cuts)), -reach, reach))
        at = (cuts[:-1] + cuts[1:]) / 2
        value = np.where((at > aperture.jaw_x_mm[0]) & (at < aperture.jaw_x_mm[1]), 1.0, x)
        if not aperture.jaw_y_mm[0] < middle < aperture.jaw_y_mm[1]:
            value = value * y
        if strip >= 0:
            value = value * np.where((at > low[strip]) & (at < high[strip]), 1.0, machine.mlc.transmission)
        if rows and np.array_equal(rows[-1][0], cuts) and np.array_equal(rows[-1][1], value):
            edges[-1] = top
        else:
            rows.append((cuts, value))
            edges.append(top)
    return np.array(edges), np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])


@numba.njit(cache=True, nogil=True, parallel=True)
def _blurred_rectangles(lit, u, v, sigma, band, cut, value, shape_sigma, amplitude):
    root = math.sqrt(0.5)
    for p in numba.prange(u.size):
        for n in range(sigma.shape[0]):
            variance = sigma[n, p] ** 2
            total = 0.0
            for m in range(shape_sigma.size):
                if amplitude[m] == 0.0:
                    continue
                both = variance + shape_sigma[m] ** 2
                nearer = shape_sigma[m] ** 2 / both
                over = root / math.sqrt(max(variance * nearer, 1e-12))
                near_u = u[p] * nearer
                near_v = v[p] * nearer
                sum_m = 0.0
                below = math.erf((band[0] - near_v) * over)
                for b in range(value.shape[0]):
                    above = math.erf((band[b + 1] - near_v) * over)
                    share = above - below
                    below = above
                    if share == 0.0:
                        continue
                    row = 0.0
                    left = math.erf((cut[b, 0] - near_u) * over)
                    for c in range(value.shape[1]):
                        right = math.erf((cut[b, c + 1] - near_u) * over)
                        row += value[b, c] * (right - left)
                        left = right
                    sum_m += share * row
                total += amplitude[m] * nearer * math.exp(-0.5 * (u[p] * u[p] + v[p] * v[p]) / both) * 0.25 * sum_m
            lit[n, p] = total
