"""Tumour control probabilities from a DVH."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import biologically_effective_dose_Gy, eqd2_Gy
from RTPlanningLib.radiobiology.ntcp import logistic_response
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_not_negative, require_positive

# Nodes of the Gauss-Legendre average over radiosensitivity and its reach in standard deviations: against ten times as
# many and 8 standard deviations TCP changes by less than 1e-6, for a spread up to 2/3 of the mean.
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(200)
_REACH = 6.0


class TcpModel(ABC):
    """A probability of controlling a tumour."""

    @abstractmethod
    def tcp(self, dose_volume: DoseVolume, fractionation: Fractionation) -> float:
        """Return the probability (0..1) of a distribution of physical dose given in a schedule."""

    def uniform(self, dose_Gy: np.ndarray | float, fractionation: Fractionation, volume_cm3: float = 1.0) -> np.ndarray:
        """Return the probability (0..1) of uniform doses."""
        doses = checked_doses("TCP", dose_Gy)
        values = [
            self.tcp(DoseVolume.uniform(float(dose), volume_cm3=volume_cm3), fractionation) for dose in doses.ravel()
        ]
        return np.array(values).reshape(doses.shape)


@dataclass(frozen=True)
class PoissonTcp(TcpModel):
    """The linear-quadratic Poisson model, averaged over patients of different radiosensitivity.

    Of N clonogens N * SF survive; none does with the probability exp(-N SF) (T. R. Munro and C. W. Gilbert, Br. J.
    Radiol. 34 (1961) 246). Between patients alpha is spread normally at constant alpha/beta (S. Webb and A. E. Nahum,
    Phys. Med. Biol. 38 (1993) 653; the "Marsden" model); what a normal distribution has below alpha = 0 is cut off.

    Attributes
    ----------
    alpha_per_Gy : float
        Mean over patients.
    alpha_beta_Gy : float
    clonogens_per_cm3, clonogens : float, optional
        Density (its number follows from the DVH's volume) or number; give one of them.
    alpha_sd_per_Gy : float
        Standard deviation of alpha between patients; 0 is a single radiosensitivity.
    doubling_days, kick_off_days : float, optional
        Effective doubling time of clonogens, and when the growth begins. The schedule must then give its overall time.
    """

    alpha_per_Gy: float
    alpha_beta_Gy: float
    clonogens_per_cm3: float | None = None
    clonogens: float | None = None
    alpha_sd_per_Gy: float = 0.0
    doubling_days: float | None = None
    kick_off_days: float = 0.0

    def __post_init__(self) -> None:
        require_positive("Poisson TCP", alpha_per_Gy=self.alpha_per_Gy, alpha_beta_Gy=self.alpha_beta_Gy)
        require_not_negative("Poisson TCP", alpha_sd_per_Gy=self.alpha_sd_per_Gy, kick_off_days=self.kick_off_days)
        if (self.clonogens_per_cm3 is None) == (self.clonogens is None):
            raise EvaluationError("Poisson TCP: give either clonogens_per_cm3 or clonogens.")
        if self.clonogens_per_cm3 is not None:
            require_positive("Poisson TCP", clonogens_per_cm3=self.clonogens_per_cm3)
        else:
            require_positive("Poisson TCP", clonogens=self.clonogens)
        if self.doubling_days is not None:
            require_positive("Poisson TCP", doubling_days=self.doubling_days)

    def tcp(self, dose_volume: DoseVolume, fractionation: Fractionation) -> float:
        """Return the tumour control probability."""
        number = self.clonogens
        if number is None:
            number = self.clonogens_per_cm3 * dose_volume.volume_cm3
        bed = biologically_effective_dose_Gy(dose_volume.dose_Gy, fractionation.fractions, self.alpha_beta_Gy)
        alpha, weight = self._radiosensitivities()
        with np.errstate(under="ignore"):
            surviving = np.exp(-np.outer(alpha, bed)) @ dose_volume.fraction
            survivors = number * surviving * math.exp(self._growth(fractionation))
            return float(weight @ np.exp(-survivors))

    def _growth(self, fractionation: Fractionation) -> float:
        if self.doubling_days is None:
            return 0.0
        if fractionation.overall_days is None:
            raise EvaluationError(
                "Poisson TCP with proliferation needs the overall time; give overall_days in the fractionation "
                "(weekday_overall_days works it out for a course on weekdays)."
            )
        return math.log(2.0) * max(fractionation.overall_days - self.kick_off_days, 0.0) / self.doubling_days

    def _radiosensitivities(self) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = self.alpha_per_Gy, self.alpha_sd_per_Gy
        if sd == 0.0:
            return np.array([mean]), np.ones(1)
        low, high = max(mean - _REACH * sd, 0.0), mean + _REACH * sd
        alpha = 0.5 * (high + low) + 0.5 * (high - low) * _NODES
        weight = _NODE_WEIGHTS * np.exp(-0.5 * ((alpha - mean) / sd) ** 2)
        return alpha, weight / weight.sum()


@dataclass(frozen=True)
class LogisticTcp(TcpModel):
    """A logistic dose response with D50 and gamma50 of uniform doses in 2 Gy fractions.

    Attributes
    ----------
    D50_Gy, gamma50 : float
        In EQD2.
    alpha_beta_Gy : float
        Converts the dose to EQD2.
    a : float, optional
        Control is that of the gEUD with this exponent, below 0 for a tumour (A. Niemierko, Med. Phys. 26 (1999) 1100).
        Without it the control of all parts is multiplied, product of P(D)**v (AAPM Task Group 166, X. A. Li et al.,
        Med. Phys. 39 (2012) 1386).
    form : {"log-dose", "dose"}
        As in `LogisticNtcp`; "dose" is that of P. Okunieff et al., Int. J. Radiat. Oncol. Biol. Phys. 32 (1995) 1227.
    """

    D50_Gy: float
    gamma50: float
    alpha_beta_Gy: float
    a: float | None = None
    form: str = "log-dose"

    def __post_init__(self) -> None:
        require_positive("Logistic TCP", D50_Gy=self.D50_Gy, gamma50=self.gamma50, alpha_beta_Gy=self.alpha_beta_Gy)
        if self.a is not None and (math.isnan(self.a) or self.a >= 0.0):
            raise EvaluationError(f"Logistic TCP: the exponent a must be below 0 for a tumour; got {self.a}.")
        if self.form not in ("log-dose", "dose"):
            raise EvaluationError(f"Logistic TCP: form {self.form!r} is unknown; use 'log-dose' or 'dose'.")

    def tcp(self, dose_volume: DoseVolume, fractionation: Fractionation) -> float:
        """Return the tumour control probability."""
        equivalent = dose_volume.with_dose(eqd2_Gy(dose_volume.dose_Gy, fractionation.fractions, self.alpha_beta_Gy))
        if self.a is not None:
            dose = np.asarray(equivalent.generalized_eud_Gy(self.a))
            return float(logistic_response(dose, self.D50_Gy, self.gamma50, self.form))
        used = equivalent.fraction > 0.0
        dose = equivalent.dose_Gy[used]
        with np.errstate(divide="ignore"):
            steps = dose / self.D50_Gy - 1.0 if self.form == "dose" else np.log(dose / self.D50_Gy)
        return math.exp(float(equivalent.fraction[used] @ log_expit(4.0 * self.gamma50 * steps)))


@dataclass(frozen=True)
class PoissonD50Tcp(TcpModel):
    """The Poisson dose response with D50 and gamma of uniform doses in 2 Gy fractions, volumes multiplied.

    P(D) = exp(-exp(e gamma - (D/D50) (e gamma - ln ln 2))) of EQD2, TCP = product of P(D)**v: equations 6 to 9 of AAPM
    Task Group 166 (X. A. Li et al., Med. Phys. 39 (2012) 1386).

    Attributes
    ----------
    D50_Gy, gamma : float
        In EQD2; gamma is the largest normalized slope.
    alpha_beta_Gy : float
    """

    D50_Gy: float
    gamma: float
    alpha_beta_Gy: float

    def __post_init__(self) -> None:
        require_positive("Poisson TCP", D50_Gy=self.D50_Gy, gamma=self.gamma, alpha_beta_Gy=self.alpha_beta_Gy)

    def tcp(self, dose_volume: DoseVolume, fractionation: Fractionation) -> float:
        """Return the tumour control probability."""
        dose = eqd2_Gy(dose_volume.dose_Gy, fractionation.fractions, self.alpha_beta_Gy)
        steep = math.e * self.gamma
        with np.errstate(under="ignore"):
            log_control = -np.exp(steep - dose / self.D50_Gy * (steep - math.log(math.log(2.0))))
        return math.exp(float(dose_volume.fraction @ log_control))

    def cell_kill(self) -> tuple[float, float]:
        """Return alpha (1/Gy) and beta (1/Gy2) of the same curve, equations 7 and 8 of the report."""
        kill = math.e * self.gamma - math.log(math.log(2.0))
        alpha = kill / (self.D50_Gy * (1.0 + 2.0 / self.alpha_beta_Gy))
        return alpha, alpha / self.alpha_beta_Gy
