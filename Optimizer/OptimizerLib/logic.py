"""The optimizer's logic: from a plan node to the same plan with better beam weights, or with optimized fluence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from DoseEngineLib.background import Background
from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.errors import PlanError
from DoseEngineLib.influence import DoseInfluence
from DoseEngineLib.logic import DoseEngineLogic
from DoseEngineLib.mrml.patient_nodes import readPatient
from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, planFromNode, referencedNode, setPlan
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import gridFromVolume
from DoseEngineLib.progress import Progress, part
from OptimizerLib.beam_weights import optimize_beam_weights
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings, fluence_influence, plan_fluence
from OptimizerLib.mrml.fluence_nodes import optimizedFluence, setOptimizedFluence
from OptimizerLib.mrml.objective_history_nodes import createObjectiveHistoryNodes
from OptimizerLib.mrml.plan_dose import doseResultFromNode
from OptimizerLib.objectives import Objective
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.solvers import IterationState, Solution


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
        calibration : CalibrationCurve, optional

        Raises
        ------
        OptimizationError
            No structures, rows that do not fit them, or the delivery "ideal", which is no plan.
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
            setPlan(planNode, former)
            raise
        setOptimizedFluence(planNode, OptimizedFluence.of(found, tuple(targets)))
        createObjectiveHistoryNodes(planNode, found.term_names, found.history)
        return found

    def optimizedFluence(self, planNode) -> OptimizedFluence | None:
        """Return the fluence that was optimized for a plan, or None."""
        return optimizedFluence(planNode)

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
