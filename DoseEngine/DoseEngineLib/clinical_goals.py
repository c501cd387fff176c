"""Clinical goals as a person writes them: ``<structure> <metric> <operator> <limit> <unit>``.

Examples: ``PTV D95% >= 47.5 Gy``, ``PTV D95% >= 95 %`` (of the prescribed dose), ``Lung_L V20Gy[%] < 30 %``,
``Spinal Cord D0.03cc <= 4500 cGy``, ``PTV HI <= 0.1``. Structure names may hold spaces.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from DoseEngineLib.dose_metrics import METRIC_EXAMPLES, Metric, format_number, has_explicit_unit, parse_metric, point_at
from DoseEngineLib.errors import EvaluationError

OPERATORS = (">=", "<=", ">", "<")
GOAL_EXAMPLE = "PTV D95% >= 47.5 Gy"
_OPERATOR = re.compile(r">=|<=|=>|=<|≥|≤|>|<")
_SPELLINGS = {"=>": ">=", "=<": "<=", "≥": ">=", "≤": "<="}
_LIMIT = re.compile(r"\s*(?P<value>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>[^\s\d.]\S*)?\s*")
_METRIC_AT_END = re.compile(
    r"(?:^|(?<=\s))(?P<metric>[DV]_?[\d.][^\s\[\]]*(?:\s*(?:%|cc|cm3|Gy|cGy))?(?:\s*\[[^\]]*\])?|\S+)\s*$",
    re.IGNORECASE,
)
_UNITS = {"": "", "%": "%", "gy": "Gy", "cgy": "cGy", "cc": "cc", "cm3": "cc"}


@dataclass(frozen=True)
class Goal:
    """What a plan should achieve for one structure.

    Attributes
    ----------
    structure : str
    metric : Metric
    operator : {">=", "<=", ">", "<"}
    limit : float
    unit : {"Gy", "cGy", "%", "cc", ""}
        Unit of the limit. For a dose metric % means % of the prescribed dose.
    """

    structure: str
    metric: Metric
    operator: str
    limit: float
    unit: str

    def __post_init__(self) -> None:
        if not self.structure.strip():
            raise EvaluationError(f"A goal needs a structure, for example: {GOAL_EXAMPLE}.")
        if self.operator not in OPERATORS:
            raise EvaluationError(
                f"Goal for {self.structure}: use one of {', '.join(OPERATORS)}, not {self.operator!r}."
            )
        if not math.isfinite(self.limit) or self.limit < 0.0:
            raise EvaluationError(f"Goal for {self.structure}: the limit {self.limit} must be a number of 0 or more.")
        if self.unit not in _units_of(self.metric):
            raise EvaluationError(
                f"Goal for {self.structure}: {self.metric} is given in {_in_words(self.metric)}, "
                f"not in {self.unit or 'a bare number'}."
            )

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.structure} {self.metric} {self.operator} {format_number(self.limit)}{unit}"

    @property
    def needs_prescription(self) -> bool:
        """Whether the goal refers to the prescribed dose."""
        return self.metric.needs_prescription or (self.metric.is_dose and self.unit == "%")

    @property
    def limit_text(self) -> str:
        """Operator and limit with its unit, as printed in tables."""
        operator = {">=": "≥", "<=": "≤"}.get(self.operator, self.operator)
        return f"{operator} {format_number(self.limit)}{f' {self.unit}' if self.unit else ''}"


def parse_goal(text: str) -> Goal:
    """Read a goal such as ``PTV D95% >= 47.5 Gy``.

    Raises
    ------
    EvaluationError
        When the text is no goal; the error shows the place and an example.
    """
    operators = list(_OPERATOR.finditer(text))
    if not operators:
        raise _error(text, len(text.rstrip()), f"an operator is missing ({', '.join(OPERATORS)}).")
    operator = operators[-1]
    left, right = text[: operator.start()], text[operator.end() :]
    match = _METRIC_AT_END.search(left)
    if match is None:
        raise _error(text, 0, "a structure and a metric should stand before the operator.")
    try:
        metric = parse_metric(match["metric"])
    except EvaluationError:
        raise _error(
            text, match.start("metric"), f"{match['metric']!r} is not a metric; metrics are: {METRIC_EXAMPLES}."
        ) from None
    structure = " ".join(left[: match.start()].split())
    if not structure:
        raise _error(text, match.start("metric"), "the name of a structure should stand before the metric.")
    limit = _LIMIT.fullmatch(right)
    if limit is None:
        raise _error(text, operator.end() + len(right) - len(right.lstrip()), "a number and its unit should follow.")
    if float(limit["value"]) < 0.0:
        raise _error(text, operator.end() + limit.start("value"), "a limit cannot be negative.")
    if not math.isfinite(float(limit["value"])):
        raise _error(text, operator.end() + limit.start("value"), "the limit is not a finite number.")
    unit_text = limit["unit"] or ""
    unit_position = operator.end() + (limit.start("unit") if limit["unit"] else limit.end("value"))
    if unit_text.lower() not in _UNITS:
        raise _error(text, unit_position, f"{unit_text!r} is not a unit; use Gy, cGy, % or cc.")
    unit = _UNITS[unit_text.lower()]
    if metric.kind == "V" and not has_explicit_unit(match["metric"]) and unit in ("%", "cc"):
        metric = replace(metric, unit=unit)
    if unit not in _units_of(metric):
        given = f"not in {unit}" if unit else "and the unit is missing"
        raise _error(text, unit_position, f"{metric} is given in {_in_words(metric)}, {given}.")
    return Goal(structure, metric, _SPELLINGS.get(operator[0], operator[0]), float(limit["value"]), unit)


def _units_of(metric: Metric) -> tuple[str, ...]:
    return ("Gy", "cGy", "%") if metric.is_dose else (metric.unit,)


def _in_words(metric: Metric) -> str:
    if metric.is_dose:
        return "Gy, cGy or % of the prescribed dose"
    return metric.unit or "a bare number"


def _error(text: str, position: int, what: str) -> EvaluationError:
    return EvaluationError(f"{point_at(text, position)}\nThis goal cannot be read: {what} Example: {GOAL_EXAMPLE}")
