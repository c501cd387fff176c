"""Structures with margins: grown, shrunk, or both, in the six directions of the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.contouring.edited_structure import EditedStructure
from RTPlanningLib.contouring.margins import Margins
from RTPlanningLib.contouring.reach import is_turned, reach_voxels, reached

_NEIGHBOURS = 4
_LABELS = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))


def with_margins(
    structure: Structure,
    margins: Margins,
    *,
    name: str = "",
    within: np.ndarray | None = None,
    cut_at_image: bool = False,
    progress: Progress | None = None,
) -> EditedStructure:
    """Move a structure's surface outwards or inwards, by its own distance in each direction of the patient.

    Growing adds every point from which the structure is reached by a displacement inside an ellipsoid with the margins
    as half axes, left and right and so on each its own; shrinking does the same to what is outside. Where some margins
    grow and others shrink, it is first grown, then shrunk. Distances are measured from the surface between the voxels;
    a voxel belongs to the result when its centre does, and one exactly on the margin is moved over.

    Parameters
    ----------
    structure : Structure
        On a grid of any orientation and spacing.
    margins : Margins
    name : str
        The structure's own when empty.
    within : (k, j, i) bool array, optional
        On the structure's grid, normally the body: the result is cut to it, also where it goes on beyond the image.
    cut_at_image : bool
        Cut off what reaches beyond the image and say so in a note, instead of an error. Where the image cuts the
        structure itself that is always so.
    progress : callable, optional

    Returns
    -------
    EditedStructure
        Role, color and grid of the structure.

    Raises
    ------
    PatientError
        An empty structure, a result without a voxel, or one that reaches beyond the image.
    """
    _refuse_empty(structure)
    notes = []
    mask, first = structure.mask, np.zeros(3, int)
    if not margins.growing.is_zero:
        mask, first = grown_mask(structure.mask, structure.grid, margins.growing, part(progress, 0.0, 0.5))
        if within is not None:
            mask = mask & _continued(within, first, mask.shape)
        beyond = _beyond(mask, first, structure.grid)
        if beyond:
            sides = ", ".join(f"{side} by {length:.3g} mm" for side, length in beyond.items())
            text = f"{structure.name} with a margin of {margins.describe()} reaches beyond the image: {sides}"
            # one that the image cuts already goes on there anyway
            if not cut_at_image and not beyond.keys() <= _cut_sides(structure.mask, structure.grid):
                raise PatientError(
                    f"{text}. Use an image that covers it, a smaller margin there, or allow it to be cut off at the "
                    "image's end."
                )
            notes.append(f"{text}; that was cut off.")
        mask = _on_grid(mask, first, structure.grid)
    elif within is not None:
        mask = mask & within
    if not margins.shrinking.is_zero:
        mask, cut = _shrunk(mask, structure.grid, margins.shrinking, part(progress, 0.5, 1.0))
        if cut:
            notes.append(
                f"{structure.name} is cut by the image's end ({cut}) and was taken to go on there; it was not shrunk "
                "from that side."
            )
    if is_turned(structure.grid) and not margins.is_uniform and _has_thin(margins, structure.grid):
        notes.append(
            "The image is turned against the patient: margins below half a voxel count as "
            f"{structure.grid.spacing_mm.min() / 2:.2g} mm."
        )
    if not mask.any():
        raise PatientError(
            f"Nothing is left of {structure.name} with a margin of {margins.describe()}; choose a smaller one."
        )
    return EditedStructure(replace(structure, name=name or structure.name, mask=mask, outline=None), tuple(notes))


def grown_mask(
    mask: np.ndarray, grid: Grid, margins: Margins, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask with margins, not bound by its grid, and the index (k, j, i) where its array begins."""
    _, slices = grid.crop(mask)
    room = reach_voxels(grid, margins)
    grown = reached(np.pad(mask[slices], [(int(low), int(high)) for low, high in room]), grid, margins, progress)
    return grown, np.array([s.start for s in slices]) - room[:, 0]


def moved_near(
    mask: np.ndarray,
    grid: Grid,
    distance_mm: float,
    region: np.ndarray,
    reach_mm: float = 0.0,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return a mask grown, or shrunk where the distance is negative, right in the neighbourhood of a region.

    Parameters
    ----------
    mask, region : (k, j, i) bool arrays
        On the grid; where the grid ends, a mask that is shrunk is taken to go on, one that is grown is cut.
    grid : Grid
    distance_mm : float
        The same in all directions.
    reach_mm : float
        How far around the box of the region the result has to be right; beyond it nothing is marked.
    """
    if distance_mm == 0.0 or not region.any():
        return mask.copy()
    # the surface is told by the voxels around it
    room = abs(distance_mm) + reach_mm + _NEIGHBOURS * float(grid.spacing_mm.max())
    box, cut = grid.crop(region, room)
    part = mask[cut]
    margins = Margins.uniform(abs(distance_mm))
    if part.any():
        part = (
            grown_on_grid(part, box, margins, progress)
            if distance_mm > 0.0
            else _shrunk(part, box, margins, progress)[0]
        )
    result = np.zeros_like(mask)
    result[cut] = part
    return result


def grown_on_grid(mask: np.ndarray, grid: Grid, margins: Margins, progress: Progress | None = None) -> np.ndarray:
    """Return a mask with margins on its grid, cut at the grid's end; an empty mask stays empty."""
    if not mask.any() or margins.is_zero:
        return mask.copy()
    return _on_grid(*grown_mask(mask, grid, margins, progress), grid)


def shrunk_on_grid(mask: np.ndarray, grid: Grid, margins: Margins, progress: Progress | None = None) -> np.ndarray:
    """Return a mask taken in by margins (positive lengths); where the grid ends it is taken to go on."""
    if not mask.any() or margins.is_zero:
        return mask.copy()
    return _shrunk(mask, grid, margins, progress)[0]


def _shrunk(mask: np.ndarray, grid: Grid, margins: Margins, progress: Progress | None) -> tuple[np.ndarray, str]:
    """The mask without what the outside, grown by the opposite margins, reaches; and where the image cuts it."""
    _, slices = grid.crop(mask)
    room = reach_voxels(grid, margins.opposite) + 1
    box, widths = [], []
    for axis, cut in enumerate(slices):
        low, high = cut.start - room[axis, 1], cut.stop + room[axis, 0]
        box.append(slice(max(low, 0), min(high, mask.shape[axis])))
        widths.append((max(-low, 0), max(high - mask.shape[axis], 0)))
    padded = np.pad(mask[tuple(box)], widths, mode="edge")
    inner = tuple(slice(low, n - high) for (low, high), n in zip(widths, padded.shape))
    outside = reached(~padded, grid, margins.opposite, progress)
    result = np.zeros_like(mask)
    result[tuple(box)] = mask[tuple(box)] & ~outside[inner]
    ends = [side for side in sorted(_cut_sides(mask, grid)) if _margin_towards(side, margins) > 0.0]
    return result, ", ".join(ends)


def _cut_sides(mask: np.ndarray, grid: Grid) -> set[str]:
    """Directions of the patient in which a mask reaches the last voxels of its grid."""
    return {
        _label(grid, axis, side)
        for axis in range(3)
        for side, index in enumerate((0, -1))
        if np.take(mask, index, axis=axis).any()
    }


def _margin_towards(side: str, margins: Margins) -> float:
    return getattr(margins, f"{side}_mm")


def _beyond(mask: np.ndarray, first: np.ndarray, grid: Grid) -> dict[str, float]:
    """How far in mm a mask reaches beyond a grid, by the direction of the patient."""
    sides = {}
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) + first[axis]
        spacing = grid.spacing_mm[2 - axis]
        for side, voxels in enumerate((-used[0], used[-1] - grid.shape[axis] + 1) if used.size else (0, 0)):
            if voxels > 0:
                sides[_label(grid, axis, side)] = float(voxels * spacing)
    return sides


def _label(grid: Grid, axis: int, side: int) -> str:
    """The direction of the patient that the lower (0) or upper (1) end of an array axis points to."""
    column = grid.directions[:, 2 - axis]
    main = int(np.abs(column).argmax())
    return _LABELS[main][side if column[main] > 0.0 else 1 - side]


def _continued(mask: np.ndarray, first: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of the grid over an array that begins at another index; beyond the grid it goes on as at its end."""
    indices = [np.clip(np.arange(n) + f, 0, size - 1) for n, f, size in zip(shape, first, mask.shape)]
    return mask[np.ix_(*indices)]


def _on_grid(mask: np.ndarray, first: np.ndarray, grid: Grid) -> np.ndarray:
    result = np.zeros(grid.shape, bool)
    here, there = [], []
    for axis in range(3):
        low, high = max(first[axis], 0), min(first[axis] + mask.shape[axis], grid.shape[axis])
        here.append(slice(low, high))
        there.append(slice(low - first[axis], high - first[axis]))
    result[tuple(here)] = mask[tuple(there)]
    return result


def _has_thin(margins: Margins, grid: Grid) -> bool:
    half = 0.5 * float(grid.spacing_mm.min())
    return any(abs(value) < half for value in vars(margins).values())


def _refuse_empty(structure: Structure) -> None:
    if structure.is_empty:
        raise PatientError(f"Structure {structure.name} is empty; contour it first.")
