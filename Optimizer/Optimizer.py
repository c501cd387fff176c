"""Optimizer: finds beam weights that meet dose objectives."""

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class Optimizer(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Plan Optimizer")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Radiotherapy")]
        self.parent.dependencies = ["DoseEngine"]
        self.parent.contributors = ["The RTPlanning contributors"]
        self.parent.helpText = _(
            "Finds the beam weights of a treatment plan that meet its dose objectives best. "
            "For research and teaching, not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "Part of RTPlanning, open source under the Apache License 2.0. Beam models and tables name their sources."
        )


class OptimizerWidget(ScriptedLoadableModuleWidget):
    """Puts the panel into Slicer; the panel itself is `OptimizerLib.widget.panel.OptimizerPanel`."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from DoseEngineLib.widget.wheel_guard import WheelGuard
        from OptimizerLib.logic import OptimizerLogic
        from OptimizerLib.widget.panel import OptimizerPanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Optimizer.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = OptimizerLogic(slicer.mrmlScene)
        self.panel = OptimizerPanel(self.ui, self.logic, slicer.mrmlScene)
        self.wheelGuard = WheelGuard()
        self.wheelGuard.guard(uiWidget)

    def enter(self):
        self.panel.update()

    def cleanup(self):
        self.panel.cleanup()


class OptimizerTest(ScriptedLoadableModuleTest):
    """Slicer's "Reload and Test"; the tests proper are in the Testing folder."""

    def runTest(self):
        from OptimizerLib.objectives import SquaredDeviation

        self.assertEqual(SquaredDeviation("PTV", 50.0).value(np.array([49.0, 51.0])), 1.0)
        self.delayDisplay(_("Objectives work."))
