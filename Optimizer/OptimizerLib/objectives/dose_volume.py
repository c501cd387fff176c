"""Dose-volume objectives: one-sided quadratic penalties on the voxels between a DVH point and where it should be.

They are the usual ones of the field (Spirou and Chui, Med. Phys. 25 (1998) 321; Wu and Mohan, Med. Phys. 27 (2000)
701), and not convex: which voxels belong to the part that may be missed is decided anew at every dose. The value is a
continuous function of the dose; its derivative jumps where a voxel at the edge of that part changes places with
another, and there the derivative of the voxels' present order is given. Quasi-Newton methods cope; for a convex form
see the tail means among the constraints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.objective import DoseLevelObjective, JointObjective


def tail_shares(
    dose_Gy: np.ndarray, part: float, shares: np.ndarray | float, among: np.ndarray | None = None
) -> np.ndarray:
    """Part of the volume of each voxel that belongs to the hottest part of a structure.

    Parameters
    ----------
    dose_Gy : (n,) array
        Negated, it gives the coldest part.
    part : float
        Of the whole volume, 0 to 1. The voxel at its edge counts in part, so that the volume is met exactly.
    shares : (n,) array or float
        Part of the volume that each voxel stands for.
    among : (m,) int array, optional
        Voxels to choose from; all by default.

    Returns
    -------
    (n,) or (m,) array
        0 to the voxel's share.
    """
    seen = dose_Gy if among is None else dose_Gy[among]
    if isinstance(shares, float):
        return shares * _hottest(seen, part / shares)
    order = np.argsort(-seen, kind="stable")
    sizes = (shares if among is None else shares[among])[order]
    before = np.cumsum(sizes) - sizes
    found = np.empty(seen.size)
    found[order] = np.clip(part - before, 0.0, sizes)
    return found


def _hottest(dose_Gy: np.ndarray, count: float) -> np.ndarray:
    """Mark the ``count`` highest of some doses with one, and the next with what is left of the count."""
    whole = int(count)
    if whole >= dose_Gy.size:
        return np.ones(dose_Gy.size)
    edge = np.partition(dose_Gy, dose_Gy.size - 1 - whole)[dose_Gy.size - 1 - whole]
    found = (dose_Gy > edge).astype(float)
    at_edge = np.flatnonzero(dose_Gy == edge)
    found[at_edge] = np.clip(count - found.sum() - np.arange(at_edge.size), 0.0, 1.0)
    return found


@dataclass(frozen=True)
class _DoseVolume(JointObjective, DoseLevelObjective):
    volume_percent: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(volume_percent=self.volume_percent)
        if self.volume_percent > 100.0:
            raise OptimizationError(
                f"{type(self).__name__} of {self.structure}: a structure has no more than 100 % of volume; got "
                f"{self.volume_percent:g}."
            )


def _part_of(shares: np.ndarray | float, voxels: np.ndarray) -> np.ndarray:
    return np.full(voxels.size, shares) if isinstance(shares, float) else shares[voxels]


@dataclass(frozen=True)
class MaxDVH(_DoseVolume):
    """No more than ``volume_percent`` of the volume above ``dose_Gy``, in weight times Gy^2.

    ``weight * mean(max(D - dose_Gy, 0)**2)`` without the hottest ``volume_percent``.

    Attributes
    ----------
    dose_Gy, weight : float
    volume_percent : float
    """

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        voxels, counted, excess = self._counted(dose_Gy)
        slope = np.zeros(dose_Gy.shape)
        slope[voxels] = (2.0 * self.weight) * counted * excess
        return self.weight * float(counted @ excess**2), slope

    def _counted(self, dose_Gy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shares = self._shares(dose_Gy)
        voxels = np.flatnonzero(dose_Gy > self.dose_Gy)
        # the hottest part of the structure is the hottest of these
        spared = tail_shares(dose_Gy, self.volume_percent / 100.0, shares, voxels)
        return voxels, _part_of(shares, voxels) - spared, dose_Gy[voxels] - self.dose_Gy


@dataclass(frozen=True)
class MinDVH(_DoseVolume):
    """At least ``volume_percent`` of the volume at ``dose_Gy`` or more, in weight times Gy^2.

    ``weight * mean(max(dose_Gy - D, 0)**2)`` over the hottest ``volume_percent``: the coldest rest may be missed.

    Attributes
    ----------
    dose_Gy, weight : float
    volume_percent : float
    """

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        voxels, counted, shortfall = self._counted(dose_Gy)
        slope = np.zeros(dose_Gy.shape)
        slope[voxels] = (-2.0 * self.weight) * counted * shortfall
        return self.weight * float(counted @ shortfall**2), slope

    def _counted(self, dose_Gy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shares = self._shares(dose_Gy)
        voxels = np.flatnonzero(dose_Gy < self.dose_Gy)
        met = 1.0 - float(_part_of(shares, voxels).sum())
        # what the volume asked for still lacks is taken from the hottest of the others
        lacking = max(self.volume_percent / 100.0 - met, 0.0)
        return voxels, tail_shares(dose_Gy, lacking, shares, voxels), self.dose_Gy - dose_Gy[voxels]
