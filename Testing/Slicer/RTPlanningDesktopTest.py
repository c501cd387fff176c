"""The RTPlanning module inside desktop Slicer: its panel plans the sample four-field box, out to DICOM and back."""

import tempfile
import unittest
from pathlib import Path

import slicer


class RTPlanningDesktopTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_module_loads(self):
        module = slicer.util.getModule("RTPlanning")
        self.assertIn("Radiotherapy", module.categories)
        self.assertIn("not for clinical use", module.helpText)
        self.assertFalse(module.icon.isNull())

    def test_four_field_box(self):
        widget = slicer.util.getModuleWidget("RTPlanning")
        widget.enter()
        ui = widget.ui
        ui.caseCombo.setCurrentIndex(ui.caseCombo.findData("water-tank"))
        ui.loadCaseButton.click()
        self.assertEqual(ui.targetCombo.currentText, "PTV")
        ui.createPlanButton.click()
        planNode = ui.planSelector.currentNode()
        self.assertIsNotNone(planNode, ui.statusLabel.text)
        ui.calculateButton.click()
        self.assertIn("Dose calculated", ui.statusLabel.text)
        dvhs = widget.logic.calculateDvh(planNode)
        self.assertAlmostEqual(dvhs["PTV"].mean_Gy, ui.doseSpin.value, delta=0.05 * ui.doseSpin.value)
        with tempfile.TemporaryDirectory() as folder:
            ui.exportFolderEdit.setCurrentPath(folder)
            ui.exportDicomButton.click()
            self.assertTrue(ui.statusLabel.text.startswith("Wrote "), ui.statusLabel.text)
            self.assertTrue((Path(folder) / "RTPLAN.dcm").exists())
            ui.importFolderEdit.setCurrentPath(folder)
            ui.importDicomButton.click()
            self.assertTrue(ui.statusLabel.text.startswith("Loaded "), ui.statusLabel.text)
        imported = ui.planSelector.currentNode()
        self.assertNotEqual(imported.GetID(), planNode.GetID())
        plans = widget.logic.deliveredPlan(planNode), widget.logic.planFromNode(imported)
        delivered, read = ([beam.meterset_MU for beam in plan.beams] for plan in plans)
        for ours, theirs in zip(delivered, read, strict=True):
            self.assertAlmostEqual(theirs, ours, places=6)
