"""How a dose is given: number of fractions, fractions a day, time between and within them, overall time."""

from __future__ import annotations

from dataclasses import dataclass

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.physical_range import require_count, require_not_negative, require_positive


@dataclass(frozen=True)
class Fractionation:
    """The schedule of a course of equal fractions.

    Attributes
    ----------
    fractions : int
    fractions_per_day : int
    interval_h : float, optional
        Hours from the start of one fraction to the start of the next on the same day; needed for more than one a day.
        The last fraction of a day is taken to be repaired by the next morning.
    delivery_min : float
        Minutes that a fraction takes; 0 is a fraction given at once.
    overall_days : float, optional
        Days from the first fraction to the last (35 daily fractions on weekdays, begun on a Monday: 46). Needed where
        proliferation is asked for.
    """

    fractions: int
    fractions_per_day: int = 1
    interval_h: float | None = None
    delivery_min: float = 0.0
    overall_days: float | None = None

    def __post_init__(self) -> None:
        require_count("Fractionation", fractions=self.fractions, fractions_per_day=self.fractions_per_day)
        require_not_negative("Fractionation", delivery_min=self.delivery_min)
        if self.fractions_per_day > 1:
            if self.interval_h is None:
                raise EvaluationError(
                    f"Fractionation: with {self.fractions_per_day} fractions a day give interval_h, the hours between "
                    "them."
                )
            require_positive("Fractionation", interval_h=self.interval_h)
            if self.interval_h * (self.fractions_per_day - 1) + self.delivery_min / 60.0 > 24.0:
                raise EvaluationError(
                    f"Fractionation: {self.fractions_per_day} fractions {self.interval_h:g} h apart do not fit in a "
                    "day; shorten the interval."
                )
            if self.delivery_min / 60.0 > self.interval_h:
                raise EvaluationError(
                    f"Fractionation: a fraction of {self.delivery_min:g} min does not end before the next begins "
                    f"({self.interval_h:g} h); lengthen the interval."
                )
        elif self.delivery_min > 24.0 * 60.0:
            raise EvaluationError(
                "Fractionation: a fraction cannot take longer than a day; use continuous irradiation."
            )
        if self.overall_days is not None:
            require_not_negative("Fractionation", overall_days=self.overall_days)
            least = -(-self.fractions // self.fractions_per_day) - 1
            if self.overall_days < least:
                raise EvaluationError(
                    f"Fractionation: {self.fractions} fractions, {self.fractions_per_day} a day, take at least {least} "
                    f"days from the first to the last; overall_days is {self.overall_days:g}."
                )

    def days(self) -> list[tuple[int, int]]:
        """Return (fractions on such a day, number of such days): the full days, and a last one that is not."""
        full, rest = divmod(self.fractions, self.fractions_per_day)
        days = [(self.fractions_per_day, full)] if full else []
        return days + ([(rest, 1)] if rest else [])


def weekday_overall_days(fractions: int, fractions_per_day: int = 1, days_per_week: int = 5) -> float:
    """Return the days from first to last fraction of a course begun on a Monday, with the other days of a week off."""
    require_count("Overall time", fractions=fractions, fractions_per_day=fractions_per_day, days_per_week=days_per_week)
    if days_per_week > 7:
        raise EvaluationError(f"Overall time: a week has 7 days, not {days_per_week}.")
    last = -(-fractions // fractions_per_day) - 1
    return float(7 * (last // days_per_week) + last % days_per_week)
