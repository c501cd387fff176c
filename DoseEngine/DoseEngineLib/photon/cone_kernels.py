"""Point kernels collapsed onto cones: rings of equal energy, each a sum of exponentials in radiological distance.

The energy that a ring (all azimuths between two polar angles) carries beyond a radiological distance x from the
interaction is written as sum over m of weight_m exp(-x / range_m), the ranges being common to all rings and spectral
groups: superposition along a line is then a recursion with a few terms (Ahnesjo, Med. Phys. 16 (1989) 577), here with
more terms, fitted to the cumulative kernel so that energy is conserved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from DoseEngineLib.materials.attenuation import mass_attenuation_cm2_g
from DoseEngineLib.photon.point_kernels import load_point_kernels

# Ranges of the exponentials in g/cm2, from below an electron's to the reach of multiple scatter. Each half is one range
# divided by the same whole numbers: its exponentials are powers of one.
RANGE_POWERS = (30, 12, 5, 2)
RANGES_G_CM2 = tuple(longest / power for longest in (3.0, 120.0) for power in RANGE_POWERS)
# Depth in cm of water whose spectrum sets the rings' borders; the kernels themselves follow the spectrum.
_RING_DEPTH_CM = 10.0
# Spectral groups, each with a kernel of its own, so that the mixture hardens with depth as the groups' TERMA does:
# shares of the TERMA at 10 cm at which one ends and the next begins. A third group changes doses by up to 0.25 %.
_GROUP_BORDERS = (0.35,)
GROUPS = len(_GROUP_BORDERS) + 1


@dataclass(frozen=True, eq=False)
class ConeKernels:
    """Ring kernels of the groups of a spectrum.

    Attributes
    ----------
    cosine : (r,) array
        Representative polar cosine of each ring: its energy's mean.
    weights : (g, r, m) array
        Energy fraction of the exponentials of ring and group; over rings and terms they add up to one within 1 %.
    group_of_bin : (b,) array of int
        Spectral group of each energy bin.
    table_cosine, table_density : (c,) arrays
        Energy a steradian of the kernel whose rings these are, over the cosine with the photon's direction.
    energy_density : (r,) array
        The same at the rings' representative cosines.
    """

    cosine: np.ndarray
    weights: np.ndarray
    group_of_bin: np.ndarray
    table_cosine: np.ndarray
    table_density: np.ndarray
    energy_density: np.ndarray


@lru_cache(maxsize=16)
def cone_kernels(energy_MeV: tuple[float, ...], fluence: tuple[float, ...], rings: int = 12) -> ConeKernels:
    """Collapse the point kernels of a spectrum.

    Parameters
    ----------
    energy_MeV, fluence : tuple of float
        Spectrum in air.
    rings : int
        Rings of equal energy at 10 cm depth.
    """
    kernels = load_point_kernels()
    energy = np.asarray(energy_MeV, float)
    number = np.asarray(fluence, float) / np.sum(fluence)
    mu = mass_attenuation_cm2_g(energy)
    released = number * energy * mu * np.exp(-mu * _RING_DEPTH_CM)
    released /= released.sum()
    middle = np.cumsum(released) - released / 2
    group_of_bin = np.searchsorted(_GROUP_BORDERS, middle)
    groups = GROUPS
    bins = np.array([kernels.at(E) for E in energy])
    whole = np.tensordot(released, bins, axes=1)
    angle = np.radians(kernels.cone_edges_deg)
    upto = np.concatenate(([0.0], np.cumsum(whole.sum(axis=1))))
    edges = np.interp(np.linspace(0.0, upto[-1], rings + 1), upto, angle)

    def in_rings(kernel: np.ndarray) -> np.ndarray:
        cumulative = np.vstack((np.zeros(kernel.shape[1]), np.cumsum(kernel, axis=0)))
        # within a cone of the table energy goes with solid angle
        at = np.array([np.interp(-np.cos(edges), -np.cos(angle), column) for column in cumulative.T]).T
        return np.diff(at, axis=0)

    shells = in_rings(whole)
    fine = np.linspace(0, np.pi, 20001)
    density = np.interp(-np.cos(fine), -np.cos(angle), upto)
    energy_upto_ring = np.diff(density)
    centre = (np.cos(fine[1:]) + np.cos(fine[:-1])) / 2
    ring_of = np.clip(np.searchsorted(edges, (fine[1:] + fine[:-1]) / 2) - 1, 0, rings - 1)
    cosine = np.bincount(ring_of, energy_upto_ring * centre, rings) / np.bincount(ring_of, energy_upto_ring, rings)
    ranges = np.array(RANGES_G_CM2)
    within = 1.0 - np.exp(-kernels.radius_edges_cm[1:, None] / ranges)
    # a touch of damping keeps neighbouring terms from cancelling each other
    damping = 1e-3 * np.eye(ranges.size)
    weights = np.zeros((groups, rings, ranges.size))
    for group in range(groups):
        share = np.where(group_of_bin == group, released, 0.0)
        if share.sum() == 0:
            continue
        shells = in_rings(np.tensordot(share / share.sum(), bins, axes=1))
        # what leaves the tabulated 60 cm is deposited further out: all terms together carry the whole energy
        everything = 1.0 / shells.sum()
        for ring, shell in enumerate(shells):
            total = shell.sum()
            matrix = np.vstack((within, np.ones(ranges.size), damping))
            target = np.concatenate((np.cumsum(shell) / total, [everything], np.zeros(ranges.size)))
            weights[group, ring] = np.linalg.lstsq(matrix, target, rcond=None)[0] * total
    cone_cosine = (np.cos(angle[1:]) + np.cos(angle[:-1])) / 2
    cone_density = whole.sum(axis=1) / (2 * np.pi * -np.diff(np.cos(angle)))
    order = np.argsort(cone_cosine)
    at_ring = np.interp(cosine, cone_cosine[order], cone_density[order])
    return ConeKernels(cosine, weights, group_of_bin, cone_cosine, cone_density, at_ring)
