"""The linear-quadratic model: biologically effective dose and the equivalent dose in fractions of 2 Gy.

BED = D (1 + g d / (alpha/beta)) with total dose D, dose a fraction d and g = 1 for acute fractions with complete repair
between them (G. W. Barendsen, Int. J. Radiat. Oncol. Biol. Phys. 8 (1982) 1981; J. F. Fowler, Br. J. Radiol. 62 (1989)
679). EQD2 = BED / (1 + 2 / (alpha/beta)).
"""

from __future__ import annotations

import numpy as np

from RTPlanningLib.radiobiology.physical_range import (
    checked_doses,
    require_count,
    require_not_negative,
    require_positive,
)


def biologically_effective_dose_Gy(
    dose_Gy: np.ndarray | float,
    fractions: int,
    alpha_beta_Gy: np.ndarray | float,
    quadratic_factor: float = 1.0,
) -> np.ndarray:
    """Return the BED in Gy.

    Parameters
    ----------
    dose_Gy : array
        Dose of the whole course, of any shape; every point gets its own dose a fraction.
    fractions : int
    alpha_beta_Gy : float or array
        One value, or one for every point.
    quadratic_factor : float
        What the quadratic term is multiplied by (`Repair.quadratic_factor`).

    Returns
    -------
    float64 array of the shape of the dose
    """
    dose = checked_doses("BED", dose_Gy)
    require_count("BED", fractions=fractions)
    require_not_negative("BED", quadratic_factor=quadratic_factor)
    return dose * (1.0 + quadratic_factor * dose / fractions / checked_alpha_beta(alpha_beta_Gy))


def equivalent_dose_Gy(
    bed_Gy: np.ndarray | float, alpha_beta_Gy: np.ndarray | float, reference_Gy: float = 2.0
) -> np.ndarray:
    """Return the dose in fractions of ``reference_Gy`` (EQD2 for 2 Gy), fully repaired between, that has this BED."""
    require_positive("EQD", reference_Gy=reference_Gy)
    return checked_doses("EQD", bed_Gy) / (1.0 + reference_Gy / checked_alpha_beta(alpha_beta_Gy))


def eqd2_Gy(dose_Gy: np.ndarray | float, fractions: int, alpha_beta_Gy: np.ndarray | float) -> np.ndarray:
    """Return EQD2 in Gy of a dose given in acute, fully repaired fractions."""
    return equivalent_dose_Gy(biologically_effective_dose_Gy(dose_Gy, fractions, alpha_beta_Gy), alpha_beta_Gy)


def dose_of_bed_Gy(
    bed_Gy: np.ndarray | float,
    fractions: int,
    alpha_beta_Gy: np.ndarray | float,
    quadratic_factor: float = 1.0,
) -> np.ndarray:
    """Return the total dose in Gy that has this BED when given in so many fractions: the inverse of the BED."""
    bed = checked_doses("Dose of a BED", bed_Gy)
    require_count("Dose of a BED", fractions=fractions)
    require_not_negative("Dose of a BED", quadratic_factor=quadratic_factor)
    steepness = quadratic_factor / (fractions * checked_alpha_beta(alpha_beta_Gy))
    # the root of steepness D^2 + D - bed = 0, in the form that does not cancel for a small steepness
    return 2.0 * bed / (1.0 + np.sqrt(1.0 + 4.0 * steepness * bed))


def checked_alpha_beta(alpha_beta_Gy: np.ndarray | float) -> np.ndarray:
    """Return alpha/beta as float64; raise `EvaluationError` unless all are finite and above zero."""
    values = np.asarray(alpha_beta_Gy, dtype=np.float64)
    for value in (values.min(), values.max()):
        require_positive("Linear-quadratic model", alpha_beta_Gy=float(value))
    return values
