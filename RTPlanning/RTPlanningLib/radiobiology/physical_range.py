"""What parameters of radiobiological models may be: every model checks its own with these."""

from __future__ import annotations

import math

import numpy as np

from DoseEngineLib.errors import EvaluationError


def require_positive(owner: str, **values: float) -> None:
    """Raise `EvaluationError` unless every value is a finite number above zero."""
    for name, value in values.items():
        if not _is_number(value) or not math.isfinite(value) or value <= 0.0:
            raise EvaluationError(f"{owner}: {name} must be a finite number above 0; got {value!r}.")


def require_not_negative(owner: str, **values: float) -> None:
    """Raise `EvaluationError` unless every value is a finite number of zero or more."""
    for name, value in values.items():
        if not _is_number(value) or not math.isfinite(value) or value < 0.0:
            raise EvaluationError(f"{owner}: {name} must be a finite number of 0 or more; got {value!r}.")


def require_count(owner: str, **values: int) -> None:
    """Raise `EvaluationError` unless every value is a whole number of one or more."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise EvaluationError(f"{owner}: {name} must be a whole number of 1 or more; got {value!r}.")


def checked_doses(owner: str, dose_Gy: np.ndarray | float) -> np.ndarray:
    """Return doses as float64; raise `EvaluationError` where they are negative, NaN or infinite."""
    dose = np.asarray(dose_Gy, dtype=np.float64)
    if not np.isfinite(dose).all():
        raise EvaluationError(f"{owner}: the dose has NaN or infinite values; repair it first.")
    if (dose < 0.0).any():
        raise EvaluationError(f"{owner}: a dose cannot be negative; the smallest is {dose.min():.4g} Gy.")
    return dose


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
