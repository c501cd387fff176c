"""Which voxels a dose influence has rows for: the body or chosen structures, normal tissue sampled more coarsely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.patient import Patient


def influence_voxels(
    patient: Patient,
    grid: Grid,
    structures: Sequence[str] | None = None,
    mask: np.ndarray | None = None,
    normal_tissue_every: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose voxels.

    Parameters
    ----------
    structures : sequence of str, optional
        Names of structures of which every voxel in the body is taken.
    mask : (k, j, i) bool array, optional
        Voxels of the grid to take, together with those of ``structures``.
    normal_tissue_every : int, optional
        With 2 or more, the rest of the body is taken too, one voxel from each cube of so many voxels a side; with 1 all
        of it. By default the rest is left out; without structures and mask the whole body is taken.

    Returns
    -------
    voxels : (v,) int64 array
        Flat C-order indices into the grid, ascending.
    weights : (v,) float32 array
        Voxels that each stands for: 1, or for a sampled voxel the number of normal-tissue voxels in its cube, so that
        weighted sums over a region keep its volume.

    Raises
    ------
    EngineError
        No voxel left, a mask of another shape, sampling without structures to spare from it.
    PatientError
        An unknown structure.
    """
    inside = resample(patient.body, patient.grid, grid)
    if not inside.any():
        raise EngineError("The dose grid does not meet the body; check the grid's position.")
    if normal_tissue_every is not None and (int(normal_tissue_every) != normal_tissue_every or normal_tissue_every < 1):
        raise EngineError(f"normal_tissue_every must be a whole number of at least 1; got {normal_tissue_every}.")
    if structures is None and mask is None:
        if normal_tissue_every is not None and normal_tissue_every > 1:
            raise EngineError(
                "normal_tissue_every needs structures: name those whose voxels are all taken, targets among them."
            )
        return _flat(inside)
    chosen = np.zeros(grid.shape, bool)
    for name in structures or ():
        structure = patient.structure(name)
        chosen |= resample(structure.mask, structure.grid, grid)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != grid.shape or mask.dtype != bool:
            raise EngineError(
                f"The mask must be boolean and of the dose grid's shape {grid.shape}; got {mask.dtype} {mask.shape}."
            )
        chosen |= mask
    chosen &= inside
    if not chosen.any():
        raise EngineError("None of the chosen structures has a voxel of the dose grid in the body; use a finer grid.")
    if normal_tissue_every is None:
        return _flat(chosen)
    weights = chosen.astype(np.float32)
    _sample(weights, inside & ~chosen, int(normal_tissue_every))
    voxels = np.flatnonzero(weights)
    return voxels.astype(np.int64), weights.ravel()[voxels]


def _flat(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    voxels = np.flatnonzero(mask).astype(np.int64)
    return voxels, np.ones(voxels.size, np.float32)


def _sample(weights: np.ndarray, normal: np.ndarray, every: int) -> None:
    """Mark one voxel of ``normal`` in each cube, with the number it stands for."""
    k, j, i = np.nonzero(normal)
    if k.size == 0:
        return
    cubes = [-(-n // every) for n in normal.shape]
    cube = ((k // every) * cubes[1] + j // every) * cubes[2] + i // every
    order = np.argsort(cube, kind="stable")
    _, first, count = np.unique(cube[order], return_index=True, return_counts=True)
    # the middle one of the list lies nearest the middle of what the cube holds
    taken = order[first + count // 2]
    weights[k[taken], j[taken], i[taken]] = count
