"""Dose of a course whose anatomy moves: the doses of its fractions, pulled back to one anatomy and added.

Two mappings, which differ where tissue is compressed or stretched (Zhong and Siebers, Phys Med Biol 54, 5735, 2009;
AAPM TG-132, Brock et al., Med Phys 44, e43, 2017):

- "dose": the dose at the place where the voxel's centre has gone, interpolated (direct dose mapping).
- "energy": the energy absorbed in the place where the whole voxel has gone, over the mass there; each voxel is divided,
  and its points count by their mass (density times Jacobian determinant).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.delivered_dose import DeliveredDose
from RTPlanningLib.evaluation.displacement_field import DisplacementField
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution, grid_summary
from RTPlanningLib.evaluation.plan_sum import CombinedDose, common_medium, face_dose_Gy, fractionation_notes

MAPPINGS = ("dose", "energy")
_DIVISION = 3
_CHUNK = 300_000
_RIGID = 1e-4
_CUT_OFF = 0.01


@dataclass(frozen=True, eq=False)
class FractionDose(DeliveredDose):
    """The dose of one or more fractions in their own anatomy, and how it is reached from the common one.

    Attributes
    ----------
    dose : DoseDistribution
        Of ``dose.fractions`` fractions.
    transform : (4, 4) array, DisplacementField or None
        Maps points of the common anatomy to this one, RAS in mm; None: the anatomy is the same.
    fractions : int or None
        Fractions delivered in this anatomy; None: as many as the dose stands for.
    weight : float
        A further factor above 0, for example the part of a breathing cycle.
    density_g_cm3 : (k, j, i) array or None
        Mass density on the dose's grid, for energy mapping.
    """

    dose: DoseDistribution
    transform: np.ndarray | DisplacementField | None = None
    fractions: int | None = None
    weight: float = 1.0
    density_g_cm3: np.ndarray | None = None

    def __post_init__(self) -> None:
        name = self.dose.name
        if not (math.isfinite(self.weight) and self.weight > 0.0):
            raise EvaluationError(f"{name}: the weight {self.weight} of a fraction must be above 0.")
        self._check_fractions()
        if self.transform is not None and not isinstance(self.transform, DisplacementField):
            object.__setattr__(self, "transform", _checked_affine(self.transform, name))
        if self.density_g_cm3 is not None:
            density = np.asarray(self.density_g_cm3)
            if density.shape != self.dose.grid.shape:
                raise EvaluationError(
                    f"{name}: the density has the shape {density.shape}, the dose {self.dose.grid.shape}; give it on "
                    "the dose's grid."
                )
            if not (np.isfinite(density).all() and float(density.min()) >= 0.0):
                raise EvaluationError(f"{name}: the density has NaN, infinite or negative voxels; repair it first.")
            object.__setattr__(self, "density_g_cm3", density.astype(np.float32))


def accumulate_dose(
    parts: Sequence[FractionDose],
    grid: Grid,
    *,
    mapping: str = "dose",
    name: str = "Accumulated dose",
    allow_folding: bool = False,
    allow_mixed_media: bool = False,
    progress: Progress | None = None,
) -> CombinedDose:
    """Add the doses of fractions on a grid of the common anatomy.

    Each voxel gathers what it received: its points are mapped into the anatomy of the fraction and the dose is
    interpolated linearly there. A dose counts as 0 beyond its grid; a note says where it is cut off.

    Parameters
    ----------
    parts : sequence of FractionDose
    grid : Grid
        Of the result, in the common anatomy.
    mapping : {"dose", "energy"}
        See the top of this module. "energy" needs the density of every part.
    name : str
    allow_folding : bool
        Accept displacement fields that fold; a note says how much of them.
    allow_mixed_media : bool
        Add dose to water to dose to medium.
    progress : callable, optional

    Raises
    ------
    EvaluationError
        No part; a mapping that is unknown or lacks densities; a field that folds, or does not cover the grid; a dose
        that the mapped grid does not meet.
    """
    report = part(progress, 0.0, 1.0)
    if not parts:
        raise EvaluationError("There is nothing to accumulate; give the dose of at least one fraction.")
    if mapping not in MAPPINGS:
        raise EvaluationError(f"Doses are mapped as {MAPPINGS[0]!r} or {MAPPINGS[1]!r}, not {mapping!r}.")
    lacking = [p.dose.name for p in parts if p.density_g_cm3 is None]
    if mapping == "energy" and lacking:
        raise EvaluationError(
            f"Energy mapping needs the mass density of every fraction; it lacks: {', '.join(lacking)}."
        )
    dose_to = common_medium([p.dose for p in parts], allow_mixed_media)
    notes = fractionation_notes([(p.dose, p.factor) for p in parts])
    checks = [_transform_record(p, allow_folding, notes) for p in parts]
    total = np.zeros(grid.shape, np.float64)
    records = []
    for number, fraction in enumerate(parts):
        within = part(report, number / len(parts), (number + 1) / len(parts))
        mapped, covered = _mapped(fraction, grid, mapping, within)
        if covered == 0.0:
            raise EvaluationError(
                f"{name}: the grid lies wholly outside the dose {fraction.dose.name} after its transform; check the "
                "direction of the transform (common anatomy to that of the fraction) and its frame (RAS, mm)."
            )
        at_face = face_dose_Gy(fraction.dose.dose_Gy)
        if covered < 1.0 and at_face > _CUT_OFF * fraction.dose.max_Gy:
            notes.append(
                f"{fraction.dose.name} has up to {at_face:.3g} Gy at the faces of its grid and counts as 0 beyond."
            )
        total += fraction.factor * mapped
        records.append(
            {
                **fraction.dose.summary(),
                "weight": fraction.weight,
                "delivered_fractions": fraction.delivered_fractions,
                "factor": fraction.factor,
                "transform": checks[number],
                "covers_share_of_grid": covered,
            }
        )
    report(1.0, f"{name} ready")
    values = total.astype(np.float32)
    values.setflags(write=False)
    if any(p.dose.uncertainty_Gy is not None for p in parts):
        notes.append("Uncertainties are not carried through transforms; the result has none.")
    return CombinedDose(
        name=name,
        dose_Gy=values,
        grid=grid,
        fractions=sum(p.delivered_fractions for p in parts),
        dose_to=dose_to,
        uncertainty_Gy=None,
        provenance={
            "operation": "accumulation",
            "mapping": mapping,
            "interpolation": "pull-back, trilinear; 0 beyond a dose's grid",
            "points_a_voxel": 1 if mapping == "dose" else _DIVISION**3,
            "grid": grid_summary(grid),
            "parts": records,
            "notes": notes,
        },
        notes=tuple(notes),
    )


def _checked_affine(transform: np.ndarray, name: str) -> np.ndarray:
    matrix = np.array(transform, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise EvaluationError(
            f"{name}: a transform is a finite 4 x 4 matrix (RAS to RAS, mm) with the last row 0, 0, 0, 1, or a "
            "DisplacementField."
        )
    determinant = float(np.linalg.det(matrix[:3, :3]))
    if determinant <= 1e-6:
        raise EvaluationError(
            f"{name}: the transform has a determinant of {determinant:.3g}: it mirrors or flattens the patient; check "
            "its frame (RAS, not LPS) and its rows."
        )
    matrix.setflags(write=False)
    return matrix


def _transform_record(fraction: FractionDose, allow_folding: bool, notes: list[str]) -> dict[str, Any]:
    """What kind of transform, how it changes volumes, and whether it can be inverted; JSON values."""
    transform, name = fraction.transform, fraction.dose.name
    if transform is None:
        return {"kind": "identity", "jacobian_range": [1.0, 1.0]}
    if isinstance(transform, DisplacementField):
        low, high = transform.jacobian_range
        if low <= 0.0:
            told = (
                f"{name}: the displacement field folds in {100.0 * transform.folded_share:.3g} % of its cells (least "
                f"Jacobian determinant {low:.3g})"
            )
            if not allow_folding:
                raise EvaluationError(f"{told}: it cannot be inverted; smooth it, or allow folding.")
            notes.append(f"{told}; dose there is mapped more than once.")
        length = np.linalg.norm(transform.vectors_mm, axis=-1)
        return {
            "kind": "displacement field",
            "jacobian_range": [low, high],
            "folded_share": transform.folded_share,
            "largest_displacement_mm": float(length.max()),
            "mean_displacement_mm": float(length.mean(dtype=np.float64)),
            "grid": grid_summary(transform.grid),
        }
    linear = transform[:3, :3]
    determinant = float(np.linalg.det(linear))
    rigid = bool(np.abs(linear.T @ linear - np.eye(3)).max() < _RIGID)
    return {
        "kind": "rigid" if rigid else "affine",
        "jacobian_range": [determinant, determinant],
        "matrix_RAS": transform.tolist(),
    }


def _mapped(fraction: FractionDose, grid: Grid, mapping: str, report: Progress) -> tuple[np.ndarray, float]:
    """The dose of a fraction on the common grid, and the share of its points inside the dose's own grid."""
    division = 1 if mapping == "dose" else _DIVISION
    steps = (np.arange(division) + 0.5) / division - 0.5
    within = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    step = max(_CHUNK // len(within), 1)
    result = np.zeros(grid.size)
    inside_count = 0
    for start in range(0, grid.size, step):
        report(start / grid.size, f"Mapping {fraction.dose.name}")
        flat = np.arange(start, min(start + step, grid.size))
        k, j, i = np.unravel_index(flat, grid.shape)
        ijk = np.stack((i, j, k), axis=-1)[:, None, :] + within
        common = grid.index_to_ras(ijk.reshape(-1, 3))
        points = _transformed(fraction, common)
        inside = fraction.dose.grid.contains(points)
        inside_count += int(np.count_nonzero(inside))
        dose = _at(fraction.dose.dose_Gy, fraction.dose.grid, points, inside)
        if mapping == "dose":
            result[flat] = dose
            continue
        mass = _at(fraction.density_g_cm3, fraction.dose.grid, points, inside) * _volume_change(fraction, common)
        energy = (mass * dose).reshape(len(flat), -1).sum(axis=1)
        mass = mass.reshape(len(flat), -1).sum(axis=1)
        # a voxel without mass absorbs nothing
        result[flat] = np.divide(energy, mass, out=np.zeros(len(flat)), where=mass > 0.0)
    return result.reshape(grid.shape), inside_count / (grid.size * len(within))


def _transformed(fraction: FractionDose, points: np.ndarray) -> np.ndarray:
    transform = fraction.transform
    if transform is None:
        return points
    if not isinstance(transform, DisplacementField):
        return points @ transform[:3, :3].T + transform[:3, 3]
    moved, inside = transform.displaced(points)
    if not inside.all():
        raise EvaluationError(
            f"{fraction.dose.name}: the displacement field does not cover the grid of the result; choose a grid "
            "inside it, or extend the field."
        )
    return moved


def _volume_change(fraction: FractionDose, points: np.ndarray) -> np.ndarray | float:
    transform = fraction.transform
    if isinstance(transform, DisplacementField):
        at = transform.grid.ras_to_index(points)[:, ::-1].T
        # negative where the field folds: volume all the same
        return np.abs(ndimage.map_coordinates(transform.jacobian, at, order=1, mode="nearest"))
    # the same everywhere: it cancels
    return 1.0


def _at(values: np.ndarray, grid: Grid, points: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Linear interpolation at points inside a grid, 0 elsewhere."""
    result = np.zeros(len(points))
    at = grid.ras_to_index(points[inside])[:, ::-1].T
    result[inside] = ndimage.map_coordinates(values, at, order=1, mode="nearest", output=np.float64)
    return result
