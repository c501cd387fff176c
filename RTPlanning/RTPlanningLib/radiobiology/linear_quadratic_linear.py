"""The linear-quadratic-linear model of large fractions: above a transition dose the survival curve is straight.

M. Astrahan, Med. Phys. 35 (2008) 4161: for a dose a fraction d above d_T

    BED = n (d_T (1 + d_T / (alpha/beta)) + (gamma/alpha) (d - d_T)),

gamma/alpha being the final slope of the log survival curve over its initial one. The slope that joins smoothly, the
tangent of the linear-quadratic curve at d_T, is gamma/alpha = 1 + 2 d_T / (alpha/beta).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.linear_quadratic import checked_alpha_beta
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_count, require_positive


@dataclass(frozen=True)
class LargeFractions:
    """Where the straight part of the survival curve begins, and how steep it is.

    Attributes
    ----------
    transition_Gy : float
        d_T, dose a fraction.
    gamma_over_alpha : float, optional
        Final over initial slope; by default that of the tangent at d_T.
    """

    transition_Gy: float
    gamma_over_alpha: float | None = None

    def __post_init__(self) -> None:
        require_positive("LQ-L model", transition_Gy=self.transition_Gy)
        if self.gamma_over_alpha is not None:
            require_positive("LQ-L model", gamma_over_alpha=self.gamma_over_alpha)
            if self.gamma_over_alpha < 1.0:
                raise EvaluationError(
                    f"LQ-L model: gamma/alpha is {self.gamma_over_alpha:g}; the final slope of a survival curve is not "
                    "below its initial one, give 1 or more."
                )

    def slope(self, alpha_beta_Gy: np.ndarray | float) -> np.ndarray:
        """Return gamma/alpha."""
        if self.gamma_over_alpha is not None:
            return np.asarray(self.gamma_over_alpha)
        return 1.0 + 2.0 * self.transition_Gy / checked_alpha_beta(alpha_beta_Gy)

    def bed_Gy(self, dose_Gy: np.ndarray | float, fractions: int, alpha_beta_Gy: np.ndarray | float) -> np.ndarray:
        """Return the BED in Gy of the whole course's dose, point by point; linear-quadratic up to d_T a fraction."""
        require_count("LQ-L model", fractions=fractions)
        each = checked_doses("LQ-L model", dose_Gy) / fractions
        alpha_beta = checked_alpha_beta(alpha_beta_Gy)
        curved = np.minimum(each, self.transition_Gy)
        straight = np.maximum(each - self.transition_Gy, 0.0)
        return fractions * (curved * (1.0 + curved / alpha_beta) + self.slope(alpha_beta) * straight)
