"""The grid that doses for SlicerRT are calculated on, and their way to the reference volume's grid.

It has the axes and the first voxel of the reference volume and the plan's dose grid spacing, as SlicerRT's optimizers
take it for a beam's dose influence (its ``qSlicerIpoptOptimizer.cxx``, July 2026). With the reference volume's own
spacing it is the reference volume's grid, and nothing is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.patient import Patient

# Spacings that went through a spin box of SlicerRT's have two decimals.
_SAME_SPACING_MM = 5e-3


@dataclass(frozen=True, eq=False)
class CalculationGrid:
    """A grid over the reference volume, and the part of it that holds the body.

    Attributes
    ----------
    reference : Grid
        Of the reference volume.
    whole : Grid
        Covers every voxel centre of ``reference``.
    body : Grid
        The part that holds the body and a voxel around it.
    slices : tuple of slice
        Cut ``body`` out of ``whole``.
    """

    reference: Grid
    whole: Grid
    body: Grid
    slices: tuple[slice, slice, slice]

    @classmethod
    def of(cls, patient: Patient, spacing_mm: tuple[float, float, float]) -> CalculationGrid:
        """Lay a grid of a spacing (i, j, k) over a patient's; spacings below 0.5 mm raise `GeometryError`."""
        whole = grid_from_first_voxel(patient.grid, spacing_mm)
        body, slices = whole.crop(resample(patient.body, patient.grid, whole), margin_mm=float(whole.spacing_mm.max()))
        return cls(patient.grid, whole, body, slices)

    def on_reference(self, dose_Gy: np.ndarray) -> np.ndarray:
        """A dose (k, j, i) on ``body`` as float32 on ``reference``; outside the body there is none."""
        dose = np.zeros(self.whole.shape, np.float32)
        dose[self.slices] = dose_Gy
        return resample(dose, self.whole, self.reference)


def grid_from_first_voxel(reference: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """Return the grid with the axes and first voxel of another that covers all its voxel centres."""
    spacing = np.array(spacing_mm, float)
    if not (np.isfinite(spacing).all() and spacing.min() > 0.0):
        raise GeometryError(f"The dose grid spacing must be positive; got {tuple(spacing_mm)} mm. Set it in the plan.")
    same = np.abs(spacing - reference.spacing_mm) < _SAME_SPACING_MM
    spacing = np.where(same, reference.spacing_mm, spacing)
    if same.all():
        return reference
    if spacing[~same].min() < 0.5:
        raise GeometryError(f"A dose grid spacing of {spacing.min():g} mm is too fine; give the plan 0.5 mm or more.")
    extent = (np.array(reference.shape[::-1]) - 1) * reference.spacing_mm
    count = np.ceil(extent / spacing - 1e-6).astype(int) + 1
    affine = reference.affine.copy()
    affine[:3, :3] = reference.directions * spacing
    return Grid(tuple(int(n) for n in count[::-1]), affine)
