"""What SlicerRT's plan and beam nodes can hold of a plan, and the plan again from what was changed there.

SlicerRT has one isocentre a plan, static beams without MU, and head-first supine patients. A plan is shown to it by the
first control point of each beam; what it cannot hold stays in the plan, and only what was edited there replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.machine import load_beam_machine, load_machine
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription

# Scenes and tables on disk may keep six significant digits: nearer values are the same one.
_SAME_RELATIVE, _SAME_ABSOLUTE = 1e-5, 1e-9
# SlicerRT's beams have it until somebody sets another.
DEFAULT_SAD_MM = 2000.0
# A patient position is head-first supine seen with the gantry on the other side and the couch turned or mirrored:
# (added to the gantry, sign of the couch, added to the couch), from the rotations in `DoseEngineLib.iec61217`.
_AS_HEAD_FIRST_SUPINE = {"HFS": None, "HFP": (180.0, -1.0, 0.0), "FFS": (0.0, 1.0, 180.0), "FFP": (180.0, -1.0, 180.0)}


@dataclass(frozen=True)
class SlicerRtBeam:
    """The values of a vtkMRMLRTBeamNode.

    Attributes
    ----------
    number : int
        Unique in the plan, given by SlicerRT.
    name : str
    gantry_deg, collimator_deg, couch_deg : float
        For a patient head-first supine.
    jaw_x_mm, jaw_y_mm : (float, float)
    sad_mm : float
    weight : float
        MU a fraction, in a plan that has MU.
    leaf_boundaries_mm : tuple of float or None
    leaf_positions_mm : tuple of (float, float) or None
        Of the MLC table; both None without one.
    """

    number: int
    name: str
    gantry_deg: float
    collimator_deg: float
    couch_deg: float
    jaw_x_mm: tuple[float, float]
    jaw_y_mm: tuple[float, float]
    sad_mm: float
    weight: float
    leaf_boundaries_mm: tuple[float, ...] | None = None
    leaf_positions_mm: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class SlicerRtPlan:
    """The values of a vtkMRMLRTPlanNode and its beams.

    Attributes
    ----------
    name : str
    isocenter_RAS_mm : (3,) tuple of float
    rx_dose_Gy : float or None
        None: as the node has it by default.
    target_segment_ids : tuple of str
    dose_grid_spacing_mm : (3,) tuple of float
    beams : tuple of SlicerRtBeam
        In the order of their numbers.
    """

    name: str
    isocenter_RAS_mm: tuple[float, float, float]
    rx_dose_Gy: float | None
    target_segment_ids: tuple[str, ...]
    dose_grid_spacing_mm: tuple[float, float, float]
    beams: tuple[SlicerRtBeam, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SlicerRtPlan:
        """Read what `to_dict` gave; `SchemaError` when it is damaged."""
        try:
            beams = tuple(SlicerRtBeam(**_tuples(beam)) for beam in data["beams"])
            return cls(**{**_tuples(data), "beams": beams})
        except (TypeError, KeyError, AttributeError) as error:
            raise SchemaError(f"What is stored of the SlicerRT plan is damaged: {error!r}.") from error


def slicerrt_plan(plan: Plan, target_segment_ids: tuple[str, ...] = ()) -> tuple[SlicerRtPlan, tuple[str, ...]]:
    """Return what SlicerRT's nodes hold of a plan, and notes on what they do not.

    Raises
    ------
    PlanError
        Beams with different isocentres: SlicerRT would show and calculate them in the wrong place.
    MachineError
        A machine that is not here: its SAD and leaves are not known.
    """
    isocenters = {beam.isocenter_RAS_mm for beam in plan.beams}
    if len(isocenters) > 1:
        raise PlanError(
            f"Plan {plan.name} has {len(isocenters)} isocentres, SlicerRT has one a plan; make a plan of the beams of "
            "each isocentre and convert them one by one."
        )
    notes = []
    if plan.patient_position != "HFS":
        notes.append(
            f"SlicerRT takes every patient for head-first supine; the angles there are those at which the beams of "
            f"this {plan.patient_position} plan stand in the right place."
        )
    for beam in plan.beams:
        if not beam.is_static:
            notes.append(
                f"Beam {beam.name}: SlicerRT shows the first of its {len(beam.control_points)} control points, and "
                "engines of others would calculate a static field there; the others are kept, and RTPlanning's engines "
                "calculate them."
            )
    if plan.has_MU:
        notes.append("SlicerRT has no MU; the beam weights there are the MU of a fraction.")
    if plan.prescription is None:
        notes.append("The plan has no prescription; the prescribed dose shown in SlicerRT is its default.")
    beams = tuple(_slicerrt_beam(beam, number, plan) for number, beam in enumerate(plan.beams, start=1))
    spacing = (float(plan.dose_grid_spacing_mm),) * 3
    rx_dose_Gy = None if plan.prescription is None else float(plan.prescription.dose_Gy)
    return (
        SlicerRtPlan(plan.name, next(iter(isocenters)), rx_dose_Gy, tuple(target_segment_ids), spacing, beams),
        tuple(notes),
    )


def plan_from_slicerrt(
    now: SlicerRtPlan, segment_names: Mapping[str, str], machine: str
) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan that SlicerRT's nodes describe, which were not made from one of ours, with notes.

    Parameters
    ----------
    now : SlicerRtPlan
    segment_names : mapping of segment ID to structure name
    machine : str

    Raises
    ------
    PlanError
        Values that make no plan, as beams of one name.
    """
    notes = [
        "SlicerRT's plans say neither fractions nor normalization: taken for one fraction, the prescribed dose at the "
        "isocentre.",
        f"SlicerRT's beams name no machine; taken for {machine}.",
        "SlicerRT takes every patient for head-first supine, and so does this plan.",
    ]
    prescription = Prescription(now.rx_dose_Gy, 1, _target(now, segment_names, notes), "point")
    beams = tuple(
        _new_beam(beam, now.isocenter_RAS_mm, machine, "HFS", has_MU=False, notes=notes) for beam in now.beams
    )
    spacing = _spacing(now, notes)
    return Plan(now.name, beams, prescription, "HFS", dose_grid_spacing_mm=spacing), tuple(notes)


def edited_plan(
    plan: Plan, written: SlicerRtPlan, now: SlicerRtPlan, segment_names: Mapping[str, str]
) -> tuple[Plan, tuple[str, ...]]:
    """Return a plan with what was changed in SlicerRT since; without changes it is the very plan, and there is no note.

    Parameters
    ----------
    plan : Plan
        The one that was converted.
    written : SlicerRtPlan
        The nodes right after the conversion.
    now : SlicerRtPlan
        The nodes as they are. Values that differ by less than 0.001 % are the same.
    segment_names : mapping of segment ID to structure name

    Raises
    ------
    PlanError
        Changes that make no plan, as jaws closed beyond themselves.
    """
    notes: list[str] = []
    if now.name != written.name:
        notes.append(f"Renamed in SlicerRT: {now.name}, was {plan.name}.")
        plan = replace(plan, name=now.name)
    prescription = _edited_prescription(plan.prescription, written, now, segment_names, notes)
    spacing = plan.dose_grid_spacing_mm
    if _differ(written.dose_grid_spacing_mm, now.dose_grid_spacing_mm):
        notes.append(f"Changed in SlicerRT: dose grid spacing {_text(now.dose_grid_spacing_mm)} mm.")
        spacing = _spacing(now, notes)
    moved = _differ(written.isocenter_RAS_mm, now.isocenter_RAS_mm)
    if moved:
        notes.append(f"Changed in SlicerRT: isocentre {_text(now.isocenter_RAS_mm)} mm (RAS).")
    isocenter = now.isocenter_RAS_mm if moved else plan.beams[0].isocenter_RAS_mm
    converted = {before.number: (before, beam) for before, beam in zip(written.beams, plan.beams, strict=True)}
    beams = []
    for beam in now.beams:
        if beam.number in converted:
            before, ours = converted.pop(beam.number)
            ours = replace(ours, isocenter_RAS_mm=isocenter) if moved else ours
            beams.append(_edited_beam(ours, before, beam, plan, notes))
        else:
            machine = plan.beams[0].machine
            notes.append(f"Added in SlicerRT: beam {beam.name}, taken for one of {machine}.")
            beams.append(_new_beam(beam, isocenter, machine, plan.patient_position, has_MU=plan.has_MU, notes=notes))
    notes += [f"Removed in SlicerRT: beam {ours.name}." for _, ours in converted.values()]
    # the order of the beams is the plan's own unless some came or went
    same = replace(plan, beams=tuple(beams), prescription=prescription, dose_grid_spacing_mm=spacing)
    return same, tuple(notes)


def with_machine(beam: Beam, shown: SlicerRtBeam, machine: str) -> Beam:
    """Return a beam of another machine, with the leaves of its MLC table; an unknown machine raises `MachineError`."""
    return replace(beam, machine=machine, leaf_boundaries_mm=_own_boundaries(shown, machine), leaf_model=None)


def check_distance(shown: SlicerRtBeam, machine: str) -> float | None:
    """Hold the SAD of SlicerRT's beam, which nobody has to set, to the machine's.

    Returns
    -------
    float or None
        The SAD to set there in mm, where it still is SlicerRT's default; None where it is right.

    Raises
    ------
    PlanError
        Somebody set another one.
    """
    sad_mm = float(load_machine(machine).sad_mm)
    if not _differ(shown.sad_mm, sad_mm):
        return None
    if _differ(shown.sad_mm, DEFAULT_SAD_MM):
        raise PlanError(
            f"Beam {shown.name} has SAD {shown.sad_mm:g} mm, but {machine} has {sad_mm:g} mm; set the SAD to "
            f"{sad_mm:g} mm, or choose a machine of that distance."
        )
    return sad_mm


def _slicerrt_beam(beam: Beam, number: int, plan: Plan) -> SlicerRtBeam:
    point, machine = beam.control_points[0], load_beam_machine(beam)
    leaves, sides = point.aperture.leaf_positions_mm, None
    if leaves is not None:
        machine.check_aperture(point.aperture, f"Beam {beam.name}")
        sides = tuple(float(side) for side in machine.mlc.boundaries_mm)
    gantry, couch = float(point.gantry_deg), float(point.couch_deg)
    turned = _AS_HEAD_FIRST_SUPINE[plan.patient_position]
    if turned is not None:
        gantry, couch = (gantry + turned[0]) % 360.0, (turned[1] * couch + turned[2]) % 360.0
    return SlicerRtBeam(
        number,
        beam.name,
        gantry,
        float(point.collimator_deg),
        couch,
        point.aperture.jaw_x_mm,
        point.aperture.jaw_y_mm,
        float(machine.sad_mm),
        float(beam.meterset_MU if plan.has_MU else beam.weight),
        sides,
        leaves,
    )


def _angles(beam: SlicerRtBeam, position: str) -> tuple[float, float, float]:
    """Gantry, collimator and couch angle for a patient in this position."""
    turned = _AS_HEAD_FIRST_SUPINE[position]
    if turned is None:
        return beam.gantry_deg, beam.collimator_deg, beam.couch_deg
    gantry = (beam.gantry_deg - turned[0]) % 360.0
    return gantry, beam.collimator_deg, (turned[1] * (beam.couch_deg - turned[2])) % 360.0


def _new_beam(
    beam: SlicerRtBeam, isocenter: tuple[float, float, float], machine: str, position: str, *, has_MU: bool, notes: list
) -> Beam:
    gantry, collimator, couch = _angles(beam, position)
    model = load_machine(machine)
    if _differ(beam.sad_mm, float(model.sad_mm)):
        notes.append(
            f"Beam {beam.name}: SlicerRT has SAD {beam.sad_mm:g} mm, {machine} has {model.sad_mm:g} mm; the machine's "
            "is used."
        )
    result = Beam.static_field(
        beam.name,
        Aperture(beam.jaw_x_mm, beam.jaw_y_mm, beam.leaf_positions_mm),
        gantry_deg=gantry,
        collimator_deg=collimator,
        couch_deg=couch,
        isocenter_RAS_mm=isocenter,
        machine=machine,
        meterset_MU=beam.weight if has_MU else None,
        weight=1.0 if has_MU else beam.weight,
    )
    return replace(result, leaf_boundaries_mm=_own_boundaries(beam, machine))


def _own_boundaries(beam: SlicerRtBeam, machine: str) -> tuple[float, ...] | None:
    """The leaf boundaries of an MLC table where they are not the machine's."""
    if beam.leaf_boundaries_mm is None:
        return None
    mlc = load_machine(machine).mlc
    if mlc is not None and not _differ(tuple(mlc.boundaries_mm), beam.leaf_boundaries_mm):
        return None
    return beam.leaf_boundaries_mm


def _edited_beam(ours: Beam, before: SlicerRtBeam, now: SlicerRtBeam, plan: Plan, notes: list[str]) -> Beam:
    said = f"Changed in SlicerRT: beam {ours.name}:"
    points = ours.control_points
    gantry, collimator, couch = _angles(now, plan.patient_position)
    angles = {"gantry_deg": gantry, "collimator_deg": collimator, "couch_deg": couch}
    for field, value in angles.items():
        if _differ(getattr(before, field), getattr(now, field)):
            points, extent = _with_value(points, field, value)
            notes.append(f"{said} {field.removesuffix('_deg')} angle {value:g} degrees{extent}.")
    for field in ("jaw_x_mm", "jaw_y_mm", "leaf_positions_mm"):
        value = getattr(now, field)
        if _differ(getattr(before, field), value):
            value = _kept(getattr(points[0].aperture, field), getattr(before, field), value)
            points, extent = _with_value(points, field, value)
            what = f"{field[4].upper()} jaws {_text(value)} mm" if field.startswith("jaw") else "leaf positions"
            notes.append(f"{said} {what}{extent}.")
    changed: dict[str, Any] = {}
    if _differ(before.leaf_boundaries_mm, now.leaf_boundaries_mm):
        changed["leaf_boundaries_mm"] = _own_boundaries(now, ours.machine)
        notes.append(f"{said} " + ("no MLC." if now.leaf_boundaries_mm is None else "leaf boundaries."))
    if _differ(before.weight, now.weight):
        changed["meterset_MU" if plan.has_MU else "weight"] = now.weight
        notes.append(f"{said} " + (f"{now.weight:g} MU." if plan.has_MU else f"weight {now.weight:g}."))
    if _differ(before.sad_mm, now.sad_mm):
        notes.append(
            f"{said} SAD {now.sad_mm:g} mm. It is the machine's, {before.sad_mm:g} mm, that is used; choose a machine "
            "with another SAD if that is what you want."
        )
    if now.name != before.name:
        changed["name"] = now.name
        notes.append(f"{said} renamed {now.name}.")
    if points is not ours.control_points:
        changed["control_points"] = points
    # in one go: leaf positions and boundaries belong together
    return replace(ours, **changed) if changed else ours


def _with_value(points: tuple[ControlPoint, ...], field: str, value: Any) -> tuple[tuple[ControlPoint, ...], str]:
    """Set a value in all control points where it is the same in all, else in the first, which SlicerRT shows."""

    def read(point: ControlPoint) -> Any:
        return getattr(point if field.endswith("_deg") else point.aperture, field)

    def write(point: ControlPoint) -> ControlPoint:
        if field.endswith("_deg"):
            return replace(point, **{field: value})
        return replace(point, aperture=replace(point.aperture, **{field: value}))

    if all(read(point) == read(points[0]) for point in points):
        return tuple(write(point) for point in points), ""
    return (write(points[0]), *points[1:]), " at its first control point; the others are as they were"


def _edited_prescription(
    prescription: Prescription | None,
    written: SlicerRtPlan,
    now: SlicerRtPlan,
    segment_names: Mapping[str, str],
    notes: list[str],
) -> Prescription | None:
    if _differ(written.rx_dose_Gy, now.rx_dose_Gy):
        notes.append(f"Changed in SlicerRT: prescribed dose {now.rx_dose_Gy:g} Gy.")
        if prescription is None:
            prescription = Prescription(now.rx_dose_Gy, 1, None, "none")
        else:
            prescription = replace(prescription, dose_Gy=now.rx_dose_Gy)
    if written.target_segment_ids != now.target_segment_ids:
        target = _target(now, segment_names, notes)
        notes.append(f"Changed in SlicerRT: target {target or 'none'}.")
        if prescription is not None:
            prescription = replace(prescription, target=target)
    return prescription


def _target(now: SlicerRtPlan, segment_names: Mapping[str, str], notes: list[str]) -> str | None:
    if not now.target_segment_ids:
        return None
    first = now.target_segment_ids[0]
    if first not in segment_names:
        raise PlanError(
            f"Plan {now.name}: SlicerRT's target segment {first!r} is not in its segmentation; choose the target there."
        )
    if len(now.target_segment_ids) > 1:
        notes.append(
            f"SlicerRT's plan has {len(now.target_segment_ids)} targets; the prescription is that of "
            f"{segment_names[first]}."
        )
    return segment_names[first]


def _spacing(now: SlicerRtPlan, notes: list[str]) -> float:
    finest = min(now.dose_grid_spacing_mm)
    if _differ(now.dose_grid_spacing_mm, (finest,) * 3):
        notes.append(
            f"The dose grid is equally spaced here; the finest of SlicerRT's spacings, {finest:g} mm, is used."
        )
    return finest


def _kept(ours: Any, before: Any, now: Any) -> Any:
    """The new values, with our own exact ones wherever they were not changed."""
    if isinstance(now, tuple) and isinstance(before, tuple) and ours is not None and len(now) == len(before):
        return tuple(_kept(*values) for values in zip(ours, before, now, strict=True))
    return now if _differ(before, now) else ours


def _differ(before: Any, now: Any) -> bool:
    if isinstance(before, tuple) and isinstance(now, tuple):
        return len(before) != len(now) or any(_differ(a, b) for a, b in zip(before, now, strict=True))
    if isinstance(before, float) and isinstance(now, float):
        return not math.isclose(before, now, rel_tol=_SAME_RELATIVE, abs_tol=_SAME_ABSOLUTE)
    return before != now


def _text(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _tuple(value) for key, value in data.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value
