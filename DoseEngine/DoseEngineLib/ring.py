"""Ring structures: shells around a target, which planning uses to shape the dose outside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DoseEngineLib.distance import distance_on_grid_mm
from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import resample
from DoseEngineLib.plan import Structure


def ring(
    target: Structure,
    inner_mm: float,
    outer_mm: float,
    *,
    minus: Sequence[Structure] = (),
    within: Structure | None = None,
    name: str = "",
) -> Structure:
    """Make the shell between two distances from a target.

    Parameters
    ----------
    target : Structure
    inner_mm, outer_mm : float
        Distances from the target's surface in any direction; negative ones lie inside it. A voxel belongs to the shell
        when the distance of its centre is above ``inner_mm`` and not above ``outer_mm``.
    minus : sequence of Structure
        Left out of the shell, on grids of their own.
    within : Structure, optional
        Normally the body: what is outside it is left out.
    name : str
        ``Ring_<target>`` and the distances when empty.

    Returns
    -------
    Structure
        On the target's grid; role CONTROL, as structures that steer a plan have in DICOM RT.

    Raises
    ------
    PatientError
        Distances in the wrong order, an empty target, or a shell without a voxel.
    """
    if not (np.isfinite(inner_mm) and np.isfinite(outer_mm) and inner_mm < outer_mm):
        raise PatientError(
            f"Ring around {target.name}: the inner distance must be below the outer one; got {inner_mm} and {outer_mm} "
            "mm."
        )
    distance = distance_on_grid_mm(target, max(outer_mm, 0.0))
    mask = (distance > inner_mm) & (distance <= outer_mm)
    for structure in minus:
        mask &= ~resample(structure.mask, structure.grid, target.grid)
    if within is not None:
        mask &= resample(within.mask, within.grid, target.grid)
    name = name or f"Ring_{target.name}_{inner_mm:g}-{outer_mm:g}mm"
    if not mask.any():
        raise PatientError(
            f"{name} has no voxel: widen the distances, or take fewer structures out of it (voxels of "
            f"{', '.join(f'{s:g}' for s in target.grid.spacing_mm)} mm)."
        )
    return Structure(name, mask, target.grid, "CONTROL")
