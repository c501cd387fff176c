"""Margins of a structure in the six directions of the patient, in mm."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields

from DoseEngineLib.errors import PatientError

# What a person may have meant with one number too many.
_LARGEST_MM = 200.0


@dataclass(frozen=True)
class Margins:
    """How far a structure's surface moves outwards, by the direction in the patient; negative values move it inwards.

    Attributes
    ----------
    left_mm, right_mm, anterior_mm, posterior_mm, superior_mm, inferior_mm : float
        Patient's left, right and so on: RAS axes, whatever the couch position and the orientation of the image.

    Raises
    ------
    PatientError
        A margin that is not finite or beyond 200 mm.
    """

    left_mm: float = 0.0
    right_mm: float = 0.0
    anterior_mm: float = 0.0
    posterior_mm: float = 0.0
    superior_mm: float = 0.0
    inferior_mm: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > _LARGEST_MM:
                direction = field.name.removesuffix("_mm")
                raise PatientError(
                    f"Margin {direction}: {value!r} is not a length within {_LARGEST_MM:g} mm; give one."
                )
            object.__setattr__(self, field.name, float(value))

    @classmethod
    def uniform(cls, margin_mm: float) -> Margins:
        """The same margin in every direction."""
        return cls(*(margin_mm for _ in fields(cls)))

    @property
    def is_uniform(self) -> bool:
        """Whether all six are equal."""
        return len(set(astuple(self))) == 1

    @property
    def is_zero(self) -> bool:
        """Whether nothing moves."""
        return not any(astuple(self))

    @property
    def growing(self) -> Margins:
        """Those that move the surface outwards, zero elsewhere."""
        return Margins(*(max(value, 0.0) for value in astuple(self)))

    @property
    def shrinking(self) -> Margins:
        """How far the others move it inwards, as positive lengths."""
        return Margins(*(max(-value, 0.0) for value in astuple(self)))

    @property
    def opposite(self) -> Margins:
        """Left and right, anterior and posterior, superior and inferior exchanged."""
        return Margins(
            self.right_mm, self.left_mm, self.posterior_mm, self.anterior_mm, self.inferior_mm, self.superior_mm
        )

    def describe(self) -> str:
        """In words, as short as possible: ``5 mm`` or ``left 5, right 3 ... mm``."""
        if self.is_uniform:
            return f"{self.left_mm:g} mm"
        parts = (f"{field.name.removesuffix('_mm')} {getattr(self, field.name):g}" for field in fields(self))
        return f"{', '.join(parts)} mm"
