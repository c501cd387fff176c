"""A structure cut by another one, with a distance kept from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DoseEngineLib.errors import PatientError
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress
from RTPlanningLib.contouring.boolean import mask_on_grid
from RTPlanningLib.contouring.edited_structure import EditedStructure
from RTPlanningLib.contouring.expansion import moved_near


def crop_outside(
    structure: Structure,
    other: Structure,
    distance_mm: float = 0.0,
    *,
    name: str = "",
    progress: Progress | None = None,
) -> EditedStructure:
    """Keep what of a structure lies outside another one, at least a distance from its surface.

    Parameters
    ----------
    structure, other : Structure
    distance_mm : float
        Negative: how far the structure may reach into the other.
    name : str
        The structure's own when empty.

    Raises
    ------
    PatientError
        Nothing is left, or the other structure is empty.
    """
    notes, part = _other(structure, other)
    part = moved_near(part, structure.grid, distance_mm, structure.mask, progress=progress)
    return _kept(structure, structure.mask & ~part, f"outside {other.name}", distance_mm, name, notes)


def crop_inside(
    structure: Structure,
    other: Structure,
    distance_mm: float = 0.0,
    *,
    name: str = "",
    progress: Progress | None = None,
) -> EditedStructure:
    """Keep what of a structure lies inside another one, at least a distance from its surface.

    Where the image ends the other is taken to go on, as the body does.

    Parameters
    ----------
    structure, other : Structure
    distance_mm : float
        Negative: how far the structure may reach out of the other.
    name : str
        The structure's own when empty.

    Raises
    ------
    PatientError
        Nothing is left, or the other structure is empty.
    """
    notes, part = _other(structure, other)
    part = moved_near(part, structure.grid, -distance_mm, structure.mask, progress=progress)
    return _kept(structure, structure.mask & part, f"inside {other.name}", distance_mm, name, notes)


def _other(structure: Structure, other: Structure) -> tuple[list[str], np.ndarray]:
    for one in (structure, other):
        if one.is_empty:
            raise PatientError(f"Structure {one.name} is empty; contour it first.")
    notes: list[str] = []
    return notes, mask_on_grid(other, structure.grid, notes)


def _kept(
    structure: Structure, mask: np.ndarray, where: str, distance_mm: float, name: str, notes: list[str]
) -> EditedStructure:
    if not mask.any():
        raise PatientError(
            f"Nothing of {structure.name} lies {where} with a distance of {distance_mm:g} mm; choose a smaller one or "
            "another structure."
        )
    removed = 1.0 - np.count_nonzero(mask) / np.count_nonzero(structure.mask)
    notes.append(f"{removed:.1%} of {structure.name} was cut away." if removed else f"All of {structure.name} is kept.")
    return EditedStructure(replace(structure, name=name or structure.name, mask=mask, outline=None), tuple(notes))
