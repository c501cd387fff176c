"""Metrics of several plans side by side."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.metric_comparison import compare_metrics


def dvh(name: str, low: float, high: float) -> Dvh:
    return Dvh(name, 10.0, np.linspace(low, high, 10001))


def test_differences_are_to_the_first_plan() -> None:
    rows = compare_metrics(
        {"A": {"PTV": dvh("PTV", 50.0, 60.0)}, "B": {"PTV": dvh("PTV", 52.0, 60.0)}}, ("Mean", "D95%")
    )
    assert [(row.structure, row.metric, row.unit) for row in rows] == [("PTV", "Mean", "Gy"), ("PTV", "D95%", "Gy")]
    assert rows[0].values == pytest.approx((55.0, 56.0))
    assert rows[0].differences() == pytest.approx((0.0, 1.0))
    assert rows[1].values == pytest.approx((50.5, 52.4), abs=1e-3)


def test_a_structure_that_a_plan_lacks_has_no_value_there() -> None:
    plans = {"A": {"PTV": dvh("PTV", 50.0, 60.0)}, "B": {"Lung": dvh("Lung", 0.0, 20.0)}}
    rows = compare_metrics(plans, ("Mean",))
    assert [row.structure for row in rows] == ["PTV", "Lung"]
    assert rows[0].values == (pytest.approx(55.0), None)
    assert rows[1].values == (None, pytest.approx(10.0))
    assert rows[0].differences() == (pytest.approx(0.0), None)
    assert rows[1].differences() == (None, None)


def test_a_metric_that_needs_more_than_a_dvh_is_refused() -> None:
    with pytest.raises(EvaluationError):
        compare_metrics({"A": {"PTV": dvh("PTV", 50.0, 60.0)}}, ("V95%[%]",))
    assert compare_metrics({}, ("Mean",)) == ()
