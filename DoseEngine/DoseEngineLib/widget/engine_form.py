"""The plan's dose engine: which, its options, the dose grid, and the computation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.engine import available_engines, engine_options
from DoseEngineLib.errors import EngineUnavailableError, PlanningError
from DoseEngineLib.mrml.plan_node import planFromNode, setPlan
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.dose_engine_parameters import optionsOf, setOptionsOf
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.engine_options_form import EngineOptionsForm
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.section import Section

_ROUNDING_MM = 1e-3


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
        self._hadPlan: bool | None = None
        with quiet(ui.engineCombo):
            fillEngines(ui.engineCombo)
        ui.spacingSpin.setMRMLScene(session.scene)
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

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return what follows a choice."""
        return [(self.ui.engineCombo.currentIndexChanged, self.onEngineChanged)]

    def update(self) -> None:
        """Show the engine, its options and what keeps it from running."""
        planNode = self.session.planNode
        none = _("Choose a plan, or make one in RT Planning.")
        if planNode is None and self._hadPlan is not False:
            self.session.say(none)
        elif planNode is not None and self.ui.statusLabel.property("text") == none:
            self.session.say("")
        self._hadPlan = planNode is not None
        self._follow(planNode)
        self._showEngine()
        self.ui.computeButton.setEnabled(planNode is not None)

    def onEngineChanged(self, *_unused: object) -> None:
        """Show the options of another engine."""
        if self.session.isFree:
            self._showEngine()

    def onOptionsChanged(self) -> None:
        """Keep what the form shows."""
        setOptionsOf(self.parameters, self._chosen(), self.options.values())

    def onResetOptions(self, *_unused: object) -> None:
        """Set every option back to its default."""
        setOptionsOf(self.parameters, self._chosen(), {})
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
        label, spacing = self.parameters.engine, float(self.parameters.spacing_mm)
        options = optionsOf(self.parameters, label)

        def work(progress: Progress) -> Any:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            former = planFromNode(planNode)
            # a spin box shows three digits or four: rounding is no change
            grid = former.dose_grid_spacing_mm if abs(former.dose_grid_spacing_mm - spacing) < _ROUNDING_MM else spacing
            wanted = replace(former, engine=label, engine_options=options, dose_grid_spacing_mm=grid)
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

    def _plan(self, planNode: Any) -> Plan | None:
        try:
            return None if planNode is None else planFromNode(planNode)
        except PlanningError as error:
            self.session.say(str(error))
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
        setOptionsOf(self.parameters, plan.engine, plan.engine_options)
        self.parameters.spacing_mm = float(plan.dose_grid_spacing_mm)
        self.parameters.shownPlan = key

    def _showEngine(self) -> None:
        infos = available_engines()
        label = self._chosen()
        reasons = [info.reason for info in infos if info.label == label and not info.available]
        if not label:
            reasons = [_("There is no engine {label} here; choose another one.").format(label=self.parameters.engine)]
        lacks = [info.does_not_model for info in infos if info.label == label and info.does_not_model]
        self.ui.limitsLabel.setText(_("Does not model: {parts}.").format(parts="; ".join(lacks[0])) if lacks else "")
        self.ui.limitsLabel.setVisible(bool(lacks))
        self.ui.engineLabel.setText(reasons[0] if reasons else "")
        self.ui.engineLabel.setVisible(bool(reasons))
        self.ui.installButton.setVisible(not all(info.available for info in infos))
        try:
            declared = engine_options(label)
        except EngineUnavailableError:
            declared = ()
        self.options.setOptions(declared)
        self.options.setValues(optionsOf(self.parameters, label))
        self.ui.optionsArea.setVisible(bool(declared))
        self.ui.resetOptionsButton.setVisible(bool(declared))
