"""Evaluate: goals, DVHs, isodoses, comparison with another plan, checks, radiobiology."""

from __future__ import annotations

from typing import Annotated, Any

from slicer import vtkMRMLScriptedModuleNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from DoseEngineLib.mrml.plan_node import DOSE, goalsOf, isDoseCurrent
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.verdict_colors import verdict_color
from DoseEngineLib.widget.text_table import isDark
from RTPlanningLib.evaluation_logic import EvaluationLogic
from RTPlanningLib.widget.dose_changes import changesText
from RTPlanningLib.widget.dose_wash_controls import DoseWashControls
from RTPlanningLib.widget.dvh_view import DvhView, wantedMetrics
from RTPlanningLib.widget.goal_results import GoalResults
from RTPlanningLib.widget.isodose_editor import IsodoseEditor
from RTPlanningLib.widget.plan_check_sheet import PlanCheckSheet
from RTPlanningLib.widget.plan_comparison_view import PlanComparisonView
from RTPlanningLib.widget.radiobiology_view import RadiobiologyView
from RTPlanningLib.widget.step import Step
from RTPlanningLib.widget.with_packages import withPackages


@parameterNodeWrapper
class EvaluateParameters:
    """What a person sets in this step.

    Attributes
    ----------
    relativeDose, absoluteVolume : bool
        Units of the DVH chart.
    hiddenStructures : list of str
        Whose curves are not shown.
    metrics : str
        Further DVH metrics, separated by commas.
    isodosesShown : bool
    washShown, legendShown : bool
    washOpacity : float
    washUnit : {"%", "Gy"}
    washFrom, washTo, washThreshold : float
        In that unit.
    otherPlan : vtkMRMLScriptedModuleNode or None
    differenceKind : str
    gammaDose_percent, gammaDistance_mm, gammaThreshold_percent : float
    gammaLocal : bool
    tumour : str
        Identifier of a TCP set, or empty.
    alphaBetaElsewhere_Gy : float
    """

    relativeDose: bool = False
    absoluteVolume: bool = False
    hiddenStructures: list[str]
    metrics: str = ""
    isodosesShown: bool = True
    washShown: bool = True
    legendShown: bool = False
    washOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.4
    washUnit: str = "%"
    washFrom: Annotated[float, WithinRange(0.0, 1000.0)] = 0.0
    washTo: Annotated[float, WithinRange(0.1, 1000.0)] = 110.0
    washThreshold: Annotated[float, WithinRange(0.0, 1000.0)] = 5.0
    otherPlan: vtkMRMLScriptedModuleNode
    differenceKind: str = "absolute"
    gammaDose_percent: Annotated[float, WithinRange(0.1, 20.0)] = 3.0
    gammaDistance_mm: Annotated[float, WithinRange(0.1, 20.0)] = 2.0
    gammaThreshold_percent: Annotated[float, WithinRange(0.0, 90.0)] = 10.0
    gammaLocal: bool = False
    tumour: str = ""
    alphaBetaElsewhere_Gy: Annotated[float, WithinRange(0.5, 20.0)] = 3.0
    dvhCollapsed: bool = False
    doseDisplayCollapsed: bool = True
    compareCollapsed: bool = True
    checksCollapsed: bool = True
    radiobiologyCollapsed: bool = True


class EvaluateStep(Step):
    """Shows what a plan's dose comes to, as long as it is the plan's."""

    uiName = "EvaluateStep"
    Parameters = EvaluateParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._evaluationLogic = EvaluationLogic(session.scene)
        self.goals = GoalResults(ui)
        self.dvh = DvhView(self)
        self.isodoses = IsodoseEditor(self)
        self.wash = DoseWashControls(self)
        self.comparison = PlanComparisonView(self)
        self.checks = PlanCheckSheet(self)
        self.radiobiology = RadiobiologyView(self)
        self._chartShown: str = ""
        ui.evaluateButton.clicked.connect(self.onEvaluate)

    def connectParameters(self) -> None:
        """Couple the widgets with the settings."""
        ui = self.ui
        self.bind(
            {
                "relativeDose": ui.relativeDoseCheck,
                "absoluteVolume": ui.absoluteVolumeCheck,
                "metrics": ui.metricsEdit,
                "isodosesShown": ui.isodosesShownCheck,
                "washShown": ui.washShownCheck,
                "legendShown": ui.legendShownCheck,
                "washOpacity": ui.washOpacitySlider,
                "washUnit": ui.washUnitCombo,
                "washFrom": ui.washFromSpin,
                "washTo": ui.washToSpin,
                "washThreshold": ui.washThresholdSpin,
                "otherPlan": ui.otherPlanSelector,
                "differenceKind": ui.differenceKindCombo,
                "gammaDose_percent": ui.gammaDoseSpin,
                "gammaDistance_mm": ui.gammaDistanceSpin,
                "gammaThreshold_percent": ui.gammaThresholdSpin,
                "gammaLocal": ui.gammaLocalCheck,
                "tumour": ui.tumourCombo,
                "alphaBetaElsewhere_Gy": ui.alphaBetaSpin,
                "dvhCollapsed": ui.dvhSection,
                "doseDisplayCollapsed": ui.doseDisplaySection,
                "compareCollapsed": ui.compareSection,
                "checksCollapsed": ui.checksSection,
                "radiobiologyCollapsed": ui.radiobiologySection,
            }
        )
        self._releases += [part.follow() for part in (self.dvh, self.isodoses, self.wash)]

    def cleanup(self) -> None:
        """Let go of the scene."""
        super().cleanup()
        self.dvh.cleanup()
        self.comparison.cleanup()

    def update(self) -> None:
        """Show what still stands of the chosen plan."""
        planNode = self.session.planNode
        logic = self.session.logic
        hasDose = planNode is not None and planNode.GetNodeReference(DOSE) is not None
        withDose = planNode if hasDose and isDoseCurrent(planNode) else None
        evaluated = withDose if self._stands(logic.dvhMetricsTable, withDose) else None
        goalsTable = logic.goalsTable(withDose) if self._stands(logic.goalsTable, withDose) else None
        self._showState(planNode, hasDose, withDose, evaluated, goalsTable)
        self.ui.evaluateButton.setEnabled(withDose is not None)
        self.goals.show(goalsTable, hasGoals=withDose is not None and bool(goalsOf(withDose)))
        self._followChart(evaluated)
        self.dvh.show(evaluated)
        self.isodoses.show(withDose)
        if withDose is not None:
            self.isodoses.followVisibility(logic.doseVolume(withDose))
        self.wash.show(withDose)
        self.comparison.show(withDose)
        self.checks.show(planNode)
        self.radiobiology.show(withDose)

    def onEvaluate(self, *_unused: object) -> None:
        """Evaluate the plan's present dose."""
        planNode = self.session.planNode
        metrics = wantedMetrics(self.parameters.metrics)

        def work(progress: Progress) -> Any:
            evaluation = self.session.logic.evaluatePlan(planNode, part(progress, 0.0, 0.8 if metrics else 1.0))
            if metrics:
                self.session.logic.addDvhMetrics(planNode, metrics, part(progress, 0.8, 1.0))
            return evaluation

        def done(evaluation: Any) -> str:
            met = sum(1 for result in evaluation.goals if result.passed)
            return _("Evaluated; {met} of {all} goals are met.").format(met=met, all=len(evaluation.goals))

        self.session.run(withPackages(work), done)

    @property
    def evaluation(self) -> EvaluationLogic:
        """The logic of what is evaluated, with the session's thread to work in."""
        # the session gives its logic a thread to work in; this one takes the same
        self._evaluationLogic.background = self.session.logic.background
        return self._evaluationLogic

    def _stands(self, table: Any, planNode: Any) -> bool:
        return planNode is not None and self.evaluation.isEvaluationCurrent(table(planNode), planNode)

    def _followChart(self, evaluated: Any) -> None:
        """Bring a chart that was made anew to the units and structures that are set."""
        chart = self.session.logic.dvhChart(evaluated) if evaluated is not None else None
        shown = chart.GetID() if chart is not None else ""
        if shown and shown != self._chartShown:
            self.dvh.apply()
        self._chartShown = shown

    def _showState(self, planNode: Any, hasDose: bool, withDose: Any, evaluated: Any, goalsTable: Any) -> None:
        """Say whether what is shown is the plan's."""
        verdict = "warning"
        if planNode is None:
            text, verdict = _("Choose a plan, or make one."), ""
        elif not hasDose:
            text, verdict = _("The plan has no dose yet; calculate it in the step before."), ""
        elif withDose is None:
            text = _(
                "{changes}. Calculate it again; until then goals, DVHs and metrics are not shown, and what the views "
                "show is the former dose."
            ).format(changes=changesText(planNode))
        elif evaluated is None:
            text = _("Dose or structures have changed since the plan was evaluated; press Evaluate.")
        elif goalsTable is None and goalsOf(planNode):
            text = _("The goals have changed since the plan was evaluated; press Evaluate.")
        else:
            text, verdict = _("This is the evaluation of the plan as it stands."), ""
        color = verdict_color(verdict, dark=isDark(self.ui.goalsTable))
        style = (
            ""
            if color is None
            else "color: rgb({}, {}, {}); font-weight: bold".format(*(round(255 * channel) for channel in color))
        )
        self.ui.evaluationStateLabel.setText(text)
        if self.ui.evaluationStateLabel.property("styleSheet") != style:
            self.ui.evaluationStateLabel.setStyleSheet(style)
