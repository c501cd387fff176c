"""From a plan file to Pareto plans, from there to navigated fluence, and on to leaves and dose: the command's road."""

from __future__ import annotations

import numpy as np
import pytest

from OptimizerLib.errors import OptimizationError
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.pareto_plans import ParetoPlans
from RTPlanningLib.cli import main
from RTPlanningLib.pareto_workflow import navigate_front, read_front
from RTPlanningLib.plan_file import read_plan_file

PLAN = """\
name = "Two goals"

[prescription]
dose_Gy = 50
fractions = 25
target = "PTV"
normalization = "none"

[beams]
gantry = [0, 120, 240]

[optimization]
objectives = [
    "PTV uniform 50 Gy, weight 100",
    "Core Max <= 25 Gy, weight 10",
    "fluence smoothness, weight 0.01",
]
bixel_mm = 15
spacing_mm = 10
levels = 4
corrections = 0

[dose]
engine = "photon-pencil-beam"
spacing_mm = 10
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """The folder of the plans."""
    folder = tmp_path_factory.mktemp("pareto")
    (folder / "mine.toml").write_text(PLAN, encoding="utf-8")
    out = folder / "front"
    words = ["pareto", str(folder / "mine.toml"), "--case", "tg119-cshape", "--out", str(out)]
    assert main([*words, "--tradeoff", "Core", "--tradeoff", "PTV", "--plans", "4", "--gap", "8"]) == 0
    return out


def test_the_folder_holds_page_table_plans_and_plan_file(front):
    plans = ParetoPlans.load(front / "front.npz")
    assert plans.front.goals == ("Core", "PTV")
    assert (front / "plan.toml").read_text(encoding="utf-8") == PLAN
    lines = (front / "plans.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Plan,Core,PTV,PTV D95% (Gy),PTV D2% (Gy),Core Mean (Gy),Core D2% (Gy)"
    assert len(lines) == 1 + plans.front.plans
    first = [float(cell) for cell in lines[1].split(",")]
    assert first[1:3] == pytest.approx(plans.front.values[0], rel=1e-6)
    page = (front / "pareto.html").read_text(encoding="utf-8")
    assert "Core Max &lt;= 25 Gy, weight 10" in page
    assert plans.front.message in page
    assert "Not for clinical use" in page


def test_a_choice_becomes_leaves_and_dose(front, tmp_path, capsys):
    """The fluence of the choice is taken as it is; its plan file weighs rows by the trade-off there."""
    chosen, out = tmp_path / "chosen", tmp_path / "result"
    assert main(["navigate", str(front), "--out", str(chosen), "--weight", "Core=2"]) == 0
    assert "Navigated between Pareto plans" in capsys.readouterr().out
    fluence = OptimizedFluence.load(chosen / "fluence.npz")
    request = read_plan_file(chosen / "plan.toml")
    assert tuple(request.optimization.goals.to_entries()) == fluence.objectives
    assert str(request.optimization.goals.rows[0].aim) == "PTV uniform 50 Gy"
    assert ">Here<" in (chosen / "pareto.html").read_text(encoding="utf-8")
    words = ["optimize", str(chosen / "plan.toml"), "--case", "tg119-cshape", "--start", str(chosen)]
    assert main([*words, "--keep-fluence", "--out", str(out)]) == 0
    kept = OptimizedFluence.load(out / "fluence.npz")
    np.testing.assert_array_equal(kept.weights_MU, fluence.weights_MU)
    assert kept.delivered_MU.sum() > 0
    assert "as it was given" in kept.message
    assert (out / "report.html").is_file()


def test_limits_hold_and_what_cannot_be_is_said(front, tmp_path, capsys):
    plans = read_front(front)
    low, high = plans.front.values[:, 0].min(), plans.front.values[:, 0].max()
    limit = 0.8 * low + 0.2 * high
    assert navigate_front(front, tmp_path / "a", limits={"Core": limit}).position.values[0] <= limit * (1 + 1e-6)
    with pytest.raises(OptimizationError, match="cannot be bounded"):
        navigate_front(front, tmp_path / "b", limits={"Core": -1.0})
    with pytest.raises(OptimizationError, match=r"no goal 'Lung'.*Core, PTV"):
        navigate_front(front, tmp_path / "b", importance={"Lung": 2.0})
    assert not (tmp_path / "b").exists()
    with pytest.raises(OptimizationError, match=r"no front\.npz"):
        navigate_front(tmp_path, tmp_path / "b")
    assert main(["navigate", str(tmp_path), "--out", str(tmp_path / "b")]) == 1
    assert "no front.npz" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["navigate", str(front), "--out", str(tmp_path / "b"), "--limit", "Core"])
    with pytest.raises(SystemExit):
        main(["optimize", str(front / "plan.toml"), "--case", "tg119-cshape", "--keep-fluence", "--out", "x"])
    assert "--keep-fluence goes with --start" in capsys.readouterr().err
    text = (front / "plan.toml").read_text(encoding="utf-8")
    other = tmp_path / "other"
    other.mkdir()
    (other / "front.npz").write_bytes((front / "front.npz").read_bytes())
    (other / "plan.toml").write_text(text.replace("weight 100", "weight 90"), encoding="utf-8")
    with pytest.raises(OptimizationError, match="was changed since"):
        navigate_front(other, tmp_path / "b")
