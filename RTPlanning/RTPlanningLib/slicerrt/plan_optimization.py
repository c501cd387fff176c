"""Fluence of a SlicerRT plan's beams, optimized by our optimizer on the dose influence that our engine gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.mrml.plan_node import createPlanNode, isPlanNode, setPlan
from DoseEngineLib.patient import Patient
from DoseEngineLib.progress import Progress
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings, plan_fluence
from OptimizerLib.mrml.fluence_nodes import setOptimizedFluence
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.planning_goals import PlanningGoals
from RTPlanningLib.mrml.slicerrt_conversion import planOfSlicerRt
from RTPlanningLib.mrml.slicerrt_nodes import readObjective, referencedSegmentation, referencedVolume
from RTPlanningLib.slicerrt.beam_doses import dosesInGy, writeDose
from RTPlanningLib.slicerrt.beam_influence import planInfluence, targetNames
from RTPlanningLib.slicerrt.calculation_grid import CalculationGrid
from RTPlanningLib.slicerrt.objectives_table import objective_row, without_overlaps
from RTPlanningLib.slicerrt.patient_of_plan import patientData

FLUENCE_PLAN = "RTPlanning.fluencePlanRef"


def optimizePlan(rtPlanNode, objectiveNodes: Sequence, doseNode, progress: Progress | None = None) -> FluencePlan:
    """Optimize a plan's fluence and write its dose into a volume, on the grid of the plan's reference volume.

    The dose is that of the ideal fluence in Gy of the course: SlicerRT's beams are static and cannot hold fluence or
    segments. The fluence is kept with a plan node of ours, which the SlicerRT plan refers to (`FLUENCE_PLAN`); leaves
    and the dose that they deliver are found from there in the Optimizer module.

    Parameters
    ----------
    rtPlanNode : vtkMRMLRTPlanNode
        Its beams have dose influences of ours.
    objectiveNodes : sequence of vtkMRMLRTObjectiveNode
    doseNode : vtkMRMLScalarVolumeNode
    progress : callable, optional

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong with objectives, plan or dose influences. Nothing was changed then.
    """
    found = planOfSlicerRt(rtPlanNode)
    targets = targetNames(rtPlanNode, found.values)
    lines = [readObjective(node) for node in objectiveNodes]
    if not lines:
        raise OptimizationError("There are no objectives; add some to the table of objectives, one for each structure.")
    goals = PlanningGoals(tuple(objective_row(line, targets[0]) for line in lines))
    patient = patientData(rtPlanNode).patient()
    influence, plan = planInfluence(rtPlanNode, found.plan, patient)
    seen = _seenByObjectives(patient, lines)
    grid = CalculationGrid.of(patient, found.values.dose_grid_spacing_mm)
    if not influence.grid.is_same_as(grid.body):
        raise OptimizationError(
            "The dose grid spacing of the plan was changed since its dose influence was calculated; calculate it again."
        )
    settings = FluenceSettings(delivery="ideal", bixel_mm=influence.beams[0].width_mm)
    result = plan_fluence(seen, plan, goals, settings, targets=targets, influence=influence, progress=progress)
    dosesInGy(rtPlanNode)
    weights = result.solution.weights
    provenance = {
        **influence.provenance,
        "dose_of": "ideal fluence; leaves deliver it with some loss",
        "objectives": goals.to_entries(),
        "objective_at_start": result.history[0].value if result.history else None,
        "objective": result.solution.value,
        "search": result.solution.message,
        "notes": list(result.notes),
        "grid_of_the_volume_kji": list(grid.reference.shape),
    }
    writeDose(doseNode, influence.dose(weights), grid, provenance, "water", f"The dose of {plan.name}")
    _keepFluence(rtPlanNode, plan, OptimizedFluence.of(result, targets))
    return result


def _seenByObjectives(patient: Patient, lines: Sequence) -> Patient:
    return replace(patient, structures=without_overlaps(patient.structures, lines))


def _keepFluence(rtPlanNode, plan, fluence: OptimizedFluence) -> None:
    planNode = rtPlanNode.GetNodeReference(FLUENCE_PLAN)
    plan = replace(plan, name=f"{plan.name} optimized")
    if isPlanNode(planNode):
        try:
            setPlan(planNode, plan)
        except SchemaError:
            # of a newer version: it stays, and gets a neighbour
            planNode = None
    if not isPlanNode(planNode):
        planNode = createPlanNode(
            rtPlanNode.GetScene(), plan, referencedVolume(rtPlanNode), referencedSegmentation(rtPlanNode)
        )
        rtPlanNode.SetNodeReferenceID(FLUENCE_PLAN, planNode.GetID())
    setOptimizedFluence(planNode, fluence)
