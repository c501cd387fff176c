"""A dose file and structures in, a folder out: from files Slicer writes, from DICOM, and from the command line."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import slicer
from dicom_factory import Roi, rectangle, synthetic_ct, synthetic_structure_set, write
from test_rt_dose import rt_dose

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.volumes import setVolumeFromArray
from DoseEngineLib.plan import Structure
from RTPlanningLib import cli
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation_inputs import read_dose
from RTPlanningLib.evaluation_workflow import OUTPUTS, RADIOBIOLOGY, STORED, evaluate_dose
from RTPlanningLib.mrml.case_nodes import createCaseNodes
from RTPlanningLib.mrml.write_volume import writeVolume
from RTPlanningLib.output_folder import MANIFEST, OutputError

GRID = Grid.from_spacing((12, 12, 12), 5.0, (-27.5, -27.5, -27.5), np.diag([-1.0, -1.0, 1.0]))
RADIUS = np.linalg.norm(GRID.centres_RAS_mm() - GRID.centres_RAS_mm().mean(axis=(0, 1, 2)), axis=-1)
STRUCTURES = (
    Structure("External", np.ones(GRID.shape, bool), GRID, "EXTERNAL"),
    Structure("PTV", RADIUS < 12.0, GRID, "PTV"),
    Structure("Heart", RADIUS > 30.0, GRID),
)


def dose_file(scene, folder: Path, values: np.ndarray) -> Path:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "dose")
    setVolumeFromArray(node, values.astype(np.float32), GRID)
    return writeVolume(node, folder / "dose.nrrd")


def segmentation_file(scene, folder: Path) -> Path:
    case = Case("case", np.zeros(GRID.shape, np.int16), GRID, STRUCTURES)
    _, segmentationNode = createCaseNodes(scene, case)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    path = folder / "structures.seg.nrrd"
    storage.SetFileName(str(path))
    assert storage.WriteData(segmentationNode)
    return path


@pytest.fixture
def files(scene, tmp_path) -> tuple[Path, Path]:
    dose = dose_file(scene, tmp_path, np.where(RADIUS < 20.0, 60.0, 10.0))
    return dose, segmentation_file(scene, tmp_path)


def test_files_slicer_writes_are_evaluated(files, tmp_path):
    dose, structures = files
    output = evaluate_dose(
        dose,
        tmp_path / "out",
        structures=structures,
        templates=["teaching"],
        goals=["PTV D95% >= 95 %"],
        prescription_Gy=60.0,
        fractions=30,
        target="PTV",
    )
    assert {path.name for path in output.files} == set(OUTPUTS) - {RADIOBIOLOGY, STORED}
    assert (tmp_path / "out" / MANIFEST).is_file()
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert {goal["goal"]: goal["verdict"] for goal in data["goals"]} == {
        "Heart Mean < 26 Gy": "passed",
        "PTV D95% >= 95 %": "passed",
    }
    ptv = next(row for row in data["structures"] if row["name"] == "PTV")
    assert ptv["volume_cm3"] == pytest.approx(STRUCTURES[1].volume_cm3)
    assert ptv["Mean_Gy"] == pytest.approx(60.0)
    assert any("read as Gy" in note for note in data["notes"])
    assert output.headlines() == ["Goals: 2 passed, 3 without structure"]


def test_a_second_run_gives_the_same_page_and_loses_nothing(files, tmp_path):
    dose, structures = files
    out = tmp_path / "out"
    settings = {"structures": structures, "templates": ["teaching"], "prescription_Gy": 60.0, "fractions": 30}
    evaluate_dose(dose, out, **settings)
    first = (out / "evaluation.html").read_bytes()
    evaluate_dose(dose, out, **settings)
    assert (out / "evaluation.html").read_bytes() == first
    (out / "goals.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"goals\.csv"):
        evaluate_dose(dose, out, **settings)
    assert (out / "goals.csv").read_text(encoding="utf-8") == "mine"


def test_doses_in_cGy_are_asked_for(scene, tmp_path):
    path = dose_file(scene, tmp_path, np.full(GRID.shape, 6000.0))
    with pytest.raises(CaseError, match="is it in cGy"):
        read_dose(path)
    dose, _, notes = read_dose(path, "cGy")
    assert dose.max_Gy == pytest.approx(60.0)
    assert "read as cGy" in notes[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none.nrrd", "There is no dose file"),
        ("structures.seg.nrrd", "is no dose volume"),
        ("dose.txt", "not an RT Dose"),
    ],
)
def test_what_is_no_dose_is_refused(files, tmp_path, name, text):
    (tmp_path / "dose.txt").write_text("a text", encoding="utf-8")
    with pytest.raises(CaseError, match=text):
        read_dose(tmp_path / name)


def test_structures_have_to_come_from_one_place(files, tmp_path):
    dose, structures = files
    with pytest.raises(CaseError, match="Give either structures"):
        evaluate_dose(dose, tmp_path / "out")
    with pytest.raises(CaseError, match="Give either structures"):
        evaluate_dose(dose, tmp_path / "out", structures=structures, case="thorax")
    with pytest.raises(CaseError, match="is a volume"):
        evaluate_dose(dose, tmp_path / "out", structures=dose)
    assert not (tmp_path / "out").exists()


def dicom(folder: Path, **tags) -> Path:
    """A CT of 8 slices with two structures, and a dose of 20 Gy over it."""
    ct = synthetic_ct()
    ct.write(folder / "ct")
    first, last = ct.slices[0].ImagePositionPatient, ct.slices[-1].ImagePositionPatient
    x, y = float(first[0]), float(first[1])
    planes = [float(one.ImagePositionPatient[2]) for one in ct.slices[1:-1]]
    rois = [Roi(name, [rectangle((x + 4, x + 9), (y + 4, y + 9), z) for z in planes]) for name in ("Heart", "Cord")]
    write(synthetic_structure_set(rois, ct), folder / "ct" / "rs.dcm")
    values = np.full((4, 40, 40), 20_000, np.uint16)
    spread = (float(last[2]) - float(first[2])) / 3.0 * 1.2
    dose = rt_dose(
        values,
        offsets=tuple(spread * n for n in range(4)),
        ImagePositionPatient=[x - 4, y - 4, float(first[2]) - 0.3 * spread],
        DoseGridScaling="0.001",
        **tags,
    )
    return write(dose, folder / "dose.dcm")


def test_dicom_is_evaluated(tmp_path):
    dose = dicom(tmp_path)
    output = evaluate_dose(dose, tmp_path / "out", structures=tmp_path / "ct", templates=["teaching"], target="Heart")
    found = {str(goal.result.goal): goal.result for goal in output.evaluation.goals}
    assert found["Heart Mean < 26 Gy"].value == pytest.approx(20.0, abs=1e-3)
    assert found["Cord Max < 45 Gy"].passed
    assert "CT, dose and structures through the middle of Heart" in (tmp_path / "out" / "evaluation.html").read_text(
        encoding="utf-8"
    )


def test_a_dose_of_another_frame_is_refused(tmp_path):
    dose = dicom(tmp_path, FrameOfReferenceUID="1.2.3")
    with pytest.raises(CaseError, match="different frames of reference"):
        evaluate_dose(dose, tmp_path / "out", structures=tmp_path / "ct")


def test_the_command_line_says_what_is_judged_and_what_not(files, tmp_path, capsys):
    dose, structures = files
    out = tmp_path / "out"
    code = cli.main(
        f"evaluate {dose} --structures {structures} --template teaching --prescription 60 --fractions 30 "
        f"--target PTV --out {out}".split()
        + ["--goal", "PTV D95% >= 95 %"]
    )
    said = capsys.readouterr().out
    assert code == cli.OK
    assert "Goals: 2 passed, 3 without structure" in said
    assert "Heart Mean < 26 Gy" in said
    assert "not judged: there is no Brain, SpinalCord, Kidneys." in said
    assert "evaluation.html" in said


def test_wrong_usage_is_told(files, tmp_path, capsys):
    dose, structures = files
    with pytest.raises(SystemExit) as stopped:
        cli.main(f"evaluate {dose} --structures {structures} --name Heart --out {tmp_path / 'out'}".split())
    assert stopped.value.code == cli.USAGE
    assert "ORGAN=NAME" in capsys.readouterr().err
    assert cli.main(f"evaluate {dose} --structures {structures} --template quantek --out {tmp_path / 'o'}".split()) == 1
    assert "choose one of" in capsys.readouterr().err


def test_templates_are_listed(capsys):
    assert cli.main(["templates"]) == cli.OK
    assert "quantec" in capsys.readouterr().out


def test_probabilities_from_the_command_line(files, tmp_path, capsys):
    dose, structures = files
    out = tmp_path / "out"
    arguments = f"evaluate {dose} --structures {structures} --prescription 60 --fractions 30 --target PTV --out {out}"
    more = "--tcp prostate_wang --overall-days 39 --ntcp Heart=heart_mortality_rs"
    assert cli.main(f"{arguments} {more}".split()) == cli.OK, capsys.readouterr().err
    with (out / "radiobiology.csv").open(newline="", encoding="utf-8") as file:
        found = {row["structure"]: row for row in csv.DictReader(file)}
    assert set(found) == {"Heart", "PTV"}
    # 60 Gy in 2 Gy fractions throughout: exp(-N exp(-alpha BED + ln 2 T / Td)), no growth before day 0
    survivors = 3e6 * math.exp(-0.15 * 60.0 * (1.0 + 2.0 / 3.1) + math.log(2.0) * 39.0 / 42.0)
    assert float(found["PTV"]["probability"]) == pytest.approx(math.exp(-survivors), rel=1e-4)
    # 10 Gy to all of the heart, EQD2 with alpha/beta 3: 2 ** -exp(e gamma (1 - D / D50))
    equivalent = 10.0 * (10.0 / 30.0 + 3.0) / 5.0
    heart = 2.0 ** -math.exp(math.e * 1.28 * (1.0 - equivalent / 52.3))
    assert float(found["Heart"]["probability"]) == pytest.approx(heart, rel=1e-4)
    assert found["Heart"]["set_id"] == "heart_mortality_rs"


def test_what_probabilities_lack_is_told(files, tmp_path, capsys):
    dose, structures = files
    arguments = f"evaluate {dose} --structures {structures} --prescription 60 --fractions 30 --out {tmp_path / 'out'}"
    assert cli.main(f"{arguments} --target PTV --tcp prostate_wang".split()) == cli.FAILED
    assert "needs the overall time" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(f"{arguments} --ntcp Heart".split())
    assert "STRUCTURE=SET" in capsys.readouterr().err


def test_sets_of_parameters_are_listed(capsys):
    assert cli.main(["probabilities"]) == cli.OK
    said = capsys.readouterr().out
    assert "* bladder_contraction" in said
    assert "  heart_mortality_rs" in said
    assert "prostate_wang" in said


def test_fractionations_side_by_side(capsys):
    assert cli.main(["fractionation", "74/37", "60/20", "--alpha-beta", "tumour=1.5", "rectum=3"]) == cli.OK
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # BED = D (1 + d / ab), EQD2 = BED / (1 + 2 / ab)
    assert lines[2] == ["60/20", "60", "20", "3", "tumour", "1.5", "180.0", "77.1", "1.042"]
    assert lines[4] == ["60/20", "60", "20", "3", "rectum", "3", "120.0", "72.0", "0.973"]
    assert cli.main(["fractionation", "--site", "breast", "--alpha-beta", "tumour=3.5"]) == cli.OK
    assert "FAST-Forward" in capsys.readouterr().out
    for wrong in ("fractionation 74 --alpha-beta t=3", "fractionation --alpha-beta t=3"):
        with pytest.raises(SystemExit) as stopped:
            cli.main(wrong.split())
        assert stopped.value.code == cli.USAGE


def test_large_fractions_have_a_straight_survival_curve(capsys):
    assert cli.main(["fractionation", "60/3", "--alpha-beta", "late=3", "--lql", "6"]) == cli.OK
    # 3 (6 (1 + 6/3) + (1 + 2 6/3) (20 - 6)), the tangent at 6 Gy
    assert capsys.readouterr().out.splitlines()[1].split()[6] == "264.0"
