"""A plan's dose as its engine gave it, read from the nodes it was stored in."""

from __future__ import annotations

from DoseEngineLib.engine import DoseResult
from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.dose_volume import DOSE_TO, provenanceOf
from DoseEngineLib.mrml.plan_node import BEAM_DOSE, beamNode, deliveredPlan
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from RTPlanningLib.mrml.plan_evaluation import currentDose


def planDoseResult(planNode, *, withBeams: bool = False) -> DoseResult:
    """Return the current dose of a plan, with copies of its voxels and the plan as delivered.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    withBeams : bool
        The doses of the beams too.

    Raises
    ------
    PlanError
        No dose, a plan changed since, or a beam's dose that is gone.
    """
    doseNode = currentDose(planNode)
    plan = deliveredPlan(planNode)
    beamDoses = {}
    for beam in plan.beams if withBeams else ():
        node = beamNode(planNode, BEAM_DOSE, beam.name)
        if node is None:
            raise PlanError(f"There is no dose of beam {beam.name}; calculate the plan's dose again.")
        beamDoses[beam.name] = arrayFromVolume(node)
    return DoseResult(
        arrayFromVolume(doseNode),
        gridFromVolume(doseNode),
        beamDoses,
        plan,
        doseNode.GetAttribute(DOSE_TO) or "water",
        None,
        provenanceOf(doseNode),
    )
