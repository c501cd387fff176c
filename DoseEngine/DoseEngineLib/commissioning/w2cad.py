"""Measured curves from a W2CAD file (``.asc``), the exchange format of scanning water phantoms with Eclipse.

A file is ``$NUMS n`` and n measurements, each from ``$STOM`` to ``$ENOM``, ending with ``$ENOF``. A measurement has
header lines ``%KEY value``, comments ``#`` and points ``<X Y Z dose>``. Lengths are mm (``%STEP`` tenths of mm), X is
crossline, Y inline, Z depth. Read here: open photon fields, ``%TYPE`` OPD (depth dose), OPP (profile, ``%AXIS`` X or Y)
and DPR (diagonal profile, ``%AXIS`` D). The keys are those of the format description in Varian's Eclipse algorithms
reference guide, appendix on W2CAD, version 02, as public readers of the format quote them.
"""

from __future__ import annotations

import re

import numpy as np

from DoseEngineLib.commissioning.measured_curve import MeasuredCurve, MeasurementError
from DoseEngineLib.commissioning.measurement_csv import make_curve

_DETECTORS = {"CHA": "ionization chamber", "DIO": "diode", "DIA": "diamond"}
_WEDGES = ("WDD", "WDP", "WLP")
# Off the axis, or off the stated depth, by less than this is the reading of the positions.
_TOLERANCE_MM = 1.0


def is_w2cad(text: str) -> bool:
    """Whether a text looks like a W2CAD file."""
    return bool(re.match(r"(\s*#.*\n)*\s*\$(NUMS|STOM)\b", text))


def parse_w2cad(text: str, file: str) -> tuple[list[MeasuredCurve], list[str]]:
    """Read the open photon fields of a W2CAD file's text.

    Returns
    -------
    curves : list of MeasuredCurve
    notes : list of str
        Measurements that were left out (wedges), and why.

    Raises
    ------
    MeasurementError
        Electrons, a broken structure, or a header that the points contradict; the text names file and line.
    """
    curves: list[MeasuredCurve] = []
    notes: list[str] = []
    announced: int | None = None
    found = 0
    block: _Measurement | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line == "$ENOF" or line.startswith("#"):
            continue
        word = line.split()[0].upper()
        if word == "$NUMS":
            announced = int(_number(line.split()[-1], file, number, "$NUMS"))
        elif word == "$STOM":
            if block is not None:
                raise MeasurementError(f"{file}, line {number}: $STOM before the $ENOM of the measurement above.")
            block = _Measurement(file, number)
            found += 1
        elif word == "$ENOM":
            if block is None:
                raise MeasurementError(f"{file}, line {number}: $ENOM without $STOM.")
            curve = block.curve(notes)
            if curve is not None:
                curves.append(curve)
            block = None
        elif block is None:
            raise MeasurementError(f"{file}, line {number}: {line!r} stands outside $STOM and $ENOM.")
        else:
            block.add(line, number)
    if block is not None:
        raise MeasurementError(f"{file}, line {block.line}: the measurement has no $ENOM; the file is cut off.")
    if announced is not None and announced != found:
        raise MeasurementError(
            f"{file}, line 1: $NUMS says {announced} measurements, the file holds {found}; export it again."
        )
    return curves, notes


class _Measurement:
    def __init__(self, file: str, line: int) -> None:
        self.file, self.line = file, line
        self.header: dict[str, tuple[str, int]] = {}
        self.points: list[list[float]] = []
        self.lines: list[int] = []

    def fail(self, text: str, line: int | None = None) -> MeasurementError:
        return MeasurementError(f"{self.file}, line {line or self.line}: {text}")

    def add(self, line: str, number: int) -> None:
        if line.startswith("%"):
            key, _, value = line[1:].partition(" ")
            key = key.strip().upper()
            if key in self.header:
                raise self.fail(f"%{key} is there twice in one measurement.", number)
            self.header[key] = (value.strip(), number)
        elif line.startswith("<") and line.endswith(">"):
            cells = line[1:-1].split()
            if len(cells) != 4:
                raise self.fail(f"{line!r} must hold X, Y, Z and dose.", number)
            self.points.append([_number(cell, self.file, number, "a point") for cell in cells])
            self.lines.append(number)
        else:
            raise self.fail(f"{line!r} is neither a %KEY nor a <X Y Z dose> line.", number)

    def text(self, key: str) -> str:
        if key not in self.header or not self.header[key][0]:
            raise self.fail(f"the measurement lacks %{key}.")
        return self.header[key][0]

    def number(self, key: str) -> float:
        return _number(self.text(key), self.file, self.header[key][1], f"%{key}")

    def curve(self, notes: list[str]) -> MeasuredCurve | None:
        beam = self.text("BMTY").upper()
        if beam != "PHO":
            raise self.fail(f"%BMTY {beam}: only photon beams (PHO) can be read.", self.header["BMTY"][1])
        kind = self.text("TYPE").upper()
        wedge = self.header.get("WDGL", ("0", 0))[0].strip()
        if kind.startswith(_WEDGES) or wedge.strip("0"):
            notes.append(f"{self.file}, line {self.line}: left out, a wedged field (%TYPE {kind}).")
            return None
        if kind not in ("OPD", "OPP", "DPR"):
            raise self.fail(f"%TYPE {kind} is unknown; OPD, OPP and DPR can be read.", self.header["TYPE"][1])
        if not self.points:
            raise self.fail("the measurement has no <X Y Z dose> lines.")
        if "PNTS" in self.header and int(self.number("PNTS")) != len(self.points):
            raise self.fail(
                f"%PNTS says {self.text('PNTS')} points, the measurement has {len(self.points)}; export it again.",
                self.header["PNTS"][1],
            )
        sides = re.fullmatch(r"\s*([\d.]+)\s*[*xX]\s*([\d.]+)\s*", self.text("FLSZ"))
        if not sides:
            raise self.fail(f"%FLSZ {self.text('FLSZ')!r} must be X*Y in mm.", self.header["FLSZ"][1])
        points = np.array(self.points)
        if kind == "OPD":
            position, depth, axis = self._depths(points), None, None
        else:
            depth = self.number("DPTH")
            position, axis = self._off_axis(points, kind, depth)
        detector = self.header.get("DETY", ("", 0))[0].upper()
        return make_curve(
            kind="pdd" if kind == "OPD" else "profile",
            ssd_mm=self.number("SSD"),
            field_mm=(float(sides[1]), float(sides[2])),
            depth_mm=depth,
            axis=axis,
            places_mm=position[:, None],
            dose=points[:, 3],
            lines=np.array(self.lines),
            file=self.file,
            line=self.line,
            detector=_DETECTORS.get(detector, detector),
        )

    def _depths(self, points: np.ndarray) -> np.ndarray:
        off = np.abs(points[:, :2]).max(axis=1)
        if off.max() > _TOLERANCE_MM:
            index = int(np.argmax(off))
            raise self.fail(f"a depth dose {off[index]:g} mm off the axis cannot be used.", self.lines[index])
        return points[:, 2]

    def _off_axis(self, points: np.ndarray, kind: str, depth: float) -> tuple[np.ndarray, str]:
        wrong = np.abs(points[:, 2] - depth)
        if wrong.max() > _TOLERANCE_MM:
            index = int(np.argmax(wrong))
            raise self.fail(
                f"depth {points[index, 2]:g} mm of the point contradicts %DPTH {depth:g}.", self.lines[index]
            )
        x, y = points[:, 0], points[:, 1]
        letter = self.text("AXIS").upper()
        if kind == "DPR" or letter == "D":
            # both coordinates along the diagonal, or the distance from the axis in one of them
            moving = x if np.ptp(x) >= np.ptp(y) else y
            return np.sign(moving) * np.hypot(x, y), "diagonal"
        if letter not in ("X", "Y"):
            raise self.fail(f"%AXIS {letter} of a profile must be X, Y or D.", self.header["AXIS"][1])
        along, across = (x, y) if letter == "X" else (y, x)
        if np.abs(across).max() > _TOLERANCE_MM:
            index = int(np.argmax(np.abs(across)))
            raise self.fail(
                f"the profile along {letter} is {across[index]:g} mm off the axis; give one through it.",
                self.lines[index],
            )
        return along, "crossline" if letter == "X" else "inline"


def _number(text: str, file: str, line: int, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise MeasurementError(f"{file}, line {line}: {name} is not a number: {text!r}.") from None
    if not np.isfinite(value):
        raise MeasurementError(f"{file}, line {line}: {name} is not a finite number: {text!r}.")
    return value
