"""The plans of a scene as the checks of an exercise see them; nothing is added to the scene."""

from __future__ import annotations

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.mrml.plan_node import (
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    deliveredPlan,
    isDoseCurrent,
    planFromNode,
    planNodes,
)
from DoseEngineLib.progress import Progress
from RTPlanningLib.exercises.learner_work import LearnerPlan, LearnerWork
from RTPlanningLib.mrml.case_nodes import caseName
from RTPlanningLib.mrml.plan_evaluation import planDvhs


def learnerWork(
    scene,
    planNode=None,
    volumeNode=None,
    segmentationNode=None,
    progress: Progress | None = None,
    background: Background = at_once,
) -> LearnerWork:
    """Return what is there to be checked.

    DVHs are calculated when a check asks for them.

    Parameters
    ----------
    scene : vtkMRMLScene
        Its further plans for the same CT are those to compare with.
    planNode : vtkMRMLScriptedModuleNode, optional
        The plan to be checked; its CT and structures count.
    volumeNode : vtkMRMLScalarVolumeNode, optional
        The CT, where there is no plan yet.
    segmentationNode : vtkMRMLSegmentationNode, optional
    progress : callable, optional
    background : callable
    """
    if planNode is not None:
        volumeNode = planNode.GetNodeReference(REFERENCE_VOLUME)
        segmentationNode = planNode.GetNodeReference(SEGMENTATION)
    others = [
        node
        for node in planNodes(scene)
        if node is not planNode and volumeNode is not None and node.GetNodeReference(REFERENCE_VOLUME) is volumeNode
    ]
    return LearnerWork(
        None if volumeNode is None else caseName(volumeNode),
        _structureNames(segmentationNode),
        None if planNode is None else _learnerPlan(planNode, progress, background),
        tuple(_learnerPlan(node, progress, background) for node in others),
    )


def _learnerPlan(planNode, progress: Progress | None, background: Background) -> LearnerPlan:
    current = isDoseCurrent(planNode)
    known: dict[str, Dvh] = {}

    def dvh_of(structure: str) -> Dvh:
        if structure not in known:
            known.update(planDvhs(planNode, [structure], progress, background).dvhs)
        return known[structure]

    return LearnerPlan(
        planNode.GetName(),
        deliveredPlan(planNode) if current else planFromNode(planNode),
        planNode.GetNodeReference(DOSE) is not None,
        current,
        dvh_of,
    )


def _structureNames(segmentationNode) -> tuple[str, ...]:
    if segmentationNode is None:
        return ()
    segmentation = segmentationNode.GetSegmentation()
    return tuple(segmentation.GetSegment(segmentID).GetName() for segmentID in segmentation.GetSegmentIDs())
