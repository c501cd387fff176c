"""The plan's dose engine: which, its options, the dose grid, and the computation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.engine import available_engines, engine_options
from DoseEngineLib.errors import EngineUnavailableError, PlanningError
from DoseEngineLib.mrml.plan_node import planFromNode, setPlan
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.engine_options_form import EngineOptionsForm
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.section import Section


class EngineForm(Section):
    """The first section of the panel, on the widgets of ``DoseEngine.ui``.

    Attributes
    ----------
    options : EngineOptionsForm
    computed : callable or None
        Called after a dose was computed, with what the status line says of it.
    """

    def __init__(self, ui: Any, session: DoseSession) -> None:
        super().__init__(ui, session)
        self.computed: Any = None
        self.options = EngineOptionsForm(ui.optionsArea.layout(), self.onOptionsChanged)
        self._planID: str | None = None
        with quiet(ui.engineCombo):
            fillEngines(ui.engineCombo)
        ui.spacingSpin.setMRMLScene(session.scene)
        ui.engineCombo.currentIndexChanged.connect(self.onEngineChanged)
        ui.planSelector.currentNodeChanged.connect(session.updateSoon)
        ui.resetOptionsButton.clicked.connect(self.onResetOptions)
        ui.installButton.clicked.connect(self.onInstall)
        ui.computeButton.clicked.connect(self.onCompute)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        return {
            "planNode": ui.planSelector,
            "engine": ui.engineCombo,
            "spacing_mm": ui.spacingSpin,
            "inputCollapsed": ui.inputSection,
        }

    def update(self) -> None:
        """Show the engine, its options and what keeps it from running."""
        planNode = self.session.planNode
        planID = "" if planNode is None else planNode.GetID()
        if planNode is None and self._planID != "":
            self.session.action.say(_("Choose a plan, or make one in RT Planning."))
        elif self._planID == "" and planNode is not None:
            self.session.action.say("")
        self._planID = planID
        self._follow(planNode)
        self._showEngine()
        self.ui.computeButton.setEnabled(planNode is not None)

    def onEngineChanged(self, *_unused: object) -> None:
        """Begin with the plan's options of the engine, or with its defaults."""
        if self.isConnecting or self.parameters is None:
            return
        label = self._chosen()
        if label:
            plan = self._plan(self.session.planNode)
            options = plan.engine_options if plan is not None and plan.engine == label else {}
            self.parameters.engineOptions = json.dumps(options, sort_keys=True)
        self._showEngine()

    def onOptionsChanged(self) -> None:
        """Keep what the form shows."""
        self.parameters.engineOptions = json.dumps(self.options.values(), sort_keys=True)

    def onResetOptions(self, *_unused: object) -> None:
        """Set every option back to its default."""
        self.parameters.engineOptions = "{}"
        self._showEngine()

    def onInstall(self, *_unused: object) -> None:
        """Install the packages of the greyed engines, after Slicer asked."""
        self.session.run(lambda progress: ensurePackages(DOSE_PACKAGES, _("Dose Engine")), _("Installed."))
        with quiet(self.ui.engineCombo):
            fillEngines(self.ui.engineCombo)
            self.ui.engineCombo.setCurrentIndex(self.ui.engineCombo.findData(self.parameters.engine))
        self._showEngine()

    def onCompute(self, *_unused: object) -> None:
        """Compute the plan's dose with the engine, options and grid that the panel shows."""
        planNode = self.session.planNode
        label, options, spacing = self.parameters.engine, self._stored(), float(self.parameters.spacing_mm)

        def work(progress: Progress) -> Any:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            former = planFromNode(planNode)
            wanted = replace(former, engine=label, engine_options=options, dose_grid_spacing_mm=spacing)
            if wanted != former:
                setPlan(planNode, wanted)
            try:
                return self.session.logic.calculateDose(planNode, progress)
            except BaseException:
                # the plan is gone when the scene was closed meanwhile
                if planNode.GetScene() is not None:
                    setPlan(planNode, former)
                raise

        def told(node: Any) -> str:
            return _("Dose computed: {name}").format(name=node.GetName())

        doseNode = self.session.run(work, told)
        if doseNode is not None and self.computed is not None:
            self.computed(told(doseNode))

    def _chosen(self) -> str:
        combo = self.ui.engineCombo
        return combo.itemData(combo.property("currentIndex")) or ""

    def _stored(self) -> dict[str, Any]:
        """Options of the settings; a text that is no JSON, as a script may leave it, counts as none."""
        try:
            options = json.loads(self.parameters.engineOptions)
        except ValueError:
            return {}
        return options if isinstance(options, dict) else {}

    def _plan(self, planNode: Any) -> Plan | None:
        try:
            return None if planNode is None else planFromNode(planNode)
        except PlanningError as error:
            self.session.action.say(str(error))
            return None

    def _follow(self, planNode: Any) -> None:
        """Take engine, options and grid of a plan that was chosen, or changed by others, since they were shown."""
        plan = self._plan(planNode)
        if plan is None:
            return
        told = [planNode.GetID(), plan.engine, plan.engine_options, plan.dose_grid_spacing_mm]
        key = json.dumps(told, sort_keys=True)
        if key == self.parameters.shownPlan:
            return
        self.parameters.engine = plan.engine
        self.parameters.engineOptions = json.dumps(plan.engine_options, sort_keys=True)
        self.parameters.spacing_mm = float(plan.dose_grid_spacing_mm)
        self.parameters.shownPlan = key

    def _showEngine(self) -> None:
        infos = available_engines()
        label = self._chosen()
        reasons = [info.reason for info in infos if info.label == label and not info.available]
        if not label:
            reasons = [_("There is no engine {label} here; choose another one.").format(label=self.parameters.engine)]
        self.ui.engineLabel.setText(reasons[0] if reasons else "")
        self.ui.engineLabel.setVisible(bool(reasons))
        self.ui.installButton.setVisible(not all(info.available for info in infos))
        try:
            declared = engine_options(label)
        except EngineUnavailableError:
            declared = ()
        self.options.setOptions(declared)
        self.options.setValues(self._stored())
        self.ui.optionsArea.setVisible(bool(declared))
        self.ui.resetOptionsButton.setVisible(bool(declared))
