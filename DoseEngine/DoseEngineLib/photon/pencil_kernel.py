"""Pencil-beam kernels of a photon spectrum in water, derived from the point kernels, as mixtures of Gaussians.

A narrow beam of photons enters water at depth 0. At depth z a share mu exp(-mu z) dz of the photons of one energy
interacts, and each interaction spreads its energy as the point kernel says. Summed over depth and spectrum this gives
the energy deposited at depth d and distance r from the beam. At every depth it is written as a sum of Gaussians of
fixed widths with non-negative weights: blurring an aperture with the pencil kernel is then a weighted sum of a few
Gaussian blurs, in any divergent geometry, and a small beamlet has a closed form.

The construction (depth integration of point kernels) follows Ahnesjo, Saxner and Trepp, Med. Phys. 19 (1992) 263.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import nnls

from DoseEngineLib.materials.attenuation import mass_attenuation_cm2_g
from DoseEngineLib.photon.point_kernels import load_point_kernels

_GY_PER_MEV_G = 1.602176634e-10
_AXIAL_STEP_CM = 0.05
_AXIAL_LIMIT_CM = 60.0
# Points that stand for one kernel cell: its energy is spread evenly over radius and cosine.
_SUBCELLS_RADIUS = 10
_SUBCELLS_COSINE = 10
# Widths of the Gaussians: from well inside an electron's range to the reach of multiple scatter.
SIGMAS_MM = tuple(0.3 * 2.0**n for n in range(11))


@dataclass(frozen=True, eq=False)
class PencilKernel:
    """Dose of a pencil beam in water: sum over j of weights[j](d) times a normalized 2D Gaussian of sigma_mm[j].

    Attributes
    ----------
    depth_mm : (n,) array
        Depth nodes, linear between them, from 0.
    sigma_mm : (m,) array
    weights_Gy_cm2 : (m, n) array
        Lateral integral of the dose a photon brings through each Gaussian, Gy cm2.
    """

    depth_mm: np.ndarray
    sigma_mm: np.ndarray
    weights_Gy_cm2: np.ndarray

    def weights_at(self, depth_mm: float) -> np.ndarray:
        """Weights (m,) at a depth, in Gy cm2."""
        return np.array([np.interp(depth_mm, self.depth_mm, row) for row in self.weights_Gy_cm2])


def depth_nodes_cm() -> np.ndarray:
    """Depths at which kernels are tabulated: close in the build-up, wider behind it, to 60 cm."""
    return np.concatenate(
        [np.arange(0, 1.0, 0.05), np.arange(1.0, 4.0, 0.1), np.arange(4.0, 10, 0.5), np.arange(10, 60.01, 1.0)]
    )


@lru_cache(maxsize=8)
def annular_energy(
    energy_MeV: tuple[float, ...], fluence: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrate the point kernels along a pencil beam.

    Parameters
    ----------
    energy_MeV, fluence : tuple of float
        Spectrum: energies and relative photon numbers; normalized here.

    Returns
    -------
    depth_cm : (n,) array
    radius_edges_cm : (a + 1,) array
    energy : (n, a) array
        MeV cm2/g: energy a photon deposits per unit depth within each annulus, over the density of water.
    """
    kernels = load_point_kernels()
    cosine_edges = np.cos(np.radians(kernels.cone_edges_deg))
    share = (np.arange(_SUBCELLS_COSINE) + 0.5) / _SUBCELLS_COSINE
    cosine = cosine_edges[:-1, None] + (cosine_edges[1:] - cosine_edges[:-1])[:, None] * share
    share = (np.arange(_SUBCELLS_RADIUS) + 0.5) / _SUBCELLS_RADIUS
    radius = kernels.radius_edges_cm[:-1, None] + np.diff(kernels.radius_edges_cm)[:, None] * share
    axial = cosine[:, :, None, None] * radius[None, None]
    lateral = np.sqrt(1.0 - cosine[:, :, None, None] ** 2) * radius[None, None]
    radius_edges = np.concatenate(([0.0], np.geomspace(0.005, 60.5, 72)))
    n_axial = round(2 * _AXIAL_LIMIT_CM / _AXIAL_STEP_CM)
    axial_bin = np.clip(((axial + _AXIAL_LIMIT_CM) / _AXIAL_STEP_CM).astype(int), 0, n_axial - 1)
    lateral_bin = np.clip(np.searchsorted(radius_edges, lateral, side="right") - 1, 0, radius_edges.size - 2)
    n_lateral = radius_edges.size - 1
    flat_bin = (axial_bin * n_lateral + lateral_bin).ravel()
    axial_centre = -_AXIAL_LIMIT_CM + (np.arange(n_axial) + 0.5) * _AXIAL_STEP_CM
    depth = depth_nodes_cm()
    # a histogram cell counts for a depth as soon as its axial offset is behind it
    upto = np.round((depth + _AXIAL_LIMIT_CM) / _AXIAL_STEP_CM).astype(int)
    number = np.asarray(fluence, float) / np.sum(fluence)
    mu = mass_attenuation_cm2_g(np.asarray(energy_MeV))
    result = np.zeros((depth.size, n_lateral))
    for E, n, m in zip(energy_MeV, number, mu, strict=True):
        if n == 0:
            continue
        cell = kernels.at(E)[:, None, :, None] / (_SUBCELLS_COSINE * _SUBCELLS_RADIUS)
        weights = np.broadcast_to(cell, axial.shape).ravel()
        deposited = np.bincount(flat_bin, weights, n_axial * n_lateral).reshape(n_axial, n_lateral)
        # interactions at z = d - offset: mu exp(-mu (d - offset)), none above the surface
        sums = np.vstack((np.zeros(n_lateral), np.cumsum(deposited * np.exp(m * axial_centre)[:, None], axis=0)))
        result += n * E * m * np.exp(-m * depth)[:, None] * sums[np.minimum(upto, n_axial)]
    return depth, radius_edges, result


@lru_cache(maxsize=8)
def pencil_kernel(energy_MeV: tuple[float, ...], fluence: tuple[float, ...]) -> PencilKernel:
    """Make the pencil kernel of a spectrum as a mixture of Gaussians.

    Parameters
    ----------
    energy_MeV, fluence : tuple of float
        Spectrum: energies and relative photon numbers.

    Returns
    -------
    PencilKernel
        At each depth a non-negative least squares fit to the energy within a radius, over radii to 60 cm. Beyond 4 mm
        it stays within 0.25 % of the lateral integral, within 0.3 % in the first two centimetres of depth.
    """
    depth, edges, energy = annular_energy(energy_MeV, fluence)
    sigma_cm = np.array(SIGMAS_MM) / 10.0
    within = 1.0 - np.exp(-0.5 * (edges[1:, None] / sigma_cm) ** 2)
    weights = np.empty((sigma_cm.size, depth.size))
    for n, annuli in enumerate(energy):
        # fitting the energy within a radius bounds the error of the dose in the middle of a field of that radius
        total = annuli.sum()
        weights[:, n] = nnls(within, np.cumsum(annuli) / total)[0] * total
    return PencilKernel(depth * 10.0, np.array(SIGMAS_MM), weights * _GY_PER_MEV_G)
