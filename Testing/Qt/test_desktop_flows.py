"""The tests of ``Testing/Slicer``, which CTest runs inside Slicer, on the stand-ins, so that they stay right."""

from __future__ import annotations

import ast
import importlib
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "Slicer"
FILES = sorted(FOLDER.glob("*DesktopTest.py"))


def methods(path: Path) -> list[str]:
    """Test methods of the class that a file is named after."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == path.stem]
    found = [node for one in classes for node in one.body if isinstance(node, ast.FunctionDef)]
    return [node.name for node in found if node.name.startswith("test_")]


FLOWS = [(path.stem, name) for path in FILES for name in methods(path)]


@pytest.fixture
def modules(desktop, load, monkeypatch):
    """``slicer.util`` finds our modules, and saves and loads scenes, as it does inside Slicer."""
    import slicer
    from PySide6 import QtGui

    from RTPlanningLib.mrml.scene_file import loadScene, saveScene

    loaded: dict[str, tuple] = {}

    def found(name: str) -> tuple:
        if name not in loaded:
            loaded[name] = load(name)
        return loaded[name]

    def module(name: str) -> SimpleNamespace:
        parent = found(name)[0].parent
        # Slicer takes the icon by the module's name
        icon = QtGui.QIcon(str(FOLDER.parents[1] / name / "Resources" / "Icons" / f"{name}.png"))
        return SimpleNamespace(categories=parent.categories, helpText=parent.helpText, icon=icon)

    def save(path: str, properties: dict | None = None) -> bool:
        return saveScene(slicer.mrmlScene, path).is_file()

    def load_scene(path: str, properties: dict | None = None) -> bool:
        loadScene(slicer.mrmlScene, path)
        return True

    functions = {
        "getModule": module,
        "getModuleWidget": lambda name: found(name)[1],
        "getModuleLogic": lambda name: found(name)[1].logic,
        "saveScene": save,
        "loadScene": load_scene,
    }
    for name, function in functions.items():
        monkeypatch.setattr(slicer.util, name, function)
    yield desktop
    for _module, widget in loaded.values():
        widget.cleanup()


@pytest.mark.parametrize(("file", "method"), FLOWS, ids=[f"{file}.{method}" for file, method in FLOWS])
def test_desktop_flow(modules, monkeypatch, file: str, method: str) -> None:
    import slicerrt_host

    # CTest puts the folder on the path
    monkeypatch.syspath_prepend(str(FOLDER))
    if file == "SlicerRTDesktopTest":
        slicerrt_host.install(monkeypatch)
    for name in ("desktop_flow", file):
        sys.modules.pop(name, None)
    case = getattr(importlib.import_module(file), file)(method)
    result = unittest.TestResult()
    case.run(result)
    slicerrt_host.forget()
    for name in ("desktop_flow", file):
        sys.modules.pop(name, None)
    assert not result.errors + result.failures, "\n".join(text for _test, text in result.errors + result.failures)
    assert result.testsRun == 1
    assert not result.skipped
    assert not modules.errors


def test_ctest_runs_them_all() -> None:
    listed = (FOLDER / "CMakeLists.txt").read_text(encoding="utf-8")
    assert FILES
    for path in FILES:
        assert path.stem in listed, f"add {path.stem} to Testing/Slicer/CMakeLists.txt"
        assert len(methods(path)) >= 2
