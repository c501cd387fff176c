"""The volume that an isodose surface encloses in the whole body, finer than the voxels of the dose."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure

# Parts of a voxel's edge where the isodose passes: 125 samples a voxel. What is left is the error of interpolating the
# dose linearly: in a radial fall-off a sphere of R voxels comes out too small by about 1 / (2 R^2).
_DIVISION = 5
_CHUNK = 20_000


class IsodoseVolumes:
    """Isodose volumes of one dose distribution.

    Voxels through which the isodose passes are divided, with the dose interpolated linearly; all others count whole or
    not at all.

    Parameters
    ----------
    dose_Gy : (k, j, i) array
        Dose of the course on ``grid``.
    grid : Grid
    body : Structure, optional
        The body. Only its voxels count; without it all voxels of the dose grid.

    Raises
    ------
    EvaluationError
        A dose of the wrong shape, with NaN or with negative values; a body without a voxel on the dose grid.
    """

    def __init__(self, dose_Gy: np.ndarray, grid: Grid, body: Structure | None = None) -> None:
        dose = np.asarray(dose_Gy, dtype=np.float32)
        if dose.shape != grid.shape:
            raise EvaluationError(f"The dose array's shape {dose.shape} is not its grid's {grid.shape} (k, j, i).")
        if not np.isfinite(dose).all() or dose.min() < 0.0:
            raise EvaluationError("The dose has NaN, infinite or negative voxels; repair it before evaluating.")
        self.grid = grid
        self._dose = dose
        self._body, self._ends_within_grid = None, False
        if body is not None:
            self._body = resample(body.mask, body.grid, grid)
            if not self._body.any():
                raise EvaluationError(f"{body.name} has no voxel on the dose grid; check that they belong together.")
            self._ends_within_grid = _lies_within(body, grid)

    def volume_cm3_at_dose(self, dose_Gy: float) -> float:
        """Return the volume in cm3 that receives at least ``dose_Gy``.

        Raises
        ------
        EvaluationError
            A dose that is not above zero, or an isodose that leaves the dose grid while the body goes on beyond it.
        """
        if not np.isfinite(dose_Gy) or dose_Gy <= 0.0:
            raise EvaluationError(f"An isodose volume needs a dose above 0 Gy; got {dose_Gy} Gy.")
        counted = np.ones(self.grid.shape, bool) if self._body is None else self._body
        reached = (self._dose >= dose_Gy) & counted
        if not self._ends_within_grid and _touches_a_face(reached):
            raise EvaluationError(
                f"The isodose of {dose_Gy:.4g} Gy reaches the edge of the dose grid, so its volume is not known; "
                "calculate the dose on a larger grid, or give a body outline that ends within it."
            )
        if not reached.any():
            return 0.0
        # a voxel can only be reached where it or one of its neighbours is
        near = _box_with_margin(self._dose >= dose_Gy)
        dose, counted = self._dose[near], counted[near]
        low, high = (filtered(dose, 3, mode="nearest") for filtered in (ndimage.minimum_filter, ndimage.maximum_filter))
        whole = counted & (low >= dose_Gy)
        divided = np.argwhere(counted & (low < dose_Gy) & (high >= dose_Gy))
        middles = (np.arange(_DIVISION) + 0.5) / _DIVISION - 0.5
        within = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
        parts = 0
        for start in range(0, len(divided), _CHUNK):
            points = (divided[start : start + _CHUNK, None, :] + within).reshape(-1, 3)
            sampled = ndimage.map_coordinates(dose, points.T, order=1, mode="nearest", output=np.float32)
            parts += int(np.count_nonzero(sampled >= dose_Gy))
        return float(np.count_nonzero(whole) + parts / len(within)) * self.grid.voxel_volume_cm3


def _lies_within(body: Structure, grid: Grid) -> bool:
    voxels = np.argwhere(body.mask)[:, ::-1]
    # the outer faces, less a trifle of rounding
    ends = np.stack((voxels.min(axis=0) - 0.499, voxels.max(axis=0) + 0.499))
    corners = [[ends[corner >> axis & 1, axis] for axis in range(3)] for corner in range(8)]
    return bool(grid.contains(body.grid.index_to_ras(np.array(corners))).all())


def _box_with_margin(mask: np.ndarray) -> tuple[slice, ...]:
    used = (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    return tuple(slice(max(int(n[0]) - 1, 0), int(n[-1]) + 2) for n in used)


def _touches_a_face(mask: np.ndarray) -> bool:
    return any(bool(mask.take(end, axis=axis).any()) for axis in range(3) for end in (0, -1))
