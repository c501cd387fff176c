"""A tissue's response to fractionation, and the biological dose of voxels and DVHs that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import biologically_effective_dose_Gy, equivalent_dose_Gy
from RTPlanningLib.radiobiology.linear_quadratic_linear import LargeFractions
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_positive
from RTPlanningLib.radiobiology.proliferation import Proliferation
from RTPlanningLib.radiobiology.repair import Repair


@dataclass(frozen=True)
class Tissue:
    """How a tissue responds to fractionation.

    Attributes
    ----------
    name : str
    alpha_beta_Gy : float
    repair : Repair, optional
        Without it repair is complete between fractions and none happens within them.
    proliferation : Proliferation, optional
    large_fractions : LargeFractions, optional
        The linear-quadratic-linear model instead of the linear-quadratic one. It is not defined together with `repair`.
    """

    name: str
    alpha_beta_Gy: float
    repair: Repair | None = None
    proliferation: Proliferation | None = None
    large_fractions: LargeFractions | None = None

    def __post_init__(self) -> None:
        require_positive(f"Tissue {self.name}", alpha_beta_Gy=self.alpha_beta_Gy)
        if self.repair is not None and self.large_fractions is not None:
            raise EvaluationError(
                f"Tissue {self.name}: incomplete repair and the LQ-L model are not defined together; leave one out."
            )
        if self.large_fractions is not None and self.large_fractions.transition_Gy < 2.0:
            raise EvaluationError(
                f"Tissue {self.name}: EQD2 needs the LQ-L model's transition dose at 2 Gy or more; it is "
                f"{self.large_fractions.transition_Gy:g} Gy."
            )

    def bed_Gy(self, dose_Gy: np.ndarray | float, fractionation: Fractionation) -> np.ndarray:
        """Return the BED in Gy of doses of the whole course, point by point.

        What proliferation takes back is the same everywhere; a BED does not go below zero.
        """
        if self.large_fractions is not None:
            bed = self.large_fractions.bed_Gy(dose_Gy, fractionation.fractions, self.alpha_beta_Gy)
        else:
            factor = 1.0 if self.repair is None else self.repair.quadratic_factor(fractionation)
            bed = biologically_effective_dose_Gy(dose_Gy, fractionation.fractions, self.alpha_beta_Gy, factor)
        if self.proliferation is not None:
            bed = np.maximum(bed - self.proliferation.lost_bed_Gy(fractionation), 0.0)
        return bed

    def eqd2_Gy(self, dose_Gy: np.ndarray | float, fractionation: Fractionation) -> np.ndarray:
        """Return EQD2 in Gy point by point: 2 Gy fractions, fully repaired between, in a time without proliferation."""
        return equivalent_dose_Gy(self.bed_Gy(dose_Gy, fractionation), self.alpha_beta_Gy)

    def continuous_bed_Gy(self, dose_Gy: np.ndarray | float, duration_h: float) -> np.ndarray:
        """Return the BED in Gy of one continuous irradiation at constant dose rate, as low-dose-rate brachytherapy."""
        if self.repair is None:
            raise EvaluationError(
                f"Tissue {self.name}: continuous irradiation needs its repair half time; give repair."
            )
        dose = checked_doses(f"Tissue {self.name}", dose_Gy)
        bed = biologically_effective_dose_Gy(dose, 1, self.alpha_beta_Gy, self.repair.protraction_factor(duration_h))
        if self.proliferation is not None:
            course = Fractionation(1, delivery_min=0.0, overall_days=duration_h / 24.0)
            bed = np.maximum(bed - self.proliferation.lost_bed_Gy(course), 0.0)
        return bed

    def bed_dvh(self, dvh: Dvh, fractionation: Fractionation) -> Dvh:
        """Return the DVH of BED; BED rises with dose, so each sample is converted by itself."""
        return _converted(dvh, self.bed_Gy(dvh.dose_samples_Gy, fractionation))

    def eqd2_dvh(self, dvh: Dvh, fractionation: Fractionation) -> Dvh:
        """Return the DVH of EQD2."""
        return _converted(dvh, self.eqd2_Gy(dvh.dose_samples_Gy, fractionation))


def _converted(dvh: Dvh, samples_Gy: np.ndarray) -> Dvh:
    return Dvh(dvh.structure_name, dvh.volume_cm3, samples_Gy, dvh.covered_fraction, dvh.sampled_from)
