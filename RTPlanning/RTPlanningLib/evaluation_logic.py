"""The logic of evaluation in the scene: biological dose, comparison of doses and plans, sums, probabilities, checks.

Every method calculates first and changes the scene last: one that fails, or is cancelled by its ``progress``, leaves
the scene as it was. The same request of the same nodes again updates the nodes it made before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError, PlanError
from DoseEngineLib.mrml.plan_node import deliveredPlan, isPlanNode
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.dose_difference import DoseDifference
from RTPlanningLib.evaluation.dvh_comparison_file import dvh_comparison_csv, dvh_comparison_json
from RTPlanningLib.evaluation.gamma import GammaCriterion, GammaResult
from RTPlanningLib.evaluation.goal_comparison import GoalComparison, compare_goals
from RTPlanningLib.evaluation.metric_comparison import compare_metrics
from RTPlanningLib.evaluation.plan_checks import CheckResult
from RTPlanningLib.evaluation.plan_sum import FIRST, UNION, CombinedDose
from RTPlanningLib.mrml.biological_dose_node import createBiologicalDose
from RTPlanningLib.mrml.combined_dose_node import (
    DosePart,
    createAccumulatedDose,
    createPlanSubtraction,
    createPlanSum,
)
from RTPlanningLib.mrml.derived_nodes import isDerivationCurrent
from RTPlanningLib.mrml.dose_difference_node import createDoseDifference
from RTPlanningLib.mrml.evaluated_state import (
    DOSE,
    GOALS,
    PLAN,
    STRUCTURES,
    comparedState,
    evaluatedState,
    isComparisonCurrent,
    isEvaluationCurrent,
    setEvaluatedState,
)
from RTPlanningLib.mrml.gamma_node import createGamma
from RTPlanningLib.mrml.plan_checks_node import createPlanChecksTable, planChecksTable, readPlanChecks
from RTPlanningLib.mrml.plan_comparison_nodes import (
    checkPlans,
    createDvhOverlay,
    createGoalComparisonTable,
    createMetricComparisonTable,
    dvhOverlay,
    goalComparisonTable,
    metricComparisonTable,
)
from RTPlanningLib.mrml.plan_evaluation import (
    PlanDvhs,
    planDvhs,
    planGoals,
    planStructure,
    planStructures,
    segmentationStructure,
)
from RTPlanningLib.mrml.radiobiology_node import (
    createEqd2Table,
    createRadiobiologyTable,
    eqd2Table,
    radiobiologyTable,
)
from RTPlanningLib.radiobiology.eqd2_metrics import Eqd2Row, eqd2_metrics
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.parameters import load_parameters
from RTPlanningLib.radiobiology.plan_radiobiology import RadiobiologyResult, evaluate_ntcp, evaluate_tcp
from RTPlanningLib.radiobiology.structure_matching import ROLES_WITHOUT_TISSUE
from RTPlanningLib.radiobiology.uncertainty import DEFAULT_SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DosePart", "EvaluationLogic", "PlanComparison"]


@dataclass(frozen=True)
class PlanComparison:
    """Plans side by side.

    Attributes
    ----------
    chartNode : vtkMRMLPlotChartNode
    tableNode : vtkMRMLTableNode or None
        None where no plan has a goal.
    dvhs : dict of plan name to PlanDvhs
        With what was left out, and why.
    goals : GoalComparison or None
    metricsNode : vtkMRMLTableNode
        Metrics of the structures shown, with their differences.
    """

    chartNode: object
    tableNode: object | None
    dvhs: dict[str, PlanDvhs]
    goals: GoalComparison | None
    metricsNode: object

    def files(self) -> dict[str, str]:
        """Return file names and their contents: the DVHs and the goals as CSV and JSON."""
        dvhs = {plan: ofPlan.dvhs for plan, ofPlan in self.dvhs.items()}
        files = {
            "plans_dvh.csv": dvh_comparison_csv(dvhs),
            "plans_dvh.json": dvh_comparison_json(dvhs, {plan: ofPlan.notes for plan, ofPlan in self.dvhs.items()}),
        }
        if self.goals is not None:
            files |= {"plans_goals.csv": self.goals.to_csv(), "plans_goals.json": self.goals.to_json()}
        return files


class EvaluationLogic:
    """Evaluation on nodes of one scene.

    Parameters
    ----------
    scene : vtkMRMLScene

    Attributes
    ----------
    background : Background
        Runs the pure work; a panel sets it so that its events turn meanwhile.
    """

    def __init__(self, scene) -> None:
        self.scene = scene
        self.background: Background = at_once

    # Biology

    def createEqd2(
        self,
        planNode,
        alpha_beta_Gy: Mapping[str, float] | None = None,
        *,
        elsewhere_Gy: float,
        overlap: str = "first",
        progress: Progress | None = None,
    ):
        """Put a plan's EQD2 into the scene as a dose volume; see `createBiologicalDose` for the parameters."""
        self._check(planNode)
        return createBiologicalDose(
            planNode,
            "EQD2",
            alpha_beta_Gy,
            elsewhere_Gy=elsewhere_Gy,
            overlap=overlap,
            progress=progress,
            background=self.background,
        )

    def createBed(
        self,
        planNode,
        alpha_beta_Gy: Mapping[str, float] | None = None,
        *,
        elsewhere_Gy: float,
        overlap: str = "first",
        progress: Progress | None = None,
    ):
        """Put a plan's BED into the scene as a dose volume; see `createBiologicalDose` for the parameters."""
        self._check(planNode)
        return createBiologicalDose(
            planNode,
            "BED",
            alpha_beta_Gy,
            elsewhere_Gy=elsewhere_Gy,
            overlap=overlap,
            progress=progress,
            background=self.background,
        )

    def evaluateRadiobiology(
        self,
        planNode,
        *,
        ntcpSets: Mapping[str, str] | None = None,
        tcpSets: Mapping[str, str] | None = None,
        fractionation: Fractionation | None = None,
        dose_terms: str = "as published",
        samples: int = DEFAULT_SAMPLES,
        dvhs: Mapping[str, Dvh] | None = None,
        progress: Progress | None = None,
    ) -> list[RadiobiologyResult]:
        """Calculate NTCP and TCP with their bands and put the table ``<plan>_Radiobiology`` into the scene.

        Targets, the body, and what supports it have no NTCP unless a set is chosen for them.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        ntcpSets : mapping of structure name to the identifier of an NTCP set, optional
            Instead of what the structure's name gives.
        tcpSets : mapping of structure name to the identifier of a TCP set, optional
            A name does not tell the tumour, so targets have a TCP only where it is given.
        fractionation : Fractionation, optional
            By default the plan's fractions, one a day. Models with proliferation need the overall time.
        dose_terms : {"as published", "physical", "EQD2"}
        samples : int
            Of the bands.
        dvhs : mapping of structure name to Dvh, optional
            Of the present dose; else they are calculated.
        progress : callable, optional

        Raises
        ------
        PlanError
            No dose, a plan changed since, or one without a prescription.
        EvaluationError
            An unknown set or structure, or a fractionation of another number of fractions than the plan's.
        """
        self._check(planNode)
        report = part(progress, 0.0, 1.0)
        state = evaluatedState(planNode, (PLAN, DOSE, STRUCTURES))
        if dvhs is None:
            ofPlan = planDvhs(planNode, progress=part(report, 0.0, 0.4), background=self.background)
        else:
            ofPlan = PlanDvhs(dvhs, {})
        plan = deliveredPlan(planNode)
        if plan.prescription is None:
            raise PlanError(
                f"Plan {planNode.GetName()} has no prescription, so its dose a fraction is not known; prescribe first."
            )
        course = fractionation or Fractionation(plan.fractions)
        if course.fractions != plan.fractions:
            raise EvaluationError(
                f"The fractionation has {course.fractions} fractions, plan {planNode.GetName()} {plan.fractions}; "
                "change one."
            )
        table, tumours = load_parameters(), dict(tcpSets or {})
        unknown = sorted(set(tumours) - set(ofPlan.dvhs))
        if unknown:
            reasons = " ".join(ofPlan.left_out[name] for name in unknown if name in ofPlan.left_out)
            raise EvaluationError(
                f"There is no DVH of {', '.join(unknown)}, for which a TCP set was chosen. {reasons}".rstrip()
            )
        tumourSets = {name: table.tcp_set(identifier) for name, identifier in tumours.items()}
        roles = {structure.name: structure.role for structure in planStructures(planNode)}
        asked = {n for n, role in roles.items() if role not in ROLES_WITHOUT_TISSUE} | set(ntcpSets or {})

        def evaluate(told: Progress) -> list[RadiobiologyResult]:
            results = evaluate_ntcp(
                {name: dvh for name, dvh in ofPlan.dvhs.items() if name in asked},
                course,
                plan.prescription.dose_Gy,
                chosen=ntcpSets,
                dose_terms=dose_terms,
                samples=samples,
                parameters=table,
                progress=part(told, 0.0, 0.8),
            )
            for name, entry in tumourSets.items():
                told(0.8, f"TCP of {name}")
                results.append(evaluate_tcp(ofPlan.dvhs[name], course, entry, samples=samples))
            return results

        results = self.background(evaluate, part(report, 0.4, 0.95))
        results += [
            RadiobiologyResult(name, "NTCP", "", "", "", None, None, None, "", None, None, note)
            for name, note in ofPlan.left_out.items()
            if name in asked
        ]
        # the last call that can cancel: from here on the scene changes
        report(1.0, "Radiobiology ready")
        self._check(planNode)
        createRadiobiologyTable(planNode, results, state)
        return results

    def evaluateEqd2(
        self,
        planNode,
        alpha_beta_Gy: Mapping[str, float] | None = None,
        *,
        elsewhere_Gy: float,
        dvhs: Mapping[str, Dvh] | None = None,
        progress: Progress | None = None,
    ) -> list[Eqd2Row]:
        """Calculate the EQD2 of a plan's structures and put the table ``<plan>_EQD2Metrics`` into the scene.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        alpha_beta_Gy : mapping of structure name to float, optional
            Instead of what their names give.
        elsewhere_Gy : float
            Of structures whose tissue is not known by name.
        dvhs : mapping of structure name to Dvh, optional
            Of the present dose; else they are calculated.
        progress : callable, optional

        Raises
        ------
        PlanError
            No dose, or a plan changed since.
        EvaluationError
            An alpha/beta that is none, or of a structure that is not there.
        """
        self._check(planNode)
        report = part(progress, 0.0, 1.0)
        state = evaluatedState(planNode, (PLAN, DOSE, STRUCTURES))
        if dvhs is None:
            dvhs = planDvhs(planNode, progress=part(report, 0.0, 0.7), background=self.background).dvhs
        course, found = Fractionation(deliveredPlan(planNode).fractions), dict(dvhs)

        def convert(told: Progress) -> list[Eqd2Row]:
            told(0.0, "EQD2 of the structures")
            return eqd2_metrics(found, course, elsewhere_Gy=elsewhere_Gy, alpha_beta_Gy=alpha_beta_Gy)

        rows = self.background(convert, part(report, 0.7, 1.0))
        self._check(planNode)
        createEqd2Table(planNode, rows, state)
        return rows

    def eqd2Table(self, planNode):
        """Return the plan's table of EQD2 by structure, or None."""
        return eqd2Table(planNode)

    def radiobiologyTable(self, planNode):
        """Return the plan's table of probabilities, or None."""
        return radiobiologyTable(planNode)

    # Comparison of doses

    def createDoseDifference(
        self,
        referenceNode,
        evaluatedNode,
        kind: str = "absolute",
        *,
        normalization: str | float = "maximum",
        threshold_Gy: float = 0.0,
        structureName: str | None = None,
        segmentationNode=None,
        limit: float | None = None,
        progress: Progress | None = None,
    ) -> tuple[object, DoseDifference]:
        """Put the difference of two doses into the scene; see `RTPlanningLib.mrml.dose_difference_node`.

        ``structureName`` is one of ``segmentationNode``, by default of the reference plan's, or of the evaluated plan's
        where the reference is no plan.
        """
        self._check(referenceNode, evaluatedNode)
        return createDoseDifference(
            referenceNode,
            evaluatedNode,
            kind,
            normalization=normalization,
            threshold_Gy=threshold_Gy,
            structure=_structure(structureName, segmentationNode, referenceNode, evaluatedNode),
            limit=limit,
            progress=progress,
            background=self.background,
        )

    def createGamma(
        self,
        referenceNode,
        evaluatedNode,
        criterion: GammaCriterion | None = None,
        *,
        structureName: str | None = None,
        segmentationNode=None,
        progress: Progress | None = None,
    ) -> tuple[object, GammaResult]:
        """Put the gamma of two doses into the scene; see `RTPlanningLib.mrml.gamma_node`.

        ``structureName`` is one of ``segmentationNode``, by default of the reference plan's, or of the evaluated plan's
        where the reference is no plan.
        """
        self._check(referenceNode, evaluatedNode)
        return createGamma(
            referenceNode,
            evaluatedNode,
            criterion,
            structure=_structure(structureName, segmentationNode, referenceNode, evaluatedNode),
            progress=progress,
            background=self.background,
        )

    # Combination of doses

    def createPlanSum(
        self,
        parts: Sequence[DosePart],
        grid: str = UNION,
        *,
        name: str = "Plan sum",
        allow_mixed_media: bool = False,
        progress: Progress | None = None,
    ) -> tuple[object, CombinedDose]:
        """Put the sum of doses into the scene; see `RTPlanningLib.mrml.combined_dose_node.createPlanSum`."""
        self._check(*(p.node for p in parts))
        return createPlanSum(parts, grid, name=name, allow_mixed_media=allow_mixed_media, progress=progress)

    def createPlanSubtraction(
        self,
        minuend: DosePart,
        subtrahend: DosePart,
        grid: str = FIRST,
        *,
        allow_mixed_media: bool = False,
        limit_Gy: float | None = None,
        progress: Progress | None = None,
    ) -> tuple[object, CombinedDose]:
        """Put one dose minus another into the scene; see `combined_dose_node.createPlanSubtraction`."""
        self._check(minuend.node, subtrahend.node)
        return createPlanSubtraction(
            minuend, subtrahend, grid, allow_mixed_media=allow_mixed_media, limit_Gy=limit_Gy, progress=progress
        )

    def createAccumulatedDose(
        self,
        parts: Sequence[DosePart],
        commonNode=None,
        *,
        name: str = "Accumulated dose",
        allow_folding: bool = False,
        allow_mixed_media: bool = False,
        progress: Progress | None = None,
    ) -> tuple[object, CombinedDose]:
        """Put the dose of fractions, each through its transform, into the scene; see `combined_dose_node`."""
        self._check(*(p.node for p in parts))
        return createAccumulatedDose(
            parts,
            commonNode,
            name=name,
            allow_folding=allow_folding,
            allow_mixed_media=allow_mixed_media,
            progress=progress,
        )

    # Comparison of plans

    def comparePlans(
        self,
        planNodes: Sequence,
        structureNames: Sequence[str] | None = None,
        goals: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PlanComparison:
        """Put the DVHs of plans into one chart and their goals side by side into one table.

        Parameters
        ----------
        planNodes : sequence of plan nodes
            Two to five, each with a current dose; values are compared with the first's.
        structureNames : sequence of str, optional
            What the chart shows; each plan has to have them. By default every structure of each plan.
        goals : sequence of str, optional
            Judged for every plan; by default those stored with each.
        progress : callable, optional

        Raises
        ------
        PlanError
            A plan without a dose, or changed since.
        EvaluationError
            Too few or too many plans, a structure or a goal that cannot be read.
        """
        planNodes = list(planNodes)
        self._check(*planNodes)
        checkPlans(planNodes)
        report = part(progress, 0.0, 1.0)
        state = comparedState(planNodes)
        dvhs: dict[str, PlanDvhs] = {}
        shown: list[Mapping[str, Dvh]] = []
        judged = {}
        for number, node in enumerate(planNodes):
            share = part(report, number / len(planNodes), (number + 1) / len(planNodes))
            all_dvhs = planDvhs(node, progress=part(share, 0.0, 0.8), background=self.background)
            missing = [name for name in structureNames or () if name not in all_dvhs.dvhs]
            if missing:
                reasons = " ".join(all_dvhs.left_out[name] for name in missing if name in all_dvhs.left_out)
                raise EvaluationError(f"Plan {node.GetName()} has no DVH of {', '.join(missing)}. {reasons}".rstrip())
            dvhs[node.GetName()] = all_dvhs
            shown.append(
                all_dvhs.dvhs if structureNames is None else {name: all_dvhs.dvhs[name] for name in structureNames}
            )
            judged[node.GetName()] = planGoals(node, goals, all_dvhs, part(share, 0.8, 1.0), self.background)
        comparison = compare_goals(judged) if any(judged.values()) else None
        # the last call that can cancel: from here on the scene changes
        report(1.0, "Comparison ready")
        self._check(*planNodes)
        chart = createDvhOverlay(planNodes, shown)
        table = None
        if comparison is not None:
            notes = {plan: [f"{name}: {note}" for name, note in ofPlan.notes.items()] for plan, ofPlan in dvhs.items()}
            table = createGoalComparisonTable(planNodes, comparison, notes)
        rows = compare_metrics({node.GetName(): ofPlan for node, ofPlan in zip(planNodes, shown, strict=True)})
        metrics = createMetricComparisonTable(planNodes, rows)
        for node in (chart, table, metrics):
            if node is not None:
                setEvaluatedState(node, state)
        return PlanComparison(chart, table, dvhs, comparison, metrics)

    def comparisonNodes(self, planNodes: Sequence) -> tuple[object | None, object | None, object | None]:
        """Return chart, goals table and metrics table of `comparePlans`, those that still stand for these plans."""
        self._check(*planNodes)
        nodes = (dvhOverlay(planNodes), goalComparisonTable(planNodes), metricComparisonTable(planNodes))
        return tuple(node if isComparisonCurrent(node, planNodes) else None for node in nodes)

    # Checks

    def checkPlan(
        self,
        planNode,
        missing: Sequence[str] = (),
        calibration: CalibrationCurve | None = None,
        progress: Progress | None = None,
    ) -> tuple[object, list[CheckResult]]:
        """Check a plan before sign-off and put the table ``<plan>_Checks`` into the scene.

        The plan may have no dose yet, or be changed since: checks of the dose then say so.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        missing, calibration
            See `RTPlanningLib.mrml.plan_checks_node.checkPlanNode`.
        progress : callable, optional

        Returns
        -------
        tableNode : vtkMRMLTableNode
        results : list of CheckResult
        """
        self._check(planNode)
        state = evaluatedState(planNode, (PLAN, DOSE, STRUCTURES, GOALS))
        results = self.background(readPlanChecks(planNode, missing, calibration), progress)
        self._check(planNode)
        return createPlanChecksTable(planNode, results, state), results

    def checksTable(self, planNode):
        """Return the plan's table of checks, or None."""
        return planChecksTable(planNode)

    # State

    def isCurrent(self, node) -> bool:
        """Tell whether a volume, chart or table of this logic still stands for the doses it was calculated from.

        It does not where a dose was calculated again and differs, a transform was moved, or one of them is gone.
        """
        self._check(node)
        return isDerivationCurrent(node)

    def isEvaluationCurrent(self, node, planNode) -> bool:
        """Tell whether a table of DVH metrics, goals, checks or probabilities still stands for its plan.

        It does not where the plan, its dose, the structures or, for goals and checks, the goals were changed since.
        """
        self._check(planNode)
        return isEvaluationCurrent(node, planNode)

    # Pictures

    def drawComparison(self, volumeNode, planNode=None, point_RAS_mm: Sequence[float] | None = None) -> Figure:
        """Draw a difference or gamma volume over the CT, with a colour bar; see `mrml.comparison_picture`.

        Raises
        ------
        EvaluationError
            A volume that holds no comparison, or no plan whose CT it could be drawn on.
        """
        # needs matplotlib, which the desktop has only once it was asked for
        from RTPlanningLib.mrml.comparison_picture import drawComparison

        self._check(volumeNode, *([] if planNode is None else [planNode]))
        return drawComparison(volumeNode, planNode, point_RAS_mm)

    def _check(self, *nodes) -> None:
        for node in nodes:
            if node is None:
                raise EvaluationError("There is no dose to evaluate; choose a plan or a dose volume.")
            if node.GetScene() is not self.scene:
                raise EvaluationError(f"{node.GetName()} is not in this scene; load it, or choose another.")


def _structure(name: str | None, segmentationNode, *nodes) -> Structure | None:
    if name is None:
        return None
    if segmentationNode is not None:
        return segmentationStructure(segmentationNode, name)
    for node in nodes:
        if isPlanNode(node):
            return planStructure(node, name)
    raise EvaluationError(
        f"Neither dose is a plan's, so there is no structure {name} to judge in; choose a segmentation or a plan."
    )
