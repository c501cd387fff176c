"""DVHs of a dose influence: rows count for the voxels they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from DoseEngineLib.geometry import Grid
from DoseEngineLib.influence import BixelBeam, DoseInfluence
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.influence_dvh import influence_dvhs


def test_rows_count_for_the_voxels_they_stand_for():
    grid = Grid.from_spacing((10, 10, 10), 2.0, (0.0, 0.0, 0.0))
    target = np.zeros(grid.shape, bool)
    target[2:5, 2:5, 2:6] = True
    body = np.ones(grid.shape, bool)
    # all of the target, and of the rest every fourth voxel
    rest = np.flatnonzero(~target.ravel())[::4]
    voxels = np.sort(np.r_[np.flatnonzero(target.ravel()), rest])
    inside = target.ravel()[voxels]
    influence = DoseInfluence(
        sparse.csc_array(np.where(inside, 2.0, 0.5)[:, None].astype(np.float32)),
        voxels,
        grid,
        (BixelBeam("A", 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), "generic_6mv", 5.0, [2.5], [2.5]),),
        10,
        np.where(inside, 1.0, 4.0),
    )
    left_out = np.zeros(grid.shape, bool)
    left_out[8, 8, 8] = True
    structures = [Structure("PTV", target, grid), Structure("Body", body, grid), Structure("Tiny", left_out, grid)]
    dvhs = influence_dvhs(influence, np.array([3.0]), structures)
    assert list(dvhs) == ["PTV", "Body"]
    assert dvhs["PTV"].mean_Gy == pytest.approx(60.0)
    assert dvhs["PTV"].volume_cm3 == pytest.approx(36 * 0.008)
    assert dvhs["Body"].volume_percent_at_dose(50.0) == pytest.approx(3.6, abs=0.05)
    assert dvhs["Body"].min_Gy == pytest.approx(15.0)
