"""Machines: photon beam models as JSON, validated on load."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from DoseEngineLib.errors import MachineError, PlanError
from DoseEngineLib.plan import Aperture, Beam
from DoseEngineLib.schema_json import read_schema_json

MACHINE_SCHEMA_VERSION = 1
_SCHEMA = "machine.schema.json"


@dataclass(frozen=True)
class Jaw:
    """A pair of jaws: travel at the isocentre plane, distance of its effective plane from the source, both in mm."""

    minimum_mm: float
    maximum_mm: float
    transmission: float
    distance_mm: float


@dataclass(frozen=True)
class MlcLimits:
    """What the drives and carriages of an MLC allow; lengths at the isocentre plane.

    Attributes
    ----------
    minimum_gap_mm : float
        Least distance between the tips of a pair at rest; zero where a pair may be closed.
    minimum_moving_gap_mm : float
        The same while the leaves move and the beam is on.
    interdigitation : bool
        Whether a leaf may pass the opposing leaf of a neighbouring pair.
    maximum_speed_mm_s : float
        Of a leaf while the beam is on.
    maximum_spread_mm : float
        Greatest distance along X between the tips of one bank: how far leaves reach out of their carriage.
    """

    minimum_gap_mm: float
    minimum_moving_gap_mm: float
    interdigitation: bool
    maximum_speed_mm_s: float
    maximum_spread_mm: float


@dataclass(frozen=True)
class Mlc:
    """A multileaf collimator whose leaves move along collimator X.

    Attributes
    ----------
    boundaries_mm : tuple of float
        Leaf side positions along Y at the isocentre plane, pairs + 1, rising.
    minimum_mm, maximum_mm : float
        Travel of a leaf tip along X at the isocentre plane.
    leaf_end_offset_mm : float
        How far the radiation's edge lies behind a rounded leaf tip, at the isocentre plane (half the dosimetric leaf
        gap).
    tongue_and_groove_mm : float
        Width, at the isocentre plane, of the strip that a leaf shades beyond its nominal side.
    limits : MlcLimits or None
        None: not stated; intensity-modulated fields cannot be sequenced for such a machine.
    frame_shields : bool
        Whether what stands beside the bank of leaves holds head scatter back as the outermost leaves do. It matters
        where the bank is narrower than the jaws' travel.
    """

    model: str
    boundaries_mm: tuple[float, ...]
    minimum_mm: float
    maximum_mm: float
    transmission: float
    distance_mm: float
    leaf_end_offset_mm: float = 0.0
    tongue_and_groove_mm: float = 0.0
    limits: MlcLimits | None = None
    frame_shields: bool = False

    @property
    def pairs(self) -> int:
        """Number of leaf pairs."""
        return len(self.boundaries_mm) - 1


@dataclass(frozen=True)
class ExtraFocalSource:
    """Photons scattered in the head, mostly by the flattening filter or the primary collimator: a Gaussian source.

    Attributes
    ----------
    weight : float
        Share of the fluence on the axis of an infinitely wide field.
    sigma_mm : float
        One standard deviation in the source's own plane.
    distance_mm : float
        From the focal spot to that plane.
    """

    weight: float
    sigma_mm: float
    distance_mm: float


@dataclass(frozen=True)
class ElectronContamination:
    """Dose of electrons from the head and the air: falls exponentially with depth, grows with the field.

    Attributes
    ----------
    surface_ratio : float
        Dose at the surface of an infinitely wide field over the greatest photon dose there.
    decay_mm : float
        Depth in water in which it falls to 1/e.
    sigma_mm : float
        Spread of the electrons at the isocentre plane.
    """

    surface_ratio: float
    decay_mm: float
    sigma_mm: float


@dataclass(frozen=True)
class MonitorBackscatter:
    """Share of the monitor's signal that comes back from a closed jaw; a field that covers less gets more dose a MU."""

    jaw_x: float
    jaw_y: float


@dataclass(frozen=True)
class ReferenceCalibration:
    """1 MU gives ``dose_Gy_per_MU`` on the axis in water at ``ssd_mm``, ``depth_mm``.

    ``field_mm`` (X, Y) is the jaw setting at the isocentre plane.
    """

    dose_Gy_per_MU: float
    ssd_mm: float
    depth_mm: float
    field_mm: tuple[float, float]


@dataclass(frozen=True)
class Machine:
    """A photon machine.

    Attributes
    ----------
    source_sigma_mm : float
        One standard deviation of the Gaussian focal spot, in the source plane.
    energy_MeV, fluence : tuple of float
        Photon spectrum on the axis: energies and relative number of photons in each bin, adding up to one.
    off_axis_kind : {"point_source", "flat", "radial"}
        In-air fluence across the field: falling as from an isotropic point source, flat at the isocentre plane, or
        by the radial table.
    calibration : ReferenceCalibration or float
        The reference condition, or photons/cm2 in air on the axis at the SAD for each MU (ideal machines).
    softening : tuple of float
        Coefficients of `attenuation_ratio`; empty: not modelled.
    extra_focal, electron_contamination, monitor_backscatter
        Parts of the head; None: not modelled.
    maximum_dose_rate_MU_min : float or None
        MU a minute that the machine delivers at most; None: not stated.
    provenance : dict of str to str
        Source of every part of the model.
    """

    name: str
    title: str
    energy_label: str
    sad_mm: float
    source_sigma_mm: float
    energy_MeV: tuple[float, ...]
    fluence: tuple[float, ...]
    off_axis_kind: str
    off_axis_radius_mm: tuple[float, ...]
    off_axis_ratio: tuple[float, ...]
    jaw_x: Jaw
    jaw_y: Jaw
    field_radius_mm: float
    mlc: Mlc | None
    calibration: ReferenceCalibration | float
    provenance: dict[str, str] = field(hash=False)
    softening: tuple[float, ...] = ()
    extra_focal: ExtraFocalSource | None = None
    electron_contamination: ElectronContamination | None = None
    monitor_backscatter: MonitorBackscatter | None = None
    maximum_dose_rate_MU_min: float | None = None

    def attenuation_ratio(self, radius_mm: np.ndarray) -> np.ndarray:
        """Attenuation in water of a ray through a radius at the isocentre plane, relative to the axis.

        1 + sum of ``softening[n]`` times the angle in degrees to the power n + 1; 1 everywhere without softening.
        """
        angle = np.degrees(np.arctan(np.asarray(radius_mm, dtype=float) / self.sad_mm))
        return 1.0 + sum((c * angle ** (n + 1) for n, c in enumerate(self.softening)), np.zeros_like(angle))

    @property
    def does_not_model(self) -> tuple[str, ...]:
        """Parts of a head that this machine leaves out, for reports."""
        mlc = self.mlc
        return tuple(
            text
            for missing, text in (
                (self.source_sigma_mm == 0, "size of the focal spot"),
                (self.extra_focal is None, "head scatter"),
                (self.off_axis_kind != "radial", "horns or cone of the beam's profile"),
                (not self.softening, "off-axis softening"),
                (self.electron_contamination is None, "electron contamination"),
                (self.monitor_backscatter is None, "backscatter into the monitor"),
                (self.jaw_x.transmission == 0 and self.jaw_y.transmission == 0, "transmission of the jaws"),
                (mlc is not None and mlc.transmission == 0, "transmission of the leaves"),
                (mlc is not None and mlc.leaf_end_offset_mm == 0, "rounded leaf ends"),
                (mlc is not None and mlc.tongue_and_groove_mm == 0, "tongue and groove"),
            )
            if missing
        )

    def for_beam(self, beam: Beam) -> Machine:
        """Return the machine with the leaves of a beam, where the beam says more of them than the machine does.

        Raises
        ------
        MachineError
            A machine without MLC, or leaves narrower than the strip that tongue and groove shade.
        """
        sides, model = beam.leaf_boundaries_mm, beam.leaf_model
        if sides is None and model is None:
            return self
        if self.mlc is None:
            raise MachineError(
                f"Beam {beam.name}: {self.name} has no MLC for the leaves of the plan; choose a machine that has one."
            )
        mlc = self.mlc
        if sides is not None and sides != mlc.boundaries_mm:
            name = f"{len(sides) - 1} leaf pairs of the plan's own widths"
            # Light of the extra-focal source that passes beside a narrow bank would reach 3 % of an open field beyond
            # the jaws, more than linacs may leak (2 %, IEC 60601-2-1): the frame of such an MLC holds it back.
            narrow = sides[0] > self.jaw_y.minimum_mm or sides[-1] < self.jaw_y.maximum_mm
            mlc = replace(
                mlc,
                boundaries_mm=sides,
                model=f"{name}, else as: {mlc.model}",
                frame_shields=mlc.frame_shields or narrow,
            )
        if model is not None:
            mlc = replace(
                mlc,
                transmission=model.transmission,
                leaf_end_offset_mm=model.leaf_end_offset_mm,
                tongue_and_groove_mm=model.tongue_and_groove_mm,
                model=f"{mlc.model}; transmission {100 * model.transmission:.3g} %, leaf ends "
                f"{model.leaf_end_offset_mm:.3g} mm, tongue and groove {model.tongue_and_groove_mm:.3g} mm of the plan",
            )
        if 2 * mlc.tongue_and_groove_mm >= np.diff(mlc.boundaries_mm).min():
            raise MachineError(
                f"Beam {beam.name}: the plan's leaves are down to {np.diff(mlc.boundaries_mm).min():g} mm wide, tongue "
                f"and groove shade {2 * mlc.tongue_and_groove_mm:g} mm of them; choose another machine."
            )
        return self if mlc is self.mlc else replace(self, mlc=mlc)

    def check_aperture(self, aperture: Aperture, owner: str) -> None:
        """Raise `PlanError` when this machine cannot form the aperture."""
        for name, jaw, (low, high) in (
            ("X", self.jaw_x, aperture.jaw_x_mm),
            ("Y", self.jaw_y, aperture.jaw_y_mm),
        ):
            if low < jaw.minimum_mm - 1e-6 or high > jaw.maximum_mm + 1e-6:
                raise PlanError(
                    f"{owner}: {name} jaws {low:g}..{high:g} mm exceed the travel of {self.name}, "
                    f"{jaw.minimum_mm:g}..{jaw.maximum_mm:g} mm."
                )
        leaves = aperture.leaf_positions_mm
        if leaves is None:
            return
        if self.mlc is None:
            raise PlanError(f"{owner}: {self.name} has no MLC; use jaws alone or another machine.")
        if len(leaves) != self.mlc.pairs:
            raise PlanError(f"{owner}: {len(leaves)} leaf pairs given, {self.mlc.model} has {self.mlc.pairs}.")
        for number, (low, high) in enumerate(leaves, start=1):
            if low < self.mlc.minimum_mm - 1e-6 or high > self.mlc.maximum_mm + 1e-6:
                raise PlanError(
                    f"{owner}: leaf pair {number} at {low:g}..{high:g} mm exceeds the travel of {self.mlc.model}, "
                    f"{self.mlc.minimum_mm:g}..{self.mlc.maximum_mm:g} mm."
                )

    def describe_calibration(self) -> str:
        """One line for reports."""
        if isinstance(self.calibration, ReferenceCalibration):
            c = self.calibration
            field = f"{c.field_mm[0] / 10:g} x {c.field_mm[1] / 10:g} cm"
            return (
                f"{c.dose_Gy_per_MU * 100:g} cGy/MU in water at SSD {c.ssd_mm / 10:g} cm, "
                f"depth {c.depth_mm / 10:g} cm, field {field} at the isocentre plane"
            )
        return f"{self.calibration:g} photons/cm2 a MU in air on the axis at {self.sad_mm / 10:g} cm"


def available_machines() -> list[str]:
    """Names of the machines that come with the package."""
    folder = resources.files("DoseEngineLib").joinpath("machines")
    return sorted(
        entry.name.removesuffix(".json")
        for entry in folder.iterdir()
        if entry.name.endswith(".json") and not entry.name.endswith(".schema.json")
    )


def load_machine(name_or_path: str | Path) -> Machine:
    """Load a machine that comes with the package by name, or one from a JSON file by path.

    Raises
    ------
    MachineError
        Unknown name, unreadable file, or a file that violates the schema; the text names the place.
    """
    text = str(name_or_path)
    if text.endswith(".json") or "/" in text or "\\" in text:
        path = Path(text)
        try:
            stamp = path.stat().st_mtime_ns
        except OSError as error:
            raise MachineError(f"Machine file {path} cannot be read: {error.strerror}.") from error
        return _load_file(path, stamp)
    if text not in available_machines():
        raise MachineError(
            f"There is no machine {text!r}; choose one of: {', '.join(available_machines())}, or give a .json file."
        )
    return _load_shipped(text)


def load_beam_machine(beam: Beam) -> Machine:
    """Load the machine of a beam, with the leaves of the beam where it says more of them; see `load_machine`."""
    return load_machine(beam.machine).for_beam(beam)


@lru_cache(maxsize=32)
def _load_shipped(name: str) -> Machine:
    text = resources.files("DoseEngineLib").joinpath("machines", f"{name}.json").read_text(encoding="utf-8")
    return machine_from_json(text, f"{name}.json")


@lru_cache(maxsize=32)
def _load_file(path: Path, stamp: int) -> Machine:
    # stamp: an edited file is read again
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MachineError(f"Machine file {path} cannot be read: {error}.") from error
    return machine_from_json(text, str(path))


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    folder = resources.files("DoseEngineLib").joinpath("machines")
    return json.loads(folder.joinpath(_SCHEMA).read_text(encoding="utf-8"))


def machine_from_json(text: str, where: str = "machine") -> Machine:
    """Validate JSON text against the schema and the rules a schema cannot say, and make a `Machine`."""
    data = read_schema_json(text, where, _schema(), _SCHEMA, MACHINE_SCHEMA_VERSION, MachineError)
    energy = np.array(data["spectrum"]["energy_MeV"], dtype=float)
    fluence = np.array(data["spectrum"]["fluence"], dtype=float)
    if energy.shape != fluence.shape:
        raise MachineError(f"{where}, spectrum: {energy.size} energies but {fluence.size} fluence values.")
    if (np.diff(energy) <= 0).any():
        raise MachineError(f"{where}, spectrum: energies must rise strictly.")
    if fluence.sum() <= 0:
        raise MachineError(f"{where}, spectrum: the fluence is zero everywhere.")
    fluence /= fluence.sum()
    off_axis = data["off_axis"]
    radius, ratio = tuple(off_axis.get("radius_mm", ())), tuple(off_axis.get("ratio", ()))
    if len(radius) != len(ratio) or any(b <= a for a, b in zip(radius, radius[1:])):
        raise MachineError(f"{where}, off_axis: radii must rise strictly and have one ratio each.")
    if radius and (radius[0] != 0 or abs(ratio[0] - 1.0) > 1e-9):
        raise MachineError(f"{where}, off_axis: the table must start with ratio 1 at radius 0.")
    jaws = {axis: Jaw(**data["jaws"][axis]) for axis in "xy"}
    mlc = None
    if "mlc" in data:
        fields = dict(data["mlc"], boundaries_mm=tuple(data["mlc"]["boundaries_mm"]))
        if "limits" in fields:
            fields["limits"] = MlcLimits(**fields["limits"])
            if fields["limits"].minimum_moving_gap_mm < fields["limits"].minimum_gap_mm:
                raise MachineError(f"{where}, mlc/limits: the gap of moving leaves cannot be less than that at rest.")
        mlc = Mlc(**fields)
        if any(b <= a for a, b in zip(mlc.boundaries_mm, mlc.boundaries_mm[1:])):
            raise MachineError(f"{where}, mlc/boundaries_mm: leaf boundaries must rise strictly.")
    for part, name in ((jaws["x"], "jaws/x"), (jaws["y"], "jaws/y"), (mlc, "mlc")):
        if part is None:
            continue
        if part.minimum_mm >= part.maximum_mm:
            raise MachineError(f"{where}, {name}: minimum_mm must be below maximum_mm.")
        if part.distance_mm >= data["sad_mm"]:
            raise MachineError(f"{where}, {name}: distance_mm must be less than sad_mm.")
    if mlc is not None and 2 * mlc.tongue_and_groove_mm >= np.diff(mlc.boundaries_mm).min():
        raise MachineError(f"{where}, mlc/tongue_and_groove_mm: the strip must be narrower than half a leaf.")
    if "extra_focal" in data:
        nearest = min(part.distance_mm for part in (*jaws.values(), mlc) if part is not None)
        if data["extra_focal"]["distance_mm"] >= nearest:
            raise MachineError(f"{where}, extra_focal/distance_mm: the source must lie above jaws and leaves.")
    calibration: ReferenceCalibration | float
    if data["calibration"]["kind"] == "dose_in_water":
        values = {key: value for key, value in data["calibration"].items() if key != "kind"}
        values["field_mm"] = tuple(values["field_mm"])
        calibration = ReferenceCalibration(**values)
    else:
        calibration = float(data["calibration"]["photons_per_cm2_per_MU"])
    machine = Machine(
        name=data["name"],
        title=data["title"],
        energy_label=data["energy_label"],
        sad_mm=float(data["sad_mm"]),
        source_sigma_mm=float(data["source"]["sigma_mm"]),
        energy_MeV=tuple(energy.tolist()),
        fluence=tuple(fluence.tolist()),
        off_axis_kind=off_axis["kind"],
        off_axis_radius_mm=tuple(map(float, radius)),
        off_axis_ratio=tuple(map(float, ratio)),
        jaw_x=jaws["x"],
        jaw_y=jaws["y"],
        field_radius_mm=float(data["jaws"]["field_radius_mm"]),
        mlc=mlc,
        calibration=calibration,
        provenance=dict(data["provenance"]),
        softening=tuple(map(float, off_axis.get("softening", ()))),
        maximum_dose_rate_MU_min=data.get("maximum_dose_rate_MU_min"),
        **{key: kind(**data[key]) for key, kind in _HEAD_PARTS.items() if key in data},
    )
    at_edge = machine.attenuation_ratio(np.linspace(0.0, machine.field_radius_mm, 50))
    if at_edge.min() < 0.5 or at_edge.max() > 2.0:
        raise MachineError(
            f"{where}, off_axis/softening: attenuation must stay within a factor of two of the axis' in the field; "
            f"it reaches {at_edge.min():.2f}..{at_edge.max():.2f}."
        )
    return machine


_HEAD_PARTS = {
    "extra_focal": ExtraFocalSource,
    "electron_contamination": ElectronContamination,
    "monitor_backscatter": MonitorBackscatter,
}
