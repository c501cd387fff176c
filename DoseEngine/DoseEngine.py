"""Dose engine: computes the dose of a treatment plan."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class DoseEngine(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Dose Engine")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Radiotherapy")]
        self.parent.dependencies = []
        self.parent.contributors = ["The RTPlanning contributors"]
        self.parent.helpText = _(
            "Computes the dose of a treatment plan with a chosen dose engine. "
            "For research and teaching, not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "Part of RTPlanning, open source under the Apache License 2.0. Beam models and tables name their sources."
        )


class DoseEngineWidget(ScriptedLoadableModuleWidget):
    """Puts the panel into Slicer; the panel itself is `DoseEngineLib.widget.panel.DoseEnginePanel`."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from DoseEngineLib.logic import DoseEngineLogic
        from DoseEngineLib.widget.panel import DoseEnginePanel
        from DoseEngineLib.widget.wheel_guard import WheelGuard

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/DoseEngine.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.logic = DoseEngineLogic(slicer.mrmlScene)
        self.panel = DoseEnginePanel(self.ui, self.logic, slicer.mrmlScene, self._loadSection)
        self.wheelGuard = WheelGuard()
        self.wheelGuard.guard(uiWidget)

    def enter(self):
        self.panel.update()

    def cleanup(self):
        self.panel.cleanup()

    def _loadSection(self, name):
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))
        return widget, slicer.util.childWidgetVariables(widget)


class DoseEngineTest(ScriptedLoadableModuleTest):
    """Slicer's "Reload and Test"; the tests proper are in the Testing folder."""

    def runTest(self):
        from DoseEngineLib.engine import available_engines

        labels = [info.label for info in available_engines()]
        self.assertIn("photon-pencil-beam", labels)
        self.delayDisplay(_("Engines: {labels}").format(labels=", ".join(labels)))
