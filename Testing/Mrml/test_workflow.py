"""The whole road: a case and a plan in, a folder out; the same bytes twice, and all or nothing."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DoseEngineLib.errors import Cancelled, CaseError, PlanFileError
from DoseEngineLib.plan import Structure, plan_from_json
from RTPlanningLib import cli, workflow
from RTPlanningLib.case import Case
from RTPlanningLib.output_folder import MANIFEST, OutputError
from RTPlanningLib.plan_file import parse_plan_file, read_plan_file
from RTPlanningLib.plan_templates import conformal_request
from RTPlanningLib.samples import load_sample
from RTPlanningLib.workflow import OUTPUTS, plan_case, read_case_from

PLAN = """
# A comment that the copy keeps.
name = "Two fields"
goals = ["PTV D95% >= 40 Gy", "Rectum Dmean <= 10 Gy", "Kidney Dmean <= 5 Gy"]

[prescription]
dose_Gy = 50.0
fractions = 25
target = "PTV"

[[beam]]
name = "AP"
gantry = 0
field = [80, 100]

[[beam]]
name = "Left"
gantry = 90
fit = "mlc"
margin_mm = 8

[dose]
spacing_mm = 8
"""


@pytest.fixture(scope="module")
def case() -> Case:
    return load_sample("tg119-prostate", spacing_mm=5.0)


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(PLAN, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def result(case, plan_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "result"
    return plan_case(case, read_plan_file(plan_file), out, plan_file=plan_file)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_everything_is_written(result):
    assert {path.name for path in result.files} == set(OUTPUTS)
    assert {path.name for path in result.folder.iterdir()} == {*OUTPUTS, MANIFEST}
    assert all(path.stat().st_size > 100 for path in result.files)


def test_the_dose_file_holds_the_prescribed_dose_at_the_isocentre(result):
    case = read_case_from(ct=result.folder / "dose.nrrd")
    i, j, k = np.round(case.grid.ras_to_index(result.plan.beams[0].isocenter_RAS_mm)).astype(int)
    # the isocentre lies within half a voxel (4 mm) of this one
    assert case.hu[k, j, i] == pytest.approx(50.0, rel=0.03)
    assert case.grid.spacing_mm == pytest.approx((8.0, 8.0, 8.0))
    assert case.hu.min() >= 0.0


def test_the_numbers_of_the_files_are_those_of_the_result(result):
    with (result.folder / "goals.csv").open(encoding="utf-8", newline="") as file:
        goals = list(csv.DictReader(file))
    assert [goal["Result"] for goal in goals] == ["passed", "failed", "not evaluated"]
    assert [goal["Result"] for goal in goals] == [goal.verdict for goal in result.goals]
    assert float(goals[0]["Achieved"]) == pytest.approx(result.dvhs["PTV"].dose_at_volume_percent(95.0), abs=1e-4)
    assert goals[2]["Achieved"] == ""
    assert "Kidney" in goals[2]["Note"]
    with (result.folder / "dvh.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    column = next(n for n, name in enumerate(rows[0]) if name.startswith("PTV Dose"))
    dose, volume = np.array([row[column : column + 2] for row in rows[1:]], dtype=float).T
    assert np.interp(95.0, volume[::-1], dose[::-1]) == pytest.approx(float(goals[0]["Achieved"]), abs=0.1)


def test_headlines_give_the_main_numbers(result):
    dose, goals, checks = result.headlines()
    d95 = result.dvhs["PTV"].dose_at_volume_percent(95.0)
    assert f"D95% {d95:.2f} Gy ({2 * d95:.1f} % of the prescribed 50 Gy)" in dose
    assert goals == "Goals: 1 passed, 1 failed, 1 not evaluated"
    assert checks.startswith("Checks before sign-off: ")
    with (result.folder / "checks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["Check"], row["Result"]) for row in rows] == [(one.name, one.verdict) for one in result.checks]
    assert sum(row["Result"] == "warning" for row in rows) == int(checks.split(" warning")[0].split()[-1])


def test_the_plan_is_written_as_asked_and_as_delivered(result, case, plan_file):
    assert (result.folder / "plan.toml").read_bytes() == plan_file.read_bytes()
    delivered = plan_from_json((result.folder / "plan.json").read_text(encoding="utf-8"))
    assert delivered == result.plan
    asked = parse_plan_file(PLAN).build(case)
    assert delivered == asked.with_metersets([beam.meterset_MU for beam in delivered.beams])
    assert all(beam.meterset_MU > 10.0 for beam in delivered.beams)
    assert delivered.beams[0].control_points[0].aperture.jaw_x_mm == (-40.0, 40.0)


def test_the_scene_brings_the_plan_back(result, capsys):
    from RTPlanningLib.headless import HeadlessSlicer
    from RTPlanningLib.logic import RTPlanningLogic

    with HeadlessSlicer() as runtime:
        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(result.folder / "scene.mrb")
        (planNode,) = logic.planNodes()
        assert logic.deliveredPlan(planNode) == result.plan
    assert cli.main(["show", str(result.folder / "scene.mrb")]) == cli.OK
    shown = capsys.readouterr().out
    for text in ("Two fields", "50 Gy in 25 fractions to PTV", "-40.0 / 40.0", "60 pairs", "not evaluated"):
        assert text in shown
    assert f"{result.plan.beams[0].meterset_MU:.1f}" in shown


def test_the_report_says_what_matters(result):
    report = (result.folder / "report.html").read_text(encoding="utf-8")
    for text in ("Two fields", "Not for clinical use", "Kidney", f"{result.plan.beams[1].meterset_MU:.1f}"):
        assert text in report
    # DVH, slices, 3D, and the view of each beam
    assert report.count("data:image/") == 3 + len(result.plan.beams)
    for beam in result.plan.beams:
        assert f"eye view of {beam.name}" in report
    checks = report.split("Checks before sign-off")[1]
    assert "Asked for by goals, but not there: Kidney;" in checks
    assert "lie in PTV" in checks


def test_two_runs_write_the_same_bytes(result, case, plan_file, tmp_path):
    again = plan_case(case, read_plan_file(plan_file), tmp_path / "again", plan_file=plan_file)
    assert hashes(again.folder) == hashes(result.folder)


def test_a_run_beside_its_plan_file_and_again_into_its_own_folder(case, tmp_path):
    path = tmp_path / "plan.toml"
    request = conformal_request("PTV", 50.0, 25, (0.0,), spacing_mm=15.0)
    path.write_text(request.to_toml(), encoding="utf-8")
    first = plan_case(case, read_plan_file(path), tmp_path, plan_file=path)
    before = hashes(tmp_path)
    path.write_text(request.to_toml().replace("50.0", "25.0"), encoding="utf-8")
    second = plan_case(case, read_plan_file(path), tmp_path, plan_file=path)
    changed = {name for name, digest in hashes(tmp_path).items() if digest != before[name]}
    assert {"plan.toml", "plan.json", "dose.nrrd", "scene.mrb"} <= changed
    assert second.plan.beams[0].meterset_MU == pytest.approx(first.plan.beams[0].meterset_MU / 2)


def coarse(case: Case):
    return conformal_request("PTV", 50.0, 25, (0.0,), spacing_mm=20.0, goals=("PTV Dmean >= 45 Gy",))


@pytest.mark.parametrize("when", [0.0, 0.3, 0.7, 0.8, 0.9, 0.99])
def test_cancel_leaves_nothing(case, tmp_path, when):
    def progress(fraction: float, text: str) -> None:
        if fraction >= when:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        plan_case(case, coarse(case), tmp_path / "result", progress=progress)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["write_report", "write_dvh_csv", "goals_csv"])
def test_a_failure_leaves_the_former_result_untouched(case, tmp_path, monkeypatch, part):
    plan_case(case, coarse(case), tmp_path)
    before = hashes(tmp_path)

    def broken(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workflow, part, broken)
    with pytest.raises(OSError, match="No space left"):
        plan_case(case, replace(coarse(case), name="Another"), tmp_path)
    assert hashes(tmp_path) == before


def test_somebody_elses_file_stops_the_run_before_it_computes(case, tmp_path):
    (tmp_path / "dvh.csv").write_text("mine", encoding="utf-8")
    reported = []
    with pytest.raises(OutputError, match=r"dvh\.csv"):
        plan_case(case, coarse(case), tmp_path, progress=lambda fraction, text: reported.append(text))
    assert reported == []
    forced = plan_case(case, coarse(case), tmp_path, force=True)
    assert (tmp_path / "dvh.csv").read_text(encoding="utf-8") != "mine"
    assert forced.goals[0].passed


def test_a_target_that_is_not_there_is_said_before_anything_is_computed(case, tmp_path):
    request = parse_plan_file(PLAN.replace('target = "PTV"', 'target = "PTV1"'), "my.toml")
    with pytest.raises(PlanFileError, match=r'my\.toml, \[prescription\], key "target".*Did you mean "PTV"'):
        plan_case(case, request, tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_a_case_without_structures_gets_dose_and_report_and_a_note(case, tmp_path):
    text = 'name = "Output"\n[[beam]]\ngantry = 0\nMU = 100\nfield = [100, 100]\nisocenter = [0, 0, 0]\n'
    request = parse_plan_file(text + "[dose]\nspacing_mm = 15\n")
    bare = replace(case, structures=(), density_overrides_g_cm3={}, goals=())
    result = plan_case(bare, request, tmp_path)
    assert result.plan.beams[0].meterset_MU == 100.0
    assert any("no structures" in note for note in result.notes)
    assert {path.name for path in result.files} == set(OUTPUTS) - {"dvh.csv", "goals.csv"}
    assert "no structures" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result.headlines() == ["Checks before sign-off: 2 warnings, 6 passed, 5 not applicable"]


def test_a_structure_outside_the_dose_is_named(case, tmp_path):
    mask = np.zeros(case.grid.shape, bool)
    mask[0, 0, 0] = True
    outside = replace(case, structures=(*case.structures, Structure("Corner", mask, case.grid)))
    result = plan_case(outside, replace(coarse(case), goals=("Corner Dmean <= 5 Gy",)), tmp_path)
    assert "Corner" not in result.dvhs
    assert any(note.startswith("Corner: Not evaluated") and "outside the dose grid" in note for note in result.notes)
    assert "Corner: Not evaluated" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (goal,) = result.goals
    assert goal.passed is None
    assert "lies outside the dose grid" in goal.note


def test_without_opengl_the_rest_is_made_and_the_gap_is_said(case, tmp_path, monkeypatch):
    from RTPlanningLib.display import view3d

    def broken(*arguments, **options):
        raise view3d.RenderingError("this machine has no OpenGL; install libegl1.")

    monkeypatch.setattr(view3d, "renderPlan", broken)
    result = plan_case(case, coarse(case), tmp_path)
    assert any("no 3D picture: this machine has no OpenGL" in note for note in result.notes)
    assert {path.name for path in result.files} == set(OUTPUTS) - {"view3d.png"}
    assert "no 3D picture" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Give either"),
        ({"ct": Path("x"), "sample": "thorax"}, "Give either"),
        ({"ct": Path("nowhere")}, "no CT at nowhere"),
        ({"sample": "nothing"}, "water-tank"),
    ],
)
def test_a_case_that_is_not_there_is_a_clear_text(options, expected):
    with pytest.raises(CaseError, match=expected):
        read_case_from(**options)


def test_a_segmentation_with_a_dicom_folder_is_refused(tmp_path):
    with pytest.raises(CaseError, match="goes with a volume file"):
        read_case_from(ct=tmp_path, segmentation=tmp_path / "x.seg.nrrd")


def test_the_command_line_ends_with_what_it_wrote(tmp_path, capsys):
    out = tmp_path / "demo"
    assert cli.main(["demo", "--case", "tg119-cshape", "--spacing", "10", "--out", str(out)]) == cli.OK
    captured = capsys.readouterr()
    for name in OUTPUTS:
        assert name in captured.out
    for text in ("PTV: D95%", "Goals: ", str(out), "not for clinical use"):
        assert text in captured.out
    # no terminal: no progress bar
    assert "%" not in captured.err


def test_run_on_a_volume_file_gives_the_dose_of_the_same_case(case, plan_file, result, tmp_path, capsys):
    from RTPlanningLib.headless import HeadlessSlicer

    with HeadlessSlicer() as runtime:
        import slicer

        from RTPlanningLib.logic import RTPlanningLogic
        from RTPlanningLib.mrml.write_volume import writeVolume

        volumeNode, segmentationNode = RTPlanningLogic(runtime.scene).loadCase(case)
        writeVolume(volumeNode, tmp_path / "ct.nrrd")
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(tmp_path / "ct.seg.nrrd"))
        assert storage.WriteData(segmentationNode)
    arguments = [
        "run",
        plan_file,
        "--ct",
        tmp_path / "ct.nrrd",
        "--seg",
        tmp_path / "ct.seg.nrrd",
        "--out",
        tmp_path / "o",
    ]
    assert cli.main([str(argument) for argument in arguments]) == cli.OK
    assert "Goals: 1 passed, 1 failed, 1 not evaluated" in capsys.readouterr().out
    same = plan_from_json((tmp_path / "o" / "plan.json").read_text(encoding="utf-8"))
    assert [beam.meterset_MU for beam in same.beams] == pytest.approx([beam.meterset_MU for beam in result.plan.beams])


def test_a_plan_changed_after_its_dose_is_shown_as_such(result):
    from RTPlanningLib.headless import HeadlessSlicer
    from RTPlanningLib.logic import RTPlanningLogic
    from RTPlanningLib.mrml.plan_summary import planSummary
    from RTPlanningLib.mrml.write_volume import VolumeFileError, writeVolume

    with HeadlessSlicer() as runtime:
        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(result.folder / "scene.mrb")
        (planNode,) = logic.planNodes()
        assert not any("changed since" in line for line in planSummary(planNode))
        logic.updatePlan(planNode, replace(logic.planFromNode(planNode), dose_grid_spacing_mm=5.0))
        assert any("changed since" in line for line in planSummary(planNode))
        with pytest.raises(VolumeFileError, match=r"written as \.nrrd"):
            writeVolume(planNode.GetNodeReference("outputTotalDoseVolumeRef"), result.folder / "dose.vtk")
