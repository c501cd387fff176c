"""The teaching mode: an exercise chosen, its steps checked on the learner's plan, and where the learner was."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planning_steps import make_step

SPACING_MM = 8.0


@pytest.fixture
def made(desktop):
    """The step alone."""
    from RTPlanningLib.widget.exercise_step import ExerciseStep

    made = make_step(desktop, ExerciseStep)
    yield made
    made.session.release()


def choose(ui, name: str) -> None:
    index = ui.exerciseCombo.findData(name)
    assert index >= 0
    ui.exerciseCombo.setCurrentIndex(index)


def load_case(made, name: str = "tg119-prostate") -> None:
    from RTPlanningLib.samples import load_sample

    made.session.chooseCase(*made.logic.loadCase(load_sample(name, 6.0)))


def make_box(made, margin_mm: float = 8.0):
    from RTPlanningLib.plan_templates import four_field_box

    case = made.logic.caseFromNodes(made.session.volumeNode, made.session.segmentationNode)
    return four_field_box(case, "PTV", 75.6, 42, margin_mm=margin_mm, spacing_mm=SPACING_MM)


def steps_shown(ui) -> list[str]:
    return [ui.exerciseStepsList.item(row).text() for row in range(ui.exerciseStepsList.count())]


def test_without_an_exercise_there_is_an_invitation(made) -> None:
    ui = made.ui
    assert ui.exerciseCombo.count() == 6
    assert "Fractionation and EQD2" in ui.exerciseText.toPlainText()
    assert not ui.exerciseCheckButton.isVisibleTo(made.parent)
    assert steps_shown(ui) == []
    made.step.onCheck()
    assert made.statusLabel.text() == ""


def test_a_four_field_box_step_by_step(made, desktop, picture) -> None:
    ui, session, logic = made.ui, made.session, made.logic
    choose(ui, "four-field-box")
    assert steps_shown(ui) == ["○ 1. The case", "○ 2. The plan", "○ 3. The dose", "○ 4. The verdict"]
    assert "Load the sample 'TG-119 mock prostate'" in ui.exerciseText.toPlainText()
    assert not ui.exerciseBackButton.isEnabled()
    ui.exerciseCheckButton.click()
    assert made.statusLabel.text() == "Not yet."
    assert "No case is loaded" in ui.exerciseResultText.toPlainText()
    assert made.step.parameters.passedSteps == []
    load_case(made)
    assert "press Check again" in ui.exerciseResultText.toPlainText()
    ui.exerciseCheckButton.click()
    assert made.statusLabel.text() == "Passed: The case."
    assert "Now look at this" in ui.exerciseResultText.toPlainText()
    assert steps_shown(ui)[0] == "✓ 1. The case"
    ui.exerciseNextButton.click()
    session.setPlan(make_box(made, margin_mm=0.0))
    ui.exerciseCheckButton.click()
    assert made.statusLabel.text() == "Passed: The plan."
    ui.exerciseStepsList.setCurrentRow(3)
    ui.exerciseCheckButton.click()
    assert "Calculate the dose" in ui.exerciseResultText.toPlainText()
    session.run(lambda progress: logic.calculateDose(session.planNode, progress), "Calculated")
    ui.exerciseCheckButton.click()
    # the leaves stand on the outline: the rim of the PTV is cold
    assert "Aim at PTV D95% >= 95 %" in ui.exerciseResultText.toPlainText()
    assert "ICRU Report 50" in ui.exerciseText.toPlainText()
    assert not ui.exerciseNextButton.isEnabled()
    session.setPlan(replace(make_box(made), name=session.plan.name))
    assert "press Check again" in ui.exerciseResultText.toPlainText()
    session.run(lambda progress: logic.calculateDose(session.planNode, progress), "Calculated")
    nodes = desktop.scene.GetNumberOfNodes()
    ui.exerciseCheckButton.click()
    assert made.statusLabel.text() == "Passed: The verdict."
    assert desktop.scene.GetNumberOfNodes() == nodes
    assert ui.exerciseProgressLabel.text() == "3 of 4 steps passed."
    assert picture(made, "ExerciseStep").stat().st_size > 5000
    ui.exerciseBackButton.click()
    assert made.step.stepNumber == 2
    assert not desktop.errors


def test_where_the_learner_was_is_kept(made, desktop, tmp_path) -> None:
    from PySide6.QtWidgets import QApplication

    ui = made.ui
    load_case(made)
    choose(ui, "fractionation-eqd2")
    ui.exerciseCheckButton.click()
    ui.exerciseStepsList.setCurrentRow(4)
    choose(ui, "imrt-c-shape")
    assert made.step.stepNumber == 0
    ui.exerciseCheckButton.click()
    assert "The case is tg119-prostate" in ui.exerciseResultText.toPlainText()
    choose(ui, "fractionation-eqd2")
    assert made.step.stepNumber == 4
    assert "What to do" not in ui.exerciseResultText.toPlainText()
    path = made.logic.saveScene(tmp_path / "scene.mrb")
    desktop.scene.Clear(False)
    QApplication.processEvents()
    assert made.step.exercise is None
    assert "Choose an exercise" in ui.exerciseText.toPlainText()
    made.logic.loadScene(path)
    QApplication.processEvents()
    assert made.step.exercise.name == "fractionation-eqd2"
    assert made.step.stepNumber == 4
    assert steps_shown(ui)[0].startswith("✓")
    assert list(made.step.parameters.passedSteps) == ["fractionation-eqd2/0"]
    # a script may choose, too
    made.step.parameters.exercise = "four-field-box"
    assert ui.exerciseCombo.currentData() == "four-field-box"
    assert steps_shown(ui)[0] == "○ 1. The case"


def test_checking_leaves_the_events_turning(made, heartbeat) -> None:
    from RTPlanningLib.samples import load_sample

    ui, session, logic = made.ui, made.session, made.logic
    session.chooseCase(*logic.loadCase(load_sample("tg119-prostate", 4.0)))
    choose(ui, "four-field-box")
    session.setPlan(replace(make_box(made), dose_grid_spacing_mm=4.0))
    session.run(lambda progress: logic.calculateDose(session.planNode, progress), "Calculated")
    ui.exerciseStepsList.setCurrentRow(3)
    ui.exerciseCheckButton.click()
    with heartbeat() as beat:
        ui.exerciseCheckButton.click()
    assert made.statusLabel.text() == "Passed: The verdict."
    assert beat.longest_cpu_s < 0.2, beat.where


def test_the_whole_panel_can_do_what_an_exercise_asks_for(load, desktop, picture) -> None:
    from desktop_standin import click_title

    _module, widget = load("RTPlanning")
    widget.parent.show()
    panel = widget.panel
    try:
        case, beams, dose, exercise = (panel.steps[name].ui for name in ("case", "beams", "dose", "exercise"))
        for name in ("exercise", "beams", "dose"):
            click_title(getattr(panel.ui, f"{name}Section"))
        choose(exercise, "opposed-or-four-fields")

        def passes(step: int) -> None:
            exercise.exerciseStepsList.setCurrentRow(step)
            exercise.exerciseCheckButton.click()
            assert panel.ui.statusLabel.text().startswith("Passed"), exercise.exerciseResultText.toPlainText()

        case.loadSampleButton.click()
        passes(0)
        beams.marginSpin.setValue(8.0)
        beams.fieldCountSpin.setValue(2)
        beams.firstGantrySpin.setValue(0.0)
        beams.spacedButton.click()
        dose.spacingSpin.setValue(6.0)
        dose.computeButton.click()
        passes(1)
        beams.copyPlanButton.click()
        beams.boxButton.click()
        dose.computeButton.click()
        passes(2)
        passes(3)
        assert not desktop.errors
        widget.parent.resize(480, 1500)
        assert picture(widget, "RTPlanning_exercise").stat().st_size > 5000
    finally:
        widget.cleanup()
