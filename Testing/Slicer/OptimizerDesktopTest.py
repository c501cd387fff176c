"""The Optimizer module inside desktop Slicer: it loads and its panel shows."""

import unittest

import slicer


class OptimizerDesktopTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_module_loads(self):
        module = slicer.util.getModule("Optimizer")
        self.assertIn("Radiotherapy", module.categories)
        self.assertIn("not for clinical use", module.helpText)
        self.assertFalse(module.icon.isNull())

    def test_panel_shows(self):
        widget = slicer.util.getModuleWidget("Optimizer")
        widget.enter()
        self.assertEqual(widget.ui.planSelector.nodeCount(), 0)
        self.assertIn("Choose a plan", widget.ui.statusLabel.text)
        self.assertIs(slicer.util.getModuleLogic("Optimizer"), widget.logic)
