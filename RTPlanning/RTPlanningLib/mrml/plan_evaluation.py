"""A plan node read for evaluation: its dose, structures, DVHs and goals; nothing is added to the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.errors import EvaluationError, PlanError
from DoseEngineLib.isodose_volume import IsodoseVolumes
from DoseEngineLib.mrml.plan_node import (
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    goalsOf,
    isDoseCurrent,
    planFromNode,
    referencedNode,
)
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import GoalResult, evaluate_goals, parse_goal


@dataclass(frozen=True)
class PlanDvhs:
    """DVHs of a plan's structures, and what was left out.

    Attributes
    ----------
    dvhs : mapping of structure name to Dvh
    left_out : mapping of structure name to str
        Why a structure has no DVH: it is empty, or lies outside the dose grid.
    """

    dvhs: Mapping[str, Dvh]
    left_out: Mapping[str, str]

    @property
    def notes(self) -> dict[str, str]:
        """What a reader of the DVHs has to know, by structure: left out, or only partly inside the dose grid."""
        partly = {
            name: f"Only {dvh.covered_percent_text} % of the structure lie inside the dose grid; its doses and "
            "volumes are those of that part."
            for name, dvh in self.dvhs.items()
            if dvh.covered_fraction < 1.0
        }
        return {**partly, **self.left_out}


def currentDose(planNode):
    """Return the plan's dose volume node; `PlanError` when there is none or the plan was changed since."""
    doseNode = referencedNode(planNode, DOSE, "dose")
    if not isDoseCurrent(planNode):
        raise PlanError(
            f"Plan {planNode.GetName()} was changed after its dose was calculated; calculate the dose again."
        )
    return doseNode


def planStructures(planNode) -> tuple[Structure, ...]:
    """Return the plan's structures on the grid of its CT."""
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
    return structuresFromSegmentation(segmentationNode, gridFromVolume(volumeNode))


def planStructure(planNode, name: str) -> Structure:
    """Return one structure of a plan by name; an unknown one raises `EvaluationError`, which lists those there are."""
    return _named(planStructures(planNode), name, "plan")


def segmentationStructure(segmentationNode, name: str) -> Structure:
    """Return one structure of a segmentation by name, on the grid of the image it was drawn on.

    Raises
    ------
    EvaluationError
        An unknown name, or a segmentation that does not say which image it was drawn on.
    """
    volumeNode = segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
    if volumeNode is None:
        raise EvaluationError(
            f"{segmentationNode.GetName()} does not say which image it was drawn on; set its source geometry to "
            "a volume."
        )
    return _named(structuresFromSegmentation(segmentationNode, gridFromVolume(volumeNode)), name, "segmentation")


def planDvhs(planNode, structureNames: Sequence[str] | None = None, progress: Progress | None = None) -> PlanDvhs:
    """Calculate the DVHs of a plan's structures.

    Without names, structures that are empty or lie wholly outside the dose grid are left out, with the reason. One
    that reaches out of it is evaluated where it is covered, and its `Dvh.covered_fraction` says so.

    Raises
    ------
    PlanError
        No dose, no segmentation, or a plan changed after its dose was calculated.
    EvaluationError
        A named structure that does not exist or cannot be evaluated, or no structure to evaluate at all.
    """
    doseNode = currentDose(planNode)
    structures = planStructures(planNode)
    if structureNames is not None:
        known = {structure.name: structure for structure in structures}
        unknown = [name for name in structureNames if name not in known]
        if unknown:
            raise EvaluationError(f"There is no structure {', '.join(unknown)}; the plan has: {', '.join(known)}.")
        structures = tuple(known[name] for name in structureNames)
    dose, grid, report = arrayFromVolume(doseNode), gridFromVolume(doseNode), part(progress, 0.0, 1.0)
    dvhs: dict[str, Dvh] = {}
    left_out: dict[str, str] = {}
    for number, structure in enumerate(structures):
        report(number / len(structures), f"DVH of {structure.name}")
        try:
            dvhs[structure.name] = calculate_dvh(dose, grid, structure, allow_partial=True)
        except EvaluationError as error:
            if structureNames is not None:
                raise
            left_out[structure.name] = f"Not evaluated: {error}"
    if not dvhs:
        reasons = "".join(f" {reason}" for reason in left_out.values())
        raise EvaluationError(
            f"Plan {planNode.GetName()} has no structure inside its dose grid to evaluate; contour one.{reasons}"
        )
    report(1.0, "DVHs ready")
    return PlanDvhs(dvhs, left_out)


def planGoals(planNode, goals: Sequence[str] | None = None, dvhs: PlanDvhs | None = None) -> list[GoalResult]:
    """Judge clinical goals, by default those stored with the plan.

    A goal of a structure without a DVH says why there is none.
    """
    asked = [parse_goal(goal) for goal in (goalsOf(planNode) if goals is None else goals)]
    doseNode = currentDose(planNode)
    if dvhs is None:
        dvhs = planDvhs(planNode) if asked else PlanDvhs({}, {})
    prescription = planFromNode(planNode).prescription
    body = _isodoseVolumes(planNode, doseNode) if any(goal.metric.needs_body for goal in asked) else None
    results = evaluate_goals(asked, dvhs.dvhs, prescription.dose_Gy if prescription else None, body)
    return [
        replace(result, note=dvhs.left_out[result.goal.structure])
        if result.value is None and result.goal.structure in dvhs.left_out
        else result
        for result in results
    ]


def _named(structures: Sequence[Structure], name: str, owner: str) -> Structure:
    known = {structure.name: structure for structure in structures}
    if name not in known:
        raise EvaluationError(f"There is no structure {name}; the {owner} has: {', '.join(known) or 'none'}.")
    return known[name]


def _isodoseVolumes(planNode, doseNode) -> IsodoseVolumes:
    external = [structure for structure in planStructures(planNode) if structure.role == "EXTERNAL"]
    body = external[0] if len(external) == 1 else None
    return IsodoseVolumes(arrayFromVolume(doseNode), gridFromVolume(doseNode), body)
