"""Repair of sublethal damage: between fractions (Thames), within them and in continuous irradiation (Lea-Catcheside).

With exponential repair of half time T, mu = ln 2 / T. Damage done at one time interacts with damage done at another in
proportion to what is left of it, so that the quadratic term of the linear-quadratic model is multiplied by

    G = 2 / D**2 * integral over t of R(t) * integral over t' < t of R(t') exp(-mu (t - t')) dt' dt

(D. E. Lea and D. G. Catcheside, J. Genet. 44 (1942) 216; R. G. Dale, Br. J. Radiol. 58 (1985) 515).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.physical_range import require_count, require_not_negative, require_positive


def protraction_factor(duration_h: float, half_time_h: float) -> float:
    """Return G of an irradiation at constant dose rate: 1 for an instant, towards 2 / (mu T) for a long one.

    The number of acute fractions that are worth a continuous irradiation of the same dose and time, in the formula of
    D. Liversage (Br. J. Radiol. 42 (1969) 432), is 1 / G.
    """
    require_not_negative("Dose protraction", duration_h=duration_h)
    require_positive("Dose protraction", half_time_h=half_time_h)
    x = math.log(2.0) / half_time_h * duration_h
    if x < 1e-4:
        return 1.0 - x / 3.0
    return 2.0 / x * (1.0 + math.expm1(-x) / x)


def thames_hm(fractions_per_day: int, interval_h: float, half_time_h: float) -> float:
    """Return h_m of m acute fractions a day with complete repair overnight.

    H. D. Thames, Int. J. Radiat. Biol. 47 (1985) 319:
    BED = D (1 + (1 + h_m) d / (alpha/beta)) with h_m = (2/m) (theta / (1 - theta)) (m - (1 - theta**m) / (1 - theta))
    and theta = exp(-mu interval).
    """
    require_count("Incomplete repair", fractions_per_day=fractions_per_day)
    require_not_negative("Incomplete repair", interval_h=interval_h)
    require_positive("Incomplete repair", half_time_h=half_time_h)
    m = fractions_per_day
    left = math.exp(-math.log(2.0) * interval_h / half_time_h)
    if left > 1.0 - 1e-9:
        return float(m - 1)
    return 2.0 / m * left / (1.0 - left) * (m - (1.0 - left**m) / (1.0 - left))


def lea_catcheside(
    doses_Gy: Sequence[float], starts_h: Sequence[float], durations_h: Sequence[float], half_time_h: float
) -> float:
    """Return G of any sequence of irradiations, each at constant dose rate.

    Parameters
    ----------
    doses_Gy, starts_h, durations_h : (k,) sequences
        In time order; a duration of 0 is an acute irradiation.
    half_time_h : float

    Raises
    ------
    EvaluationError
        Lengths that differ, negative values, no dose at all, or irradiations that overlap in time.
    """
    require_positive("Lea-Catcheside factor", half_time_h=half_time_h)
    dose, start, duration = (np.asarray(values, dtype=float) for values in (doses_Gy, starts_h, durations_h))
    if not (dose.ndim == 1 and dose.shape == start.shape == duration.shape and dose.size):
        raise EvaluationError("Lea-Catcheside factor: give as many starts and durations as doses, at least one.")
    if not all(np.isfinite(values).all() for values in (dose, start, duration)):
        raise EvaluationError("Lea-Catcheside factor: doses and times must be finite.")
    if (dose < 0.0).any() or (duration < 0.0).any() or dose.sum() <= 0.0:
        raise EvaluationError("Lea-Catcheside factor: doses and durations cannot be negative, nor all doses zero.")
    if (np.diff(start) < duration[:-1] - 1e-12).any():
        raise EvaluationError("Lea-Catcheside factor: the irradiations must follow one another in time.")
    mu = math.log(2.0) / half_time_h
    within = np.array([protraction_factor(t, half_time_h) for t in duration])
    x = mu * duration
    small = x < 1e-8
    safe = np.where(small, 1.0, x)
    # means of exp(mu t') over the earlier irradiation, up to its end, and of exp(-mu t) over the later one
    mean = np.where(small, 1.0, -np.expm1(-safe) / safe)
    end = start + duration
    total = float(np.sum(within * dose**2))
    for later in range(1, dose.size):
        gap = start[later] - end[:later]
        total += 2.0 * dose[later] * mean[later] * float(np.sum(dose[:later] * mean[:later] * np.exp(-mu * gap)))
    return total / float(dose.sum()) ** 2


@dataclass(frozen=True)
class Repair:
    """Exponential repair with one half time or more.

    Attributes
    ----------
    half_times_h : tuple of float
    weights : tuple of float, optional
        Part of the damage that each half time repairs; they add up to 1. One half time has weight 1.
    """

    half_times_h: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        half_times, weights = tuple(self.half_times_h), tuple(self.weights)
        if not half_times or len(half_times) != len(weights):
            raise EvaluationError(
                f"Repair: {len(half_times)} half times and {len(weights)} weights; give one weight for each half time."
            )
        for half_time, weight in zip(half_times, weights):
            require_positive("Repair", half_time_h=half_time, weight=weight)
        if abs(sum(weights) - 1.0) > 1e-6:
            raise EvaluationError(f"Repair: the weights add up to {sum(weights):g}; they must add up to 1.")
        object.__setattr__(self, "half_times_h", half_times)
        object.__setattr__(self, "weights", weights)

    def quadratic_factor(self, fractionation: Fractionation) -> float:
        """Return what the quadratic term is multiplied by, relative to acute fractions that are repaired in between.

        It is below 1 for fractions that take long, and 1 + h_m for several acute ones a day.
        """
        duration = fractionation.delivery_min / 60.0
        total = 0.0
        for fractions, days in fractionation.days():
            starts = [number * (fractionation.interval_h or 0.0) for number in range(fractions)]
            for half_time, weight in zip(self.half_times_h, self.weights):
                factor = lea_catcheside([1.0] * fractions, starts, [duration] * fractions, half_time)
                total += weight * days * fractions**2 * factor
        return total / fractionation.fractions

    def protraction_factor(self, duration_h: float) -> float:
        """Return G of an irradiation at constant dose rate."""
        return sum(w * protraction_factor(duration_h, t) for t, w in zip(self.half_times_h, self.weights))
