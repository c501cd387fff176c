"""Slices between contoured ones, filled by shape-based interpolation.

The signed distance to the outline within each contoured slice is interpolated from slice to slice; where it is negative
is inside (S. P. Raya and J. K. Udupa, IEEE Trans. Med. Imaging 9 (1990) 32; distances here are Euclidean, as G. T.
Herman, J. Zheng and C. A. Bucholtz, IEEE Comput. Graph. Appl. 12 (1992) 69, recommend).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DoseEngineLib.distance import signed_distance_mm
from DoseEngineLib.errors import PatientError
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.contouring.edited_structure import EditedStructure

_AXES = {"k": 0, "j": 1, "i": 2}


def fill_between_slices(
    structure: Structure, axis: str = "", *, name: str = "", progress: Progress | None = None
) -> EditedStructure:
    """Fill the empty slices between contoured ones; contoured slices stay as they are.

    Parameters
    ----------
    structure : Structure
    axis : {"", "k", "j", "i"}
        Axis across the contoured slices, of the structure's grid. When empty: the image's slices (k) where some are
        empty, else the only axis with empty ones.
    name : str
        The structure's own when empty.
    progress : callable, optional

    Returns
    -------
    EditedStructure
        A note tells how many slices were filled, and which gaps stay where neighbouring shapes lie apart.

    Raises
    ------
    PatientError
        Nothing contoured, no gap, or gaps along several axes and none chosen.
    """
    progress = progress or silent
    if structure.is_empty:
        raise PatientError(f"Structure {structure.name} is empty; contour some of its slices first.")
    across = _axis(structure, axis)
    mask = np.moveaxis(structure.mask, across, 0)
    in_plane = [a for a in range(3) if a != across]
    spacing = [float(structure.grid.spacing_mm[2 - a]) for a in in_plane]
    _, rows, columns = _box(mask)
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    result = mask.copy()
    filled, apart = 0, []
    pairs = [(int(a), int(b)) for a, b in zip(drawn, drawn[1:]) if b - a > 1]
    for number, (low, high) in enumerate(pairs):
        progress(number / len(pairs), "Filling slices")
        below, above = (_distance(mask[n, rows, columns], spacing) for n in (low, high))
        lost = 0
        for between in range(low + 1, high):
            share = (between - low) / (high - low)
            # a distance of zero is on the outline, which lies between voxels
            shape = (1.0 - share) * below + share * above <= 0.0
            result[between, rows, columns] = shape
            filled += bool(shape.any())
            lost += not shape.any()
        if lost:
            apart.append(f"{lost} between slices {low + 1} and {high + 1}")
    notes = [f"{filled} of {structure.name}'s slices filled."]
    if apart:
        notes.append(
            f"The shapes of {structure.name} lie apart, so slices stay empty: {', '.join(apart)}. Contour one in "
            "between."
        )
    mask = np.ascontiguousarray(np.moveaxis(result, 0, across))
    return EditedStructure(replace(structure, name=name or structure.name, mask=mask, outline=None), tuple(notes))


def _axis(structure: Structure, axis: str) -> int:
    if axis and axis not in _AXES:
        raise PatientError(f"There is no axis {axis!r} to fill slices along; use one of {', '.join(_AXES)}.")
    gaps = {}
    for label, number in _AXES.items():
        used = np.flatnonzero(structure.mask.any(axis=tuple(a for a in range(3) if a != number)))
        gaps[label] = int(used[-1] - used[0] + 1 - used.size)
    if axis:
        if not gaps[axis]:
            raise PatientError(f"{structure.name} has no empty slice between contoured ones along {axis}.")
        return _AXES[axis]
    found = [label for label, count in gaps.items() if count]
    if not found:
        raise PatientError(
            f"{structure.name} has no empty slice between contoured ones; contour every second or third slice first."
        )
    if len(found) > 1 and "k" not in found:
        raise PatientError(
            f"{structure.name} has empty slices along the axes {' and '.join(found)} of the image; choose one."
        )
    return _AXES[found[0]]


def _box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    cuts = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        cuts.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(cuts)


def _distance(plane: np.ndarray, spacing: list[float]) -> np.ndarray:
    """Signed distance within a slice, (rows, columns); beyond the box there is nothing."""
    padded = np.pad(plane, 1)[None]
    return signed_distance_mm(padded, np.array((spacing[1], spacing[0], 1.0)))[0, 1:-1, 1:-1]
