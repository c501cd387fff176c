"""DICOM out of a scene: plans with their doses, CTs with their structures, and the command line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from one_field_plan import PLAN

from DoseEngineLib.errors import CaseError, EvaluationError, GeometryError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib import cli
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import read_case
from RTPlanningLib.dicom.export import DicomOptions
from RTPlanningLib.dicom.rt_dose import read_rt_dose
from RTPlanningLib.dicom.rt_plan_reader import read_rt_plan
from RTPlanningLib.dicom.source import DicomSource
from RTPlanningLib.radiobiology.linear_quadratic import eqd2_Gy


@pytest.fixture
def case() -> Case:
    """An upright case as if from DICOM, with a structure of several pieces and an empty one."""
    grid = Grid.from_spacing((16, 20, 22), (4.0, 4.0, 5.0), (42.0, 38.0, -35.0), np.diag((-1.0, -1.0, 1.0)))
    body = np.zeros(grid.shape, bool)
    body[1:15, 2:18, 2:20] = True
    target = np.zeros(grid.shape, bool)
    target[6:10, 8:12, 9:13] = True
    nodes = np.zeros(grid.shape, bool)
    nodes[5:8, 4:7, 4:8] = nodes[5:8, 4:7, 13:16] = True
    hu = np.where(body, 10, -1000).astype(np.int16)
    source = DicomSource(
        tuple(f"1.2.3.{k + 10}" for k in range(16)), "1.2.840.10008.5.1.4.1.1.2", "19600101", "O", "20200102"
    )
    return Case(
        "Upright",
        hu,
        grid,
        (
            Structure("External", body, grid, "EXTERNAL"),
            Structure("PTV", target, grid, "PTV", (1.0, 0.0, 0.0)),
            Structure("LN", nodes, grid, "CTV"),
            Structure("Empty", np.zeros(grid.shape, bool), grid),
        ),
        patient_name="Phantom^É",
        patient_id="ID-1",
        study_instance_uid="1.2.3.4",
        series_instance_uid="1.2.3.5",
        frame_of_reference_uid="1.2.3.6",
        density_overrides_g_cm3={"PTV": 1.05},
        dicom=source,
    )


@pytest.fixture
def plan(plan, case):
    """The test plan, lying as the case does."""
    isocenter = tuple(case.structure("PTV").centroid_RAS_mm())
    beams = tuple(replace(beam, isocenter_RAS_mm=isocenter) for beam in plan.beams)
    return replace(plan, beams=beams, patient_position="HFS")


@pytest.fixture
def logic(scene):
    """The planning logic on a fresh scene."""
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def planNode(logic, case, plan):
    """A plan node with its dose."""
    node = logic.createPlan(plan, *logic.loadCase(case))
    logic.calculateDose(node)
    return node


def test_a_plan_comes_back_with_its_doses(logic, planNode, case, plan, tmp_path):
    options = DicomOptions(beams=True, eqd2_elsewhere_Gy=3.0, eqd2_Gy={"PTV": 10.0})
    export = logic.exportDicom(planNode, tmp_path / "out", options=options)
    assert [path.name for path in export.files] == [
        "RTDOSE.dcm",
        "RTDOSE_EQD2.dcm",
        "RTDOSE_beam_01.dcm",
        "RTDOSE_beam_02.dcm",
        "RTPLAN.dcm",
        "RTSTRUCT.dcm",
    ]
    assert any("Empty is empty" in note for note in export.notes)
    result = logic.lastResult
    total = read_rt_dose(tmp_path / "out" / "RTDOSE.dcm")
    assert total.comment == "Dose to water, test-sphere 1"
    assert total.dose.grid.is_same_as(result.grid, 1e-6)
    np.testing.assert_allclose(total.dose.dose_Gy, result.dose_Gy, atol=1e-6 * result.dose_Gy.max(), rtol=0)
    for number, beam in enumerate(plan.beams, start=1):
        read = read_rt_dose(tmp_path / "out" / f"RTDOSE_beam_{number:02d}.dcm", allow_beams=True)
        assert read.beam_numbers == (number,)
        np.testing.assert_allclose(read.dose.dose_Gy, result.beam_doses_Gy[beam.name], atol=1e-5)
    eqd2 = read_rt_dose(tmp_path / "out" / "RTDOSE_EQD2.dcm", allow_effective=True)
    assert eqd2.comment == "EQD2, alpha/beta 3 Gy, 10 in PTV"
    i, j, k = np.rint(result.grid.ras_to_index(plan.beams[0].isocenter_RAS_mm)).astype(int)
    assert eqd2.dose.dose_Gy[k, j, i] == pytest.approx(eqd2_Gy(float(result.dose_Gy[k, j, i]), 30, 10.0), rel=1e-5)
    assert eqd2.dose.dose_Gy[0, 0, 0] == pytest.approx(eqd2_Gy(float(result.dose_Gy[0, 0, 0]), 30, 3.0), rel=1e-5)
    delivered = logic.deliveredPlan(planNode)
    read_plan = read_rt_plan(tmp_path / "out" / "RTPLAN.dcm")
    assert [beam.name for beam in read_plan.plan.beams] == [beam.name for beam in delivered.beams]
    for read_beam, beam in zip(read_plan.plan.beams, delivered.beams, strict=True):
        assert read_beam.meterset_MU == pytest.approx(beam.meterset_MU, rel=1e-9)
    structures = pydicom.dcmread(tmp_path / "out" / "RTSTRUCT.dcm")
    assert str(structures.PatientName) == "Phantom^É"
    assert structures.StudyInstanceUID == "1.2.3.4"
    assert structures.PatientBirthDate == "19600101"
    series = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series[0].SeriesInstanceUID == "1.2.3.5"
    assert [item.ReferencedSOPInstanceUID for item in series[0].ContourImageSequence] == list(
        case.dicom.ct_sop_instance_uids
    )


def test_a_ct_volume_with_its_segments(logic, case, tmp_path):
    volumeNode, segmentationNode = logic.loadCase(case)
    export = logic.exportDicom(volumeNode, tmp_path / "out", segmentationNode, DicomOptions(with_ct=True))
    assert len(export.files) == 17
    read = read_case(tmp_path / "out")
    np.testing.assert_array_equal(read.hu, case.hu)
    for before, after in zip(case.structures, read.structures):
        np.testing.assert_array_equal(after.mask, before.mask)
        assert (after.name, after.role) == (before.name, before.role)
    with pytest.raises(PlanError, match="is no plan"):
        logic.exportDicom(volumeNode, tmp_path / "two", options=DicomOptions(beams=True))


def test_the_identity_survives_in_the_scene_and_a_resampled_ct_has_its_own(logic, case, tmp_path):
    volumeNode, segmentationNode = logic.loadCase(case)
    assert logic.caseFromNodes(volumeNode, segmentationNode).dicom == case.dicom
    path = logic.saveScene(tmp_path / "scene.mrb")
    logic.loadScene(path)
    volumeNode = logic.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert logic.caseFromNodes(volumeNode).dicom == case.dicom
    spacing = volumeNode.GetSpacing()
    volumeNode.SetSpacing(spacing[0], spacing[1], 2.0 * spacing[2])
    moved = logic.caseFromNodes(volumeNode)
    assert moved.dicom is None
    assert moved.series_instance_uid == moved.frame_of_reference_uid == ""
    assert any("no longer refers to those images" in note for note in moved.notes)


def test_what_cannot_be_exported_says_why_and_writes_nothing(logic, case, plan, planNode, tmp_path):
    logic.updatePlan(planNode, replace(plan, name="Changed"))
    with pytest.raises(PlanError, match="calculate the dose again"):
        logic.exportDicom(planNode, tmp_path / "out")
    with pytest.raises(PlanError, match="nothing to export"):
        logic.exportDicom(None, tmp_path / "out")
    logic.calculateDose(planNode)
    with pytest.raises(EvaluationError, match="Nowhere"):
        logic.exportDicom(
            planNode, tmp_path / "out", options=DicomOptions(eqd2_elsewhere_Gy=3.0, eqd2_Gy={"Nowhere": 2.0})
        )
    with pytest.raises(EvaluationError, match="outside the structures named"):
        DicomOptions(eqd2_Gy={"PTV": 2.0})
    assert list(tmp_path.iterdir()) == []


def test_an_oblique_case_is_refused_or_resampled(logic, oblique_grid, case, plan, tmp_path):
    body = np.ones(oblique_grid.shape, bool)
    body[0] = body[-1] = False
    oblique = Case(
        "Oblique", np.zeros(oblique_grid.shape, np.int16), oblique_grid, (Structure("PTV", body, oblique_grid, "PTV"),)
    )
    isocenter = tuple(oblique.structure("PTV").centroid_RAS_mm())
    turned = replace(plan, beams=tuple(replace(beam, isocenter_RAS_mm=isocenter) for beam in plan.beams))
    node = logic.createPlan(turned, *logic.loadCase(oblique))
    logic.calculateDose(node)
    with pytest.raises(GeometryError, match="oblique"):
        logic.exportDicom(node, tmp_path / "out")
    logic.exportDicom(node, tmp_path / "out", options=DicomOptions(resample_oblique=True))
    read = read_rt_dose(tmp_path / "out" / "RTDOSE.dcm").dose
    # the engine's dose is a cone about the isocentre
    distance = np.linalg.norm(read.grid.centres_RAS_mm() - np.array(isocenter), axis=-1)
    inside = (distance > 5.0) & (distance < 25.0)
    assert np.abs(read.dose_Gy[inside] - (60.0 - distance[inside])).max() < 0.6


def test_from_the_command_line(tmp_path, capsys):
    plan_file = tmp_path / "plan.toml"
    plan_file.write_text(PLAN, encoding="utf-8")
    result = tmp_path / "result"
    run = ["run", str(plan_file), "--case", "water-tank", "--out", str(result), "--dicom"]
    assert cli.main(run) == cli.OK
    assert "dicom/ (179 files)" in capsys.readouterr().out
    with_run = read_rt_dose(result / "dicom" / "RTDOSE.dcm").dose
    assert cli.main(["export", str(result), "--beams", "--eqd2", "3", "--out", str(tmp_path / "out")]) == cli.OK
    said = capsys.readouterr().out
    assert "176 CT images" in said
    assert "RTDOSE_beam_01.dcm" in said
    exported = read_rt_dose(tmp_path / "out" / "RTDOSE.dcm").dose
    np.testing.assert_array_equal(exported.dose_Gy, with_run.dose_Gy)
    # both belong to one patient, study and CT
    one, other = (pydicom.dcmread(path / "CT_0007.dcm") for path in (result / "dicom", tmp_path / "out"))
    assert one == other
    assert cli.main(["export", str(result), "--plan", "Two", "--out", str(tmp_path / "two")]) == cli.FAILED
    assert "holds no plan 'Two'" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path), "--out", str(tmp_path / "two")]) == cli.FAILED
    assert "no scene.mrb" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--case", "water-tank", "--beams"], "go with a RESULT"),
        (["result", "--ct-series", "1.2"], "go with --ct"),
        (["result", "--eqd2", "PTV=3"], "one alpha/beta for all"),
        (["result", "--eqd2", "three"], "takes alpha/beta in Gy"),
        ([], "one of the arguments"),
    ],
)
def test_wrong_usage_is_said(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", *arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == cli.USAGE
    assert words in capsys.readouterr().err


def test_a_stored_identity_that_is_damaged_is_said():
    good = DicomSource(("1.2.3",), "1.2.840.10008.5.1.4.1.1.2")
    assert DicomSource.from_dict({**good.to_dict(), "of_a_later_version": 1}) == good
    for damage in ({"ct_sop_instance_uids": None}, {"study_date": 5}, {"ct_sop_instance_uids": [1]}):
        with pytest.raises(CaseError, match="stored DICOM identity"):
            DicomSource.from_dict({**good.to_dict(), **damage})
