"""Which voxels of a reference dose a comparison judges: above a threshold, inside a structure."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import resample
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution


def judged_voxels(
    reference: DoseDistribution, threshold_Gy: float, structure: Structure | None, what: str
) -> tuple[np.ndarray, float]:
    """Mark the voxels to judge.

    Parameters
    ----------
    reference : DoseDistribution
    threshold_Gy : float
        Least reference dose; compared in single precision, as doses are stored.
    structure : Structure or None
        Voxels whose centres lie in it, on a grid of its own; None: all.
    what : str
        Name of the comparison, for messages.

    Returns
    -------
    judged : (k, j, i) bool array
    covered : float
        Share of the structure's voxels that lie on the reference's grid; 1 without a structure.

    Raises
    ------
    EvaluationError
        An empty structure, one without a voxel on the grid, or no voxel that reaches the threshold.
    """
    judged = reference.dose_Gy >= np.float32(threshold_Gy)
    covered = 1.0
    if structure is not None:
        if structure.is_empty:
            raise EvaluationError(f"Structure {structure.name} is empty; contour it or choose another.")
        inside = resample(structure.mask, structure.grid, reference.grid)
        if not inside.any():
            raise EvaluationError(
                f"Structure {structure.name} holds no voxel centre of the grid of {reference.name}; choose another "
                "structure, or a dose on a grid that covers it with finer voxels."
            )
        k, j, i = np.nonzero(structure.mask)
        centres = structure.grid.index_to_ras(np.stack((i, j, k), axis=-1))
        covered = float(np.count_nonzero(reference.grid.contains(centres)) / len(centres))
        judged &= inside
    if not judged.any():
        where = f" in {structure.name}" if structure is not None else ""
        raise EvaluationError(
            f"Cannot calculate the {what}: no voxel{where} has a reference dose of {threshold_Gy:.4g} Gy or more; "
            "lower the threshold or the normalization dose."
        )
    return judged, covered
