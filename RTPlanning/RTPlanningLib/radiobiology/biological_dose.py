"""Maps of BED and EQD2 on the dose grid, each structure's voxels with its own alpha/beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import biologically_effective_dose_Gy, equivalent_dose_Gy
from RTPlanningLib.radiobiology.physical_range import require_positive

OVERLAP_RULES = ("first", "smallest", "largest")


def alpha_beta_map(
    grid: Grid,
    structures: Sequence[Structure],
    alpha_beta_Gy: Mapping[str, float],
    *,
    elsewhere_Gy: float,
    overlap: str = "first",
) -> np.ndarray:
    """Return alpha/beta in Gy of every voxel of the dose grid.

    Parameters
    ----------
    grid : Grid
    structures : sequence of Structure
        On any grid; a voxel belongs to a structure when its centre does. Each needs an alpha/beta.
    alpha_beta_Gy : mapping of structure name to alpha/beta in Gy
    elsewhere_Gy : float
        Alpha/beta outside all structures; there is no default, since there is no neutral value.
    overlap : {"first", "smallest", "largest"}
        What counts where structures overlap: the structure that comes first in ``structures``, or the smallest or the
        largest alpha/beta of those there. For doses above 2 Gy a fraction the smallest gives the largest EQD2.

    Returns
    -------
    (k, j, i) float32 array
    """
    if overlap not in OVERLAP_RULES:
        raise EvaluationError(f"Overlap rule {overlap!r} is unknown; use one of {', '.join(OVERLAP_RULES)}.")
    require_positive("Outside all structures", alpha_beta_Gy=elsewhere_Gy)
    values = np.full(grid.shape, np.nan, np.float32)
    for structure in structures:
        if structure.name not in alpha_beta_Gy:
            raise EvaluationError(
                f"Structure {structure.name} has no alpha/beta; give one, or leave the structure out."
            )
        value = alpha_beta_Gy[structure.name]
        require_positive(f"Structure {structure.name}", alpha_beta_Gy=value)
        inside = resample(structure.mask, structure.grid, grid).astype(bool)
        taken = ~np.isnan(values)
        if overlap == "first":
            values[inside & ~taken] = value
        else:
            choose = np.minimum if overlap == "smallest" else np.maximum
            values[inside & taken] = choose(values[inside & taken], np.float32(value))
            values[inside & ~taken] = value
    unknown = set(alpha_beta_Gy) - {structure.name for structure in structures}
    if unknown:
        raise EvaluationError(
            f"There is no structure named {', '.join(sorted(unknown))} to give an alpha/beta to; check the names."
        )
    values[np.isnan(values)] = elsewhere_Gy
    return values


def bed_map_Gy(dose_Gy: np.ndarray, alpha_beta_Gy: np.ndarray | float, fractionation: Fractionation) -> np.ndarray:
    """Return the BED of every voxel, for acute fractions with complete repair between them.

    Parameters
    ----------
    dose_Gy : (k, j, i) array
        Dose of the whole course.
    alpha_beta_Gy : (k, j, i) array or float
        From `alpha_beta_map`.
    fractionation : Fractionation
        One fraction a day; tissues with incomplete repair differ from voxel to voxel: use `Tissue.bed_Gy` for each.

    Returns
    -------
    (k, j, i) float32 array, Gy
    """
    dose = np.asarray(dose_Gy)
    if np.ndim(alpha_beta_Gy) and np.shape(alpha_beta_Gy) != dose.shape:
        raise EvaluationError(
            f"The alpha/beta map's shape {np.shape(alpha_beta_Gy)} is not the dose's {dose.shape} (k, j, i)."
        )
    if fractionation.fractions_per_day > 1 or fractionation.delivery_min > 0.0:
        raise EvaluationError(
            "A map of BED takes acute fractions once a day; for several a day or long ones give each tissue its "
            "repair half time and use Tissue.bed_Gy."
        )
    return biologically_effective_dose_Gy(dose, fractionation.fractions, alpha_beta_Gy).astype(np.float32)


def eqd2_map_Gy(dose_Gy: np.ndarray, alpha_beta_Gy: np.ndarray | float, fractionation: Fractionation) -> np.ndarray:
    """Return EQD2 of every voxel (k, j, i) in Gy; parameters as for `bed_map_Gy`."""
    return equivalent_dose_Gy(bed_map_Gy(dose_Gy, alpha_beta_Gy, fractionation), alpha_beta_Gy).astype(np.float32)
