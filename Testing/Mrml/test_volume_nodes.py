"""Volume nodes to arrays on grids and back."""

import numpy as np
import pytest
from oblique_grid import directions

from DoseEngineLib.errors import GeometryError, PatientError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.headless import load_scene, save_scene


def _node(scene, values, grid, name="CT"):
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    setVolumeFromArray(node, values, grid)
    return node


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32, np.float64])
def test_round_trip_in_memory_keeps_values_type_and_place(scene, oblique_grid, dtype):
    from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume

    values = np.random.default_rng(1).integers(0, 200, oblique_grid.shape).astype(dtype)
    node = _node(scene, values, oblique_grid)
    np.testing.assert_array_equal(arrayFromVolume(node), values)
    assert arrayFromVolume(node).dtype == dtype
    assert gridFromVolume(node).is_same_as(oblique_grid, 1e-6)


def test_types_vtk_lacks_are_stored_without_loss(scene, oblique_grid):
    from DoseEngineLib.mrml.volumes import arrayFromVolume

    values = np.arange(oblique_grid.size).reshape(oblique_grid.shape) - 5000
    assert values.dtype == np.int64
    stored = arrayFromVolume(_node(scene, values, oblique_grid))
    np.testing.assert_array_equal(stored, values)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(arrayFromVolume(_node(scene, values * 1000, oblique_grid)), values * 1000)
    assert arrayFromVolume(_node(scene, values > 0, oblique_grid)).dtype == np.uint8
    with pytest.raises(PatientError, match="32 bits"):
        _node(scene, values * 10**9, oblique_grid)


def test_the_array_is_a_copy(scene, oblique_grid):
    from DoseEngineLib.mrml.volumes import arrayFromVolume

    node = _node(scene, np.zeros(oblique_grid.shape, np.float32), oblique_grid)
    arrayFromVolume(node)[:] = 1
    assert not arrayFromVolume(node).any()


@pytest.mark.parametrize("left_handed", [False, True])
def test_saved_and_loaded_every_voxel_is_where_it_was(scene, tmp_path, left_handed):
    from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume

    grid = Grid.from_spacing(
        (6, 7, 8), (1.234567, 2.9, 4.3), (-37.123456, 11.5, 203.7), directions(left_handed=left_handed)
    )
    values = np.arange(grid.size, dtype=np.float32).reshape(grid.shape)
    _node(scene, values, grid)
    node = load_scene(save_scene(scene, tmp_path / "scene.mrb")).GetFirstNodeByName("CT")
    loaded, loaded_grid = arrayFromVolume(node), gridFromVolume(node)
    # Slicer re-orders the slices of a left-handed image; the voxels keep their places in the world
    places = dict(zip(values.ravel(), grid.centres_RAS_mm().reshape(-1, 3)))
    expected = np.array([places[value] for value in loaded.ravel()])
    assert np.abs(loaded_grid.centres_RAS_mm().reshape(-1, 3) - expected).max() < 1e-3


def test_a_linear_parent_transform_moves_the_grid(scene, oblique_grid):
    import slicer.util

    from DoseEngineLib.mrml.volumes import gridFromVolume

    node = _node(scene, np.zeros(oblique_grid.shape, np.float32), oblique_grid)
    matrix = np.eye(4)
    matrix[:3, :3] = directions().T
    matrix[:3, 3] = (5, -6, 7)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    np.testing.assert_allclose(gridFromVolume(node).affine, matrix @ oblique_grid.affine, atol=1e-9)


def test_a_non_linear_parent_transform_is_refused(scene, oblique_grid):
    from DoseEngineLib.mrml.volumes import gridFromVolume

    node = _node(scene, np.zeros(oblique_grid.shape, np.float32), oblique_grid)
    transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Warp")
    import vtk

    warp = vtk.vtkGridTransform()
    displacement = vtk.vtkImageData()
    displacement.SetDimensions(3, 3, 3)
    displacement.AllocateScalars(vtk.VTK_DOUBLE, 3)
    displacement.GetPointData().GetScalars().Fill(1.0)
    warp.SetDisplacementGridData(displacement)
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(GeometryError, match="non-linear transform Warp"):
        gridFromVolume(node)


def test_bad_volumes_are_refused(scene, oblique_grid):
    import vtk

    from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume, setVolumeFromArray

    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    for read in (arrayFromVolume, gridFromVolume):
        with pytest.raises(PatientError, match="Empty has no voxels"):
            read(empty)
        with pytest.raises(PatientError, match="choose one"):
            read(None)
        with pytest.raises(PatientError, match="scalar volume"):
            read(scene.AddNewNodeByClass("vtkMRMLModelNode", "Model"))
    node = _node(scene, np.zeros(oblique_grid.shape, np.float32), oblique_grid)
    with pytest.raises(PatientError, match="NaN"):
        setVolumeFromArray(node, np.full(oblique_grid.shape, np.nan), oblique_grid)
    with pytest.raises(GeometryError, match="shape"):
        setVolumeFromArray(node, np.zeros((2, 2, 2)), oblique_grid)
    node.GetImageData().GetPointData().GetScalars().SetTuple1(3, float("nan"))
    with pytest.raises(PatientError, match="1 NaN"):
        arrayFromVolume(node)
    color = vtk.vtkImageData()
    color.SetDimensions(3, 3, 3)
    color.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    vector = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    vector.SetAndObserveImageData(color)
    with pytest.raises(PatientError, match="3 values a voxel"):
        arrayFromVolume(vector)
