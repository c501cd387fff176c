"""A plan recomputed: its DVHs beside those it had, and what the doses differ by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from DoseEngineLib.dose_metrics import parse_metric
from DoseEngineLib.plan import LeafModel, Plan
from RTPlanningLib.evaluation.dose_comparison import PairComparison
from RTPlanningLib.evaluation.dvh import Dvh

METRICS = ("Mean", "D98%", "D95%", "D50%", "D2%")


@dataclass(frozen=True)
class MetricDifference:
    """A metric of a structure, recomputed and as planned.

    Attributes
    ----------
    structure, metric : str
    recomputed_Gy, planned_Gy : float
    prescription_Gy : float or None
        What `percent` refers to.
    """

    structure: str
    metric: str
    recomputed_Gy: float
    planned_Gy: float
    prescription_Gy: float | None

    @property
    def difference_Gy(self) -> float:
        """Recomputed less planned."""
        return self.recomputed_Gy - self.planned_Gy

    @property
    def percent(self) -> float | None:
        """The difference in % of the prescribed dose; None without one."""
        return None if not self.prescription_Gy else 100.0 * self.difference_Gy / self.prescription_Gy


@dataclass(frozen=True)
class LeafModelRow:
    """A leaf model and where it comes from; ``used`` where the dose was calculated with it."""

    source: str
    model: LeafModel
    used: bool


@dataclass(frozen=True, eq=False)
class Recomputation:
    """A plan of another system, recomputed.

    Attributes
    ----------
    plan : Plan
        As calculated.
    label : str
        Of the file.
    recomputed, planned : dict of structure name to Dvh
        ``planned`` holds those structures whose planned DVH is known.
    planned_source : str
        What the planned DVHs were read from, in words; empty where there are none.
    pair : PairComparison or None
        Gamma and difference to the planned dose, where there is one.
    leaf_models : tuple of LeafModelRow
    plan_notes : tuple of str
        What the plan holds and what was decided in reading it.
    notes : tuple of str
        Of the comparison.
    """

    plan: Plan
    label: str
    recomputed: Mapping[str, Dvh]
    planned: Mapping[str, Dvh]
    planned_source: str
    pair: PairComparison | None
    leaf_models: tuple[LeafModelRow, ...]
    plan_notes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def prescription_Gy(self) -> float | None:
        """Prescribed dose of the course."""
        return self.plan.prescription.dose_Gy if self.plan.prescription else None

    @property
    def target(self) -> str | None:
        """Structure of the prescription."""
        return self.plan.prescription.target if self.plan.prescription else None

    def differences(self) -> list[MetricDifference]:
        """Every metric of every structure whose planned DVH is known."""
        rows = []
        for name, planned in self.planned.items():
            for text in METRICS:
                metric = parse_metric(text)
                ours, theirs = (
                    metric.evaluate(dvh, self.prescription_Gy)[0] for dvh in (self.recomputed[name], planned)
                )
                rows.append(MetricDifference(name, text, float(ours), float(theirs), self.prescription_Gy))
        return rows

    def headlines(self) -> list[str]:
        """The main numbers in words."""
        lines = []
        rows = self.differences()
        of_target = [row for row in rows if row.structure == self.target and row.metric in ("Mean", "D95%")]
        for row in of_target:
            lines.append(f"{row.structure} {row.metric}: {said(row)}")
        means = [row for row in rows if row.metric == "Mean" and row.structure != self.target]
        if means:
            worst = max(means, key=lambda row: abs(row.difference_Gy))
            lines.append(f"Largest difference of a mean dose elsewhere: {worst.structure}, {said(worst)}")
        if self.pair is not None and self.pair.everywhere.gamma is not None:
            gamma = self.pair.everywhere.gamma
            lines.append(f"Gamma {gamma.criterion}: {gamma.pass_rate_percent:.2f} % of {gamma.judged} voxels")
        return lines or ["There is neither a planned dose nor a DVH table to compare with."]

    def to_dict(self) -> dict[str, Any]:
        """Numbers and notes as JSON values."""
        everywhere = None if self.pair is None else self.pair.everywhere
        return {
            "schema": 1,
            "plan": self.plan.name,
            "label": self.label,
            "prescription_Gy": self.prescription_Gy,
            "planned_source": self.planned_source,
            "metrics": [
                {
                    "structure": row.structure,
                    "metric": row.metric,
                    "recomputed_Gy": row.recomputed_Gy,
                    "planned_Gy": row.planned_Gy,
                    "difference_Gy": row.difference_Gy,
                    "difference_percent_of_prescription": row.percent,
                }
                for row in self.differences()
            ],
            "gamma": None if everywhere is None or everywhere.gamma is None else everywhere.gamma.statistics(),
            "difference": None
            if everywhere is None or everywhere.difference is None
            else everywhere.difference.statistics(),
            "leaf_models": [
                {
                    "source": row.source,
                    "used": row.used,
                    "transmission": row.model.transmission,
                    "leaf_end_offset_mm": row.model.leaf_end_offset_mm,
                    "tongue_and_groove_mm": row.model.tongue_and_groove_mm,
                }
                for row in self.leaf_models
            ],
            "plan_notes": list(self.plan_notes),
            "notes": list(self.notes),
        }


def said(row: MetricDifference) -> str:
    """A metric in words, such as "43.20 Gy, planned 42.75 Gy (+0.45 Gy, +1.1 % of the prescription)"."""
    percent = "" if row.percent is None else f", {row.percent:+.1f} % of the prescription"
    return f"{row.recomputed_Gy:.2f} Gy, planned {row.planned_Gy:.2f} Gy ({row.difference_Gy:+.2f} Gy{percent})"
