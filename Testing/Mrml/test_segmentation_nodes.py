"""Segmentation nodes to structures and back."""

import numpy as np
import pytest
from oblique_grid import box

from DoseEngineLib.errors import GeometryError, PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.headless import load_scene, save_scene


def _nodes(scene, case):
    from DoseEngineLib.mrml.segmentations import setStructures
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    setVolumeFromArray(volume, case.hu, case.grid)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, case.structures, volume)
    return volume, segmentation


def _assert_same(structures, expected):
    assert [s.name for s in structures] == [s.name for s in expected]
    for got, wanted in zip(structures, expected, strict=True):
        assert got.role == wanted.role
        np.testing.assert_allclose(got.color, wanted.color, atol=1e-6)
        np.testing.assert_array_equal(got.mask, wanted.mask, err_msg=wanted.name)


def test_round_trip_keeps_order_overlap_empty_segments_roles_and_colors(scene, case):
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    _assert_same(structuresFromSegmentation(segmentation, case.grid), case.structures)


def test_saved_and_loaded_they_are_the_same(scene, case, tmp_path):
    from DoseEngineLib.mrml.segmentations import densityOverrides, setDensityOverrides, structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    setDensityOverrides(segmentation, {"PTV": 1.05, "External": 0.1 + 0.2})
    setDensityOverrides(segmentation, {"PTV": 1.05})
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb")).GetFirstNodeByName("Structures")
    _assert_same(structuresFromSegmentation(loaded, case.grid), case.structures)
    assert densityOverrides(loaded) == {"PTV": 1.05}


def test_replacing_structures_leaves_no_node_behind(scene, case):
    from DoseEngineLib.mrml.segmentations import setStructures, structuresFromSegmentation

    volume, segmentation = _nodes(scene, case)
    before = scene.GetNumberOfNodes()
    for _ in range(3):
        setStructures(segmentation, case.structures[:2], volume)
        structuresFromSegmentation(segmentation, case.grid)
    assert scene.GetNumberOfNodes() == before
    _assert_same(structuresFromSegmentation(segmentation, case.grid), case.structures[:2])


def test_reading_on_a_finer_grid_keeps_volume_and_place(scene, case):
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    fine = case.grid.with_spacing(1.5)
    ptv = next(s for s in structuresFromSegmentation(segmentation, fine) if s.name == "PTV")
    expected = case.structure("PTV")
    assert ptv.volume_cm3 == pytest.approx(expected.volume_cm3, rel=0.06)
    assert np.abs(ptv.centroid_RAS_mm() - expected.centroid_RAS_mm()).max() < 0.1


def test_a_parent_transform_moves_the_masks(scene, case):
    import slicer.util

    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    matrix = np.eye(4)
    # two voxels along the grid's own i axis
    matrix[:3, 3] = case.grid.affine[:3, 0] * 2
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    ptv = next(s for s in structuresFromSegmentation(segmentation, case.grid) if s.name == "PTV")
    np.testing.assert_array_equal(ptv.mask, np.roll(case.structure("PTV").mask, 2, axis=2))


def test_surfaces_alone_are_turned_into_masks_without_changing_the_node(scene, case):
    import slicer
    import vtk

    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    centre = case.structure("PTV").centroid_RAS_mm()
    ball = vtk.vtkSphereSource()
    ball.SetRadius(15.0)
    ball.SetCenter(*centre)
    ball.SetThetaResolution(48)
    ball.SetPhiResolution(48)
    ball.Update()
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Surfaces")
    segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segment = slicer.vtkSegment()
    segment.SetName("Ball")
    segment.AddRepresentation("Closed surface", ball.GetOutput())
    segmentation.GetSegmentation().AddSegment(segment, "Ball")
    (structure,) = structuresFromSegmentation(segmentation, case.grid.with_spacing(1.0))
    assert structure.volume_cm3 == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.02)
    assert np.abs(structure.centroid_RAS_mm() - centre).max() < 0.1
    # the surface itself, polygons and all, is what a DVH is taken of
    assert structure.outline.volume_cm3 == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.01)
    assert not segmentation.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_segments_outside_or_cut_by_the_image_are_refused(scene, case):
    from DoseEngineLib.mrml.segmentations import setStructures, structuresFromSegmentation

    grid = case.grid
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, [Structure("Organ", box(grid, slice(2, 6), slice(2, 6), slice(2, 6)), grid)])
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_ras((4, 0, 0))
    with pytest.raises(PatientError, match="50% of segment Organ lies outside"):
        structuresFromSegmentation(segmentation, Grid(grid.shape, affine))
    affine[:3, 3] = grid.index_to_ras((14, 0, 0))
    with pytest.raises(PatientError, match="belong together"):
        structuresFromSegmentation(segmentation, Grid(grid.shape, affine))
    segmentation.GetSegmentation().GetNthSegment(0).SetTag("RTPlanning.Role", "EXTERNAL")
    affine[:3, 3] = grid.index_to_ras((4, 0, 0))
    (body,) = structuresFromSegmentation(segmentation, Grid(grid.shape, affine))
    assert np.count_nonzero(body.mask) == 32


def test_bad_segmentations_are_refused(scene, case):
    from DoseEngineLib.mrml.segmentations import (
        densityOverrides,
        segmentIDOf,
        setDensityOverrides,
        structuresFromSegmentation,
    )

    _, segmentation = _nodes(scene, case)
    segments = segmentation.GetSegmentation()
    with pytest.raises(PatientError, match="no segment 'Heart'; it has: External, PTV"):
        segmentIDOf(segmentation, "Heart")
    with pytest.raises(PatientError, match="Heart"):
        setDensityOverrides(segmentation, {"Heart": 1.0})
    segments.GetSegment("PTV").SetTag("RTPlanning.DensityOverride_g_cm3", "heavy")
    with pytest.raises(PatientError, match="'heavy' is not a number"):
        densityOverrides(segmentation)
    segments.GetSegment("PTV").SetTag("RTPlanning.Role", "TUMOUR")
    with pytest.raises(PatientError, match="'TUMOUR'; use one of GTV"):
        structuresFromSegmentation(segmentation, case.grid)
    segments.GetSegment("PTV").SetTag("RTPlanning.Role", "PTV")
    segments.GetSegment("Couch").SetName("PTV")
    with pytest.raises(PatientError, match="two segments named 'PTV'"):
        structuresFromSegmentation(segmentation, case.grid)
    with pytest.raises(PatientError, match="choose one"):
        structuresFromSegmentation(None, case.grid)
    with pytest.raises(PatientError, match="not a segmentation"):
        structuresFromSegmentation(scene.AddNewNodeByClass("vtkMRMLModelNode", "Model"), case.grid)


def test_untagged_segments_get_their_role_from_the_name(scene, case):
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    segments = segmentation.GetSegmentation()
    for name in ("PTV", "Couch", "External"):
        segments.GetSegment(name).RemoveTag("RTPlanning.Role")
    segments.GetSegment("PTV").SetName("itv_1")
    roles = {s.name: s.role for s in structuresFromSegmentation(segmentation, case.grid)}
    assert [roles[name] for name in ("External", "itv_1", "Couch")] == ["EXTERNAL", "CTV", "SUPPORT"]


def test_a_sheared_segmentation_is_refused(scene, case):
    import slicer.util

    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    matrix = np.eye(4)
    matrix[0, 1] = 0.3
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shear")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(GeometryError, match=r"Segment External: .*perpendicular"):
        structuresFromSegmentation(segmentation, case.grid)


@pytest.mark.parametrize("slicerrt", [False, True], ids=["Slicer", "with SlicerRT's contours"])
def test_contours_stay_with_a_segment_until_it_is_edited(scene, case, slicerrt, monkeypatch):
    from dataclasses import replace

    from DoseEngineLib.contour_stack import ContourStack
    from DoseEngineLib.mrml import segmentations
    from DoseEngineLib.mrml.segmentations import setStructures, structuresFromSegmentation

    monkeypatch.setattr(segmentations, "_contoursCanBeMade", lambda segmentation: slicerrt)

    grid = Grid.from_spacing((20, 40, 40), (1.0, 1.0, 2.0), (10.0, -5.0, 3.0))
    mask = np.zeros(grid.shape, bool)
    mask[4:9, 10:20, 12:25] = True
    corners = np.array([(11.5, 9.5), (24.5, 9.5), (24.5, 19.5), (11.5, 19.5)])
    contours = tuple(grid.index_to_ras(np.column_stack((corners, np.full(4, float(k))))) for k in range(4, 9))
    structure = Structure("PTV", mask, grid, "PTV", outline=ContourStack("PTV", contours, 2.0))
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, [structure, replace(structure, name="CTV", outline=None)])
    ptv, ctv = structuresFromSegmentation(segmentation, grid)
    assert ctv.outline is None
    assert ptv.outline.volume_cm3 == pytest.approx(1.3) == pytest.approx(ptv.volume_cm3)
    for got, wanted in zip(ptv.outline.contours_RAS_mm, contours, strict=True):
        np.testing.assert_allclose(got[:4], wanted, atol=1e-9)
    kept = segmentation.GetSegmentation().GetSegment("PTV").GetRepresentation("Planar contour")
    assert (kept is not None) == slicerrt
    # as the segment editor does it
    import slicer

    cut = replace(structure, mask=mask & (np.arange(20) < 7)[:, None, None], outline=None)
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    setStructures(other, [cut])
    image = other.GetSegmentation().GetSegment("PTV").GetRepresentation("Binary labelmap")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, segmentation, "PTV", logic.MODE_REPLACE)
    ptv, ctv = structuresFromSegmentation(segmentation, grid)
    np.testing.assert_array_equal(ptv.mask, cut.mask)
    np.testing.assert_array_equal(ctv.mask, structure.mask)
    assert ptv.outline is None


def test_contours_are_saved_with_the_scene_and_hinder_no_further_segment(scene, tmp_path):
    from DoseEngineLib.contour_stack import ContourStack
    from DoseEngineLib.mrml.segmentations import setStructures, structuresFromSegmentation

    grid = Grid.from_spacing((12, 30, 30), (1.0, 1.0, 2.0), (10.0, -5.0, 3.0))
    mask = np.zeros(grid.shape, bool)
    mask[4:9, 10:20, 12:25] = True
    corners = np.array([(11.5, 9.5), (24.5, 9.5), (24.5, 19.5), (11.5, 19.5)])
    contours = tuple(grid.index_to_ras(np.column_stack((corners, np.full(4, float(k))))) for k in range(4, 9))
    empty = np.zeros(grid.shape, bool)
    structures = [
        Structure("PTV", mask, grid, "PTV", outline=ContourStack("PTV", contours, 2.0)),
        Structure("Not drawn yet", empty, grid),
    ]
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, structures)
    assert segmentation.GetSegmentation().AddEmptySegment("New", "New") == "New"
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb")).GetFirstNodeByName("Structures")
    ptv, drawn, new = structuresFromSegmentation(loaded, grid)
    for got, wanted in zip(ptv.outline.contours_RAS_mm, contours, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert ptv.outline.slice_spacing_mm == 2.0
    assert drawn.is_empty
    assert new.is_empty
    loaded.GetSegmentation().GetSegment("PTV").SetTag("RTPlanning.Contours", "AAAA")
    with pytest.raises(PatientError, match="Segment PTV: its contours are damaged"):
        structuresFromSegmentation(loaded, grid)


def test_ids_are_names_where_a_scene_file_can_hold_them(scene, case, tmp_path):
    """A reference whose role holds the ID, as SlicerRT's DVH module makes them, comes back with the scene."""
    from dataclasses import replace

    from DoseEngineLib.mrml.segmentations import segmentIDOf, setStructures, structuresFromSegmentation

    box = case.structure("PTV")
    names = ["PTV", "Lung & heart", "Lung < heart", 'the "one"', "Não contornado", "A;B:C"]
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, [replace(box, name=name) for name in names])
    ids = [segmentIDOf(segmentation, name) for name in names]
    assert ids == ["PTV", "Lung _ heart", "Lung _ heart_2", "the _one_", "Não contornado", "A_B_C"]
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Metrics")
    for segmentID in ids:
        table.SetNodeReferenceID(f"DoseVolumeHistogram.vtkMRMLScalarVolumeNode1_{segmentID}", segmentation.GetID())
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb"))
    again = loaded.GetFirstNodeByName("Structures")
    assert [s.name for s in structuresFromSegmentation(again, case.grid)] == names
    metrics = loaded.GetFirstNodeByName("Metrics")
    for segmentID in ids:
        role = f"DoseVolumeHistogram.vtkMRMLScalarVolumeNode1_{segmentID}"
        assert metrics.GetNodeReference(role) is again, segmentID


def test_one_structure_is_stored_without_touching_the_others(scene, case):
    from dataclasses import replace

    from DoseEngineLib.mrml.segmentations import setDensityOverrides, storeStructure, structuresFromSegmentation

    _, segmentation = _nodes(scene, case)
    setDensityOverrides(segmentation, {"PTV": 1.05})
    grid = case.grid
    segments = segmentation.GetSegmentation()
    # over the whole body, which shares a layer with others
    wide = replace(case.structure("PTV"), mask=case.structure("External").mask, color=(0.0, 1.0, 0.0))
    assert storeStructure(segmentation, wide) == "PTV"
    new = Structure("Ring <5>", box(grid, slice(5, 9), slice(8, 12), slice(9, 14)), grid, "CONTROL", (1.0, 1.0, 0.0))
    assert storeStructure(segmentation, new) == "Ring _5_"
    expected = [wide if s.name == "PTV" else s for s in case.structures] + [new]
    _assert_same(structuresFromSegmentation(segmentation, grid), expected)
    from DoseEngineLib.mrml.segmentations import densityOverrides

    assert densityOverrides(segmentation) == {"PTV": 1.05}
    with pytest.raises(PatientError, match="no voxel"):
        storeStructure(segmentation, case.structure("Não contornado"))
    # a surface that was made of the segment follows it
    segmentation.CreateClosedSurfaceRepresentation()
    before = segments.GetSegment("PTV").GetRepresentation("Closed surface").GetNumberOfPoints()
    storeStructure(segmentation, case.structure("PTV"))
    assert 0 < segments.GetSegment("PTV").GetRepresentation("Closed surface").GetNumberOfPoints() < before
    storeStructure(segmentation, replace(new, name="Another"))
    assert segments.GetSegment("Another").GetRepresentation("Closed surface").GetNumberOfPoints() > 0


def test_a_structure_is_stored_under_a_transform_and_into_an_empty_segmentation(scene, case):
    import slicer.util

    from DoseEngineLib.mrml.segmentations import storeStructure, structuresFromSegmentation

    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    matrix = np.eye(4)
    matrix[:3, 3] = (12.0, -7.0, 30.0)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    storeStructure(segmentation, case.structure("PTV"))
    storeStructure(segmentation, case.structure("External"))
    _assert_same(
        structuresFromSegmentation(segmentation, case.grid), [case.structure("PTV"), case.structure("External")]
    )


@pytest.mark.parametrize("end_cap", [None, 0.0])
def test_contours_keep_the_distance_of_their_slices(scene, end_cap):
    """Slices 5 mm apart on an image of 2 mm: the same outline and volume comes back, with its end caps."""
    from DoseEngineLib.contour_stack import ContourStack
    from DoseEngineLib.mrml.segmentations import setStructures, structuresFromSegmentation

    grid = Grid.from_spacing((30, 30, 30), 2.0, (-29.0, -29.0, -29.0))
    square = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])
    contours = tuple(np.column_stack((square, np.full(4, z))) for z in (-10.0, -5.0, 0.0, 5.0))
    outline = ContourStack("PTV", contours, 5.0, end_cap)
    x, y, z = np.moveaxis(grid.centres_RAS_mm(), -1, 0)
    mask = (abs(x) < 10) & (abs(y) < 10) & (z > -12) & (z < 7)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    setStructures(segmentation, [Structure("PTV", mask, grid, "PTV", outline=outline)])
    (found,) = structuresFromSegmentation(segmentation, grid)
    assert (found.outline.slice_spacing_mm, found.outline.end_cap_mm) == (5.0, end_cap)
    assert found.outline.volume_cm3 == pytest.approx(outline.volume_cm3, rel=1e-6)
    assert outline.volume_cm3 == pytest.approx(0.4 * (20.0 if end_cap is None else 15.0), rel=1e-6)
