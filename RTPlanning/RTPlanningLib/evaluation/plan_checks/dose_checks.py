"""Checks of the dose: its grid, the target's dose, dose where there should be none, and what the engine leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from DoseEngineLib.dose_metrics import equivalent_sphere_diameter_mm
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan, Prescription, Structure
from RTPlanningLib.evaluation.plan_checks.check_result import CheckResult, failed, not_applicable, passed, warning

GRID_EXTENT, GRID_SPACING, PRESCRIPTION, COVERAGE, HOT_SPOTS, ENGINE = (
    "Dose grid covers the body",
    "Dose grid spacing",
    "Prescription reached",
    "Target coverage",
    "Hot spots outside the target",
    "Engine and case",
)
_TARGET_ROLES = ("GTV", "CTV", "PTV")
# The target's median dose against the prescribed one: ICRU 50 (1993) asks for 95 to 107 %. More is meant where dose is
# prescribed to the edge of the target, so it is a question, less a failure.
_MEDIAN_PERCENT = (95.0, 107.0)
# Part of the target at 95 % of the prescribed dose (chosen by this project after the D95 and D98 of ICRU 83).
_COVERAGE_PERCENT = (95.0, 90.0)
# ICRU 50: a hot spot is a volume outside the PTV above 100 % of the dose, of 15 mm or more across.
_HOT_SPOT_DIAMETER_MM = 15.0
_HOT_PERCENT = 107.0
# Voxels of the dose across the smallest structure (chosen by this project).
_VOXELS_ACROSS = 4.0
# AAPM TG-101 (2010) asks for 2 mm or finer in stereotactic plans, which begin at about 5 Gy a fraction.
_STEREOTACTIC_FRACTION_GY, _STEREOTACTIC_SPACING_MM = 5.0, 2.0
# Lung-like and metal-like densities, and where dose counts (chosen by this project).
_LOW_DENSITY_G_CM3, _HIGH_DENSITY_G_CM3, _IRRADIATED = 0.5, 2.5, 0.3
_LOW_VOLUME_CM3, _HIGH_VOLUME_CM3 = 10.0, 0.1
_NEAR_TARGET_MM = 10.0
_LIMITED_IN_LOW_DENSITY = ("photon-pencil-beam",)


def check_dose_grid_extent(patient: Patient, grid: Grid, structures: Sequence[Structure]) -> CheckResult:
    """Check that the dose grid holds the structures and the body."""
    cut = []
    for structure in structures:
        if not structure.is_empty and structure.role in (*_TARGET_ROLES, "ORGAN", "AVOIDANCE"):
            covered = covered_part(structure.mask, structure.grid, grid)
            if covered < 1.0:
                cut.append((structure, covered))
    targets = [structure.name for structure, _ in cut if structure.role in _TARGET_ROLES]
    if targets:
        return failed(
            GRID_EXTENT, f"The dose grid cuts the target {', '.join(targets)}; calculate on a grid that holds it."
        )
    body = covered_part(patient.body, patient.grid, grid)
    if cut:
        listed = ", ".join(f"{structure.name} ({100.0 * covered:.1f} % inside)" for structure, covered in cut)
        return warning(
            GRID_EXTENT, f"The dose grid cuts {listed}: their goals cannot be judged. Calculate on a larger grid."
        )
    if body < 1.0:
        return warning(
            GRID_EXTENT,
            f"{100.0 * body:.1f} % of the body lie in the dose grid. All structures do; what leaves the grid is not "
            "seen. Enlarge it where beams enter or leave there.",
        )
    return passed(GRID_EXTENT, "Body and structures lie in the dose grid.")


def check_dose_grid_spacing(plan: Plan, grid: Grid, structures: Sequence[Structure]) -> CheckResult:
    """Check that the dose grid is fine enough for the smallest structure and for the dose a fraction."""
    spacing = float(grid.spacing_mm.max())
    lines = []
    prescription = plan.prescription
    if prescription is not None:
        fraction_Gy = prescription.dose_Gy / prescription.fractions
        if fraction_Gy >= _STEREOTACTIC_FRACTION_GY and spacing > _STEREOTACTIC_SPACING_MM + 1e-6:
            lines.append(
                f"{spacing:g} mm for {fraction_Gy:g} Gy a fraction; AAPM TG-101 asks for "
                f"{_STEREOTACTIC_SPACING_MM:g} mm or finer in stereotactic plans."
            )
    small = []
    for structure in structures:
        if structure.is_empty or structure.role not in (*_TARGET_ROLES, "ORGAN", "AVOIDANCE"):
            continue
        diameter = equivalent_sphere_diameter_mm(structure.volume_cm3)
        if diameter < _VOXELS_ACROSS * spacing:
            small.append((diameter, structure.name))
    if small:
        listed = ", ".join(f"{name} ({diameter:.1f} mm)" for diameter, name in sorted(small))
        lines.append(
            f"{spacing:g} mm for structures of less than {_VOXELS_ACROSS:g} voxels across, as spheres: {listed}. Their "
            f"doses are uncertain by the dose's slope over a voxel; use {min(small)[0] / _VOXELS_ACROSS:.1f} mm."
        )
    if lines:
        return warning(GRID_SPACING, " ".join(lines))
    return passed(GRID_SPACING, f"{spacing:g} mm is fine enough for every structure.")


def check_prescription(prescription: Prescription | None, target: Dvh | None) -> CheckResult:
    """Check the target's median dose against the prescribed one (ICRU 50 and 83)."""
    if prescription is None or target is None:
        return not_applicable(PRESCRIPTION, "There is no prescription to a target with dose.")
    median = 100.0 * target.dose_at_volume_percent(50.0) / prescription.dose_Gy
    low, high = _MEDIAN_PERCENT
    text = f"The median dose of {target.structure_name} is {median:.1f} % of the prescribed {prescription.dose_Gy:g} Gy"
    if median < low:
        return failed(PRESCRIPTION, f"{text}, less than {low:g} %; check MU, normalization and beams.")
    if median > high:
        return warning(
            PRESCRIPTION,
            f"{text}, more than {high:g} %. Confirm that the dose is prescribed to the target's edge, or normalize to "
            "the median.",
        )
    return passed(PRESCRIPTION, f"{text}.")


def check_coverage(prescription: Prescription | None, target: Dvh | None) -> CheckResult:
    """Check how much of the target receives 95 % of the prescribed dose."""
    if prescription is None or target is None:
        return not_applicable(COVERAGE, "There is no prescription to a target with dose.")
    if target.covered_fraction < 1.0:
        return failed(
            COVERAGE, f"Only {100.0 * target.covered_fraction:.1f} % of {target.structure_name} lie in the dose grid."
        )
    covered = target.volume_percent_at_dose(0.95 * prescription.dose_Gy)
    good, poor = _COVERAGE_PERCENT
    text = f"{covered:.1f} % of {target.structure_name} receive 95 % of the prescribed dose"
    if covered < poor:
        return failed(COVERAGE, f"{text}, less than {poor:g} %; widen apertures, change weights or optimize.")
    if covered < good:
        return warning(COVERAGE, f"{text}, less than {good:g} %. Confirm that more would harm, or improve it.")
    return passed(COVERAGE, f"{text}.")


def check_hot_spots(
    patient: Patient,
    prescription: Prescription | None,
    dose_Gy: np.ndarray,
    grid: Grid,
    structures: Sequence[Structure],
) -> CheckResult:
    """Check for hot spots of ICRU 50 outside all targets: above the prescribed dose, 15 mm or more across."""
    if prescription is None:
        return not_applicable(HOT_SPOTS, "There is no prescribed dose to compare with.")
    outside = resample(patient.body, patient.grid, grid)
    targets = [s for s in structures if s.role in _TARGET_ROLES and not s.is_empty]
    if not targets:
        return not_applicable(HOT_SPOTS, "There is no target; everything is outside.")
    for structure in targets:
        outside &= ~resample(structure.mask, structure.grid, grid)
    if not outside.any():
        return not_applicable(HOT_SPOTS, "The dose grid holds nothing but targets.")
    percent = np.where(outside, 100.0 * np.asarray(dose_Gy) / prescription.dose_Gy, 0.0)
    k, j, i = np.unravel_index(int(np.argmax(percent)), percent.shape)
    place = ", ".join(f"{v:.0f}" for v in grid.index_to_ras(np.array([i, j, k])))
    text = f"The largest dose outside all targets is {percent.max():.1f} % of the prescribed, at ({place}) mm RAS"
    diameter = _widest_mm(percent >= 100.0, grid)
    if _widest_mm(percent >= _HOT_PERCENT, grid) >= _HOT_SPOT_DIAMETER_MM:
        return failed(
            HOT_SPOTS,
            f"{text}; a volume more than {_HOT_SPOT_DIAMETER_MM:g} mm across gets {_HOT_PERCENT:g} % or more. Change "
            "angles, weights or wedges, or optimize with a limit there.",
        )
    if diameter >= _HOT_SPOT_DIAMETER_MM:
        return warning(
            HOT_SPOTS,
            f"{text}; a volume {diameter:.0f} mm across gets the prescribed dose or more, a hot spot by ICRU 50. Look "
            "at it, and lower it where it can be.",
        )
    return passed(HOT_SPOTS, f"{text}; no volume of {_HOT_SPOT_DIAMETER_MM:g} mm or more gets the prescribed dose.")


def check_engine(
    patient: Patient, dose_Gy: np.ndarray, grid: Grid, target: Structure | None, provenance: Mapping[str, Any]
) -> CheckResult:
    """Compare what the dose engine leaves out with the tissues that the beams go through."""
    stated = [str(line) for line in provenance.get("does_not_model", ())]
    if not stated:
        return not_applicable(ENGINE, "The dose does not say what its engine leaves out.")
    label = str(provenance.get("engine", ""))
    density = resample(patient.density_g_cm3, patient.grid, grid)
    body = resample(patient.body, patient.grid, grid)
    irradiated = body & (np.asarray(dose_Gy) >= _IRRADIATED * float(np.max(dose_Gy))) & (np.max(dose_Gy) > 0.0)
    low = float(np.count_nonzero(irradiated & (density < _LOW_DENSITY_G_CM3))) * grid.voxel_volume_cm3
    high = float(np.count_nonzero(irradiated & (density > _HIGH_DENSITY_G_CM3))) * grid.voxel_volume_cm3
    leaves_out = f"The engine does not model: {'; '.join(stated)}."
    if high > _HIGH_VOLUME_CM3:
        return warning(
            ENGINE,
            f"The beams go through {high:.2g} cm³ denser than {_HIGH_DENSITY_G_CM3:g} g/cm³ (metal, artefact?). Check "
            f"its density and that no beam has to pass it. {leaves_out}",
        )
    if label in _LIMITED_IN_LOW_DENSITY and low > _LOW_VOLUME_CM3:
        near = ""
        if target is not None and not target.is_empty:
            inside = resample(target.mask, target.grid, grid)
            if inside.any():
                distance = ndimage.distance_transform_edt(~inside, sampling=grid.spacing_mm[::-1])
                shell = (distance <= _NEAR_TARGET_MM) & body
                part = float(np.mean(density[shell] < _LOW_DENSITY_G_CM3))
                if part > 0.1:
                    text = (
                        f"{100.0 * part:.0f} % of {target.name} and the {_NEAR_TARGET_MM:g} mm around it are lung or "
                        f"air (below {_LOW_DENSITY_G_CM3:g} g/cm³), where {label} is not to be trusted: calculate with "
                        "photon-collapsed-cone."
                    )
                    return failed(ENGINE, f"{text} {leaves_out}")
                near = f" {target.name} is not in it."
        return warning(
            ENGINE,
            f"{low:.0f} cm³ of lung or air (below {_LOW_DENSITY_G_CM3:g} g/cm³) get {100.0 * _IRRADIATED:g} % or more "
            f"of the largest dose.{near} Compare with photon-collapsed-cone. {leaves_out}",
        )
    return passed(ENGINE, f"Nothing in the beams' way that {label or 'the engine'} is known to fail in. {leaves_out}")


def covered_part(mask: np.ndarray, grid: Grid, dose_grid: Grid) -> float:
    """Return the part of a mask's voxel centres within the dose grid's outer faces."""
    k, j, i = np.nonzero(mask)
    return float(np.mean(dose_grid.contains(grid.index_to_ras(np.stack((i, j, k), axis=-1))))) if k.size else 1.0


def _widest_mm(region: np.ndarray, grid: Grid) -> float:
    """Return the diameter of the largest ball in a region; its resolution is a voxel."""
    if not region.any():
        return 0.0
    depth = ndimage.distance_transform_edt(np.pad(region, 1), sampling=grid.spacing_mm[::-1])
    # the nearest voxel outside begins half a voxel before its centre
    return float(2.0 * depth.max() - grid.spacing_mm.min())
