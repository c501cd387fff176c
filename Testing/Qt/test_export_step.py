"""Report and export, used as a person does."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from planning_steps import make_step


@pytest.fixture
def planned(desktop, monkeypatch, tmp_path):
    """The step with a plan on the prostate phantom that has a dose, and a folder to write to."""
    import qt
    from sphere_engine import LABEL

    from DoseEngineLib.engine import register_engine, unregister_engine
    from RTPlanningLib.plan_templates import four_field_box
    from RTPlanningLib.samples import load_sample, sample_plan
    from RTPlanningLib.widget.export_step import ExportStep

    class DesktopServices:
        opened: list[str] = []  # noqa: RUF012 - the class is made anew for each test

        @staticmethod
        def openUrl(url) -> bool:
            DesktopServices.opened.append(url.toLocalFile())
            return True

    monkeypatch.setattr(qt, "QDesktopServices", DesktopServices)
    register_engine(LABEL, "Sphere (test)", "sphere_engine", "SphereEngine")
    made = make_step(desktop, ExportStep)
    made.opened = DesktopServices.opened
    case, sample = load_sample("tg119-prostate", 6.0), sample_plan("tg119-prostate")
    box = four_field_box(case, sample.target, sample.dose_Gy, sample.fractions, spacing_mm=6.0)
    made.plan = replace(box, engine=LABEL, name="Box 1/2")
    made.planNode = made.logic.createPlan(made.plan, *made.logic.loadCase(case), case.goals)
    made.folder = tmp_path / "out"
    made.folder.mkdir()
    yield made
    made.session.release()
    unregister_engine(LABEL)


def ready(made) -> None:
    made.logic.calculateDose(made.planNode)
    made.session.choosePlan(made.planNode)
    made.ui.folderEdit.setCurrentPath(str(made.folder))


def buttons(ui) -> list:
    return [ui.reportButton, ui.dvhCsvButton, ui.goalsCsvButton, ui.planFileButton, ui.dicomButton]


def test_what_can_be_written_when(planned, desktop) -> None:
    ui = planned.ui
    assert "Choose a plan" in ui.exportStateLabel.text()
    assert not any(button.isEnabled() for button in buttons(ui))
    planned.session.choosePlan(planned.planNode)
    assert "no dose yet" in ui.exportStateLabel.text()
    assert not any(button.isEnabled() for button in buttons(ui))
    assert ui.sceneButton.isEnabled()
    planned.logic.calculateDose(planned.planNode)
    planned.session.update()
    assert all(button.isEnabled() for button in buttons(ui))
    ui.goalsCsvButton.click()
    assert "Choose the folder" in planned.statusLabel.text()
    ui.folderEdit.setCurrentPath(str(planned.folder / "none"))
    ui.goalsCsvButton.click()
    assert "make it, or choose another" in planned.statusLabel.text()
    planned.logic.updatePlan(planned.planNode, replace(planned.plan, dose_grid_spacing_mm=7.0))
    planned.session.update()
    assert "Changed since the dose was calculated: plan" in ui.exportStateLabel.text()
    assert not any(button.isEnabled() for button in buttons(ui))
    # SlicerRT is not here: that is said
    assert not ui.slicerRtPlanButton.isEnabled()
    assert not ui.slicerRtDvhButton.isEnabled()
    assert "SlicerRT is not installed" in ui.slicerRtLabel.text()


def test_the_report_is_written_and_opened(planned, desktop, monkeypatch) -> None:
    from DoseEngineLib.widget import packages

    ready(planned)
    monkeypatch.setattr(packages, "missingPackages", list)
    planned.ui.reportButton.click()
    assert not desktop.errors
    requirements, who = desktop.ensured[0]
    assert {"matplotlib>=3.8", "jinja2>=3.1"} <= set(requirements)
    assert who == "RT Planning"
    report = planned.folder / "Box_1_2_report.html"
    assert planned.opened == [str(report)]
    text = report.read_text(encoding="utf-8")
    goals = planned.logic.evaluateGoals(planned.planNode)
    assert "Treatment plan Box 1/2" in text
    assert f"{goals[0].value:.2f}" in text
    assert "data:image/svg+xml" in text
    # one that exists is replaced only when that is wanted
    written = report.stat().st_mtime_ns
    desktop.answer = False
    planned.ui.reportButton.click()
    assert "exists. Replace it?" in desktop.confirmations[-1]
    assert planned.statusLabel.text() == "Nothing was written."
    assert report.stat().st_mtime_ns == written
    desktop.answer = True
    planned.ui.openReportCheck.setChecked(False)
    planned.ui.reportButton.click()
    assert report.stat().st_mtime_ns > written
    assert len(planned.opened) == 1


def test_tables_plan_and_scene(planned, desktop) -> None:
    ready(planned)
    ui = planned.ui
    for button in (ui.dvhCsvButton, ui.goalsCsvButton, ui.planFileButton, ui.sceneButton):
        button.click()
        assert planned.statusLabel.text().startswith("Wrote "), planned.statusLabel.text()
    assert not desktop.errors
    names = {path.name for path in planned.folder.iterdir()}
    assert names == {"Box_1_2_dvh.csv", "Box_1_2_goals.csv", "Box_1_2_plan.json", "Box_1_2_scene.mrb"}
    with (planned.folder / "Box_1_2_goals.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    goals = planned.logic.evaluateGoals(planned.planNode)
    assert [row["Result"] for row in rows] == [goal.verdict for goal in goals]
    plan = json.loads((planned.folder / "Box_1_2_plan.json").read_text(encoding="utf-8"))
    assert [beam["meterset_MU"] for beam in plan["beams"]] == [
        beam.meterset_MU for beam in planned.logic.deliveredPlan(planned.planNode).beams
    ]
    planned.logic.loadScene(planned.folder / "Box_1_2_scene.mrb")
    assert [node.GetName() for node in planned.logic.planNodes()] == ["Box 1/2"]
    assert ui.folderEdit.property("currentPath") == str(planned.folder)


def test_dicom_with_its_options(planned, desktop, picture) -> None:
    import pydicom

    ready(planned)
    ui = planned.ui
    ui.folderEdit.setCurrentPath(str(planned.folder / "dicom"))
    ui.beamDosesCheck.setChecked(True)
    ui.eqd2Check.setChecked(True)
    ui.eqd2AlphaBetaSpin.setValue(2.0)
    ui.dicomButton.click()
    assert not desktop.errors
    assert planned.statusLabel.text().startswith("Wrote "), planned.statusLabel.text()
    doses = [pydicom.dcmread(path) for path in (planned.folder / "dicom").glob("RTDOSE*.dcm")]
    assert len(doses) == 6
    effective = [dose for dose in doses if dose.DoseType == "EFFECTIVE"]
    assert len(effective) == 1
    assert effective[0].DoseComment == "EQD2, alpha/beta 2 Gy, 3 in Rectum, 3 in Bladder"
    assert picture(planned, "ExportStep").stat().st_size > 5000


def test_slicerrt_takes_plan_and_dvhs_where_it_is(planned, desktop, monkeypatch) -> None:
    import slicer
    import slicerrt_standins as standins

    for name in ("vtkMRMLRTPlanNode", "vtkMRMLRTBeamNode", "vtkMRMLDoseVolumeHistogramNode"):
        monkeypatch.setattr(slicer, name, getattr(standins, name), raising=False)
    ready(planned)
    assert planned.ui.slicerRtPlanButton.isEnabled()
    assert not planned.ui.slicerRtLabel.text()
    planned.ui.slicerRtPlanButton.click()
    assert not desktop.errors
    assert "External Beam Planning" in planned.statusLabel.text()
    planned.ui.slicerRtDvhButton.click()
    assert not desktop.errors
    assert "Dose Volume Histogram" in planned.statusLabel.text()
