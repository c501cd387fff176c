"""Pairs of doses for gamma of several hands, on grids along the axes, and the calls of the peers."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pydicom

from DoseEngineLib.geometry import Grid, resample
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.gamma import GammaCriterion
from RTPlanningLib.validation.monte_carlo import calculate, load_reference

Pair = tuple[DoseDistribution, DoseDistribution]


def breast_pair(data: Path) -> Pair:
    """Clinical breast IMRT (RTDOSE) on a 3 mm grid, and the same scaled by 1.03 and shifted by (1, -1, 1) mm.

    The shift is one of the grid, so that nothing is interpolated; axes in DICOM's LPS, which no gamma minds.
    """
    file = pydicom.dcmread(data / "clinical" / "breast_imrt_rtdose" / "rtdose.dcm")
    values = file.pixel_array * float(file.DoseGridScaling)
    spacing = [float(s) for s in file.PixelSpacing]
    offsets = np.array(file.GridFrameOffsetVector, float)
    native = Grid.from_spacing(values.shape, (spacing[1], spacing[0], offsets[1] - offsets[0]))
    grid = native.with_spacing(3.0)
    dose = resample(values, native, grid)
    shifted = Grid.from_spacing(grid.shape, 3.0, grid.origin_RAS_mm + (1.0, -1.0, 1.0))
    return DoseDistribution("clinical", dose, grid), DoseDistribution("shifted", dose * 1.03, shifted)


def monte_carlo_pair(data: Path, name: str = "l10", engine: str = "photon-pencil-beam") -> Pair:
    """EGSnrc in a lung slab, one quadrant (the reference is 8-fold symmetric), and our engine in the same voxels."""
    reference = load_reference(data / "egsnrc", name)
    ours = calculate(reference, engine)
    middle = reference.x_mm.size // 2
    reach = slice(middle, middle + 40)
    grid = Grid.from_spacing(
        reference.dose[:, reach, reach].shape,
        reference.voxel_mm,
        (reference.x_mm[middle], reference.x_mm[middle], reference.z_mm[0]),
    )
    # Gy for 1e9 photons a cm2, so that single precision holds it
    return (
        DoseDistribution("EGSnrc", reference.dose[:, reach, reach] * 1e9, grid, dose_to="medium"),
        DoseDistribution(engine, ours[:, reach, reach] * 1e9, grid),
    )


SLOPE_GY_PER_MM = np.array([0.22, 0.14, -0.18])
SYNTHETIC_CRITERION = GammaCriterion(3.0, 3.0, normalization_Gy=60.0, threshold_percent=10.0, max_gamma=1.2)


def synthetic_pair() -> tuple[Pair, np.ndarray]:
    """A ramp on a 3 mm grid, a reference that differs from it by a wave, and their gamma in closed form.

    Where the evaluated dose is linear with gradient g, a reference dose that differs by d from it has, in 3D and away
    from the faces, gamma = |d| / sqrt(Delta^2 + (g delta)^2), whatever the reference does around the voxel.
    """
    grid = Grid.from_spacing((42, 44, 46), 3.0, (-67.5, -64.5, -61.5))
    inner = Grid.from_spacing((34, 36, 38), 3.0, (-55.5, -52.5, -49.5))
    points = inner.centres_RAS_mm()
    r, a, s = np.moveaxis(points, -1, 0)
    wave = 2.1 * np.sin(r / 17.0) * np.cos(a / 13.0) + 0.9 * np.sin(s / 9.0 + r / 29.0)
    reference = DoseDistribution("wavy", 45.0 + points @ SLOPE_GY_PER_MM + wave, inner)
    evaluated = DoseDistribution("ramp", 45.0 + grid.centres_RAS_mm() @ SLOPE_GY_PER_MM, grid)
    c = SYNTHETIC_CRITERION
    exact = np.abs(wave) / np.hypot(c.dose_percent / 100 * 60.0, np.linalg.norm(SLOPE_GY_PER_MM) * c.distance_mm)
    return (reference, evaluated), exact


def axes_mm(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxel centres along k, j, i of a grid along the axes."""
    return tuple(grid.origin_RAS_mm[2 - n] + grid.spacing_mm[2 - n] * np.arange(grid.shape[n]) for n in range(3))


def pymedphys_gamma(pair: Pair, criterion: GammaCriterion, fraction: int = 10, **options) -> tuple[np.ndarray, float]:
    """Gamma (k, j, i) by pymedphys and its seconds; ``fraction`` is its sampling of the distance criterion."""
    import pymedphys

    reference, evaluated = pair
    begun = time.perf_counter()
    gamma = pymedphys.gamma(
        axes_mm(reference.grid),
        reference.dose_Gy.astype(float),
        axes_mm(evaluated.grid),
        evaluated.dose_Gy.astype(float),
        criterion.dose_percent,
        criterion.distance_mm,
        lower_percent_dose_cutoff=criterion.threshold_percent,
        interp_fraction=fraction,
        max_gamma=criterion.max_gamma,
        local_gamma=criterion.local,
        global_normalisation=criterion.normalization_Gy,
        **options,
    )
    return gamma, time.perf_counter() - begun


def pass_rate(gamma: np.ndarray) -> float:
    """Share of judged voxels with gamma of at most 1, in %."""
    judged = gamma[~np.isnan(gamma)]
    return 100.0 * float((judged <= 1.0).mean())


def write_mha(path: Path, values: np.ndarray, grid: Grid, kind: str, dtype: str) -> None:
    """Write an array on a grid along the axes as MetaImage."""
    spacing, origin, shape = grid.spacing_mm, grid.origin_RAS_mm, grid.shape
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        f"Offset = {origin[0]:.9g} {origin[1]:.9g} {origin[2]:.9g}\n"
        f"ElementSpacing = {spacing[0]:.9g} {spacing[1]:.9g} {spacing[2]:.9g}\n"
        f"DimSize = {shape[2]} {shape[1]} {shape[0]}\nElementType = {kind}\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + values.astype(dtype).tobytes())


def finer(pair: Pair, criterion: GammaCriterion, times: int) -> tuple[Pair, np.ndarray]:
    """Both doses on one lattice that divides the reference's, with room to search in; and the voxels to judge.

    A trilinear dose at the points of a lattice that divides its own is the same dose. The lattice ends where the
    evaluated dose does: zeros beyond would make a gradient that is none.
    """
    reference, evaluated = pair
    margin = int(np.ceil(criterion.max_gamma * criterion.distance_mm / reference.grid.spacing_mm.min()))
    normalization = criterion.normalization_Gy or reference.max_Gy
    above = reference.dose_Gy >= np.float32(criterion.threshold_percent / 100 * normalization)
    # indices ordered i, j, k
    used = [np.flatnonzero(above.any(axis=tuple(a for a in range(3) if a != 2 - n))) for n in range(3)]
    low, high = np.array([u[0] for u in used]), np.array([u[-1] for u in used])
    last = np.array(evaluated.grid.shape[::-1]) - 1
    ends = reference.grid.ras_to_index(evaluated.grid.index_to_ras(np.stack((0 * last, last))))
    start = np.minimum(np.maximum(low - margin, np.ceil(ends[0] - 1e-6)), low).astype(int)
    stop = np.maximum(np.minimum(high + margin, np.floor(ends[1] + 1e-6)), high).astype(int)
    shape = tuple(int(n) for n in ((stop - start) * times + 1)[::-1])
    lattice = Grid.from_spacing(shape, reference.grid.spacing_mm / times, reference.grid.index_to_ras(start))
    judged = np.zeros(shape, bool)
    inner = tuple(slice(low[n], high[n] + 1) for n in (2, 1, 0))
    nodes = tuple(slice((low[n] - start[n]) * times, (high[n] - start[n]) * times + 1, times) for n in (2, 1, 0))
    judged[nodes] = above[inner]
    doses = [DoseDistribution(d.name, resample(d.dose_Gy, d.grid, lattice), lattice) for d in pair]
    return (doses[0], doses[1]), judged


def plastimatch_gamma(pair: Pair, criterion: GammaCriterion, folder: Path, times: int = 1) -> tuple[float, int, float]:
    """Pass rate in % by plastimatch, the number of voxels it judged, and its seconds.

    With --interp-search it looks along the straight lines between neighbouring voxels, not inside the cells; ``times``
    gives it the same doses on a finer lattice, with the same voxels to judge.
    """
    (reference, evaluated), judged = finer(pair, criterion, times)
    for name, dose in (("reference", reference), ("evaluated", evaluated)):
        write_mha(folder / f"{name}.mha", dose.dose_Gy, dose.grid, "MET_FLOAT", "<f4")
    write_mha(folder / "mask.mha", judged, reference.grid, "MET_UCHAR", "u1")
    normalization = criterion.normalization_Gy or pair[0].max_Gy
    begun = time.perf_counter()
    subprocess.run(
        [
            "plastimatch", "gamma", "--interp-search", "--ref-only-threshold",
            "--reference-dose", f"{normalization:.9g}",
            "--dose-tolerance", f"{criterion.dose_percent / 100:g}",
            "--dta-tolerance", f"{criterion.distance_mm:g}",
            # the mask holds the threshold; rounded to half of it here
            "--analysis-threshold", f"{criterion.threshold_percent / 200:g}",
            "--gamma-max", f"{criterion.max_gamma:g}",
            *(["--local-gamma"] if criterion.local else []),
            "--mask", str(folder / "mask.mha"),
            "--output-text", str(folder / "gamma.txt"),
            str(folder / "reference.mha"), str(folder / "evaluated.mha"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    text = (folder / "gamma.txt").read_text()
    found = {key: re.search(rf"number_of_{key}_voxels\s+(\d+)", text) for key in ("analysis", "pass")}
    if None in found.values():
        raise ValueError(f"plastimatch wrote no pass rate:\n{text}")
    count = int(found["analysis"][1])
    return 100.0 * int(found["pass"][1]) / count, count, seconds
