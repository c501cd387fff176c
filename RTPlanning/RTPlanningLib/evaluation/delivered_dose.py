"""Which part of a course's dose counts, by the fractions that were delivered of it."""

from __future__ import annotations

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution


class DeliveredDose:
    """For a dose with the ``fractions`` (int, or None for all) that were delivered of it, and a ``weight``."""

    dose: DoseDistribution
    fractions: int | None
    weight: float

    @property
    def delivered_fractions(self) -> int:
        """Fractions that count."""
        return self.dose.fractions if self.fractions is None else int(self.fractions)

    @property
    def factor(self) -> float:
        """What the dose of the whole course is multiplied by."""
        return self.weight * self.delivered_fractions / self.dose.fractions

    def _check_fractions(self) -> None:
        if self.fractions is not None and (int(self.fractions) != self.fractions or self.fractions < 1):
            raise EvaluationError(
                f"{self.dose.name}: {self.fractions} delivered fractions; give a whole number from 1."
            )
