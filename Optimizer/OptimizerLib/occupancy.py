"""How much of each voxel a structure occupies: what an optimization on coarse voxels sees of a structure.

A structure's volume at its edge lies in voxels that it shares with others. By centres alone these belong to it wholly
or not at all; a target then comes out short at its rim, and an organ gets more than was asked.
"""

from __future__ import annotations

import numpy as np

from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure

# Samples of a voxel along each side.
_SAMPLES = 3


def occupancy(structure: Structure, grid: Grid) -> np.ndarray:
    """Share (k, j, i) float32 of each voxel of a grid that lies in a structure, from 27 samples a voxel."""
    shares = np.zeros(grid.shape, np.float32)
    if structure.is_empty:
        return shares
    box, _ = structure.grid.crop(structure.mask, margin_mm=float(structure.grid.spacing_mm.max()))
    corners = grid.ras_to_index(box.corners_RAS_mm)
    last = np.array(grid.shape[::-1]) - 1
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, last)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, last)
    count = high - low + 1
    # sample s of voxel v lies at v + (s + 1/2) / n - 1/2
    affine = grid.affine @ np.diag([1 / _SAMPLES, 1 / _SAMPLES, 1 / _SAMPLES, 1.0])
    affine[:3, 3] = grid.index_to_ras(low + 0.5 / _SAMPLES - 0.5)
    fine = Grid(tuple(int(n) * _SAMPLES for n in count[::-1]), affine)
    inside = resample(structure.mask, structure.grid, fine)
    k, j, i = (int(n) for n in count[::-1])
    blocks = inside.reshape(k, _SAMPLES, j, _SAMPLES, i, _SAMPLES)
    here = tuple(slice(int(a), int(b) + 1) for a, b in zip(low[::-1], high[::-1]))
    shares[here] = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return shares
