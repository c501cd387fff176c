"""Measured curves from a simple CSV file.

A file holds any number of curves. Each begins with ``kind`` and goes on with its conditions, one a line, as
``key = value`` or ``key, value``; then the names of the columns, then the points::

    # 6 MV, open fields
    kind = pdd
    ssd_mm = 1000
    field_x_mm = 100
    field_y_mm = 100
    detector = ionization chamber
    depth_mm, dose
    5, 81.2
    10, 96.5

    kind = profile
    ssd_mm = 1000
    field_x_mm = 100
    field_y_mm = 100
    depth_mm = 100
    axis = crossline
    position_mm, dose
    -80, 2.1
    -75, 2.6

    kind = output_factor
    ssd_mm = 900
    field_x_mm = 100
    field_y_mm = 100
    depth_mm = 100
    field_mm, dose
    30, 0.84
    100, 1.0

Lengths may be given in cm where the name says so (``ssd_cm``, ``position_cm``). Fields are jaw settings at the
isocentre plane. Output factors of rectangles have three columns, ``field_x_mm, field_y_mm, dose``; the field of the
header is the one they are relative to and must be among them. Optional conditions: ``detector``,
``uncertainty_percent`` (one standard deviation of a point, per cent of the curve's maximum, or of each output factor)
and ``position_uncertainty_mm``. Text behind ``#`` is a comment.
"""

from __future__ import annotations

import difflib
import re

import numpy as np

from DoseEngineLib.commissioning.measured_curve import (
    DEFAULT_POSITION_UNCERTAINTY_MM,
    DEFAULT_UNCERTAINTY_PERCENT,
    MeasuredCurve,
    MeasurementError,
)

_LENGTHS = ("ssd", "field_x", "field_y", "field", "depth", "position_uncertainty")
_TEXTS = ("kind", "axis", "detector")
_KEYS = (*_TEXTS, "uncertainty_percent", *(f"{name}_{unit}" for name in _LENGTHS for unit in ("mm", "cm")))
_COLUMNS = ("position", "depth", "field", "field_x", "field_y")


def parse_csv(text: str, file: str) -> list[MeasuredCurve]:
    """Read all curves of a CSV file's text.

    Parameters
    ----------
    text : str
    file : str
        Name for error texts.

    Raises
    ------
    MeasurementError
        Anything that is not as described above, naming file and line.
    """
    curves: list[MeasuredCurve] = []
    block: _Block | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip().rstrip(",;\t ").strip()
        if not line:
            continue
        cells = [cell.strip().strip('"') for cell in re.split(r"[=,;\t]", line)]
        if cells[0].lower() == "kind":
            if block is not None:
                curves.append(block.curve())
            block = _Block(file, number)
        if block is None:
            raise MeasurementError(f"{file}, line {number}: {line!r} stands before the first 'kind = ...' line.")
        block.add(cells, line, number)
    if block is None:
        raise MeasurementError(f"{file}: there is no curve in it; every curve begins with a line 'kind = ...'.")
    curves.append(block.curve())
    return curves


class _Block:
    """The lines of one curve."""

    def __init__(self, file: str, line: int) -> None:
        self.file, self.line = file, line
        self.values: dict[str, str | float] = {}
        self.columns: list[tuple[str, float]] = []
        self.points: list[list[float]] = []
        self.lines: list[int] = []

    def fail(self, text: str, line: int | None = None) -> MeasurementError:
        return MeasurementError(f"{self.file}, line {line or self.line}: {text}")

    def add(self, cells: list[str], line: str, number: int) -> None:
        if self.columns:
            self._add_point(cells, line, number)
        elif "dose" in [cell.lower() for cell in cells[1:]]:
            self._name_columns([cell.lower() for cell in cells], number)
        else:
            self._add_condition(cells, line, number)

    def _add_condition(self, cells: list[str], line: str, number: int) -> None:
        key = cells[0].lower()
        if key not in _KEYS:
            if re.fullmatch(r"[-+.\d].*", key):
                raise self.fail(
                    f"{line!r} is a point, but the columns are not named yet; put 'depth_mm, dose', 'position_mm, "
                    "dose' or 'field_mm, dose' above the points.",
                    number,
                )
            close = difflib.get_close_matches(key, _KEYS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(_KEYS[:4])}, ssd_mm, field_x_mm."
            raise self.fail(f"{cells[0]!r} is not a condition of a curve.{hint}", number)
        if len(cells) != 2 or not cells[1]:
            raise self.fail(f"{line!r} must be 'key = value' with one value (decimal point, not comma).", number)
        name, factor = (key, 1.0) if key in _TEXTS else _name_and_factor(key)
        names = ("field_x", "field_y") if name == "field" else (name,)
        for name in names:
            if name in self.values:
                raise self.fail(f"{key} is given twice for the same curve; a new curve begins with 'kind'.", number)
            if key in _TEXTS:
                self.values[name] = cells[1] if key == "detector" else cells[1].lower()
            else:
                self.values[name] = self._number(cells[1], key, number) * factor

    def _name_columns(self, names: list[str], number: int) -> None:
        if names[-1] != "dose":
            raise self.fail("the last column must be 'dose'.", number)
        for name in names[:-1]:
            base, _, unit = name.rpartition("_")
            if base not in _COLUMNS or unit not in ("mm", "cm"):
                raise self.fail(
                    f"column {name!r} is unknown; use depth_mm, position_mm or field_mm (or _cm), then dose.", number
                )
            self.columns.append((base, 10.0 if unit == "cm" else 1.0))
        given = [name for name, _ in self.columns]
        kind = self.values["kind"]
        wanted = {
            "pdd": (["depth"], ["position"]),
            "profile": (["position"],),
            "output_factor": (["field"], ["position"], ["field_x", "field_y"]),
        }.get(kind)
        if wanted is not None and given not in [list(names) for names in wanted]:
            choices = " or ".join("'" + ", ".join(f"{n}_mm" for n in names) + ", dose'" for names in wanted)
            raise self.fail(f"a {kind} has the columns {choices}.", number)

    def _add_point(self, cells: list[str], line: str, number: int) -> None:
        if re.match(r"[A-Za-z_]", cells[0]):
            raise self.fail(f"{line!r} stands among the points; a new curve begins with 'kind = ...'.", number)
        if len(cells) != len(self.columns) + 1:
            raise self.fail(
                f"{len(cells)} numbers in {line!r}, but {len(self.columns) + 1} columns; use a point as decimal mark.",
                number,
            )
        names = [*(f"{name}" for name, _ in self.columns), "dose"]
        factors = [*(factor for _, factor in self.columns), 1.0]
        self.points.append([self._number(c, n, number) * f for c, n, f in zip(cells, names, factors)])
        self.lines.append(number)

    def _number(self, text: str, name: str, number: int) -> float:
        try:
            value = float(text)
        except ValueError:
            raise self.fail(f"{name} is not a number: {text!r}.", number) from None
        if not np.isfinite(value):
            raise self.fail(f"{name} is not a finite number: {text!r}.", number)
        return value

    def curve(self) -> MeasuredCurve:
        kind = self.values.get("kind")
        needed = ["ssd", "field_x", "field_y"]
        needed += ["depth"] if kind in ("profile", "output_factor") else []
        needed += ["axis"] if kind == "profile" else []
        missing = [name if name == "axis" else f"{name}_mm" for name in needed if name not in self.values]
        if missing:
            raise self.fail(f"the {kind} lacks {', '.join(missing)}.")
        surplus = [name for name in ("depth", "axis") if name in self.values and name not in needed]
        if surplus and kind in ("pdd", "output_factor"):
            raise self.fail(f"a {kind} has no {surplus[0]}; remove it, or check the kind.")
        if not self.columns:
            raise self.fail("the columns are not named; put e.g. 'position_mm, dose' above the points.")
        points = np.array(self.points, float).reshape(-1, len(self.columns) + 1)
        return make_curve(
            kind=kind,
            ssd_mm=self.values["ssd"],
            field_mm=(self.values["field_x"], self.values["field_y"]),
            depth_mm=self.values.get("depth"),
            axis=self.values.get("axis"),
            places_mm=points[:, :-1],
            dose=points[:, -1],
            lines=np.array(self.lines, int),
            file=self.file,
            line=self.line,
            detector=str(self.values.get("detector", "")),
            uncertainty_percent=self.values.get("uncertainty_percent", DEFAULT_UNCERTAINTY_PERCENT),
            position_uncertainty_mm=self.values.get("position_uncertainty", DEFAULT_POSITION_UNCERTAINTY_MM),
        )


def make_curve(*, places_mm: np.ndarray, dose: np.ndarray, lines: np.ndarray, **conditions) -> MeasuredCurve:
    """Put the points of a curve into rising order and make it.

    Parameters
    ----------
    places_mm : (n, 1) or (n, 2) array
        Positions; sides of squares, or X and Y sides, of output factors.
    """
    fields = None
    if conditions["kind"] == "output_factor":
        fields = np.broadcast_to(places_mm, (len(places_mm), 2)) if places_mm.shape[1] == 1 else places_mm
        position = equivalent_square_mm(fields, conditions["file"], lines)
        order = np.argsort(position, kind="stable")
        fields, position, dose, lines = fields[order].copy(), position[order], dose[order], lines[order]
    else:
        position = places_mm[:, 0]
        if len(position) > 1 and position[-1] < position[0]:
            # scanned towards the surface, or from right to left
            position, dose, lines = position[::-1], dose[::-1], lines[::-1]
    return MeasuredCurve(position_mm=position, dose=dose, fields_mm=fields, lines=lines, **conditions)


def equivalent_square_mm(fields_mm: np.ndarray, file: str, lines: np.ndarray) -> np.ndarray:
    """Side of the square with the same area over perimeter, 2xy / (x + y) (Sterling et al., Br. J. Radiol. 37, 544)."""
    if (fields_mm <= 0).any():
        line = int(lines[np.argmax((fields_mm <= 0).any(axis=1))])
        raise MeasurementError(f"{file}, line {line}: a field side must be positive.")
    return 2 * fields_mm.prod(axis=1) / fields_mm.sum(axis=1)


def _name_and_factor(key: str) -> tuple[str, float]:
    name, _, unit = key.rpartition("_")
    if unit in ("mm", "cm"):
        return name, 10.0 if unit == "cm" else 1.0
    return key, 1.0
