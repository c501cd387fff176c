"""Panels in the hands of somebody who presses anything: seeded random walks over all that can be seen and is enabled.

More walks than the suite has, to look for defects::

    RTPLANNING_WALKS=0:200 RTPLANNING_STEPS=40 pytest Testing/Qt/test_panels_under_random_use.py

A failure names its seed and lists what was done.
"""

from __future__ import annotations

import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure

SEEDS = range(*(int(part) for part in os.environ.get("RTPLANNING_WALKS", "1:3").split(":")))
STEPS = int(os.environ.get("RTPLANNING_STEPS", "20"))
# work that takes longer is cancelled, as a person out of patience would
PATIENCE_S = 1.0
COARSE_MM = 12.0
NONSENSE = (
    *("", " ", "abc", "-1", "0", "12,5", "1e400", "nan", "inf", "-inf", "٣", "%", "a;b\tc", "<b>bold</b>", "{0}"),
    *("PTV", "PTV D95% >= 95 %", "Organ Mean <= 2 Gy", "max < ", "V20Gy", "95", "45", "180.0", "359.9", "360", "1e-9"),
    *("PTV uniform 20 Gy, weight 100\nfluence smoothness, weight 0.01", "x" * 300, "\\", "100 MU", "../up", "Ä"),
)
# what a dialog may not consist of: the bowels of an exception
BOWELS = re.compile(
    r"^\W*\w*(Error|Exception)\b|Traceback|object at 0x|\[Errno|^'[^']*'$|NoneType|0x[0-9a-f]{6}"
    r"|\b(vtk|numpy|np)\.\w|unexpected keyword|invalid literal|has no attribute"
)


def small_case() -> Any:
    """A water cube with a target, an organ, two open fields and a prescription, on a coarse grid: the plan node."""
    import slicer

    from DoseEngineLib.mrml.plan_node import createPlanNode
    from DoseEngineLib.mrml.segmentations import setStructures
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    grid = Grid.from_spacing((14, 14, 14), 10.0, (-65.0, -65.0, -65.0))
    hu = np.full(grid.shape, -1000, np.int16)
    hu[2:-2, 2:-2, 2:-2] = 0
    centres = grid.centres_RAS_mm()
    structures = [
        Structure("PTV", np.linalg.norm(centres - (0.0, 20.0, 0.0), axis=-1) < 18.0, grid, "PTV"),
        Structure("Organ", np.linalg.norm(centres - (0.0, -25.0, 0.0), axis=-1) < 16.0, grid),
    ]
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Water cube")
    setVolumeFromArray(volume, hu, grid)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, structures, volume)
    beams = tuple(
        Beam.open_field(
            name, gantry_deg=gantry, jaw_x_mm=(-20.0, 20.0), jaw_y_mm=(-20.0, 20.0), isocenter_RAS_mm=(0.0, 20.0, 0.0)
        )
        for name, gantry in (("AP", 0.0), ("Left", 90.0))
    )
    beams = tuple(Beam(**{**vars(beam), "meterset_MU": None}) for beam in beams)
    plan = Plan("Two fields", beams, Prescription(20.0, 10, "PTV", "mean"), dose_grid_spacing_mm=COARSE_MM)
    return createPlanNode(slicer.mrmlScene, plan, volume, segmentation)


class Walk:
    """One person, one panel, one seed."""

    def __init__(self, name: str, load: Callable, desktop: Any, folder: Path, seed: int) -> None:
        self.name, self.load, self.desktop, self.folder = name, load, desktop, folder
        self.random = random.Random(f"{name} {seed}")
        self.done: list[str] = []
        self.interruption: Callable[[], None] | None = None
        self.started = 0.0
        self.widget: Any = None
        self.number = 0

    # The panel

    def open(self) -> None:
        """Have the module's widget on the screen, and choose the plan."""
        _module, self.widget = self.load(self.name)
        self.widget.parent.resize(520, 1500)
        self.widget.parent.show()
        if hasattr(self.widget, "enter"):
            self.widget.enter()
        self.turn()

    def close(self) -> None:
        self.widget.cleanup()
        self.widget.parent.close()
        self.widget.parent.deleteLater()
        self.turn()

    def turn(self) -> None:
        from PySide6 import QtCore, QtWidgets

        for _turn in range(3):
            QtWidgets.QApplication.processEvents()
        QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)

    # What is done while an action runs

    def report(self) -> None:
        """Called at every progress report."""
        if self.interruption is not None:
            interrupt, self.interruption = self.interruption, None
            interrupt()
        elif time.monotonic() - self.started > PATIENCE_S:
            self.widget.ui.cancelButton.click()

    # What can be done

    def controls(self) -> list[Any]:
        from PySide6 import QtWidgets

        kinds = (
            *(QtWidgets.QAbstractButton, QtWidgets.QComboBox, QtWidgets.QAbstractSpinBox, QtWidgets.QLineEdit),
            *(QtWidgets.QPlainTextEdit, QtWidgets.QTextEdit, QtWidgets.QTableWidget, QtWidgets.QTabBar),
            *(QtWidgets.QAbstractSlider, QtWidgets.QListWidget),
        )
        found = []
        for child in self.widget.parent.findChildren(QtWidgets.QWidget):
            if not (isinstance(child, kinds) and child.isVisible() and child.isEnabled()):
                continue
            if isinstance(child, QtWidgets.QScrollBar) or child.objectName().startswith("qt_"):
                continue
            if isinstance(child, QtWidgets.QLineEdit) and isinstance(child.parent(), QtWidgets.QAbstractSpinBox):
                continue
            if type(child).__name__ == "ctkColorPickerButton" or child.objectName() == "cancelButton":
                continue
            found.append(child)
        return found

    def act(self) -> None:
        """Do one thing."""
        if self.random.random() < 0.12:
            name = self.random.choice([name for name in dir(self) if name.startswith("outside_")])
            self.done.append(name)
            getattr(self, name)()
            return
        controls = self.controls()
        control = self.random.choice(controls)
        self.done.append(f"{self.title(control)}: ")
        if self.random.random() < 0.25:
            self.interrupt_soon()
        self.use(control)

    def interrupt_soon(self) -> None:
        """Something happens at a progress report of what comes."""
        kind, at = self.random.choice(("cancel", "remove", "close", "rename")), self.random.choice((1, 2, 3, 5, 8))
        chance = self.random.random()

        def happen() -> None:
            nonlocal at
            at -= 1
            if at > 0:
                self.interruption = happen
                return
            self.done[-1] += f" [while it ran: {kind}]"
            if kind == "cancel":
                self.widget.ui.cancelButton.click()
            elif kind == "remove":
                self.remove_node(chance)
            elif kind == "close":
                self.desktop.scene.Clear(False)
            else:
                self.rename_plan()

        self.interruption = happen

    def title(self, control: Any) -> str:
        names, parent = [], control
        while parent is not None and len(names) < 3:
            if parent.objectName() and not parent.objectName().startswith("qt_"):
                names.insert(0, parent.objectName())
            parent = parent.parent()
        return f"{type(control).__name__} {'/'.join(names)}"

    def told(self, what: object) -> None:
        self.done[-1] += repr(what)

    def use(self, control: Any) -> None:
        from PySide6 import QtWidgets

        for kind, use in (
            (QtWidgets.QAbstractButton, self.press),
            (QtWidgets.QComboBox, self.choose),
            (QtWidgets.QAbstractSpinBox, self.count),
            (QtWidgets.QLineEdit, self.write_line),
            (QtWidgets.QPlainTextEdit, self.write),
            (QtWidgets.QTextEdit, self.write),
            (QtWidgets.QTableWidget, self.edit_cell),
            (QtWidgets.QTabBar, self.turn_to),
            (QtWidgets.QAbstractSlider, self.slide),
            (QtWidgets.QListWidget, self.pick),
        ):
            if isinstance(control, kind):
                use(control)
                return

    def press(self, button: Any) -> None:
        self.told(button.text())
        if type(button).__name__ == "ctkCollapsibleButton":
            button.toggle()
        else:
            button.click()

    def choose(self, combo: Any) -> None:
        if combo.count():
            index = self.random.randrange(combo.count())
            self.told(combo.itemText(index))
            combo.setCurrentIndex(index)

    def count(self, spin: Any) -> None:
        low, high = spin.minimum(), spin.maximum()
        name = self.title(spin)
        low = max(low, 10) if re.search(r"[sS]pacing|bixel", name) else low
        if re.search(r"iterations|plansSpin|levels|corrections", name):
            high = low + 3
        number = self.random.choice((low, high, self.random.uniform(float(low), float(high)), low + (high - low) / 9))
        self.told(number)
        spin.setValue(int(number) if isinstance(low, int) else float(number))
        spin.editingFinished.emit()

    def text(self) -> str:
        return self.random.choice(NONSENSE)

    def write_line(self, line: Any) -> None:
        if line.isReadOnly():
            return
        isPath = type(line.parent()).__name__ == "ctkPathLineEdit"
        text = self.random.choice(self.paths()) if isPath else self.text()
        self.told(text.replace(str(self.folder), "FOLDER"))
        line.setFocus()
        line.setText(text)
        line.editingFinished.emit()
        if self.random.random() < 0.5:
            line.returnPressed.emit()

    def paths(self) -> list[str]:
        file = self.folder / "a file.txt"
        file.write_text("not what you think\n1;2;3\n", encoding="utf-8")
        paths = [
            self.folder,
            self.folder / "new",
            file,
            file / "below",
            self.folder / "out.toml",
            self.folder / "no.mrb",
        ]
        return ["", "name", *map(str, paths)]

    def write(self, edit: Any) -> None:
        if not edit.isReadOnly():
            text = self.text()
            self.told(text)
            edit.setPlainText(text)

    def edit_cell(self, table: Any) -> None:
        from PySide6 import QtCore

        if not table.rowCount():
            return
        row, column = self.random.randrange(table.rowCount()), self.random.randrange(table.columnCount())
        item = table.item(row, column)
        self.done[-1] += f"cell {row}, {column} "
        table.setFocus()
        table.setCurrentCell(row, column)
        if self.random.random() < 0.3 or item is None:
            return
        if item.flags() & QtCore.Qt.ItemFlag.ItemIsUserCheckable:
            checked = item.checkState() == QtCore.Qt.CheckState.Checked
            item.setCheckState(QtCore.Qt.CheckState.Unchecked if checked else QtCore.Qt.CheckState.Checked)
        elif item.flags() & QtCore.Qt.ItemFlag.ItemIsEditable:
            text = self.text()
            self.told(text)
            item.setText(text)

    def turn_to(self, bar: Any) -> None:
        bar.setCurrentIndex(self.random.randrange(bar.count()))

    def slide(self, slider: Any) -> None:
        slider.setValue(self.random.randint(slider.minimum(), slider.maximum()))

    def pick(self, rows: Any) -> None:
        if rows.count():
            rows.setCurrentRow(self.random.randrange(rows.count()))

    # From outside

    def nodes(self, class_name: str) -> list[Any]:
        scene = self.desktop.scene
        return [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]

    def plan_nodes(self) -> list[Any]:
        from DoseEngineLib.mrml.plan_node import isPlanNode

        return [node for node in self.nodes("vtkMRMLScriptedModuleNode") if isPlanNode(node)]

    def remove_node(self, chance: float) -> None:
        kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode", "vtkMRMLModelNode")
        nodes = [node for kind in kinds for node in self.nodes(kind)] + self.plan_nodes()
        if nodes:
            node = nodes[int(chance * len(nodes))]
            self.told(node.GetName())
            self.desktop.scene.RemoveNode(node)

    def outside_node_removed(self) -> None:
        self.remove_node(self.random.random())

    def rename_plan(self) -> None:
        from dataclasses import replace

        from DoseEngineLib.mrml.plan_node import planFromNode, setPlan

        for node in self.plan_nodes()[:1]:
            plan = planFromNode(node)
            beams = tuple(replace(beam, name=f"H&N {beam.name}'"[:20]) for beam in plan.beams[:4])
            setPlan(node, replace(plan, beams=beams, dose_grid_spacing_mm=COARSE_MM))

    def outside_plan_changed(self) -> None:
        self.rename_plan()

    def outside_prescription_taken_away(self) -> None:
        from dataclasses import replace

        from DoseEngineLib.mrml.plan_node import planFromNode, setPlan

        for node in self.plan_nodes()[-1:]:
            plan = planFromNode(node)
            beams = tuple(replace(beam, meterset_MU=50.0, weight=1.0) for beam in plan.beams)
            setPlan(node, replace(plan, beams=beams, prescription=None))

    def outside_segment_renamed(self) -> None:
        for node in self.nodes("vtkMRMLSegmentationNode"):
            segmentation = node.GetSegmentation()
            if segmentation.GetNumberOfSegments():
                segmentation.GetNthSegment(0).SetName(self.text() or "x")

    def outside_segments_removed(self) -> None:
        for node in self.nodes("vtkMRMLSegmentationNode")[:1]:
            node.GetSegmentation().RemoveAllSegments()

    def outside_scene_closed(self) -> None:
        self.desktop.scene.Clear(False)

    def outside_scene_saved_and_loaded(self) -> None:
        from RTPlanningLib.mrml.scene_file import loadScene, saveScene

        self.number += 1
        file = saveScene(self.desktop.scene, self.folder / f"{self.number}.mrb")
        self.desktop.scene.Clear(False)
        loadScene(self.desktop.scene, file)

    def outside_case_added(self) -> None:
        small_case()

    def outside_panel_made_anew(self) -> None:
        self.close()
        self.outside_plan_changed()
        self.turn()
        self.open()

    def outside_module_left_and_entered(self) -> None:
        if hasattr(self.widget, "exit"):
            self.widget.exit()
            self.turn()
            self.widget.enter()

    def outside_answers_differ(self) -> None:
        self.desktop.answer = not self.desktop.answer

    # What must be so

    def state(self) -> dict[str, tuple]:
        from PySide6 import QtWidgets

        shown = {}
        for name, one in self.named().items():
            if isinstance(one, QtWidgets.QWidget) and name not in ("statusLabel", "progressBar"):
                texts = str(one.property("text")), str(one.property("value")), str(one.property("currentIndex"))
                shown[name] = (one.isEnabledTo(self.widget.parent), one.isVisibleTo(self.widget.parent), *texts)
        return shown

    def named(self) -> dict[str, Any]:
        from PySide6 import QtCore

        children = self.widget.parent.findChildren(QtCore.QObject)
        return {one.objectName(): one for one in children if one.objectName() and one.objectName()[:3] != "qt_"}

    def settings(self) -> dict[str, dict[str, str]]:
        return {
            node.GetID(): {name: node.GetAttribute(name) for name in node.GetAttributeNames() or ()}
            | {name: node.GetParameter(name) for name in node.GetParameterNames() or ()}
            for node in self.nodes("vtkMRMLScriptedModuleNode")
        }

    def update(self) -> None:
        panel = self.widget.panel
        (panel.update if hasattr(panel, "update") else panel.session.update)()

    def check(self) -> None:
        """The event loop lives, nothing runs, and the panel shows the scene: one more update changes nothing."""
        from PySide6 import QtCore

        turned = []
        QtCore.QTimer.singleShot(0, lambda: turned.append(True))
        self.turn()
        assert turned, "the event loop stands still"
        ui = self.widget.ui
        assert not ui.cancelButton.isEnabled(), "Cancel is enabled, and nothing runs"
        assert not ui.progressBar.isVisible(), "a progress bar, and nothing runs"
        shown, settings = self.state(), self.settings()
        self.update()
        self.turn()
        now = self.state()
        changed = {
            name: (shown.get(name), now.get(name)) for name in {*shown, *now} if shown.get(name) != now.get(name)
        }
        assert not changed, f"the panel lagged behind the scene: {changed}"
        assert self.settings() == settings, "an update wrote settings"
        plans = self.plan_nodes()
        chosen = ui.planSelector.currentNode()
        assert chosen is None or chosen in plans
        for name in ("computeButton", "fluenceButton"):
            button = self.named().get(name)
            assert chosen is not None or button is None or not button.isEnabled(), f"{name} without a plan"


@pytest.fixture
def complaints(monkeypatch):
    """What Python had to say where nobody catches it: slots, observers, threads, destructors."""
    found: list[str] = []

    def keep(kind: type, error: BaseException, trace: Any) -> None:
        import traceback

        found.append("".join(traceback.format_exception(kind, error, trace)))

    monkeypatch.setattr(sys, "excepthook", keep)
    monkeypatch.setattr(sys, "unraisablehook", lambda what: keep(what.exc_type, what.exc_value, what.exc_traceback))
    monkeypatch.setattr(threading, "excepthook", lambda what: keep(what.exc_type, what.exc_value, what.exc_traceback))
    return found


@pytest.fixture
def cheap(desktop, monkeypatch, tmp_path):
    """Coarse samples, nothing opened in other programs, files in this test's own folder."""
    import qt

    from RTPlanningLib.widget import case_step

    fine = case_step.load_sample
    monkeypatch.setattr(case_step, "load_sample", lambda name: fine(name, (10.0, 10.0, 10.0)))
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: True)
    monkeypatch.chdir(tmp_path)


def judge(texts: list[str]) -> None:
    """Dialogs speak to a person: a sentence or more, no repr of an exception."""
    for text in texts:
        assert not BOWELS.search(text), f"a dialog shows the bowels of an exception: {text!r}"
        assert len(text.split()) >= 4, f"a dialog says too little: {text!r}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["DoseEngine", "Optimizer", "RTPlanning"])
def test_nothing_breaks(name: str, seed: int, desktop, load, cheap, complaints, capfd, monkeypatch, tmp_path) -> None:
    from DoseEngineLib.widget.panel_action import PanelAction

    walk = Walk(name, load, desktop, tmp_path, seed)
    reported = PanelAction._progress

    def report(action: PanelAction, fraction: float, text: str) -> None:
        walk.report()
        reported(action, fraction, text)

    monkeypatch.setattr(PanelAction, "_progress", report)
    planNode = small_case()
    walk.open()
    walk.widget.ui.planSelector.setCurrentNode(planNode)
    walk.turn()
    try:
        for _step in range(STEPS):
            walk.started = time.monotonic()
            walk.act()
            walk.interruption = None
            walk.check()
            seconds = time.monotonic() - walk.started
            walk.done[-1] += f" ({seconds:.1f} s)"
            assert not complaints, complaints[0]
            warnings = [text for text in desktop.warnings if "propagateSizeHints" not in text]
            assert not warnings, warnings
            judge(desktop.errors)
        walk.close()
        desktop.scene.Clear(False)
        walk.turn()
        assert not complaints, complaints[0]
        written = capfd.readouterr()
        assert "Traceback" not in written.err + written.out, written.err + written.out
    except BaseException:
        print(f"{name}, seed {seed}:", *walk.done, sep="\n  ")
        raise
    log = os.environ.get("RTPLANNING_WALK_LOG")
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            for line in (*desktop.errors, *desktop.warned, *desktop.infos, *desktop.status):
                file.write(f"{name} {seed}: {line!r}\n")
            slow = [line for line in walk.done if float(line.rsplit("(", 1)[1].split()[0]) > 2.0]
            file.writelines(f"{name} {seed} SLOW: {line}\n" for line in slow)
