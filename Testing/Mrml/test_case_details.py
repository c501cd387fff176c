"""What the panel keeps with the nodes of a case and a plan: calibration, names of segments, body box, rows of goals."""

from __future__ import annotations

import pytest

from DoseEngineLib.errors import SchemaError


@pytest.fixture
def nodes(scene):
    from RTPlanningLib.mrml.case_nodes import createCaseNodes
    from RTPlanningLib.samples import load_sample

    return createCaseNodes(scene, load_sample("tg119-prostate", 6.0))


def test_the_calibration_of_a_volume_goes_into_every_patient_made_of_it(nodes, headless, tmp_path) -> None:
    from DoseEngineLib.calibration import calibration_from_points, default_calibration
    from DoseEngineLib.mrml.ct_calibration import ctCalibration, setCtCalibration
    from DoseEngineLib.mrml.patient_nodes import patientFromNodes
    from RTPlanningLib.mrml.scene_file import loadScene, saveScene

    volume, segmentation = nodes
    segmentation.GetSegmentation().GetSegment("External").RemoveTag("RTPlanning.DensityOverride_g_cm3")
    assert ctCalibration(volume) is None
    center = tuple(n // 2 for n in patientFromNodes(volume, segmentation).grid.shape)
    water = default_calibration().density_g_cm3([0])[0]
    assert patientFromNodes(volume, segmentation).density_g_cm3[center] == water
    dense = calibration_from_points("Dense", [(-1000, 0.0), (0, 1.2), (3000, 3.0)], "made up")
    setCtCalibration(volume, dense)
    patient = patientFromNodes(volume, segmentation)
    assert patient.density_g_cm3[center] == pytest.approx(1.2)
    assert patient.provenance["calibration"] == dense.describe()
    # one that is given goes before the one that is kept
    assert patientFromNodes(volume, segmentation, default_calibration()).density_g_cm3[center] == water
    path = saveScene(headless.scene, tmp_path / "case.mrb")
    loadScene(headless.scene, path)
    loaded = headless.scene.GetFirstNodeByName(volume.GetName())
    assert ctCalibration(loaded) == dense
    setCtCalibration(loaded, None)
    assert ctCalibration(loaded) is None
    loaded.SetAttribute("RTPlanning.CtCalibration", "{}")
    with pytest.raises(SchemaError, match=volume.GetName()):
        ctCalibration(loaded)


def test_names_roles_and_targets_without_voxels(nodes) -> None:
    from RTPlanningLib.evaluation.goal_template_choice import StructureName
    from RTPlanningLib.mrml.segment_names import likelyTarget, possibleTargets, segmentNames

    _, segmentation = nodes
    segmentation.GetSegmentation().AddEmptySegment("", "PTV_Boost")
    names = segmentNames(segmentation)
    assert names[:2] == (StructureName("External", "EXTERNAL"), StructureName("PTV", "PTV"))
    assert names[-1] == StructureName("PTV_Boost", "PTV", True)
    assert possibleTargets(names) == ["PTV", "CTV", "Rectum", "Bladder"]
    assert likelyTarget(names) == "PTV"
    assert likelyTarget((StructureName("Heart", "ORGAN"),)) == ""
    assert segmentNames(None) == ()


def test_the_body_box_is_that_of_the_patient(nodes) -> None:
    from DoseEngineLib.mrml.patient_nodes import patientFromNodes
    from RTPlanningLib.mrml.body_box import bodyBox

    volume, segmentation = nodes
    box, isBody = bodyBox(volume, segmentation)
    assert isBody
    assert box.is_same_as(patientFromNodes(volume, segmentation).body_grid)
    whole, isBody = bodyBox(volume)
    assert not isBody
    assert whole.size > box.size


def test_rows_of_goals_lose_nothing(nodes) -> None:
    from DoseEngineLib.mrml.plan_node import createPlanNode, goalsOf, setGoals
    from DoseEngineLib.plan import Beam, Plan
    from RTPlanningLib.evaluation.goal_entries import GoalEntry
    from RTPlanningLib.mrml.goal_rows import goalRows, setGoalRows

    volume, segmentation = nodes
    plan = createPlanNode(volume.GetScene(), Plan("Box", (Beam.open_field(),)), volume, segmentation)
    assert goalRows(plan) == ()
    rows = (GoalEntry("PTV", "D95% >= 70 Gy"), GoalEntry("Rectum", "D30% <"), GoalEntry("", ""))
    setGoalRows(plan, rows)
    assert goalsOf(plan) == ("PTV D95% >= 70 Gy",)
    assert goalRows(plan) == rows
    # a script sets other goals: these count, and the unfinished rows wait behind them
    setGoals(plan, ["Bladder Mean <= 40 Gy"])
    assert goalRows(plan) == (GoalEntry("Bladder", "Mean <= 40 Gy"), *rows[1:])
    plan.SetParameter("GoalRows", "[[1]")
    assert goalRows(plan) == (GoalEntry("Bladder", "Mean <= 40 Gy"),)
