"""The optimizer's logic: from a plan node with a dose to the same plan with better beam weights."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.engine import DoseResult
from DoseEngineLib.logic import DoseEngineLogic
from DoseEngineLib.mrml.plan_node import (
    BEAM_DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    beamNode,
    deliveredPlan,
    isDoseCurrent,
    planFromNode,
    referencedNode,
    setPlan,
)
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.progress import Progress, part
from OptimizerLib.beam_weights import optimize_beam_weights
from OptimizerLib.errors import OptimizationError
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
        result = self._currentResult(planNode)
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

    def _currentResult(self, planNode) -> DoseResult:
        """The plan's dose with its beams, read back from the scene."""
        if not isDoseCurrent(planNode):
            raise OptimizationError(
                f"Plan {planNode.GetName()} has no dose, or was changed since; calculate the dose, then optimize."
            )
        plan = deliveredPlan(planNode)
        doses, grid = {}, None
        for beam in plan.beams:
            node = beamNode(planNode, BEAM_DOSE, beam.name)
            if node is None:
                raise OptimizationError(
                    f"Plan {planNode.GetName()}: the dose of beam {beam.name} is not in the scene; calculate the dose "
                    "again."
                )
            beamGrid = gridFromVolume(node)
            if grid is not None and not grid.is_same_as(beamGrid):
                raise OptimizationError(
                    f"Plan {planNode.GetName()}: the beams' doses lie on different grids; calculate the dose again."
                )
            grid, doses[beam.name] = beamGrid, arrayFromVolume(node)
        return DoseResult(sum(doses.values()), grid, doses, plan)
