"""Figures of a dose: its maximum and where it is, and volume, mean, D2%, D50%, D98% of every structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part


@dataclass(frozen=True)
class DoseMaximum:
    """The greatest dose among the voxels, the centre of that voxel, and the structures it lies in."""

    dose_Gy: float
    position_RAS_mm: tuple[float, float, float]
    structures: tuple[str, ...] = ()


@dataclass(frozen=True)
class StructureStatistics:
    """A line of the table; doses are None where ``note`` says why there are none.

    Attributes
    ----------
    note : str
        Why there are no figures, or which part of the structure they are of; empty for all of it.
    """

    name: str
    volume_cm3: float
    mean_Gy: float | None = None
    d2_Gy: float | None = None
    d50_Gy: float | None = None
    d98_Gy: float | None = None
    max_Gy: float | None = None
    note: str = ""


@dataclass(frozen=True)
class DoseStatistics:
    """Figures of one dose."""

    maximum: DoseMaximum
    structures: tuple[StructureStatistics, ...]


def dose_maximum(dose_Gy: np.ndarray, grid: Grid, structures: Sequence[Structure] = ()) -> DoseMaximum:
    """Find the greatest dose of a (k, j, i) array on its grid."""
    k, j, i = np.unravel_index(int(np.argmax(dose_Gy)), dose_Gy.shape)
    position = grid.index_to_ras((i, j, k))
    return DoseMaximum(
        float(dose_Gy[k, j, i]),
        tuple(float(v) for v in position),
        tuple(s.name for s in structures if _contains(s, position)),
    )


def dose_statistics(
    dose_Gy: np.ndarray, grid: Grid, structures: Sequence[Structure] = (), progress: Progress | None = None
) -> DoseStatistics:
    """Calculate the figures of a dose.

    Parameters
    ----------
    dose_Gy : (k, j, i) array
        Of the whole course.
    grid : Grid
    structures : sequence of Structure
        Empty ones, and those outside the dose grid, are listed with a note.
    progress : callable, optional
    """
    report = part(progress, 0.0, 1.0)
    rows = []
    for done, structure in enumerate(structures):
        report(done / len(structures), f"Dose of {structure.name}")
        rows.append(_row(dose_Gy, grid, structure))
    report(1.0, "Dose statistics ready")
    return DoseStatistics(dose_maximum(dose_Gy, grid, structures), tuple(rows))


def _row(dose_Gy: np.ndarray, grid: Grid, structure: Structure) -> StructureStatistics:
    if structure.is_empty:
        return StructureStatistics(structure.name, 0.0, note="empty")
    try:
        dvh = calculate_dvh(dose_Gy, grid, structure, allow_partial=True)
    except EvaluationError as error:
        return StructureStatistics(structure.name, structure.volume_cm3, note=str(error))
    d2, d50, d98 = (dvh.dose_at_volume_percent(percent) for percent in (2.0, 50.0, 98.0))
    note = "" if dvh.covered_fraction == 1.0 else f"of the {dvh.covered_percent_text} % inside the dose grid"
    return StructureStatistics(dvh.structure_name, dvh.volume_cm3, dvh.mean_Gy, d2, d50, d98, dvh.max_Gy, note)


def _contains(structure: Structure, position_RAS_mm: np.ndarray) -> bool:
    i, j, k = np.round(structure.grid.ras_to_index(position_RAS_mm)).astype(int)
    inside = all(0 <= index < count for index, count in zip((k, j, i), structure.grid.shape))
    return inside and bool(structure.mask[k, j, i])
