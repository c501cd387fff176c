"""The Optimizer module inside desktop Slicer: fluence for objectives, leaves, dose; cancelled, saved and reopened."""

import slicer
from desktop_flow import DesktopFlow

ROWS = "PTV uniform 20 Gy, weight 100\nOrgan Mean <= 2 Gy, weight 20\nfluence smoothness, weight 0.01"


class OptimizerDesktopTest(DesktopFlow):
    moduleName = "Optimizer"

    def test_module_loads(self):
        self.check_module()

    def test_without_a_plan_there_is_nothing_to_optimize(self):
        self.assertEqual(self.ui.planSelector.nodeCount(), 0)
        self.assertIn("Choose a plan", self.status)
        self.assertFalse(self.ui.fluenceButton.property("enabled"))

    def plan_node(self):
        """A plan of three open fields and a prescription, chosen in the panel."""
        from DoseEngineLib.mrml.plan_node import createPlanNode
        from DoseEngineLib.plan import Beam, Plan, Prescription

        volume, segmentation = self.water_cube()
        jaws = {"jaw_x_mm": (-20.0, 20.0), "jaw_y_mm": (-20.0, 20.0)}
        beams = tuple(
            Beam.open_field(name, gantry_deg=gantry, isocenter_RAS_mm=(0.0, 25.0, 0.0), meterset_MU=None, **jaws)
            for name, gantry in (("AP", 0.0), ("PA", 180.0), ("Left", 90.0))
        )
        plan = Plan("Three fields", beams, Prescription(20.0, 10, "PTV", "mean"), dose_grid_spacing_mm=6.0)
        planNode = createPlanNode(slicer.mrmlScene, plan, volume, segmentation)
        self.settle()
        self.ui.planSelector.setCurrentNode(planNode)
        self.settle()
        self.ui.rowsEdit.setPlainText(ROWS)
        self.ui.bixelSpinBox.setValue(10.0)
        self.settle()
        return planNode

    def test_fluence_leaves_and_dose_come_of_rows(self):
        from DoseEngineLib.mrml.plan_node import deliveredPlan, isDoseCurrent

        planNode = self.plan_node()
        self.press(self.ui.fluenceButton)
        self.assertIn("with leaves", self.status)
        self.assertTrue(isDoseCurrent(planNode))
        delivered = deliveredPlan(planNode)
        self.assertGreater(max(len(beam.control_points) for beam in delivered.beams), 2)
        # the posterior beam enters through the organ, the lateral one passes it by
        self.assertLess(delivered.beams[1].meterset_MU, 0.5 * delivered.beams[2].meterset_MU)
        images = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        self.assertEqual(sum(node.GetName().endswith("_Fluence") for node in images), 3)

    def test_cancel_leaves_the_scene_as_it_was(self):
        from DoseEngineLib.mrml.plan_node import planFromNode

        planNode = self.plan_node()
        before, nodes = planFromNode(planNode), slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        self.cancel_on_the_way("optimizeFluence")
        self.press(self.ui.fluenceButton)
        self.assertTrue(self.status.startswith("Cancelled"), self.status)
        self.assertEqual(planFromNode(planNode), before)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), nodes)

    def test_a_saved_scene_reopens_as_it_was(self):
        from DoseEngineLib.mrml.plan_node import isDoseCurrent, planFromNode

        planNode = self.plan_node()
        self.press(self.ui.fluenceButton)
        self.assertIn("with leaves", self.status)
        plan, name = planFromNode(planNode), planNode.GetName()
        self.reopen()
        again = slicer.util.getNode(name)
        self.ui.planSelector.setCurrentNode(again)
        self.settle()
        self.assertEqual(planFromNode(again), plan)
        self.assertTrue(isDoseCurrent(again))
        self.assertEqual(self.ui.rowsEdit.property("plainText"), ROWS)
        self.assertEqual(self.ui.bixelSpinBox.property("value"), 10.0)
        self.assertTrue(self.ui.continueButton.property("enabled"))
