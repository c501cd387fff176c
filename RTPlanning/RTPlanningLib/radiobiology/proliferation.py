"""Proliferation during the course: the BED that it takes back a day, from the kick-off time on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.physical_range import require_not_negative, require_positive


@dataclass(frozen=True)
class Proliferation:
    """Exponential growth that begins at a kick-off time.

    Attributes
    ----------
    lost_Gy_per_day : float
        BED in Gy that a day of growth takes back; K of R. G. Dale et al. (Clin. Oncol. 14 (2002) 382).
    kick_off_days : float
        Days after the first fraction at which the growth begins (T_k).
    """

    lost_Gy_per_day: float
    kick_off_days: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("Proliferation", lost_Gy_per_day=self.lost_Gy_per_day, kick_off_days=self.kick_off_days)

    @classmethod
    def from_doubling_time(cls, doubling_days: float, alpha_per_Gy: float, kick_off_days: float = 0.0) -> Proliferation:
        """Build from the effective doubling time of clonogens: K = ln 2 / (alpha T_d).

        J. F. Fowler, Br. J. Radiol. 62 (1989) 679. Of a potential doubling time T_pot give the effective one,
        T_pot / (1 - cell loss factor), unless no cells are lost.
        """
        require_positive("Proliferation", doubling_days=doubling_days, alpha_per_Gy=alpha_per_Gy)
        return cls(math.log(2.0) / (alpha_per_Gy * doubling_days), kick_off_days)

    def lost_bed_Gy(self, fractionation: Fractionation) -> float:
        """Return the BED in Gy that growth takes back in the course.

        Raises
        ------
        EvaluationError
            When the schedule does not say how long the course is.
        """
        if fractionation.overall_days is None:
            raise EvaluationError(
                "Proliferation needs the overall time; give overall_days in the fractionation "
                "(weekday_overall_days works it out for a course on weekdays)."
            )
        return self.lost_Gy_per_day * max(fractionation.overall_days - self.kick_off_days, 0.0)
