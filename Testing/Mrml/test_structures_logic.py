"""Contouring tools on segments: what they store, and that every change can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from oblique_grid import box

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.case import Case
from RTPlanningLib.contouring.margins import Margins

GRID = Grid.from_spacing((24, 40, 40), (2.0, 2.0, 3.0), (-39.0, -39.0, -34.5))


@pytest.fixture
def small(scene):
    """A logic, a CT with bone in it, and External, CTV_High and Rectum."""
    from RTPlanningLib.mrml.case_nodes import createCaseNodes
    from RTPlanningLib.structures_logic import StructuresLogic

    hu = np.full(GRID.shape, -1000, np.int16)
    body = box(GRID, slice(0, 24), slice(4, 36), slice(4, 36))
    hu[body] = 10
    hu[10:12, 20:24, 8:12] = 600
    structures = (
        Structure("External", body, GRID, "EXTERNAL", (0.2, 0.8, 0.4)),
        Structure("CTV_High", box(GRID, slice(9, 14), slice(15, 22), slice(15, 22)), GRID, "CTV", (1.0, 0.5, 0.0)),
        Structure("Rectum", box(GRID, slice(9, 14), slice(20, 27), slice(15, 22)), GRID, "ORGAN", (0.5, 0.25, 0.0)),
    )
    volume, segmentation = createCaseNodes(scene, Case(name="Box", hu=hu, grid=GRID, structures=structures))
    logic = StructuresLogic(scene)
    yield logic, volume, segmentation
    logic.release()


def structures_of(segmentation):
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    return {s.name: s for s in structuresFromSegmentation(segmentation, GRID)}


def state(segmentation):
    """Everything a person sees of the segments, in order."""
    return [
        (s.name, s.role, tuple(np.round(s.color, 5)), s.mask.tobytes()) for s in structures_of(segmentation).values()
    ]


def test_a_margin_changes_the_structure_or_makes_another(small):
    from RTPlanningLib.structures_logic import Result

    logic, volume, segmentation = small
    before = structures_of(segmentation)
    made = logic.growSegment(
        segmentation, "CTV_High", Margins.uniform(6.0), volumeNode=volume, result=Result("Grown", "CONTROL", (0, 1, 1))
    )
    grown = structures_of(segmentation)["Grown"]
    assert (made.name, made.segmentID, made.notes) == ("Grown", "Grown", ())
    assert (grown.role, grown.color) == ("CONTROL", (0.0, 1.0, 1.0))
    assert made.volume_cm3 == pytest.approx(grown.volume_cm3)
    assert grown.mask.any(axis=(1, 2)).sum() == 5 + 4
    # in place: what it was stays, only its voxels change
    logic.growSegment(segmentation, "CTV_High", Margins.uniform(6.0), volumeNode=volume)
    after = structures_of(segmentation)
    assert list(after) == ["External", "CTV_High", "Rectum", "Grown"]
    np.testing.assert_array_equal(after["CTV_High"].mask, grown.mask)
    assert (after["CTV_High"].role, after["CTV_High"].color) == ("CTV", before["CTV_High"].color)
    np.testing.assert_array_equal(after["Rectum"].mask, before["Rectum"].mask)


def test_every_tool_stores_what_its_pure_part_makes(small):
    from DoseEngineLib.ring import ring
    from RTPlanningLib.contouring.crop import crop_outside
    from RTPlanningLib.contouring.planning_target import planning_target
    from RTPlanningLib.contouring.wall import wall
    from RTPlanningLib.structures_logic import Result

    logic, volume, segmentation = small
    s = structures_of(segmentation)
    ptv = logic.createPlanningTarget(segmentation, "CTV_High", Margins.uniform(7.0), bodyName="External", skin_mm=4.0)
    assert ptv.name == "PTV_High"
    logic.createWall(segmentation, "Rectum", 4.0)
    logic.createRing(segmentation, "CTV_High", 2.0, 8.0, bodyName="External", result=Result("zRing"))
    logic.combineSegments(segmentation, ["CTV_High", "Rectum"], "intersection")
    logic.cropSegment(segmentation, "Rectum", "CTV_High", 2.0, result=Result("Rectum^Free"))
    logic.thresholdSegment(segmentation, volume, 226, 3071, presetID="bone", bodyName="External")
    logic.createBody(segmentation, volume)
    made = structures_of(segmentation)
    expected = {
        "PTV_High": planning_target(s["CTV_High"], Margins.uniform(7.0), body=s["External"], skin_mm=4.0).structure,
        "Rectum_Wall": wall(s["Rectum"], 4.0).structure,
        "zRing": ring(s["CTV_High"], 2.0, 8.0, within=s["External"]),
        "Rectum^Free": crop_outside(s["Rectum"], s["CTV_High"], 2.0).structure,
    }
    for name, structure in expected.items():
        np.testing.assert_array_equal(made[name].mask, structure.mask, err_msg=name)
        assert made[name].role == structure.role
    np.testing.assert_array_equal(made["CTV_High_and_Rectum"].mask, s["CTV_High"].mask & s["Rectum"].mask)
    assert made["Bone"].mask.sum() == 2 * 4 * 4
    # the outline that was there is the one that is made again
    assert next(iter(made)) == "External"
    assert made["External"].color == s["External"].color
    assert made["External"].mask.sum() == pytest.approx(s["External"].mask.sum(), rel=0.02)


def test_slices_are_filled_and_islands_removed(small):
    logic, _volume, segmentation = small
    from DoseEngineLib.mrml.segmentations import storeStructure

    every_second = structures_of(segmentation)["CTV_High"].mask.copy()
    every_second[10:13:2] = False
    storeStructure(segmentation, Structure("CTV_High", every_second, GRID, "CTV"))
    made = logic.fillBetweenSlices(segmentation, "CTV_High")
    assert structures_of(segmentation)["CTV_High"].mask.any(axis=(1, 2)).sum() == 5
    assert made.notes == ("2 of CTV_High's slices filled.",)
    speck = every_second.copy()
    speck[2, 2, 2] = True
    storeStructure(segmentation, Structure("CTV_High", speck, GRID, "CTV"))
    assert "removed" in logic.removeIslands(segmentation, "CTV_High", 0.1).notes[0]
    assert not structures_of(segmentation)["CTV_High"].mask[2].any()


def test_changes_are_undone_and_done_again_in_order(small):
    logic, volume, segmentation = small
    states = [state(segmentation)]
    logic.growSegment(segmentation, "CTV_High", Margins.uniform(6.0), volumeNode=volume)
    states.append(state(segmentation))
    logic.createPlanningTarget(segmentation, "CTV_High", Margins.uniform(5.0))
    states.append(state(segmentation))
    logic.renameSegment(segmentation, "Rectum", "Rectum <b>")
    states.append(state(segmentation))
    logic.setSegmentRole(segmentation, "Rectum <b>", "AVOIDANCE")
    states.append(state(segmentation))
    logic.setSegmentColor(segmentation, "External", (0.1, 0.1, 0.9))
    states.append(state(segmentation))
    logic.removeSegment(segmentation, "External")
    states.append(state(segmentation))
    assert len({str(s) for s in states}) == len(states)
    for expected in states[-2::-1]:
        assert logic.undo(segmentation)
        assert state(segmentation) == expected
    assert not logic.undo(segmentation)
    for expected in states[1:]:
        assert logic.redo(segmentation)
        assert state(segmentation) == expected
    assert not logic.redo(segmentation)
    # a change after an undo ends what could be done again
    logic.undo(segmentation)
    logic.renameSegment(segmentation, "Rectum <b>", "Bowel")
    assert not logic.redo(segmentation)


def test_the_history_is_bounded(small):
    logic, _volume, segmentation = small
    for number in range(15):
        logic.renameSegment(segmentation, "Rectum" if number == 0 else f"R{number - 1}", f"R{number}")
    steps = 0
    while logic.undo(segmentation):
        steps += 1
    assert steps == 10
    assert "R4" in structures_of(segmentation)


def test_undo_keeps_the_contours_of_other_structures(small):
    from DoseEngineLib.contour_stack import ContourStack
    from DoseEngineLib.mrml.segmentations import setStructures

    logic, volume, segmentation = small
    s = structures_of(segmentation)
    corners = np.array([(14.5, 14.5), (21.5, 14.5), (21.5, 21.5), (14.5, 21.5)])
    contours = tuple(GRID.index_to_ras(np.column_stack((corners, np.full(4, float(k))))) for k in range(9, 14))
    drawn = Structure("CTV_High", s["CTV_High"].mask, GRID, "CTV", outline=ContourStack("CTV_High", contours, 3.0))
    setStructures(segmentation, [drawn, s["Rectum"]], volume)
    logic.growSegment(segmentation, "Rectum", Margins.uniform(4.0))
    assert structures_of(segmentation)["CTV_High"].outline is not None
    logic.growSegment(segmentation, "CTV_High", Margins.uniform(4.0))
    assert structures_of(segmentation)["CTV_High"].outline is None
    logic.undo(segmentation)
    assert structures_of(segmentation)["CTV_High"].outline is not None
    logic.undo(segmentation)
    assert structures_of(segmentation)["CTV_High"].outline is not None


def test_an_error_or_a_cancel_leaves_the_segments_as_they_were(small):
    from DoseEngineLib.errors import Cancelled

    logic, volume, segmentation = small
    before = state(segmentation)

    def stop(fraction, text):
        if fraction > 0.3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        logic.growSegment(segmentation, "CTV_High", Margins.uniform(6.0), progress=stop)
    for call in (
        lambda: logic.growSegment(segmentation, "Heart", Margins.uniform(6.0)),
        lambda: logic.growSegment(segmentation, "CTV_High", Margins.uniform(60.0)),
        lambda: logic.combineSegments(segmentation, ["CTV_High", "CTV_High"], "difference"),
        lambda: logic.thresholdSegment(segmentation, volume, 2000, 3000, bodyName="External"),
        lambda: logic.thresholdSegment(segmentation, volume, 0, 1, presetID="cheese"),
        lambda: logic.growSegment(None, "CTV_High", Margins.uniform(6.0)),
        lambda: logic.renameSegment(segmentation, "Rectum", "CTV_High"),
        lambda: logic.renameSegment(segmentation, "Rectum", " "),
        lambda: logic.setSegmentRole(segmentation, "Rectum", "TUMOUR"),
    ):
        with pytest.raises(PatientError):
            call()
    assert state(segmentation) == before
    assert not logic.undo(segmentation)


def test_removal_of_the_node_in_mid_work_is_said_and_leaves_nothing(small):
    logic, _volume, segmentation = small
    scene = logic.scene
    logic.renameSegment(segmentation, "Rectum", "R")

    def background(function, progress=None):
        result = function(lambda fraction, text: None)
        scene.RemoveNode(segmentation)
        return result

    logic.background = background
    with pytest.raises(PatientError, match="removed meanwhile"):
        logic.growSegment(segmentation, "CTV_High", Margins.uniform(6.0))
    assert not logic._histories


def test_scene_close_ends_the_histories(small):
    logic, _volume, segmentation = small
    logic.renameSegment(segmentation, "Rectum", "R")
    logic.scene.Clear(False)
    assert not logic._histories


def test_a_second_body_outline_is_refused(small):
    logic, volume, segmentation = small
    logic.setSegmentRole(segmentation, "Rectum", "EXTERNAL")
    with pytest.raises(PatientError, match="Rectum would be a second body outline"):
        logic.createBody(segmentation, volume)


def test_structures_are_edited_on_the_segmentations_own_voxels(scene, case):
    """Oblique, under a transform, without a CT: the reference geometry says where."""
    import slicer.util

    from RTPlanningLib.mrml.case_nodes import createCaseNodes
    from RTPlanningLib.mrml.editing_grid import editingGrid
    from RTPlanningLib.structures_logic import StructuresLogic

    _volume, segmentation = createCaseNodes(scene, case)
    assert editingGrid(segmentation).is_same_as(case.grid)
    logic = StructuresLogic(scene)
    before = case.structure("PTV").volume_cm3
    assert logic.growSegment(segmentation, "PTV", Margins.uniform(6.0)).volume_cm3 > 1.5 * before
    matrix = np.eye(4)
    matrix[:3, 3] = (5.0, 6.0, 7.0)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    np.testing.assert_allclose(editingGrid(segmentation).origin_RAS_mm, case.grid.origin_RAS_mm + (5.0, 6.0, 7.0))
    grown = logic.growSegment(segmentation, "PTV", Margins.uniform(-6.0))
    assert grown.volume_cm3 == pytest.approx(before, rel=0.2)
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    with pytest.raises(PatientError, match="choose the CT"):
        editingGrid(empty)
    logic.release()


def test_surfaces_become_voxels_when_they_are_edited(scene):
    """As in the segment editor; the other structures stay where they were, and undo leads back to them."""
    import slicer
    import vtk

    from RTPlanningLib.mrml.case_nodes import createCaseNodes
    from RTPlanningLib.structures_logic import StructuresLogic

    hu = np.zeros(GRID.shape, np.int16)
    volume, segmentation = createCaseNodes(scene, Case(name="Box", hu=hu, grid=GRID, structures=()))
    segments = segmentation.GetSegmentation()
    segments.SetSourceRepresentationName("Closed surface")
    for name, radius in (("CTV", 12.0), ("Bladder", 20.0)):
        source = vtk.vtkSphereSource()
        source.SetRadius(radius)
        source.SetThetaResolution(40)
        source.SetPhiResolution(40)
        source.Update()
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Closed surface", source.GetOutput())
        segments.AddSegment(segment, name)
    before = structures_of(segmentation)
    logic = StructuresLogic(scene)
    made = logic.growSegment(segmentation, "CTV", Margins.uniform(5.0), volumeNode=volume)
    assert made.volume_cm3 == pytest.approx(4 / 3 * np.pi * 1.7**3, rel=0.05)
    after = structures_of(segmentation)
    np.testing.assert_array_equal(after["Bladder"].mask, before["Bladder"].mask)
    assert after["CTV"].volume_cm3 == pytest.approx(made.volume_cm3)
    logic.undo(segmentation)
    np.testing.assert_array_equal(structures_of(segmentation)["CTV"].mask, before["CTV"].mask)
    logic.release()


def test_a_segmentation_is_begun_on_the_voxels_of_its_ct(small):
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
    from DoseEngineLib.mrml.subject_hierarchy import studyOf
    from RTPlanningLib.mrml.editing_grid import editingGrid

    logic, volume, _segmentation = small
    new = logic.createSegmentation(volume)
    assert editingGrid(new).is_same_as(GRID)
    assert studyOf(new) == studyOf(volume)
    assert logic.addSegment(new) == "Structure_1"
    assert logic.addSegment(new, "PTV_Boost") == "PTV_Boost"
    with pytest.raises(PatientError, match="already"):
        logic.addSegment(new, "PTV_Boost")
    first, boost = structuresFromSegmentation(new, GRID)
    assert (first.role, boost.role) == ("ORGAN", "PTV")
    assert first.color != boost.color
    assert logic.undo(new)
    assert [s.name for s in structuresFromSegmentation(new, GRID)] == ["Structure_1"]
    with pytest.raises(PatientError, match="no volume"):
        logic.createSegmentation(None)


def test_rows_tell_name_role_color_and_volume(small):
    from RTPlanningLib.mrml.structure_rows import SegmentVolumes, structureRows

    logic, _volume, segmentation = small
    volumes = SegmentVolumes()
    assert [row.volume_cm3 for row in structureRows(segmentation, volumes)] == [None, None, None]
    while volumes.countNext(segmentation):
        pass
    rows = structureRows(segmentation, volumes)
    for row, structure in zip(rows, structures_of(segmentation).values(), strict=True):
        assert (row.name, row.role) == (structure.name, structure.role)
        np.testing.assert_allclose(row.color, structure.color, atol=1e-6)
        assert row.volume_cm3 == pytest.approx(structure.volume_cm3)
    logic.growSegment(segmentation, "Rectum", Margins.uniform(4.0))
    while volumes.countNext(segmentation):
        pass
    assert structureRows(segmentation, volumes)[2].volume_cm3 == pytest.approx(
        structures_of(segmentation)["Rectum"].volume_cm3
    )
