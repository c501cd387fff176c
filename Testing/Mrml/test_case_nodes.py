"""Cases as nodes, and cases from files Slicer reads."""

import numpy as np
import pytest
from oblique_grid import box

from DoseEngineLib.errors import CaseError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.case import Case
from RTPlanningLib.headless import load_scene, save_scene


def _assert_same_case(got: Case, wanted: Case) -> None:
    np.testing.assert_array_equal(got.hu, wanted.hu)
    assert got.grid.is_same_as(wanted.grid, 1e-3)
    assert [s.name for s in got.structures] == [s.name for s in wanted.structures]
    for mine, theirs in zip(got.structures, wanted.structures, strict=True):
        np.testing.assert_array_equal(mine.mask, theirs.mask, err_msg=mine.name)
        assert mine.role == theirs.role


@pytest.mark.parametrize("saved", [False, True])
def test_case_to_nodes_and_back(scene, case, tmp_path, saved):
    from RTPlanningLib.mrml.case_nodes import caseFromNodes, createCaseNodes

    volume, segmentation = createCaseNodes(scene, case)
    if saved:
        scene = load_scene(save_scene(scene, tmp_path / "scene.mrb"))
        volume, segmentation = scene.GetFirstNodeByName("Oblique_CT"), scene.GetFirstNodeByName("Oblique_Structures")
    got = caseFromNodes(volume, segmentation)
    _assert_same_case(got, case)
    for field in (
        "name",
        "patient_position",
        "patient_name",
        "patient_id",
        "study_instance_uid",
        "goals",
        "description",
    ):
        assert getattr(got, field) == getattr(case, field)
    assert got.series_instance_uid == case.series_instance_uid
    assert got.frame_of_reference_uid == case.frame_of_reference_uid
    assert dict(got.density_overrides_g_cm3) == {"PTV": 1.05}
    assert got.notes == (*case.notes, "Structure Não contornado is empty.")


def test_patient_and_study_of_the_subject_hierarchy(scene, case, tmp_path):
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode, studyOf
    from RTPlanningLib.mrml.case_nodes import createCaseNodes

    createCaseNodes(scene, case)
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb"))
    for present in (scene, loaded):
        hierarchy = hierarchyNode(present)
        volume = present.GetFirstNodeByName("Oblique_CT")
        study = studyOf(volume)
        patient = hierarchy.GetItemParent(study)
        assert studyOf(present.GetFirstNodeByName("Oblique_Structures")) == study
        assert (hierarchy.GetItemLevel(patient), hierarchy.GetItemLevel(study)) == ("Patient", "Study")
        assert hierarchy.GetItemName(patient) == "Phantom^É"
        assert hierarchy.GetItemUID(patient, "DICOM") == "ID-1"
        assert hierarchy.GetItemUID(study, "DICOM") == "1.2.3.4"
        assert hierarchy.GetItemUID(hierarchy.GetItemByDataNode(volume), "DICOM") == "1.2.3.5"


def test_a_second_case_of_the_patient_joins_its_study(scene, case):
    from DoseEngineLib.mrml.subject_hierarchy import studyOf
    from RTPlanningLib.mrml.case_nodes import createCaseNodes

    first, _ = createCaseNodes(scene, case)
    second, _ = createCaseNodes(scene, case)
    assert second.GetName() != first.GetName()
    assert studyOf(first) == studyOf(second)


def test_any_ct_of_a_scene_is_a_case_with_a_note(scene, case):
    from DoseEngineLib.mrml.volumes import setVolumeFromArray
    from RTPlanningLib.mrml.case_nodes import caseFromNodes

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Some CT")
    setVolumeFromArray(volume, case.hu, case.grid)
    got = caseFromNodes(volume)
    assert (got.name, got.patient_position, got.structures) == ("Some CT", "HFS", ())
    assert "head-first supine is assumed" in got.notes[0]


def test_a_case_of_a_newer_version_is_refused_and_kept(scene, case):
    from RTPlanningLib.mrml.case_nodes import caseFromNodes, createCaseNodes

    volume, segmentation = createCaseNodes(scene, case)
    for text, error in (('{"schema_version": 2}', SchemaError), ("nonsense", CaseError), ("[]", CaseError)):
        volume.SetAttribute("RTPlanning.Case", text)
        with pytest.raises(error):
            caseFromNodes(volume, segmentation)
        assert volume.GetAttribute("RTPlanning.Case") == text


# Files


def _write(scene, node, path):
    storage = scene.AddNewNodeByClass(node.GetDefaultStorageNodeClassName(str(path)))
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


@pytest.fixture
def files(scene, case, tmp_path):
    """The case's CT and structures as files."""
    from RTPlanningLib.mrml.case_nodes import createCaseNodes

    volume, segmentation = createCaseNodes(scene, case)
    return volume, _write(scene, segmentation, tmp_path / "structures.seg.nrrd"), tmp_path


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz", ".nii", ".mha"])
def test_volume_and_segmentation_files_give_the_case(scene, case, files, ending):
    from RTPlanningLib.mrml.read_volume_case import readVolumeCase

    volume, seg_path, folder = files
    count = scene.GetNumberOfNodes()
    ct_path = _write(scene, volume, folder / f"my CT{ending}")
    nodes = scene.GetNumberOfNodes()
    got = readVolumeCase(ct_path, seg_path, patient_position="FFP")
    _assert_same_case(got, case)
    assert got.name == "my CT"
    assert dict(got.density_overrides_g_cm3) == {"PTV": 1.05}
    assert "FFP is used" in got.notes[0]
    assert "Structure Não contornado is empty." in got.notes
    assert scene.GetNumberOfNodes() == nodes == count + 1


def test_overlapping_segments_of_a_file_stay_whole(files, case, scene):
    from RTPlanningLib.mrml.read_volume_case import readVolumeCase

    volume, seg_path, folder = files
    got = readVolumeCase(_write(scene, volume, folder / "ct.nrrd"), seg_path)
    both = got.structure("PTV").mask & got.structure("Rectum <1>").mask
    assert np.count_nonzero(both) == 2 * 3 * 5
    np.testing.assert_array_equal(both, case.structure("PTV").mask & case.structure("Rectum <1>").mask)


def test_missing_and_foreign_files_are_refused(files, scene):
    from RTPlanningLib.mrml.read_volume_case import readVolumeCase

    volume, _, folder = files
    ct_path = _write(scene, volume, folder / "ct.nrrd")
    (folder / "text.nrrd").write_text("not an image")
    (folder / "photo.png").write_bytes(b"")
    for ct, seg, message in (
        (folder / "no.nrrd", None, "no CT volume file"),
        (ct_path, folder / "no.seg.nrrd", "no segmentation file"),
        (folder / "photo.png", None, "ending that is not read"),
        (folder / "text.nrrd", None, "could not be read as a scalar volume"),
        (ct_path, folder / "text.nrrd", "could not be read as a segmentation"),
    ):
        with pytest.raises(CaseError, match=message):
            readVolumeCase(ct, seg)


def test_nan_and_single_slices_are_refused(scene, tmp_path):
    from DoseEngineLib.mrml.volumes import setVolumeFromArray
    from RTPlanningLib.mrml.read_volume_case import readVolumeCase

    grid = Grid.from_spacing((4, 5, 6), 2.0)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    setVolumeFromArray(volume, np.zeros(grid.shape, np.float32), grid)
    volume.GetImageData().GetPointData().GetScalars().SetTuple1(3, float("nan"))
    with pytest.raises(CaseError, match="1 NaN"):
        readVolumeCase(_write(scene, volume, tmp_path / "nan.nrrd"))
    flat = Grid.from_spacing((1, 5, 6), 2.0)
    setVolumeFromArray(volume, np.zeros(flat.shape, np.float32), flat)
    with pytest.raises(CaseError, match="single slice"):
        readVolumeCase(_write(scene, volume, tmp_path / "flat.nrrd"))


def test_a_color_image_is_refused(scene, tmp_path):
    import vtk

    from RTPlanningLib.mrml.read_volume_case import readVolumeCase

    image = vtk.vtkImageData()
    image.SetDimensions(3, 4, 5)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    image.GetPointData().GetScalars().Fill(7)
    vector = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    vector.SetAndObserveImageData(image)
    with pytest.raises(CaseError, match=r"scalar volume|values a voxel"):
        readVolumeCase(_write(scene, vector, tmp_path / "color.nrrd"))


def test_a_segmentation_of_another_place_is_refused(scene, case, files, tmp_path):
    from DoseEngineLib.mrml.segmentations import setStructures
    from RTPlanningLib.mrml.read_volume_case import readVolumeCase

    volume, _, folder = files
    affine = case.grid.affine.copy()
    affine[:3, 3] += 1000.0
    elsewhere = Grid(case.grid.shape, affine)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Elsewhere")
    setStructures(node, [Structure("PTV", box(elsewhere, slice(2, 5), slice(2, 5), slice(2, 5)), elsewhere)])
    seg_path = _write(scene, node, folder / "elsewhere.seg.nrrd")
    with pytest.raises(CaseError, match="belong together"):
        readVolumeCase(_write(scene, volume, folder / "ct.nrrd"), seg_path)
