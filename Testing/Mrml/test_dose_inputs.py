"""A dose is that of its plan only as long as CT, calibration, body, densities and target are what they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure

GRID = Grid.from_spacing((20, 20, 20), 5.0, (-47.5, -47.5, -47.5))


@pytest.fixture
def made(scene, sphere_engine):
    """What `calculated` gives, on a plain grid."""
    return calculated(scene, sphere_engine, GRID)


def calculated(scene, engine: str, grid: Grid):
    """The logic, a CT, a segmentation of body, target and an organ, and a plan of one field with its dose."""
    from DoseEngineLib.logic import DoseEngineLogic
    from DoseEngineLib.mrml.plan_node import createPlanNode
    from DoseEngineLib.mrml.segmentations import setStructures
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    hu = np.full(grid.shape, -1000, np.int16)
    hu[2:-2, 2:-2, 2:-2] = 0
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    setVolumeFromArray(volume, hu, grid)
    centres = grid.centres_RAS_mm()
    middle = tuple(centres.reshape(-1, 3).mean(axis=0).tolist())
    target = np.linalg.norm(centres - middle, axis=-1) < 10.0
    organ = np.linalg.norm(centres - middle - (0.0, 15.0, 0.0), axis=-1) < 8.0
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    structures = [
        Structure("Body", hu > -500, grid, "EXTERNAL"),
        Structure("PTV", target, grid, "PTV"),
        Structure("Organ", organ, grid, "ORGAN"),
    ]
    setStructures(segmentation, structures, volume)
    beam = Beam.open_field("AP", jaw_x_mm=(-20, 20), jaw_y_mm=(-20, 20), isocenter_RAS_mm=middle, meterset_MU=None)
    plan = Plan("One field", (beam,), Prescription(2.0, 1, "PTV", "mean"), engine=engine, dose_grid_spacing_mm=5.0)
    node = createPlanNode(scene, plan, volume, segmentation)
    logic = DoseEngineLogic(scene)
    logic.calculateDose(node)
    return logic, volume, segmentation, node


def segment_named(segmentation, name: str):
    segments = segmentation.GetSegmentation()
    return segments.GetSegment(segments.GetSegmentIdBySegmentName(name))


def replace_mask(segmentation, volume, name: str, radius_mm: float) -> None:
    from DoseEngineLib.mrml.segmentations import roleOfSegment, storeStructure
    from DoseEngineLib.mrml.volumes import gridFromVolume

    grid = gridFromVolume(volume)
    mask = np.linalg.norm(grid.centres_RAS_mm(), axis=-1) < radius_mm
    storeStructure(segmentation, Structure(name, mask, grid, roleOfSegment(segment_named(segmentation, name), name)))


def test_voxels_of_the_ct_count_by_what_they_are(made) -> None:
    import slicer.util

    from DoseEngineLib.mrml.plan_node import changedSinceDose, isDoseCurrent

    _logic, volume, _segmentation, node = made
    assert isDoseCurrent(node)
    voxels = slicer.util.arrayFromVolume(volume)
    former = int(voxels[9, 9, 9])
    voxels[9, 9, 9] = former + 1
    slicer.util.arrayFromVolumeModified(volume)
    assert changedSinceDose(node) == ("CT",)
    assert not isDoseCurrent(node)
    # what was put back is what it was
    voxels[9, 9, 9] = former
    slicer.util.arrayFromVolumeModified(volume)
    assert isDoseCurrent(node)


def test_the_place_of_the_ct_counts(made) -> None:
    from DoseEngineLib.mrml.plan_node import changedSinceDose

    _logic, volume, _segmentation, node = made
    volume.SetOrigin(*(value + 1.0 for value in volume.GetOrigin()))
    assert changedSinceDose(node) == ("CT",)


def test_another_ct_is_told_and_a_ct_that_is_gone_is_not_judged(made) -> None:
    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, changedSinceDose, isDoseCurrent, setReference
    from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume, setVolumeFromArray

    _logic, volume, _segmentation, node = made
    other = volume.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Another CT")
    setVolumeFromArray(other, np.where(arrayFromVolume(volume) > -500, 40, -1000), gridFromVolume(volume))
    setReference(node, REFERENCE_VOLUME, other)
    assert changedSinceDose(node) == ("CT",)
    other.GetScene().RemoveNode(other)
    assert node.GetNodeReference(REFERENCE_VOLUME) is None
    assert isDoseCurrent(node)


@pytest.mark.parametrize(
    ("name", "normalization", "changed"),
    [
        ("Body", "mean", ("body",)),
        ("PTV", "mean", ("target",)),
        ("PTV", "D95", ("target",)),
        # to a point: the target makes no MU
        ("PTV", "point", ()),
        ("Organ", "mean", ()),
    ],
)
def test_structures_count_as_far_as_the_dose_depends_on_them(made, name, normalization, changed) -> None:
    from DoseEngineLib.mrml.plan_node import changedSinceDose, planFromNode, setPlan

    logic, volume, segmentation, node = made
    plan = planFromNode(node)
    setPlan(node, replace(plan, prescription=replace(plan.prescription, normalization=normalization)))
    logic.calculateDose(node)
    assert changedSinceDose(node) == ()
    replace_mask(segmentation, volume, name, 18.0)
    assert changedSinceDose(node) == changed


def test_a_target_makes_no_monitor_units_that_are_given(made) -> None:
    from DoseEngineLib.mrml.plan_node import changedSinceDose, planFromNode, setPlan

    logic, volume, segmentation, node = made
    plan = planFromNode(node)
    setPlan(node, replace(plan, beams=(replace(plan.beams[0], meterset_MU=100.0),)))
    assert changedSinceDose(node) == ("plan",)
    logic.calculateDose(node)
    replace_mask(segmentation, volume, "PTV", 18.0)
    assert changedSinceDose(node) == ()


@pytest.mark.parametrize("kind", ["linear", "warp"])
def test_structures_that_are_moved_count(made, kind) -> None:
    """A warp above the structures cannot be planned with; that the dose is not of them is said all the same."""
    import slicer
    import vtk

    from DoseEngineLib.mrml.plan_node import changedSinceDose

    _logic, volume, segmentation, node = made
    scene = volume.GetScene()
    if kind == "linear":
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 5.0)
        transform.SetMatrixTransformToParent(matrix)
    else:
        transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        shifts = vtk.vtkImageData()
        shifts.SetDimensions(3, 3, 3)
        shifts.AllocateScalars(vtk.VTK_DOUBLE, 3)
        shifts.GetPointData().GetScalars().Fill(4.0)
        warp = slicer.vtkOrientedGridTransform()
        warp.SetDisplacementGridData(shifts)
        transform.SetAndObserveTransformToParent(warp)
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    assert changedSinceDose(node) == ("body", "target")
    segmentation.SetAndObserveTransformNodeID(None)
    assert changedSinceDose(node) == ()


def test_a_ct_under_a_transform_that_cannot_be_followed_is_told(made) -> None:
    import slicer

    from DoseEngineLib.mrml.plan_node import changedSinceDose

    _logic, volume, _segmentation, node = made
    spline = slicer.vtkMRMLBSplineTransformNode()
    spline.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    volume.GetScene().AddNode(spline)
    volume.SetAndObserveTransformNodeID(spline.GetID())
    assert changedSinceDose(node) == ("CT",)


def test_structures_that_come_later_count(made) -> None:
    """A plan that had none gets some with a density."""
    from DoseEngineLib.mrml.plan_node import SEGMENTATION, changedSinceDose, planFromNode, setPlan, setReference
    from DoseEngineLib.mrml.segmentations import setDensityOverrides

    logic, _volume, segmentation, node = made
    plan = planFromNode(node)
    setPlan(node, replace(plan, prescription=replace(plan.prescription, normalization="point")))
    node.SetNodeReferenceID(SEGMENTATION, None)
    node.UnsetParameter(f"{SEGMENTATION}Name")
    logic.calculateDose(node)
    setReference(node, SEGMENTATION, segmentation)
    setDensityOverrides(segmentation, {"Organ": 3.0})
    assert changedSinceDose(node) == ("body", "densities of structures")


def test_a_target_without_a_name_goes_by_its_id(made) -> None:
    from DoseEngineLib.mrml.plan_node import changedSinceDose, planFromNode, setPlan

    logic, _volume, segmentation, node = made
    segments = segmentation.GetSegmentation()
    segmentID = segments.GetSegmentIdBySegmentName("PTV")
    segments.SeparateSegmentLabelmap(segmentID)
    segments.GetSegment(segmentID).SetName("")
    plan = planFromNode(node)
    setPlan(node, replace(plan, prescription=replace(plan.prescription, target=segmentID)))
    logic.calculateDose(node)
    assert changedSinceDose(node) == ()
    image = segments.GetSegment(segmentID).GetRepresentation("Binary labelmap")
    image.GetPointData().GetScalars().Fill(0)
    image.Modified()
    assert changedSinceDose(node) == ("target",)


def test_damaged_notes_of_a_dose_are_told(made) -> None:
    from DoseEngineLib.mrml.plan_node import isDoseCurrent

    _logic, _volume, _segmentation, node = made
    node.SetParameter("DoseInputs", "{bad")
    with pytest.raises(SchemaError, match=r"is damaged .*calculate the dose again"):
        isDoseCurrent(node)


def test_densities_and_roles_count(made) -> None:
    from DoseEngineLib.mrml.plan_node import changedSinceDose
    from DoseEngineLib.mrml.segmentations import setDensityOverrides, setSegmentRole

    logic, volume, segmentation, node = made
    setDensityOverrides(segmentation, {"Organ": 1.5})
    assert changedSinceDose(node) == ("densities of structures",)
    logic.calculateDose(node)
    replace_mask(segmentation, volume, "Organ", 10.0)
    assert changedSinceDose(node) == ("densities of structures",)
    logic.calculateDose(node)
    setSegmentRole(segment_named(segmentation, "Body"), "OTHER")
    assert changedSinceDose(node) == ("body",)


def test_what_counts_is_taken_when_the_calculation_begins(made) -> None:
    import slicer.util

    from DoseEngineLib.mrml.plan_node import changedSinceDose

    logic, volume, _segmentation, node = made

    def progress(fraction: float, text: str) -> None:
        if text == "Dose calculated":
            slicer.util.arrayFromVolume(volume)[9, 9, 9] += 1
            slicer.util.arrayFromVolumeModified(volume)

    logic.calculateDose(node, progress)
    assert changedSinceDose(node) == ("CT",)


def test_a_changed_patient_is_named_in_the_error(made) -> None:
    from DoseEngineLib.mrml.plan_node import planFromNode, setPlan
    from RTPlanningLib.mrml.plan_evaluation import currentDose

    _logic, volume, segmentation, node = made
    replace_mask(segmentation, volume, "Body", 30.0)
    plan = planFromNode(node)
    setPlan(node, replace(plan, name="Renamed"))
    with pytest.raises(PlanError, match=r"\(plan, body\); calculate the dose again"):
        currentDose(node)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        # values that end in half a micrometre, as DICOM rounds them and as fields of view divide
        Grid.from_spacing((20, 40, 40), (0.9765, 0.9765, 3.0), (-123.0625, -150.0375, -31.2505)),
        Grid.from_spacing((20, 40, 40), (500 / 512, 500 / 512, 3.0), (-250.0, -250.0, -60.0)),
        Grid.from_spacing((20, 30, 30), (1.2695, 1.2695, 2.5), (-325.0, -325.0, -101.25)),
    ],
    ids=lambda grid: f"{grid.spacing_mm[0]:.4f}",
)
def test_a_scene_that_is_saved_and_read_keeps_its_dose(scene, sphere_engine, tmp_path, grid) -> None:
    """A matrix comes back with noise in its last digits: what is rounded must not lie on a boundary of rounding."""
    from DoseEngineLib.mrml.plan_node import changedSinceDose, planNodes
    from RTPlanningLib.headless import HeadlessSlicer, save_scene
    from RTPlanningLib.mrml.scene_file import loadScene

    _logic, volume, _segmentation, _node = calculated(scene, sphere_engine, grid)
    path = save_scene(volume.GetScene(), tmp_path / "scene.mrb")
    with HeadlessSlicer() as other:
        loadScene(other.scene, path)
        (node,) = planNodes(other.scene)
        assert node.GetNodeReference("outputTotalDoseVolumeRef") is not None
        assert changedSinceDose(node) == ()
