"""Doses compared, added, subtracted and turned into EQD2 from the command line: figures known by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import vtk
from dicom_factory import write
from scipy import ndimage
from test_evaluation_workflow import GRID, RADIUS, STRUCTURES, segmentation_file
from test_rt_dose import rt_dose

from DoseEngineLib.errors import CaseError, EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.volumes import setVolumeFromArray
from RTPlanningLib import cli
from RTPlanningLib.comparison_workflow import compare_doses
from RTPlanningLib.evaluation_inputs import read_dose, read_dose_inputs
from RTPlanningLib.mrml.write_volume import writeVolume
from RTPlanningLib.sum_workflow import Eqd2Options, sum_doses

FIRST = np.where(RADIUS < 20.0, 60.0, 10.0)
# the second gives 3 % more to the inside
SECOND = np.where(RADIUS < 20.0, 61.8, 10.0)


@pytest.fixture
def write_dose(scene, tmp_path):
    def write(name: str, values: np.ndarray, grid: Grid = GRID) -> Path:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        setVolumeFromArray(node, values.astype(np.float32), grid)
        return writeVolume(node, tmp_path / f"{name}.nrrd")

    return write


@pytest.fixture
def inputs(scene, tmp_path, write_dose) -> tuple[Path, Path, Path]:
    return write_dose("one", FIRST), write_dose("two", SECOND), segmentation_file(scene, tmp_path)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Comparison


def test_two_doses_side_by_side(inputs, tmp_path, capsys):
    one, two, structures = inputs
    out = tmp_path / "out"
    arguments = f"compare {one} {two} --structures {structures} --prescription 60 --gamma 2/1 --out {out}".split()
    assert cli.main([*arguments, "--goal", "PTV Mean <= 61 Gy", "Heart Mean < 26 Gy"]) == cli.OK
    said = capsys.readouterr().out
    files = {path.name for path in out.iterdir()} - {"manifest.json"}
    assert files == {
        "comparison.html", "comparison.json", "difference_2.nrrd", "dvh.csv", "gamma.csv", "gamma_2.nrrd", "goals.csv",
    }  # fmt: skip
    goals = {row["Structure"]: row for row in rows(out / "goals.csv")}
    assert (goals["PTV"]["one verdict"], goals["PTV"]["two verdict"]) == ("passed", "failed")
    assert float(goals["PTV"]["two minus one"]) == pytest.approx(1.8, abs=1e-4)
    assert goals["PTV"]["Best"] == "one"
    assert "PTV Mean <= 61 Gy" in said
    assert "61.80 failed" in said
    regions = {row["Structure"]: row for row in rows(out / "gamma.csv")}
    # 3 % more than 60 Gy everywhere in the PTV, against 2 %: nothing passes, and gamma is 1.5
    assert float(regions["PTV"]["Gamma pass rate (%)"]) == 0.0
    assert float(regions["PTV"]["Gamma mean"]) == pytest.approx(1.5, abs=1e-3)
    assert float(regions["PTV"]["Difference mean (Gy)"]) == pytest.approx(1.8, abs=1e-4)
    # everywhere at 10 Gy or more; voxels with an outer one at a face find 60 Gy within 1 mm
    inside = np.count_nonzero(RADIUS < 20.0)
    failing = np.count_nonzero(ndimage.binary_erosion(RADIUS < 20.0))
    everywhere = regions["above the threshold"]
    assert int(everywhere["Gamma voxels"]) == RADIUS.size
    assert float(everywhere["Gamma pass rate (%)"]) == pytest.approx(100.0 * (1.0 - failing / RADIUS.size), abs=1e-3)
    assert float(everywhere["Difference mean (Gy)"]) == pytest.approx(1.8 * inside / RADIUS.size, abs=1e-4)
    page = (out / "comparison.html").read_text(encoding="utf-8")
    assert "Comparison of one and two" in page
    assert page.count("<img") == 3
    header = (out / "dvh.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("Dose (Gy),one: External (% of ")
    assert ",two: PTV (% of " in header


def test_maps_are_written_with_what_was_not_judged(inputs, tmp_path):
    one, two, structures = inputs
    output = compare_doses([one, two], tmp_path / "out", structures=structures, labels=["A", "B"])
    pair = output.comparison.pairs[0]
    assert (pair.reference, pair.evaluated) == ("A", "B")
    from RTPlanningLib.mrml.read_evaluation_files import readDoseVolume

    values, grid = readDoseVolume(tmp_path / "out" / "difference_2.nrrd")
    assert grid.is_same_as(GRID)
    np.testing.assert_allclose(values, SECOND - FIRST, atol=1e-4)
    gamma, _ = readDoseVolume(tmp_path / "out" / "gamma_2.nrrd")
    np.testing.assert_allclose(gamma, pair.everywhere.gamma.gamma, atol=1e-6)


def test_what_has_no_gamma_is_noted_and_does_not_pass(inputs, tmp_path):
    one, two, structures = inputs
    arguments = f"compare {one} {two} --structures {structures} --threshold 50 --within Heart --out {tmp_path / 'out'}"
    assert cli.main(arguments.split()) == cli.OK
    heart = rows(tmp_path / "out" / "gamma.csv")[1]
    assert heart["Structure"] == "Heart"
    assert heart["Gamma pass rate (%)"] == ""
    assert "No gamma" in heart["Note"]
    assert float(heart["Difference mean (Gy)"]) == 0.0


def test_prescriptions_that_differ_are_each_judged_by_their_own(inputs, tmp_path):
    one, two, _ = inputs
    from RTPlanningLib.evaluation.dose_comparison import ComparedDose, compare_distributions

    doses = [read_dose(path)[0] for path in (one, two)]
    comparison = compare_distributions(
        [ComparedDose(doses[0], 60.0), ComparedDose(doses[1], 61.8)], STRUCTURES, goals=["PTV D95% >= 99 %"]
    )
    assert [r.value for r in comparison.goals.rows[0].results] == pytest.approx([100.0, 100.0], abs=1e-3)
    assert any("The prescriptions differ (one 60 Gy, two 61.8 Gy)" in note for note in comparison.notes)


def test_doses_are_told_apart(scene, inputs, tmp_path):
    one, two, structures = inputs
    (tmp_path / "a").mkdir()
    copy = tmp_path / "a" / "one.nrrd"
    copy.write_bytes(one.read_bytes())
    names = [given.dose.name for given in read_dose_inputs([one, copy], None, "Gy")]
    assert names == [f"one ({tmp_path.name})", "one (a)"]
    with pytest.raises(CaseError, match="2 doses and 1 labels"):
        compare_doses([one, two], tmp_path / "out", structures=structures, labels=["A"])
    with pytest.raises(EvaluationError, match="Several doses are called A"):
        compare_doses([one, two], tmp_path / "out", structures=structures, labels=["A", "A"])
    with pytest.raises(EvaluationError, match="Two to 5 doses"):
        compare_doses([one], tmp_path / "out", structures=structures)
    with pytest.raises(EvaluationError, match="no structure Spleen to compare in"):
        compare_doses([one, two], tmp_path / "out", structures=structures, within=["Spleen"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("gamma", ["3", "3/", "a/b", "3-2"])
def test_a_criterion_that_cannot_be_read_is_wrong_usage(inputs, tmp_path, capsys, gamma):
    one, two, structures = inputs
    with pytest.raises(SystemExit) as stopped:
        cli.main(f"compare {one} {two} --structures {structures} --gamma {gamma} --out {tmp_path / 'o'}".split())
    assert stopped.value.code == cli.USAGE
    assert "--gamma takes" in capsys.readouterr().err


def test_three_doses_are_each_compared_with_the_first(inputs, write_dose, tmp_path):
    one, two, structures = inputs
    three = write_dose("three", 0.5 * FIRST)
    output = compare_doses([one, two, three], tmp_path / "out", structures=structures, goals=["PTV D95% >= 57 Gy"])
    assert [(p.reference, p.evaluated) for p in output.comparison.pairs] == [("one", "two"), ("one", "three")]
    assert output.comparison.goals.rows[0].verdicts() == ("passed", "passed", "failed")
    assert {"gamma_2.nrrd", "gamma_3.nrrd", "difference_3.nrrd"} <= {path.name for path in output.files}


# Sums


def test_doses_add_up_on_a_grid_that_covers_both(write_dose, tmp_path):
    other = Grid.from_spacing((12, 12, 12), 5.0, (-37.5, -27.5, -27.5), np.diag([-1.0, -1.0, 1.0]))
    one, two = write_dose("one", np.full(GRID.shape, 30.0)), write_dose("two", np.full(GRID.shape, 12.0), other)
    arguments = f"sum {one} {two} --weights 1 0.5 --out {tmp_path / 'out'}"
    assert cli.main(arguments.split()) == cli.OK
    total, _, _ = read_dose(tmp_path / "out" / "sum.nrrd")
    assert total.grid.shape == (12, 12, 14)
    at = {n: float(total.dose_Gy[6, 6, total.grid.shape[2] - 1 - n]) for n in (0, 5, 13)}
    # the second lies 10 mm, two voxels, further to the side that i runs to
    assert sorted({round(v, 3) for v in at.values()}) == [6.0, 30.0, 36.0]
    record = json.loads((tmp_path / "out" / "sum.json").read_text(encoding="utf-8"))
    assert record["quantity"] == "physical dose"
    assert [part["factor"] for part in record["parts"]] == [1.0, 0.5]
    assert any("12 Gy at the faces" in note for note in record["notes"])
    # nothing is said of fractions that nobody knows
    assert record["fractions"] is None
    assert any("number of fractions of one, two is not known" in note for note in record["notes"])
    assert not any("doses a fraction differ" in note for note in record["notes"])


def test_a_difference_keeps_its_sign_and_is_not_judged(inputs, tmp_path):
    one, two, structures = inputs
    arguments = f"sum {one} {two} --subtract --out {tmp_path / 'out'}"
    assert cli.main(arguments.split()) == cli.OK
    from RTPlanningLib.mrml.read_evaluation_files import readDoseVolume

    values, _ = readDoseVolume(tmp_path / "out" / "difference.nrrd")
    np.testing.assert_allclose(values, FIRST - SECOND, atol=1e-4)
    assert not (tmp_path / "out" / "evaluation.html").exists()
    with pytest.raises(CaseError, match="no dose to judge by goals"):
        sum_doses([one, two], tmp_path / "o", subtract=True, structures=structures, goals=["PTV Mean > 1 Gy"])
    with pytest.raises(CaseError, match="is of two doses"):
        sum_doses([one], tmp_path / "o", subtract=True)


def test_eqd2_of_two_courses_is_that_of_the_textbook(inputs, tmp_path, capsys):
    # 60 Gy in 30 fractions and 61.8 Gy in 20: EQD2 = D (d + ab) / (2 + ab), course by course
    one, two, structures = inputs
    out = tmp_path / "out"
    arguments = f"sum {one} {two} --courses 30 20 --eqd2 10 --alpha-beta PTV=3 --structures {structures} --out {out}"
    assert cli.main([*arguments.split(), "--goal", "PTV Mean < 150 Gy", "Heart Mean < 20 Gy"]) == cli.OK
    said = capsys.readouterr().out
    assert "alpha/beta of PTV 3, elsewhere 10 Gy" in said
    data = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    found = {goal["structure"]: goal["value"] for goal in data["goals"]}
    ptv = 60.0 * (2.0 + 3.0) / 5.0 + 61.8 * (3.09 + 3.0) / 5.0
    heart = 10.0 * (10.0 / 30.0 + 10.0) / 12.0 + 10.0 * (10.0 / 20.0 + 10.0) / 12.0
    assert found["PTV"] == pytest.approx(ptv, rel=1e-5)
    assert found["Heart"] == pytest.approx(heart, rel=1e-5)
    # to the rim, where a map of two alpha/betas would be interpolated
    ptv_row = next(row for row in data["structures"] if row["name"] == "PTV")
    assert ptv_row["Min_Gy"] == pytest.approx(ptv, rel=1e-5)
    total, _, _ = read_dose(out / "eqd2.nrrd")
    assert total.max_Gy == pytest.approx(ptv, rel=1e-5)
    record = json.loads((out / "sum.json").read_text(encoding="utf-8"))
    assert record["quantity"] == "EQD2"
    assert record["alpha_beta_Gy"] == {"PTV": 3.0, "elsewhere": 10.0}
    assert record["fractions"] == 50


@pytest.mark.parametrize(("first", "second"), [("External", "PTV"), ("PTV", "External")])
def test_where_structures_overlap_the_one_named_first_counts(inputs, tmp_path, first, second):
    one, _, structures = inputs
    ratios = {"External": 10.0, "PTV": 3.0}
    options = Eqd2Options(2.0, {first: ratios[first], second: ratios[second]})
    output = sum_doses([one], tmp_path / "out", courses=[20], eqd2=options, structures=structures)
    middle = tuple(n // 2 for n in GRID.shape)
    # 60 Gy in 20 fractions of 3 Gy, in the PTV, which the body holds too
    ratio = ratios[first]
    assert output.dose.dose_Gy[middle] == pytest.approx(60.0 * (3.0 + ratio) / (2.0 + ratio), rel=1e-5)
    # each is judged by its own all the same
    assert output.evaluation.dvhs["PTV"].max_Gy == pytest.approx(60.0 * 6.0 / 5.0, rel=1e-5)
    assert output.evaluation.dvhs["External"].max_Gy == pytest.approx(60.0 * 13.0 / 12.0, rel=1e-5)


def test_a_part_of_a_course_keeps_its_dose_a_fraction(inputs, tmp_path):
    one, _, _ = inputs
    output = sum_doses([one], tmp_path / "a", courses=[20], delivered=[5], eqd2=Eqd2Options(3.0, {}))
    # 15 Gy in 5 fractions of 3 Gy
    assert output.dose.dose_Gy.max() == pytest.approx(15.0 * 6.0 / 5.0, rel=1e-6)
    physical = sum_doses([one], tmp_path / "b", courses=[20], delivered=[5])
    assert physical.dose.dose_Gy.max() == pytest.approx(15.0, rel=1e-6)
    assert physical.dose.fractions == 5


def test_what_a_sum_lacks_is_asked_for(inputs, tmp_path, capsys):
    one, two, structures = inputs
    out = tmp_path / "out"
    with pytest.raises(CaseError, match="number of fractions of one, two is not known"):
        sum_doses([one, two], out, eqd2=Eqd2Options(3.0, {}))
    with pytest.raises(CaseError, match="need the structures"):
        sum_doses([one], out, courses=[10], eqd2=Eqd2Options(3.0, {"PTV": 10.0}))
    with pytest.raises(EvaluationError, match="no structure Spleen to give an alpha/beta"):
        sum_doses([one], out, courses=[10], eqd2=Eqd2Options(3.0, {"Spleen": 3.0}), structures=structures)
    with pytest.raises(CaseError, match="2 doses and 1 weights"):
        sum_doses([one, two], out, weights=[1.0])
    with pytest.raises(CaseError, match="makes a difference"):
        sum_doses([one, two], out, weights=[1.0, -1.0])
    with pytest.raises(EvaluationError, match="unknown"):
        Eqd2Options(3.0, {}, "last")
    for text in ("PTV", "PTV=x", "=3"):
        with pytest.raises(SystemExit):
            cli.main(f"sum {one} --courses 10 --eqd2 3 --alpha-beta {text} --out {out}".split())
        assert "NAME=GY" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(f"sum {one} --alpha-beta PTV=3 --out {out}".split())
    assert "--alpha-beta goes with --eqd2" in capsys.readouterr().err
    assert not out.exists()


def test_a_dose_of_another_day_is_added_through_its_transform(scene, write_dose, tmp_path):
    x = GRID.centres_RAS_mm()[..., 0]
    plan, day = write_dose("plan", 20.0 + 0.1 * x), write_dose("day", 10.0 + 0.1 * x)
    # the day's image has to go 5 mm to the patient's right to lie on the plan's
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "day")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 5.0)
    node.SetMatrixTransformToParent(matrix)
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(tmp_path / "day.tfm"))
    assert storage.WriteData(node)
    arguments = f"sum {plan} {day} --transforms none {tmp_path / 'day.tfm'} --out {tmp_path / 'out'}"
    assert cli.main(arguments.split()) == cli.OK
    total, _, _ = read_dose(tmp_path / "out" / "sum.nrrd")
    # what lies at x received the day's dose of x - 5 mm
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(total.dose_Gy[inner], (29.5 + 0.2 * x)[inner], atol=1e-4)
    record = json.loads((tmp_path / "out" / "sum.json").read_text(encoding="utf-8"))
    assert record["operation"] == "accumulation"
    assert record["parts"][1]["transform"]["kind"] == "rigid"


def test_what_transforms_do_not_go_with_is_refused(inputs, tmp_path):
    one, two, structures = inputs
    out = tmp_path / "out"
    with pytest.raises(CaseError, match="first dose lies in the common anatomy"):
        sum_doses([one, two], out, transforms=[tmp_path / "t.h5", None])
    with pytest.raises(CaseError, match="no transform file"):
        sum_doses([one, two], out, transforms=[None, tmp_path / "t.h5"])
    (tmp_path / "t.h5").write_text("no transform", encoding="utf-8")
    with pytest.raises(CaseError, match="could not be read as a transform"):
        sum_doses([one, two], out, transforms=[None, tmp_path / "t.h5"])
    options = Eqd2Options(3.0, {"PTV": 10.0})
    with pytest.raises(CaseError, match="tell no alpha/beta in another"):
        sum_doses([one, two], out, transforms=[None, None], eqd2=options, structures=structures, courses=[5, 5])
    with pytest.raises(CaseError, match="one of dose or of effect"):
        sum_doses([one, two], out, weights=[1.0, 0.5], eqd2=Eqd2Options(3.0, {}), courses=[5, 5])
    assert not out.exists()


def test_doses_of_two_frames_add_only_through_a_transform(tmp_path):
    values = np.full((4, 6, 6), 10_000, np.uint16)
    same = {"offsets": (0.0, 3.0, 6.0, 9.0), "DoseGridScaling": "0.001"}
    one = write(rt_dose(values, **same), tmp_path / "one.dcm")
    two = write(rt_dose(values, FrameOfReferenceUID="1.2.3", **same), tmp_path / "two.dcm")
    with pytest.raises(CaseError, match="different frames of reference"):
        sum_doses([one, two], tmp_path / "out")
    output = sum_doses([one, two], tmp_path / "out", transforms=[None, None])
    np.testing.assert_allclose(output.dose.dose_Gy, 20.0, rtol=1e-5)
