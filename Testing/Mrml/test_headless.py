"""The headless runtime: scenes, saving and loading, and its refusals."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from DoseEngineLib.errors import CaseError
from RTPlanningLib.headless import HeadlessError, HeadlessSlicer, load_scene, save_scene, start


def _add_volume(scene, name="CT"):
    import slicer.util

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    return node


def test_nested_scenes_are_separate_and_the_former_one_returns(scene):
    import slicer

    _add_volume(scene)
    with HeadlessSlicer() as inner:
        assert slicer.mrmlScene is inner.scene
        assert inner.scene.GetFirstNodeByName("CT") is None
    assert slicer.mrmlScene is scene
    assert scene.GetFirstNodeByName("CT") is not None


def test_every_scene_finds_one_way_from_voxels_to_a_surface(scene):
    """Rules of conversion belong to the process: registered again, their ways grow to seconds of search."""
    import slicer

    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    kinds = sorted(rule.GetClassName() for rule in factory.GetConverterRules())
    assert "vtkBinaryLabelmapToClosedSurfaceConversionRule" in kinds
    for _ in range(3):
        with HeadlessSlicer():
            paths = slicer.vtkSegmentationConversionPaths()
            slicer.vtkSegmentation().GetPossibleConversions("Closed surface", paths)
            assert paths.GetNumberOfPaths() == 1
    assert sorted(rule.GetClassName() for rule in factory.GetConverterRules()) == kinds


def test_closing_twice_is_harmless():
    running = HeadlessSlicer()
    running.close()
    running.close()
    assert running.scene is None


def test_start_returns_the_same_scene():
    first = start()
    assert start() is first


def test_scene_round_trip_with_a_name_that_needs_escaping(scene, tmp_path):
    import slicer.util

    _add_volume(scene, "CT é %20 x")
    path = save_scene(scene, tmp_path / "a scene.mrb")
    loaded = load_scene(path)
    node = loaded.GetFirstNodeByName("CT é %20 x")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node).ravel(), np.arange(60))


def test_equal_scenes_give_equal_bytes(tmp_path):
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with HeadlessSlicer() as running:
            _add_volume(running.scene)
            contents.append(save_scene(running.scene, tmp_path / folder / "scene.mrb").read_bytes())
    assert contents[0] == contents[1]
    with zipfile.ZipFile(tmp_path / "a" / "scene.mrb") as bundle:
        assert {entry.date_time[0] for entry in bundle.infolist()} == {1980}


@pytest.mark.parametrize("name", ["scene.mrml", "missing/scene.mrb"])
def test_saving_to_a_wrong_place_is_refused(scene, tmp_path, name):
    with pytest.raises(CaseError):
        save_scene(scene, tmp_path / name)


def test_nodes_of_kinds_not_known_here_are_told(scene, tmp_path, caplog):
    _add_volume(scene)
    good = save_scene(scene, tmp_path / "good.mrb")
    with zipfile.ZipFile(good) as bundle:
        entries = {name: bundle.read(name) for name in bundle.namelist()}
    path = tmp_path / "foreign.mrb"
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in entries.items():
            foreign = b'<FromElsewhere id="vtkMRMLFromElsewhereNode1" name="X"></FromElsewhere></MRML>'
            bundle.writestr(name, content.replace(b"</MRML>", foreign) if name.endswith(".mrml") else content)
    assert not caplog.records
    assert load_scene(path).GetFirstNodeByName("CT") is not None
    assert "FromElsewhere" in caplog.text


@pytest.mark.parametrize(
    "class_name",
    ["vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsROINode", "vtkMRMLMarkupsPlaneNode", "vtkMRMLSequenceNode"],
)
def test_nodes_of_slicers_modules_survive(scene, tmp_path, class_name):
    node = scene.AddNewNodeByClass(class_name, "Node")
    if node.IsA("vtkMRMLMarkupsNode"):
        node.AddControlPoint((1.0, 2.0, 3.0), "Point")
    else:
        node.SetDataNodeAtValue(_add_volume(scene), "7")
    loaded = load_scene(save_scene(scene, tmp_path / "scene.mrb")).GetFirstNodeByName("Node")
    assert loaded.GetClassName() == class_name
    if node.IsA("vtkMRMLMarkupsNode"):
        assert loaded.GetNthControlPointPositionWorld(0) == pytest.approx((1.0, 2.0, 3.0))
        assert loaded.GetNthControlPointLabel(0) == "Point"
    else:
        assert loaded.GetNumberOfDataNodes() == 1


def test_bad_scene_files_leave_the_scene_as_it_was(tmp_path):
    from RTPlanningLib.mrml.scene_file import loadScene

    with HeadlessSlicer() as running:
        _add_volume(running.scene)
        good = save_scene(running.scene, tmp_path / "good.mrb")
        with zipfile.ZipFile(good) as bundle:
            entries = {name: bundle.read(name) for name in bundle.namelist()}
        without_data = tmp_path / "without.mrb"
        with zipfile.ZipFile(without_data, "w") as bundle:
            for name, content in entries.items():
                if not name.endswith(".nrrd"):
                    bundle.writestr(name, content)
        no_zip = tmp_path / "text.mrb"
        no_zip.write_text("no scene")
        for path, text in ((without_data, "CT.nrrd"), (no_zip, "readable"), (tmp_path / "none.mrb", "no scene file")):
            with pytest.raises(CaseError, match=text):
                loadScene(running.scene, path)
            assert running.scene.GetFirstNodeByName("CT") is not None


def test_a_scene_with_undecodable_data_is_refused(tmp_path):
    from RTPlanningLib.mrml.scene_file import loadScene

    with HeadlessSlicer() as running:
        _add_volume(running.scene)
        good = save_scene(running.scene, tmp_path / "good.mrb")
        with zipfile.ZipFile(good) as bundle:
            entries = {name: bundle.read(name) for name in bundle.namelist()}
        bad = tmp_path / "bad.mrb"
        with zipfile.ZipFile(bad, "w") as bundle:
            for name, content in entries.items():
                bundle.writestr(name, content[:50] if name.endswith(".nrrd") else content)
        with pytest.raises(CaseError, match="damaged"):
            loadScene(running.scene, bad)


def test_desktop_slicer_is_refused(monkeypatch):
    import slicer

    monkeypatch.setattr(slicer, "app", object(), raising=False)
    with pytest.raises(HeadlessError, match=r"slicer\.mrmlScene"):
        HeadlessSlicer()


@pytest.mark.parametrize("code", ["raise ImportError('no wheel')", "x = 1"])
def test_a_missing_or_foreign_slicer_says_what_to_install(tmp_path, code):
    package = tmp_path / "slicer"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    (package / "util.py").write_text("")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from RTPlanningLib.headless import HeadlessError, start\n"
        "try:\n    start()\nexcept HeadlessError as error:\n    print(error)\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "rtplanning[headless]"' in finished.stdout


def test_a_process_that_used_everything_exits_cleanly(tmp_path):
    script = Path(__file__).with_name("exit_cleanly.py")
    finished = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "done"
    assert "vtkDebugLeaks" not in finished.stderr
    assert "ERR|" not in finished.stderr
