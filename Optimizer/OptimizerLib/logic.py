"""The optimizer's logic: from a plan node with a dose to the same plan with better beam weights."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.logic import DoseEngineLogic
from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, planFromNode, referencedNode, setPlan
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import gridFromVolume
from DoseEngineLib.progress import Progress, part
from OptimizerLib.beam_weights import optimize_beam_weights
from OptimizerLib.mrml.plan_dose import doseResultFromNode
from OptimizerLib.objectives import Objective
from OptimizerLib.solvers import Solution


class OptimizerLogic:
    """Optimizes plan nodes.

    Parameters
    ----------
    scene : vtkMRMLScene
    """

    def __init__(self, scene) -> None:
        self.scene = scene

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
        solution = optimize_beam_weights(result, structures, objectives, part(progress, 0.0, 0.3))
        metersets = [beam.meterset_MU * w for beam, w in zip(result.plan.beams, solution.weights, strict=True)]
        setPlan(planNode, result.plan.with_metersets(metersets))
        try:
            DoseEngineLogic(self.scene).calculateDose(planNode, part(progress, 0.3, 1.0), calibration=calibration)
        except BaseException:
            setPlan(planNode, former)
            raise
        return solution
