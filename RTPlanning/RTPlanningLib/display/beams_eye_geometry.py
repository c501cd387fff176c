"""What stands where in a beam's-eye view: jaws, leaves, shadows of structures, the patient's sides, the grey scale.

Seen from the source at the isocentre plane in collimator coordinates (IEC 61217), in mm: X to the right, Y up. Jaws and
leaves stand straight, and the patient turns with the collimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.iec61217 import BeamFrame, beam_frame
from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Structure
from RTPlanningLib.display.colors import readable_on_black
from RTPlanningLib.display.silhouette_outline import silhouette_outlines

JAW_COLOR, LEAF_COLOR = "#ffd60a", "#4cc9f0"
# Outlines of these would frame the whole picture, or are helpers of the optimization.
NOT_OUTLINED = ("EXTERNAL", "SUPPORT", "CONTROL")
_ROOM_MM, _LEAST_HALF_WIDTH_MM, _ROUND_MM = 45.0, 100.0, 10.0
_LEAST_WINDOW_MM = 60.0
# An axis of the patient is named at a side of the picture that it points to within about 30 degrees.
_ALONG = 0.87
_DIRECTIONS = (("R", "L"), ("A", "P"), ("S", "I"))


@dataclass(frozen=True, eq=False)
class Shadow:
    """The outlines of a structure's shadow: closed polygons (n, 2) in mm, the first point not repeated."""

    name: str
    color: tuple[float, float, float]
    loops_mm: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class BeamsEyeOverlay:
    """What is drawn over a radiograph.

    Attributes
    ----------
    half_mm : float
        The picture reaches from minus this to this along X and Y.
    jaw_x_mm, jaw_y_mm : (float, float)
    leaves_mm : tuple of (4, 2) arrays
        Corners of every leaf, from its tip to its bank's end beyond the picture; empty without an MLC in the field.
    tips_mm : tuple of (2, 2) arrays
        The ends of every leaf's tip.
    shadows : tuple of Shadow
    sides : dict
        Letter of the patient's side by side of the picture: "right", "left", "top", "bottom".
    angles : tuple of str
        Beam and control point, gantry, collimator and couch, in words.
    """

    half_mm: float
    jaw_x_mm: tuple[float, float]
    jaw_y_mm: tuple[float, float]
    leaves_mm: tuple[np.ndarray, ...]
    tips_mm: tuple[np.ndarray, ...]
    shadows: tuple[Shadow, ...]
    sides: dict[str, str]
    angles: tuple[str, ...]


class ShadowCache:
    """Shadows of structures, found again only for another direction; turning the collimator turns them."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Structure, tuple[tuple, tuple[np.ndarray, ...]]] = WeakKeyDictionary()

    def shadow(
        self, structure: Structure, beam: Beam, patient_position: str, sad_mm: float, control_point: int = 0
    ) -> Shadow:
        """Return the shadow of a structure in the collimator axes of a beam; `GeometryError` behind the source."""
        point = beam.control_points[control_point]
        straight = beam_frame(point.gantry_deg, 0.0, point.couch_deg, beam.isocenter_RAS_mm, patient_position)
        key = (straight.rotation.tobytes(), straight.isocenter_RAS_mm.tobytes(), sad_mm)
        found = self._found.get(structure)
        if found is None or found[0] != key:
            found = key, silhouette_outlines(structure, straight, sad_mm)
            self._found[structure] = found
        turned = beam.frame(patient_position, control_point)
        turn = (turned.rotation.T @ straight.rotation)[:2, :2]
        return Shadow(structure.name, readable_on_black(structure.color), tuple(loop @ turn.T for loop in found[1]))


def beams_eye_overlay(
    beam: Beam,
    machine: Machine,
    patient_position: str,
    structures: Sequence[Structure] = (),
    *,
    control_point: int = 0,
    cache: ShadowCache | None = None,
    half_mm: float | None = None,
) -> BeamsEyeOverlay:
    """Return what is drawn over the radiograph of a beam at a control point.

    Parameters
    ----------
    beam : Beam
    machine : Machine
        That of the beam; leaves of the beam's own go before the machine's.
    patient_position : str
    structures : sequence of Structure
        Empty ones and those of the roles EXTERNAL, SUPPORT and CONTROL are passed over.
    control_point : int
    cache : ShadowCache, optional
        For views of the same structures one after the other.
    half_mm : float, optional
        Half the width of the picture; by default the jaws with some room.

    Raises
    ------
    EvaluationError
        A control point that there is not, or leaves that are not those of the machine.
    GeometryError
        A structure that reaches behind the source.
    """
    point = control_point_of(beam, control_point)
    aperture = point.aperture
    boundaries = leaf_sides(beam, machine, aperture)
    half = half_width_mm(aperture) if half_mm is None else half_mm
    leaves, tips = [], []
    if boundaries is not None:
        for pair, low, high in zip(aperture.leaf_positions_mm, boundaries[:-1], boundaries[1:], strict=True):
            for tip, back in zip(pair, leaf_backs_mm(pair, half), strict=True):
                leaves.append(np.array([(back, low), (tip, low), (tip, high), (back, high)]))
                tips.append(np.array([(tip, low), (tip, high)]))
    cache = cache or ShadowCache()
    return BeamsEyeOverlay(
        half,
        aperture.jaw_x_mm,
        aperture.jaw_y_mm,
        tuple(leaves),
        tuple(tips),
        tuple(
            cache.shadow(structure, beam, patient_position, machine.sad_mm, control_point)
            for structure in outlined(structures)
        ),
        patient_sides(beam.frame(patient_position, control_point)),
        beam_words(beam, control_point),
    )


def control_point_of(beam: Beam, number: int) -> ControlPoint:
    """Return a control point by number; `EvaluationError` for one that there is not."""
    if not 0 <= number < len(beam.control_points):
        raise EvaluationError(
            f"Beam {beam.name} has no control point {number}; choose 0 to {len(beam.control_points) - 1}."
        )
    return beam.control_points[number]


def outlined(structures: Sequence[Structure]) -> list[Structure]:
    """Return the structures whose shadows are drawn."""
    return [s for s in structures if s.role not in NOT_OUTLINED and not s.is_empty]


def leaf_sides(beam: Beam, machine: Machine, aperture: Aperture) -> np.ndarray | None:
    """Return the leaf sides along Y in mm where leaves shape the field; `EvaluationError` for leaves of another MLC."""
    if aperture.leaf_positions_mm is None:
        return None
    mlc = machine.for_beam(beam).mlc
    if mlc is None or mlc.pairs != len(aperture.leaf_positions_mm):
        raise EvaluationError(
            f"Beam {beam.name}: {len(aperture.leaf_positions_mm)} leaf pairs are set, but {machine.name} has "
            f"{mlc.pairs if mlc else 'none'}; give the machine of the beam, or leaf_boundaries_mm."
        )
    return np.asarray(mlc.boundaries_mm)


def leaf_backs_mm(pair: tuple[float, float], half_mm: float) -> tuple[float, float]:
    """Return how far the two leaves of a pair reach out of the picture, each on its own side."""
    return min(-half_mm, pair[0]) - 10.0, max(half_mm, pair[1]) + 10.0


def half_width_mm(aperture: Aperture) -> float:
    """Half the width of the picture: the jaws with some room, the isocentre always in the middle."""
    reach = max(abs(edge) for edge in (*aperture.jaw_x_mm, *aperture.jaw_y_mm))
    return max(_LEAST_HALF_WIDTH_MM, _ROUND_MM * float(np.ceil((reach + _ROOM_MM) / _ROUND_MM)))


def grey_window_mm(water_mm: np.ndarray) -> tuple[float, float]:
    """Return what of a radiograph is black and what is white, in mm of water.

    From the 1st to the 99.8th percentile of the picture and at least 60 mm wide: a phantom of one material is grey, not
    black and white by the slant of the rays.
    """
    low, high = (float(value) for value in np.percentile(water_mm, (1.0, 99.8)))
    widened = max(_LEAST_WINDOW_MM - (high - low), 0.0) / 2
    return low - widened, high + widened


def grey_picture(water_mm: np.ndarray) -> bytes:
    """Return a radiograph in its grey scale as a picture in the format PGM, which Qt reads without a library.

    Parameters
    ----------
    water_mm : (y, x) array
        Row 0 is the lowest y; the picture's first row is its uppermost one.
    """
    low, high = grey_window_mm(water_mm)
    grey = np.clip(np.rint((water_mm[::-1] - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)
    rows, columns = grey.shape
    return b"P5\n%d %d\n255\n" % (columns, rows) + grey.tobytes()


def patient_sides(frame: BeamFrame) -> dict[str, str]:
    """Return the letter (R, L, A, P, S, I) of each side of the picture that an axis of the patient points to."""
    axes = {"right": frame.x_axis, "left": -frame.x_axis, "top": frame.y_axis, "bottom": -frame.y_axis}
    sides = {}
    for side, axis in axes.items():
        main = int(np.argmax(np.abs(axis)))
        if abs(axis[main]) >= _ALONG:
            sides[side] = _DIRECTIONS[main][0 if axis[main] > 0 else 1]
    return sides


def beam_words(beam: Beam, control_point: int) -> tuple[str, str]:
    """Return two lines: beam and control point, and the three angles."""
    point = beam.control_points[control_point]
    where = "" if beam.is_static else f", control point {control_point + 1} of {len(beam.control_points)}"
    # what a thumbnail has room for
    most = 40 - len(where)
    name = beam.name if len(beam.name) <= most else f"{beam.name[: most - 1]}…"
    return (
        f"{name}{where}",
        f"gantry {point.gantry_deg:g}°, coll. {point.collimator_deg:g}°, couch {point.couch_deg:g}°",
    )
