"""The RTPlanning module inside desktop Slicer: from nothing to a judged plan, out to DICOM and back, reopened."""

import tempfile
from pathlib import Path

import slicer
from desktop_flow import DesktopFlow


class RTPlanningDesktopTest(DesktopFlow):
    moduleName = "RTPlanning"

    def test_module_loads(self):
        self.check_module()

    def step(self, name: str):
        """The named widgets of a step."""
        return self.widget.panel.steps[name].ui

    @property
    def plan_node(self):
        return self.ui.planSelector.currentNode()

    @property
    def dose_node(self):
        return self.plan_node.GetNodeReference("outputTotalDoseVolumeRef")

    def plan_box(self):
        """The sample and its four-field box, without a dose."""
        self.press(self.step("case").loadSampleButton)
        self.assertTrue(self.status.startswith("Loaded "), self.status)
        self.press(self.step("beams").boxButton)
        self.assertIsNotNone(self.plan_node, self.status)
        self.step("dose").spacingSpin.setValue(8.0)
        self.settle()

    def compute(self):
        """The dose of the plan."""
        self.press(self.step("dose").computeButton)
        self.assertTrue(self.status.startswith("Dose computed"), self.status)

    def goals(self) -> list[list[str]]:
        """The table of goals as it is shown."""
        table = self.step("evaluate").goalsTable
        rows, columns = (table.property(name) for name in ("rowCount", "columnCount"))
        return [[table.item(row, column).text() for column in range(columns)] for row in range(rows)]

    def test_nothing_can_be_pressed_too_early(self):
        self.assertIn("Load a sample case", self.status)
        for step, name in (("dose", "computeButton"), ("optimize", "optimizeButton"), ("evaluate", "evaluateButton")):
            self.assertFalse(getattr(self.step(step), name).property("enabled"), name)

    def test_four_field_box_is_planned_and_judged(self):
        from DoseEngineLib.mrml.plan_node import goalsOf

        self.plan_box()
        self.compute()
        plan = self.widget.logic.planFromNode(self.plan_node)
        self.assertEqual([beam.control_points[0].gantry_deg for beam in plan.beams], [0.0, 90.0, 180.0, 270.0])
        dose = slicer.util.arrayFromVolume(self.dose_node)
        self.assertAlmostEqual(float(dose.max()), plan.prescription.dose_Gy, delta=0.15 * plan.prescription.dose_Gy)
        shown = self.goals()
        self.assertEqual(len(shown), len(goalsOf(self.plan_node)))
        self.assertTrue(any("passed" in row for row in shown), shown)
        models = slicer.util.getNodesByClass("vtkMRMLModelNode")
        self.assertIn(f"{self.dose_node.GetName()}_IsodoseLevels", [node.GetName() for node in models])
        self.assertGreaterEqual(self.widget.logic.dvhChart(self.plan_node).GetNumberOfPlotSeriesNodes(), 4)

    def test_a_structure_is_grown_and_undone(self):
        volume, segmentation = self.water_cube()
        case, structures = self.step("case"), self.step("structures")
        case.ctSelector.setCurrentNode(volume)
        case.segmentationSelector.setCurrentNode(segmentation)
        self.settle()
        self.choose(structures.structureCombo, "Organ")
        structures.leftSpin.setValue(6.0)
        structures.resultEdit.setText("Organ wide")
        self.settle()
        self.press(structures.applyButton)

        def names() -> list[str]:
            found = segmentation.GetSegmentation()
            return [found.GetNthSegment(n).GetName() for n in range(found.GetNumberOfSegments())]

        self.assertEqual(names(), ["External", "PTV", "Organ", "Organ wide"], self.status)
        self.press(structures.undoButton)
        self.assertEqual(names(), ["External", "PTV", "Organ"])

    def test_an_exercise_looks_at_the_plan(self):
        exercise = self.step("exercise")
        self.choose(exercise.exerciseCombo, "four-field-box")
        self.press(exercise.exerciseCheckButton)
        self.assertEqual(self.status, "Not yet.")
        self.press(self.step("case").loadSampleButton)
        self.press(exercise.exerciseCheckButton)
        self.assertTrue(self.status.startswith("Passed"), self.status)

    def test_report_and_tables_are_written(self):
        self.plan_box()
        self.compute()
        export = self.step("export")
        export.openReportCheck.setChecked(False)
        export.picture3dCheck.setChecked(False)
        with tempfile.TemporaryDirectory() as folder:
            export.folderEdit.setCurrentPath(folder)
            self.settle()
            for button in (export.reportButton, export.goalsCsvButton, export.planFileButton):
                self.press(button)
                self.assertTrue(self.status.startswith("Wrote "), self.status)
            written = {path.suffix: path for path in Path(folder).rglob("*") if path.is_file()}
            self.assertIn("Not for clinical use", written[".html"].read_text(encoding="utf-8"))
            self.assertEqual(set(written), {".html", ".csv", ".json"})

    def test_another_engine_and_again(self):
        self.plan_box()
        self.choose(self.step("dose").engineCombo, "photon-collapsed-cone")
        self.compute()
        self.assertEqual(self.dose_node.GetAttribute("RTPlanning.DoseTo"), "medium")

    def test_cancel_leaves_the_scene_as_it_was(self):
        self.plan_box()
        nodes = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        self.cancel_on_the_way("calculateDose")
        self.press(self.step("dose").computeButton)
        self.assertTrue(self.status.startswith("Cancelled"), self.status)
        self.assertIsNone(self.dose_node)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), nodes)
        self.assertTrue(self.step("dose").computeButton.property("enabled"))

    def test_a_plan_goes_out_to_DICOM_and_comes_back(self):
        self.plan_box()
        self.compute()
        planNode = self.plan_node
        export, case = self.step("export"), self.step("case")
        with tempfile.TemporaryDirectory() as folder:
            export.folderEdit.setCurrentPath(folder)
            export.withCtCheck.setChecked(True)
            self.settle()
            self.press(export.dicomButton)
            self.assertTrue(self.status.startswith("Wrote "), self.status)
            self.assertTrue((Path(folder) / "RTPLAN.dcm").exists())
            case.importFolderEdit.setCurrentPath(folder)
            self.settle()
            self.press(case.importDicomButton)
        self.assertTrue(self.status.startswith("Loaded "), self.status)
        self.assertNotEqual(self.plan_node.GetID(), planNode.GetID())
        plans = self.widget.logic.deliveredPlan(planNode), self.widget.logic.planFromNode(self.plan_node)
        delivered, read = ([beam.meterset_MU for beam in plan.beams] for plan in plans)
        for ours, theirs in zip(delivered, read, strict=True):
            self.assertAlmostEqual(theirs, ours, places=6)

    def test_a_saved_scene_reopens_as_it_was(self):
        self.plan_box()
        self.compute()
        plan, shown = self.widget.logic.planFromNode(self.plan_node), self.goals()
        maximum = float(slicer.util.arrayFromVolume(self.dose_node).max())
        self.reopen()
        self.assertEqual(self.widget.logic.planFromNode(self.plan_node), plan)
        self.assertAlmostEqual(float(slicer.util.arrayFromVolume(self.dose_node).max()), maximum, places=4)
        self.assertEqual(self.step("dose").spacingSpin.property("value"), 8.0)
        self.assertEqual(self.goals(), shown)
