"""Plan files: about twenty lines of TOML that a person writes, read into a `PlanRequest`.

::

    name = "Four-field box"
    goals = ["PTV D95% >= 47.5 Gy"]     # optional; top-level keys stand before the first [table]

    [prescription]
    dose_Gy = 50.0
    fractions = 25
    target = "PTV"
    normalization = "point"             # point (the isocentre, or point = [r, a, s]), mean, D50, D95, none

    [defaults]                          # optional; for every beam that does not say otherwise
    machine = "generic_6mv"
    isocenter = "target"                # or [r, a, s] in mm
    aperture = "mlc"                    # open (then give field), jaws, mlc
    margin_mm = 7.0

    [[beam]]
    name = "AP"
    gantry = 0                          # degrees, IEC 61217; also collimator, couch
    field = [100, 100]                  # exactly as set; or jaws_x, jaws_y = [low, high]; or fit = "mlc", margin_mm = 7
    weight = 1.0                        # or MU = 120 (a fraction)

    [dose]                              # optional
    engine = "photon-pencil-beam"
    spacing_mm = 2.5

    [optimization]                      # optional: fluence is optimized, beams then need no aperture and no weight
    objectives = ["PTV uniform 51 Gy, weight 100", "Cord Max <= 40 Gy, weight 20"]

    [case]                              # optional
    ct_series_uid = "1.2.3"             # also structure_set_uid, patient_position, skip_rois = ["Marker"]
    density_overrides_g_cm3 = {Couch = 0.0}

Many beams that differ in their angles only are written in one table in place of ``[[beam]]``::

    [beams]
    gantry = [0, 72, 144, 216, 288]     # collimator, couch: a number, or one for each beam

Nothing is guessed: a key that is unknown, of the wrong type, out of range or at odds with another raises
`PlanFileError`.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from DoseEngineLib.aperture import fit_jaws, fit_mlc
from DoseEngineLib.engine import available_engines
from DoseEngineLib.errors import CaseError, EvaluationError, PlanError, PlanFileError, PlanningError
from DoseEngineLib.iec61217 import PATIENT_POSITIONS, beam_frame
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import NORMALIZATIONS, Aperture, Beam, Plan, Prescription, Structure
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.sequencing.modulated_beams import METHODS
from OptimizerLib.solvers import available_solvers
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.goals import GOAL_EXAMPLE, parse_goal
from RTPlanningLib.optimization_request import SETTINGS, OptimizationRequest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

APERTURES = ("open", "jaws", "mlc")
FITS = ("jaws", "mlc")
DEFAULT_MACHINE = "generic_6mv"
DEFAULT_ENGINE = "photon-pencil-beam"
# Leaves that modulate fluence leave much to scatter and transmission: what they deliver is worth the better engine.
DEFAULT_OPTIMIZED_ENGINE = "photon-collapsed-cone"
DEFAULT_SPACING_MM = 2.5
DEFAULT_MARGIN_MM = 7.0

_TOP_KEYS = ("name", "goals", "prescription", "defaults", "beams", "beam", "optimization", "dose", "case")
_PRESCRIPTION_KEYS = ("dose_Gy", "fractions", "target", "normalization", "point")
_DEFAULTS_KEYS = ("machine", "isocenter", "collimator", "couch", "aperture", "field", "margin_mm")
_BEAM_KEYS = (
    *("name", "gantry", "collimator", "couch", "isocenter", "machine"),
    *("field", "jaws_x", "jaws_y", "fit", "margin_mm", "weight", "MU"),
)
_BEAMS_KEYS = ("gantry", "collimator", "couch")
_SHAPE_KEYS = ("aperture", "field", "jaws_x", "jaws_y", "fit", "margin_mm", "weight", "MU")
_OPTIMIZATION_KEYS = ("objectives", "targets", *SETTINGS)
_DOSE_KEYS = ("engine", "spacing_mm", "options")
_CASE_KEYS = ("ct_series_uid", "structure_set_uid", "patient_position", "skip_rois", "density_overrides_g_cm3")

# Far outside any machine or patient: what lies beyond is a slip of the pen (cm for mm, a missing decimal point).
_ANGLE_DEG = (-360.0, 360.0)
_JAW_MM = (-500.0, 500.0)
_COORDINATE_MM = (-10000.0, 10000.0)
_MARGIN_MM = (0.0, 100.0)
# A direction before its fluence is optimized lets nothing through.
_CLOSED = Aperture((0.0, 0.0), (0.0, 0.0))


@dataclass(frozen=True)
class BeamRequest:
    """A beam as a plan file asks for it.

    Attributes
    ----------
    name : str
    gantry_deg, collimator_deg, couch_deg : float
        IEC 61217.
    aperture : Aperture or None
        The jaws exactly as set; None: fitted to the target.
    fit : {"jaws", "mlc"} or None
        What is fitted to the target's beam's-eye view when there is no ``aperture``. Neither: a direction, whose
        fluence is to be optimized.
    margin_mm : float
        Margin of the fit at the isocentre plane.
    isocenter_RAS_mm : (3,) tuple of float or None
        None: the target's centroid.
    machine : str
        What `DoseEngineLib.machine.load_machine` accepts.
    weight : float
        Relative MU; not used where ``meterset_MU`` is given.
    meterset_MU : float or None
        MU a fraction.
    """

    name: str
    gantry_deg: float = 0.0
    collimator_deg: float = 0.0
    couch_deg: float = 0.0
    aperture: Aperture | None = None
    fit: str | None = None
    margin_mm: float = DEFAULT_MARGIN_MM
    isocenter_RAS_mm: tuple[float, float, float] | None = None
    machine: str = DEFAULT_MACHINE
    weight: float = 1.0
    meterset_MU: float | None = None


@dataclass(frozen=True)
class PlanRequest:
    """What a plan file asks for, before it meets a case.

    Attributes
    ----------
    name : str
    beams : tuple of BeamRequest
    prescription : Prescription or None
        None only where every beam has MU.
    engine : str
    engine_options : dict
    dose_grid_spacing_mm : float
    goals : tuple of str
        Empty: the case's own goals.
    patient_position : str or None
        None: the case's.
    ct_series_uid, structure_set_uid : str or None
        Which series of a DICOM folder.
    skip_rois : tuple of str
        Structures of a DICOM structure set to leave out, such as one with broken contours.
    density_overrides_g_cm3 : mapping of structure name to mass density
        Added to the case's own.
    optimization : OptimizationRequest or None
        Then the beams are directions, without apertures.
    source : str
        The file it came from, for error texts.
    """

    name: str
    beams: tuple[BeamRequest, ...]
    prescription: Prescription | None = None
    engine: str = DEFAULT_ENGINE
    engine_options: dict[str, Any] = field(default_factory=dict)
    dose_grid_spacing_mm: float = DEFAULT_SPACING_MM
    goals: tuple[str, ...] = ()
    patient_position: str | None = None
    ct_series_uid: str | None = None
    structure_set_uid: str | None = None
    skip_rois: tuple[str, ...] = ()
    density_overrides_g_cm3: Mapping[str, float] = field(default_factory=dict)
    optimization: OptimizationRequest | None = None
    source: str = "plan"

    def apply_to(self, case: Case) -> Case:
        """Return the case with the goals, patient position and density overrides that the plan file states."""
        for name in self.density_overrides_g_cm3:
            self._structure(case, name, "[case]", "density_overrides_g_cm3")
        return replace(
            case,
            goals=self.goals or case.goals,
            patient_position=self.patient_position or case.patient_position,
            density_overrides_g_cm3={**case.density_overrides_g_cm3, **self.density_overrides_g_cm3},
        )

    def build(self, case: Case) -> Plan:
        """Make the plan for a case: isocentres and fitted apertures from its target.

        Beams whose fluence is to be optimized are closed and have 0 MU.

        Raises
        ------
        PlanFileError
            When the case lacks a structure that the file names, or the beams cannot be made from it.
        """
        position = self.patient_position or case.patient_position
        target = None
        if self.prescription is not None and self.prescription.target:
            target = self._structure(case, self.prescription.target, "[prescription]", "target")
        if self.optimization is not None:
            for key, names in (
                ("objectives", self.optimization.goals.structures),
                ("targets", self.optimization.targets),
            ):
                for name in names:
                    self._structure(case, name, "[optimization]", key)
        beams = tuple(
            self._beam(request, f'[[beam]] {number} "{request.name}"', target, position)
            for number, request in enumerate(self.beams, start=1)
        )
        try:
            return Plan(
                self.name,
                beams,
                self.prescription,
                position,
                self.engine,
                dict(self.engine_options),
                self.dose_grid_spacing_mm,
            )
        except PlanError as error:
            raise PlanFileError(f"{self.source}: {error}") from error

    def _structure(self, case: Case, name: str, table: str, key: str) -> Structure:
        try:
            structure = case.structure(name)
        except CaseError as error:
            hint = _did_you_mean(name, [s.name for s in case.structures])
            raise PlanFileError(f'{self.source}, {table}, key "{key}": {error}{hint}') from error
        if structure.is_empty:
            raise PlanFileError(f'{self.source}, {table}, key "{key}": structure {name!r} is empty; contour it first.')
        return structure

    def _beam(self, request: BeamRequest, where: str, target: Structure | None, position: str) -> Beam:
        is_direction = request.aperture is None and request.fit is None
        if target is None and (request.isocenter_RAS_mm is None or request.fit is not None):
            key = "isocenter" if request.isocenter_RAS_mm is None else "fit"
            raise PlanFileError(
                f'{self.source}, {where}, key "{key}": needs a target structure; name it as target in [prescription].'
            )
        isocenter = request.isocenter_RAS_mm
        if isocenter is None:
            # A hundredth of a millimetre keeps plans readable and is far below any set-up accuracy.
            isocenter = tuple(round(float(v), 2) + 0.0 for v in target.centroid_RAS_mm())
        try:
            machine = load_machine(request.machine)
            aperture = _CLOSED if is_direction else request.aperture
            if aperture is None:
                frame = beam_frame(request.gantry_deg, request.collimator_deg, request.couch_deg, isocenter, position)
                fit = fit_mlc if request.fit == "mlc" else fit_jaws
                aperture = fit(target, frame, machine, request.margin_mm)
            return Beam.static_field(
                request.name,
                aperture,
                gantry_deg=request.gantry_deg,
                collimator_deg=request.collimator_deg,
                couch_deg=request.couch_deg,
                isocenter_RAS_mm=isocenter,
                machine=request.machine,
                meterset_MU=0.0 if is_direction else request.meterset_MU,
                weight=request.weight,
            )
        except PlanningError as error:
            raise PlanFileError(f"{self.source}, {where}: {error}") from error

    def to_toml(self) -> str:
        """Return the request as a plan file; `parse_plan_file` gives the same request back."""
        lines = [f"name = {_toml(self.name)}"]
        if self.goals:
            lines += ["goals = [", *(f"    {_toml(goal)}," for goal in self.goals), "]"]
        if self.prescription is not None:
            rx = self.prescription
            lines += ["", "[prescription]", f"dose_Gy = {_toml(rx.dose_Gy)}", f"fractions = {_toml(rx.fractions)}"]
            if rx.target:
                lines += [f"target = {_toml(rx.target)}"]
            lines += [f"normalization = {_toml(rx.normalization)}"]
            if rx.point_RAS_mm is not None:
                lines += [f"point = {_toml(rx.point_RAS_mm)}"]
        shared = self._shared_by_all_beams()
        if shared:
            lines += ["", "[defaults]", *(f"{key} = {_toml(value)}" for key, value in shared.items())]
        if self._differ_in_angles_only(shared):
            lines += ["", "[beams]", f"gantry = {_toml([beam.gantry_deg for beam in self.beams])}"]
            for key, angles in (
                ("collimator", [beam.collimator_deg for beam in self.beams]),
                ("couch", [beam.couch_deg for beam in self.beams]),
            ):
                if any(angles):
                    lines += [f"{key} = {_toml(angles)}"]
            beams: tuple[BeamRequest, ...] = ()
        else:
            beams = self.beams
        for beam in beams:
            lines += ["", "[[beam]]", f"name = {_toml(beam.name)}", f"gantry = {_toml(beam.gantry_deg)}"]
            values = {"collimator": beam.collimator_deg or None, "couch": beam.couch_deg or None}
            if beam.aperture is not None:
                values |= {"jaws_x": beam.aperture.jaw_x_mm, "jaws_y": beam.aperture.jaw_y_mm}
            elif beam.fit and "aperture" not in shared:
                values |= {"fit": beam.fit, "margin_mm": beam.margin_mm}
            values |= {"isocenter": _isocenter_value(beam), "machine": beam.machine}
            if self.optimization is None:
                values |= {"weight": beam.weight} if beam.meterset_MU is None else {"MU": beam.meterset_MU}
            lines += [f"{key} = {_toml(v)}" for key, v in values.items() if v is not None and key not in shared]
        if self.optimization is not None:
            lines += ["", "[optimization]", "objectives = ["]
            lines += [*(f"    {_toml(row)}," for row in self.optimization.goals.to_entries()), "]"]
            if self.optimization.targets:
                lines += [f"targets = {_toml(self.optimization.targets)}"]
            lines += [f"{key} = {_toml(value)}" for key, value in self.optimization.changed_settings()]
        lines += ["", "[dose]", f"engine = {_toml(self.engine)}", f"spacing_mm = {_toml(self.dose_grid_spacing_mm)}"]
        if self.engine_options:
            lines += [f"options = {_toml(self.engine_options)}"]
        case = {
            "ct_series_uid": self.ct_series_uid,
            "structure_set_uid": self.structure_set_uid,
            "patient_position": self.patient_position,
            "skip_rois": self.skip_rois or None,
            "density_overrides_g_cm3": dict(self.density_overrides_g_cm3) or None,
        }
        if any(value is not None for value in case.values()):
            lines += ["", "[case]", *(f"{key} = {_toml(value)}" for key, value in case.items() if value is not None)]
        return "\n".join(lines) + "\n"

    def _differ_in_angles_only(self, shared: Mapping[str, Any]) -> bool:
        """Whether the short table [beams] says all there is to say of the beams."""
        names = _direction_names([(beam.gantry_deg, beam.couch_deg) for beam in self.beams])
        return (
            len(self.beams) > 1
            and [beam.name for beam in self.beams] == names
            and {"machine", "isocenter"} <= shared.keys()
            and all(beam.aperture is None and beam.meterset_MU is None and beam.weight == 1.0 for beam in self.beams)
            and (self.optimization is not None or "aperture" in shared)
        )

    def _shared_by_all_beams(self) -> dict[str, Any]:
        """Values for [defaults]: those that every beam has alike."""
        values = [
            {
                "machine": beam.machine,
                "isocenter": _isocenter_value(beam),
                "aperture": beam.fit,
                "margin_mm": beam.margin_mm if beam.fit else None,
            }
            for beam in self.beams
        ]
        shared = {key: v for key, v in values[0].items() if v is not None and all(o[key] == v for o in values)}
        if not {"aperture", "margin_mm"} <= shared.keys():
            shared.pop("aperture", None)
            shared.pop("margin_mm", None)
        return shared if len(self.beams) > 1 else {}


def _isocenter_value(beam: BeamRequest) -> str | tuple[float, float, float]:
    return "target" if beam.isocenter_RAS_mm is None else beam.isocenter_RAS_mm


def read_plan_file(path: str | Path) -> PlanRequest:
    """Read a plan file.

    Raises
    ------
    PlanFileError
        The text names the file, the table and the key, and says what is allowed.
    """
    path = Path(path)
    try:
        # Editors on Windows may put a byte-order mark first.
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise PlanFileError(f"There is no plan file {path}; check the path.") from None
    except OSError as error:
        raise PlanFileError(f"The plan file {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise PlanFileError(f"{path} is not a text file in UTF-8; save it as UTF-8.") from error
    return parse_plan_file(text, str(path))


def parse_plan_file(text: str, source: str = "plan") -> PlanRequest:
    """Read the text of a plan file; ``source`` names it in error texts and anchors a relative machine path."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanFileError(f"{source} is not valid TOML: {error}. Texts need quotes, lists need [ ].") from error
    top = _Table(source, "", data, _TOP_KEYS)
    prescription = _read_prescription(top)
    defaults = top.table("defaults", _DEFAULTS_KEYS)
    optimization = _read_optimization(top)
    tables = _beam_tables(top)
    if optimization is not None:
        for table in (defaults, *tables):
            for key in _SHAPE_KEYS:
                if key in table.data:
                    table.fail(key, "is what the optimization finds; leave it out, or leave [optimization] out")
    beams = tuple(
        _read_beam(table, defaults, number, prescription, optimization is not None)
        for number, table in enumerate(tables, start=1)
    )
    _check_beams(top, beams)
    # optimized fluence comes as MU, which a normalization may scale afterwards
    with_MU = beams[0].meterset_MU is not None
    if prescription is None and not with_MU and optimization is None:
        top.fail(
            None, "the table [prescription] is missing; add one with dose_Gy, fractions, target, or give each beam MU"
        )
    if prescription is not None and optimization is None:
        prescription = _with_normalization(top, prescription, with_MU)
    elif prescription is not None and prescription.point_RAS_mm is not None:
        prescription = replace(prescription, normalization="point")
    dose = top.table("dose", _DOSE_KEYS)
    engine = dose.text("engine", DEFAULT_ENGINE if optimization is None else DEFAULT_OPTIMIZED_ENGINE)
    known = [info.label for info in available_engines()]
    if engine not in known:
        dose.fail("engine", f"there is no dose engine {engine!r}; use one of {', '.join(known)}", engine, known)
    case = top.table("case", _CASE_KEYS)
    return PlanRequest(
        name=top.text("name"),
        beams=beams,
        prescription=prescription,
        engine=engine,
        engine_options=dose.options("options"),
        dose_grid_spacing_mm=dose.number("spacing_mm", (0.5, 20.0), DEFAULT_SPACING_MM),
        goals=_read_goals(top),
        patient_position=case.choice("patient_position", PATIENT_POSITIONS, None),
        ct_series_uid=case.text("ct_series_uid", None),
        structure_set_uid=case.text("structure_set_uid", None),
        skip_rois=case.texts("skip_rois", "Marker"),
        density_overrides_g_cm3=case.numbers("density_overrides_g_cm3", (0.0, 22.6)),
        optimization=optimization,
        source=source,
    )


def _read_goals(top: _Table) -> tuple[str, ...]:
    goals = top.texts("goals", GOAL_EXAMPLE)
    for number, goal in enumerate(goals, start=1):
        try:
            parse_goal(goal)
        except EvaluationError as error:
            raise PlanFileError(f'{top.source}, key "goals", entry {number}: {error}') from error
    return goals


def _read_prescription(top: _Table) -> Prescription | None:
    if "prescription" not in top.data:
        return None
    table = top.table("prescription", _PRESCRIPTION_KEYS)
    dose_Gy = table.number("dose_Gy", (0.0, 1000.0))
    if dose_Gy == 0:
        table.fail("dose_Gy", "must be more than 0 Gy")
    normalization = table.choice("normalization", NORMALIZATIONS, None)
    target = table.text("target", None)
    point = table.vector("point", 3, _COORDINATE_MM, None)
    if normalization in ("mean", "D50", "D95") and target is None:
        table.fail("target", f'is missing; normalization "{normalization}" needs a target structure')
    if point is not None and normalization not in (None, "point"):
        table.fail("point", f'goes with normalization "point", not "{normalization}"; leave one out')
    return Prescription(
        dose_Gy=dose_Gy,
        fractions=table.whole("fractions", (1, 1000)),
        target=target,
        # which default is right depends on the beams: settled once they are read
        normalization=normalization or "none",
        point_RAS_mm=point,
    )


def _with_normalization(top: _Table, prescription: Prescription, with_MU: bool) -> Prescription:
    table = top.table("prescription", _PRESCRIPTION_KEYS)
    stated = "normalization" in table.data
    if with_MU and ((stated and prescription.normalization != "none") or prescription.point_RAS_mm is not None):
        table.fail(
            "normalization",
            'the beams have MU, which already set the dose; use "none", or give the beams weight in place of MU',
        )
    if not with_MU and stated and prescription.normalization == "none":
        table.fail(
            "normalization", 'is "none" but the beams have weights only; give them MU, or use point, mean, D50, D95'
        )
    return prescription if stated or with_MU else replace(prescription, normalization="point")


def _read_optimization(top: _Table) -> OptimizationRequest | None:
    if "optimization" not in top.data:
        return None
    table = top.table("optimization", _OPTIMIZATION_KEYS)
    entries = table.data.get("objectives")
    if not isinstance(entries, list) or not entries:
        table.fail("objectives", f'must be a list of rows, as ["PTV uniform 51 Gy, weight 100"]; got {_shown(entries)}')
    readers = {
        "solver": lambda: table.choice("solver", tuple(info.label for info in available_solvers())),
        "delivery": lambda: table.choice("delivery", METHODS),
    }
    usual = FluenceSettings()
    settings = {}
    for key in SETTINGS:
        if key not in table.data:
            continue
        if key in readers:
            settings[key] = readers[key]()
        elif isinstance(getattr(usual, key), bool):
            settings[key] = table.flag(key)
        elif isinstance(getattr(usual, key), int):
            settings[key] = table.whole(key, (0, 100_000))
        else:
            settings[key] = table.number(key, (0.0, 1000.0))
    try:
        goals = PlanningGoals.from_entries(entries)
        if not goals.levels:
            table.fail("objectives", "hold no objective, only limits or terms of the fluence; add one for the target")
        return OptimizationRequest(goals, table.texts("targets", "PTV"), FluenceSettings(**settings))
    except OptimizationError as error:
        raise PlanFileError(f"{table.source}, {table.where}: {error}") from error


def _beam_tables(top: _Table) -> list[_Table]:
    """One table a beam, from [[beam]] or written out from the short [beams]."""
    if "beams" not in top.data:
        return top.tables("beam")
    short = top.table("beams", _BEAMS_KEYS)
    if "beam" in top.data:
        short.fail(None, "and [[beam]] are both given; keep one")
    gantry = short.angles("gantry")
    if not gantry:
        short.fail("gantry", "must be a list of angles, as [0, 72, 144, 216, 288]")
    angles = {"gantry": gantry}
    for key in ("collimator", "couch"):
        values = short.angles(key)
        if values and len(values) not in (1, len(gantry)):
            short.fail(key, f"must be one angle, or one for each of the {len(gantry)} beams; got {len(values)}")
        if values:
            angles[key] = values * len(gantry) if len(values) == 1 else values
    entries = [dict(zip(angles, values, strict=True)) for values in zip(*angles.values(), strict=True)]
    names = _direction_names([(entry["gantry"], entry.get("couch", 0.0)) for entry in entries])
    return [
        _Table(top.source, "[beams]", {"name": name, **entry}, _BEAM_KEYS)
        for name, entry in zip(names, entries, strict=True)
    ]


def _direction_names(gantry_and_couch_deg: Iterable[tuple[float, float]]) -> list[str]:
    """Names of beams by their angles, IEC 61217."""
    return [f"Gantry {g:g}" + (f" couch {c:g}" if c else "") for g, c in gantry_and_couch_deg]


def _read_beam(
    table: _Table, defaults: _Table, number: int, prescription: Prescription | None, is_direction: bool
) -> BeamRequest:
    name = table.text("name", f"Beam {number}")
    table.where += f' "{name}"'
    if "weight" in table.data and "MU" in table.data:
        table.fail("MU", "and weight are both given; keep one")
    aperture, fit = (None, None) if is_direction else _read_aperture(table, defaults)
    if fit is None and "margin_mm" in table.data:
        table.fail(
            "margin_mm", 'goes with fit = "mlc" or "jaws"; the open field is exactly as set, leave margin_mm out'
        )
    margin_mm = defaults.number("margin_mm", _MARGIN_MM, DEFAULT_MARGIN_MM)
    margin_mm = table.number("margin_mm", _MARGIN_MM, margin_mm) if fit is not None else DEFAULT_MARGIN_MM
    isocenter = _read_isocenter(table, _read_isocenter(defaults, None))
    if prescription is None or not prescription.target:
        if fit is not None:
            table.fail("fit", "needs a target structure; name it as target in [prescription]")
        if isocenter is None:
            table.fail("isocenter", "is the target by default; name a target in [prescription] or give [r, a, s] in mm")
    return BeamRequest(
        name=name,
        gantry_deg=table.angle("gantry"),
        collimator_deg=table.angle("collimator", defaults.angle("collimator", 0.0)),
        couch_deg=table.angle("couch", defaults.angle("couch", 0.0)),
        aperture=aperture,
        fit=fit,
        margin_mm=margin_mm,
        isocenter_RAS_mm=isocenter,
        machine=_read_machine(table, _read_machine(defaults, DEFAULT_MACHINE)),
        weight=table.number("weight", (0.0, 1e6), 1.0),
        meterset_MU=table.number("MU", (0.0, 1e6), None),
    )


def _read_aperture(table: _Table, defaults: _Table) -> tuple[Aperture | None, str | None]:
    """Return (aperture, None) for a field as set, (None, fit) for a fitted one."""
    default_kind = defaults.choice("aperture", APERTURES, None)
    default_field = defaults.field("field")
    if default_field is not None and default_kind in FITS:
        defaults.fail("field", f'is an open field, but aperture is "{default_kind}"; keep one')
    jaws = [key for key in ("jaws_x", "jaws_y") if key in table.data]
    given = [key for key in ("field", "fit") if key in table.data] + jaws[:1]
    if len(given) > 1:
        table.fail(given[1], f'and "{given[0]}" are both given; keep one of field, jaws_x with jaws_y, or fit')
    if len(jaws) == 1:
        table.fail(jaws[0], "needs its partner: give both jaws_x and jaws_y as [low, high] in mm")
    if jaws:
        return Aperture(table.interval("jaws_x"), table.interval("jaws_y")), None
    if "field" in table.data:
        return table.field("field"), None
    if "fit" in table.data:
        return None, table.choice("fit", FITS)
    if default_kind in FITS:
        return None, default_kind
    if default_field is not None:
        return default_field, None
    table.fail(
        None,
        "no aperture is given; add field = [x, y] in mm, jaws_x and jaws_y = [low, high], or fit = "
        '"mlc" or "jaws" with margin_mm (or set aperture in [defaults])',
    )


def _read_isocenter(table: _Table, default: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    value = table.data.get("isocenter")
    if value is None:
        return default
    if isinstance(value, str):
        if value != "target":
            table.fail("isocenter", f'must be "target" or [r, a, s] in mm; got {_shown(value)}', value, ["target"])
        return None
    return table.vector("isocenter", 3, _COORDINATE_MM)


def _read_machine(table: _Table, default: str) -> str:
    name = table.text("machine", None)
    if name is None:
        return default
    if name.endswith(".json") or "/" in name or "\\" in name:
        # A path is meant from where the plan file lies, whatever the working folder.
        return str(Path(table.source).parent.absolute() / name)
    return name


def _check_beams(top: _Table, beams: tuple[BeamRequest, ...]) -> None:
    names = [beam.name for beam in beams]
    for name in names:
        if names.count(name) > 1:
            top.fail("beam", f'two beams are named "{name}"; give each its own name')
    with_MU = [beam.meterset_MU is not None for beam in beams]
    if any(with_MU) and not all(with_MU):
        without = names[with_MU.index(False)]
        top.fail("beam", f'give MU to every beam or to none; "{without}" has none')
    if not any(with_MU) and not any(beam.weight > 0 for beam in beams):
        top.fail("beam", "every weight is 0; give at least one beam a weight above 0")


class _Table:
    """A table of the file: takes typed values by key and says where it is when one is wrong."""

    def __init__(self, source: str, where: str, data: dict[str, Any], keys: tuple[str, ...]) -> None:
        self.source = source
        self.where = where
        self.data = data
        for key in data:
            if key not in keys:
                allowed = f"allowed here: {', '.join(keys)}"
                if key in ("name", "goals") and where:
                    allowed = f'"{key}" belongs at the top of the file, before the first [table]; {allowed}'
                self.fail(key, f"is not known; {allowed}", key, keys)

    def fail(self, key: str | None, text: str, value: str = "", choices: Iterable[str] = ()) -> NoReturn:
        place = ", ".join(part for part in (self.source, self.where, f'key "{key}"' if key else "") if part)
        raise PlanFileError(f"{place}: {text}.{_did_you_mean(value, choices)}")

    def table(self, key: str, keys: tuple[str, ...]) -> _Table:
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"must be a table: write [{key}] on a line of its own; got {_shown(value)}")
        return _Table(self.source, f"[{key}]", value, keys)

    def tables(self, key: str) -> list[_Table]:
        value = self.data.get(key)
        if value is None or value == []:
            self.fail(None, f"there is no beam; add at least one [[{key}]]")
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.fail(key, f"must be written [[{key}]], with two brackets, one for each {key}")
        return [_Table(self.source, f"[[{key}]] {n}", entry, _BEAM_KEYS) for n, entry in enumerate(value, start=1)]

    def _take(self, key: str, default: tuple[Any, ...], expected: str) -> Any:
        if key not in self.data and not default:
            self.fail(key, f"is missing; it must be {expected}")
        return self.data.get(key)

    def number(self, key: str, span: tuple[float, float], *default: Any) -> Any:
        expected = f"a number in {span[0]:g}..{span[1]:g}"
        value = self._take(key, default, expected)
        if value is None:
            return default[0]
        if not _is_number(value) or not span[0] <= value <= span[1]:
            self.fail(key, f"must be {expected}; got {_shown(value)}")
        return float(value)

    def whole(self, key: str, span: tuple[int, int]) -> int:
        expected = f"a whole number in {span[0]}..{span[1]}"
        value = self._take(key, (), expected)
        if not _is_number(value) or not span[0] <= value <= span[1] or value != int(value):
            self.fail(key, f"must be {expected}; got {_shown(value)}")
        return int(value)

    def angle(self, key: str, *default: float) -> float:
        # DICOM keeps angles in 0..360
        return self.number(key, _ANGLE_DEG, *default) % 360.0

    def angles(self, key: str) -> list[float]:
        """A list of angles, of a single number one; empty when not given."""
        value = self.data.get(key, [])
        listed = value if isinstance(value, list) else [value]
        low, high = _ANGLE_DEG
        if not all(_is_number(angle) and low <= angle <= high for angle in listed):
            self.fail(key, f"must be a list of numbers in {low:g}..{high:g}; got {_shown(value)}")
        return [float(angle) % 360.0 for angle in listed]

    def flag(self, key: str) -> bool:
        value = self.data[key]
        if not isinstance(value, bool):
            self.fail(key, f"must be true or false; got {_shown(value)}")
        return value

    def text(self, key: str, *default: Any) -> Any:
        value = self._take(key, default, "a text in quotes")
        if value is None:
            return default[0]
        if not isinstance(value, str) or not value.strip():
            self.fail(key, f"must be a text in quotes, not empty; got {_shown(value)}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], *default: Any) -> Any:
        expected = "one of " + ", ".join(f'"{choice}"' for choice in choices)
        value = self._take(key, default, expected)
        if value is None:
            return default[0]
        if not isinstance(value, str) or value not in choices:
            self.fail(key, f"must be {expected}; got {_shown(value)}", str(value), choices)
        return value

    def texts(self, key: str, example: str) -> tuple[str, ...]:
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, str) and entry.strip() for entry in value):
            self.fail(key, f'must be a list of texts, as ["{example}"]; got {_shown(value)}')
        return tuple(value)

    def vector(self, key: str, size: int, span: tuple[float, float], *default: Any) -> Any:
        expected = f"a list of {size} numbers in {span[0]:g}..{span[1]:g} mm"
        value = self._take(key, default, expected)
        if value is None:
            return default[0]
        if (
            not isinstance(value, list)
            or len(value) != size
            or not all(_is_number(v) and span[0] <= v <= span[1] for v in value)
        ):
            self.fail(key, f"must be {expected}; got {_shown(value)}")
        return tuple(float(v) for v in value)

    def interval(self, key: str) -> tuple[float, float]:
        low, high = self.vector(key, 2, _JAW_MM)
        if low >= high:
            self.fail(key, f"must be [low, high] with low below high; got [{low:g}, {high:g}]")
        return low, high

    def field(self, key: str) -> Aperture | None:
        size = self.vector(key, 2, (0.0, 2 * _JAW_MM[1]), None)
        if size is None:
            return None
        if min(size) == 0:
            self.fail(key, "must be [x, y], both more than 0 mm")
        return Aperture((-size[0] / 2, size[0] / 2), (-size[1] / 2, size[1] / 2))

    def numbers(self, key: str, span: tuple[float, float]) -> dict[str, float]:
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"must be a table of structure = number, as {{Couch = 0.0}}; got {_shown(value)}")
        for name, entry in value.items():
            if not _is_number(entry) or not span[0] <= entry <= span[1]:
                self.fail(key, f"of {_shown(name)} must be a number in {span[0]:g}..{span[1]:g}; got {_shown(entry)}")
        return {name: float(entry) for name, entry in value.items()}

    def options(self, key: str) -> dict[str, Any]:
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"must be a table of engine options; got {_shown(value)}")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            self.fail(key, f"may hold texts, finite numbers, true/false, lists and tables only; got {_shown(value)}")
        return value


def _is_number(value: Any) -> bool:
    # true and false are integers to Python, not to a person
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    )


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:
        # an integer too long to print
        text = "a very large number"
    return text if len(text) <= 60 else text[:57] + "..."


def _did_you_mean(value: str, choices: Iterable[str]) -> str:
    by_fold = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(value.casefold(), by_fold, n=1, cutoff=0.6) if value else []
    return f' Did you mean "{by_fold[close[0]]}"?' if close else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # a JSON string is a TOML basic string, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value if isinstance(value, int) else float(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(entry)}" for key, entry in value.items()) + "}"
    return "[" + ", ".join(_toml(entry) for entry in value) + "]"
