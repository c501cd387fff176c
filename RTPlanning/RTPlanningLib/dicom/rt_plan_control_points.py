"""Control points of an RT Plan: what is given once is carried on, wide turns are divided.

DICOM PS3.3 C.8.8.14: an attribute that does not change within a beam stands at the first control point only; leaf
positions are those of bank 1 (the X1 side) in the order of the leaf boundaries, then those of bank 2; a rotation
direction holds for the segment after its control point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from DoseEngineLib.errors import CaseError
from DoseEngineLib.plan import Aperture, ControlPoint
from RTPlanningLib.dicom.dataset import decimal_strings, number, numbers, required, text, value, whole_number

_JAWS = {"X": "x", "ASYMX": "x", "Y": "y", "ASYMY": "y"}
_LEAVES = "MLCX"
# Leaves written as rounded decimals may overlap by this much; what overlaps more is no closed pair.
_OVERLAP_MM = 0.02
_SAME_POINT_MM = 0.01
# Rounding may turn an angle back by less than this, which is no full turn the other way.
_SAME_ANGLE_DEG = 0.01
# Engines take arcs in steps of up to 10 degrees; wider ones are divided into steps of at most this.
_WIDEST_STEP_DEG, _STEP_DEG = 10.0, 5.0
_ANGLES = {
    "gantry_deg": ("GantryAngle", "GantryRotationDirection", "CW"),
    "collimator_deg": ("BeamLimitingDeviceAngle", "BeamLimitingDeviceRotationDirection", "CC"),
    "couch_deg": ("PatientSupportAngle", "PatientSupportRotationDirection", "CC"),
}
_LEAST_WEIGHT_SHARE = 1e-4


@dataclass(frozen=True)
class Devices:
    """Beam limiting devices of a beam.

    Attributes
    ----------
    jaws : dict of "x" or "y" to device type
        Such as ``{"x": "ASYMX", "y": "Y"}``; an axis without jaws is not in it.
    leaf_boundaries_mm : tuple of float or None
        Of an MLC with leaves along X; None without MLC.
    """

    jaws: dict[str, str]
    leaf_boundaries_mm: tuple[float, ...] | None


@dataclass(frozen=True)
class ReadControlPoints:
    """Control points as a plan holds them.

    Attributes
    ----------
    points : tuple of ControlPoint
    isocenter_LPS_mm : (3,) array
    divided : int
        Segments that were divided because they turn too far.
    drawn_in : bool
        Whether leaf tips stood further out than the machine's can, behind its jaws, and were drawn in.
    """

    points: tuple[ControlPoint, ...]
    isocenter_LPS_mm: np.ndarray
    divided: int
    drawn_in: bool = False


def read_devices(beam: Dataset, where: str) -> Devices:
    """Read what limits a beam.

    Raises
    ------
    CaseError
        Leaves that move along Y or lie in two layers, none or twice the same device, malformed leaf boundaries.
    """
    jaws: dict[str, str] = {}
    boundaries = None
    for item in required(beam, "BeamLimitingDeviceSequence", where):
        kind = text(item, "RTBeamLimitingDeviceType", where).upper()
        if kind in _JAWS:
            if _JAWS[kind] in jaws:
                raise CaseError(
                    f"{where}: BeamLimitingDeviceSequence (300A,00B6) has two pairs of {_JAWS[kind].upper()} jaws "
                    f"({jaws[_JAWS[kind]]}, {kind}); export the plan again."
                )
            jaws[_JAWS[kind]] = kind
        elif kind == _LEAVES and boundaries is None:
            pairs = whole_number(item, "NumberOfLeafJawPairs", where)
            sides = decimal_strings(item, "LeafPositionBoundaries", where)
            if pairs < 1 or sides.size != pairs + 1 or not (np.diff(sides) > 0).all():
                raise CaseError(
                    f"{where}: LeafPositionBoundaries (300A,00BE) must be {pairs + 1} positions that rise, for {pairs} "
                    f"leaf pairs; got {sides.size}. Export the plan again."
                )
            boundaries = tuple(sides.tolist())
        else:
            raise CaseError(
                f"{where}: RT Beam Limiting Device Type (300A,00B8) {kind or 'without a name'} cannot be calculated: "
                "one MLC with leaves along X and one pair of jaws along X and along Y can."
            )
    if not jaws and boundaries is None:
        raise CaseError(f"{where}: BeamLimitingDeviceSequence (300A,00B6) is empty; export the plan again.")
    return Devices(jaws, boundaries)


def read_control_points(
    items: Sequence[Dataset],
    devices: Devices,
    wide_open: Aperture,
    final_weight: float,
    where: str,
    leaf_travel_mm: tuple[float, float] | None = None,
) -> ReadControlPoints:
    """Read the control points of a beam.

    Parameters
    ----------
    items : sequence of Dataset
        Control Point Sequence (300A,0111).
    devices : Devices
    wide_open : Aperture
        Jaws of the machine as far open as they go, for axes along which the plan has none.
    final_weight : float
        Final Cumulative Meterset Weight (300A,010E).
    where : str
        File and beam, for messages.
    leaf_travel_mm : (float, float), optional
        Of the machine. Leaf tips beyond it that jaws cover are drawn in to it, which changes no dose.

    Raises
    ------
    CaseError
        A tag that is missing or malformed, or values that contradict each other; the text names file, beam, control
        point and tag.
    """
    if len(items) < 2:
        raise CaseError(
            f"{where}: ControlPointSequence (300A,0111) has {len(items)} control point(s); a beam has at least two. "
            "Export the plan again."
        )
    held: dict[str, float] = {}
    positions: dict[str, np.ndarray] = {}
    turns: list[dict[str, str]] = []
    isocenter = None
    drawn_in = False
    points = []
    weights = []
    for index, item in enumerate(items):
        at = f"{where}, control point {index}"
        _read_positions(item, devices, positions, at, first=index == 0)
        directions = {}
        for name, (angle, direction, _) in _ANGLES.items():
            given = number(item, angle, at)
            if given is not None:
                held[name] = given
            elif name not in held:
                if name == "couch_deg":
                    # plans without a couch leave it out
                    held[name] = 0.0
                else:
                    required(item, angle, at)
            stated = text(item, direction, at).upper()
            directions[name] = stated or (turns[-1][name] if turns else "")
        turns.append(directions)
        if value(item, "IsocenterPosition", at) is not None:
            here = numbers(item, "IsocenterPosition", at, 3)
            if isocenter is not None and np.abs(here - isocenter).max() > _SAME_POINT_MM:
                raise CaseError(
                    f"{at}: IsocenterPosition (300A,012C) moves within the beam, which cannot be calculated; split the "
                    "beam."
                )
            isocenter = here if isocenter is None else isocenter
        elif index == 0:
            required(item, "IsocenterPosition", at)
        if index:
            energy = number(item, "NominalBeamEnergy", at)
            first = number(items[0], "NominalBeamEnergy", where)
            if energy is not None and energy != first:
                raise CaseError(
                    f"{at}: NominalBeamEnergy (300A,0114) changes within the beam ({first} to {energy:g} MV), which "
                    "cannot be calculated; split the beam."
                )
        weight = numbers(item, "CumulativeMetersetWeight", at, 1)[0]
        weights.append(float(weight))
        aperture = _aperture(positions, devices, wide_open, at)
        reached = _drawn_in(aperture, leaf_travel_mm)
        drawn_in = drawn_in or reached is not aperture
        points.append((dict(held), reached))
    shares = _shares(weights, final_weight, where)
    made = [
        ControlPoint(angles["gantry_deg"], angles["collimator_deg"], angles["couch_deg"], aperture, share)
        for (angles, aperture), share in zip(points, shares, strict=True)
    ]
    finished, divided = _divide(made, turns, where)
    return ReadControlPoints(finished, isocenter, divided, drawn_in)


def _drawn_in(aperture: Aperture, travel_mm: tuple[float, float] | None) -> Aperture:
    """The aperture with leaf tips within their travel, where the X jaws cover what lies beyond it; else unchanged."""
    if travel_mm is None or aperture.leaf_positions_mm is None:
        return aperture
    low, high = travel_mm
    if aperture.jaw_x_mm[0] < low or aperture.jaw_x_mm[1] > high:
        return aperture
    tips = np.array(aperture.leaf_positions_mm)
    if tips.min() >= low and tips.max() <= high:
        return aperture
    return replace(aperture, leaf_positions_mm=tuple(map(tuple, np.clip(tips, low, high).tolist())))


def _read_positions(item: Dataset, devices: Devices, positions: dict[str, np.ndarray], at: str, *, first: bool) -> None:
    """Take over the positions that a control point gives; those of other devices stay."""
    wanted = dict.fromkeys(devices.jaws.values(), 2)
    if devices.leaf_boundaries_mm is not None:
        wanted[_LEAVES] = 2 * (len(devices.leaf_boundaries_mm) - 1)
    for device in value(item, "BeamLimitingDevicePositionSequence", at) or ():
        kind = text(device, "RTBeamLimitingDeviceType", at).upper()
        if kind not in wanted:
            raise CaseError(
                f"{at}: BeamLimitingDevicePositionSequence (300A,011A) sets {kind or 'a device without a name'}, which "
                "the beam's BeamLimitingDeviceSequence (300A,00B6) does not have; export the plan again."
            )
        found = decimal_strings(device, "LeafJawPositions", at)
        if found.size != wanted[kind] or not np.isfinite(found).all():
            raise CaseError(
                f"{at}: LeafJawPositions (300A,011C) of {kind} must hold {wanted[kind]} finite numbers; it has "
                f"{found.size}. Export the plan again."
            )
        positions[kind] = found
    lacking = [kind for kind in wanted if kind not in positions]
    if first and lacking:
        raise CaseError(
            f"{at}: BeamLimitingDevicePositionSequence (300A,011A) does not set {', '.join(lacking)}; the first "
            "control point must set every device. Export the plan again."
        )


def _aperture(positions: dict[str, np.ndarray], devices: Devices, wide_open: Aperture, at: str) -> Aperture:
    jaws = {}
    for axis, opened in (("x", wide_open.jaw_x_mm), ("y", wide_open.jaw_y_mm)):
        kind = devices.jaws.get(axis)
        jaws[axis] = opened if kind is None else _closed(positions[kind][None, :], at, kind)[0]
    leaves = None
    if devices.leaf_boundaries_mm is not None:
        leaves = _closed(positions[_LEAVES].reshape(2, -1).T, at, _LEAVES)
    return Aperture(jaws["x"], jaws["y"], leaves)


def _closed(pairs: np.ndarray, at: str, kind: str) -> tuple[tuple[float, float], ...]:
    """Pairs (n, 2) as tuples; those that overlap by a rounding error meet in their middle."""
    over = pairs[:, 0] - pairs[:, 1]
    worst = int(np.argmax(over))
    if over[worst] > _OVERLAP_MM:
        raise CaseError(
            f"{at}: LeafJawPositions (300A,011C) of {kind} close beyond themselves, pair {worst + 1} at "
            f"{pairs[worst, 0]:g} and {pairs[worst, 1]:g} mm. Export the plan again."
        )
    if over[worst] > 0:
        pairs = np.where(over[:, None] > 0, pairs.mean(axis=1, keepdims=True), pairs)
    return tuple((float(low), float(high)) for low, high in pairs)


def _shares(weights: list[float], final: float, where: str) -> list[float]:
    """Cumulative weights from 0 to 1."""
    if not final > 0:
        raise CaseError(
            f"{where}: FinalCumulativeMetersetWeight (300A,010E) is {final:g}, but the beam has a meterset; export the "
            "plan again."
        )
    falling = [n for n, (a, b) in enumerate(zip(weights, weights[1:]), start=1) if b < a]
    if falling or weights[0] != 0.0:
        raise CaseError(
            f"{where}: CumulativeMetersetWeight (300A,0134) must rise from 0; it does not at control point "
            f"{falling[0] if falling else 0}. Export the plan again."
        )
    if abs(weights[-1] / final - 1.0) > _LEAST_WEIGHT_SHARE:
        raise CaseError(
            f"{where}: CumulativeMetersetWeight (300A,0134) ends at {weights[-1]:g}, FinalCumulativeMetersetWeight "
            f"(300A,010E) says {final:g}: it is not clear how many MU are delivered. Export the plan again."
        )
    return [min(weight / weights[-1], 1.0) for weight in weights]


def _turn(start: ControlPoint, stop: ControlPoint, name: str, stated: str, at: str) -> float:
    """Degrees turned from a control point to the next, with its sign."""
    raw = getattr(stop, name) - getattr(start, name)
    short = (raw + 180.0) % 360.0 - 180.0
    if abs(short) < _SAME_ANGLE_DEG:
        return short
    angle, direction, growing = _ANGLES[name]
    if stated in ("CW", "CC"):
        return raw % 360.0 if stated == growing else -(-raw % 360.0)
    if abs(short) == 180.0:
        raise CaseError(
            f"{at}: {angle} turns by half a circle but {direction} does not say which way; export the plan again."
        )
    return short


def _divide(
    points: list[ControlPoint], directions: list[dict[str, str]], where: str
) -> tuple[tuple[ControlPoint, ...], int]:
    """Divide segments that turn too far for an engine, everything in between linear, and count them."""
    result = [points[0]]
    divided = 0
    for index, (start, stop) in enumerate(zip(points[:-1], points[1:], strict=True)):
        if stop.cumulative_meterset_weight > start.cumulative_meterset_weight:
            turns = {
                name: _turn(start, stop, name, directions[index][name], f"{where}, control point {index}")
                for name in _ANGLES
            }
            widest = max(abs(turn) for turn in turns.values())
            steps = int(np.ceil(widest / _STEP_DEG)) if widest > _WIDEST_STEP_DEG else 1
            divided += steps > 1
            result += [_between(start, stop, turns, step / steps) for step in range(1, steps)]
        result.append(stop)
    return tuple(result), divided


def _between(start: ControlPoint, stop: ControlPoint, turns: dict[str, float], part: float) -> ControlPoint:
    def mean(a: float, b: float) -> float:
        return a + (b - a) * part

    def pair(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
        return mean(a[0], b[0]), mean(a[1], b[1])

    first, last = start.aperture, stop.aperture
    leaves = None
    if first.leaf_positions_mm is not None:
        leaves = tuple(pair(a, b) for a, b in zip(first.leaf_positions_mm, last.leaf_positions_mm, strict=True))
    aperture = Aperture(pair(first.jaw_x_mm, last.jaw_x_mm), pair(first.jaw_y_mm, last.jaw_y_mm), leaves)
    weight = mean(start.cumulative_meterset_weight, stop.cumulative_meterset_weight)
    angles = {name: (getattr(start, name) + turn * part) % 360.0 for name, turn in turns.items()}
    return replace(start, **angles, aperture=aperture, cumulative_meterset_weight=weight)
