"""Separate parts of a structure: the largest one, or all above a volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import PatientError
from DoseEngineLib.plan import Structure
from RTPlanningLib.contouring.edited_structure import EditedStructure


def keep_largest_part(structure: Structure, *, name: str = "") -> EditedStructure:
    """Keep the part of the largest volume; parts hang together by faces of voxels.

    Raises
    ------
    PatientError
        An empty structure.
    """
    labels, volumes_cm3 = _parts(structure)
    return _kept(structure, labels, volumes_cm3, volumes_cm3 == volumes_cm3.max(), name)


def remove_small_parts(structure: Structure, minimum_cm3: float, *, name: str = "") -> EditedStructure:
    """Keep the parts of at least a volume.

    Parameters
    ----------
    structure : Structure
    minimum_cm3 : float
        Above zero.
    name : str
        The structure's own when empty.

    Raises
    ------
    PatientError
        An empty structure, a volume that is not positive, or no part as large.
    """
    if not minimum_cm3 > 0.0:
        raise PatientError(f"The smallest volume of a part is {minimum_cm3} cm3; give one above zero.")
    labels, volumes_cm3 = _parts(structure)
    # equal but for rounding is not smaller
    keep = volumes_cm3 >= minimum_cm3 * (1.0 - 1e-9)
    if not keep.any():
        raise PatientError(
            f"No part of {structure.name} has {minimum_cm3:g} cm3; the largest has {volumes_cm3.max():.3g} cm3."
        )
    return _kept(structure, labels, volumes_cm3, keep, name)


def _parts(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the parts in the structure's bounding box, and their volumes."""
    if structure.is_empty:
        raise PatientError(f"Structure {structure.name} is empty; contour it first.")
    _, box = structure.grid.crop(structure.mask)
    labels, count = ndimage.label(structure.mask[box])
    voxels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return labels, voxels * structure.grid.voxel_volume_cm3


def _kept(
    structure: Structure, labels: np.ndarray, volumes_cm3: np.ndarray, keep: np.ndarray, name: str
) -> EditedStructure:
    removed = volumes_cm3[~keep]
    note = f"{structure.name} has no part to remove."
    if removed.size:
        parts = "1 part" if removed.size == 1 else f"{removed.size} parts"
        note = f"{parts} of {structure.name} removed, together {removed.sum():.3g} cm3."
    mask = np.zeros_like(structure.mask)
    mask[structure.grid.crop(structure.mask)[1]] = np.concatenate(([False], keep))[labels]
    return EditedStructure(replace(structure, name=name or structure.name, mask=mask, outline=None), (note,))
