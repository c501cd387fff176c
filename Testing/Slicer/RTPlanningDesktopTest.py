"""The RTPlanning module inside desktop Slicer: its panel plans the sample four-field box, out to DICOM and back."""

import tempfile
from pathlib import Path

from desktop_flow import DesktopFlow


class RTPlanningDesktopTest(DesktopFlow):
    moduleName = "RTPlanning"

    def test_module_loads(self):
        self.check_module()

    def test_four_field_box(self):
        ui = self.ui
        self.choose(ui.caseCombo, "water-tank")
        self.press(ui.loadCaseButton)
        self.assertEqual(ui.targetCombo.property("currentText"), "PTV")
        self.press(ui.createPlanButton)
        planNode = ui.planSelector.currentNode()
        self.assertIsNotNone(planNode, self.status)
        self.press(ui.calculateButton)
        self.assertIn("Dose calculated", self.status)
        dvhs = self.widget.logic.calculateDvh(planNode)
        prescribed = ui.doseSpin.property("value")
        self.assertAlmostEqual(dvhs["PTV"].mean_Gy, prescribed, delta=0.05 * prescribed)
        with tempfile.TemporaryDirectory() as folder:
            ui.exportFolderEdit.setCurrentPath(folder)
            self.press(ui.exportDicomButton)
            self.assertTrue(self.status.startswith("Wrote "), self.status)
            self.assertTrue((Path(folder) / "RTPLAN.dcm").exists())
            ui.importFolderEdit.setCurrentPath(folder)
            self.press(ui.importDicomButton)
            self.assertTrue(self.status.startswith("Loaded "), self.status)
        imported = ui.planSelector.currentNode()
        self.assertNotEqual(imported.GetID(), planNode.GetID())
        plans = self.widget.logic.deliveredPlan(planNode), self.widget.logic.planFromNode(imported)
        delivered, read = ([beam.meterset_MU for beam in plan.beams] for plan in plans)
        for ours, theirs in zip(delivered, read, strict=True):
            self.assertAlmostEqual(theirs, ours, places=6)
