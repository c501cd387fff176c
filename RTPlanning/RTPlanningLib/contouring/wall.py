"""Walls of hollow organs, and shells around anything: what lies between two distances from a surface."""

from __future__ import annotations

from DoseEngineLib.errors import PatientError
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.contouring.edited_structure import EditedStructure
from RTPlanningLib.contouring.expansion import shrunk_on_grid, with_margins
from RTPlanningLib.contouring.margins import Margins


def wall(
    structure: Structure,
    inside_mm: float,
    outside_mm: float = 0.0,
    *,
    name: str = "",
    cut_at_image: bool = False,
    progress: Progress | None = None,
) -> EditedStructure:
    """Return the wall of a structure: from a depth below its surface to a height above it.

    Parameters
    ----------
    structure : Structure
        Contoured with its contents.
    inside_mm, outside_mm : float
        Thickness on either side of the surface, not negative, together above zero. A structure thinner than twice
        ``inside_mm`` is all wall.
    name : str
        ``<structure>_Wall`` when empty, as AAPM TG-263 names them.
    cut_at_image : bool
        As `RTPlanningLib.contouring.expansion.with_margins`.

    Returns
    -------
    EditedStructure
        Role ORGAN.

    Raises
    ------
    PatientError
        Thicknesses that make no wall, an empty structure, or a wall beyond the image.
    """
    if not (inside_mm >= 0.0 and outside_mm >= 0.0 and inside_mm + outside_mm > 0.0):
        raise PatientError(
            f"Wall of {structure.name}: thicknesses of {inside_mm} mm inside and {outside_mm} mm outside make no wall; "
            "give lengths that are not negative, one of them above zero."
        )
    outer = with_margins(
        structure, Margins.uniform(outside_mm), cut_at_image=cut_at_image, progress=part(progress, 0.0, 0.5)
    )
    lumen = shrunk_on_grid(structure.mask, structure.grid, Margins.uniform(inside_mm), part(progress, 0.5, 1.0))
    notes = list(outer.notes)
    if not lumen.any():
        notes.append(f"{structure.name} is nowhere thicker than {2 * inside_mm:g} mm: all of it is wall.")
    mask = outer.structure.mask & ~lumen
    if not mask.any():
        raise PatientError(
            f"A wall of {inside_mm:g} + {outside_mm:g} mm of {structure.name} holds no voxel centre; make it thicker "
            f"(voxels of {', '.join(f'{s:g}' for s in structure.grid.spacing_mm)} mm)."
        )
    named = Structure(name or f"{structure.name}_Wall", mask, structure.grid, "ORGAN", structure.color)
    return EditedStructure(named, tuple(notes))
