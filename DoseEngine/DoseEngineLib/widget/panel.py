"""The Dose Engine panel: choose a plan and an engine, compute, read where the dose comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Protocol

from slicer.i18n import tr as _

from DoseEngineLib.engine import available_engines
from DoseEngineLib.mrml.dose_volume import provenanceOf
from DoseEngineLib.mrml.plan_node import DOSE, isDoseCurrent, isPlanNode, planFromNode, setPlan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.plan_panel import PlanPanel


class DoseLogic(Protocol):
    """What the panel asks of its logic."""

    def calculateDose(self, planNode: Any, progress: Progress | None = None) -> Any:
        """Calculate a plan's dose and return its dose volume node."""


class DoseEnginePanel(PlanPanel):
    """Connects the widgets of ``Resources/UI/DoseEngine.ui`` with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : DoseLogic
    scene : vtkMRMLScene
    """

    def __init__(self, ui: Any, logic: DoseLogic, scene: Any) -> None:
        super().__init__(ui, scene, [ui.engineCombo, ui.spacingSpin, ui.computeButton, ui.installButton])
        self.logic = logic
        fillEngines(ui.engineCombo)
        ui.engineCombo.currentIndexChanged.connect(self.onEngineChanged)
        ui.computeButton.clicked.connect(self.onCompute)
        ui.installButton.clicked.connect(self.onInstall)
        self.update()

    def onPlanChanged(self, *_unused: object) -> None:
        """Show a plan's engine, grid and dose."""
        if self.action.isRunning:
            return
        ui = self.ui
        # The selector's signal is overloaded, node or bool: its argument is not to be trusted.
        planNode = ui.planSelector.currentNode()
        ui.computeButton.setEnabled(isPlanNode(planNode))
        if isPlanNode(planNode):
            plan = planFromNode(planNode)
            ui.engineCombo.setCurrentIndex(ui.engineCombo.findData(plan.engine))
            ui.spacingSpin.setValue(plan.dose_grid_spacing_mm)
        else:
            self.action.say(_("Choose a plan, or make one in RT Planning."))
        self._showDose(planNode)
        self.onEngineChanged()

    def onEngineChanged(self, *_unused: object) -> None:
        """Say what keeps the chosen engine from running, if anything does."""
        infos = available_engines()
        label = self._engineLabel()
        reasons = [info.reason for info in infos if info.label == label and not info.available]
        self.ui.engineLabel.setText(reasons[0] if reasons else "")
        self.ui.engineLabel.setVisible(bool(reasons))
        self.ui.installButton.setVisible(not all(info.available for info in infos))

    def onInstall(self, *_unused: object) -> None:
        """Install the packages of the greyed engines, after Slicer asked."""
        self.action.run(lambda progress: ensurePackages(DOSE_PACKAGES, _("Dose Engine")), _("Installed."))
        fillEngines(self.ui.engineCombo)
        self.update()

    def onCompute(self, *_unused: object) -> None:
        """Compute the plan's dose with the engine and grid the panel shows."""
        planNode = self.ui.planSelector.currentNode()
        label, spacing = self._engineLabel(), float(self.ui.spacingSpin.property("value"))

        def work(progress: Progress) -> Any:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            former = planFromNode(planNode)
            options = former.engine_options if label == former.engine else {}
            wanted = replace(former, engine=label, engine_options=options, dose_grid_spacing_mm=spacing)
            setPlan(planNode, wanted)
            try:
                return self.logic.calculateDose(planNode, progress)
            except BaseException:
                # the plan is gone when the scene was closed meanwhile
                if planNode.GetScene() is not None:
                    setPlan(planNode, former)
                raise

        self.action.run(work, lambda node: _("Dose computed: {name}").format(name=node.GetName()))
        self.update()

    def _engineLabel(self) -> str:
        combo = self.ui.engineCombo
        return combo.itemData(combo.property("currentIndex")) or ""

    def _showDose(self, planNode: Any) -> None:
        doseNode = planNode.GetNodeReference(DOSE) if isPlanNode(planNode) else None
        if doseNode is None:
            self.ui.doseLabel.setText(_("none"))
            self.ui.provenanceText.setPlainText("")
            return
        name = doseNode.GetName()
        current = isDoseCurrent(planNode)
        self.ui.doseLabel.setText(name if current else _("{name} (the plan has changed since)").format(name=name))
        self.ui.provenanceText.setPlainText(json.dumps(provenanceOf(doseNode), indent=2, sort_keys=True))
