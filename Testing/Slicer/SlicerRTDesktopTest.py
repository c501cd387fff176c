"""Our dose engines on SlicerRT's own logic inside desktop Slicer; skipped where SlicerRT is not installed."""

import sys

import numpy as np
import slicer
from desktop_flow import DesktopFlow

PENCIL = "RTPlanning photon pencil beam"
HOST = "qSlicerExternalBeamPlanningModuleWidgetsPythonQt"


class SlicerRTDesktopTest(DesktopFlow):
    moduleName = "RTPlanning"

    def setUp(self):
        super().setUp()
        if not hasattr(slicer, "vtkMRMLRTPlanNode"):
            self.skipTest("SlicerRT is not installed.")
        # as when Slicer has started, and External Beam Planning is entered; entering it may ask to install pyRadPlan
        from RTPlanningLib.slicerrt.registration import registerInSlicerRT

        self.names = registerInSlicerRT()
        self.host = __import__(HOST)
        self.handler = self.host.qSlicerDoseEnginePluginHandler().instance()
        for name in slicer.modules.doseEngineNames:
            if name in self.names:
                engine = self.host.qSlicerScriptedDoseEngine(None)
                self.assertTrue(engine.setPythonSource(sys.modules[f"DoseEngines.{name}"].__file__))
                engine.self().register()
        self.logic = self.host.qSlicerDoseEngineLogic()
        self.logic.setMRMLScene(slicer.mrmlScene)

    def rt_plan(self, *beams, **changes):
        """A plan in SlicerRT's nodes with our pencil beam chosen; returns its node and our plan's."""
        from DoseEngineLib.plan import Plan, Prescription

        volume, segmentation = self.water_cube()
        values = {"prescription": Prescription(20.0, 10, "PTV", "point"), "dose_grid_spacing_mm": 6.0, **changes}
        planNode = self.widget.logic.createPlan(Plan("Fields", beams, **values), volume, segmentation)
        rtPlanNode, _notes = self.widget.logic.toSlicerRT(planNode)
        total = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Total")
        rtPlanNode.SetAndObserveOutputTotalDoseVolumeNode(total)
        rtPlanNode.SetDoseEngineName(PENCIL)
        engine = self.handler.doseEngineByName(PENCIL)
        for beamNode in self.beams(rtPlanNode):
            engine.addBeamParameterAttributesToBeamNode(beamNode)
        return rtPlanNode, planNode

    @staticmethod
    def beams(rtPlanNode) -> list:
        """Its beam nodes, by number."""
        from RTPlanningLib.mrml.slicerrt_nodes import beamNodes

        return beamNodes(rtPlanNode)

    @staticmethod
    def field(name: str, **values):
        from DoseEngineLib.plan import Beam

        jaws = {"jaw_x_mm": (-25.0, 15.0), "jaw_y_mm": (-20.0, 20.0)}
        return Beam.open_field(name, isocenter_RAS_mm=(0.0, 25.0, 0.0), meterset_MU=None, **jaws, **values)

    def test_engines_are_registered(self):
        for name in (PENCIL, "RTPlanning photon collapsed cone"):
            self.assertIsNotNone(self.handler.doseEngineByName(name), name)

    def test_the_dose_is_that_of_our_own_logic(self):
        from DoseEngineLib.geometry import resample
        from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume

        beams = (
            self.field("A", gantry_deg=20.0, couch_deg=340.0, collimator_deg=30.0),
            self.field("B", gantry_deg=270.0, weight=2.5),
        )
        rtPlanNode, planNode = self.rt_plan(*beams)
        self.assertEqual(self.logic.calculateDose(rtPlanNode), "")
        total = slicer.util.arrayFromVolume(rtPlanNode.GetOutputTotalDoseVolumeNode())
        doseNode = self.widget.logic.calculateDose(planNode)
        reference = gridFromVolume(rtPlanNode.GetReferenceVolumeNode())
        ours = resample(arrayFromVolume(doseNode), gridFromVolume(doseNode), reference)
        np.testing.assert_allclose(total, ours, atol=1e-3 * ours.max())

    def test_errors_are_told(self):
        rtPlanNode, _planNode = self.rt_plan(self.field("A"))
        self.beams(rtPlanNode)[0].SetSAD(1500.0)
        self.assertIn("has SAD 1500 mm", self.logic.calculateDose(rtPlanNode))

    def test_beams_get_their_dose_influence(self):
        rtPlanNode, _planNode = self.rt_plan(self.field("A"), self.field("B", gantry_deg=90.0))
        self.assertEqual(self.logic.calculateDoseInfluenceMatrix(rtPlanNode), "")
        for beamNode in self.beams(rtPlanNode):
            self.assertEqual(tuple(beamNode.GetDoseGridDim()), (24, 24, 24))
            data = beamNode.GetDoseInfluenceMatrixFieldData()
            sizes = [data.GetArray(n).GetNumberOfTuples() for n in range(3)]
            self.assertGreater(sizes[0], 10000)
            self.assertEqual(sizes[0], sizes[1])
            # a column for each bixel around the target
            self.assertGreater(sizes[2], 30)
