"""Structures joined, overlapped and taken from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure
from RTPlanningLib.contouring.edited_structure import EditedStructure

OPERATIONS = {
    "union": "or",
    "intersection": "and",
    "difference": "minus",
    "exclusive": "xor",
}


def combine(structures: Sequence[Structure], operation: str, *, name: str = "") -> EditedStructure:
    """Combine structures voxel by voxel, from left to right.

    Parameters
    ----------
    structures : sequence of Structure
        At least two. The result has the grid, role and color of the first; others are resampled to its grid.
    operation : {"union", "intersection", "difference", "exclusive"}
        ``difference`` is the first without all others, ``exclusive`` what an odd number of them covers.
    name : str
        ``A_or_B``, ``A_and_B``, ``A_minus_B``, ``A_xor_B`` when empty.

    Returns
    -------
    EditedStructure

    Raises
    ------
    PatientError
        An unknown operation, fewer than two structures, or a result without a voxel.
    """
    if operation not in OPERATIONS:
        raise PatientError(f"There is no operation {operation!r} on structures; use one of {', '.join(OPERATIONS)}.")
    if len(structures) < 2:
        raise PatientError("Choose at least two structures to combine.")
    first, *others = structures
    notes: list[str] = []
    mask = first.mask.copy()
    for other in others:
        part = mask_on_grid(other, first.grid, notes)
        if operation == "union":
            mask |= part
        elif operation == "intersection":
            mask &= part
        elif operation == "difference":
            mask &= ~part
        else:
            mask ^= part
    names = f"_{OPERATIONS[operation]}_".join(s.name for s in structures)
    if not mask.any():
        raise PatientError(f"{names} has no voxel: the structures do not lie as this combination needs them.")
    return EditedStructure(Structure(name or names, mask, first.grid, first.role, first.color), tuple(notes))


def mask_on_grid(structure: Structure, grid: Grid, notes: list[str]) -> np.ndarray:
    """Return a structure's voxels on a grid; what the grid does not cover is told in a note."""
    if structure.grid.is_same_as(grid):
        return structure.mask
    box, slices = (structure.grid, None) if structure.is_empty else structure.grid.crop(structure.mask)
    if slices is not None and not grid.contains(box.corners_RAS_mm).all():
        k, j, i = np.nonzero(structure.mask)
        inside = grid.contains(structure.grid.index_to_ras(np.stack((i, j, k), axis=-1)))
        if not inside.all():
            notes.append(f"{1.0 - inside.mean():.0%} of {structure.name} lies outside the image and was left out.")
    return resample(structure.mask, structure.grid, grid)
