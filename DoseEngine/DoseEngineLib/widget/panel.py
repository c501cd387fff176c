"""The Dose Engine panel: plan and engine, dose and where it comes from, simple plans, machines, commissioning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.commissioning_section import CommissioningSection
from DoseEngineLib.widget.dose_section import DoseSection
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.engine_form import EngineForm
from DoseEngineLib.widget.machine_section import MachineSection
from DoseEngineLib.widget.new_plan_section import NewPlanSection
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.plan_selector import showOnlyPlans


class DoseLogic(Protocol):
    """What the panel asks of its logic."""

    background: Any

    def calculateDose(self, planNode: Any, progress: Progress | None = None) -> Any:
        """Calculate a plan's dose and return its dose volume node."""


class DoseEnginePanel:
    """Puts the sections into ``Resources/UI/DoseEngine.ui`` and connects them with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : DoseLogic
    scene : vtkMRMLScene
    loadSection : callable
        Returns the widget of a section and its named widgets: ``loadSection("DoseSection") -> (widget, ui)``.

    Attributes
    ----------
    session : DoseSession
    engine, dose, newPlan, machine, commissioning : Section
    """

    def __init__(self, ui: Any, logic: DoseLogic, scene: Any, loadSection: Callable[[str], tuple[Any, Any]]) -> None:
        self.ui = ui
        places = {
            "DoseSection": ui.resultSection.layout(),
            "NewPlanSection": ui.newPlanSection.layout(),
            "MachineSection": ui.machineSection.layout(),
            "CommissioningSection": ui.commissioningSection.layout(),
        }
        widgets, parts = {}, {}
        for name, layout in places.items():
            widgets[name], parts[name] = loadSection(name)
            layout.addWidget(widgets[name])
        controls = [ui.planSelector, ui.engineCombo, ui.optionsArea, ui.resetOptionsButton, ui.spacingSpin]
        controls += [ui.computeButton, ui.installButton, *widgets.values()]
        self.action = PanelAction(controls, ui.statusLabel, ui.progressBar, ui.cancelButton, scene)
        self.session = DoseSession(logic, scene, self.action)
        self._selectors = [
            ui.planSelector,
            parts["NewPlanSection"].volumeSelector,
            parts["NewPlanSection"].segmentationSelector,
            parts["NewPlanSection"].sourcePlanSelector,
        ]
        for selector in (self._selectors[0], self._selectors[3]):
            showOnlyPlans(selector)
        for selector in self._selectors:
            selector.setMRMLScene(scene)
        self.engine = EngineForm(ui, self.session)
        self.dose = DoseSection(parts["DoseSection"], self.session, ui.resultSection)
        self.newPlan = NewPlanSection(parts["NewPlanSection"], self.session, ui.newPlanSection)
        self.machine = MachineSection(parts["MachineSection"], self.session, ui.machineSection)
        self.commissioning = CommissioningSection(parts["CommissioningSection"], self.session, ui.commissioningSection)
        self.engine.computed = self.dose.onComputed
        self.commissioning.added = self.machine.addFile
        self.session.start([self.engine, self.dose, self.newPlan, self.machine, self.commissioning])

    def cleanup(self) -> None:
        """Let go of the scene and stop what is running."""
        self.session.release()
        for selector in self._selectors:
            selector.setMRMLScene(None)

    def update(self) -> None:
        """Bring the panel up to date with the scene."""
        self.session.update()
