"""Metrics and clinical goals: grammar, conventions, verdicts and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import OPERATORS, Goal, evaluate_goals, parse_goal
from RTPlanningLib.evaluation.metrics import Metric, parse_metric

# 0 to 100 Gy evenly in 200 cm3: D95% = 5 Gy, V20Gy = 80 %, D2cc = 99 Gy
EVEN = Dvh("PTV", 200.0, np.linspace(0.0, 100.0, 10_001))


@pytest.mark.parametrize(
    ("text", "canonical", "value", "unit"),
    [
        ("D95%", "D95%", 5.0, "Gy"),
        ("d95 %", "D95%", 5.0, "Gy"),
        ("D2cc", "D2cc", 99.0, "Gy"),
        ("D0.03cc", "D0.03cc", 99.985, "Gy"),
        ("D2cm3", "D2cc", 99.0, "Gy"),
        ("V20Gy[%]", "V20Gy[%]", 80.0, "%"),
        ("V20Gy", "V20Gy[%]", 80.0, "%"),
        ("V2000cGy [%]", "V20Gy[%]", 80.0, "%"),
        ("V20Gy[cc]", "V20Gy[cc]", 160.0, "cc"),
        ("V95%[%]", "V95%[%]", 52.5, "%"),
        ("V95%[cc]", "V95%[cc]", 105.0, "cc"),
        ("Mean", "Mean", 50.0, "Gy"),
        ("Dmean", "Mean", 50.0, "Gy"),
        ("max", "Max", 100.0, "Gy"),
        ("Min", "Min", 0.0, "Gy"),
        ("HI", "HI", 96.0 / 50.0, ""),
    ],
)
def test_metrics_read_and_evaluate(text, canonical, value, unit):
    metric = parse_metric(text)
    assert str(metric) == canonical
    assert parse_metric(canonical) == metric
    result, result_unit = metric.evaluate(EVEN, prescription_Gy=50.0)
    assert result == pytest.approx(value, abs=0.02)
    assert result_unit == unit


@pytest.mark.parametrize(
    ("text", "position"),
    [("D95", 3), ("D95Gy", 3), ("V20", 3), ("V20Gy[Gy]", 6), ("Median", 0), ("", 0), ("Dx", 1), ("D95%%", 4)],
)
def test_bad_metrics_show_where(text, position):
    with pytest.raises(EvaluationError) as error:
        parse_metric(text)
    lines = str(error.value).splitlines()
    assert lines[0] == f"  {text}"
    assert lines[1].index("^") == 2 + position
    assert "Examples: D95%" in lines[2]


def test_metrics_that_do_not_exist_are_refused():
    with pytest.raises(EvaluationError, match="no more than 100 %"):
        parse_metric("D101%")
    with pytest.raises(EvaluationError, match="does not exist"):
        Metric("V", 20.0, "cc", "%")
    with pytest.raises(EvaluationError, match="kind 'Median'"):
        Metric("Median")


def test_metrics_that_cannot_be_evaluated_say_why():
    with pytest.raises(EvaluationError, match="there is no prescription"):
        parse_metric("V95%[%]").evaluate(EVEN)
    with pytest.raises(EvaluationError, match="the structure has 200 cc"):
        parse_metric("D201cc").evaluate(EVEN)
    with pytest.raises(EvaluationError, match="not defined without dose"):
        parse_metric("HI").evaluate(Dvh("Far", 1.0, np.zeros(5)))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("PTV D95% >= 47.5 Gy", "PTV D95% >= 47.5 Gy"),
        ("  Spinal Cord   D0.03cc<=4500cGy ", "Spinal Cord D0.03cc <= 4500 cGy"),
        ("Lung_L V20Gy[%] < 30 %", "Lung_L V20Gy[%] < 30 %"),
        ("Lung_L V20Gy < 30 %", "Lung_L V20Gy[%] < 30 %"),
        ("Bowel V45Gy <= 195 cc", "Bowel V45Gy[cc] <= 195 cc"),
        ("Bowel V45Gy [cc] ≤ 195 cm3", "Bowel V45Gy[cc] <= 195 cc"),
        ("PTV D95% >= 95 %", "PTV D95% >= 95 %"),
        ("PTV D 50 D95 % => 95 %", "PTV D 50 D95% >= 95 %"),
        ("PTV HI <= 0.1", "PTV HI <= 0.1"),
        ("Rind>2cm Mean < 5 Gy", "Rind>2cm Mean < 5 Gy"),
        ("D95% Mean > 1 Gy", "D95% Mean > 1 Gy"),
        ("Herz (links) Mean < 4 Gy", "Herz (links) Mean < 4 Gy"),
    ],
)
def test_goals_read(text, canonical):
    goal = parse_goal(text)
    assert str(goal) == canonical
    assert parse_goal(canonical) == goal


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("PTV D95% 47.5 Gy", 16, "operator is missing"),
        ("PTV D95 >= 47.5 Gy", 4, "'D95' is not a metric"),
        ("PTV >= 47.5 Gy", 0, "'PTV' is not a metric"),
        ("D95% >= 47.5 Gy", 0, "name of a structure"),
        ("PTV D95% >= Gy", 12, "number and its unit"),
        ("PTV D95% >= 47.5 mGy", 17, "'mGy' is not a unit"),
        ("PTV D95% >= 47.5", 16, "unit is missing"),
        ("PTV D95% >= 47.5 cc", 17, "not in cc"),
        ("Lung V20Gy[%] < 30 cc", 19, "not in cc"),
        ("PTV HI <= 0.1 Gy", 14, "bare number"),
        ("PTV D95% >= -3 Gy", 12, "negative"),
        ("PTV D95% >= 1e999 Gy", 12, "finite"),
        (">= 3 Gy", 0, "structure and a metric"),
        ("", 0, "operator is missing"),
        ("PTV D95% >= 47.5 Gy soon", 12, "number and its unit"),
    ],
)
def test_bad_goals_show_where_and_an_example(text, position, what):
    with pytest.raises(EvaluationError) as error:
        parse_goal(text)
    message = str(error.value)
    assert what in message
    assert "Example: PTV D95% >= 47.5 Gy" in message
    assert message.splitlines()[1].index("^") == 2 + position


numbers = st.floats(0.0, 1e6, allow_nan=False).map(abs)
metrics = st.one_of(
    st.builds(Metric, st.just("D"), st.floats(0.0, 100.0).map(abs), st.just("%"), st.just("Gy")),
    st.builds(Metric, st.just("D"), numbers, st.just("cc"), st.just("Gy")),
    st.builds(Metric, st.just("V"), numbers, st.sampled_from(["Gy", "%"]), st.sampled_from(["%", "cc"])),
    st.sampled_from([Metric("Mean"), Metric("Max"), Metric("Min"), Metric("HI", unit="")]),
)
words = st.text(st.characters(categories=("L", "N"), include_characters="_-+~()<>="), min_size=1, max_size=8)


@given(metrics)
def test_metric_round_trip(metric):
    assert parse_metric(str(metric)) == metric


@given(st.lists(words, min_size=1, max_size=3), metrics, st.sampled_from(OPERATORS), numbers, st.data())
def test_goal_round_trip(name, metric, operator, limit, data):
    unit = data.draw(st.sampled_from(["Gy", "cGy", "%"])) if metric.is_dose else metric.unit
    goal = Goal(" ".join(name), metric, operator, limit, unit)
    assert parse_goal(str(goal)) == goal


@given(st.text(max_size=30))
def test_any_text_reads_or_is_refused_with_an_example(text):
    try:
        goal = parse_goal(text)
    except EvaluationError as error:
        assert "xample" in str(error)  # noqa: PT017  (either outcome is right, but never another exception)
    else:
        assert parse_goal(str(goal)) == goal


def test_verdicts():
    texts = ["PTV D95% >= 4.9 Gy", "PTV D95% >= 490 cGy", "PTV D95% >= 9.9 %", "PTV D95% > 5.1 Gy", "PTV V20Gy <= 79 %"]
    results = evaluate_goals(texts, {"PTV": EVEN}, prescription_Gy=50.0)
    assert [r.verdict for r in results] == ["passed", "passed", "passed", "failed", "failed"]
    assert [r.value for r in results] == pytest.approx([5.0, 500.0, 10.0, 5.0, 80.0], rel=1e-3)


def test_a_value_at_its_limit_in_single_precision_meets_it_but_not_strictly():
    dvh = Dvh("PTV", 1.0, np.full(9, 47.6, np.float32))
    assert dvh.mean_Gy != 47.6
    texts = ["PTV Mean >= 47.6 Gy", "PTV Mean <= 47.6 Gy", "PTV Mean <= 47.59 Gy", "PTV Mean >= 47.61 Gy"]
    assert [r.passed for r in evaluate_goals(texts, {"PTV": dvh})] == [True, True, False, False]
    exact = Dvh("PTV", 1.0, np.full(9, 50.0, np.float32))
    assert [r.passed for r in evaluate_goals(["PTV Mean > 50 Gy", "PTV Mean < 50 Gy"], {"PTV": exact})] == [False] * 2


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("Ptv D95% >= 0 Gy", "no DVH of a structure named Ptv"),
        ("PTV D95% >= 0 %", "there is no prescription"),
        ("PTV D300cc >= 0 Gy", "has 200 cc"),
        ("Part D95% >= 0 Gy", "Only 90.0 % of the structure"),
    ],
)
def test_goals_that_cannot_be_evaluated_never_pass(text, note):
    dvhs = {"PTV": EVEN, "Part": Dvh("Part", 5.0, np.ones(4), covered_fraction=0.9)}
    (result,) = evaluate_goals([text], dvhs)
    assert result.passed is None
    assert result.verdict == "not evaluated"
    assert note in result.note


def test_a_bad_goal_text_stops_the_evaluation():
    with pytest.raises(EvaluationError, match="cannot be read"):
        evaluate_goals(["PTV is fine"], {"PTV": EVEN})
