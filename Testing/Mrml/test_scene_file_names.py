"""Scene files of nodes that are named as people name them."""

from __future__ import annotations

import zipfile

import pytest

from RTPlanningLib.mrml.scene_file import loadScene, saveScene


@pytest.mark.parametrize("name", ["H&N", "a&b<c>", "R&amp;D", "50 % Hals", "5'", "a/b", "x;y", "Ä"])
def test_any_name_survives(scene, tmp_path, name: str) -> None:
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.AddColumn().InsertNextValue("kept")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    transform.SetDescription("here")
    for number in range(2):
        # what was loaded can be saved again
        file = saveScene(scene, tmp_path / f"{number}.mrb")
        loadScene(scene, file)
        assert scene.GetFirstNodeByName(name) is not None
        (column,) = [scene.GetNthNodeByClass(0, "vtkMRMLTableNode").GetTable().GetColumn(0)]
        assert column.GetValue(0) == "kept"


def test_bundles_with_a_bare_ampersand_are_read(scene, tmp_path) -> None:
    """Slicer itself writes names of files with it."""
    scene.AddNewNodeByClass("vtkMRMLTableNode", "H&N").AddColumn().InsertNextValue("kept")
    file, bare = saveScene(scene, tmp_path / "ours.mrb"), tmp_path / "bare.mrb"
    with zipfile.ZipFile(file) as ours, zipfile.ZipFile(bare, "w") as other:
        for entry in ours.infolist():
            content = ours.read(entry)
            if entry.filename.endswith(".mrml"):
                assert b'fileName="Data/H&amp;N.tsv"' in content
                content = content.replace(b"Data/H&amp;N.tsv", b"Data/H&N.tsv")
            other.writestr(entry, content)
    loadScene(scene, bare)
    assert scene.GetNthNodeByClass(0, "vtkMRMLTableNode").GetName() == "H&N"


def test_removed_nodes_are_not_missed(scene, tmp_path) -> None:
    """Their storage nodes stay in the scene, and name files that no bundle holds."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "AP")
    loadScene(scene, saveScene(scene, tmp_path / "first.mrb"))
    transform = scene.GetNthNodeByClass(0, "vtkMRMLLinearTransformNode")
    assert transform.GetStorageNode() is not None
    scene.RemoveNode(transform)
    scene.AddNewNodeByClass("vtkMRMLTextNode", "Other")
    loadScene(scene, saveScene(scene, tmp_path / "second.mrb"))
    assert scene.GetNumberOfNodesByClass("vtkMRMLLinearTransformNode") == 0
    assert scene.GetFirstNodeByName("Other") is not None
