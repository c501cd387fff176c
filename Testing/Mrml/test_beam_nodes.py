"""Beams in the views follow the plan in place; which of them follow the target survives a scene file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.errors import PlanError
from DoseEngineLib.plan import Aperture, Plan, Prescription
from RTPlanningLib.beam_arrangement import conformal_fields
from RTPlanningLib.beam_editing import remove_beam, rename_beam, set_angles, set_jaws
from RTPlanningLib.beam_fit import BeamFit, fit_plan
from RTPlanningLib.plan_templates import BOX_GANTRY_DEG
from RTPlanningLib.samples import load_sample

FIT = BeamFit("mlc", 7.0)


@pytest.fixture(scope="module")
def case():
    return load_sample("tg119-prostate", 6.0)


@pytest.fixture
def logic(scene):
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def nodes(logic, case):
    return logic.loadCase(case)


@pytest.fixture
def plan(case) -> Plan:
    beams = conformal_fields(case.structure("PTV"), BOX_GANTRY_DEG, FIT, machine="generic_6mv")
    return Plan("Box", beams, Prescription(75.6, 42, "PTV"))


@pytest.fixture
def planNode(logic, nodes, plan):
    return logic.createPlan(plan, *nodes)


def referenced(planNode, role: str) -> list:
    from DoseEngineLib.mrml.plan_node import referencedNodes

    return referencedNodes(planNode, role)


def test_models_and_axes_follow_a_turned_beam_and_others_are_not_touched(logic, planNode, plan) -> None:
    import slicer.util

    from DoseEngineLib.mrml.plan_node import ISOCENTER
    from RTPlanningLib.mrml.beam_model_nodes import BEAM_AXIS, createBeamModelNodes

    models = createBeamModelNodes(planNode)
    axes = referenced(planNode, BEAM_AXIS)
    assert len(models) == len(axes) == 4
    assert all(model.GetDisplayNode().GetVisibility2D() for model in models)
    before = [model.GetPolyData().GetMTime() for model in models]
    count = logic.scene.GetNumberOfNodes()
    turned = set_jaws(set_angles(plan, "PA", gantry_deg=200.0), "PA", (-10.0, 15.0))
    logic.updatePlan(planNode, turned)
    assert createBeamModelNodes(planNode) == models
    assert logic.scene.GetNumberOfNodes() == count
    assert [model.GetPolyData().GetMTime() == was for model, was in zip(models, before)] == [True, True, False, True]
    # the axis goes through source and isocentre
    frame = turned.beams[2].frame("HFS")
    ends = [np.zeros(3), np.zeros(3)]
    for n, end in enumerate(ends):
        axes[2].GetNthControlPointPositionWorld(n, end)
    np.testing.assert_allclose(ends[0], frame.source_RAS_mm(1000.0), atol=1e-3)
    assert np.linalg.norm(np.cross(ends[0] - frame.isocenter_RAS_mm, ends[1] - frame.isocenter_RAS_mm)) < 1.0
    assert (ends[1] - frame.isocenter_RAS_mm) @ frame.source_direction < 0
    # a transform that someone moved comes back
    transform = models[0].GetParentTransformNode()
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.eye(4)))
    createBeamModelNodes(planNode)
    matrix = slicer.util.arrayFromTransformMatrix(transform)
    np.testing.assert_allclose(matrix, plan.beams[0].frame("HFS").matrix(), atol=1e-9)
    # and so does the isocentre
    logic.scene.RemoveNode(planNode.GetNodeReference(ISOCENTER))
    createBeamModelNodes(planNode)
    assert planNode.GetNodeReference(ISOCENTER).GetNumberOfControlPoints() == 1


def test_one_beam_stands_out(planNode) -> None:
    from RTPlanningLib.mrml.beam_model_nodes import BEAM_AXIS, createBeamModelNodes, highlightBeam, showBeams

    models = createBeamModelNodes(planNode)
    plain = models[0].GetDisplayNode().GetColor()
    highlightBeam(planNode, "Left lateral")
    colors = [node.GetDisplayNode().GetColor() for node in models]
    assert [color == plain for color in colors] == [True, False, True, True]
    assert referenced(planNode, BEAM_AXIS)[1].GetDisplayNode().GetSelectedColor() == colors[1]
    highlightBeam(planNode, None)
    assert {node.GetDisplayNode().GetColor() for node in models} == {plain}
    showBeams(planNode, False)
    assert not any(node.GetDisplayNode().GetVisibility() for node in models)


def test_a_renamed_beam_keeps_its_nodes_and_a_removed_one_takes_them_away(logic, planNode, plan) -> None:
    from DoseEngineLib.mrml.plan_node import BEAM_TRANSFORM
    from RTPlanningLib.mrml.beam_model_nodes import BEAM_AXIS, createBeamModelNodes, renameBeamNodes

    models = createBeamModelNodes(planNode)
    transforms = referenced(planNode, BEAM_TRANSFORM)
    renameBeamNodes(planNode, "AP", "Front")
    renamed = rename_beam(plan, "AP", "Front")
    logic.updatePlan(planNode, renamed)
    assert createBeamModelNodes(planNode) == models
    assert referenced(planNode, BEAM_TRANSFORM) == transforms
    assert models[0].GetName() == "Box_Front_Beam"
    count = logic.scene.GetNumberOfNodes()
    logic.updatePlan(planNode, remove_beam(renamed, "Front"))
    assert createBeamModelNodes(planNode) == models[1:]
    # transform, model and axis with their display nodes
    assert logic.scene.GetNumberOfNodes() <= count - 3
    assert len(referenced(planNode, BEAM_AXIS)) == 3


def test_a_closed_beam_is_shown_by_its_axis(logic, planNode, plan) -> None:
    from RTPlanningLib.mrml.beam_model_nodes import BEAM_AXIS, createBeamModelNodes

    closed = Aperture((0.0, 0.0), (0.0, 0.0))
    points = tuple(replace(point, aperture=closed) for point in plan.beams[0].control_points)
    logic.updatePlan(planNode, replace(plan, beams=(replace(plan.beams[0], control_points=points), *plan.beams[1:])))
    models = createBeamModelNodes(planNode)
    assert [model.GetPolyData().GetNumberOfCells() > 0 for model in models] == [False, True, True, True]
    assert referenced(planNode, BEAM_AXIS)[0].GetNumberOfControlPoints() == 2
    logic.updatePlan(planNode, plan)
    assert createBeamModelNodes(planNode)[0].GetPolyData().GetNumberOfCells() > 0


def test_a_plan_read_twice_is_two_plans(logic, planNode, plan) -> None:
    """What is kept of a plan's text is not what a caller may change in place."""
    first = logic.planFromNode(planNode)
    first.engine_options["made_up"] = 1
    assert logic.planFromNode(planNode) == plan
    assert logic.planFromNode(planNode).beams is first.beams


def test_fits_survive_a_scene_file(logic, planNode, plan, tmp_path) -> None:
    from RTPlanningLib.mrml.beam_fit_nodes import beamFits, setPlanAndFits

    assert beamFits(planNode) == {}
    events = []
    tag = planNode.AddObserver("ModifiedEvent", lambda *_: events.append(1))
    fits = {"AP": FIT, "PA": BeamFit("jaws", 4.0)}
    setPlanAndFits(planNode, plan, fits)
    planNode.RemoveObserver(tag)
    assert beamFits(planNode) == fits
    assert len(events) == 1
    logic.saveScene(tmp_path / "scene.mrb")
    logic.scene.Clear(False)
    logic.loadScene(tmp_path / "scene.mrb")
    (loaded,) = logic.planNodes()
    assert beamFits(loaded) == fits
    # a script that turns a beam has not fitted it
    logic.updatePlan(loaded, set_angles(plan, "AP", gantry_deg=10.0))
    assert beamFits(loaded) == {"PA": BeamFit("jaws", 4.0)}
    assert beamFits(loaded, changedToo=True) == fits


def test_structures_are_read_once_until_they_change(logic, nodes, case, plan) -> None:
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
    from RTPlanningLib.mrml.structure_reader import StructureReader

    volumeNode, segmentationNode = nodes
    reader = StructureReader()
    target = reader.structure(volumeNode, segmentationNode, "PTV")
    assert np.array_equal(target.mask, case.structure("PTV").mask)
    assert [s.name for s in structuresFromSegmentation(segmentationNode, case.grid, ["Rectum", "PTV"])] == [
        "PTV",
        "Rectum",
    ]
    rectum, again = reader.structures(volumeNode, segmentationNode, ["Rectum", "PTV", "no such"])
    assert (rectum.name, again) == ("Rectum", target)
    # the target moves by a voxel: read anew, and a beam fitted to it follows
    segmentation = segmentationNode.GetSegmentation()
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(segmentation.GetSegment("Rectum").GetRepresentation("Binary labelmap"))
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    values[:] = values == segmentation.GetSegment("Rectum").GetLabelValue()
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, segmentationNode, "PTV")
    changed = reader.structure(volumeNode, segmentationNode, "PTV")
    assert np.array_equal(changed.mask, case.structure("Rectum").mask)
    assert fit_plan(plan, {"AP": FIT}, changed).beams[0] != plan.beams[0]
    with pytest.raises(PlanError, match=r"There is no structure 'Liver' to aim at; .* has: External, PTV"):
        reader.structure(volumeNode, segmentationNode, "Liver")
    with pytest.raises(PlanError, match="choose a CT and its structures first"):
        reader.structure(volumeNode, None, "PTV")
