"""The Monte Carlo reference doses, and our engines in the same geometry.

EGSnrc DOSXYZnrc: ideal point source at SSD 90 cm, sharp square fields, 2.5 mm voxels; Gy for 1 photon/cm2 in air on the
axis at 100 cm (1e9 of them are one MU of the ideal machines).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DoseEngineLib.engine import create_engine
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan

VOXEL_MM = 2.5
DEPTHS, WIDTH = 120, 161
PHOTONS_PER_MU = 1e9

# name: field at the isocentre in mm, slab (from, to in mm, g/cm3) or None, machine
CASES = {
    "w03": (30.0, None, "ideal_6mv"),
    "w10": (100.0, None, "ideal_6mv"),
    "w10_15MV": (100.0, None, "ideal_15mv"),
    "l03": (30.0, (50.0, 150.0, 0.26), "ideal_6mv"),
    "l10": (100.0, (50.0, 150.0, 0.26), "ideal_6mv"),
    "b03": (30.0, (50.0, 70.0, 1.85), "ideal_6mv"),
}


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference cube [z, x, y], its axis average and their relative one-sigma errors; lengths in mm."""

    dose: np.ndarray
    z_mm: np.ndarray
    x_mm: np.ndarray
    axis: np.ndarray
    axis_error: np.ndarray
    axis_half_width_mm: float

    def axis_of(self, dose: np.ndarray) -> np.ndarray:
        """Average of a cube over the same columns as the reference's axis."""
        near = np.abs(self.x_mm) <= self.axis_half_width_mm + 1e-6
        return dose[:, near][:, :, near].mean(axis=(1, 2))

    def profile_of(self, dose: np.ndarray, depth_mm: float) -> np.ndarray:
        """Profile across the axis at a depth: mean of the two voxel planes that meet there."""
        below = round(depth_mm / VOXEL_MM)
        return dose[below - 1 : below + 1, :, WIDTH // 2].mean(axis=0)


def load_reference(folder: Path, name: str) -> Reference:
    """Read a reference."""
    with np.load(folder / "egsnrc" / f"{name}.npz") as data:
        error = np.hypot(data["axis_relunc"], data["common_mode_relunc"])
        return Reference(
            data["dose3d"].astype(float),
            data["z"] * 10.0,
            data["x"] * 10.0,
            data["axis"],
            error,
            float(data["axis_halfwidth_cm"]) * 10.0,
        )


def calculate(name: str, engine: str = "photon-pencil-beam") -> np.ndarray:
    """Our dose [z, x, y] in the reference's voxels, Gy for 1 photon/cm2; the beam points along -A, surface at A = 0."""
    field_mm, slab, machine = CASES[name]
    half = (WIDTH - 1) / 2 * VOXEL_MM
    grid = Grid.from_spacing((WIDTH, DEPTHS, WIDTH), VOXEL_MM, (-half, -(DEPTHS - 0.5) * VOXEL_MM, -half))
    density = np.ones(grid.shape, np.float32)
    if slab is not None:
        depth = -(grid.origin_RAS_mm[1] + VOXEL_MM * np.arange(DEPTHS))
        density[:, (depth > slab[0]) & (depth < slab[1]), :] = slab[2]
    jaws = (-field_mm / 2, field_mm / 2)
    beam = Beam.open_field(
        jaw_x_mm=jaws, jaw_y_mm=jaws, isocenter_RAS_mm=(0, -100, 0), machine=machine, meterset_MU=1.0
    )
    result = create_engine(engine).calculate_dose(Patient.from_density(density, grid), Plan(name, (beam,)), grid=grid)
    return result.dose_Gy.transpose(1, 0, 2)[::-1].astype(float) / PHOTONS_PER_MU


def penumbra_mm(x_mm: np.ndarray, profile: np.ndarray) -> tuple[float, float]:
    """Distance of the 50 % edge from the axis, and 80-20 % width, of the right half of a profile."""
    middle = x_mm.size // 2
    right = profile[middle:] / profile[middle - 3 : middle + 4].mean()
    at = {level: float(np.interp(-level, -right, x_mm[middle:])) for level in (0.8, 0.5, 0.2)}
    return at[0.5], at[0.2] - at[0.8]
