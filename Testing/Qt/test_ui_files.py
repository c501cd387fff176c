"""The ``.ui`` files: valid, loadable, names unique, and every name a panel or a step asks for exists."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("DoseEngine", "Optimizer", "RTPlanning")
UI_FILES = sorted(path for module in MODULES for path in (REPOSITORY / module / "Resources" / "UI").glob("*.ui"))
INTERACTIVE = (
    *("QPushButton", "QToolButton", "QCheckBox", "QComboBox", "QDoubleSpinBox", "QSpinBox", "QSlider", "QLineEdit"),
    *("QPlainTextEdit", "QTableWidget", "qMRMLNodeComboBox", "qMRMLSpinBox", "ctkPathLineEdit", "ctkSliderWidget"),
)
# what a person only looks at
PASSIVE = (
    *("QWidget", "QLabel", "QFrame", "QScrollArea", "QProgressBar", "QGroupBox", "QSplitter", "QTabWidget"),
    *("QStackedWidget", "ctkCollapsibleButton", "ctkCollapsibleGroupBox"),
)


def sources(ui_file: Path) -> list[Path]:
    """The files of the panel or the step, and those of the same package it is made of."""
    module = ui_file.parents[2].name
    package = ui_file.parents[2] / f"{module}Lib" / "widget"
    if ui_file.stem == module:
        first = package / "panel.py"
    else:
        first = package / (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", ui_file.stem).lower() + ".py")
    files = [first]
    for name in re.findall(rf"from {module}Lib\.widget\.(\w+) import", first.read_text(encoding="utf-8")):
        if not name.endswith(("_step", "_section")):
            files.append(package / f"{name}.py")
    return files


def names_used(files: list[Path]) -> set[str]:
    return {name for file in files for name in re.findall(r"\bui\.(\w+)", file.read_text(encoding="utf-8"))}


def stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("ui_file", UI_FILES, ids=stem)
def test_names_are_unique_and_used_names_exist(ui_file: Path) -> None:
    root = ElementTree.parse(ui_file).getroot()
    names = [element.get("name") for element in root.iter("widget")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    files = sources(ui_file)
    used = names_used(files)
    assert used, f"{files[0].name} uses no widget of {ui_file.name}"
    assert not used - set(names), f"{[file.name for file in files]} use widgets that {ui_file.name} lacks"
    # what a person can press or choose is connected to something
    interactive = {e.get("name") for e in root.iter("widget") if e.get("class") in INTERACTIVE}
    assert not interactive - used, f"widgets of {ui_file.name} that nothing uses"


@pytest.mark.parametrize("ui_file", UI_FILES, ids=stem)
def test_every_control_has_a_tool_tip(ui_file: Path) -> None:
    root = ElementTree.parse(ui_file).getroot()
    controls = [e for e in root.iter("widget") if e.get("class") not in PASSIVE]
    bare = [e.get("name") for e in controls if not any(p.get("name") == "toolTip" for p in e.findall("property"))]
    assert controls
    assert not bare, f"{ui_file.name}: no tool tip on {bare}"


@pytest.mark.parametrize("ui_file", UI_FILES, ids=stem)
def test_numbers_with_units_keep_their_own_range(ui_file: Path) -> None:
    """By default the real widget takes its range from the scene's unit node, whatever the file says."""
    for element in ElementTree.parse(ui_file).getroot().iter("widget"):
        if element.get("class") != "qMRMLSpinBox":
            continue
        told = {entry.get("name"): "".join(entry.itertext()).strip() for entry in element.findall("property")}
        name = f"{ui_file.name}: {element.get('name')}"
        assert {"quantity", "minimum", "maximum", "unitAwareProperties"} <= set(told), name
        assert not re.search("MinimumValue|MaximumValue|Scaling", told["unitAwareProperties"]), name
        # units are those of a quantity, so that is set first
        assert list(told).index("unitAwareProperties") < list(told).index("minimum"), name


@pytest.mark.parametrize("ui_file", UI_FILES, ids=stem)
def test_custom_widgets_are_declared(ui_file: Path) -> None:
    """Qt Designer and the real loader know ctk and qMRML classes only where the file declares them."""
    root = ElementTree.parse(ui_file).getroot()
    custom = {e.get("class") for e in root.iter("widget") if re.match(r"ctk|qMRML|qSlicer", e.get("class"))}
    declared = {e.findtext("class") for e in root.iter("customwidget")}
    assert custom <= declared


@pytest.mark.parametrize("ui_file", UI_FILES, ids=stem)
def test_loads(ui_file: Path, desktop) -> None:
    widget = desktop.slicer.util.loadUI(str(ui_file))
    ui = desktop.slicer.util.childWidgetVariables(widget)
    assert vars(ui)
    if ui_file.stem in MODULES:
        assert ui.cancelButton.property("text") == "Cancel"
        assert "not for clinical use" in ui.noticeLabel.property("text")
