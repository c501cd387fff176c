"""DVHs straight from a dose influence: of fluence that no leaves have delivered yet."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from DoseEngineLib.geometry import resample
from DoseEngineLib.influence import DoseInfluence
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.dvh import Dvh

# Rows that stand for less or more of a structure than this, or are fewer, do not tell its DVH.
_AMISS = 0.03
_LEAST_ROWS = 20


def influence_dvhs(influence: DoseInfluence, weights_MU: np.ndarray, structures: Iterable[Structure]) -> dict[str, Dvh]:
    """Calculate the DVHs of bixel weights for the structures that the influence has voxels of.

    A row counts as many voxels as it stands for, so that sampled tissue has its true share. Structures that the rows do
    not represent are left out: their volume would be wrong by more than 3 %, or less than 20 rows lie in them.

    Parameters
    ----------
    influence : DoseInfluence
    weights_MU : (bixels,) array
        MU a fraction.
    structures : iterable of Structure
    """
    dose_Gy = influence.fractions * (influence.matrix @ np.asarray(weights_MU, dtype=np.float32))
    dvhs = {}
    for structure in structures:
        rows = influence.rows_of(structure)
        voxels = np.count_nonzero(resample(structure.mask, structure.grid, influence.grid))
        counts = np.rint(influence.voxel_weights[rows]).astype(int)
        if rows.size >= _LEAST_ROWS and abs(counts.sum() / voxels - 1.0) <= _AMISS:
            samples = np.repeat(dose_Gy[rows], counts)
            dvhs[structure.name] = Dvh(structure.name, structure.volume_cm3, samples)
    return dvhs
