"""Complication probabilities of normal tissue from a DVH.

The doses must be in the terms the parameters were fitted in, mostly the dose in fractions of about 2 Gy;
`plan_radiobiology` sees to that.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr, ndtri

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_not_negative, require_positive


class NtcpModel(ABC):
    """A complication probability of an organ."""

    @abstractmethod
    def uniform(self, dose_Gy: np.ndarray | float) -> np.ndarray:
        """Return the probability (0..1) of uniform doses to the whole organ."""

    @abstractmethod
    def ntcp(self, dose_volume: DoseVolume) -> float:
        """Return the probability (0..1) of a dose distribution."""


@dataclass(frozen=True)
class LymanKutcherBurman(NtcpModel):
    """The probit model of Lyman with the volume effect of Kutcher and Burman, in the form of the gEUD.

    NTCP = Phi((gEUD - TD50) / (m TD50)), gEUD with a = 1/n. J. T. Lyman, Radiat. Res. 104 (1985) S13; G. J. Kutcher and
    C. Burman, Int. J. Radiat. Oncol. Biol. Phys. 16 (1989) 1623; their effective volume as an effective dose is in R.
    Mohan et al., Med. Phys. 19 (1992) 933.

    Attributes
    ----------
    TD50_Gy : float
        Uniform dose to the whole organ with a complication in 50 %.
    m : float
        Inverse steepness.
    n : float
        Volume parameter: 1 for the mean dose, towards 0 for the maximum (0 is the maximum itself).
    """

    TD50_Gy: float
    m: float
    n: float

    def __post_init__(self) -> None:
        require_positive("LKB model", TD50_Gy=self.TD50_Gy, m=self.m)
        require_not_negative("LKB model", n=self.n)

    def uniform(self, dose_Gy: np.ndarray | float) -> np.ndarray:
        """Return the probability of uniform doses to the whole organ."""
        return ndtr((checked_doses("LKB model", dose_Gy) - self.TD50_Gy) / (self.m * self.TD50_Gy))

    def ntcp(self, dose_volume: DoseVolume) -> float:
        """Return the complication probability of a dose distribution."""
        return float(self.uniform(dose_volume.generalized_eud_Gy(math.inf if self.n == 0.0 else 1.0 / self.n)))

    def tolerance_dose_Gy(self, probability: float, volume_fraction: float = 1.0) -> float:
        """Return the dose to a part of the organ, none to the rest, that gives a probability: TD5/5 is for 0.05."""
        if not 0.0 < probability < 1.0 or not 0.0 < volume_fraction <= 1.0:
            raise EvaluationError(
                "A tolerance dose needs a probability inside 0..1 and a part of volume above 0 up to 1."
            )
        return float(self.TD50_Gy * (1.0 + self.m * ndtri(probability)) * volume_fraction**-self.n)


@dataclass(frozen=True)
class RelativeSeriality(NtcpModel):
    """The relative seriality model, P. Kallman, A. Agren and A. Brahme, Int. J. Radiat. Biol. 62 (1992) 249.

    NTCP = (1 - product of (1 - P(D)**s)**v)**(1/s) with P(D) = 2**-exp(e gamma (1 - D / D50)).

    Attributes
    ----------
    D50_Gy : float
    gamma : float
        Largest normalized slope of the dose response.
    seriality : float
        s: 1 for a serial organ, near 0 for a parallel one.
    """

    D50_Gy: float
    gamma: float
    seriality: float

    def __post_init__(self) -> None:
        require_positive("Relative seriality model", D50_Gy=self.D50_Gy, gamma=self.gamma, seriality=self.seriality)

    def _log_probability(self, dose_Gy: np.ndarray | float) -> np.ndarray:
        dose = checked_doses("Relative seriality model", dose_Gy)
        return -math.log(2.0) * np.exp(math.e * self.gamma * (1.0 - dose / self.D50_Gy))

    def uniform(self, dose_Gy: np.ndarray | float) -> np.ndarray:
        """Return the probability of uniform doses to the whole organ."""
        return np.exp(self._log_probability(dose_Gy))

    def ntcp(self, dose_volume: DoseVolume) -> float:
        """Return the complication probability of a dose distribution."""
        # 1 - P**s, without loss where P is near 1 or s small
        with np.errstate(divide="ignore"):
            spared = np.log(-np.expm1(self.seriality * self._log_probability(dose_volume.dose_Gy)))
        used = dose_volume.fraction > 0.0
        hit = -math.expm1(float(dose_volume.fraction[used] @ spared[used]))
        return 0.0 if hit <= 0.0 else math.exp(math.log(hit) / self.seriality)


@dataclass(frozen=True)
class LogisticNtcp(NtcpModel):
    """A logistic dose response of the gEUD.

    Attributes
    ----------
    D50_Gy : float
    gamma50 : float
        Normalized slope at D50.
    a : float
        Exponent of the gEUD: 1 for the mean dose, infinity for the maximum.
    form : {"log-dose", "dose"}
        1 / (1 + (D50/D)**(4 gamma50)), or 1 / (1 + exp(4 gamma50 (1 - D/D50))), which is above zero without dose.
    """

    D50_Gy: float
    gamma50: float
    a: float = 1.0
    form: str = "log-dose"

    def __post_init__(self) -> None:
        require_positive("Logistic model", D50_Gy=self.D50_Gy, gamma50=self.gamma50)
        if math.isnan(self.a) or self.a <= 0.0:
            raise EvaluationError(f"Logistic NTCP: the exponent a must be above 0 for a normal tissue; got {self.a}.")
        if self.form not in ("log-dose", "dose"):
            raise EvaluationError(f"Logistic model: form {self.form!r} is unknown; use 'log-dose' or 'dose'.")

    def uniform(self, dose_Gy: np.ndarray | float) -> np.ndarray:
        """Return the probability of uniform doses to the whole organ."""
        return logistic_response(checked_doses("Logistic model", dose_Gy), self.D50_Gy, self.gamma50, self.form)

    def ntcp(self, dose_volume: DoseVolume) -> float:
        """Return the complication probability of a dose distribution."""
        return float(self.uniform(dose_volume.generalized_eud_Gy(self.a)))


def logistic_response(dose_Gy: np.ndarray, D50_Gy: float, gamma50: float, form: str = "log-dose") -> np.ndarray:
    """Return the logistic dose response (0..1) in dose or in its logarithm, as `LogisticNtcp` says."""
    dose = np.asarray(dose_Gy, dtype=np.float64)
    if form == "dose":
        return expit(4.0 * gamma50 * (dose / D50_Gy - 1.0))
    with np.errstate(divide="ignore"):
        return expit(4.0 * gamma50 * np.log(dose / D50_Gy))
