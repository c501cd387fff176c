"""Doses and the parts of a structure's volume that receive them: what tumour control and complication models take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_count, require_positive


@dataclass(frozen=True, eq=False)
class DoseVolume:
    """A differential dose-volume histogram with any spacing of doses.

    Attributes
    ----------
    name : str
    dose_Gy : (n,) float64 array
        Ascending.
    fraction : (n,) float64 array
        Part of the volume at each dose; they add up to 1.
    volume_cm3 : float
    """

    name: str
    dose_Gy: np.ndarray
    fraction: np.ndarray
    volume_cm3: float = 1.0

    def __post_init__(self) -> None:
        dose = checked_doses(f"DVH of {self.name}", self.dose_Gy)
        fraction = np.asarray(self.fraction, dtype=np.float64)
        if dose.ndim != 1 or dose.shape != fraction.shape or not dose.size:
            raise EvaluationError(f"DVH of {self.name}: give as many parts of volume as doses, at least one.")
        if not np.isfinite(fraction).all() or (fraction < 0.0).any() or fraction.sum() <= 0.0:
            raise EvaluationError(f"DVH of {self.name}: parts of volume must be 0 or more, and not all 0.")
        require_positive(f"DVH of {self.name}", volume_cm3=self.volume_cm3)
        order = np.argsort(dose, kind="stable")
        for key, values in (("dose_Gy", dose[order]), ("fraction", (fraction / fraction.sum())[order])):
            values.setflags(write=False)
            object.__setattr__(self, key, values)

    @classmethod
    def from_dvh(cls, dvh: Dvh, points: int | None = None) -> DoseVolume:
        """Take over a DVH.

        Parameters
        ----------
        dvh : Dvh
        points : int, optional
            Join neighbouring samples to at most so many groups of equal volume, each with its mean dose.

        Raises
        ------
        EvaluationError
            When part of the structure lies outside the dose grid: a probability of the rest would be wrong.
        """
        if dvh.covered_fraction < 1.0:
            raise EvaluationError(
                f"Only {dvh.covered_percent_text} % of {dvh.structure_name} lie inside the dose grid; "
                "calculate the dose on a larger grid before asking for probabilities."
            )
        samples = dvh.dose_samples_Gy.astype(np.float64)
        # a computed dose may be a rounding below zero
        whole = cls(dvh.structure_name, np.maximum(samples, 0.0), np.ones(samples.size), dvh.volume_cm3)
        return whole if points is None else whole.grouped(points)

    @classmethod
    def uniform(cls, dose_Gy: float, name: str = "uniform dose", volume_cm3: float = 1.0) -> DoseVolume:
        """One dose everywhere."""
        return cls(name, np.array([dose_Gy]), np.ones(1), volume_cm3)

    @classmethod
    def from_cumulative(
        cls, name: str, dose_Gy: Sequence[float], volume: Sequence[float], volume_cm3: float = 1.0
    ) -> DoseVolume:
        """Take over points of a cumulative DVH: the volume (any unit) that receives at least each dose.

        Volume between two points gets the dose in their middle; what the last point still holds gets its dose. The
        first point must be that of the whole volume.
        """
        dose = checked_doses(f"DVH of {name}", np.asarray(dose_Gy))
        cumulative = np.asarray(volume, dtype=np.float64)
        if dose.ndim != 1 or dose.shape != cumulative.shape or dose.size < 2:
            raise EvaluationError(f"DVH of {name}: give as many volumes as doses, at least two.")
        if (np.diff(dose) <= 0.0).any() or (np.diff(cumulative) > 1e-9 * cumulative[0]).any():
            raise EvaluationError(f"DVH of {name}: doses must rise, and a cumulative volume cannot.")
        middle = np.append(0.5 * (dose[1:] + dose[:-1]), dose[-1])
        return cls(name, middle, np.maximum(np.append(-np.diff(cumulative), cumulative[-1]), 0.0), volume_cm3)

    @property
    def mean_Gy(self) -> float:
        """Mean dose in Gy."""
        return float(self.fraction @ self.dose_Gy)

    @property
    def max_Gy(self) -> float:
        """Largest dose that has a volume, in Gy."""
        return float(self.dose_Gy[self.fraction > 0.0][-1])

    @property
    def min_Gy(self) -> float:
        """Smallest dose that has a volume, in Gy."""
        return float(self.dose_Gy[self.fraction > 0.0][0])

    def generalized_eud_Gy(self, a: float) -> float:
        """Return the generalized equivalent uniform dose, (sum of v D**a)**(1/a), in Gy.

        A. Niemierko, Med. Phys. 26 (1999) 1100. It is the mean dose for a = 1, the maximum for a going to infinity and
        the minimum for a going to minus infinity (both may be given).
        """
        if np.isnan(a) or a == 0.0:
            raise EvaluationError(f"gEUD of {self.name}: the exponent a = {a} must be a number other than 0.")
        if np.isinf(a):
            return self.max_Gy if a > 0.0 else self.min_Gy
        # a power of the ratio to the largest term neither overflows nor vanishes
        reference = self.max_Gy if a > 0.0 else self.min_Gy
        if reference <= 0.0:
            return 0.0
        used = self.fraction > 0.0
        with np.errstate(under="ignore", divide="ignore"):
            power = np.exp(a * np.log(self.dose_Gy[used] / reference))
            return reference * float(self.fraction[used] @ power) ** (1.0 / a)

    def with_dose(self, dose_Gy: np.ndarray) -> DoseVolume:
        """Return the same volumes at other doses."""
        return replace(self, dose_Gy=dose_Gy)

    def scaled(self, factor: float) -> DoseVolume:
        """Return the same volumes at all doses times a factor."""
        return self.with_dose(self.dose_Gy * factor)

    def grouped(self, points: int) -> DoseVolume:
        """Return at most so many groups of neighbouring doses, each with about the same volume and its mean dose."""
        require_count(f"DVH of {self.name}", points=points)
        if self.dose_Gy.size <= points:
            return self
        group = np.minimum((np.cumsum(self.fraction) - 0.5 * self.fraction) * points, points - 1).astype(int)
        volume = np.bincount(group, self.fraction, points)
        dose = np.bincount(group, self.fraction * self.dose_Gy, points)
        kept = volume > 0.0
        return replace(self, dose_Gy=dose[kept] / volume[kept], fraction=volume[kept])
