"""Objective rows as a table shows them: structure, kind, dose, volume, weight, level.

A row that says more than these columns hold has no table row, and stays a text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.dose_metrics import Metric, parse_metric
from OptimizerLib.aims import Aim, Dose, Extreme, UniformDose
from OptimizerLib.objective_rows import ObjectiveRow


@dataclass(frozen=True)
class TableKind:
    """A kind of objective that a table offers.

    Attributes
    ----------
    title : str
        As a person chooses it.
    explanation : str
        What is aimed at.
    has_dose, has_volume : bool
        Whether the columns dose and volume count.
    operator : str
        Of the goal that it stands for; empty for other aims.
    metric : str
        Of that goal, or of the value that is made extreme; "D" and "V" take their amount from the row.
    """

    title: str
    explanation: str
    has_dose: bool
    has_volume: bool
    operator: str = ""
    metric: str = ""


KINDS: dict[str, TableKind] = {
    "uniform": TableKind("uniform dose", "This dose in every voxel", True, False),
    "max": TableKind("at most", "No voxel above this dose", True, False, "<=", "Max"),
    "min": TableKind("at least", "No voxel below this dose", True, False, ">=", "Min"),
    "mean": TableKind("mean at most", "The mean not above this dose", True, False, "<=", "Mean"),
    "dose_max": TableKind("DVH at most", "The hottest part of the volume not above this dose", True, True, "<=", "D"),
    "dose_min": TableKind("DVH at least", "This part of the volume at or above the dose", True, True, ">=", "D"),
    "volume_max": TableKind("V at most", "The volume at this dose not above this part", True, True, "<=", "V"),
    "volume_min": TableKind("V at least", "The volume at this dose not below this part", True, True, ">=", "V"),
    "low_mean": TableKind("low mean", "The mean as low as the rest allows", False, False, "", "Mean"),
    "low_max": TableKind("low maximum", "The maximum as low as the rest allows", False, False, "", "Max"),
    "high_min": TableKind("high minimum", "The minimum as high as the rest allows", False, False, "", "Min"),
}
_EXTREMES = {"low_mean": "minimize", "low_max": "minimize", "high_min": "maximize"}


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Attributes
    ----------
    structure : str
    kind : str
        A key of `KINDS`.
    dose : float
        In ``unit``; of no effect where the kind has no dose.
    unit : {"Gy", "cGy", "%"}
        % is of the prescribed dose.
    volume_percent : float
        Of no effect where the kind has no volume.
    weight : float
    level : int
        Priority, 1 first.
    """

    structure: str
    kind: str
    dose: float = 0.0
    unit: str = "Gy"
    volume_percent: float = 0.0
    weight: float = 1.0
    level: int = 1

    @classmethod
    def of(cls, row: ObjectiveRow) -> TableRow | None:
        """The table's form of a row; None where the table could not say all that the row says."""
        found = _columns(row.aim)
        if found is None:
            return None
        shown = cls(**found, weight=row.weight, level=row.level)
        return shown if shown.to_row() == row else None

    def to_row(self) -> ObjectiveRow:
        """The row; raises `OptimizationError` or `EvaluationError` for numbers that make none."""
        return ObjectiveRow(self._aim(), float(self.weight), int(self.level))

    def with_kind(self, kind: str) -> TableRow:
        """The row with another kind; dose and volume are kept, or begin with something sensible."""
        wanted = KINDS[kind]
        volume = self.volume_percent
        if wanted.has_volume and not KINDS[self.kind].has_volume:
            volume = 95.0 if wanted.operator == ">=" else 30.0
        # a metric of volume knows Gy and %
        gray = self.unit == "cGy" and wanted.metric == "V"
        dose, unit = (self.dose / 100.0, "Gy") if gray else (self.dose, self.unit)
        if wanted.has_dose and not KINDS[self.kind].has_dose and dose == 0.0:
            dose, unit = 20.0, "Gy"
        return replace(self, kind=kind, volume_percent=volume, dose=dose, unit=unit)

    def _aim(self) -> Aim:
        kind = KINDS[self.kind]
        if self.kind == "uniform":
            return UniformDose(self.structure, Dose(float(self.dose), self.unit))
        if self.kind in _EXTREMES:
            return Extreme(_EXTREMES[self.kind], self.structure, parse_metric(kind.metric))
        if kind.metric == "D":
            metric = Metric("D", float(self.volume_percent), "%", "Gy")
        elif kind.metric == "V":
            metric = Metric("V", float(self.dose), self.unit, "%")
            return Goal(self.structure, metric, kind.operator, float(self.volume_percent), "%")
        else:
            metric = parse_metric(kind.metric)
        return Goal(self.structure, metric, kind.operator, float(self.dose), self.unit)


def _columns(aim: Aim) -> dict[str, object] | None:
    if isinstance(aim, UniformDose):
        return {"structure": aim.structure, "kind": "uniform", "dose": aim.dose.value, "unit": aim.dose.unit}
    if isinstance(aim, Extreme):
        kinds = [k for k, d in _EXTREMES.items() if d == aim.direction and KINDS[k].metric == aim.metric.kind]
        return {"structure": aim.structure, "kind": kinds[0]} if kinds else None
    if not isinstance(aim, Goal):
        return None
    kinds = [k for k, kind in KINDS.items() if (kind.operator, kind.metric) == (aim.operator, aim.metric.kind)]
    if not kinds:
        return None
    found: dict[str, object] = {"structure": aim.structure, "kind": kinds[0]}
    if aim.metric.kind == "V":
        return found | {"dose": aim.metric.amount, "unit": aim.metric.amount_unit, "volume_percent": aim.limit}
    if aim.metric.kind == "D":
        found["volume_percent"] = aim.metric.amount
    return found | {"dose": aim.limit, "unit": aim.unit}
