"""Dose-volume histograms from dose samples inside a structure: no bins, so no bin bias.

A structure is sampled as exactly as it is known: inside its contours or its closed surface, cut to a fraction of a
voxel, where it has them; else inside its label map, divided into sub-voxels where it is small. Every structure is
sampled by itself, so that structures may overlap.

Terms follow ICRU Report 83 (2010): ``D_V`` is the dose that the best-irradiated volume V receives at least (D98% is the
near-minimum, D2% the near-maximum), ``V_D`` the volume that receives at least the dose D.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from DoseEngineLib.closed_surface import ClosedSurface
from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, silent

# A structure gets about this many samples; of a label map with more voxels, each voxel is sampled once.
_SAMPLES = 200_000
# An outline gets at least this many samples a voxel of the dose, so that small hot spots are counted right, up to a
# limit.
_SAMPLES_A_DOSE_VOXEL = 8.0
_MAXIMUM_OUTLINE_SAMPLES = 4_000_000
_MAXIMUM_SAMPLES = 20_000_000
_MAXIMUM_DIVISION = 15
_SLAB = 250_000
_CHUNK = 250_000
_MAXIMUM_THREADS = 8
# Width of the Gaussian, in voxels, that turns the voxel staircase into a surface. Against analytic spheres (radius 5 to
# 25 mm, voxels of 1 to 3 mm) it cuts the staircase's error of D95% in a radial gradient to a third, of D98% to a half.
_SURFACE_SIGMA_VOXELS = 0.7
# Steps of an additive recurrence that fills the unit cube evenly (Roberts 2018, the R3 sequence): points spread over
# their sub-voxels, where a lattice of centres would draw steps into the DVH of a dose that varies along one axis only.
_SPREAD = 1.2207440846057596 ** -np.arange(1.0, 4.0)


@dataclass(frozen=True, eq=False)
class Dvh:
    """The dose-volume histogram of one structure, exact for its samples (all of equal volume).

    Attributes
    ----------
    structure_name : str
    volume_cm3 : float
        Volume of the whole structure: exact for its contours or surface, by voxel count for a label map.
    dose_samples_Gy : (n,) float32 array
        Dose samples inside the structure, ascending.
    covered_fraction : float
        Part of the structure inside the dose grid. Below 1 the doses and volumes of this DVH are those of the covered
        part alone; `calculate_dvh` makes such a DVH only when asked to.
    sampled_from : {"voxels", "contours", "surface"}
        What the structure was known by.
    """

    structure_name: str
    volume_cm3: float
    dose_samples_Gy: np.ndarray
    covered_fraction: float = 1.0
    sampled_from: str = "voxels"

    def __post_init__(self) -> None:
        samples = np.asarray(self.dose_samples_Gy, dtype=np.float32)
        if samples.ndim != 1 or not samples.size:
            raise EvaluationError(f"The DVH of {self.structure_name} needs at least one dose sample.")
        if not np.isfinite(samples).all():
            raise EvaluationError(f"The DVH of {self.structure_name} has NaN or infinite doses; repair the dose first.")
        if not 0.0 < self.covered_fraction <= 1.0:
            raise EvaluationError(f"{self.structure_name}: covered fraction {self.covered_fraction} is not in 0..1.")
        if not self.volume_cm3 > 0.0:
            raise EvaluationError(f"{self.structure_name}: volume {self.volume_cm3} cm3 is not positive.")
        samples = np.sort(samples)
        samples.setflags(write=False)
        object.__setattr__(self, "dose_samples_Gy", samples)

    @property
    def covered_volume_cm3(self) -> float:
        """Volume inside the dose grid in cm3: what 100 % of this DVH means."""
        return self.volume_cm3 * self.covered_fraction

    @property
    def covered_percent_text(self) -> str:
        """`covered_fraction` in %, in words: one decimal, more where it would read 100.0 and is not."""
        return _below_all(100.0 * self.covered_fraction) if self.covered_fraction < 1.0 else "100"

    @cached_property
    def mean_Gy(self) -> float:
        """Mean dose in Gy."""
        return float(self.dose_samples_Gy.mean(dtype=np.float64))

    @property
    def min_Gy(self) -> float:
        """Smallest sampled dose in Gy (ICRU 83 recommends D98% instead)."""
        return float(self.dose_samples_Gy[0])

    @property
    def max_Gy(self) -> float:
        """Largest sampled dose in Gy (ICRU 83 recommends D2% instead)."""
        return float(self.dose_samples_Gy[-1])

    def dose_at_volume_percent(self, percent: float) -> float:
        """Return the dose in Gy that the best-irradiated ``percent`` of the volume receives at least.

        0 gives the maximum, 100 the minimum, 50 the median. Anything outside 0..100 raises `EvaluationError`.
        """
        if not 0.0 <= percent <= 100.0:
            raise EvaluationError(f"D{percent:g}% of {self.structure_name}: give a volume between 0 and 100 %.")
        count = self.dose_samples_Gy.size
        # sample n stands for the slice of volume between n/count and (n + 1)/count: its dose is that at the middle
        position = min(max((1.0 - percent / 100.0) * count - 0.5, 0.0), count - 1.0)
        lower = int(position)
        upper = min(lower + 1, count - 1)
        low, high = float(self.dose_samples_Gy[lower]), float(self.dose_samples_Gy[upper])
        return min(max(low + (high - low) * (position - lower), low), high)

    def dose_at_volume_cm3(self, volume_cm3: float) -> float:
        """Return the dose in Gy that the best-irradiated ``volume_cm3`` receives at least.

        Raises
        ------
        EvaluationError
            When the volume is negative or larger than the structure.
        """
        if not 0.0 <= volume_cm3 <= self.covered_volume_cm3 * (1.0 + 1e-9):
            raise EvaluationError(
                f"D{volume_cm3:g}cc of {self.structure_name}: the structure has {self.covered_volume_cm3:.4g} cc; "
                "ask for a volume between 0 and that."
            )
        return self.dose_at_volume_percent(min(100.0 * volume_cm3 / self.covered_volume_cm3, 100.0))

    def volume_percent_at_dose(self, dose_Gy: float) -> float:
        """Return the volume in % that receives at least ``dose_Gy``."""
        if not np.isfinite(dose_Gy) or dose_Gy < 0.0:
            raise EvaluationError(f"V{dose_Gy:g}Gy of {self.structure_name}: give a dose of 0 Gy or more.")
        return float(self._percent_at_least(np.float32(dose_Gy)))

    def volume_cm3_at_dose(self, dose_Gy: float) -> float:
        """Return the volume in cm3 that receives at least ``dose_Gy``."""
        return self.volume_percent_at_dose(dose_Gy) / 100.0 * self.covered_volume_cm3

    def curve(self, step_Gy: float = 0.1, stop_Gy: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the cumulative histogram for plots and tables.

        Parameters
        ----------
        step_Gy : float
            Distance of the points.
        stop_Gy : float, optional
            The curve ends at the first point at or beyond it; by default where the volume has come down to zero.

        Returns
        -------
        dose_Gy, volume_percent : (n,) float64 arrays
            ``volume_percent`` is the volume that receives at least ``dose_Gy``; it starts at (0, 100).
        """
        if not np.isfinite(step_Gy) or step_Gy <= 0.0:
            raise EvaluationError(f"A DVH curve needs a positive step; got {step_Gy} Gy.")
        stop = self.max_Gy + step_Gy if stop_Gy is None else float(stop_Gy)
        points = int(np.ceil(stop / step_Gy - 1e-9)) + 1
        if not 1 <= points <= _MAXIMUM_SAMPLES:
            raise EvaluationError(f"A DVH curve of {points} points is not sensible; choose another step or end.")
        dose_Gy = np.arange(points) * float(step_Gy)
        return dose_Gy, self._percent_at_least(dose_Gy.astype(np.float32))

    def differential(self, step_Gy: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
        """Return the differential histogram.

        Parameters
        ----------
        step_Gy : float
            Width of the bins.

        Returns
        -------
        edges_Gy : (n + 1,) float64 array
            Bin n holds the doses from edge n up to, but without, edge n + 1. Edges are multiples of the step; the first
            is 0, the last beyond the largest dose.
        volume_cm3 : (n,) float64 array
            Volume in each bin; their sum is `covered_volume_cm3`. Divide by the step for cm3 a Gy.
        """
        edges_Gy, at_least_percent = self.curve(step_Gy)
        return edges_Gy, -np.diff(at_least_percent) / 100.0 * self.covered_volume_cm3

    def _percent_at_least(self, dose_Gy: np.ndarray) -> np.ndarray:
        count = self.dose_samples_Gy.size
        return 100.0 * (count - np.searchsorted(self.dose_samples_Gy, dose_Gy, side="left")) / count


def calculate_dvh(
    dose_Gy: np.ndarray,
    dose_grid: Grid,
    structure: Structure | ContourStack | ClosedSurface,
    *,
    allow_partial: bool = False,
) -> Dvh:
    """Calculate the DVH of a structure.

    Contours and closed surfaces are filled with evenly spread points, each of the same volume: 200 000, or more where
    that would be less than two a voxel of the dose. A `Structure` with an outline is sampled by its outline.

    Of a label map, each voxel is divided into sub-voxels, the more the smaller the structure, down to a single one for
    structures of more than 200 000 voxels. Where voxels are divided, the staircase of the mask's edge gives way to a
    smooth surface that encloses the same volume, with a point in every sub-voxel.

    The dose is interpolated linearly at the points, which are the same at every call. The outermost half voxel of the
    dose grid has the dose of its centre.

    Parameters
    ----------
    dose_Gy : (k, j, i) array
        Dose on ``dose_grid``.
    dose_grid : Grid
    structure : Structure, ContourStack or ClosedSurface
        Spacing and orientation of its grid, or planes, need not be the dose grid's.
    allow_partial : bool
        Evaluate the covered part of a structure that reaches out of the dose grid, and say in
        ``covered_fraction`` how much that is.

    Raises
    ------
    EvaluationError
        An empty structure; a structure outside the dose grid, or partly outside unless ``allow_partial``; a dose of the
        wrong shape, with NaN or with negative values.
    """
    return _dvh(_checked_dose(dose_Gy, dose_grid), dose_grid, structure, allow_partial)


def calculate_dvhs(
    dose_Gy: np.ndarray,
    dose_grid: Grid,
    structures: Iterable[Structure | ContourStack | ClosedSurface],
    *,
    allow_partial: bool = False,
    progress: Progress | None = None,
) -> dict[str, Dvh]:
    """Calculate the DVH of every structure, as `calculate_dvh` does; keyed by name, in the order given."""
    dose = _checked_dose(dose_Gy, dose_grid)
    structures = tuple(structures)
    names = [structure.name for structure in structures]
    if len(set(names)) != len(names):
        raise EvaluationError(f"Structure names must be unique; got {', '.join(names)}.")
    report = progress or silent
    dvhs = {}
    for done, structure in enumerate(structures):
        report(done / len(structures), f"DVH of {structure.name}")
        dvhs[structure.name] = _dvh(dose, dose_grid, structure, allow_partial)
    report(1.0, "DVHs ready")
    return dvhs


def _checked_dose(dose_Gy: np.ndarray, dose_grid: Grid) -> np.ndarray:
    dose = np.asarray(dose_Gy)
    if dose.shape != dose_grid.shape:
        raise EvaluationError(f"The dose array's shape {dose.shape} is not its grid's {dose_grid.shape} (k, j, i).")
    dose = dose.astype(np.float32, copy=False)
    low, high = float(dose.min()), float(dose.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise EvaluationError("The dose has NaN or infinite voxels; repair it before evaluating.")
    if low < 0.0:
        raise EvaluationError(
            f"The dose goes down to {low:.4g} Gy; a dose cannot be negative, check its offset and unit."
        )
    return dose


def _dvh(
    dose: np.ndarray, dose_grid: Grid, structure: Structure | ContourStack | ClosedSurface, allow_partial: bool
) -> Dvh:
    outline = structure.outline if isinstance(structure, Structure) else structure
    if outline is not None:
        volume_cm3 = outline.volume_cm3
        samples, covered = _sampled_outline(dose, dose_grid, outline)
        sampled_from = "contours" if isinstance(outline, ContourStack) else "surface"
    else:
        if structure.is_empty:
            raise EvaluationError(f"Structure {structure.name} is empty; contour it or leave it out of the evaluation.")
        volume_cm3 = structure.volume_cm3
        samples, covered = _sampled_mask(dose, dose_grid, structure)
        sampled_from = "voxels"
    if covered == 0.0:
        raise EvaluationError(
            f"Structure {structure.name} lies outside the dose grid; calculate the dose on a grid that covers it."
        )
    if covered < 1.0 and not allow_partial:
        raise EvaluationError(
            f"Only {_below_all(100.0 * covered)} % of structure {structure.name} lie inside the dose grid; "
            "calculate the dose on a larger grid, or allow a partial DVH, which counts the covered part alone."
        )
    return Dvh(structure.name, volume_cm3, samples, covered, sampled_from)


def _below_all(percent: float) -> str:
    """Write a share of less than 100 % with one decimal, more where it would read 100.0."""
    return f"{percent:.1f}" if percent < 99.95 else f"{np.floor(percent * 1000.0) / 1000.0:.3f}"


def _sampled_outline(
    dose: np.ndarray, dose_grid: Grid, outline: ContourStack | ClosedSurface
) -> tuple[np.ndarray, float]:
    """Return the doses inside an outline and the part of it that the dose grid covers."""
    volume_mm3 = 1000.0 * outline.volume_cm3
    count = max(_SAMPLES, volume_mm3 / (1000.0 * dose_grid.voxel_volume_cm3) * _SAMPLES_A_DOSE_VOXEL)
    rows = outline.points_inside(volume_mm3 / min(count, _MAXIMUM_OUTLINE_SAMPLES))

    def sampled(part: slice) -> np.ndarray:
        index = rows.points(dose_grid.inverse_affine, part)
        covered = _within_faces(index, dose_grid)
        return _interpolated(dose, index if covered.all() else index[:, covered])

    samples = np.concatenate(list(_in_threads(sampled, rows.parts(_CHUNK))))
    return samples, len(samples) / len(rows)


def _sampled_mask(dose: np.ndarray, dose_grid: Grid, structure: Structure) -> tuple[np.ndarray, float]:
    """Return the doses inside a label map and the part of its voxels that the dose grid covers."""
    to_dose = dose_grid.inverse_affine @ structure.grid.affine

    def sampled(chunk: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, int, int]:
        points, of_voxel, in_mask = chunk
        # a voxel is covered when its centre is within the outer faces; its points beyond them take the dose at the face
        inside = _within_faces(_transformed(of_voxel, to_dose), dose_grid)
        if not inside.all():
            points = points[inside]
        doses = _interpolated(dose, _transformed(points, to_dose))
        return doses, int(np.count_nonzero(in_mask & inside)), int(np.count_nonzero(in_mask))

    samples, inside, count = zip(*_in_threads(sampled, _samples(structure, dose_grid)))
    return np.concatenate(samples), sum(inside) / sum(count)


def _in_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Apply a function to items in threads, in order, never far ahead of the one who takes the results."""
    workers = min(os.cpu_count() or 1, _MAXIMUM_THREADS)
    with ThreadPoolExecutor(workers) as pool:
        running: deque[Future] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _transformed(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Apply an affine (4, 4) to points (n, 3), component by component: (3, n)."""
    result = np.empty((3, len(points)))
    for component, axis in zip(result, affine[:3]):
        component[:] = axis[3]
        for factor, values in zip(axis[:3], points.T):
            if factor:
                component += factor * values
    return result


def _within_faces(index: np.ndarray, grid: Grid) -> np.ndarray:
    """Tell which indices (3, n), ordered i, j, k, lie within the outer faces of the grid's voxels."""
    inside = np.ones(index.shape[1], bool)
    for component, count in zip(index, grid.shape[::-1]):
        inside &= (component >= -0.5 - 1e-4) & (component <= count - 0.5 + 1e-4)
    return inside


def _interpolated(dose: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Interpolate the dose linearly at indices (3, n), ordered i, j, k."""
    return ndimage.map_coordinates(dose, index[::-1], order=1, mode="nearest", output=np.float32)


def _division(structure: Structure, voxels: int, dose_grid: Grid) -> np.ndarray:
    """Return into how many parts a voxel of the structure is divided along i, j and k."""
    spacing = structure.grid.spacing_mm
    wanted_mm = (voxels * float(np.prod(spacing)) / _SAMPLES) ** (1.0 / 3.0)
    # finer than the dose voxels too, where the structure is coarser than they are
    least = np.ceil(spacing / dose_grid.spacing_mm.min() - 1e-6)
    division = np.clip(np.maximum(np.round(spacing / wanted_mm), least), 1, _MAXIMUM_DIVISION).astype(int)
    if voxels > _SAMPLES and spacing.max() <= dose_grid.spacing_mm.max():
        return np.ones(3, int)
    while voxels * np.prod(division) > _MAXIMUM_SAMPLES and division.max() > 1:
        division[np.argmax(division)] -= 1
    return division


def _samples(structure: Structure, dose_grid: Grid) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, in chunks, sample points and their voxels (n, 3) as i, j, k, and which voxels belong to the mask."""
    voxels = int(np.count_nonzero(structure.mask))
    division = _division(structure, voxels, dose_grid)
    if division.max() == 1:
        for points, of_voxel in _points(_voxels_of(structure.mask)[:, ::-1], division):
            yield points, of_voxel, np.ones(len(points), bool)
        return
    # a voxel of margin all round, beyond the array too: the surface may leave the mask's voxels by less than that
    low, mask = _with_margin(structure.mask)
    occupancy = ndimage.gaussian_filter(mask.astype(np.float32), _SURFACE_SIGMA_VOXELS, mode="constant")
    candidates = _voxels_of(ndimage.binary_dilation(mask, np.ones((3, 3, 3), bool)))[:, ::-1]
    filling = [
        ndimage.map_coordinates(occupancy, points[:, ::-1].T, order=1, mode="nearest", output=np.float32)
        for points, _ in _points(candidates, division)
    ]
    # the level of the surface that encloses as much volume as the mask's voxels
    everything = np.concatenate(filling)
    rank = everything.size - voxels * int(np.prod(division))
    level = np.partition(everything, rank)[rank]
    for filled, (points, of_voxel) in zip(filling, _points(candidates, division), strict=True):
        chosen = filled >= level
        if chosen.any():
            of_chosen = of_voxel[chosen]
            yield points[chosen] + low, of_chosen + low, mask[tuple(of_chosen.T[::-1])]


def _voxels_of(mask: np.ndarray) -> np.ndarray:
    """`np.argwhere`, a slab at a time: in one go it would keep a panel from its events for tenths of a second."""
    step = max(_SLAB // max(mask[0].size, 1), 1)
    parts = []
    for first in range(0, len(mask), step):
        found = np.argwhere(mask[first : first + step])
        found[:, 0] += first
        parts.append(found)
    return np.concatenate(parts)


def _points(voxels: np.ndarray, division: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield, in chunks, a point in every sub-voxel (n, 3) and the voxel it belongs to (n, 3), both as i, j, k."""
    corners = np.stack(np.meshgrid(*(np.arange(n) / n - 0.5 for n in division), indexing="ij"), axis=-1).reshape(-1, 3)
    step = max(_CHUNK // len(corners), 1)
    for start in range(0, len(voxels), step):
        of_voxel = np.repeat(voxels[start : start + step], len(corners), axis=0)
        number = start * len(corners) + np.arange(len(of_voxel))
        within = np.modf(0.5 + number[:, None] * _SPREAD)[0] / division
        yield of_voxel + np.tile(corners, (len(of_voxel) // len(corners), 1)) + within, of_voxel


def _with_margin(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index (i, j, k) of the first voxel and the mask cut to its bounding box with a voxel of margin."""
    low, slices = [], []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        low.append(used[0] - 1)
        slices.append(slice(int(used[0]), int(used[-1]) + 1))
    return np.array(low[::-1], float), np.pad(mask[tuple(slices)], 1)
