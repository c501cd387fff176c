"""Radiotherapy planning: a case, a plan, its dose, and what it is worth."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class RTPlanning(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("RT Planning")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Radiotherapy")]
        self.parent.dependencies = ["DoseEngine", "Optimizer"]
        self.parent.contributors = ["The RTPlanning contributors"]
        self.parent.helpText = _(
            "Radiotherapy treatment planning: load a case, place beams, calculate dose, DVH and isodoses, and judge "
            "clinical goals. For research and teaching, not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "Part of RTPlanning, open source under the Apache License 2.0. Beam models and tables name their sources."
        )
        # when all modules are there, SlicerRT's too
        slicer.app.startupCompleted.connect(registerInSlicerRT)


def registerInSlicerRT():
    """Offer our dose engines and our optimizer in SlicerRT's External Beam Planning, where SlicerRT is installed."""
    from RTPlanningLib.slicerrt import registration

    registration.registerInSlicerRT()


class RTPlanningWidget(ScriptedLoadableModuleWidget):
    """Puts the panel into Slicer; the panel itself is `RTPlanningLib.widget.panel.RTPlanningPanel`."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from DoseEngineLib.widget.wheel_guard import WheelGuard
        from RTPlanningLib.logic import RTPlanningLogic
        from RTPlanningLib.widget.panel import RTPlanningPanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/RTPlanning.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = RTPlanningLogic(slicer.mrmlScene)
        self.panel = RTPlanningPanel(self.ui, self.logic, slicer.mrmlScene, self._loadStep)
        self.wheelGuard = WheelGuard()
        self.wheelGuard.guard(uiWidget)

    def enter(self):
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def cleanup(self):
        self.panel.cleanup()

    def _loadStep(self, name):
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))
        return widget, slicer.util.childWidgetVariables(widget)


class RTPlanningTest(ScriptedLoadableModuleTest):
    """Slicer's "Reload and Test"; the tests proper are in the Testing folder."""

    def runTest(self):
        from RTPlanningLib.logic import RTPlanningLogic
        from RTPlanningLib.plan_templates import four_field_box
        from RTPlanningLib.samples import load_sample

        logic = RTPlanningLogic(slicer.mrmlScene)
        case = load_sample("water-tank")
        volumeNode, segmentationNode = logic.loadCase(case)
        plan = four_field_box(case, "PTV", 50.0, 25, spacing_mm=5.0)
        planNode = logic.createPlan(plan, volumeNode, segmentationNode, case.goals)
        logic.calculateDose(planNode)
        self.assertAlmostEqual(logic.calculateDvh(planNode)["PTV"].mean_Gy, 50.0, delta=2.5)
        self.delayDisplay(_("A four-field box in water gives its prescribed dose."))
