"""Clinical goals as a person writes them: ``<structure> <metric> <operator> <limit> <unit> (<acceptable limit>)``.

Examples: ``PTV D95% >= 47.5 Gy``, ``PTV D95% >= 95 %`` (of the prescribed dose), ``Lung_L V20Gy[%] < 30 %``,
``Spinal Cord D0.03cc <= 4500 cGy``, ``PTV HI <= 0.1``. Structure names may hold spaces.

A second limit in brackets, on the easier side and in the same unit, is that of an acceptable variation, as trial
protocols have it: ``PTV D95% >= 60 Gy (57 Gy)`` is met from 60 Gy on, acceptable from 57 Gy on and failed below. The
metrics are those of `DoseEngineLib.dose_metrics`.
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
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_LIMIT = re.compile(
    rf"\s*(?P<value>{_NUMBER})\s*(?P<unit>[^\s\d.()]\S*?)?\s*"
    rf"(?:\(\s*(?P<acceptable>{_NUMBER})\s*(?P<acceptable_unit>[^\s\d.()][^\s()]*)?\s*\)\s*)?"
)
_METRIC_AT_END = re.compile(
    r"(?:^|(?<=\s))(?P<metric>(?:"
    r"(?:D|DC|V|CV|R|Spill|ESD)_?[\d.][^\s\[\]]*(?:\s*(?:%|cc|cm3|Gy|cGy))?"
    r"|(?:g?EUD|CI|GI)\s*\([^()]*\)|D?_?(?:mean|max|min)(?=\s*\[)"
    r")(?:\s*\[[^\]]*\])?|\S+)\s*$",
    re.IGNORECASE,
)
_UNITS = {"": "", "%": "%", "gy": "Gy", "cgy": "cGy", "cc": "cc", "cm3": "cc", "mm": "mm"}


@dataclass(frozen=True)
class Goal:
    """What a plan should achieve for one structure.

    Attributes
    ----------
    structure : str
    metric : Metric
    operator : {">=", "<=", ">", "<"}
    limit : float
    unit : {"Gy", "cGy", "%", "cc", "mm", ""}
        Unit of the limits. For a dose metric % means % of the prescribed dose.
    acceptable_limit : float, optional
        Limit of an acceptable variation, easier to meet than ``limit``.
    """

    structure: str
    metric: Metric
    operator: str
    limit: float
    unit: str
    acceptable_limit: float | None = None

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
        if self.acceptable_limit is None:
            return
        if not math.isfinite(self.acceptable_limit) or self.acceptable_limit < 0.0:
            raise EvaluationError(
                f"Goal for {self.structure}: the acceptable limit {self.acceptable_limit} must be a number of 0 or "
                "more."
            )
        if (self.acceptable_limit < self.limit) != self.wants_more or self.acceptable_limit == self.limit:
            raise EvaluationError(
                f"Goal for {self.structure}: with {self.operator} {self._in_unit(self.limit)} an acceptable variation "
                f"must be {'below' if self.wants_more else 'above'} that; got {self._in_unit(self.acceptable_limit)}."
            )

    def __str__(self) -> str:
        return f"{self.structure} {self.metric} {self.operator} {self._limits()}"

    @property
    def wants_more(self) -> bool:
        """Whether the goal asks for a value above its limit."""
        return self.operator in (">=", ">")

    @property
    def needs_prescription(self) -> bool:
        """Whether the goal refers to the prescribed dose."""
        return self.metric.needs_prescription or (self.metric.is_dose and self.unit == "%")

    @property
    def limit_text(self) -> str:
        """Operator and limit with its unit, and the acceptable one, as printed in tables."""
        operator = {">=": "≥", "<=": "≤"}.get(self.operator, self.operator)
        return f"{operator} {self._limits()}"

    def to_dict(self) -> dict[str, str | float | None]:
        """The goal as a whole and in its parts, for JSON."""
        return {
            "goal": str(self),
            "structure": self.structure,
            "metric": str(self.metric),
            "operator": self.operator,
            "limit": self.limit,
            "acceptable_limit": self.acceptable_limit,
            "unit": self.unit,
        }

    def _limits(self) -> str:
        text = self._in_unit(self.limit)
        return text if self.acceptable_limit is None else f"{text} ({self._in_unit(self.acceptable_limit)})"

    def _in_unit(self, value: float) -> str:
        return f"{format_number(value)}{f' {self.unit}' if self.unit else ''}"


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
    start = operator.end()
    for part in ("value", "acceptable"):
        number = limit[part]
        if number is not None and float(number) < 0.0:
            raise _error(text, start + limit.start(part), "a limit cannot be negative.")
        if number is not None and not math.isfinite(float(number)):
            raise _error(text, start + limit.start(part), "the limit is not a finite number.")
    unit_text = limit["unit"] or ""
    unit_position = start + (limit.start("unit") if limit["unit"] else limit.end("value"))
    if unit_text.lower() not in _UNITS:
        raise _error(text, unit_position, f"{unit_text!r} is not a unit; use Gy, cGy, %, cc or mm.")
    unit = _UNITS[unit_text.lower()]
    if metric.kind in ("V", "CV", "Spill") and not has_explicit_unit(match["metric"]) and unit in ("%", "cc"):
        metric = replace(metric, unit=unit)
    if unit not in _units_of(metric):
        given = f"not in {unit}" if unit else "and the unit is missing"
        raise _error(text, unit_position, f"{metric} is given in {_in_words(metric)}, {given}.")
    comparison, value = _SPELLINGS.get(operator[0], operator[0]), float(limit["value"])
    if limit["acceptable"] is None:
        return Goal(structure, metric, comparison, value, unit)
    if limit["acceptable_unit"] and _UNITS.get(limit["acceptable_unit"].lower()) != unit:
        raise _error(
            text, start + limit.start("acceptable_unit"), f"the acceptable limit must be in {unit or 'no unit'} too."
        )
    acceptable = float(limit["acceptable"])
    if acceptable == value or (acceptable < value) != (comparison in (">=", ">")):
        side = "below" if comparison in (">=", ">") else "above"
        raise _error(
            text, start + limit.start("acceptable"), f"an acceptable variation of this goal must be {side} its limit."
        )
    return Goal(structure, metric, comparison, value, unit, acceptable)


def _units_of(metric: Metric) -> tuple[str, ...]:
    if metric.is_dose and metric.unit == "Gy":
        return ("Gy", "cGy", "%")
    return (metric.unit,)


def _in_words(metric: Metric) -> str:
    if metric.is_dose and metric.unit == "Gy":
        return "Gy, cGy or % of the prescribed dose"
    return metric.unit or "a bare number"


def _error(text: str, position: int, what: str) -> EvaluationError:
    return EvaluationError(f"{point_at(text, position)}\nThis goal cannot be read: {what} Example: {GOAL_EXAMPLE}")
