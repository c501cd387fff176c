"""The optimizer's logic: from a plan node to the same plan with better beam weights, or with optimized fluence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from DoseEngineLib.background import Background
from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.dvh import Dvh, calculate_dvh
from DoseEngineLib.errors import EvaluationError, PlanError
from DoseEngineLib.influence import DoseInfluence
from DoseEngineLib.logic import DoseEngineLogic
from DoseEngineLib.mrml.patient_nodes import readPatient
from DoseEngineLib.mrml.plan_node import (
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    deliveredPlan,
    planFromNode,
    referencedNode,
    setPlan,
)
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from OptimizerLib.beam_weights import optimize_beam_weights
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings, fluence_influence, plan_fluence
from OptimizerLib.influence_estimate import InfluenceEstimate, estimate_influence
from OptimizerLib.mrml.fluence_nodes import optimizedFluence, setOptimizedFluence
from OptimizerLib.mrml.objective_history_nodes import createObjectiveHistoryNodes
from OptimizerLib.mrml.optimization_result_nodes import createOptimizationResultNodes
from OptimizerLib.mrml.plan_dose import doseResultFromNode
from OptimizerLib.mrml.segment_colors import segmentColors
from OptimizerLib.objectives import Objective
from OptimizerLib.objectives_reached import RowOutcome, row_outcomes
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.pareto_planning import goal_groups, plan_pareto
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.solvers import IterationState, Solution
from OptimizerLib.voxel_dvh import problem_doses_Gy, voxel_dvh


class OptimizerLogic:
    """Optimizes plan nodes.

    Parameters
    ----------
    scene : vtkMRMLScene
    doseEngineLogic : DoseEngineLogic, optional
        Calculates the doses; by default one of its own.
    """

    def __init__(self, scene, doseEngineLogic: DoseEngineLogic | None = None) -> None:
        self.scene = scene
        self.doseEngineLogic = doseEngineLogic or DoseEngineLogic(scene)
        self._influence: tuple[object, DoseInfluence] | None = None

    @property
    def background(self) -> Background:
        """Runs the pure work of this logic and of its dose engine's; a panel sets it."""
        return self.doseEngineLogic.background

    @background.setter
    def background(self, background: Background) -> None:
        self.doseEngineLogic.background = background

    def optimizeBeamWeights(
        self,
        planNode,
        objectives: Sequence[Objective],
        progress: Progress | None = None,
        *,
        calibration: CalibrationCurve | None = None,
    ) -> Solution:
        """Find the MU of a plan's beams that meet the objectives best, store them in the plan and calculate its dose.

        The plan then has MU of its own: they stand as optimized and are not scaled to the prescription. When the work
        fails or is cancelled, plan and doses stay as they were.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
            A plan with a current dose.
        objectives : sequence of Objective
            They name segments of the plan's segmentation.
        progress : callable, optional
            ``progress(fraction, text)``; it may raise `Cancelled`.
        calibration : CalibrationCurve, optional
            As given to `DoseEngineLogic.calculateDose`; the doses before and after must share it.

        Returns
        -------
        Solution
            ``weights`` are the factors to the former MU, beam by beam.

        Raises
        ------
        OptimizationError
            No current dose, or objectives that do not fit the structures.
        PlanningError
            What the dose calculation raises.
        """
        former = planFromNode(planNode)
        result = doseResultFromNode(planNode)
        volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
        structures = structuresFromSegmentation(segmentationNode, gridFromVolume(volumeNode))
        solution = self.background(
            lambda report: optimize_beam_weights(result, structures, objectives, report), part(progress, 0.0, 0.3)
        )
        metersets = [beam.meterset_MU * w for beam, w in zip(result.plan.beams, solution.weights, strict=True)]
        setPlan(planNode, result.plan.with_metersets(metersets))
        try:
            self.doseEngineLogic.calculateDose(planNode, part(progress, 0.3, 1.0), calibration=calibration)
        except BaseException:
            # the plan is gone when the scene was closed meanwhile
            if planNode.GetScene() is not None:
                setPlan(planNode, former)
            raise
        return solution

    def optimizeFluence(
        self,
        planNode,
        goals: PlanningGoals,
        settings: FluenceSettings | None = None,
        progress: Progress | None = None,
        callback: Callable[[IterationState], None] | None = None,
        *,
        targets: Sequence[str] = (),
        start: OptimizedFluence | None = None,
        search: bool = True,
        mixtureOf: ParetoPlans | None = None,
        calibration: CalibrationCurve | None = None,
    ) -> FluencePlan:
        """Optimize the fluence of a plan's beams, make it deliverable and calculate the dose with the plan's engine.

        The plan's beams get control points. Where the prescription says how to scale, the dose is scaled to it, else
        the MU stand as optimized. The fluence stays with the plan node (`optimizedFluence`), as images of its beams and
        with the history of its objectives as table and chart. When the work fails or is cancelled, plan and scene stay
        as they were.

        The dose influence of the last plan is kept: with other objectives of the same structures, the next call goes
        straight to the search.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
            With CT and structures; directions, isocentres and machines of its beams count.
        goals : PlanningGoals
        settings : FluenceSettings, optional
        progress : callable, optional
            ``progress(fraction, text)``; it may raise `Cancelled`.
        callback : callable, optional
            Called with an `IterationState` each iteration, in the thread that searches; its ``stop()`` ends the search,
            leaves and dose follow.
        targets : sequence of str, optional
            Structures that bixels are laid around; by default the prescription's target and all PTVs of the rows.
        start : OptimizedFluence, optional
            Fluence to go on from, such as `optimizedFluence` returns.
        search : bool
            False takes the start as it is: leaves and dose follow at once.
        mixtureOf : ParetoPlans, optional
            Plans that the start was navigated to between: they must be of this patient, these beams and bixels.
        calibration : CalibrationCurve, optional

        Raises
        ------
        OptimizationError
            No structures, rows that do not fit them, the delivery "ideal", which is no plan, or Pareto plans of another
            patient, other beams or bixels.
        PlanningError
            What the dose calculation raises.
        """
        settings = settings or FluenceSettings()
        if settings.delivery == "ideal":
            raise OptimizationError(
                "Ideal fluence is no plan that leaves can deliver, so it has no dose to calculate; choose "
                "step_and_shoot or sliding_window."
            )
        former = planFromNode(planNode)
        volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
        part(progress, 0.0, 1.0)(0.0, "Reading CT and structures")
        makePatient = readPatient(volumeNode, segmentationNode, calibration)

        def find(report: Progress) -> FluencePlan:
            patient = makePatient()
            influence = self._influenceFor(patient, former, goals, settings, targets, part(report, 0.0, 0.25))
            if mixtureOf is not None:
                mixtureOf.check(influence)
            return plan_fluence(
                patient,
                former,
                goals,
                settings,
                targets=targets,
                influence=influence,
                start=None if start is None else start.start_for(influence),
                search=search,
                callback=callback,
                progress=part(report, 0.25, 1.0),
            )

        found = self.background(find, part(progress, 0.0, 0.8))
        setPlan(planNode, found.normalized_plan())
        try:
            self.doseEngineLogic.calculateDose(planNode, part(progress, 0.8, 1.0), calibration=calibration)
        except BaseException:
            # the plan is gone when the scene was closed meanwhile
            if planNode.GetScene() is not None:
                setPlan(planNode, former)
            raise
        setOptimizedFluence(planNode, OptimizedFluence.of(found, tuple(targets)))
        createObjectiveHistoryNodes(planNode, found.term_names, found.history)
        return found

    def optimizedFluence(self, planNode) -> OptimizedFluence | None:
        """Return the fluence that was optimized for a plan, or None."""
        return optimizedFluence(planNode)

    def estimateInfluence(
        self,
        planNode,
        goals: PlanningGoals,
        settings: FluenceSettings | None = None,
        progress: Progress | None = None,
        *,
        targets: Sequence[str] = (),
        calibration: CalibrationCurve | None = None,
    ) -> InfluenceEstimate:
        """Estimate the size of the dose influence that `optimizeFluence` would compute; parameters and errors as there.

        Only a sample of it is computed, and nothing in the scene changes.
        """
        plan, makePatient = self._readCase(planNode, calibration)
        return self.background(
            lambda report: estimate_influence(makePatient(), plan, goals, settings, targets, report), progress
        )

    def planPareto(
        self,
        planNode,
        goals: PlanningGoals,
        tradeOff: Sequence[Sequence[str]] = (),
        settings: FluenceSettings | None = None,
        progress: Progress | None = None,
        *,
        room: float = 4.0,
        gap: float = 0.05,
        maxPlans: int = 12,
        targets: Sequence[str] = (),
        previous: ParetoPlans | None = None,
        calibration: CalibrationCurve | None = None,
    ) -> ParetoPlans:
        """Compute plans for goals that compete, to navigate between; nothing in the scene changes.

        Where one of them leads to: give ``plans.fluence(navigator)`` to `optimizeFluence` as its start, with
        ``search=False`` and the goals ``plans.weighted_goals(shares)``.

        Parameters
        ----------
        planNode, goals, settings, progress, targets, calibration
            As `optimizeFluence`.
        tradeOff, room, gap, maxPlans, previous
            As `OptimizerLib.pareto_planning.plan_pareto`.

        Raises
        ------
        OptimizationError
            As `OptimizerLib.pareto_planning.plan_pareto`.
        """
        settings = settings or FluenceSettings()
        plan, makePatient = self._readCase(planNode, calibration)

        def compute(report: Progress) -> ParetoPlans:
            # before the long work
            groups = goal_groups(goals, tradeOff) if previous is None else previous.groups
            patient = makePatient()
            influence = self._influenceFor(patient, plan, goals, settings, targets, part(report, 0.0, 0.2))
            return plan_pareto(
                patient,
                plan,
                goals,
                groups,
                settings,
                room=room,
                gap=gap,
                max_plans=maxPlans,
                targets=targets,
                influence=influence,
                previous=previous,
                progress=part(report, 0.2, 1.0),
            )

        return self.background(compute, progress)

    def reportFluence(self, planNode, found: FluencePlan, before: Plan, progress: Progress | None = None) -> None:
        """Put what came of `optimizeFluence` into the scene: objectives reached, beams, DVHs, as tables and a chart.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        found : FluencePlan
            As `optimizeFluence` returned it.
        before : Plan
            With the MU before.
        progress : callable, optional
            When it raises `Cancelled`, there is no report.
        """
        delivered = self.deliveredDvhs(planNode, found.goals.structures, progress)
        plan = deliveredPlan(planNode)

        def judge(_report: Progress) -> tuple[dict[str, Dvh], tuple[RowOutcome, ...]]:
            ideal = {
                name: voxel_dvh(name, dose, volumes, delivered[name].volume_cm3)
                for name, (dose, volumes) in problem_doses_Gy(found.problem, found.solution.weights).items()
                if name in delivered
            }
            prescription_Gy = plan.prescription.dose_Gy if plan.prescription else None
            return ideal, row_outcomes(found.goals.rows, ideal, delivered, prescription_Gy, plan.fractions)

        ideal, outcomes = self.background(judge)
        colors = segmentColors(referencedNode(planNode, SEGMENTATION, "segmentation"))
        createOptimizationResultNodes(planNode, outcomes, before, plan, ideal, delivered, colors)

    def deliveredDvhs(self, planNode, structures: Sequence[str], progress: Progress | None = None) -> dict[str, Dvh]:
        """Calculate the DVHs of a plan's dose for structures by name, of the part that the dose grid covers.

        Structures that are not there, empty, or outside the dose grid are left out.

        Raises
        ------
        PlanError
            A plan without a dose.
        """
        doseNode = referencedNode(planNode, DOSE, "dose")
        volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
        found = structuresFromSegmentation(segmentationNode, gridFromVolume(volumeNode))
        dose, grid = arrayFromVolume(doseNode), gridFromVolume(doseNode)
        wanted = [structure for structure in found if structure.name in structures and not structure.is_empty]

        def calculate(report: Progress) -> dict[str, Dvh]:
            dvhs = {}
            for number, structure in enumerate(wanted):
                report(number / len(wanted), f"DVH of {structure.name}")
                try:
                    dvhs[structure.name] = calculate_dvh(dose, grid, structure, allow_partial=True)
                except EvaluationError as error:
                    report((number + 1) / len(wanted), str(error))
            return dvhs

        return self.background(calculate, progress)

    def _readCase(self, planNode, calibration: CalibrationCurve | None):
        """The plan, and what makes its patient without touching nodes."""
        plan = planFromNode(planNode)
        volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
        return plan, readPatient(volumeNode, segmentationNode, calibration)

    def _influenceFor(self, patient, plan, goals, settings, targets, progress: Progress) -> DoseInfluence:
        """The last influence where it still fits, else a new one."""
        # what bixels and voxels depend on beside patient and plan
        matters = ("bixel_mm", "target_margin_mm", "spacing_mm", "normal_tissue_every")
        key = (
            {name: getattr(settings, name) for name in matters},
            frozenset(goals.structures),
            tuple(targets),
            plan.prescription,
            plan.dose_grid_spacing_mm,
            [(s.name, s.role, hashlib.sha256(s.mask.tobytes()).digest()) for s in patient.structures],
        )
        if self._influence is not None and self._influence[0] == key:
            try:
                self._influence[1].check(patient, plan)
                return self._influence[1]
            except PlanError:
                # patient or beams changed: calculated anew below
                self._influence = None
        influence = fluence_influence(patient, plan, goals, settings, targets, progress)
        self._influence = (key, influence)
        return influence
