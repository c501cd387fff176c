"""Generalized equivalent uniform dose (Niemierko, Med. Phys. 26 (1999) 1100) as a value and as a penalty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from OptimizerLib.dose_term import DoseTerm
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.objective import DoseLevelObjective, JointObjective

# For a < 1 the slope at zero dose is infinite, and an optimization may begin there. Doses are shifted by this and the
# result back: 60 Gy everywhere stays 60 Gy, and a voxel without dose makes a gEUD near zero with a finite slope.
_SHIFT_GY = 0.01


def eud_and_gradient(dose_Gy: np.ndarray, a: float, shares: np.ndarray | float) -> tuple[float, np.ndarray]:
    """gEUD ``mean(D**a)**(1/a)`` in Gy of doses (n,) of 0 or more, and its gradient (n,).

    Convex in the dose for a >= 1, concave below. At zero dose everywhere, where it has no derivative for a > 1, the
    gradient of the mean is returned, which is one of its subgradients.
    """
    if a == 1:
        slope = np.empty(dose_Gy.shape)
        slope[...] = shares
        return float(np.mean(dose_Gy) if isinstance(shares, float) else shares @ dose_Gy), slope
    shift = 0.0 if a >= 1 else _SHIFT_GY
    dose = np.maximum(dose_Gy, 0.0) + shift
    reference = float(dose.max() if a > 0 else dose.min())
    if reference == 0.0:
        return 0.0, np.ones(dose.shape) * shares
    with np.errstate(under="ignore"):
        ratio = dose / reference
        powers = shares * ratio ** (a - 1.0)
        mean = float((powers * ratio).sum())
        return reference * mean ** (1.0 / a) - shift, mean ** (1.0 / a - 1.0) * powers


def check_exponent(owner: DoseTerm, a: float, side: str) -> None:
    """Refuse an exponent that is no number, or not convex for a limit on one ``side`` ("above", "below", "either")."""
    if not isinstance(a, (int, float, np.integer, np.floating)) or not math.isfinite(a) or a == 0:
        raise OptimizationError(
            f"{type(owner).__name__} of {owner.structure}: the exponent a must be finite and not zero; got {a!r}."
        )
    if (side == "above" and a < 1) or (side == "below" and a > 1):
        raise OptimizationError(
            f"{type(owner).__name__} of {owner.structure}: a = {a:g} makes the problem non-convex; give "
            f"{'1 or more, as for organs' if side == 'above' else '1 or less, as for targets (-10 is usual)'}."
        )


@dataclass(frozen=True)
class EquivalentUniformDose(JointObjective):
    """``weight * gEUD`` for a >= 1, to be low; ``-weight * gEUD`` for a < 1, to be high. In weight times Gy, convex.

    With a < 1 it has no optimum on its own: something else must bound the dose.

    Attributes
    ----------
    a : float
        Not zero. 1 is the mean; large values follow the maximum, far negative ones the minimum.
    weight : float
    """

    a: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        self._check(weight=self.weight)
        check_exponent(self, self.a, "either")

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        value, slope = eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))
        factor = self.weight if self.a >= 1 else -self.weight
        return factor * value, factor * slope


@dataclass(frozen=True)
class EUDOverdose(JointObjective, DoseLevelObjective):
    """``weight * max(gEUD - dose_Gy, 0)**2``, in weight times Gy^2; with a = 1 a penalty on the mean dose.

    Attributes
    ----------
    dose_Gy, weight : float
    a : float
        1 or more.
    """

    a: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_exponent(self, self.a, "above")

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        eud, slope = eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))
        excess = max(eud - self.dose_Gy, 0.0)
        return self.weight * excess**2, 2.0 * self.weight * excess * slope


@dataclass(frozen=True)
class EUDUnderdose(JointObjective, DoseLevelObjective):
    """``weight * max(dose_Gy - gEUD, 0)**2``, in weight times Gy^2; with a = 1 a penalty on too low a mean dose.

    Attributes
    ----------
    dose_Gy, weight : float
    a : float
        1 or less, not zero.
    """

    a: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_exponent(self, self.a, "below")

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        eud, slope = eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))
        shortfall = max(self.dose_Gy - eud, 0.0)
        return self.weight * shortfall**2, -2.0 * self.weight * shortfall * slope
