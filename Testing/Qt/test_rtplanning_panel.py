"""The RT Planning panel as a person uses it: sections opened, buttons pressed, numbers entered, all of it counted."""

from __future__ import annotations

import pytest

from desktop_standin import folding as standin


class Person:
    """Presses only what can be seen and is enabled, and counts."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self.count = 0

    def open(self, section: str) -> None:
        """Unfold a section by a click on its title."""
        button = getattr(self.panel.ui, f"{section}Section")
        assert button.collapsed, f"{section} is open already"
        standin.click_title(button)
        self.count += 1
        assert not button.collapsed

    def click(self, section: str, name: str) -> None:
        button = self._reach(section, name)
        button.click()
        self.count += 1

    def enter(self, section: str, name: str, value) -> None:
        """Type a number, or choose an item by its data."""
        widget = self._reach(section, name)
        if hasattr(widget, "findData"):
            index = widget.findData(value)
            assert index >= 0, f"{name} has no {value!r}"
            widget.setCurrentIndex(index)
        else:
            widget.setValue(value)
        self.count += 1

    def _reach(self, section: str, name: str):
        widget = getattr(self.panel.steps[section].ui, name)
        assert widget.isVisible(), f"{name} cannot be seen: open {section}"
        assert widget.isEnabled(), f"{name} is greyed"
        return widget


@pytest.fixture
def widget(load):
    """The module's widget, on the screen."""
    module, widget = load("RTPlanning")
    assert module.parent.title == "RT Planning"
    assert "not for clinical use" in module.parent.helpText
    widget.parent.resize(480, 1400)
    widget.parent.show()
    widget.enter()
    yield widget
    widget.cleanup()


def turn() -> None:
    from PySide6.QtWidgets import QApplication

    for _ in range(3):
        QApplication.processEvents()


def four_field_box(person: Person, spacing_mm: float | None = 6.0) -> None:
    person.click("case", "loadSampleButton")
    person.open("beams")
    person.click("beams", "boxButton")
    person.open("dose")
    if spacing_mm is not None:
        person.enter("dose", "spacingSpin", spacing_mm)
    person.click("dose", "computeButton")


def test_four_field_box_in_at_most_twelve_clicks(widget, desktop, picture) -> None:
    """From an empty scene to dose, DVH, isodoses and judged goals on screen: at most 12 clicks and entries."""
    from DoseEngineLib.mrml.plan_node import DOSE, isDoseCurrent

    person = Person(widget.panel)
    four_field_box(person)
    person.open("evaluate")
    turn()
    assert person.count <= 12, person.count
    assert not desktop.errors
    session = widget.panel.session
    plan = session.plan
    assert [beam.control_points[0].gantry_deg for beam in plan.beams] == [0.0, 90.0, 180.0, 270.0]
    assert (plan.prescription.target, plan.prescription.dose_Gy, plan.prescription.fractions) == ("PTV", 75.6, 42)
    assert isDoseCurrent(session.planNode)
    dose_node = session.planNode.GetNodeReference(DOSE)
    scene = desktop.scene
    names = [
        scene.GetNthNodeByClass(n, "vtkMRMLModelNode").GetName()
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))
    ]
    assert f"{dose_node.GetName()}_IsodoseLevels" in names
    chart = session.logic.dvhChart(session.planNode)
    assert chart.GetNumberOfPlotSeriesNodes() >= 4
    table = widget.panel.steps["evaluate"].ui.goalsTable
    assert table.rowCount() == 6
    shown = " ".join(table.item(row, column).text() for row in range(6) for column in range(table.columnCount()))
    assert "passed" in shown
    assert "not evaluated" not in shown
    assert picture(widget, "RTPlanning").stat().st_size > 5000


def test_another_engine_and_again(widget, desktop) -> None:
    """A researcher swaps the engine and re-runs: two entries."""
    from DoseEngineLib.mrml.dose_volume import provenanceOf
    from DoseEngineLib.mrml.plan_node import DOSE

    person = Person(widget.panel)
    four_field_box(person, 8.0)
    before = person.count
    person.enter("dose", "engineCombo", "photon-collapsed-cone")
    person.click("dose", "computeButton")
    assert person.count - before == 2
    assert not desktop.errors
    dose_node = widget.panel.session.planNode.GetNodeReference(DOSE)
    assert provenanceOf(dose_node)["engine"] == "photon-collapsed-cone"


def test_a_saved_scene_reopens_as_it_was(widget, desktop, tmp_path) -> None:
    person = Person(widget.panel)
    four_field_box(person, 8.0)
    person.open("evaluate")
    turn()
    panel = widget.panel
    goals = panel.steps["evaluate"].ui.goalsTable

    def texts() -> list[list[str]]:
        return [[goals.item(r, c).text() for c in range(goals.columnCount())] for r in range(goals.rowCount())]

    before, beams = texts(), panel.session.plan
    path = panel.session.logic.saveScene(tmp_path / "scene.mrb")
    desktop.scene.Clear(False)
    turn()
    assert panel.session.planNode is None
    assert panel.ui.planSelector.currentNode() is None
    # as a fresh panel shows itself
    assert panel.ui.evaluateSection.collapsed
    assert not panel.ui.caseSection.collapsed
    assert goals.rowCount() == 0
    panel.session.logic.loadScene(path)
    turn()
    assert panel.session.plan == beams
    assert panel.ui.planSelector.currentNode() is panel.session.planNode
    assert not panel.ui.evaluateSection.collapsed
    assert panel.steps["dose"].ui.spacingSpin.property("value") == 8.0
    assert texts() == before
    assert not desktop.errors


def test_nothing_dangles(widget, desktop, load) -> None:
    """Nodes removed one by one, an undone removal, the scene closed, the module loaded anew: no error, no trace."""
    person = Person(widget.panel)
    four_field_box(person, 8.0)
    session = widget.panel.session
    from DoseEngineLib.mrml.plan_node import DOSE

    desktop.scene.RemoveNode(session.planNode.GetNodeReference(DOSE))
    turn()
    desktop.scene.RemoveNode(session.segmentationNode)
    turn()
    desktop.scene.RemoveNode(session.volumeNode)
    turn()
    desktop.scene.RemoveNode(session.planNode)
    turn()
    assert session.planNode is None
    assert not desktop.errors
    widget.cleanup()
    desktop.scene.Clear(False)
    turn()
    _module, again = load("RTPlanning")
    again.parent.resize(480, 1400)
    again.parent.show()
    again.enter()
    four_field_box(Person(again.panel), 8.0)
    assert not desktop.errors
    again.exit()
    again.cleanup()


def test_closing_the_scene_while_it_computes(widget, desktop) -> None:
    import threading
    import time

    from DoseEngineLib.background import is_computing

    person = Person(widget.panel)
    person.click("case", "loadSampleButton")
    person.open("beams")
    person.click("beams", "boxButton")
    person.open("dose")

    def close() -> None:
        assert is_computing()
        desktop.scene.Clear(False)

    import qt

    started = time.monotonic()
    timer = qt.QTimer()
    timer.setSingleShot(True)

    def when_computing() -> None:
        close() if is_computing() else timer.start(20)

    timer.timeout.connect(when_computing)
    timer.start(20)
    person.click("dose", "computeButton")
    assert time.monotonic() - started < 30.0
    turn()
    assert widget.panel.session.planNode is None
    assert not desktop.errors
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert threading.main_thread() is threading.current_thread()


def test_scripts_and_panel_see_the_same_plan(widget, desktop) -> None:
    from dataclasses import replace

    person = Person(widget.panel)
    four_field_box(person, 8.0)
    session = widget.panel.session
    plan = session.plan
    beams = tuple(replace(beam, weight=2.0 if n == 0 else 1.0) for n, beam in enumerate(plan.beams))
    session.logic.updatePlan(session.planNode, replace(plan, beams=beams, dose_grid_spacing_mm=7.0))
    turn()
    assert widget.panel.steps["dose"].ui.spacingSpin.property("value") == 7.0
    table = widget.panel.steps["beams"].ui.beamsTable
    assert any(
        table.item(0, column) is not None and table.item(0, column).text() in ("2", "2.0", "2.00")
        for column in range(table.columnCount())
    )
    status = widget.panel.ui.statusLabel.text()
    person.open("evaluate")
    turn()
    shown = [label.text() for label in widget.panel.ui.evaluateSection.findChildren(type(widget.panel.ui.statusLabel))]
    assert any("Changed since the dose was calculated: plan." in text for text in [*shown, status])


def test_a_damaged_plan_is_told_and_the_panel_lives_on(widget, desktop) -> None:
    person = Person(widget.panel)
    person.click("case", "loadSampleButton")
    person.open("beams")
    person.click("beams", "boxButton")
    session = widget.panel.session
    session.planNode.SetParameter("Plan", '{"name": 3')
    turn()
    assert "not a stored plan" in widget.panel.ui.statusLabel.text()
    for name in ("goals", "dose", "optimize", "evaluate", "export", "structures"):
        person.open(name)
    turn()
    widget.panel.ui.planSelector.setCurrentNode(None)
    turn()
    assert session.planNode is None
    person.click("beams", "boxButton")
    assert len(session.plan.beams) == 4
    assert not desktop.errors


def test_undo_of_the_scene_is_followed(widget, desktop) -> None:
    """A structure set that is removed comes back by the scene's own undo, and so does the target in the panel."""
    scene = desktop.scene
    person = Person(widget.panel)
    person.click("case", "loadSampleButton")
    session = widget.panel.session
    segmentation = session.segmentationNode
    name = segmentation.GetName()
    segmentation.SetUndoEnabled(True)
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    scene.RemoveNode(segmentation)
    turn()
    assert session.segmentationNode is None
    person.open("beams")
    box = widget.panel.steps["beams"].ui.boxButton
    assert not box.isEnabled()
    scene.Undo()
    turn()
    back = scene.GetFirstNodeByName(name)
    assert back is not None
    if session.segmentationNode is None:
        session.chooseCase(session.volumeNode, back)
    turn()
    person.click("beams", "boxButton")
    assert len(session.plan.beams) == 4
    assert not desktop.errors
