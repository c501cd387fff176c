"""Plan nodes, dose volumes and the dose engine's logic."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sphere_engine import PEAK_GY, SLOPE_GY_PER_MM

from DoseEngineLib.errors import Cancelled, EngineError, EngineUnavailableError, PlanError, SchemaError
from DoseEngineLib.plan import Prescription
from RTPlanningLib.headless import load_scene, save_scene


@pytest.fixture
def logic(scene):
    """The planning logic on a fresh scene."""
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def planNode(logic, case, plan):
    """A plan node for the oblique case, no dose yet."""
    return logic.createPlan(plan, *logic.loadCase(case), case.goals)


def _state(scene):
    """Everything a scene would save, as text."""
    import slicer

    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    volumes = [n for n in nodes if n.IsA("vtkMRMLScalarVolumeNode")]
    scene.SetSaveToXMLString(1)
    scene.Commit()
    return (
        [(n.GetID(), n.GetName()) for n in nodes],
        [slicer.util.arrayFromVolume(n).tobytes() for n in volumes],
        scene.GetSceneXMLString(),
    )


def test_plan_is_identical_after_saving_closing_and_reopening(logic, planNode, plan, case, tmp_path):
    from DoseEngineLib.mrml.plan_node import goalsOf, planFromNode, planNodes

    path = save_scene(logic.scene, tmp_path / "scene.mrb")
    logic.scene.Clear(False)
    assert planNodes(logic.scene) == []
    (node,) = planNodes(load_scene(path))
    assert planFromNode(node) == plan
    assert planFromNode(node).hash() == plan.hash()
    assert goalsOf(node) == case.goals


def test_transforms_and_isocenter_are_the_beams(logic, planNode, plan, tmp_path):
    import slicer.util
    import vtk

    from DoseEngineLib.mrml.plan_node import BEAM_TRANSFORM, ISOCENTER, beamNode, planNodes

    scene = load_scene(save_scene(logic.scene, tmp_path / "scene.mrb"))
    for node in (planNode, planNodes(scene)[0]):
        for beam in plan.beams:
            matrix = vtk.vtkMatrix4x4()
            beamNode(node, BEAM_TRANSFORM, beam.name).GetMatrixTransformToWorld(matrix)
            np.testing.assert_allclose(
                slicer.util.arrayFromVTKMatrix(matrix), beam.frame(plan.patient_position).matrix(), atol=1e-9
            )
        markup = node.GetNodeReference(ISOCENTER)
        assert markup.GetNumberOfControlPoints() == 1
        assert markup.GetNthControlPointLabel(0) == "Isocenter"
        np.testing.assert_allclose(
            slicer.util.arrayFromMarkupsControlPoints(markup)[0], plan.beams[0].isocenter_RAS_mm, atol=1e-3
        )


def test_changing_the_plan_follows_with_its_nodes(logic, planNode, plan):
    from DoseEngineLib.mrml.plan_node import BEAM_TRANSFORM, ISOCENTER, planFromNode, referencedNodes
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode

    moved = replace(plan.beams[1], name="Other", isocenter_RAS_mm=(1.0, 2.0, 3.0))
    changed = replace(plan, beams=(plan.beams[0], moved))
    gone = referencedNodes(planNode, BEAM_TRANSFORM)[1]
    item = hierarchyNode(logic.scene).GetItemByDataNode(gone)
    logic.updatePlan(planNode, changed)
    assert planFromNode(planNode) == changed
    assert [n.GetAttribute("RTPlanning.BeamName") for n in referencedNodes(planNode, BEAM_TRANSFORM)] == [
        "Front",
        "Other",
    ]
    assert gone.GetScene() is None
    assert hierarchyNode(logic.scene).GetItemDataNode(item) is None
    assert planNode.GetNodeReference(ISOCENTER).GetNumberOfControlPoints() == 2


@pytest.mark.parametrize(
    ("text", "message"), [('{"schema_version": 99, "new": 1}', "99.*left as it is"), ("{broken", "not a stored plan")]
)
def test_an_unknown_schema_is_refused_and_kept(logic, planNode, plan, text, message):
    from DoseEngineLib.mrml.plan_node import planFromNode, setPlan

    planNode.SetParameter("Plan", text)
    with pytest.raises(SchemaError, match=message):
        planFromNode(planNode)
    with pytest.raises(SchemaError, match=message):
        setPlan(planNode, plan)
    with pytest.raises(SchemaError, match=message):
        logic.calculateDose(planNode)
    assert planNode.GetParameter("Plan") == text


def test_what_is_no_plan_is_refused(logic, plan):
    from DoseEngineLib.mrml.plan_node import planFromNode

    with pytest.raises(PlanError, match="create or choose one"):
        planFromNode(None)
    with pytest.raises(PlanError, match="is not a plan node"):
        planFromNode(logic.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Other"))
    with pytest.raises(PlanError, match="needs a CT volume"):
        logic.createPlan(plan, None)


def test_dose_volume_is_what_slicerrt_reads(logic, planNode, plan, case):
    import slicer.util

    from DoseEngineLib.mrml.plan_node import BEAM_DOSE, DOSE, deliveredPlan, isDoseCurrent, referencedNodes
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode
    from DoseEngineLib.mrml.volumes import gridFromVolume

    added = _attributes_when_added(logic.scene)
    doseNode = logic.calculateDose(planNode)
    assert doseNode is planNode.GetNodeReference(DOSE)
    assert added[doseNode.GetName()] == "1"
    dose = slicer.util.arrayFromVolume(doseNode)
    assert dose.dtype == np.float32
    assert dose.min() >= 0
    distance = np.linalg.norm(
        gridFromVolume(doseNode).centres_RAS_mm() - np.array(plan.beams[0].isocenter_RAS_mm), axis=-1
    )
    np.testing.assert_allclose(dose, np.maximum(PEAK_GY - SLOPE_GY_PER_MM * distance, 0), atol=1e-3)
    hierarchy = hierarchyNode(logic.scene)
    for node in (doseNode, *referencedNodes(planNode, BEAM_DOSE)):
        item = hierarchy.GetItemByDataNode(node)
        assert node.GetAttribute("DicomRtImport.DoseVolume") == "1"
        assert hierarchy.GetAttributeFromItemAncestor(item, "DicomRtImport.DoseUnitName", "Study") == "GY"
        assert hierarchy.GetAttributeFromItemAncestor(item, "DicomRtImport.DoseUnitValue", "Study") == "1.0"
        assert hierarchy.GetItemUID(hierarchy.GetItemAncestorAtLevel(item, "Study"), "DICOM") == "1.2.3.4"
    display = doseNode.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, pytest.approx(1.1 * 60.0))
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(3.0)
    assert display.GetColorNode().GetNumberOfColors() == 256
    beams = referencedNodes(planNode, BEAM_DOSE)
    assert [node.GetAttribute("RTPlanning.BeamName") for node in beams] == ["Front", "Side"]
    np.testing.assert_allclose(sum(slicer.util.arrayFromVolume(node) for node in beams), dose, atol=1e-4)
    assert json.loads(doseNode.GetAttribute("RTPlanning.DoseProvenance"))["engine"] == "test-sphere"
    assert json.loads(beams[1].GetAttribute("RTPlanning.DoseProvenance"))["beam"] == "Side"
    assert [beam.meterset_MU for beam in deliveredPlan(planNode).beams] == [100.0, 300.0]
    assert logic.planFromNode(planNode) == plan
    assert isDoseCurrent(planNode)
    assert logic.lastResult.plan == deliveredPlan(planNode)


def test_a_dose_of_another_ct_calibration_is_not_current(logic, planNode):
    from DoseEngineLib.calibration import CalibrationCurve
    from DoseEngineLib.mrml.ct_calibration import setCtCalibration
    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, isDoseCurrent

    volumeNode = planNode.GetNodeReference(REFERENCE_VOLUME)
    logic.calculateDose(planNode)
    assert isDoseCurrent(planNode)
    setCtCalibration(volumeNode, CalibrationCurve("Other", (-1000.0, 0.0, 3000.0), (0.001, 1.0, 2.8)))
    assert not isDoseCurrent(planNode)
    with pytest.raises(PlanError, match="changed"):
        logic.doseVolume(planNode)
    logic.calculateDose(planNode)
    assert isDoseCurrent(planNode)
    setCtCalibration(volumeNode, None)
    assert not isDoseCurrent(planNode)


def _attributes_when_added(scene):
    """Names of volume nodes with the dose attribute they had at the moment they were added."""
    import vtk

    added = {}

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def note(caller, event, node):
        if node.IsA("vtkMRMLScalarVolumeNode"):
            added[node.GetName()] = node.GetAttribute("DicomRtImport.DoseVolume")

    import slicer

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, note)
    return added


def test_calculating_again_overwrites_in_place(logic, planNode, plan):
    from DoseEngineLib.mrml.plan_node import BEAM_DOSE, referencedNodes

    first = logic.calculateDose(planNode)
    count = logic.scene.GetNumberOfNodes()
    assert logic.calculateDose(planNode) is first
    assert logic.scene.GetNumberOfNodes() == count
    logic.updatePlan(planNode, replace(plan, beams=plan.beams[:1]))
    assert logic.calculateDose(planNode) is first
    assert [n.GetAttribute("RTPlanning.BeamName") for n in referencedNodes(planNode, BEAM_DOSE)] == ["Front"]
    # a transform, a dose and its display are gone with the beam
    assert logic.scene.GetNumberOfNodes() <= count - 2


@pytest.mark.parametrize("again", [False, True], ids=["first dose", "later dose"])
@pytest.mark.parametrize("stop_at", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_a_cancelled_calculation_leaves_the_scene_as_it_was(logic, planNode, plan, stop_at, again):
    if again:
        logic.calculateDose(planNode)
        logic.updatePlan(planNode, replace(plan, beams=plan.beams[1:]))
    before, last = _state(logic.scene), logic.lastResult

    def progress(fraction, text):
        if fraction >= stop_at:
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        logic.calculateDose(planNode, progress)
    assert _state(logic.scene) == before
    assert logic.lastResult is last


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"engine_options": {"fault": "nan"}}, EngineError, "NaN"),
        ({"engine_options": {"fault": "negative"}}, EngineError, "negative"),
        ({"engine_options": {"fault": "missing beam"}}, EngineError, "doses for"),
        ({"engine": "no-such-engine"}, EngineUnavailableError, "no dose engine"),
    ],
)
def test_a_failing_calculation_leaves_the_scene_as_it_was(logic, planNode, plan, change, error, message):
    logic.updatePlan(planNode, replace(plan, **change))
    before = _state(logic.scene)
    with pytest.raises(error, match=message):
        logic.calculateDose(planNode)
    assert _state(logic.scene) == before


def test_removed_ct_or_segmentation_is_noticed(logic, planNode):
    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION

    logic.scene.RemoveNode(planNode.GetNodeReference(SEGMENTATION))
    with pytest.raises(PlanError, match=r"segmentation \(Oblique_Structures\) is no longer in the scene"):
        logic.calculateDose(planNode)
    logic.scene.RemoveNode(planNode.GetNodeReference(REFERENCE_VOLUME))
    with pytest.raises(PlanError, match=r"CT volume \(Oblique_CT\) is no longer in the scene"):
        logic.calculateDose(planNode)


def test_a_plan_of_a_closed_scene_says_so(logic, planNode):
    logic.scene.Clear(False)
    for use in (logic.calculateDose, logic.planFromNode, logic.evaluateGoals):
        with pytest.raises(PlanError, match="no longer in a scene"):
            use(planNode)


def test_a_study_with_relative_dose_is_left_alone(logic, planNode):
    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode, studyOf

    hierarchy = hierarchyNode(logic.scene)
    study = studyOf(planNode.GetNodeReference(REFERENCE_VOLUME))
    hierarchy.SetItemAttribute(study, "DicomRtImport.DoseUnitName", "RELATIVE")
    doseNode = logic.calculateDose(planNode)
    assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName") == "RELATIVE"
    assert studyOf(doseNode) != study
    assert hierarchy.GetItemAttribute(studyOf(doseNode), "DicomRtImport.DoseUnitName") == "GY"
    again = logic.calculateDose(planNode)
    assert studyOf(again) == studyOf(doseNode)


def test_a_ct_without_study_gets_one(logic, case, plan):
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode, studyOf
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    volume = logic.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Loose CT")
    setVolumeFromArray(volume, case.hu, case.grid)
    node = logic.createPlan(replace(plan, prescription=Prescription(60.0, 30, None, "point")), volume)
    doseNode = logic.calculateDose(node)
    assert studyOf(volume) == studyOf(doseNode) != 0
    assert hierarchyNode(logic.scene).GetItemAttribute(studyOf(doseNode), "DicomRtImport.DoseUnitName") == "GY"


def test_slicerrts_own_color_table_is_preferred(logic, planNode):
    table = logic.scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Dose_ColorTable")
    table.SetSingletonTag("Dose_ColorTable")
    assert logic.calculateDose(planNode).GetDisplayNode().GetColorNode() is table


def test_density_overrides_of_the_segments_reach_the_patient(logic, planNode, case):
    from DoseEngineLib.mrml.patient_nodes import patientFromNodes
    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION

    patient = patientFromNodes(planNode.GetNodeReference(REFERENCE_VOLUME), planNode.GetNodeReference(SEGMENTATION))
    np.testing.assert_array_equal(patient.density_g_cm3[case.structure("PTV").mask], np.float32(1.05))
    assert not patient.density_g_cm3[~case.structure("External").mask].any()
