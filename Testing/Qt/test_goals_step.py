"""The goals step: prescription, templates, and a table in which nothing that was written is lost."""

from __future__ import annotations

import pytest
from planning_steps import choose, make_step

PLAN_GOALS = ("PTV D95% >= 70 Gy", "Rectum D30% <= 70 Gy")


@pytest.fixture
def made(desktop):
    """The step with a coarse prostate chosen and proposed as the case step does."""
    from RTPlanningLib.samples import load_sample
    from RTPlanningLib.widget.goals_step import GoalsStep

    made = make_step(desktop, GoalsStep)
    made.case = load_sample("tg119-prostate", 6.0)
    made.session.chooseCase(*made.logic.loadCase(made.case))
    settings = made.session.settings
    settings.target, settings.prescribedDose_Gy, settings.fractions = "PTV", 75.6, 42
    settings.goals = list(made.case.goals)
    made.session.update()
    yield made
    made.session.release()


@pytest.fixture
def planned(made):
    """A plan with goals of its own, chosen."""
    from RTPlanningLib.plan_templates import four_field_box

    plan = four_field_box(made.case, "CTV", 60.0, 30, name="Box", normalization="mean")
    nodes = (made.session.volumeNode, made.session.segmentationNode)
    made.session.choosePlan(made.logic.createPlan(plan, *nodes, PLAN_GOALS))
    return made


def rows(ui) -> list[tuple[str, str, str]]:
    table = ui.goalsTable
    return [tuple(table.item(row, column).text() for column in range(3)) for row in range(table.rowCount())]


def turn() -> None:
    from PySide6.QtWidgets import QApplication

    QApplication.processEvents()


def test_the_proposal_is_shown_and_fits(made, picture) -> None:
    ui = made.ui
    assert ui.targetCombo.currentText() == "PTV"
    assert [ui.targetCombo.itemText(n) for n in range(ui.targetCombo.count())] == ["PTV", "CTV", "Rectum", "Bladder"]
    assert (ui.doseSpin.value(), ui.fractionsSpin.value()) == (75.6, 42)
    assert ui.perFractionText.text() == "of 1.8 Gy"
    assert "isocentre of the first beam gets 75.6 Gy" in ui.normalizationText.text()
    assert rows(ui)[0] == ("PTV", "D95% >= 75.6 Gy", "")
    assert len(rows(ui)) == 6
    assert ui.templateCombo.currentData() == "tg119-prostate"
    assert ui.templateCombo.currentText() == "AAPM TG-119, mock prostate: 6 of 6 goals apply"
    assert ui.templateCombo.count() == 17
    assert ui.newStructureCombo.currentText() == "PTV"
    ui.newGoalEdit.setText("D98%")
    ui.addGoalButton.click()
    assert picture(made, "GoalsStep").stat().st_size > 5000


def test_templates_say_what_does_not_apply(made) -> None:
    ui = made.ui
    choose(ui.templateCombo, "quantec")
    assert "30 goals do not apply" in ui.templateText.text()
    assert "The case has no Brain." in ui.templateText.toolTip()
    ui.replaceTemplateButton.click()
    assert len(rows(ui)) == 9
    assert {structure for structure, _, _ in rows(ui)} == {"Rectum", "Bladder"}
    choose(ui.templateCombo, "tg119-prostate")
    ui.addTemplateButton.click()
    assert len(rows(ui)) == 15
    ui.addTemplateButton.click()
    assert len(rows(ui)) == 15
    assert made.statusLabel.text() == "0 goals added."
    # other fractions, other proposals; the choice of this case stays
    ui.fractionsSpin.setValue(5)
    assert ui.templateCombo.currentData() == "tg119-prostate"
    assert ui.templateCombo.currentText().endswith("for other prescriptions")
    assert "15.1 Gy a fraction" in ui.templateText.text()


def test_a_row_that_cannot_be_read_is_red_and_kept(made) -> None:
    ui, settings = made.ui, made.session.settings
    before = list(settings.goals)
    ui.goalsTable.item(1, 1).setText("D5% <= lots")
    structure, aim, note = rows(ui)[1]
    assert (structure, aim) == ("PTV", "D5% <= lots")
    assert "a number and its unit" in note
    red, green, blue, _ = ui.goalsTable.item(1, 1).foreground().color().getRgb()
    assert red > 2 * max(green, blue)
    assert "cannot be read yet: 1, kept" in ui.goalsText.text()
    assert list(settings.goals) == [before[0], *before[2:]]
    ui.goalsTable.item(1, 1).setText("D5% <= 83 Gy")
    assert list(settings.goals) == before
    assert rows(ui)[1][2] == ""
    ui.goalsTable.item(2, 0).setText("Kidney_L")
    assert "no structure Kidney_L" in rows(ui)[2][2]
    assert settings.goals[2].startswith("Kidney_L ")


def test_rows_are_added_duplicated_removed_copied_and_pasted(made) -> None:
    from PySide6.QtWidgets import QApplication

    ui = made.ui
    choose(ui.newStructureCombo, "Bladder")
    ui.newGoalEdit.setText("Mean < 40 Gy")
    ui.newGoalEdit.returnPressed.emit()
    assert rows(ui)[-1] == ("Bladder", "Mean < 40 Gy", "")
    assert ui.newGoalEdit.text() == ""
    ui.newGoalEdit.setText("Mean")
    ui.addGoalButton.click()
    assert rows(ui)[-1][:2] == ("Bladder", "Mean")
    assert ui.newGoalEdit.text() == "Mean"
    assert "operator is missing" in made.statusLabel.text()
    count = len(rows(ui))
    ui.removeGoalButton.click()
    assert "Choose the rows" in made.statusLabel.text()
    ui.goalsTable.selectRow(count - 1)
    ui.removeGoalButton.click()
    ui.goalsTable.selectRow(0)
    ui.duplicateGoalButton.click()
    assert rows(ui)[0] == rows(ui)[1]
    assert len(rows(ui)) == count
    ui.goalsTable.selectRow(0)
    ui.copyGoalsButton.click()
    assert QApplication.clipboard().text() == "PTV D95% >= 75.6 Gy"
    QApplication.clipboard().setText("Rectum\tV70Gy[%] <= 20 %\nRectum Vfoo\n")
    ui.pasteGoalsButton.click()
    assert [row[:2] for row in rows(ui)[-2:]] == [("Rectum", "V70Gy[%] <= 20 %"), ("Rectum", "Vfoo")]
    assert made.statusLabel.text() == "2 rows pasted; 1 cannot be read."
    QApplication.clipboard().setText("")
    ui.pasteGoalsButton.click()
    assert "clipboard holds no text" in made.statusLabel.text()


def test_what_is_written_goes_to_the_plan_that_is_made(made) -> None:
    from DoseEngineLib.mrml.plan_node import goalsOf
    from RTPlanningLib.plan_templates import four_field_box

    ui = made.ui
    ui.newGoalEdit.setText("Mean")
    ui.addGoalButton.click()
    written = rows(ui)
    node = made.session.setPlan(four_field_box(made.case, "PTV", 75.6, 42))
    assert goalsOf(node) == tuple(made.case.goals)
    assert rows(ui) == written
    ui.goalsTable.item(0, 1).setText("D95% >= 72 Gy")
    assert goalsOf(node)[0] == "PTV D95% >= 72 Gy"
    assert [row[:2] for row in rows(ui)[1:]] == [row[:2] for row in written[1:]]


def test_a_plan_shows_its_own_and_keeps_what_is_changed(planned) -> None:
    from DoseEngineLib.mrml.plan_node import goalsOf

    ui, session = planned.ui, planned.session
    assert (ui.targetCombo.currentText(), ui.doseSpin.value(), ui.fractionsSpin.value()) == ("CTV", 60.0, 30)
    assert ui.normalizationCombo.currentData() == "mean"
    assert ui.normalizationText.text() == "The mean dose of CTV becomes 60 Gy."
    assert [f"{s} {a}" for s, a, _ in rows(ui)] == list(PLAN_GOALS)
    ui.doseSpin.setValue(66.0)
    assert session.plan.prescription.dose_Gy == 66.0
    choose(ui.targetCombo, "PTV")
    choose(ui.normalizationCombo, "D95")
    assert (session.plan.prescription.target, session.plan.prescription.normalization) == ("PTV", "D95")
    assert "D95% of PTV becomes 66 Gy" in ui.normalizationText.text()
    ui.goalsTable.item(0, 1).setText("D95% >= 66 Gy")
    assert goalsOf(session.planNode)[0] == "PTV D95% >= 66 Gy"
    # changes of scripts are shown
    planned.logic.setGoals(session.planNode, ["Bladder Mean <= 40 Gy"])
    turn()
    assert rows(ui) == [("Bladder", "Mean <= 40 Gy", "")]
    session.settings.planNode = None
    session.settings.prescribedDose_Gy = 42.0
    turn()
    assert ui.doseSpin.value() == 42.0


def test_a_prescription_the_plan_cannot_take_is_refused_and_taken_back(planned, desktop) -> None:
    ui, session = planned.ui, planned.session
    choose(ui.normalizationCombo, "none")
    assert "beams have weights but no MU" in desktop.errors[0]
    assert session.plan.prescription.normalization == "mean"
    assert ui.normalizationCombo.currentData() == "mean"


def test_a_plan_without_a_prescription_gets_one_by_a_change(made) -> None:
    from DoseEngineLib.plan import Beam, Plan

    ui, session = made.ui, made.session
    nodes = (session.volumeNode, session.segmentationNode)
    session.choosePlan(made.logic.createPlan(Plan("Open", (Beam.open_field(),)), *nodes, ["PTV D95% >= 95 %"]))
    assert "no prescription yet" in ui.normalizationText.text()
    assert "needs the prescribed dose" in rows(ui)[0][2]
    ui.doseSpin.setValue(60.0)
    assert session.plan.prescription.dose_Gy == 60.0
    assert rows(ui)[0][2] == ""
    assert "beams carry MU" in ui.normalizationText.text()


def test_a_saved_scene_reopens_with_rows_and_templates(made, desktop, tmp_path) -> None:
    ui = made.ui
    ui.goalsTable.item(1, 1).setText("D5% <= lots")
    choose(ui.templateCombo, "quantec")
    ui.doseSpin.setValue(70.0)
    written = rows(ui)
    path = made.logic.saveScene(tmp_path / "scene.mrb")
    desktop.scene.Clear(False)
    assert ui.goalsTable.rowCount() == 0
    made.logic.loadScene(path)
    turn()
    assert rows(ui) == written
    assert ui.doseSpin.value() == 70.0
    assert ui.templateCombo.currentData() == "quantec"
    assert not desktop.errors


def test_without_structures_nothing_fails(made) -> None:
    ui, settings = made.ui, made.session.settings
    made.session.chooseCase(None, None)
    settings.target, settings.prescribedDose_Gy, settings.fractions = "", 50.0, 25
    turn()
    assert ui.targetCombo.count() == 0
    assert not ui.addGoalButton.isEnabled()
    assert ui.templateCombo.count() == 17
    assert ui.perFractionText.text() == "of 2 Gy"
    assert len(rows(ui)) == 6


def test_updates_are_quick(made, heartbeat) -> None:
    with heartbeat() as beat:
        made.ui.fractionsSpin.setValue(30)
    assert beat.longest_cpu_s <= 0.2, beat.where
