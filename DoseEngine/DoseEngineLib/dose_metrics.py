"""Dose-volume metrics and their grammar.

====================  =======================================================================  =========
text                  meaning                                                                  unit
====================  =======================================================================  =========
``D95%``              dose that the best-irradiated 95 % of the volume receives at least        Gy
``D2cc``              the same for a volume in cm3                                              Gy
``V20Gy[%]``          volume that receives at least 20 Gy; ``[cc]`` in cm3                      % or cc
``V95%[%]``           volume that receives at least 95 % of the prescribed dose; also ``[cc]``  % or cc
``Mean Max Min``      mean, maximum and minimum dose                                            Gy
``HI``                homogeneity index (D2% - D98%) / D50% of ICRU Report 83 (2010)            none
====================  =======================================================================  =========

The names follow AAPM TG-263 (Mayo et al., Int J Radiat Oncol Biol Phys 100 (2018) 1057). ``V20Gy`` without a bracket
is in %, doses may be given in cGy, and ``Dmean``, ``Dmax`` and ``Dmin`` are read too.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError

METRIC_EXAMPLES = "D95%, D2cc, V20Gy[%], V20Gy[cc], V95%[%], Mean, Max, Min, HI"
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_DOSE_AT_VOLUME = re.compile(rf"D_?(?P<amount>{_NUMBER})\s*(?P<unit>%|cc|cm3)", re.IGNORECASE)
_VOLUME_AT_DOSE = re.compile(
    rf"V_?(?P<amount>{_NUMBER})\s*(?P<unit>%|Gy|cGy)(?:\s*\[\s*(?P<result>%|cc|cm3)\s*\])?", re.IGNORECASE
)
_NAMED = {
    "mean": "Mean",
    "dmean": "Mean",
    "d_mean": "Mean",
    "max": "Max",
    "dmax": "Max",
    "d_max": "Max",
    "min": "Min",
    "dmin": "Min",
    "d_min": "Min",
    "hi": "HI",
}
_UNITS = {"%": "%", "cc": "cc", "cm3": "cc", "gy": "Gy", "cgy": "cGy"}


@dataclass(frozen=True)
class Metric:
    """One number asked of a DVH.

    Attributes
    ----------
    kind : {"D", "V", "Mean", "Max", "Min", "HI"}
    amount : float
        The volume of a "D" and the dose of a "V" metric; 0 for the others.
    amount_unit : {"%", "cc", "Gy", ""}
        For "D" % or cc of the structure; for "V" Gy, or % of the prescribed dose.
    unit : {"Gy", "%", "cc", ""}
        Unit of the result.
    """

    kind: str
    amount: float = 0.0
    amount_unit: str = ""
    unit: str = "Gy"

    def __post_init__(self) -> None:
        allowed = {
            "D": (("%", "cc"), ("Gy",)),
            "V": (("Gy", "%"), ("%", "cc")),
            "Mean": (("",), ("Gy",)),
            "Max": (("",), ("Gy",)),
            "Min": (("",), ("Gy",)),
            "HI": (("",), ("",)),
        }
        if self.kind not in allowed:
            raise EvaluationError(f"There is no metric of kind {self.kind!r}; use one of {', '.join(allowed)}.")
        amount_units, units = allowed[self.kind]
        if self.amount_unit not in amount_units or self.unit not in units:
            raise EvaluationError(
                f"A {self.kind} metric in {self.unit or 'no unit'} at {self.amount_unit or 'no unit'} does not exist; "
                f"the metrics are: {METRIC_EXAMPLES}."
            )
        if not math.isfinite(self.amount) or self.amount < 0.0:
            raise EvaluationError(f"Metric {self}: {self.amount} must be a finite number of 0 or more.")
        if self.kind == "D" and self.amount_unit == "%" and self.amount > 100.0:
            raise EvaluationError(f"Metric {self}: a structure has no more than 100 % of volume.")

    def __str__(self) -> str:
        if self.kind == "D":
            return f"D{format_number(self.amount)}{self.amount_unit}"
        if self.kind == "V":
            return f"V{format_number(self.amount)}{self.amount_unit}[{self.unit}]"
        return self.kind

    @property
    def is_dose(self) -> bool:
        """Whether the result is a dose."""
        return self.unit == "Gy"

    @property
    def needs_prescription(self) -> bool:
        """Whether the metric refers to the prescribed dose."""
        return self.kind == "V" and self.amount_unit == "%"

    def evaluate(self, dvh: Dvh, prescription_Gy: float | None = None) -> tuple[float, str]:
        """Return the metric's value and unit.

        Parameters
        ----------
        dvh : Dvh
        prescription_Gy : float, optional
            Prescribed dose of the course, for metrics in % of it.

        Raises
        ------
        EvaluationError
            When the metric needs a prescription and there is none, the structure is smaller than the volume asked for,
            or it has no dose to divide by (HI).
        """
        if self.kind == "Mean":
            return dvh.mean_Gy, "Gy"
        if self.kind == "Max":
            return dvh.max_Gy, "Gy"
        if self.kind == "Min":
            return dvh.min_Gy, "Gy"
        if self.kind == "HI":
            return _homogeneity_index(dvh), ""
        if self.kind == "D":
            if self.amount_unit == "%":
                return dvh.dose_at_volume_percent(self.amount), "Gy"
            return dvh.dose_at_volume_cm3(self.amount), "Gy"
        dose_Gy = self.amount
        if self.amount_unit == "%":
            dose_Gy = self.amount / 100.0 * checked_prescription(prescription_Gy, str(self))
        if self.unit == "%":
            return dvh.volume_percent_at_dose(dose_Gy), "%"
        return dvh.volume_cm3_at_dose(dose_Gy), "cc"


def parse_metric(text: str) -> Metric:
    """Read a metric such as ``D95%``, ``D0.03cc``, ``V20Gy[%]``, ``V95%[cc]``, ``Mean`` or ``HI``.

    Raises
    ------
    EvaluationError
        When the text is no metric; the error shows where the reading stopped and what metrics look like.
    """
    stripped = text.strip()
    named = _NAMED.get(stripped.lower())
    if named:
        return Metric(named, unit="" if named == "HI" else "Gy")
    match = _DOSE_AT_VOLUME.fullmatch(stripped)
    if match:
        return Metric("D", float(match["amount"]), _UNITS[match["unit"].lower()], "Gy")
    match = _VOLUME_AT_DOSE.fullmatch(stripped)
    if match:
        amount, unit = float(match["amount"]), _UNITS[match["unit"].lower()]
        if unit == "cGy":
            amount, unit = amount / 100.0, "Gy"
        return Metric("V", amount, unit, _UNITS[(match["result"] or "%").lower()])
    raise EvaluationError(
        f"{point_at(text, _stop(text))}\nThis is not a dose-volume metric: {_complaint(stripped)} "
        f"Examples: {METRIC_EXAMPLES}."
    )


def has_explicit_unit(text: str) -> bool:
    """Tell whether the text of a metric says the unit of its result."""
    return "[" in text


def format_number(value: float) -> str:
    """Write a number in its shortest exact form, without a trailing ``.0``."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def checked_prescription(prescription_Gy: float | None, what: str) -> float:
    """Return a prescribed dose that can be referred to, or raise `EvaluationError` naming what needs it."""
    if prescription_Gy is None:
        raise EvaluationError(
            f"{what} is in % of the prescribed dose, and there is no prescription; give it or use Gy."
        )
    if not math.isfinite(prescription_Gy) or prescription_Gy <= 0.0:
        raise EvaluationError(f"{what} needs a positive prescribed dose; got {prescription_Gy} Gy.")
    return float(prescription_Gy)


def point_at(text: str, position: int) -> str:
    """Return the text in one line and a mark under one of its characters."""
    line = " ".join(text.split("\n")).replace("\t", " ")
    return f"  {line}\n  {' ' * min(position, len(line))}^"


def _homogeneity_index(dvh: Dvh) -> float:
    median = dvh.dose_at_volume_percent(50.0)
    if median <= 0.0:
        raise EvaluationError(f"HI of {dvh.structure_name}: its D50% is zero; the index is not defined without dose.")
    return (dvh.dose_at_volume_percent(2.0) - dvh.dose_at_volume_percent(98.0)) / median


_PREFIX = re.compile(
    rf"\s*(?:D_?(?:{_NUMBER}\s*(?:%|cc|cm3)?)?|V_?(?:{_NUMBER}\s*(?:(?:%|Gy|cGy)(?:\s*\[\s*(?:%|cc|cm3)?)?)?)?)",
    re.IGNORECASE,
)


def _stop(text: str) -> int:
    match = _PREFIX.match(text)
    return match.end() if match else len(text) - len(text.lstrip())


def _complaint(text: str) -> str:
    if not text:
        return "there is nothing to read."
    letter = text[0].upper()
    if letter == "D" and re.match(rf"D_?{_NUMBER}", text, re.IGNORECASE):
        return "a D metric takes a volume in % or cc."
    if letter == "V" and re.match(rf"V_?{_NUMBER}", text, re.IGNORECASE):
        return "a V metric takes a dose in Gy, cGy or % and then [%] or [cc]."
    if letter in "DV":
        return f"a number should follow {letter!r}."
    return f"{text!r} is not known."
