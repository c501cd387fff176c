"""The dose: engine, grid, one press, and the result on screen at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from DoseEngineLib.calibration import default_calibration
from DoseEngineLib.dose_grid import estimate_dose_grid
from DoseEngineLib.engine import EngineInfo, available_engines
from DoseEngineLib.errors import Cancelled, PlanningError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.ct_calibration import ctCalibration
from DoseEngineLib.mrml.dose_inputs import CALIBRATION
from DoseEngineLib.mrml.dose_volume import provenanceOf
from DoseEngineLib.mrml.plan_node import DOSE, changedSinceDose, isDoseCurrent
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.dose_engine_parameters import DoseEngineParameters
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.module_parameters import moduleParameterNode
from DoseEngineLib.widget.text_table import prepareTable, writeRows
from RTPlanningLib.mrml.body_box import bodyBox
from RTPlanningLib.mrml.case_status_nodes import caseStamp
from RTPlanningLib.mrml.chart_in_layout import showChartInLayout
from RTPlanningLib.mrml.dose_figures_node import DOSE_FIGURES_TABLE
from RTPlanningLib.widget.dose_changes import changesText
from RTPlanningLib.widget.step import Step
from RTPlanningLib.widget.with_packages import withPackages

_DOSE_ENGINE = "DoseEngine"
_DOSE_OPACITY = 0.4
# Of a press on Compute, what the dose takes; the rest is its evaluation.
_DOSE_SHARE = 0.85


@parameterNodeWrapper
class DoseParameters:
    """What is shown after a dose was computed. Engine and grid belong to the plan.

    Attributes
    ----------
    showWash, showIsodoses, showDvh : bool
    """

    showWash: bool = True
    showIsodoses: bool = True
    showDvh: bool = True


class DoseStep(Step):
    """Computes a plan's dose and shows it."""

    uiName = "DoseStep"
    Parameters = DoseParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._engines: list[EngineInfo] | None = None
        self._box: tuple[tuple, Grid, bool] | None = None
        self._figuresOf: tuple = ()
        # of engines that were looked at meanwhile: their options come back with them
        self._optionsOf: dict[tuple[str, str], dict[str, Any]] = {}
        prepareTable(ui.figuresTable, [_("Figure"), _("Value"), _("Where, or of what")])
        ui.figuresTable.setVisible(False)
        ui.engineCombo.currentIndexChanged.connect(self.onEngineChosen)
        ui.spacingSpin.setMRMLScene(session.scene)
        ui.spacingSpin.valueChanged.connect(self.onSpacing)
        ui.computeButton.clicked.connect(self.onCompute)
        ui.openEngineButton.clicked.connect(self.onOpenEngine)

    def connectParameters(self) -> None:
        """Bind what is shown after computing."""
        ui = self.ui
        self.bind({"showWash": ui.showWashCheck, "showIsodoses": ui.showIsodosesCheck, "showDvh": ui.showDvhCheck})

    def cleanup(self) -> None:
        """Let go of the scene."""
        super().cleanup()
        self.ui.spacingSpin.setMRMLScene(None)

    def update(self) -> None:
        """Show the plan's engine, grid and dose."""
        ui, plan = self.ui, self.session.plan
        for widget in (ui.engineCombo, ui.spacingSpin, ui.computeButton):
            widget.setEnabled(plan is not None)
        self._showEngine(plan)
        self._showGrid(plan)
        self._showDose(plan)

    # Choices

    def onEngineChosen(self, *_unused: object) -> None:
        """Give the plan another engine, with the options that it had in this plan before."""
        plan, combo = self.session.plan, self.ui.engineCombo
        label = combo.itemData(combo.property("currentIndex"))
        if plan is None or not label or label == plan.engine:
            return
        nodeID = self.session.planNode.GetID()
        self._optionsOf[nodeID, plan.engine] = plan.engine_options
        options = self._optionsOf.get((nodeID, label), {})
        self._change(replace(plan, engine=label, engine_options=options))

    def onSpacing(self, *_unused: object) -> None:
        """Give the plan another dose grid."""
        plan, spacing = self.session.plan, float(self.ui.spacingSpin.property("value"))
        # the spin box rounds what it shows
        if plan is None or abs(spacing - plan.dose_grid_spacing_mm) < 1e-6:
            return
        try:
            self._change(replace(plan, dose_grid_spacing_mm=spacing))
        except PlanningError as error:
            self.session.say(str(error))

    def onOpenEngine(self, *_unused: object) -> None:
        """Open the Dose Engine module with this plan."""
        if self.session.planNode is not None:
            node = moduleParameterNode(self.session.scene, _DOSE_ENGINE)
            DoseEngineParameters(node).planNode = self.session.planNode
        slicer.util.selectModule(_DOSE_ENGINE)

    def _change(self, plan: Plan) -> None:
        self.session.setPlan(plan)

    # Computing

    def onCompute(self, *_unused: object) -> None:
        """Compute the dose, evaluate it, and show what is to be shown."""
        session, planNode = self.session, self.session.planNode
        if planNode is None:
            session.say(_("There is no plan yet; make one with beams first."))
            return
        isFirst = planNode.GetNodeReference(DOSE) is None
        computed = []

        def work(progress: Progress) -> Any:
            computed.append(session.logic.calculateDose(planNode, part(progress, 0.0, _DOSE_SHARE)))
            try:
                return session.logic.evaluatePlan(planNode, part(progress, _DOSE_SHARE, 1.0))
            except Cancelled:
                # the dose is in the scene, and stands
                return None

        evaluation = session.run(withPackages(work), _verdict)
        # a scene that was closed meanwhile took the plan along
        if computed and planNode.GetScene() is session.scene and isDoseCurrent(planNode):
            self._showResults(planNode, evaluation, isFirst)

    def _showResults(self, planNode: Any, evaluation: Any, isFirst: bool) -> None:
        settings, session = self.parameters, self.session
        if settings.showWash:
            slicer.util.setSliceViewerLayers(
                background=session.volumeNode,
                foreground=planNode.GetNodeReference(DOSE),
                foregroundOpacity=_DOSE_OPACITY,
            )
        if isFirst:
            slicer.vtkMRMLSliceNode.JumpAllSlices(session.scene, *session.plan.beams[0].isocenter_RAS_mm)
        if evaluation is None:
            return
        display = evaluation.isodoseNode.GetDisplayNode()
        display.SetVisibility(settings.showIsodoses)
        chart = session.logic.dvhChart(planNode)
        if settings.showDvh and chart is not None:
            showChartInLayout(chart)

    # Showing

    def _showEngine(self, plan: Plan | None) -> None:
        ui, engines = self.ui, available_engines()
        if engines != self._engines:
            self._engines = engines
            with quiet(ui.engineCombo):
                fillEngines(ui.engineCombo)
        label = plan.engine if plan is not None else ui.engineCombo.itemData(0)
        with quiet(ui.engineCombo):
            ui.engineCombo.setCurrentIndex(ui.engineCombo.findData(label))
        info = next((info for info in engines if info.label == label), None)
        if info is None:
            text = _("The plan asks for the engine {label}, which is not here; choose another.").format(label=label)
        elif not info.available:
            text = _("It cannot run yet: it {reason}. Compute asks to install it.").format(reason=info.reason)
        elif info.does_not_model:
            first, *others = info.does_not_model
            text = _("Does not model: {first}").format(first=first.split(":")[0])
            text += _(" (and {count} more, point here).").format(count=len(others)) if others else "."
        else:
            text = ""
        ui.engineText.setText(text)
        ui.engineText.setToolTip("\n".join((info.does_not_model if info is not None else None) or (text,)))

    def _showGrid(self, plan: Plan | None) -> None:
        ui, session = self.ui, self.session
        if plan is None:
            ui.gridText.setText("")
            return
        with quiet(ui.spacingSpin):
            if abs(float(ui.spacingSpin.property("value")) - plan.dose_grid_spacing_mm) > 1e-6:
                ui.spacingSpin.setValue(plan.dose_grid_spacing_mm)
        stamp = caseStamp(session.volumeNode, session.segmentationNode)
        try:
            if self._box is None or self._box[0] != stamp:
                self._box = (stamp, *bodyBox(session.volumeNode, session.segmentationNode))
            estimate = estimate_dose_grid(
                self._box[1], plan.dose_grid_spacing_mm, len(plan.beams), is_of_body=self._box[2]
            )
        except PlanningError as error:
            self._box = None
            ui.gridText.setText(str(error))
            return
        ui.gridText.setText(str(estimate))

    def _showDose(self, plan: Plan | None) -> None:
        ui, planNode = self.ui, self.session.planNode
        doseNode = planNode.GetNodeReference(DOSE) if planNode is not None else None
        isCurrent = doseNode is not None and isDoseCurrent(planNode)
        if plan is None:
            text = _("There is no plan yet; make one with beams first.")
        elif doseNode is None:
            text = _("The plan has no dose yet.")
        elif not isCurrent:
            changes = changedSinceDose(planNode)
            text = self._ofAnotherCurve(doseNode) if changes == (CALIBRATION,) else ""
            text = text or _("{changes}; compute it again.").format(changes=changesText(planNode))
        else:
            text = _("{name} is the dose of the plan as it stands.").format(name=doseNode.GetName())
        ui.doseText.setText(text)
        image = doseNode.GetImageData() if isCurrent else None
        table = planNode.GetNodeReference(DOSE_FIGURES_TABLE) if isCurrent else None
        of = () if table is None else (doseNode.GetID(), image.GetMTime(), table.GetID(), table.GetMTime())
        if of == self._figuresOf:
            return
        self._figuresOf = of
        rows = self.session.logic.doseFigures(planNode) if of else ()
        shown = ui.figuresTable
        writeRows(shown, [(figure.name, figure.text, figure.note) for figure in rows])
        shown.resizeColumnToContents(0)
        shown.resizeColumnToContents(1)
        shown.setVisible(bool(rows))

    def _ofAnotherCurve(self, doseNode: Any) -> str:
        """Say that the CT has another calibration by now; empty where it has not."""
        used = (provenanceOf(doseNode).get("patient") or {}).get("calibration")
        try:
            curve = ctCalibration(self.session.volumeNode) or default_calibration()
        except PlanningError as error:
            return str(error)
        if not used or used == curve.describe():
            return ""
        return _("The dose was computed with the CT calibration {used}, not {curve}; compute it again.").format(
            used=used, curve=curve.describe()
        )


def _verdict(evaluation: Any) -> str:
    if evaluation is None:
        return _("Dose computed; its evaluation was cancelled. Evaluate does it.")
    if not evaluation.goals:
        return _("Dose computed; the plan has no goals to judge.")
    met = sum(1 for result in evaluation.goals if result.passed)
    return _("Dose computed; {met} of {all} goals are met.").format(met=met, all=len(evaluation.goals))
