"""Objective rows: one line a clinician reads, and what it means for the optimization.

A row is an aim, then options after commas:

====================================================  ===============================================================
``PTV D95% >= 60 Gy``                                 a clinical goal, in the grammar of `clinical_goals`
``PTV uniform 60 Gy``                                 this dose everywhere
``Body falloff 60 Gy -> 20 Gy in 30 mm from PTV``     dose that falls with the distance from a target
``minimize Lung Mean``, ``maximize PTV Min``          as low, as high as the rest allows
``fluence smoothness``, ``fluence total variation``   neighbouring bixels that differ little
``, weight 100``                                      importance within its level; 1 when not given
``, level 2``                                         priority: level 1 is optimized first and then kept; 1 by default
``, constraint``                                      a limit to be kept, whatever the objectives
``, per fraction``                                    doses are those of one fraction, not of the course
``, exponential``                                     shape of a fall-off, else linear
====================================================  ===============================================================
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from DoseEngineLib.clinical_goals import Goal, parse_goal
from DoseEngineLib.dose_metrics import format_number, parse_metric, point_at
from DoseEngineLib.errors import EvaluationError
from OptimizerLib.aims import Aim, Dose, Extreme, Falloff, FluenceAim, UniformDose
from OptimizerLib.errors import OptimizationError

ROW_EXAMPLE = "PTV D95% >= 60 Gy, weight 100"
OPTIONS = "weight 100, level 2, constraint, per fraction"
PER = ("course", "fraction")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_DOSE = rf"({_NUMBER})\s*(Gy|cGy|%)"
# What an aim cannot do without; options begin at the first comma after the last of these.
_SIGNAL = re.compile(
    r">=|<=|=>|=<|≥|≤|(?<!-)>|<|\buniform\b|\bfall-?off\b|\bminimi[sz]e\b|\bmaximi[sz]e\b|\bfluence\b", re.IGNORECASE
)
_UNIFORM = re.compile(rf"\s*(.*\S)\s+uniform\s+{_DOSE}\s*", re.IGNORECASE)
_FALLOFF = re.compile(
    rf"\s*(.*\S)\s+fall-?off\s+{_DOSE}\s*(?:->|→|to)\s*{_DOSE}\s+(?:in|within|over)\s+({_NUMBER})\s*(mm|cm)\s+"
    r"(?:from|around)\s+(.*\S)\s*",
    re.IGNORECASE,
)
_EXTREME = re.compile(r"\s*(minimi|maximi)[sz]e\s+(\S.*?)\s*", re.IGNORECASE)
_METRIC_AT_END = re.compile(r"(.*\S)\s+(g?EUD\s*\([^()]*\)|\S+)", re.IGNORECASE)
_FLUENCE = re.compile(r"\s*fluence\s+(smoothness|total\s+variation)\s*", re.IGNORECASE)
_OPTION = re.compile(
    rf"\s*(?:weight\s*=?\s*(?P<weight>{_NUMBER})|level\s*=?\s*(?P<level>\d+)|(?P<constraint>(?:hard\s+)?constraint)"
    r"|per\s*=?\s*(?P<per>fraction|course)|(?P<shape>linear|exponential))\s*",
    re.IGNORECASE,
)
_UNITS = {"gy": "Gy", "cgy": "cGy", "%": "%"}


@dataclass(frozen=True)
class ObjectiveRow:
    """An aim with its importance.

    Attributes
    ----------
    aim : Aim
    weight : float
        Importance among the rows of its level; of no effect on a constraint.
    level : int
        1 first. Constraints hold on every level and have none of their own.
    constraint : bool
        To be kept, not traded.
    per : {"course", "fraction"}
        What the row's doses in Gy and cGy refer to. Doses in % are of the prescribed dose either way.
    """

    aim: Aim
    weight: float = 1.0
    level: int = 1
    constraint: bool = False
    per: str = "course"

    def __post_init__(self) -> None:
        if not isinstance(self.weight, (int, float)) or not (math.isfinite(self.weight) and self.weight >= 0.0):
            raise OptimizationError(f"{self.aim}: the weight must be a number of 0 or more; got {self.weight!r}.")
        if not isinstance(self.level, int) or isinstance(self.level, bool) or self.level < 1:
            raise OptimizationError(f"{self.aim}: the level must be a whole number from 1 on; got {self.level!r}.")
        if self.per not in PER:
            raise OptimizationError(f"{self.aim}: doses are per {' or per '.join(PER)}; got {self.per!r}.")
        if self.constraint and not isinstance(self.aim, Goal):
            raise OptimizationError(
                f"{self.aim}: only a goal with a limit can be a constraint; give it a weight instead."
            )
        if self.constraint and (self.weight != 1.0 or self.level != 1):
            raise OptimizationError(
                f"{self.aim}: a constraint is kept on every level and has no weight; take those away."
            )
        if isinstance(self.aim, FluenceAim) and self.level != 1:
            raise OptimizationError(f"{self.aim}: terms on the fluence hold on every level; take the level away.")
        if self.per == "fraction" and isinstance(self.aim, (Extreme, FluenceAim)):
            raise OptimizationError(f"{self.aim}: there is no dose that could be per fraction; take that away.")

    def __str__(self) -> str:
        options = [
            "constraint" if self.constraint else "",
            f"level {self.level}" if self.level != 1 else "",
            f"weight {format_number(self.weight)}" if self.weight != 1.0 else "",
            "per fraction" if self.per == "fraction" else "",
        ]
        return ", ".join([str(self.aim), *(option for option in options if option)])

    @property
    def structure(self) -> str | None:
        """Whose dose the row is about; None for fluence."""
        return getattr(self.aim, "structure", None)


def parse_row(text: str) -> ObjectiveRow:
    """Read a row such as ``PTV D95% >= 60 Gy, weight 100``.

    Raises
    ------
    OptimizationError
        When the text is no row; the error shows the place and an example.
    """
    signals = list(_SIGNAL.finditer(text))
    if not signals:
        raise row_error(
            text,
            len(text.rstrip()),
            "it says nothing to aim at: a goal with >= or <=, uniform, falloff, minimize, maximize or fluence.",
        )
    comma = text.find(",", signals[-1].end())
    head = text if comma < 0 else text[:comma]
    options, shape = _options(text, len(head)) if comma >= 0 else ({}, None)
    aim = parse_aim(head, text)
    if shape is not None:
        if not isinstance(aim, Falloff):
            raise row_error(text, shape[1], f"{shape[0]} is the shape of a fall-off, and this row has none.")
        aim = replace(aim, shape=shape[0])
    try:
        return ObjectiveRow(aim, **options)
    except OptimizationError as error:
        raise row_error(text, len(head), str(error)) from error


def parse_aim(text: str, row: str | None = None) -> Aim:
    """Read the aim of a row, which stands before its options; ``row`` is shown in errors."""
    row = text if row is None else row
    try:
        return _aim(text)
    except EvaluationError as error:
        raise OptimizationError(str(error)) from error
    except OptimizationError as error:
        raise row_error(row, len(text) - len(text.lstrip()), str(error)) from error


def _aim(text: str) -> Aim:
    if match := _FALLOFF.fullmatch(text):
        structure, near, near_unit, far, far_unit, reach, unit, target = match.groups()
        return Falloff(
            _name(structure),
            Dose(float(near), _UNITS[near_unit.lower()]),
            Dose(float(far), _UNITS[far_unit.lower()]),
            float(reach) * (10.0 if unit.lower() == "cm" else 1.0),
            _name(target),
        )
    if match := _UNIFORM.fullmatch(text):
        return UniformDose(_name(match[1]), Dose(float(match[2]), _UNITS[match[3].lower()]))
    if match := _FLUENCE.fullmatch(text):
        return FluenceAim(" ".join(match[1].lower().split()))
    last = list(_SIGNAL.finditer(text))[-1][0].lower()
    if last[0] in "<>=≥≤":
        return parse_goal(text)
    if match := _EXTREME.fullmatch(text):
        parts = _METRIC_AT_END.fullmatch(match[2])
        if parts is None:
            raise OptimizationError("a structure and a metric should follow, as in minimize Lung Mean.")
        return Extreme(f"{match[1].lower()}ze", _name(parts[1]), parse_metric(parts[2]))
    usual = {
        "u": "PTV uniform 60 Gy",
        "fa": "Body falloff 60 Gy -> 20 Gy in 30 mm from PTV",
        "fl": "fluence smoothness, or fluence total variation",
        "m": "minimize Lung Mean",
    }
    form = next(example for letters, example in usual.items() if last.startswith(letters))
    raise OptimizationError(f"it should have the form: {form}.")


def _options(text: str, position: int) -> tuple[dict, tuple[str, int] | None]:
    found, shape = {}, None
    while position < len(text):
        position += 1
        match = _OPTION.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            place = position + len(text[position:]) - len(text[position:].lstrip())
            word = text[place:].split(",")[0].strip()
            raise row_error(text, place, f"{word!r} is not an option; options are: {OPTIONS}.")
        key = match.lastgroup
        if key in found or (key == "shape" and shape is not None):
            raise row_error(text, match.start(key), f"the {key} is given twice.")
        if key == "shape":
            shape = (match[key].lower(), match.start(key))
        else:
            read = {"weight": float, "level": int, "constraint": bool, "per": str.lower}[key]
            found[key] = read(match[key])
        position = match.end()
    if found.get("constraint") and ("weight" in found or "level" in found):
        raise row_error(
            text, len(text.rstrip()), "a constraint is kept on every level and has no weight; take those away."
        )
    return found, shape


def _name(text: str) -> str:
    return " ".join(text.split())


def row_error(text: str, position: int, what: str) -> OptimizationError:
    """Return the error of a row that cannot be read, with a mark under the place."""
    return OptimizationError(
        f"{point_at(text, position)}\nThis objective cannot be read: {what} Example: {ROW_EXAMPLE}"
    )
