"""Synthetic beam data: a machine that differs from its base in known ways, and curves measured of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from DoseEngineLib.commissioning.machine_parameters import (
    MachineData,
    changed_machine,
    machine_parameters,
    off_axis_key,
    read_machine_data,
)
from DoseEngineLib.commissioning.measured_curve import MeasuredCurve
from DoseEngineLib.commissioning.model import curve_dose
from DoseEngineLib.machine import Machine

NOISE_PERCENT = 0.3
OFF_AXIS_KNOTS_MM = (25.0, 50.0, 75.0, 100.0, 125.0)


def base_data() -> MachineData:
    """A base machine with every part that can be fitted; jaws, leaves and calibration are the generic machine's."""
    data = read_machine_data("generic_6mv")
    data["name"] = "base_6mv"
    # a filtered 6 MV spectrum in outline, of few energies to be quick
    energy = np.arange(0.25, 6.0, 0.5)
    data["spectrum"] = {
        "energy_MeV": energy.tolist(),
        "fluence": (energy * (6.0 - energy) / np.exp(1.2 * energy)).tolist(),
    }
    data["source"] = {"sigma_mm": 0.7}
    data["extra_focal"] = {"weight": 0.08, "sigma_mm": 20.0, "distance_mm": 125.0}
    data["electron_contamination"] = {"surface_ratio": 0.10, "decay_mm": 10.0, "sigma_mm": 60.0}
    data["off_axis"] = {"kind": "flat", "softening": [0.002]}
    return data


def true_values() -> dict[str, float]:
    """Parameters of the machine that is measured, by key."""
    values = {
        "spectrum/tilt": 0.06,
        "source/sigma_mm": 1.1,
        "electron_contamination/surface_ratio": 0.16,
        "electron_contamination/decay_mm": 8.0,
        "extra_focal/weight": 0.11,
        "extra_focal/sigma_mm": 16.0,
        "off_axis/softening": 1.8,
    }
    return values | {off_axis_key(r): 1.0 + 0.0003 * r for r in OFF_AXIS_KNOTS_MM}


def true_machine() -> Machine:
    """The machine that is measured."""
    data = base_data()
    return changed_machine(data, machine_parameters(data, OFF_AXIS_KNOTS_MM[-1]), true_values())[1]


def measured(machine: Machine, seed: int = 0, noise_percent: float = NOISE_PERCENT) -> list[MeasuredCurve]:
    """Depth doses, profiles and output factors of a machine, with Gaussian noise."""
    rng = np.random.default_rng(seed)
    depth = np.concatenate((np.arange(1.0, 30.0, 1.5), np.arange(30.0, 301.0, 6.0)))
    plans: list[tuple] = [("pdd", field, depth, None, None) for field in (50.0, 100.0, 250.0)]
    for field, at, axis in (
        (100.0, 15.0, "inline"),
        (100.0, 100.0, "crossline"),
        (250.0, 15.0, "crossline"),
        (250.0, 100.0, "crossline"),
        (250.0, 200.0, "crossline"),
    ):
        half = field / 2 * (1000.0 + at) / 1000.0
        plans.append(("profile", field, np.arange(-half - 30.0, half + 31.0, 2.0), at, axis))
    sides = np.array([30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 400.0])
    plans.append(("output_factor", 100.0, sides, 100.0, None))
    curves = []
    for number, (kind, field, position, at, axis) in enumerate(plans, start=1):
        curve = MeasuredCurve(
            kind=kind,
            ssd_mm=900.0 if kind == "output_factor" else 1000.0,
            field_mm=(field, field),
            depth_mm=at,
            axis=axis,
            position_mm=position,
            dose=np.exp(-0.004 * np.abs(position)),
            fields_mm=np.stack((sides, sides), axis=1) if kind == "output_factor" else None,
            lines=np.arange(position.size) + 1,
            file=f"curve{number}.csv",
            line=1,
            uncertainty_percent=noise_percent,
            position_uncertainty_mm=0.1,
        )
        dose = curve_dose(machine, curve)
        noise = noise_percent / 100 * rng.standard_normal(dose.size)
        dose = dose * (1 + noise) if kind == "output_factor" else np.abs(dose + dose.max() * noise)
        curves.append(replace(curve, dose=100 * dose / dose.max()))
    return curves


def as_csv(curves: Sequence[MeasuredCurve]) -> str:
    """Curves as the CSV text a user would write."""
    lines: list[str] = []
    for curve in curves:
        lines += [f"kind = {curve.kind}", f"ssd_mm = {curve.ssd_mm:g}"]
        lines += [f"field_x_mm = {curve.field_mm[0]:g}", f"field_y_mm = {curve.field_mm[1]:g}"]
        lines += [f"depth_mm = {curve.depth_mm:g}"] if curve.kind != "pdd" else []
        lines += [f"axis = {curve.axis}"] if curve.kind == "profile" else []
        lines += [f"uncertainty_percent = {curve.uncertainty_percent:g}"]
        lines += [f"position_uncertainty_mm = {curve.position_uncertainty_mm:g}"]
        lines += [{"pdd": "depth_mm", "profile": "position_mm", "output_factor": "field_mm"}[curve.kind] + ", dose"]
        lines += [f"{p:.4g}, {d:.5g}" for p, d in zip(curve.position_mm, curve.dose)]
        lines.append("")
    return "\n".join(lines)


def write_base(folder: Path) -> Path:
    """Write the base machine's file and return its path."""
    path = folder / "base.json"
    path.write_text(json.dumps(base_data()), encoding="utf-8")
    return path
