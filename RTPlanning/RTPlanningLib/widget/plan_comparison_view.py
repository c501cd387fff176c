"""Another plan beside the one that is worked on: goals, metrics, DVHs, difference map and gamma."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, isDoseCurrent, isPlanNode
from DoseEngineLib.mrml.table_columns import tableTexts
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import fillCombo
from DoseEngineLib.widget.plan_selector import showOnlyPlans
from DoseEngineLib.widget.plot_canvas import PlotCanvas
from RTPlanningLib.evaluation.gamma import GammaCriterion
from RTPlanningLib.mrml.derived_nodes import statisticsOf
from RTPlanningLib.mrml.dose_wash import hideDoseWash, showLegend, showOverlay
from RTPlanningLib.widget.evaluation_part import EvaluationPart
from RTPlanningLib.widget.result_table import showRows
from RTPlanningLib.widget.with_packages import withPackages

_TAG = "RTPlanningComparedDvh"
_MAP_OPACITY = 0.6


class PlanComparisonView(EvaluationPart):
    """Compares two plans and shows what still stands of it."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        ui = self.ui
        self._mapID = ""
        tip = _("DVHs of both plans: a colour is a structure, a line style a plan")
        self.plot = PlotCanvas(ui.comparedPlotPlace.layout(), self.session.scene, _TAG, tip)
        showOnlyPlans(ui.otherPlanSelector)
        ui.otherPlanSelector.setMRMLScene(self.session.scene)
        kinds = [
            (_("Gy"), "absolute"),
            (_("% of the largest dose"), "percent"),
            (_("% of the voxel's dose"), "local"),
        ]
        fillCombo(ui.differenceKindCombo, kinds, "absolute")
        ui.otherPlanSelector.currentNodeChanged.connect(self.onOtherChanged)
        ui.compareButton.clicked.connect(self.onCompare)
        ui.differenceButton.clicked.connect(self.onDifference)
        ui.gammaButton.clicked.connect(self.onGamma)

    def cleanup(self) -> None:
        """Let go of the scene."""
        self.plot.release()
        self.ui.otherPlanSelector.setMRMLScene(None)

    def show(self, planNode: Any) -> None:
        """Show what stands of a comparison with a plan whose dose is current; None: nothing."""
        ui = self.ui
        other = self._other()
        reason = self._reason(planNode, other)
        for button in (ui.compareButton, ui.differenceButton, ui.gammaButton):
            button.setEnabled(not reason)
        chart = goals = metrics = None
        if not reason:
            chart, goals, metrics = self.evaluation.comparisonNodes([planNode, other])
            if chart is None:
                reason = _("Press Compare to put {other} beside {plan}.").format(
                    other=other.GetName(), plan=planNode.GetName()
                )
        ui.comparisonLabel.setText(reason)
        if self.plot.chart() is not chart:
            self.plot.show(chart)
        for widget in (ui.comparedGoalsTable, ui.comparedPlotPlace, ui.comparedMetricsTable):
            widget.setVisible(chart is not None)
        self._showGoals(goals)
        names, rows = tableTexts(metrics) if metrics is not None else ([], [])
        showRows(ui.comparedMetricsTable, rows, header=names)
        self._showMap()

    def onOtherChanged(self, *_unused: object) -> None:
        """Another plan was chosen."""
        if not self.session.isRunning:
            planNode = self.session.planNode
            self.show(planNode if planNode is not None and isDoseCurrent(planNode) else None)

    def onCompare(self, *_unused: object) -> None:
        """Put both plans side by side."""
        planNode, other = self.session.planNode, self._other()

        def work(progress: Progress) -> Any:
            return self.evaluation.comparePlans([planNode, other], progress=progress)

        def done(comparison: Any) -> str:
            notes = [
                f"{plan}: {name}: {note}"
                for plan, ofPlan in comparison.dvhs.items()
                for name, note in ofPlan.notes.items()
            ]
            return "\n".join((_("Compared {plans}.").format(plans=", ".join(comparison.dvhs)), *notes))

        self.session.run(withPackages(work), done)

    def onDifference(self, *_unused: object) -> None:
        """Show the difference of the doses."""
        planNode, other = self.session.planNode, self._other()
        kind = self.parameters.differenceKind

        def work(progress: Progress) -> Any:
            volumeNode, _difference = self.evaluation.createDoseDifference(planNode, other, kind, progress=progress)
            return volumeNode

        self._showResult(self.session.run(withPackages(work), _("Difference map ready.")), _("Difference"))

    def onGamma(self, *_unused: object) -> None:
        """Show the gamma index of the doses."""
        planNode, other, parameters = self.session.planNode, self._other(), self.parameters
        criterion = GammaCriterion(
            dose_percent=parameters.gammaDose_percent,
            distance_mm=parameters.gammaDistance_mm,
            local=parameters.gammaLocal,
            threshold_percent=parameters.gammaThreshold_percent,
        )

        def work(progress: Progress) -> Any:
            volumeNode, _result = self.evaluation.createGamma(planNode, other, criterion, progress=progress)
            return volumeNode

        self._showResult(self.session.run(withPackages(work), _("Gamma map ready.")), _("Gamma"))

    def _other(self) -> Any:
        node = self.ui.otherPlanSelector.currentNode()
        return node if isPlanNode(node) else None

    def _reason(self, planNode: Any, other: Any) -> str:
        """Why the two cannot be compared; empty where they can."""
        if planNode is None:
            return _("The plan has no current dose; calculate it first.")
        if other is None:
            return _("Choose another plan with a dose.")
        if other.GetID() == planNode.GetID():
            return _("This is the plan itself; choose another.")
        if not isDoseCurrent(other):
            return _("{name} has no current dose; calculate it first.").format(name=other.GetName())
        return ""

    def _showGoals(self, tableNode: Any) -> None:
        if tableNode is None:
            showRows(self.ui.comparedGoalsTable, [], header=[])
            return
        names, rows = tableTexts(tableNode)
        # the last column is the note
        showRows(
            self.ui.comparedGoalsTable,
            [row[:-1] for row in rows],
            header=names[:-1],
            tips=[row[-1] or f"{row[0]} {row[1]}" for row in rows],
            verdicts={column: [row[column] for row in rows] for column in (4, 6)},
        )

    def _showResult(self, volumeNode: Any, title: str) -> None:
        if volumeNode is None:
            return
        planNode = self.session.planNode
        hideDoseWash(self.session.logic.doseVolume(planNode))
        showOverlay(volumeNode, planNode.GetNodeReference(REFERENCE_VOLUME), _MAP_OPACITY)
        showLegend(volumeNode, True, title)
        self._mapID = volumeNode.GetID()
        self.show(planNode)

    def _showMap(self) -> None:
        node = self.session.scene.GetNodeByID(self._mapID) if self._mapID else None
        if node is None:
            self.ui.mapLabel.setText("")
            return
        if not self.evaluation.isCurrent(node):
            self.ui.mapLabel.setText(_("The doses have changed since {name} was made.").format(name=node.GetName()))
            return
        self.ui.mapLabel.setText(f"{node.GetName()}: {_figures(statisticsOf(node))}")


def _figures(statistics: dict) -> str:
    """The figures of a map in words."""
    if "pass_rate_percent" in statistics:
        return _("{rate:.2f} % of the voxels pass, mean {mean:.2f}, largest {largest:.2f}").format(
            rate=statistics["pass_rate_percent"], mean=statistics["mean"], largest=statistics["maximum"]
        )
    return _("mean {mean:+.3g} {unit}, from {low:+.3g} to {high:+.3g} {unit}").format(
        mean=statistics["mean"], unit=statistics["unit"], low=statistics["minimum"], high=statistics["maximum"]
    )
