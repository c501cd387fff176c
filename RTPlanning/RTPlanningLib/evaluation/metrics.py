"""Dose-volume metrics, as evaluation and scripts use them; objectives are written in the same grammar."""

from DoseEngineLib.dose_metrics import METRIC_EXAMPLES, Metric, parse_metric

__all__ = ["METRIC_EXAMPLES", "Metric", "parse_metric"]
