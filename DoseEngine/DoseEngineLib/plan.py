"""The plan: frozen dataclasses that say what is to be delivered, in the terms of DICOM RT and IEC 61217.

Angles are degrees (IEC 61217), lengths mm, jaw and leaf positions are at the isocentre plane in the collimator frame.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from DoseEngineLib.closed_surface import ClosedSurface
from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import BeamFrame, beam_frame, check_patient_position

PLAN_SCHEMA_VERSION = 2
# Written where nothing of version 2 (leaves of the plan's own) is needed, so that older programs read it.
_FIRST_SCHEMA_VERSION = 1
ROLES = ("GTV", "CTV", "PTV", "ORGAN", "AVOIDANCE", "EXTERNAL", "CONTROL", "SUPPORT", "OTHER")
NORMALIZATIONS = ("point", "mean", "D50", "D95", "none")


def _finite(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float, np.integer, np.floating)) or not math.isfinite(value):
            raise PlanError(f"{owner}: {name} must be a finite number; got {value!r}.")


def _pair(owner: str, name: str, values: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in values)
    except (TypeError, ValueError):
        raise PlanError(f"{owner}: {name} must be two positions in mm; got {values!r}.") from None
    _finite(owner, **{f"{name}[0]": low, f"{name}[1]": high})
    if low > high:
        raise PlanError(f"{owner}: {name} is closed beyond itself ({low} > {high} mm); give (lower, upper).")
    return low, high


@dataclass(frozen=True, eq=False)
class Structure:
    """A segmented structure on a grid.

    Attributes
    ----------
    name : str
        Name, TG-263 where one exists.
    mask : (k, j, i) bool array
    grid : Grid
    role : str
        One of `ROLES` (DICOM RT ROI Interpreted Type, ICRU 50/62).
    color : (3,) tuple of float
        RGB in 0..1.
    outline : ContourStack or ClosedSurface, optional
        The contours or the surface that the mask was filled from, all of it. DVHs and their volumes are then exact to
        fractions of a voxel. Whoever changes the mask leaves the outline out; one that encloses another volume than
        the mask, by more than the mask's outermost voxels, raises `PlanError`.
    """

    name: str
    mask: np.ndarray
    grid: Grid
    role: str = "ORGAN"
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    outline: ContourStack | ClosedSurface | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise PlanError("A structure needs a name.")
        if self.role not in ROLES:
            raise PlanError(f"Structure {self.name}: role {self.role!r} is unknown; use one of {', '.join(ROLES)}.")
        mask = np.ascontiguousarray(self.mask, dtype=bool)
        if mask.shape != self.grid.shape:
            raise PlanError(f"Structure {self.name}: mask shape {mask.shape} is not the grid's {self.grid.shape}.")
        mask.setflags(write=False)
        object.__setattr__(self, "mask", mask)
        if self.outline is not None:
            self._check_outline()

    def _check_outline(self) -> None:
        """Refuse the outline of another shape, such as that of the mask before a margin."""
        if self.is_empty:
            # an outline may pass between all voxel centres
            return
        part = np.pad(self.mask[self.grid.crop(self.mask)[1]], 1)
        faces = sum(int(np.count_nonzero(np.diff(part, axis=axis))) for axis in range(3))
        difference_cm3 = abs(self.outline.volume_cm3 - self.volume_cm3)
        if difference_cm3 > faces * self.grid.voxel_volume_cm3:
            raise PlanError(
                f"Structure {self.name}: its outline encloses {self.outline.volume_cm3:.4g} cm3, its mask "
                f"{self.volume_cm3:.4g} cm3. Give the outline that the mask was filled from, or none."
            )

    @property
    def is_empty(self) -> bool:
        """Whether no voxel belongs to the structure."""
        return not self.mask.any()

    @property
    def volume_cm3(self) -> float:
        """Volume by voxel count in cm3."""
        return float(np.count_nonzero(self.mask)) * self.grid.voxel_volume_cm3

    def centroid_RAS_mm(self) -> np.ndarray:
        """Centre of mass in RAS mm; raises `PlanError` for an empty structure."""
        if self.is_empty:
            raise PlanError(f"Structure {self.name} is empty; contour it or choose another.")
        k, j, i = np.nonzero(self.mask)
        return self.grid.index_to_ras(np.array([i.mean(), j.mean(), k.mean()]))


@dataclass(frozen=True)
class Aperture:
    """What the collimator leaves open: jaws, and an MLC when there is one.

    Attributes
    ----------
    jaw_x_mm, jaw_y_mm : (float, float)
        (X1, X2) and (Y1, Y2) at the isocentre plane; asymmetric allowed, also over the axis.
    leaf_positions_mm : tuple of (float, float) or None
        A pair (bank 1, bank 2 = lower and upper X) for each leaf pair of the machine's MLC, or None: MLC parked open,
        the jaws alone define the field.
    """

    jaw_x_mm: tuple[float, float] = (-50.0, 50.0)
    jaw_y_mm: tuple[float, float] = (-50.0, 50.0)
    leaf_positions_mm: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "jaw_x_mm", _pair("Aperture", "jaw_x_mm", self.jaw_x_mm))
        object.__setattr__(self, "jaw_y_mm", _pair("Aperture", "jaw_y_mm", self.jaw_y_mm))
        if self.leaf_positions_mm is not None:
            leaves = tuple(
                _pair("Aperture", f"leaf_positions_mm[{n}]", pair) for n, pair in enumerate(self.leaf_positions_mm)
            )
            if not leaves:
                raise PlanError("Aperture: leaf_positions_mm is empty; use None for a parked MLC.")
            object.__setattr__(self, "leaf_positions_mm", leaves)


@dataclass(frozen=True)
class ControlPoint:
    """One control point (DICOM RT): machine angles, aperture and the meterset delivered up to it.

    Attributes
    ----------
    gantry_deg, collimator_deg, couch_deg : float
        IEC 61217 gantry, beam limiting device and patient support angles.
    aperture : Aperture
    cumulative_meterset_weight : float
        Fraction 0..1 of the beam's meterset delivered when this control point is reached.
    """

    gantry_deg: float = 0.0
    collimator_deg: float = 0.0
    couch_deg: float = 0.0
    aperture: Aperture = field(default_factory=Aperture)
    cumulative_meterset_weight: float = 0.0

    def __post_init__(self) -> None:
        _finite(
            "Control point",
            gantry_deg=self.gantry_deg,
            collimator_deg=self.collimator_deg,
            couch_deg=self.couch_deg,
            cumulative_meterset_weight=self.cumulative_meterset_weight,
        )
        if not 0.0 <= self.cumulative_meterset_weight <= 1.0:
            raise PlanError(
                f"Control point: cumulative_meterset_weight {self.cumulative_meterset_weight} is not in 0..1."
            )


@dataclass(frozen=True)
class LeafModel:
    """What is known of the leaves of a plan's own MLC and differs from the machine's.

    Attributes
    ----------
    transmission : float
        Share of the fluence that passes closed leaves.
    leaf_end_offset_mm : float
        How far the radiation's edge lies behind a leaf tip, at the isocentre plane (half the dosimetric leaf gap).
    tongue_and_groove_mm : float
        Width, at the isocentre plane, of the strip that a leaf shades beyond its nominal side.
    """

    transmission: float
    leaf_end_offset_mm: float
    tongue_and_groove_mm: float

    def __post_init__(self) -> None:
        for name, low, high in (
            ("transmission", 0.0, 0.2),
            ("leaf_end_offset_mm", -1.0, 5.0),
            ("tongue_and_groove_mm", 0.0, 2.0),
        ):
            value = getattr(self, name)
            _finite("Leaf model", **{name: value})
            if not low <= value <= high:
                raise PlanError(f"Leaf model: {name} {value} is not in {low:g}..{high:g}.")
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Beam:
    """One beam.

    Attributes
    ----------
    name : str
    control_points : tuple of ControlPoint
        At least two, cumulative weights rising from 0 to 1. A static field has two alike.
    isocenter_RAS_mm : (3,) tuple of float
    machine : str
        Name or path that `DoseEngineLib.machine.load_machine` accepts.
    meterset_MU : float or None
        Monitor units a fraction; None: the beam has only a weight and the prescription sets the MU.
    weight : float
        Relative MU among the beams of a plan without MU; not used where ``meterset_MU`` is given.
    leaf_boundaries_mm : tuple of float or None
        Leaf sides along collimator Y at the isocentre plane, pairs + 1, rising, of an MLC whose leaves are not those of
        ``machine``: the leaf positions are its. None: the machine's own MLC.
    leaf_model : LeafModel or None
        How leaves shape the radiation, where it is known better than from ``machine``.
    """

    name: str
    control_points: tuple[ControlPoint, ...]
    isocenter_RAS_mm: tuple[float, float, float]
    machine: str = "generic_6mv"
    meterset_MU: float | None = None
    weight: float = 1.0
    leaf_boundaries_mm: tuple[float, ...] | None = None
    leaf_model: LeafModel | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise PlanError("A beam needs a name.")
        owner = f"Beam {self.name}"
        points = tuple(self.control_points)
        if len(points) < 2:
            raise PlanError(f"{owner}: a beam needs at least two control points (a static field: the same one twice).")
        weights = [point.cumulative_meterset_weight for point in points]
        if weights[0] != 0.0 or abs(weights[-1] - 1.0) > 1e-6 or any(b < a for a, b in zip(weights, weights[1:])):
            raise PlanError(f"{owner}: cumulative meterset weights must rise from 0 to 1; got {weights}.")
        iso = tuple(float(v) for v in self.isocenter_RAS_mm)
        if len(iso) != 3:
            raise PlanError(f"{owner}: the isocentre needs three RAS coordinates in mm; got {self.isocenter_RAS_mm}.")
        _finite(owner, isocenter_R=iso[0], isocenter_A=iso[1], isocenter_S=iso[2], weight=self.weight)
        if self.weight < 0:
            raise PlanError(f"{owner}: weight {self.weight} is negative.")
        if self.meterset_MU is not None:
            _finite(owner, meterset_MU=self.meterset_MU)
            if self.meterset_MU < 0:
                raise PlanError(f"{owner}: meterset {self.meterset_MU} MU is negative.")
        object.__setattr__(self, "control_points", points)
        object.__setattr__(self, "isocenter_RAS_mm", iso)
        if self.leaf_boundaries_mm is not None:
            object.__setattr__(self, "leaf_boundaries_mm", self._checked_boundaries(owner, points))

    def _checked_boundaries(self, owner: str, points: tuple[ControlPoint, ...]) -> tuple[float, ...]:
        try:
            sides = tuple(float(side) for side in self.leaf_boundaries_mm)
        except (TypeError, ValueError):
            raise PlanError(
                f"{owner}: leaf_boundaries_mm must be positions in mm; got {self.leaf_boundaries_mm!r}."
            ) from None
        _finite(owner, **{f"leaf_boundaries_mm[{n}]": side for n, side in enumerate(sides)})
        if len(sides) < 2 or any(b <= a for a, b in zip(sides, sides[1:])):
            raise PlanError(
                f"{owner}: leaf_boundaries_mm must be two or more positions that rise strictly; got {sides}."
            )
        for point in points:
            leaves = point.aperture.leaf_positions_mm
            if leaves is not None and len(leaves) != len(sides) - 1:
                raise PlanError(
                    f"{owner}: {len(leaves)} leaf pairs are set, but leaf_boundaries_mm are those of {len(sides) - 1}."
                )
        return sides

    @classmethod
    def open_field(
        cls,
        name: str = "Field 1",
        *,
        gantry_deg: float = 0.0,
        collimator_deg: float = 0.0,
        couch_deg: float = 0.0,
        jaw_x_mm: tuple[float, float] = (-50.0, 50.0),
        jaw_y_mm: tuple[float, float] = (-50.0, 50.0),
        isocenter_RAS_mm: Sequence[float] = (0.0, 0.0, 0.0),
        machine: str = "generic_6mv",
        meterset_MU: float | None = 100.0,
        weight: float = 1.0,
    ) -> Beam:
        """Make a static open rectangular field, the jaws exactly as given; pass ``meterset_MU=None`` to use weights."""
        aperture = Aperture(tuple(jaw_x_mm), tuple(jaw_y_mm))
        return cls.static_field(
            name,
            aperture,
            gantry_deg=gantry_deg,
            collimator_deg=collimator_deg,
            couch_deg=couch_deg,
            isocenter_RAS_mm=isocenter_RAS_mm,
            machine=machine,
            meterset_MU=meterset_MU,
            weight=weight,
        )

    @classmethod
    def static_field(
        cls,
        name: str,
        aperture: Aperture,
        *,
        gantry_deg: float = 0.0,
        collimator_deg: float = 0.0,
        couch_deg: float = 0.0,
        isocenter_RAS_mm: Sequence[float] = (0.0, 0.0, 0.0),
        machine: str = "generic_6mv",
        meterset_MU: float | None = 100.0,
        weight: float = 1.0,
    ) -> Beam:
        """Make a static field with any aperture."""
        points = tuple(
            ControlPoint(float(gantry_deg), float(collimator_deg), float(couch_deg), aperture, cumulative)
            for cumulative in (0.0, 1.0)
        )
        return cls(name, points, tuple(isocenter_RAS_mm), machine, meterset_MU, weight)

    @property
    def is_static(self) -> bool:
        """Whether nothing but the meterset changes between the control points."""
        first = replace(self.control_points[0], cumulative_meterset_weight=0.0)
        return all(replace(p, cumulative_meterset_weight=0.0) == first for p in self.control_points)

    def frame(self, patient_position: str, control_point: int = 0) -> BeamFrame:
        """Collimator frame in RAS at a control point."""
        point = self.control_points[control_point]
        return beam_frame(
            point.gantry_deg, point.collimator_deg, point.couch_deg, self.isocenter_RAS_mm, patient_position
        )


@dataclass(frozen=True)
class Prescription:
    """What is prescribed, and how a plan without MU is scaled to it.

    Attributes
    ----------
    dose_Gy : float
        Total dose of the course.
    fractions : int
    target : str or None
        Structure the normalization refers to (not needed for "point" and "none").
    normalization : {"point", "mean", "D50", "D95", "none"}
        "point": dose at ``point_RAS_mm`` (the isocentre of the first beam when None) equals ``dose_Gy``; "mean", "D50",
        "D95": that metric of the target equals it; "none": the MU stand as they are.
    point_RAS_mm : (3,) tuple or None
    """

    dose_Gy: float
    fractions: int = 1
    target: str | None = None
    normalization: str = "point"
    point_RAS_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        _finite("Prescription", dose_Gy=self.dose_Gy)
        if self.dose_Gy <= 0:
            raise PlanError(f"Prescription: dose {self.dose_Gy} Gy must be positive.")
        if int(self.fractions) != self.fractions or self.fractions < 1:
            raise PlanError(f"Prescription: fractions must be a whole number of at least 1; got {self.fractions}.")
        if self.normalization not in NORMALIZATIONS:
            raise PlanError(
                f"Prescription: normalization {self.normalization!r} is unknown; use {', '.join(NORMALIZATIONS)}."
            )
        if self.normalization in ("mean", "D50", "D95") and not self.target:
            raise PlanError(f"Prescription: normalization {self.normalization!r} needs a target structure.")
        if self.point_RAS_mm is not None:
            point = tuple(float(v) for v in self.point_RAS_mm)
            if len(point) != 3:
                raise PlanError("Prescription: point_RAS_mm needs three coordinates.")
            _finite("Prescription", R=point[0], A=point[1], S=point[2])
            object.__setattr__(self, "point_RAS_mm", point)
        object.__setattr__(self, "fractions", int(self.fractions))


@dataclass(frozen=True)
class Plan:
    """A treatment plan.

    Attributes
    ----------
    name : str
    beams : tuple of Beam
        Beam names are unique. All beams carry MU, or none does.
    prescription : Prescription or None
        None: one fraction, MU as given.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
    engine : str
        Label of the dose engine.
    engine_options : mapping
        Options handed to the engine; JSON values.
    dose_grid_spacing_mm : float
    """

    name: str
    beams: tuple[Beam, ...]
    prescription: Prescription | None = None
    patient_position: str = "HFS"
    engine: str = "photon-pencil-beam"
    engine_options: dict[str, Any] = field(default_factory=dict)
    dose_grid_spacing_mm: float = 2.5

    def __post_init__(self) -> None:
        if not self.name:
            raise PlanError("A plan needs a name.")
        beams = tuple(self.beams)
        if not beams:
            raise PlanError(f"Plan {self.name}: add at least one beam.")
        names = [beam.name for beam in beams]
        if len(set(names)) != len(names):
            raise PlanError(f"Plan {self.name}: beam names must be unique; got {', '.join(names)}.")
        with_MU = [beam.meterset_MU is not None for beam in beams]
        if any(with_MU) and not all(with_MU):
            raise PlanError(f"Plan {self.name}: give MU to every beam or to none (weights).")
        if not any(with_MU):
            if self.prescription is None or self.prescription.normalization == "none":
                raise PlanError(
                    f"Plan {self.name}: beams have weights but no MU; give them MU, or a prescription with a "
                    "normalization (point, mean, D50, D95)."
                )
            if not any(beam.weight > 0 for beam in beams):
                raise PlanError(f"Plan {self.name}: every beam weight is zero.")
        check_patient_position(self.patient_position)
        _finite(f"Plan {self.name}", dose_grid_spacing_mm=self.dose_grid_spacing_mm)
        if not 0.5 <= self.dose_grid_spacing_mm <= 20.0:
            raise PlanError(f"Plan {self.name}: dose grid spacing {self.dose_grid_spacing_mm} mm is not in 0.5..20 mm.")
        object.__setattr__(self, "beams", beams)

    @property
    def fractions(self) -> int:
        """Number of fractions of the course (1 without a prescription)."""
        return self.prescription.fractions if self.prescription else 1

    @property
    def has_MU(self) -> bool:
        """Whether the beams carry MU."""
        return self.beams[0].meterset_MU is not None

    def with_metersets(self, metersets_MU: Sequence[float]) -> Plan:
        """Return the plan with these MU a fraction, one a beam."""
        beams = tuple(replace(beam, meterset_MU=float(mu)) for beam, mu in zip(self.beams, metersets_MU, strict=True))
        return replace(self, beams=beams)

    def hash(self) -> str:
        """SHA-256 of the plan's canonical JSON: the same delivered plan, the same hash."""
        return hashlib.sha256(plan_to_json(self).encode()).hexdigest()


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON-ready values with its schema version."""
    own_leaves = any(beam.leaf_boundaries_mm is not None or beam.leaf_model is not None for beam in plan.beams)
    return {
        "schema_version": PLAN_SCHEMA_VERSION if own_leaves else _FIRST_SCHEMA_VERSION,
        "name": plan.name,
        "patient_position": plan.patient_position,
        "engine": plan.engine,
        "engine_options": dict(plan.engine_options),
        "dose_grid_spacing_mm": plan.dose_grid_spacing_mm,
        "prescription": None
        if plan.prescription is None
        else {
            "dose_Gy": plan.prescription.dose_Gy,
            "fractions": plan.prescription.fractions,
            "target": plan.prescription.target,
            "normalization": plan.prescription.normalization,
            "point_RAS_mm": plan.prescription.point_RAS_mm,
        },
        "beams": [beam_to_dict(beam) for beam in plan.beams],
    }


def beam_to_dict(beam: Beam) -> dict[str, Any]:
    """Return a beam as JSON-ready values, as `plan_to_dict` has them."""
    return {
        "name": beam.name,
        "machine": beam.machine,
        "isocenter_RAS_mm": beam.isocenter_RAS_mm,
        "meterset_MU": beam.meterset_MU,
        "weight": beam.weight,
        **({} if beam.leaf_boundaries_mm is None else {"leaf_boundaries_mm": beam.leaf_boundaries_mm}),
        **({} if beam.leaf_model is None else {"leaf_model": asdict(beam.leaf_model)}),
        "control_points": [
            {
                "gantry_deg": point.gantry_deg,
                "collimator_deg": point.collimator_deg,
                "couch_deg": point.couch_deg,
                "cumulative_meterset_weight": point.cumulative_meterset_weight,
                "jaw_x_mm": point.aperture.jaw_x_mm,
                "jaw_y_mm": point.aperture.jaw_y_mm,
                "leaf_positions_mm": point.aperture.leaf_positions_mm,
            }
            for point in beam.control_points
        ],
    }


def plan_to_json(plan: Plan) -> str:
    """Canonical JSON of a plan: sorted keys, shortest exact floats; `plan_from_json` gives the identical plan."""
    return json.dumps(plan_to_dict(plan), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plan_from_json(text: str) -> Plan:
    """Read a plan written by `plan_to_json`.

    Raises
    ------
    SchemaError
        When the text is not such JSON or its schema is newer than this version knows.
    """
    try:
        data = json.loads(text)
        version = data["schema_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise SchemaError(
            f"This is not a stored plan ({error}); load its scene or file again, or make the plan anew."
        ) from error
    if version not in range(_FIRST_SCHEMA_VERSION, PLAN_SCHEMA_VERSION + 1):
        raise SchemaError(
            f"The plan has schema version {version}; this version of RTPlanning reads {_FIRST_SCHEMA_VERSION} to "
            f"{PLAN_SCHEMA_VERSION}. "
            "Update RTPlanning; the stored plan was left as it is."
        )
    try:
        return _plan_from_dict(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise SchemaError(f"The stored plan is damaged: {error!r}.") from error


def _plan_from_dict(data: dict[str, Any]) -> Plan:
    beams = []
    for beam in data["beams"]:
        points = tuple(
            ControlPoint(
                point["gantry_deg"],
                point["collimator_deg"],
                point["couch_deg"],
                Aperture(tuple(point["jaw_x_mm"]), tuple(point["jaw_y_mm"]), point["leaf_positions_mm"]),
                point["cumulative_meterset_weight"],
            )
            for point in beam["control_points"]
        )
        beams.append(
            Beam(
                beam["name"],
                points,
                tuple(beam["isocenter_RAS_mm"]),
                beam["machine"],
                beam["meterset_MU"],
                beam["weight"],
                beam.get("leaf_boundaries_mm"),
                LeafModel(**beam["leaf_model"]) if beam.get("leaf_model") is not None else None,
            )
        )
    prescription = data["prescription"]
    return Plan(
        data["name"],
        tuple(beams),
        None if prescription is None else Prescription(**prescription),
        data["patient_position"],
        data["engine"],
        data["engine_options"],
        data["dose_grid_spacing_mm"],
    )
