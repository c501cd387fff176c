"""A plan's dose summed up in a few lines: its maximum and where it lies, and how the target is covered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.dose_statistics import DoseMaximum, dose_maximum
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Prescription, Structure


@dataclass(frozen=True)
class DoseFigure:
    """One figure of a dose.

    Attributes
    ----------
    name : str
    text : str
        Value with its unit.
    note : str
        Where it lies, or what it means.
    """

    name: str
    text: str
    note: str = ""


def dose_figures(
    dose_Gy: np.ndarray,
    grid: Grid,
    structures: Sequence[Structure],
    dvhs: Mapping[str, Dvh],
    prescription: Prescription | None = None,
) -> tuple[DoseFigure, ...]:
    """Sum up a dose.

    Parameters
    ----------
    dose_Gy : (k, j, i) array
        Dose of the whole course on ``grid``.
    grid : Grid
    structures : sequence of Structure
        Among which the maximum is looked for.
    dvhs : mapping of structure name to Dvh
    prescription : Prescription, optional
        Whose target's dose is summed up; without a target, the first PTV's.

    Raises
    ------
    EvaluationError
        A dose that does not fit its grid, or is nowhere above zero.
    """
    dose = np.asarray(dose_Gy)
    if dose.shape != grid.shape:
        raise EvaluationError(f"The dose array's shape {dose.shape} is not its grid's {grid.shape} (k, j, i).")
    maximum = dose_maximum(dose, grid, [s for s in structures if s.role != "EXTERNAL"])
    if not maximum.dose_Gy > 0.0:
        raise EvaluationError("The dose is zero everywhere; check that the beams meet the patient.")
    prescribed_Gy = prescription.dose_Gy if prescription else None
    where = f"at {_in_words(maximum.position_RAS_mm)}, {_whose(maximum, structures)}"
    rows = [DoseFigure("Maximum", _dose(maximum.dose_Gy, prescribed_Gy), where)]
    target = prescription.target if prescription else None
    if target is None:
        target = next((s.name for s in structures if s.role == "PTV" and s.name in dvhs), None)
    dvh = dvhs.get(target) if target else None
    if dvh is None:
        return tuple(rows)
    partly = "" if dvh.covered_fraction == 1.0 else f"of the {dvh.covered_percent_text} % inside the dose grid"
    rows += [
        DoseFigure(f"Mean in {target}", _dose(dvh.mean_Gy, prescribed_Gy), partly),
        DoseFigure(f"D95% of {target}", _dose(dvh.dose_at_volume_percent(95.0), prescribed_Gy), partly),
        DoseFigure(f"D2% of {target}", _dose(dvh.dose_at_volume_percent(2.0), prescribed_Gy), partly),
    ]
    if prescribed_Gy is not None:
        rows += [
            DoseFigure(
                f"V{100.0 * share:.0f}% of {target}",
                f"{dvh.volume_percent_at_dose(share * prescribed_Gy):.1f} %",
                f"of its volume receives {100.0 * share:.0f} % of the prescribed dose",
            )
            for share in (1.0, 0.95)
        ]
    return tuple(rows)


def _dose(dose_Gy: float, prescribed_Gy: float | None) -> str:
    text = f"{dose_Gy:.2f} Gy"
    return text if prescribed_Gy is None else f"{text} ({100.0 * dose_Gy / prescribed_Gy:.1f} %)"


def _in_words(point_RAS_mm: Sequence[float]) -> str:
    sides = (("R", "L"), ("A", "P"), ("S", "I"))
    named = (
        f"{side[0] if value >= 0 else side[1]} {abs(value):.0f}"
        for value, side in zip(point_RAS_mm, sides, strict=True)
    )
    return f"{', '.join(named)} mm"


def _whose(maximum: DoseMaximum, structures: Sequence[Structure]) -> str:
    if maximum.structures:
        return f"in {', '.join(maximum.structures)}"
    return "outside all structures but the body" if structures else "no structures are contoured"
