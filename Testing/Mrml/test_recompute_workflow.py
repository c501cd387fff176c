"""A DICOM folder with a plan in, its recomputed dose beside the planned one out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import CaseError, EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription, Structure
from RTPlanningLib import cli
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import read_case
from RTPlanningLib.dicom.export import export_dicom
from RTPlanningLib.dicom.identity import new_uid
from RTPlanningLib.dicom.rt_dose_writer import DoseToExport
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.recompute_workflow import DIFFERENCE, GAMMA, PAGE, TABLE, recompute_plan

ENGINE = "photon-pencil-beam"
GRID = Grid.from_spacing((30, 32, 34), 4.0, (66.0, 62.0, -58.0), np.diag([-1.0, -1.0, 1.0]))
SPACING_MM = 4.0


def box(*ranges) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(*one) for one in ranges)] = True
    return mask


def make_case() -> Case:
    body = box((1, 29), (2, 30), (2, 32))
    structures = (
        Structure("External", body, GRID, "EXTERNAL"),
        Structure("PTV", box((11, 19), (12, 20), (13, 21)), GRID, "PTV", (1.0, 0.0, 0.0)),
        Structure("SpinalCord", box((3, 27), (22, 25), (16, 19)), GRID, "ORGAN", (0.0, 0.5, 0.0)),
    )
    return Case(
        "Water", np.where(body, 0, -1000).astype(np.int16), GRID, structures, patient_id="W", patient_name="W^W"
    )


def make_plan(case: Case) -> Plan:
    """A sliding window and a static field; leaves of the machine's widths."""
    isocenter = tuple(case.structure("PTV").centroid_RAS_mm())
    points = []
    for n in range(6):
        left = -22.0 + 8.0 * n
        leaves = tuple((left + 0.2 * pair, left + 12.0 + 0.2 * pair) for pair in range(60))
        points.append(ControlPoint(30.0, 10.0, 0.0, Aperture((-40.0, 45.0), (-30.0, 30.0), leaves), n / 5))
    window = Beam("Window", tuple(points), isocenter, meterset_MU=180.0)
    static = Beam.open_field(
        "Side", gantry_deg=270.0, jaw_x_mm=(-20, 20), jaw_y_mm=(-20, 20), isocenter_RAS_mm=isocenter, meterset_MU=60.0
    )
    prescription = Prescription(20.0, 20, "PTV", "none")
    return Plan("Two beams", (window, static), prescription, "HFS", ENGINE, {}, SPACING_MM)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> Path:
    """A folder as a planning system exports it: CT, RTSTRUCT, RTPLAN, RTDOSE."""
    case = make_case()
    plan = make_plan(case)
    patient = Patient.from_hu(case.hu, case.grid, structures=case.structures)
    result = create_engine(ENGINE).calculate_dose(patient, plan)
    folder = tmp_path_factory.mktemp("clinic") / "dicom"
    export_dicom(case, folder, plan=plan, doses=[DoseToExport(result.dose_Gy, result.grid)])
    return folder


@pytest.fixture
def folder(clinic, tmp_path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(clinic, tmp_path / "dicom")
    return tmp_path / "dicom"


def change_plan(folder: Path, change) -> None:
    dataset = dcmread(folder / "RTPLAN.dcm")
    change(dataset)
    dataset.save_as(folder / "RTPLAN.dcm")


def recompute(folder: Path, out: Path, **wishes):
    return recompute_plan(folder, out, **{"engine": ENGINE, "spacing_mm": SPACING_MM, **wishes})


def test_an_exported_plan_recomputes_to_its_own_dose(clinic, tmp_path):
    output = recompute(clinic, tmp_path / "out", goals=["PTV Mean >= 1 Gy"])
    comparison = output.comparison
    assert [beam.name for beam in comparison.plan.beams] == ["Window", "Side"]
    assert comparison.target == "PTV"
    rows = comparison.differences()
    assert {row.structure for row in rows} == {"External", "PTV", "SpinalCord"}
    scale = max(row.planned_Gy for row in rows)
    # structures come back from their contours, the dose from 32-bit pixels
    assert max(abs(row.difference_Gy) for row in rows) < 0.002 * scale
    gamma = comparison.pair.everywhere.gamma
    assert gamma.pass_rate_percent == 100.0
    assert comparison.pair.everywhere.difference.statistics()["maximum"] < 0.002 * scale
    assert [goal.verdict for goal in output.planning.goals] == ["passed"]
    written = {path.name for path in output.planning.files}
    assert {PAGE, TABLE, GAMMA, DIFFERENCE, "report.html", "dose.nrrd", "scene.mrb", "plan.json"} <= written
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    for words in ("Two beams recomputed", "RTDOSE.dcm", "Not for clinical use", "SpinalCord", "100.0 %"):
        assert words in page
    data = json.loads((tmp_path / "out" / "recompute.json").read_text(encoding="utf-8"))
    assert data["gamma"]["pass_rate_percent"] == 100.0


def test_other_MU_are_seen(folder, tmp_path):
    def more(dataset):
        for item in dataset.FractionGroupSequence[0].ReferencedBeamSequence:
            item.BeamMeterset = f"{1.15 * float(item.BeamMeterset):.6f}"

    change_plan(folder, more)
    comparison = recompute(folder, tmp_path / "out").comparison
    mean = next(row for row in comparison.differences() if (row.structure, row.metric) == ("PTV", "Mean"))
    assert mean.recomputed_Gy / mean.planned_Gy == pytest.approx(1.15, abs=0.002)
    assert comparison.pair.everywhere.gamma.pass_rate_percent < 80.0
    assert any("PTV Mean" in line for line in comparison.headlines())


def test_dvh_tables_take_the_place_of_a_dose(clinic, folder, tmp_path):
    first = recompute(clinic, tmp_path / "first")
    table = (tmp_path / "first" / "dvh.csv").read_text(encoding="utf-8")
    renamed = table.replace("SpinalCord ", "cord ").replace("PTV ", "PTV_20 ")
    (tmp_path / "table.csv").write_text(renamed, encoding="utf-8")
    (folder / "RTDOSE.dcm").unlink()
    comparison = recompute(folder, tmp_path / "out", dvh_table=tmp_path / "table.csv").comparison
    assert comparison.pair is None
    assert comparison.planned_source == "the DVH table table.csv"
    assert set(comparison.planned) == {"External", "PTV", "SpinalCord"}
    assert max(abs(row.difference_Gy) for row in comparison.differences()) < 0.15  # columns every 0.1 Gy
    assert any("cord" in note and "same organ" in note for note in comparison.notes)
    assert not (tmp_path / "out" / GAMMA).exists()
    with pytest.raises(EvaluationError, match="no DVH 'Chord'"):
        recompute(folder, tmp_path / "wrong", dvh_table=tmp_path / "table.csv", names={"SpinalCord": "Chord"})
    assert not (tmp_path / "wrong").exists()
    assert first.comparison.plan.hash() == comparison.plan.hash()


def test_a_folder_without_anything_to_compare_with_says_so(folder, tmp_path):
    (folder / "RTDOSE.dcm").unlink()
    output = recompute(folder, tmp_path / "out")
    assert "neither a planned dose nor a DVH table" in output.headlines()[0]
    assert "Dose and volume" in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")


def test_doses_are_compared_without_structures_too(folder, tmp_path):
    (folder / "RTSTRUCT.dcm").unlink()
    comparison = recompute(folder, tmp_path / "out").comparison
    assert comparison.differences() == []
    assert comparison.target is None
    # the body found in the image is the box that was drawn
    assert comparison.pair.everywhere.gamma.pass_rate_percent > 99.0
    assert any("no structure" in note for note in comparison.notes)
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert "Dose difference and gamma" in page
    assert "Dose and volume" not in page


def test_targets_of_other_names_are_found_or_asked_for(folder, tmp_path):
    def rename(dataset):
        dataset.DoseReferenceSequence[0].DoseReferenceDescription = "Boost"

    change_plan(folder, rename)
    comparison = recompute(folder, tmp_path / "out").comparison
    assert comparison.target == "PTV"
    assert any("the only PTV" in note for note in comparison.plan_notes)
    with pytest.raises(CaseError, match="no structure 'GTV'"):
        recompute(folder, tmp_path / "other", target="GTV")


def test_plans_that_do_not_fit_are_refused(folder, tmp_path):
    out = tmp_path / "out"
    shutil.copy(folder / "RTPLAN.dcm", tmp_path / "second.dcm")
    second = dcmread(tmp_path / "second.dcm")
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = new_uid()
    second.save_as(folder / "second.dcm")
    with pytest.raises(CaseError, match=r"2 plans .*choose one by its UID"):
        recompute(folder, out)
    with pytest.raises(CaseError, match=r"no plan 1\.2\.3"):
        recompute(folder, out, plan_uid="1.2.3")
    # the dose is of the first plan
    comparison = recompute(folder, out, plan_uid=str(second.SOPInstanceUID)).comparison
    assert comparison.pair is None
    assert any("of another plan" in note for note in comparison.plan_notes)
    (folder / "second.dcm").unlink()

    def elsewhere(dataset):
        dataset.FrameOfReferenceUID = "1.2.3"

    change_plan(folder, elsewhere)
    with pytest.raises(CaseError, match="isocentre is not in the CT's coordinates"):
        recompute(folder, tmp_path / "refused")
    (folder / "RTPLAN.dcm").unlink()
    with pytest.raises(CaseError, match="no RT Plan"):
        recompute(folder, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def stored_fluence(plan: Plan, transmission: float, offset: float, groove: float) -> Dataset:
    """The fluence of the plan's first beam as Varian's systems store it."""
    from DoseEngineLib.machine import load_machine
    from DoseEngineLib.photon.fluence import beam_segments

    machine = load_machine("generic_6mv")
    bare = replace(
        machine,
        extra_focal=None,
        monitor_backscatter=None,
        off_axis_kind="flat",
        jaw_x=replace(machine.jaw_x, transmission=0.0),
        jaw_y=replace(machine.jaw_y, transmission=0.0),
        mlc=replace(machine.mlc, transmission=transmission, leaf_end_offset_mm=offset, tongue_and_groove_mm=groove),
    )
    values = beam_segments(plan.beams[0], bare, "HFS", 2.5)[0].fluence.values
    half = values.shape[0] // 2
    part = values[half - 30 : half + 30, half - 40 : half + 40]
    item = Dataset()
    item.MaterialID = ""
    item.CompensatorNumber = 1
    item.CompensatorType = "TOTAL_ACTUAL"
    item.CompensatorRows, item.CompensatorColumns = part.shape
    item.CompensatorPixelSpacing = ["2.5", "2.5"]
    item.CompensatorPosition = [str(-39.5 * 2.5), str(29.5 * 2.5)]
    item.CompensatorTransmissionData = [f"{0.6 * value:.8f}" for value in part[::-1].ravel()]
    return item


def test_leaf_models_are_read_off_stored_fluences(folder, tmp_path):
    item = stored_fluence(make_plan(make_case()), 0.012, 0.25, 0.2)

    def store(dataset):
        dataset.BeamSequence[0].CompensatorSequence = [item]
        dataset.BeamSequence[0].NumberOfCompensators = 1

    change_plan(folder, store)
    comparison = recompute(folder, tmp_path / "plan").comparison
    model = comparison.plan.beams[0].leaf_model
    assert model.transmission == pytest.approx(0.012, abs=2e-4)
    assert model.leaf_end_offset_mm == pytest.approx(0.25, abs=0.01)
    assert model.tongue_and_groove_mm == pytest.approx(0.2, abs=0.02)
    # the static field has no leaves
    assert comparison.plan.beams[1].leaf_model is None
    assert [row.used for row in comparison.leaf_models] == [False, True]
    own = recompute(folder, tmp_path / "machine", leaves="machine").comparison
    assert own.plan.beams[0].leaf_model is None
    assert [row.used for row in own.leaf_models] == [True, False]
    assert own.pair.everywhere.gamma.pass_rate_percent == 100.0
    with pytest.raises(CaseError, match="leaves 'theirs'"):
        recompute(folder, tmp_path / "wrong", leaves="theirs")


def test_arcs_are_calculated_in_steps_and_it_is_said(tmp_path):
    case = make_case()
    plan = make_plan(case)
    turned = tuple(
        replace(point, gantry_deg=(356.0 + 2.0 * n) % 360.0) for n, point in enumerate(plan.beams[0].control_points)
    )
    arc = replace(plan.beams[0], name="Arc", control_points=turned)
    export_dicom(case, tmp_path / "dicom", plan=replace(plan, beams=(arc,)))
    comparison = recompute(tmp_path / "dicom", tmp_path / "out").comparison
    assert [point.gantry_deg for point in comparison.plan.beams[0].control_points] == [356, 358, 0, 2, 4, 6]
    assert comparison.plan.engine_options == {"arc_step_deg": 4.0}
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert "in steps of up to 4 degrees" in page
    assert "356 → 6" in page
    alone = recompute(tmp_path / "dicom", tmp_path / "alone", arc_step_deg=0.0).comparison
    assert alone.plan.engine_options == {}
    ours, exact = (one.recomputed["PTV"].mean_Gy for one in (comparison, alone))
    assert ours == pytest.approx(exact, rel=0.005)


def test_plans_become_nodes(clinic, folder, scene):
    logic = RTPlanningLogic(scene)
    case = read_case(clinic)
    nodes = logic.loadCase(case)
    planNode, notes = logic.importDicomPlan(clinic / "RTPLAN.dcm", *nodes)
    plan = logic.planFromNode(planNode)
    original = make_plan(make_case())
    assert notes == ()
    assert [beam.meterset_MU for beam in plan.beams] == [180.0, 60.0]
    leaves = (one.beams[0].control_points[3].aperture.leaf_positions_mm for one in (plan, original))
    np.testing.assert_allclose(*leaves, rtol=0, atol=1e-9)
    assert (plan.prescription.target, plan.prescription.dose_Gy, plan.fractions) == ("PTV", 20.0, 20)

    def elsewhere(dataset):
        dataset.FrameOfReferenceUID = "1.2.3"

    change_plan(folder, elsewhere)
    with pytest.raises(CaseError, match="not in the CT's coordinates"):
        logic.importDicomPlan(folder / "RTPLAN.dcm", *nodes)
    assert len(logic.planNodes()) == 1


def test_command_line(clinic, tmp_path, capsys):
    arguments = ["recompute", str(clinic), "--engine", ENGINE, "--spacing", "4", "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == cli.OK
    printed = capsys.readouterr().out
    for words in ("Gamma 3 %/2 mm", "PTV Mean", "SpinalCord mean", PAGE, "not for clinical use"):
        assert words in printed
    assert cli.main([*arguments, "--force", "--machine", "generic_10mv"]) == cli.OK
    assert "though its energy is 10 MV" not in printed
    assert "though its energy is 10 MV" in capsys.readouterr().out
    assert cli.main(["recompute", str(tmp_path), "--out", str(tmp_path / "none")]) == cli.FAILED
    assert "no RT Plan" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        cli.main([*arguments, "--machine", "generic_6mv", "generic_10mv"])
    assert wrong.value.code == cli.USAGE
