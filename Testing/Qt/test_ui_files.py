"""The ``.ui`` files: valid, loadable, names unique, and every name a panel asks for exists."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("DoseEngine", "Optimizer", "RTPlanning")
SHARED = REPOSITORY / "DoseEngine" / "DoseEngineLib" / "widget" / "plan_panel.py"


def ui_path(module: str) -> Path:
    return REPOSITORY / module / "Resources" / "UI" / f"{module}.ui"


@pytest.mark.parametrize("module", MODULES)
def test_names_are_unique_and_used_names_exist(module: str) -> None:
    root = ElementTree.parse(ui_path(module)).getroot()
    names = [element.get("name") for element in root.iter("widget")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    # a panel's own file, and what every panel has
    files = (REPOSITORY / module / f"{module}Lib" / "widget" / "panel.py", SHARED)
    own, shared = (set(re.findall(r"\bui\.(\w+)", file.read_text(encoding="utf-8"))) for file in files)
    assert own
    assert shared
    used = own | shared
    assert not used - set(names), f"{module}Lib/widget/panel.py or {SHARED.name} use widgets that {module}.ui lacks"
    # what a person can press or choose is connected to something
    interactive = {
        element.get("name")
        for element in root.iter("widget")
        if element.get("class") in ("QPushButton", "QComboBox", "QDoubleSpinBox", "QSpinBox", "qMRMLNodeComboBox")
    }
    assert not interactive - used, f"widgets of {module}.ui that nothing uses"


@pytest.mark.parametrize("module", MODULES)
def test_every_control_has_a_tool_tip(module: str) -> None:
    root = ElementTree.parse(ui_path(module)).getroot()
    controls = [e for e in root.iter("widget") if e.get("class") not in ("QWidget", "QLabel", "ctkCollapsibleButton")]
    bare = [
        e.get("name")
        for e in controls
        if e.get("class") != "QProgressBar" and not any(p.get("name") == "toolTip" for p in e.findall("property"))
    ]
    assert controls
    assert not bare, f"{module}.ui: no tool tip on {bare}"


@pytest.mark.parametrize("module", MODULES)
def test_loads(module: str, desktop) -> None:
    widget = desktop.slicer.util.loadUI(str(ui_path(module)))
    ui = desktop.slicer.util.childWidgetVariables(widget)
    assert ui.cancelButton.property("text") == "Cancel"
    assert "not for clinical use" in ui.noticeLabel.property("text")
