"""The parameters of a photon machine that measurements can determine, as changes of its JSON data."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from DoseEngineLib.errors import MachineError
from DoseEngineLib.machine import Machine, load_machine, machine_from_json

MachineData = dict[str, Any]

# Radii at the isocentre plane, in steps of which the fluence off the axis is fitted.
_KNOT_STEP_MM = 25.0
_TABLE_STEP_MM = 10.0
_FEWEST_ENERGIES = 5
_RATIO_LIMITS = (0.2, 1.6)


@dataclass(frozen=True)
class MachineParameter:
    """A number of the machine file, or a change of one of its tables.

    Attributes
    ----------
    key : str
        Unique; also where the number stands in the file, or would.
    label, unit : str
        For people.
    stage : {"spectrum", "contamination", "off_axis", "penumbra", "head_scatter"}
        In which stage of the fit it is found first.
    part : str
        The provenance entry it belongs to.
    base : float
        Value in the base machine.
    low, high : float
        Bounds.
    scale : float
        A change that is plainly seen in the curves. A parameter whose uncertainty is more than four times this counts
        as not determined.
    write : callable
        ``write(data, values)`` changes a copy of the base machine's data by the values of all parameters, by key.
    """

    key: str
    label: str
    unit: str
    stage: str
    part: str
    base: float
    low: float
    high: float
    scale: float
    write: Callable[[MachineData, Mapping[str, float]], None]


def read_machine_data(name_or_path: str | Path) -> MachineData:
    """JSON data of a machine by name or file, after the checks of `load_machine`."""
    machine = load_machine(name_or_path)
    text = str(name_or_path)
    if text.endswith(".json") or "/" in text or "\\" in text:
        return json.loads(Path(text).read_text(encoding="utf-8"))
    folder = resources.files("DoseEngineLib").joinpath("machines")
    return json.loads(folder.joinpath(f"{machine.name}.json").read_text(encoding="utf-8"))


def machine_parameters(base: MachineData, off_axis_reach_mm: float) -> list[MachineParameter]:
    """All parameters that this base machine offers to a fit.

    Parameters
    ----------
    base : dict
        Data of the base machine.
    off_axis_reach_mm : float
        Radius at the isocentre plane to which profiles determine the fluence in air; 0 for not at all.
    """
    found = [
        *_spectrum_tilt(base),
        *_numbers(
            base,
            ("source", "sigma_mm", "Focal spot, one standard deviation", "mm", "penumbra", 0.05, 3.0, 0.2),
            (
                "electron_contamination",
                "surface_ratio",
                "Electron contamination at the surface",
                "",
                None,
                0.0,
                0.6,
                0.03,
            ),
            ("electron_contamination", "decay_mm", "Electron contamination, depth of 1/e", "mm", None, 1.0, 40.0, 2.0),
            ("extra_focal", "weight", "Extra-focal share of the fluence", "", "head_scatter", 0.0, 0.3, 0.02),
            (
                "extra_focal",
                "sigma_mm",
                "Extra-focal source, one standard deviation",
                "mm",
                "head_scatter",
                3.0,
                60.0,
                4.0,
            ),
        ),
    ]
    if off_axis_reach_mm >= _KNOT_STEP_MM:
        found += _off_axis_ratios(base, off_axis_reach_mm)
        found.append(_softening(base))
    return found


def changed_machine(
    base: MachineData, parameters: list[MachineParameter], values: Mapping[str, float]
) -> tuple[MachineData, Machine]:
    """The base machine with the given values (by key) in place of its own."""
    data = copy.deepcopy(base)
    for parameter in parameters:
        if parameter.key in values:
            parameter.write(data, values)
    return data, machine_from_json(json.dumps(data), data["name"])


def _numbers(base: MachineData, *rows: tuple) -> list[MachineParameter]:
    found = []
    for part, name, label, unit, stage, low, high, scale in rows:
        if name not in base.get(part, {}):
            continue

        def write(data: MachineData, values: Mapping[str, float], part: str = part, name: str = name) -> None:
            data[part][name] = float(values[f"{part}/{name}"])

        value = float(base[part][name])
        found.append(
            MachineParameter(
                f"{part}/{name}",
                label,
                unit,
                stage or "contamination",
                part,
                value,
                min(low, value),
                max(high, value),
                scale,
                write,
            )
        )
    return found


def _spectrum_tilt(base: MachineData) -> list[MachineParameter]:
    energy = np.array(base["spectrum"]["energy_MeV"], float)
    if energy.size < _FEWEST_ENERGIES:
        # lines, as of cobalt-60, are what they are
        return []
    fluence = np.array(base["spectrum"]["fluence"], float)
    fluence = fluence / fluence.sum()
    mean = float(energy @ fluence)

    def write(data: MachineData, values: Mapping[str, float]) -> None:
        changed = fluence * np.exp(values["spectrum/tilt"] * (energy - mean))
        data["spectrum"]["fluence"] = [float(f"{share:.6g}") for share in changed / changed.sum()]

    # at the bounds the mean energy has moved by more than any linac of one nominal energy differs from another
    reach = 1.5 / max(mean, 0.1)
    return [
        MachineParameter(
            "spectrum/tilt", "Spectrum, tilt a: photons x exp(a E)", "1/MeV", "spectrum", "spectrum",
            0.0, -reach, reach, 0.04, write,
        )
    ]  # fmt: skip


def off_axis_key(radius_mm: float) -> str:
    """Key of the factor at a radius."""
    return f"off_axis/{radius_mm:.4g}_mm"


def base_off_axis_ratio(base: MachineData, radius_mm: np.ndarray) -> np.ndarray:
    """Fluence in air of the base machine at radii of the isocentre plane, relative to the axis."""
    off_axis, sad = base["off_axis"], float(base["sad_mm"])
    radius = np.asarray(radius_mm, float)
    if off_axis["kind"] == "radial":
        return np.interp(radius, off_axis["radius_mm"], off_axis["ratio"])
    if off_axis["kind"] == "point_source":
        return sad**2 / (sad**2 + radius**2)
    return np.ones_like(radius)


def _off_axis_ratios(base: MachineData, reach_mm: float) -> list[MachineParameter]:
    """One factor on the base's fluence in air at each knot; smooth between them, constant beyond the last."""
    knots = np.arange(_KNOT_STEP_MM, reach_mm + 1e-6, _KNOT_STEP_MM)
    if reach_mm - knots[-1] > 0.4 * _KNOT_STEP_MM:
        knots = np.append(knots, reach_mm)
    edge = float(base["jaws"]["field_radius_mm"])
    given = np.asarray(base["off_axis"].get("radius_mm", ()), float)
    radius = np.unique(np.concatenate((np.arange(0.0, edge + _TABLE_STEP_MM, _TABLE_STEP_MM), given)))
    ratio = base_off_axis_ratio(base, radius)
    keys = [off_axis_key(knot) for knot in knots]

    def write(data: MachineData, values: Mapping[str, float]) -> None:
        factors = [1.0, *(values.get(key, 1.0) for key in keys)]
        between = PchipInterpolator(np.concatenate(([0.0], knots)), factors)
        changed = ratio * between(np.minimum(radius, knots[-1]))
        softening = {name: value for name, value in data["off_axis"].items() if name == "softening"}
        data["off_axis"] = {
            "kind": "radial",
            "radius_mm": radius.tolist(),
            "ratio": [1.0, *(round(r, 6) for r in changed[1:].tolist())],
            **softening,
        }

    return [
        MachineParameter(
            key,
            f"Fluence in air at {knot / 10:g} cm, over the base's",
            "",
            "off_axis",
            "off_axis",
            1.0,
            *_RATIO_LIMITS,
            0.02,
            write,
        )
        for key, knot in zip(keys, knots)
    ]


def _softening(base: MachineData) -> MachineParameter:
    given = base["off_axis"].get("softening")
    if given:

        def write(data: MachineData, values: Mapping[str, float]) -> None:
            data["off_axis"]["softening"] = [float(values["off_axis/softening"]) * c for c in given]

        return MachineParameter(
            "off_axis/softening",
            "Off-axis softening, over the base's",
            "",
            "off_axis",
            "off_axis",
            1.0,
            -0.5,
            3.0,
            0.3,
            write,
        )

    def write(data: MachineData, values: Mapping[str, float]) -> None:
        data["off_axis"]["softening"] = [float(values["off_axis/softening"])]

    return MachineParameter(
        "off_axis/softening", "Off-axis softening, change of the attenuation a degree", "1/deg", "off_axis", "off_axis",
        0.0, -0.01, 0.03, 0.003, write,
    )  # fmt: skip


def check_base(base: MachineData) -> list[str]:
    """Parts of the head that the base machine lacks and the fit therefore cannot find, as notes."""
    if base.get("modality") != "photon":
        raise MachineError(f"{base.get('name')} is no photon machine; commissioning needs one.")
    return [
        f"The base machine has no {name}; it is not fitted. Begin from a machine that has it, e.g. generic_6mv."
        for part, name in (("extra_focal", "extra-focal source"), ("electron_contamination", "electron contamination"))
        if part not in base
    ]
