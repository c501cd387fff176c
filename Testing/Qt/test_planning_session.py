"""The session of the RTPlanning panel: settings in the scene, one update for many changes, a closed scene let go."""

import pytest


@pytest.fixture
def made(desktop):
    """A session with one step that counts its updates, and a small water tank in the scene."""
    from typing import Annotated

    import qt
    from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

    from DoseEngineLib.widget.panel_action import PanelAction
    from RTPlanningLib.logic import RTPlanningLogic
    from RTPlanningLib.samples import load_sample
    from RTPlanningLib.widget.session import PlanningSession
    from RTPlanningLib.widget.step import Step

    @parameterNodeWrapper
    class MarginParameters:
        margin_mm: Annotated[float, WithinRange(0.0, 50.0)] = 7.0
        shown: bool = True
        text: str = "a"
        choice: str = "second"

    class MarginStep(Step):
        uiName = "MarginStep"
        Parameters = MarginParameters

        def __init__(self, ui, session):
            super().__init__(ui, session)
            self.updates = 0

        def connectParameters(self):
            self.bind({"margin_mm": ui.margin, "shown": ui.shown, "text": ui.text, "choice": ui.choice})

        def update(self):
            self.updates += 1

    class Ui:
        pass

    ui = Ui()
    ui.margin, ui.shown, ui.text, ui.choice = qt.QDoubleSpinBox(), qt.QCheckBox(), qt.QLineEdit(), qt.QComboBox()
    for data in ("first", "second", "third"):
        ui.choice.addItem(data.title(), data)
    action = PanelAction([ui.margin], qt.QLabel(), qt.QProgressBar(), qt.QPushButton(), desktop.scene)
    logic = RTPlanningLogic(desktop.scene)
    session = PlanningSession(logic, desktop.scene, action)
    step = MarginStep(ui, session)
    session.start([step])
    volumeNode, segmentationNode = logic.loadCase(load_sample("water-tank", 10.0))
    session.chooseCase(volumeNode, segmentationNode)
    yield session, step, ui
    session.release()


def box(session):
    from RTPlanningLib.plan_templates import four_field_box

    case = session.logic.caseFromNodes(session.volumeNode, session.segmentationNode)
    return four_field_box(case, "PTV", 50.0, 25, spacing_mm=10.0)


def turn() -> None:
    from PySide6.QtWidgets import QApplication

    QApplication.processEvents()


def test_widgets_and_settings_follow_each_other(made) -> None:
    _session, step, ui = made
    assert (ui.margin.value(), ui.shown.isChecked(), ui.text.text(), ui.choice.currentText()) == (
        7.0,
        True,
        "a",
        "Second",
    )
    ui.margin.setValue(9.0)
    ui.shown.setChecked(False)
    ui.text.setText("b")
    ui.choice.setCurrentIndex(2)
    found = step.parameters
    assert (found.margin_mm, found.shown, found.text, found.choice) == (9.0, False, "b", "third")
    found.margin_mm, found.choice = 3.0, "first"
    assert (ui.margin.value(), ui.choice.currentText()) == (3.0, "First")
    with pytest.raises(ValueError, match="60"):
        found.margin_mm = 60.0


def test_settings_come_back_with_a_saved_scene(made, tmp_path) -> None:
    session, step, ui = made
    planNode = session.setPlan(box(session))
    ui.margin.setValue(11.0)
    session.settings.goals = ["PTV D95% >= 95 %"]
    name = planNode.GetName()
    path = session.logic.saveScene(tmp_path / "scene.mrb")
    ui.margin.setValue(2.0)
    session.scene.Clear(False)
    turn()
    # nothing is left of what was closed, and the defaults are back
    assert session.planNode is None
    assert session.volumeNode is None
    assert ui.margin.value() == 7.0
    session.logic.loadScene(path)
    turn()
    assert ui.margin.value() == 11.0
    assert step.parameters.margin_mm == 11.0
    assert session.planNode.GetName() == name
    assert session.plan.prescription.dose_Gy == 50.0
    assert session.volumeNode is not None
    assert list(session.settings.goals) == ["PTV D95% >= 95 %"]
    ui.margin.setValue(4.0)
    assert step.parameters.margin_mm == 4.0


def test_many_changes_are_one_update(made) -> None:
    from dataclasses import replace

    session, step, _ui = made
    planNode = session.setPlan(box(session))
    turn()
    before = step.updates
    for number in range(5):
        session.logic.updatePlan(planNode, replace(session.plan, dose_grid_spacing_mm=5.0 + number))
    assert step.updates == before
    turn()
    assert step.updates == before + 1
    turn()
    assert step.updates == before + 1


def test_removed_nodes_are_let_go(made) -> None:
    session, _step, _ui = made
    planNode = session.setPlan(box(session))
    session.scene.RemoveNode(planNode)
    turn()
    assert session.planNode is None
    assert session.plan is None
    session.setPlan(box(session))
    assert session.planNode is not None
    session.scene.RemoveNode(session.segmentationNode)
    session.scene.RemoveNode(session.volumeNode)
    turn()
    assert session.volumeNode is None
    assert session.segmentationNode is None


def test_another_case_puts_the_plan_aside(made) -> None:
    from RTPlanningLib.samples import load_sample

    session, _step, _ui = made
    planNode = session.setPlan(box(session))
    first = session.volumeNode
    session.chooseCase(*session.logic.loadCase(load_sample("water-tank", 10.0)))
    assert session.planNode is None
    session.choosePlan(planNode)
    assert session.volumeNode is first
    assert session.planNode is planNode
