"""The generic 6 MV machine against published measured data: depth dose, output factors, penumbrae.

Calculated by the pencil kernel under the machine's head in a flat water phantom (`DoseEngineLib.photon.water_dose`),
which the voxel engines are held to elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.water_dose import water_dose
from DoseEngineLib.plan import Aperture
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.validation.comparison import Figure

MEASURED_SCHEMA_VERSION = 1
_FILE = "measured_generic_6mv.json"
DEPTH_DOSE_BAR_PERCENT, OUTPUT_FACTOR_BAR_PERCENT, WIDTH_BAR_MM, EDGE_BAR_MM = 1.0, 1.0, 1.0, 0.5


@dataclass(frozen=True, eq=False)
class MeasuredComparison:
    """A series of measured values and ours.

    Attributes
    ----------
    at : (n,) array
        Where: ``at_label`` with its unit.
    measured, calculated : (n,) arrays
    difference : (n,) array
        In ``unit``: the calculated minus the measured value.
    bar : float
        What no difference may exceed.
    """

    name: str
    machine: str
    source: str
    at_label: str
    at: tuple[str, ...]
    measured: np.ndarray
    calculated: np.ndarray
    difference: np.ndarray
    unit: str
    bar: float

    def figure(self) -> Figure:
        """The largest difference, with its bar."""
        return Figure(f"{self.name}, largest difference", float(np.abs(self.difference).max()), self.unit, self.bar)


def load_measured_data() -> dict[str, Any]:
    """The measured data as the file holds them; a schema that is not known raises `SchemaError`."""
    data = json.loads(resources.files("RTPlanningLib.validation").joinpath(_FILE).read_text(encoding="utf-8"))
    if data["schema_version"] != MEASURED_SCHEMA_VERSION:
        raise SchemaError(f"{_FILE} has schema {data['schema_version']}; this version reads {MEASURED_SCHEMA_VERSION}.")
    return data


def compare_measured(progress: Progress | None = None) -> tuple[MeasuredComparison, ...]:
    """Compare the machine with all measured data."""
    report = progress or silent
    data = load_measured_data()
    machine = data["machine"]
    found = []
    report(0.0, f"Measured data: depth doses of {machine}")
    for row in data["depth_doses"]:
        measured = np.array(row["percent"])
        ours = percent_depth_dose(machine, row["side_mm"], row["depth_mm"], row["ssd_mm"])
        found.append(
            MeasuredComparison(
                name=row["name"],
                machine=machine,
                source=row["source"],
                at_label="Depth, mm",
                at=_words(row["depth_mm"]),
                measured=measured,
                calculated=ours,
                difference=ours - measured,
                unit="% of the maximum",
                bar=DEPTH_DOSE_BAR_PERCENT,
            )
        )
    report(0.3, f"Measured data: output factors of {machine}")
    for row in data["output_factors"]:
        measured = np.array(row["factor"])
        ours = output_factors(machine, row["side_mm"], row["depth_mm"], row["ssd_mm"])
        found.append(
            MeasuredComparison(
                name=row["name"],
                machine=machine,
                source=row["source"],
                at_label="Square field, mm",
                at=_words(row["side_mm"]),
                measured=measured,
                calculated=ours,
                difference=100 * (ours / measured - 1),
                unit="%",
                bar=OUTPUT_FACTOR_BAR_PERCENT,
            )
        )
    for row in data["penumbrae"]:
        places = list(zip(row["side_mm"], row["depth_mm"], strict=True))
        pairs = []
        for number, (side, depth) in enumerate(places):
            report(0.5 + 0.5 * number / len(places), f"Measured data: penumbra of {machine}")
            pairs.append(measured_penumbra_mm(machine, side, depth, row["ssd_mm"], row["chamber_sigma_mm"]))
        for name, ours, measured, bar in (
            ("Penumbra, 80-20 % width", np.array(pairs)[:, 0], np.array(row["width_mm"]), WIDTH_BAR_MM),
            ("Penumbra, field edge (50 %)", np.array(pairs)[:, 1], np.array(row["edge_mm"]), EDGE_BAR_MM),
        ):
            found.append(
                MeasuredComparison(
                    name=name,
                    machine=machine,
                    source=row["source"],
                    at_label="Field, depth, mm",
                    at=tuple(f"{side:g}, {depth:g}" for side, depth in places),
                    measured=measured,
                    calculated=ours,
                    difference=ours - measured,
                    unit="mm",
                    bar=bar,
                )
            )
    report(1.0, "Measured data compared")
    return tuple(found)


def square(side_mm: float) -> Aperture:
    """A centred square field."""
    return Aperture((-side_mm / 2, side_mm / 2), (-side_mm / 2, side_mm / 2))


def percent_depth_dose(machine: str, side_mm: float, depths_mm: Any, ssd_mm: float = 1000.0) -> np.ndarray:
    """Depth dose of a square field in per cent of its maximum."""
    fine = np.arange(0.0, 45.0, 0.5)
    depth = np.concatenate((fine, depths_mm))
    dose = water_dose(load_machine(machine), square(side_mm), ssd_mm, np.stack((0 * depth, 0 * depth, depth), axis=1))
    return 100 * dose[fine.size :] / dose[: fine.size].max()


def output_factors(machine: str, sides_mm: Any, depth_mm: float, ssd_mm: float = 1000.0) -> np.ndarray:
    """Dose of square fields over that of the 100 mm field, on the axis at a depth."""
    point = np.array([[0.0, 0.0, depth_mm]])
    doses = [water_dose(load_machine(machine), square(side), ssd_mm, point)[0] for side in (*sides_mm, 100.0)]
    return np.array(doses[:-1]) / doses[-1]


def profile(machine: str, side_mm: float, depth_mm: float, x_mm: np.ndarray, ssd_mm: float = 1000.0) -> np.ndarray:
    """Profile of a square field over its value on the axis."""
    x = np.append(x_mm, 0.0)
    dose = water_dose(load_machine(machine), square(side_mm), ssd_mm, np.stack((x, 0 * x, 0 * x + depth_mm), axis=1))
    return dose[:-1] / dose[-1]


def measured_penumbra_mm(
    machine: str, side_mm: float, depth_mm: float, ssd_mm: float, chamber_sigma_mm: float
) -> tuple[float, float]:
    """80-20 % width and place of 50 % of the dose on the axis, as a chamber would widen them."""
    step = 0.25
    half = side_mm / 2 * (ssd_mm + depth_mm) / 1000.0
    x = np.arange(-half - 40.0, half + 40.0, step)
    folded = gaussian_filter1d(profile(machine, side_mm, depth_mm, x, ssd_mm), chamber_sigma_mm / step)
    outer = x > 0.5 * half
    dose = (folded / np.interp(0.0, x, folded))[outer]
    places = [float(np.interp(-level, -dose, x[outer])) for level in (0.8, 0.5, 0.2)]
    return places[2] - places[0], places[1]


def _words(values: list[float]) -> tuple[str, ...]:
    return tuple(f"{value:g}" for value in values)
