"""From solids to a case: a grid, CT numbers painted in order, and structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.case import Case
from RTPlanningLib.samples.solids import Solid

AIR_HU = -1000
# Rows run to the patient's left and columns to the back, as in an axial CT of a supine patient, head first.
_DIRECTIONS = np.diag((-1.0, -1.0, 1.0))
_SMALLEST_SPACING_MM, _LARGEST_SPACING_MM = 0.5, 10.0


@dataclass(frozen=True)
class Contour:
    """A structure still to be drawn on a grid: TG-263 name, role, colour and solid."""

    name: str
    solid: Solid
    role: str
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Phantom:
    """A phantom described by solids.

    Attributes
    ----------
    name, description : str
    box_RAS_mm : ((float, float, float), (float, float, float))
        Lower and upper corner of the imaged box; with a spacing that divides it, its faces are voxel faces.
    spacing_mm : (float, float, float)
        Default voxel size along R, A, S.
    materials : sequence of (Solid, float)
        CT numbers in HU, painted in order over air: the last one wins.
    contours : sequence of Contour
    goals : sequence of str
    density_overrides_g_cm3 : mapping of structure name to mass density
    notes : sequence of str
    """

    name: str
    description: str
    box_RAS_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    spacing_mm: tuple[float, float, float]
    materials: Sequence[tuple[Solid, float]]
    contours: Sequence[Contour]
    goals: Sequence[str] = ()
    density_overrides_g_cm3: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_case(self, spacing_mm: float | Sequence[float] | None = None) -> Case:
        """Draw the phantom on a grid.

        Parameters
        ----------
        spacing_mm : float or three floats, optional
            Voxel size along R, A, S; by default the phantom's own.

        Raises
        ------
        CaseError
            When the spacing is not one or three numbers in 0.5..10 mm, or so coarse that a structure has no voxel.
        """
        grid = self._grid(self.spacing_mm if spacing_mm is None else spacing_mm)
        r, a, s = _coordinates(grid)
        hu = np.full(grid.shape, AIR_HU, dtype=np.int16)
        for solid, value in self.materials:
            hu[solid(r, a, s)] = value
        structures = tuple(
            Structure(c.name, np.broadcast_to(c.solid(r, a, s), grid.shape), grid, c.role, c.color)
            for c in self.contours
        )
        empty = [structure.name for structure in structures if structure.is_empty]
        if empty:
            raise CaseError(
                f"Sample {self.name}: voxels of {_in_words(grid.spacing_mm)} mm are too coarse for {', '.join(empty)}; "
                "use a smaller spacing."
            )
        return Case(
            name=self.name,
            hu=hu,
            grid=grid,
            structures=structures,
            patient_position="HFS",
            patient_name=f"RTPLANNING^{self.name.upper()}",
            patient_id=self.name,
            goals=tuple(self.goals),
            density_overrides_g_cm3=dict(self.density_overrides_g_cm3),
            description=self.description,
            notes=tuple(self.notes),
        )

    def _grid(self, spacing_mm: float | Sequence[float]) -> Grid:
        try:
            spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=float), 3)
        except (TypeError, ValueError):
            raise CaseError(
                f"Sample {self.name}: spacing must be one or three numbers in mm; got {spacing_mm!r}."
            ) from None
        usable = np.isfinite(spacing) & (spacing >= _SMALLEST_SPACING_MM) & (spacing <= _LARGEST_SPACING_MM)
        if not usable.all():
            raise CaseError(
                f"Sample {self.name}: spacing {_in_words(spacing)} mm is not in "
                f"{_SMALLEST_SPACING_MM:g}..{_LARGEST_SPACING_MM:g} mm; choose e.g. {_in_words(self.spacing_mm)}."
            )
        low, high = np.array(self.box_RAS_mm[0]), np.array(self.box_RAS_mm[1])
        count = np.ceil((high - low) / spacing - 1e-6).astype(int)
        first = (low + high) / 2 - _DIRECTIONS @ ((count - 1) / 2 * spacing)
        return Grid.from_spacing(count[::-1], spacing, first, _DIRECTIONS)


def _coordinates(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R, A and S of the voxel centres, shaped to broadcast to (k, j, i)."""
    r, a, s = (grid.origin_RAS_mm[n] + grid.affine[n, n] * np.arange(grid.shape[2 - n]) for n in range(3))
    return r[None, None, :], a[None, :, None], s[:, None, None]


def _in_words(spacing: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in spacing)
