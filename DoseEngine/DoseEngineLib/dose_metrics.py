"""Metrics of a dose distribution and their grammar, shared by goals, objectives and tables.

====================  =======================================================================  =============
text                  meaning                                                                  unit
====================  =======================================================================  =============
``D95%``              dose that the best-irradiated 95 % of the volume receives at least        Gy
``D2cc``              the same for a volume in cm3                                              Gy
``DC2cc``             complement: dose that the coldest 2 cm3 receive at most; also ``DC5%``    Gy
``V20Gy[%]``          volume that receives at least 20 Gy; ``[cc]`` in cm3                      % or cc
``V95%[%]``           volume that receives at least 95 % of the prescribed dose; also ``[cc]``  % or cc
``CV20Gy[cc]``        complementary volume: what receives less than 20 Gy; also ``[%]``         % or cc
``Mean Max Min``      mean, maximum and minimum dose                                            Gy
``gEUD(a=8)``         generalized equivalent uniform dose, ``mean(D**a)**(1/a)``                Gy
``HI``                homogeneity index (D2% - D98%) / D50%                                     none
``Coverage``          part of the target that receives the prescribed dose, ``V100%[%]``        %
``CI(Paddick)``       conformity, TV_PIV**2 / (TV * PIV): 1 is perfect, less is worse           none
``CI(RTOG)``          conformity, PIV / TV                                                      none
``GI``                gradient index, volume at half the prescribed dose / PIV                  none
``R50%``              volume at 50 % of the prescribed dose / TV                                none
``Spill105%[%]``      volume outside the target at 105 % of the prescribed dose, in % of TV     % or cc
``ESD``               diameter of the sphere with the structure's volume                        mm
``ESD50%``            the same for the volume at 50 % of the prescribed dose                    mm
====================  =======================================================================  =============

TV is the target's volume, PIV the volume in the whole body that receives the prescribed dose, TV_PIV the target's part
of it. The indices of the last seven rows refer to the prescribed dose unless they name another: ``CI(Paddick, 95%)``,
``CI(RTOG, 57Gy)``, ``GI(18Gy)``, ``R30Gy``. Doses may be given in cGy, ``[%]`` after a dose asks for it in % of the
prescribed dose (``D95%[%]``, ``Mean[%]``), ``V20Gy`` without a bracket is in %, and ``Dmean``, ``Dmax``, ``Dmin``
and ``R50`` are read too. A bare ``CI`` is refused: the two in use differ.

Sources: names of AAPM TG-263 (Mayo et al., Int J Radiat Oncol Biol Phys 100 (2018) 1057), with its complements DC and
CV; HI of ICRU Report 83 (2010); gEUD of Niemierko (Med. Phys. 26 (1999) 1100); CI of Paddick (J. Neurosurg. 93 suppl. 3
(2000) 219) and of the RTOG (Shaw et al., Int J Radiat Oncol Biol Phys 27 (1993) 1231); GI of Paddick and Lippitz
(J. Neurosurg. 105 suppl. (2006) 194); R50% and the spillage at 105 % of RTOG 0813 and 0915.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError

METRIC_EXAMPLES = (
    "D95%, D2cc, DC2cc, V20Gy[%], V20Gy[cc], V95%[%], CV20Gy[cc], Mean, Max, Min, gEUD(a=8), HI, Coverage, "
    "CI(Paddick), CI(RTOG), GI, R50%, Spill105%[%], ESD"
)
# kind: units of its amount, units of its result; the first result is the one meant when the text names none
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "D": (("%", "cc"), ("Gy", "%")),
    "DC": (("%", "cc"), ("Gy", "%")),
    "V": (("Gy", "%"), ("%", "cc")),
    "CV": (("Gy", "%"), ("%", "cc")),
    "Mean": (("",), ("Gy", "%")),
    "Max": (("",), ("Gy", "%")),
    "Min": (("",), ("Gy", "%")),
    "gEUD": (("",), ("Gy", "%")),
    "HI": (("",), ("",)),
    "Coverage": (("%",), ("%",)),
    "CI(Paddick)": (("%", "Gy"), ("",)),
    "CI(RTOG)": (("%", "Gy"), ("",)),
    "GI": (("%", "Gy"), ("",)),
    "R": (("%", "Gy"), ("",)),
    "Spill": (("%", "Gy"), ("%", "cc")),
    "ESD": (("", "%", "Gy"), ("mm",)),
}
_DOSES = ("D", "DC", "Mean", "Max", "Min", "gEUD")
_INDICES = ("CI(Paddick)", "CI(RTOG)", "GI")
_NAMED = {
    **{spelling: "Mean" for spelling in ("mean", "dmean", "d_mean")},
    **{spelling: "Max" for spelling in ("max", "dmax", "d_max")},
    **{spelling: "Min" for spelling in ("min", "dmin", "d_min")},
    "hi": "HI",
    "coverage": "Coverage",
}
_WITH_AMOUNT = {"d": "D", "dc": "DC", "v": "V", "cv": "CV", "r": "R", "spill": "Spill", "esd": "ESD"}
_UNITS = {"%": "%", "cc": "cc", "cm3": "cc", "gy": "Gy", "cgy": "cGy"}
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_]+")
_UNIT = re.compile(r"\s*(%|cc|cm3|Gy|cGy)", re.IGNORECASE)
_LEVEL = re.compile(rf"({_NUMBER.pattern})\s*(%|Gy|cGy)", re.IGNORECASE)
_EXPONENT = re.compile(rf"(?:a\s*=\s*)?([+-]?{_NUMBER.pattern})", re.IGNORECASE)


class IsodoseVolumeSource(Protocol):
    """What tells the volume that an isodose encloses: the body's `Dvh`, or `isodose_volume.IsodoseVolumes`."""

    def volume_cm3_at_dose(self, dose_Gy: float) -> float:
        """Return the volume in cm3 that receives at least ``dose_Gy``."""


@dataclass(frozen=True)
class Metric:
    """One number asked of a dose distribution; the module's table says what each means.

    Attributes
    ----------
    kind : str
        "D", "DC", "V", "CV", "Mean", "Max", "Min", "gEUD", "HI", "Coverage", "CI(Paddick)", "CI(RTOG)", "GI", "R",
        "Spill" or "ESD".
    amount : float
        The volume of "D" and "DC", the exponent of "gEUD", the dose of "V", "CV", "CI", "GI" (the full, not the half
        dose), "R", "Spill" and "ESD"; 0 where there is none.
    amount_unit : {"%", "cc", "Gy", ""}
        For "D" and "DC" % or cc of the structure; else Gy, or % of the prescribed dose.
    unit : {"Gy", "%", "cc", "mm", ""}
        Unit of the result. For a dose % means % of the prescribed dose; for "V" and "CV" % of the structure's volume,
        for "Spill" % of the target's.
    """

    kind: str
    amount: float = 0.0
    amount_unit: str = ""
    unit: str = "Gy"

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise EvaluationError(f"There is no metric of kind {self.kind!r}; use one of {', '.join(_KINDS)}.")
        amount_units, units = _KINDS[self.kind]
        if self.amount_unit not in amount_units or self.unit not in units:
            raise EvaluationError(
                f"A {self.kind} metric in {self.unit or 'no unit'} at {self.amount_unit or 'no unit'} does not exist; "
                f"the metrics are: {METRIC_EXAMPLES}."
            )
        if self.kind == "gEUD":
            if not math.isfinite(self.amount) or self.amount == 0.0:
                raise EvaluationError(
                    f"gEUD: the exponent a = {self.amount} must be finite and not 0; use a > 1 for organs, 1 for the "
                    "mean, a < 0 for targets."
                )
            return
        if not math.isfinite(self.amount) or self.amount < 0.0:
            raise EvaluationError(f"Metric {self}: {self.amount} must be a finite number of 0 or more.")
        if self.kind in ("D", "DC") and self.amount_unit == "%" and self.amount > 100.0:
            raise EvaluationError(f"Metric {self}: a structure has no more than 100 % of volume.")
        if self.kind == "Coverage" and self.amount != 100.0:
            raise EvaluationError(
                f"Coverage is at 100 % of the prescribed dose; write V{format_number(self.amount)}%[%]."
            )
        if self.kind in (*_INDICES, "R", "Spill") and self.amount == 0.0:
            raise EvaluationError(f"Metric {self}: give a dose above 0.")

    def __str__(self) -> str:
        level = f"{format_number(self.amount)}{self.amount_unit}"
        if self.kind in ("D", "DC", "R", "ESD"):
            text = self.kind + (level if self.amount_unit else "")
        elif self.kind in ("V", "CV", "Spill"):
            return f"{self.kind}{level}[{self.unit}]"
        elif self.kind == "gEUD":
            text = f"gEUD(a={format_number(self.amount)})"
        elif self.kind in _INDICES and level != "100%":
            text = f"{self.kind[:-1]}, {level})" if self.kind.endswith(")") else f"{self.kind}({level})"
        else:
            text = self.kind
        return f"{text}[%]" if self.is_dose and self.unit == "%" else text

    @property
    def is_dose(self) -> bool:
        """Whether the result is a dose, in Gy or in % of the prescribed dose."""
        return self.kind in _DOSES

    @property
    def needs_prescription(self) -> bool:
        """Whether the metric refers to the prescribed dose."""
        if self.is_dose:
            return self.unit == "%"
        return self.amount_unit == "%"

    @property
    def needs_body(self) -> bool:
        """Whether the metric asks for dose outside the structure, so for the isodose volumes of the body."""
        return self.kind in (*_INDICES, "R", "Spill") or (self.kind == "ESD" and self.amount_unit != "")

    def evaluate(
        self, dvh: Dvh, prescription_Gy: float | None = None, body: IsodoseVolumeSource | None = None
    ) -> tuple[float, str]:
        """Return the metric's value and unit.

        Parameters
        ----------
        dvh : Dvh
            Of the structure; for conformity and gradient, of the target.
        prescription_Gy : float, optional
            Prescribed dose of the course, for metrics that refer to it.
        body : IsodoseVolumeSource, optional
            Isodose volumes of the whole body with the target in it, for metrics that ask for dose outside the
            structure (`needs_body`).

        Raises
        ------
        EvaluationError
            When the metric needs a prescription or the body's isodose volumes and there are none, the structure is
            smaller than the volume asked for, or there is no dose or isodose to divide by.
        """
        if self.is_dose:
            dose_Gy = self._dose_Gy(dvh)
            if self.unit == "Gy":
                return dose_Gy, "Gy"
            return 100.0 * dose_Gy / checked_prescription(prescription_Gy, str(self)), "%"
        if self.kind == "HI":
            return _homogeneity_index(dvh), ""
        if self.kind == "ESD" and not self.amount_unit:
            return equivalent_sphere_diameter_mm(dvh.volume_cm3), "mm"
        level_Gy = self.amount
        if self.amount_unit == "%":
            level_Gy = self.amount / 100.0 * checked_prescription(prescription_Gy, str(self))
        if self.kind in ("V", "CV", "Coverage"):
            in_percent = dvh.volume_percent_at_dose(level_Gy)
            if self.kind == "CV":
                in_percent = 100.0 - in_percent
            return (in_percent if self.unit == "%" else in_percent / 100.0 * dvh.covered_volume_cm3), self.unit
        if body is None:
            raise EvaluationError(
                f"{self} of {dvh.structure_name} asks for dose outside the structure; give the isodose volumes of the "
                "body."
            )
        return self._of_target_and_body(dvh, body, level_Gy), self.unit

    def _dose_Gy(self, dvh: Dvh) -> float:
        if self.kind == "Mean":
            return dvh.mean_Gy
        if self.kind == "Max":
            return dvh.max_Gy
        if self.kind == "Min":
            return dvh.min_Gy
        if self.kind == "gEUD":
            return generalized_eud_Gy(dvh.dose_samples_Gy, self.amount)
        if self.amount_unit == "%":
            return dvh.dose_at_volume_percent(self.amount if self.kind == "D" else 100.0 - self.amount)
        if self.kind == "D":
            return dvh.dose_at_volume_cm3(self.amount)
        if self.amount > dvh.covered_volume_cm3:
            raise EvaluationError(
                f"{self} of {dvh.structure_name}: the structure has {dvh.covered_volume_cm3:.4g} cc; ask for a volume "
                "between 0 and that."
            )
        return dvh.dose_at_volume_cm3(dvh.covered_volume_cm3 - self.amount)

    def _of_target_and_body(self, target: Dvh, body: IsodoseVolumeSource, level_Gy: float) -> float:
        in_body = body.volume_cm3_at_dose(level_Gy)
        volume = target.covered_volume_cm3
        if self.kind == "ESD":
            return equivalent_sphere_diameter_mm(in_body)
        in_target = target.volume_cm3_at_dose(level_Gy)
        # both are sampled; more than their errors means that the target sticks out of the body
        if in_target > in_body + 0.02 * volume:
            raise EvaluationError(
                f"{self} of {target.structure_name}: {in_target:.4g} cc of it receive {level_Gy:.4g} Gy, but only "
                f"{in_body:.4g} cc of the body do; give isodose volumes of the whole body, with the target in it."
            )
        if self.kind == "Spill":
            outside = max(in_body - in_target, 0.0)
            return outside if self.unit == "cc" else 100.0 * outside / volume
        # without the isodose an index is none: as 0 it would meet any limit from above
        if in_body <= 0.0:
            raise EvaluationError(
                f"{self} of {target.structure_name} is not defined: nothing receives {level_Gy:.4g} Gy; check the "
                "prescription and the dose's unit."
            )
        if self.kind in ("R", "CI(RTOG)"):
            return in_body / volume
        if self.kind == "GI":
            return body.volume_cm3_at_dose(0.5 * level_Gy) / in_body
        return min(in_target, in_body) ** 2 / (volume * in_body)


def generalized_eud_Gy(dose_Gy: np.ndarray, a: float) -> float:
    """Return the generalized equivalent uniform dose in Gy of samples of equal volume, ``mean(D**a)**(1/a)``.

    It is the mean dose for a = 1, goes to the maximum for large a and to the minimum for a far below zero. With a < 0 a
    single sample without dose makes it zero.
    """
    dose = np.asarray(dose_Gy, dtype=float)
    # a power of the ratio to the largest term neither overflows nor vanishes
    reference = float(dose.max() if a > 0 else dose.min())
    if reference <= 0.0:
        return 0.0
    with np.errstate(under="ignore"):
        return reference * float(np.mean((dose / reference) ** a)) ** (1.0 / a)


def equivalent_sphere_diameter_mm(volume_cm3: float) -> float:
    """Return the diameter in mm of the sphere that has a volume."""
    return 10.0 * (6.0 * volume_cm3 / math.pi) ** (1.0 / 3.0)


def parse_metric(text: str) -> Metric:
    """Read a metric such as ``D95%``, ``D0.03cc``, ``V20Gy[%]``, ``gEUD(a=8)``, ``Mean`` or ``CI(Paddick)``.

    Raises
    ------
    EvaluationError
        When the text is no metric; the error shows where the reading stopped and what metrics look like.
    """
    return _MetricReader(text).read()


class _MetricReader:
    """Reads one metric from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = len(text.rstrip())
        self.position = len(text) - len(text.lstrip())

    def read(self) -> Metric:
        word = _WORD.match(self.text, self.position, self.end)
        if word is None:
            self.stop("there is nothing to read." if self.position >= self.end else f"{self.rest()!r} is not known.")
        spelling = word[0].lower()
        if spelling in _NAMED:
            self.position = word.end()
            kind = _NAMED[spelling]
            return self.finish(kind, *((100.0, "%") if kind == "Coverage" else (0.0, "")))
        if spelling in ("geud", "eud"):
            return self.equivalent_uniform_dose(word.end())
        if spelling in ("ci", "gi"):
            return self.index(spelling, word.end())
        kind = _WITH_AMOUNT.get(spelling.rstrip("_"))
        if kind is None:
            if spelling[0] in "dv":
                self.stop(f"a number should follow {word[0][0]!r}.", word.start() + 1)
            self.stop(f"{self.rest()!r} is not known.")
        self.position = word.end()
        number = _NUMBER.match(self.text, self.position, self.end)
        if number is None:
            if kind == "ESD":
                return self.finish(kind, 0.0, "")
            self.stop(f"a number should follow {word[0]!r}.")
        self.position = number.end()
        return self.finish(kind, *self.amount(kind, float(number[0])))

    def amount(self, kind: str, amount: float) -> tuple[float, str]:
        match = _UNIT.match(self.text, self.position, self.end)
        unit = _UNITS[match[1].lower()] if match else ""
        allowed = _KINDS[kind][0]
        if not unit and kind == "R" and self.position == self.end:
            return amount, "%"
        if unit not in (*allowed, *(("cGy",) if "Gy" in allowed else ())) or not unit:
            what = "a volume in % or cc" if kind in ("D", "DC") else "a dose in Gy, cGy or %"
            self.stop(f"a {kind} metric takes {what}.")
        self.position = match.end()
        return (amount / 100.0, "Gy") if unit == "cGy" else (amount, unit)

    def equivalent_uniform_dose(self, position: int) -> Metric:
        self.position = position
        (argument,) = self.arguments(1, 1, "an exponent, as in gEUD(a=8).")
        match = _EXPONENT.fullmatch(argument[0])
        if match is None:
            self.stop("an exponent should stand in the bracket, as in gEUD(a=8).", argument[1])
        return self.finish("gEUD", float(match[1]), "")

    def index(self, spelling: str, position: int) -> Metric:
        self.position = position
        if spelling == "gi":
            kind, arguments = "GI", self.arguments(0, 1, "")
        else:
            arguments = self.arguments(
                1, 2, "its definition: CI(Paddick) is TV_PIV^2 / (TV * PIV), CI(RTOG) is PIV / TV."
            )
            (definition, place), *arguments = arguments
            kind = {"paddick": "CI(Paddick)", "rtog": "CI(RTOG)"}.get(definition.lower())
            if kind is None:
                self.stop(f"{definition!r} is no definition of CI; write CI(Paddick) or CI(RTOG).", place)
        level = (100.0, "%")
        if arguments:
            match = _LEVEL.fullmatch(arguments[0][0])
            if match is None:
                self.stop("a dose in Gy, cGy or % should stand here.", arguments[0][1])
            level = (float(match[1]), _UNITS[match[2].lower()])
            if level[1] == "cGy":
                level = (level[0] / 100.0, "Gy")
        return self.finish(kind, *level)

    def arguments(self, least: int, most: int, needed: str) -> list[tuple[str, int]]:
        """Read a bracket's arguments, each with its position."""
        match = re.compile(r"\s*\(([^()]*)\)").match(self.text, self.position, self.end)
        if match is None:
            if least:
                self.stop(f"{self.text[: self.position].strip()} needs {needed}")
            return []
        found, position = [], match.start(1)
        for part in match[1].split(","):
            found.append((part.strip(), position + len(part) - len(part.lstrip())))
            position += len(part) + 1
        if len(found) > most:
            self.stop("this is one argument too many.", found[most][1])
        self.position = match.end()
        return found

    def finish(self, kind: str, amount: float, amount_unit: str) -> Metric:
        """Read the unit in square brackets, if there is one, and what must be the end."""
        results = _KINDS[kind][1]
        unit = results[0]
        bracket = re.compile(r"\s*\[").match(self.text, self.position, self.end)
        if bracket is not None and len(results) > 1:
            match = re.compile(r"\s*([^\s\]]*)\s*\]").match(self.text, bracket.end(), self.end)
            unit = _UNITS.get(match[1].lower(), "") if match else ""
            if unit not in results:
                self.stop(
                    f"a {kind} metric gives [{'] or ['.join(results)}].",
                    bracket.end() if match is None else match.start(1),
                )
            self.position = match.end()
        if self.position < self.end:
            self.stop(f"nothing should follow here, but {self.rest()!r} does.")
        return Metric(kind, amount, amount_unit, unit)

    def rest(self) -> str:
        return self.text[self.position : self.end]

    def stop(self, what: str, position: int | None = None) -> NoReturn:
        place = self.position if position is None else position
        raise EvaluationError(
            f"{point_at(self.text, place)}\nThis is not a dose-volume metric: {what} Examples: {METRIC_EXAMPLES}."
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
