"""The DoseEngine module inside desktop Slicer: a simple plan gets its dose, and a saved scene shows it again."""

import json

import slicer
from desktop_flow import DesktopFlow


class DoseEngineDesktopTest(DesktopFlow):
    moduleName = "DoseEngine"

    def test_module_loads(self):
        self.check_module()

    def test_without_a_plan_there_is_nothing_to_compute(self):
        self.assertEqual(self.ui.planSelector.nodeCount(), 0)
        self.assertIn("Choose a plan", self.status)
        self.assertFalse(self.ui.computeButton.property("enabled"))

    def make_plan(self):
        """A simple plan of two opposed fields, made in the panel."""
        volume, segmentation = self.water_cube()
        form = self.widget.panel.newPlan.ui
        form.volumeSelector.setCurrentNode(volume)
        form.segmentationSelector.setCurrentNode(segmentation)
        form.planNameEdit.setText("Opposed")
        form.anglesEdit.setText("90, 270")
        form.fieldXSpin.setValue(60.0)
        form.fieldYSpin.setValue(60.0)
        form.metersetSpin.setValue(100.0)
        self.settle()
        self.press(form.makePlanButton)
        self.assertEqual(self.status, "Plan made: Opposed")
        self.ui.spacingSpin.setValue(6.0)
        self.settle()
        return self.ui.planSelector.currentNode()

    def test_a_plan_gets_its_dose_with_statistics_and_provenance(self):
        planNode = self.make_plan()
        self.press(self.ui.computeButton)
        self.assertTrue(self.status.startswith("Dose computed"), self.status)
        doseNode = planNode.GetNodeReference("outputTotalDoseVolumeRef")
        dose = slicer.util.arrayFromVolume(doseNode)
        # 100 MU of each of two fields, at 1 cGy/MU near the surface and two thirds of it in the middle
        middle = dose[tuple(n // 2 for n in dose.shape)]
        self.assertAlmostEqual(float(middle), 1.5, delta=0.3)
        shown = self.widget.panel.dose.ui
        self.assertEqual(self.text(shown.doseLabel), doseNode.GetName())
        structures = [
            shown.structureTable.item(row, 0).text() for row in range(shown.structureTable.property("rowCount"))
        ]
        self.assertEqual(structures, ["External", "PTV", "Organ"])
        provenance = json.loads(shown.provenanceText.property("plainText"))
        self.assertEqual(provenance["engine"], "photon-pencil-beam")

    def test_cancel_leaves_the_scene_as_it_was(self):
        planNode = self.make_plan()
        nodes = slicer.mrmlScene.GetNumberOfNodes()
        self.cancel_on_the_way("calculateDose")
        self.press(self.ui.computeButton)
        self.assertTrue(self.status.startswith("Cancelled"), self.status)
        self.assertIsNone(planNode.GetNodeReference("outputTotalDoseVolumeRef"))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), nodes)
        self.assertTrue(self.ui.computeButton.property("enabled"))

    def test_a_saved_scene_reopens_as_it_was(self):
        self.make_plan()
        self.choose(self.ui.engineCombo, "photon-collapsed-cone")
        self.widget.panel.engine.options.fields["rings"].setValue(8)
        self.settle()
        self.press(self.ui.computeButton)
        self.assertTrue(self.status.startswith("Dose computed"), self.status)
        former = slicer.util.arrayFromVolume(
            self.ui.planSelector.currentNode().GetNodeReference("outputTotalDoseVolumeRef")
        ).max()
        self.reopen()
        planNode = self.ui.planSelector.currentNode()
        self.assertEqual(planNode.GetName(), "Opposed")
        self.assertEqual(
            self.ui.engineCombo.itemData(self.ui.engineCombo.property("currentIndex")), "photon-collapsed-cone"
        )
        self.assertEqual(self.widget.panel.engine.options.fields["rings"].property("value"), 8)
        self.assertEqual(self.ui.spacingSpin.property("value"), 6.0)
        doseNode = planNode.GetNodeReference("outputTotalDoseVolumeRef")
        self.assertAlmostEqual(float(slicer.util.arrayFromVolume(doseNode).max()), float(former), places=5)
        self.assertEqual(self.text(self.widget.panel.dose.ui.doseLabel), doseNode.GetName())
