"""Drugs given with radiation: a factor on the dose, and an effect of their own.

B. Jones and R. G. Dale, Br. J. Radiol. 78 (2005) 939: a radiosensitizer multiplies the dose of every fraction by a
sensitizer enhancement ratio s; cell kill by the drug alone adds a radiation equivalent BED. Neither has a default here:
they belong to a drug, its schedule and the tumour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import equivalent_dose_Gy
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_not_negative, require_positive
from RTPlanningLib.radiobiology.tissue import Tissue


@dataclass(frozen=True)
class Chemoradiation:
    """The effect of a drug in one tissue.

    Attributes
    ----------
    dose_modifying_factor : float
        What the dose of every sensitized fraction is multiplied by; above 1 sensitizes, below 1 protects.
    independent_bed_Gy : float
        BED in Gy that the drug alone is worth.
    """

    dose_modifying_factor: float = 1.0
    independent_bed_Gy: float = 0.0

    def __post_init__(self) -> None:
        require_positive("Chemoradiation", dose_modifying_factor=self.dose_modifying_factor)
        require_not_negative("Chemoradiation", independent_bed_Gy=self.independent_bed_Gy)

    def modified_dose_Gy(self, dose_Gy: np.ndarray | float) -> np.ndarray:
        """Return the dose without drug that does what this dose does with it, the drug's own effect left out."""
        return checked_doses("Chemoradiation", dose_Gy) * self.dose_modifying_factor

    def bed_Gy(self, dose_Gy: np.ndarray | float, tissue: Tissue, fractionation: Fractionation) -> np.ndarray:
        """Return the BED in Gy of radiation and drug, for a drug given in every fraction."""
        return tissue.bed_Gy(self.modified_dose_Gy(dose_Gy), fractionation) + self.independent_bed_Gy

    def eqd2_Gy(self, dose_Gy: np.ndarray | float, tissue: Tissue, fractionation: Fractionation) -> np.ndarray:
        """Return EQD2 in Gy of radiation and drug."""
        return equivalent_dose_Gy(self.bed_Gy(dose_Gy, tissue, fractionation), tissue.alpha_beta_Gy)
