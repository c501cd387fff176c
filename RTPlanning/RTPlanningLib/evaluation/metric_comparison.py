"""Metrics of structures in several plans side by side, with their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.metrics import parse_metric

DEFAULT_METRICS = ("Mean", "Max", "D98%", "D95%", "D50%", "D2%")


@dataclass(frozen=True)
class MetricRow:
    """A metric of one structure in every plan.

    Attributes
    ----------
    structure, metric, unit : str
    values : tuple of float or None
        In the order of the plans; None where a plan has no DVH of the structure.
    """

    structure: str
    metric: str
    unit: str
    values: tuple[float | None, ...]

    def differences(self) -> tuple[float | None, ...]:
        """Values minus the first plan's, where both have one."""
        first = self.values[0]
        return tuple(None if value is None or first is None else value - first for value in self.values)


def compare_metrics(
    plans: Mapping[str, Mapping[str, Dvh]], metrics: Sequence[str] = DEFAULT_METRICS
) -> tuple[MetricRow, ...]:
    """Evaluate metrics for every structure of every plan.

    Parameters
    ----------
    plans : mapping of plan name to mapping of structure name to Dvh
        Structures are the same where their names are; their order is that of the first plan that has them.
    metrics : sequence of str
        In the grammar of `DoseEngineLib.dose_metrics`; none that needs a prescription or the body.

    Raises
    ------
    EvaluationError
        A metric that cannot be read or evaluated from a DVH alone.
    """
    read = [parse_metric(text) for text in metrics]
    rows = []
    for structure in dict.fromkeys(name for dvhs in plans.values() for name in dvhs):
        found = [dvhs.get(structure) for dvhs in plans.values()]
        for metric in read:
            evaluated = [None if dvh is None else metric.evaluate(dvh, None) for dvh in found]
            unit = next(pair[1] for pair in evaluated if pair is not None)
            rows.append(
                MetricRow(structure, str(metric), unit, tuple(None if pair is None else pair[0] for pair in evaluated))
            )
    return tuple(rows)
