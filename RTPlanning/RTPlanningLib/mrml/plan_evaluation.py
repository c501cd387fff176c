"""A plan node read for evaluation: its dose, structures, DVHs and goals; nothing is added to the scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.errors import EvaluationError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.isodose_volume import IsodoseVolumes
from DoseEngineLib.mrml.plan_node import (
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    changedSinceDose,
    goalsOf,
    planFromNode,
    referencedNode,
)
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.dose_figures import DoseFigure, dose_figures
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import GoalResult, evaluate_goals, parse_goal
from RTPlanningLib.mrml.case_status_nodes import caseStamp
from RTPlanningLib.mrml.evaluated_state import DVH_PARTS, evaluatedState
from RTPlanningLib.mrml.segment_names import segmentNames

_LABELMAP = "Binary labelmap"
# Of an evaluation's progress, what reading the structures takes.
_READING = 0.2


@dataclass(frozen=True)
class PlanDvhs:
    """DVHs of a plan's structures, and what was left out.

    Attributes
    ----------
    dvhs : mapping of structure name to Dvh
    left_out : mapping of structure name to str
        Why a structure has no DVH: it is empty, or lies outside the dose grid.
    state : dict
        What they were calculated of; see `RTPlanningLib.mrml.evaluated_state`.
    """

    dvhs: Mapping[str, Dvh]
    left_out: Mapping[str, str]
    state: dict[str, str] = field(default_factory=dict)

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
    """Return the plan's dose volume node; `PlanError` when there is none, or it is of something else by now."""
    doseNode = referencedNode(planNode, DOSE, "dose")
    changed = changedSinceDose(planNode)
    if changed:
        raise PlanError(
            f"Plan {planNode.GetName()} was changed after its dose was calculated ({', '.join(changed)}); "
            "calculate the dose again."
        )
    return doseNode


def planStructures(planNode, progress: Progress | None = None) -> tuple[Structure, ...]:
    """Return the plan's structures on the grid of its CT; with ``progress`` one by one, events may turn in between.

    Raises
    ------
    PlanError
        No CT or segmentation, or structures that were changed meanwhile.
    PatientError, GeometryError
        Structures that cannot be read.
    """
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
    grid = gridFromVolume(volumeNode)
    # one that has surfaces alone is turned into masks as a whole
    if progress is None or not segmentationNode.GetSegmentation().ContainsRepresentation(_LABELMAP):
        return structuresFromSegmentation(segmentationNode, grid)
    names = [one.name for one in segmentNames(segmentationNode)]
    before, structures = caseStamp(volumeNode, segmentationNode), []
    for number, name in enumerate(names):
        progress(number / len(names), f"Reading {name}")
        structures += structuresFromSegmentation(segmentationNode, grid, [name])
    if caseStamp(volumeNode, segmentationNode) != before:
        raise PlanError(f"The structures of plan {planNode.GetName()} were changed while they were read; try again.")
    return tuple(structures)


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


def planDvhs(
    planNode,
    structureNames: Sequence[str] | None = None,
    progress: Progress | None = None,
    background: Background = at_once,
    structures: Sequence[Structure] | None = None,
) -> PlanDvhs:
    """Calculate the DVHs of a plan's structures; ``structures`` are those, where they were read already.

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
    # taken before anything is read: what is changed while the work runs, is not in its result
    state = evaluatedState(planNode, DVH_PARTS)
    if structures is None:
        structures = planStructures(planNode, part(progress, 0.0, _READING))
    named = structureNames is not None
    if named:
        known = {structure.name: structure for structure in structures}
        unknown = [name for name in structureNames if name not in known]
        if unknown:
            raise EvaluationError(f"There is no structure {', '.join(unknown)}; the plan has: {', '.join(known)}.")
        structures = tuple(known[name] for name in structureNames)
    dose, grid = arrayFromVolume(doseNode), gridFromVolume(doseNode)
    found = background(lambda report: _dvhs(dose, grid, structures, named, report), part(progress, _READING, 1.0))
    if not found.dvhs:
        reasons = "".join(f" {reason}" for reason in found.left_out.values())
        raise EvaluationError(
            f"Plan {planNode.GetName()} has no structure inside its dose grid to evaluate; contour one.{reasons}"
        )
    return replace(found, state=state)


def planGoals(
    planNode,
    goals: Sequence[str] | None = None,
    dvhs: PlanDvhs | None = None,
    progress: Progress | None = None,
    background: Background = at_once,
) -> list[GoalResult]:
    """Judge clinical goals, by default those stored with the plan.

    A goal of a structure without a DVH says why there is none.
    """
    asked = [parse_goal(goal) for goal in (goalsOf(planNode) if goals is None else goals)]
    doseNode = currentDose(planNode)
    if dvhs is None:
        dvhs = planDvhs(planNode, progress=part(progress, 0.0, 0.8), background=background) if asked else None
    dvhs = dvhs or PlanDvhs({}, {})
    prescription = planFromNode(planNode).prescription
    volumes = _isodoseVolumes(planNode, doseNode) if any(goal.metric.needs_body for goal in asked) else None

    def judge(report: Progress) -> list[GoalResult]:
        report(0.0, "Judging the goals")
        body = volumes() if volumes else None
        return evaluate_goals(asked, dvhs.dvhs, prescription.dose_Gy if prescription else None, body)

    results = background(judge, part(progress, 0.8, 1.0))
    return [
        replace(result, note=dvhs.left_out[result.goal.structure])
        if result.value is None and result.goal.structure in dvhs.left_out
        else result
        for result in results
    ]


def planDoseFigures(
    planNode,
    dvhs: Mapping[str, Dvh],
    progress: Progress | None = None,
    background: Background = at_once,
    structures: Sequence[Structure] | None = None,
) -> tuple[DoseFigure, ...]:
    """Sum up a plan's dose in a few figures.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    dvhs : mapping of structure name to Dvh
        Those of its present dose, the target's among them.
    progress : callable, optional
    background : Background
    structures : sequence of Structure, optional
        The plan's, where they were read already.
    """
    doseNode = currentDose(planNode)
    if structures is None:
        contoured = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True) is not None
        structures = planStructures(planNode, part(progress, 0.0, _READING)) if contoured else ()
    prescription = planFromNode(planNode).prescription
    dose, grid = arrayFromVolume(doseNode), gridFromVolume(doseNode)
    work = part(progress, _READING, 1.0)
    return background(lambda report: dose_figures(dose, grid, structures, dvhs, prescription), work)


def _dvhs(
    dose_Gy: np.ndarray, grid: Grid, structures: Sequence[Structure], named: bool, progress: Progress
) -> PlanDvhs:
    dvhs: dict[str, Dvh] = {}
    left_out: dict[str, str] = {}
    for number, structure in enumerate(structures):
        progress(number / len(structures), f"DVH of {structure.name}")
        try:
            dvhs[structure.name] = calculate_dvh(dose_Gy, grid, structure, allow_partial=True)
        except EvaluationError as error:
            if named:
                raise
            left_out[structure.name] = f"Not evaluated: {error}"
    progress(1.0, "DVHs ready")
    return PlanDvhs(dvhs, left_out)


def _named(structures: Sequence[Structure], name: str, owner: str) -> Structure:
    known = {structure.name: structure for structure in structures}
    if name not in known:
        raise EvaluationError(f"There is no structure {name}; the {owner} has: {', '.join(known) or 'none'}.")
    return known[name]


def _isodoseVolumes(planNode, doseNode) -> Callable[[], IsodoseVolumes]:
    """Read the body and the dose; return what makes the isodose volumes of them, which touches no node."""
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
    names = [one.name for one in segmentNames(segmentationNode) if one.role == "EXTERNAL"]
    body = None
    if len(names) == 1:
        grid = gridFromVolume(referencedNode(planNode, REFERENCE_VOLUME, "CT volume"))
        (body,) = structuresFromSegmentation(segmentationNode, grid, names)
    dose, grid = arrayFromVolume(doseNode), gridFromVolume(doseNode)
    return lambda: IsodoseVolumes(dose, grid, body)
