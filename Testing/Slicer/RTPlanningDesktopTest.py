"""The RTPlanning module inside desktop Slicer: it loads, and its panel plans the sample four-field box."""

import unittest

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
