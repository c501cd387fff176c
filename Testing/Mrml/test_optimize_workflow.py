"""Optimizing from a plan file: the folder it writes, its report, and going on from an earlier result."""

from __future__ import annotations

import csv
from html import unescape

import numpy as np
import pytest

from DoseEngineLib.errors import PlanFileError
from DoseEngineLib.plan import plan_from_json
from OptimizerLib.errors import OptimizationError
from OptimizerLib.optimized_fluence import OptimizedFluence
from RTPlanningLib import cli
from RTPlanningLib.optimization_workflow import INFLUENCE, OPTIMIZED_OUTPUTS, optimize_case, read_start
from RTPlanningLib.output_folder import MANIFEST
from RTPlanningLib.plan_file import parse_plan_file, read_plan_file
from RTPlanningLib.samples import load_sample
from RTPlanningLib.samples.plan_files import available_plan_files, find_plan_file
from RTPlanningLib.workflow import plan_case

PLAN = """
name = "Three beams"

[prescription]
dose_Gy = 50
fractions = 25
target = "PTV"
normalization = "D95"

[beams]
gantry = [0, 120, 240]

[optimization]
objectives = ["PTV uniform 52 Gy, weight 100", "Core Max <= 30 Gy, weight 10", "External Max <= 55 Gy"]
bixel_mm = 10
spacing_mm = 8
iterations = 40
levels = 4
corrections = 1

[dose]
engine = "photon-pencil-beam"
spacing_mm = 8
"""


@pytest.fixture(scope="module")
def case():
    return load_sample("tg119-cshape", spacing_mm=5.0)


@pytest.fixture(scope="module")
def result(case, tmp_path_factory):
    steps = []
    done = optimize_case(
        case,
        parse_plan_file(PLAN),
        tmp_path_factory.mktemp("imrt") / "out",
        keep_influence=True,
        progress=lambda fraction, text: steps.append((fraction, text)),
    )
    assert [fraction for fraction, _ in steps] == sorted(fraction for fraction, _ in steps)
    assert any("objective" in text for _, text in steps)
    return done


def test_everything_is_written(result):
    names = {*OPTIMIZED_OUTPUTS, INFLUENCE}
    assert {path.name for path in result.planning.files} == names
    assert {path.name for path in result.planning.folder.iterdir()} == {*names, MANIFEST}


def test_the_plan_is_scaled_to_its_prescription_and_has_modulated_beams(result):
    plan = plan_from_json((result.planning.folder / "plan.json").read_text(encoding="utf-8"))
    assert plan == result.planning.plan
    assert result.planning.dvhs["PTV"].dose_at_volume_percent(95.0) == pytest.approx(50.0, rel=1e-3)
    assert all(beam.meterset_MU > 1.0 and len(beam.control_points) > 2 for beam in plan.beams)
    before = [beam.meterset_MU for beam in result.found.plan.beams]
    after = [beam.meterset_MU for beam in plan.beams]
    np.testing.assert_allclose(np.divide(after, before), after[0] / before[0])


def test_the_history_is_written_down_to_what_the_leaves_deliver(result):
    with (result.planning.folder / "objectives.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    stages = [row["Stage"] for row in rows]
    assert stages[-4:] == ["Ideal", "Sequenced", "Refined", "By the engine"]
    assert set(stages[:-4]) == {"Fluence"}
    sums = [float(row["Sum"]) for row in rows]
    assert sums[0] > 2 * sums[-5]
    assert sums[-4] == pytest.approx(sums[-5], rel=1e-6)
    assert sums[-4] < sums[-2] <= sums[-3]
    assert [float(rows[-2][name]) for name in result.found.term_names] == pytest.approx(
        result.found.losses.refined_terms, rel=1e-6
    )


def test_the_report_shows_objectives_fluence_and_convergence(result):
    report = (result.planning.folder / "report.html").read_text(encoding="utf-8")
    for text in ("PTV uniform 52 Gy, weight 100", "Sequenced", "Refined", "Segments", "ideal fluence"):
        assert text in report
    # DVH, fluence, convergence, slices, 3D, and the view of each beam
    assert report.count("data:image/") == 5 + len(result.planning.plan.beams)
    assert "the first control point is shown" in report
    assert "52 Gy" not in report.split("<h2>Goals</h2>")[1].split("<h2>")[0]


def test_the_scene_holds_the_fluence_and_goes_on_from_it(result):
    from RTPlanningLib.headless import HeadlessSlicer
    from RTPlanningLib.logic import RTPlanningLogic

    with HeadlessSlicer() as runtime:
        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(result.planning.folder / "scene.mrb")
        (planNode,) = logic.planNodes()
        kept = logic.optimizerLogic.optimizedFluence(planNode)
    np.testing.assert_array_equal(kept.weights_MU, result.found.solution.weights)
    assert kept.objectives == tuple(result.found.goals.to_entries())


def test_a_second_run_goes_on_from_the_first(result, case, tmp_path):
    start = read_start(result.planning.folder)
    assert isinstance(start, OptimizedFluence)
    again = optimize_case(case, parse_plan_file(PLAN), tmp_path / "again", start=start)
    first = result.found.history
    assert again.found.history[0].value == pytest.approx(first[-1].value, rel=1e-4)
    assert len(again.found.history) < len(first)
    assert INFLUENCE not in {path.name for path in again.planning.files}


def test_a_search_that_is_stopped_still_gives_a_plan(case, tmp_path):
    stopped = optimize_case(
        case, parse_plan_file(PLAN), tmp_path / "out", callback=lambda state: state.stop() if state.iteration else None
    )
    assert not stopped.found.solution.converged
    assert len(stopped.found.history) == 2
    assert stopped.planning.dvhs["PTV"].dose_at_volume_percent(95.0) == pytest.approx(50.0, rel=1e-3)


def test_a_plan_without_and_with_optimization_goes_to_its_own_command(case, tmp_path):
    with pytest.raises(PlanFileError, match="rtplanning optimize"):
        plan_case(case, parse_plan_file(PLAN), tmp_path / "a")
    plain = PLAN.split("[beams]")[0] + '[[beam]]\ngantry = 0\nfit = "mlc"\n'
    with pytest.raises(PlanFileError, match=r"no table \[optimization\].*rtplanning run"):
        optimize_case(case, parse_plan_file(plain), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_that_is_none_is_named(tmp_path, capsys):
    with pytest.raises(OptimizationError, match=r"no fluence\.npz"):
        read_start(tmp_path)
    arguments = ["optimize", "tg119-cshape-imrt", "--case", "tg119-cshape", "--out", str(tmp_path / "x")]
    assert cli.main([*arguments, "--start", str(tmp_path)]) == cli.FAILED
    assert "fluence.npz" in capsys.readouterr().err


def test_the_plans_of_the_samples_fit_their_cases(capsys, tmp_path):
    names = available_plan_files()
    assert {"tg119-cshape-imrt", "thorax-imrt"} <= set(names)
    for name in names:
        request = read_plan_file(find_plan_file(name))
        assert request.optimization is not None
        plan = request.build(load_sample(name.rsplit("-imrt", 1)[0]))
        assert len(plan.beams) >= 3
        text = find_plan_file(name).read_text(encoding="utf-8")
        assert parse_plan_file(request.to_toml()).beams == parse_plan_file(text).beams
    assert cli.main(["optimize", "no-such-plan", "--case", "thorax", "--out", str(tmp_path)]) == cli.FAILED
    assert names[0] in capsys.readouterr().err


def test_levels_and_limits_are_told_by_their_rows(case, tmp_path):
    rows = (
        '["PTV uniform 52 Gy, weight 100", "Core Mean <= 15 Gy, level 2", "fluence smoothness, weight 0.01", '
        '"External Max <= 60 Gy, constraint"]'
    )
    text = PLAN.replace(PLAN[PLAN.index("objectives = ") + 13 : PLAN.index("\nbixel_mm")], rows)
    done = optimize_case(case, parse_plan_file(text), tmp_path / "out")
    assert sorted({entry.level for entry in done.found.history}) == [1, 2]
    with (done.planning.folder / "objectives.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    levels = [f"Fluence, level {entry.level}" for entry in done.found.history]
    assert [row["Stage"] for row in rows] == [*levels, "Ideal", "Delivered"]
    weights = (done.found.solution.weights, done.found.delivered_weights)
    for row, values in zip(rows[-2:], (done.found.problem.values(w) for w in weights), strict=True):
        assert [float(row[name]) for name in done.found.term_names] == pytest.approx(values, rel=1e-6)
    report = (done.planning.folder / "report.html").read_text(encoding="utf-8")
    for part in ("Core Mean &lt;= 15 Gy, level 2", "External Max &lt;= 60 Gy, constraint", "exceeded by", "Delivered"):
        assert part in report


def test_fluence_that_no_row_bounds_is_noted_in_the_report(case, tmp_path):
    rows = '["PTV uniform 52 Gy, weight 100", "Core Max <= 30 Gy, weight 10"]'
    text = PLAN.replace(PLAN[PLAN.index("objectives = ") + 13 : PLAN.index("\nbixel_mm")], rows)
    text = text.replace("corrections = 1", "corrections = 0")
    done = optimize_case(case, parse_plan_file(text), tmp_path / "out", callback=lambda state: state.stop())
    (note,) = done.found.notes
    assert f"Note: {note}" in done.headlines()
    assert note in unescape((done.planning.folder / "report.html").read_text(encoding="utf-8"))
    assert OptimizedFluence.load(done.planning.folder / "fluence.npz").notes == (note,)
