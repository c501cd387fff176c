"""Isodose levels: in % of the prescribed dose or in Gy, with colours from hot to cold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from DoseEngineLib.errors import EvaluationError

# The order of colours customary in clinical systems (hot above the prescription, yellow at it, green at 95 %, blues
# below), light enough to be seen on a dark CT image.
DEFAULT_PERCENT_COLORS: dict[float, tuple[float, float, float]] = {
    110.0: (1.00, 0.15, 0.95),
    107.0: (1.00, 0.10, 0.10),
    105.0: (1.00, 0.50, 0.05),
    100.0: (1.00, 0.95, 0.10),
    95.0: (0.20, 0.95, 0.20),
    90.0: (0.10, 0.95, 0.80),
    80.0: (0.20, 0.75, 1.00),
    70.0: (0.35, 0.50, 1.00),
    50.0: (0.65, 0.50, 1.00),
    30.0: (0.75, 0.70, 0.85),
}


@dataclass(frozen=True)
class IsodoseLevel:
    """One isodose level.

    Attributes
    ----------
    dose_Gy : float
    label : str
        Text with the unit, e.g. ``"95 % = 47.5 Gy"``.
    color : (3,) tuple of float
        RGB in 0..1.
    """

    dose_Gy: float
    label: str
    color: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not math.isfinite(self.dose_Gy) or self.dose_Gy <= 0.0:
            raise EvaluationError(f"An isodose level must be a positive dose; got {self.dose_Gy} Gy.")


def levels_in_percent(
    reference_Gy: float, percents: Sequence[float] = tuple(DEFAULT_PERCENT_COLORS)
) -> tuple[IsodoseLevel, ...]:
    """Return levels in % of a reference dose (the prescription), the highest first.

    Raises
    ------
    EvaluationError
        When the reference or a level is not positive.
    """
    if not math.isfinite(reference_Gy) or reference_Gy <= 0.0:
        raise EvaluationError(f"Isodose levels in % need a positive reference dose; got {reference_Gy} Gy.")
    return tuple(
        IsodoseLevel(p * reference_Gy / 100.0, f"{p:g} % = {p * reference_Gy / 100.0:.4g} Gy", _color_of(p))
        for p in sorted({float(p) for p in percents}, reverse=True)
    )


def levels_in_Gy(doses_Gy: Sequence[float]) -> tuple[IsodoseLevel, ...]:
    """Return levels at absolute doses, the highest first; their colours spread from hot to cold."""
    doses = sorted({float(d) for d in doses_Gy}, reverse=True)
    colors = list(DEFAULT_PERCENT_COLORS.values())
    last = max(len(doses) - 1, 1)
    return tuple(
        IsodoseLevel(dose, f"{dose:.4g} Gy", colors[round(n * (len(colors) - 1) / last)])
        for n, dose in enumerate(doses)
    )


def default_levels(prescription_Gy: float | None, maximum_Gy: float) -> tuple[IsodoseLevel, ...]:
    """Return the clinical default levels: in % of the prescription, or, without one, round doses below the maximum."""
    if prescription_Gy is not None:
        return levels_in_percent(prescription_Gy)
    if not math.isfinite(maximum_Gy) or maximum_Gy <= 0.0:
        raise EvaluationError("There is no dose to draw isodoses of: its maximum is not positive.")
    power = 10.0 ** math.floor(math.log10(maximum_Gy / 5.0))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if maximum_Gy / (factor * power) <= 8.0)
    return levels_in_Gy([step * n for n in range(1, int(maximum_Gy / step) + 1)])


def _color_of(percent: float) -> tuple[float, float, float]:
    return DEFAULT_PERCENT_COLORS[min(DEFAULT_PERCENT_COLORS, key=lambda known: abs(known - percent))]
