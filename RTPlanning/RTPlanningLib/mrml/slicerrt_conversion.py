"""Our plan node to SlicerRT's and back: nothing is lost on the way, and what was edited in SlicerRT comes back."""

from __future__ import annotations

import json
from typing import NamedTuple

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.mrml.plan_node import (
    REFERENCE_VOLUME,
    SEGMENTATION,
    createPlanNode,
    goalsOf,
    planFromNode,
    referencedNode,
    setGoals,
)
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy
from DoseEngineLib.plan import Plan, plan_from_json, plan_to_json
from RTPlanningLib.mrml.slicerrt_nodes import (
    createSlicerRtNodes,
    isSlicerRtPlan,
    readSlicerRtNodes,
    referencedSegmentation,
    referencedVolume,
)
from RTPlanningLib.slicerrt_plan import SlicerRtPlan, edited_plan, plan_from_slicerrt, slicerrt_plan

CONVERTED_PLAN = "RTPlanning.ConvertedPlan"
_SCHEMA_VERSION = 1
DEFAULT_MACHINE = "generic_6mv"


def toSlicerRtPlan(planNode) -> tuple[object, tuple[str, ...]]:
    """Add SlicerRT's nodes for a plan; see `RTPlanningLib.logic.RTPlanningLogic.toSlicerRT`."""
    plan, goals = planFromNode(planNode), goalsOf(planNode)
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT")
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
    targets, missing = _targets(plan, segmentationNode)
    values, notes = slicerrt_plan(plan, targets)
    study = ensureStudy(volumeNode, "Patient", "Radiotherapy planning")
    rtPlanNode = createSlicerRtNodes(planNode.GetScene(), values, volumeNode, segmentationNode, study)
    stored = {
        "schema_version": _SCHEMA_VERSION,
        "plan": plan_to_json(plan),
        "goals": list(goals),
        # as the nodes give it back: names and numbers may have been adapted
        "written": readSlicerRtNodes(rtPlanNode).to_dict(),
    }
    rtPlanNode.SetAttribute(CONVERTED_PLAN, json.dumps(stored, sort_keys=True, allow_nan=False))
    return rtPlanNode, (*notes, *missing)


def fromSlicerRtPlan(scene, rtPlanNode, machine: str | None = None) -> tuple[object, tuple[str, ...]]:
    """Add a plan node for a plan of SlicerRT; see `RTPlanningLib.logic.RTPlanningLogic.fromSlicerRT`."""
    if not isSlicerRtPlan(rtPlanNode):
        raise PlanError("This is not a plan of SlicerRT; choose an RT plan node of its External Beam Planning.")
    found, volumeNode = planOfSlicerRt(rtPlanNode, machine), referencedVolume(rtPlanNode)
    planNode = createPlanNode(scene, found.plan, volumeNode, referencedSegmentation(rtPlanNode))
    setGoals(planNode, found.goals)
    return planNode, found.notes


class PlanOfSlicerRt(NamedTuple):
    """What a plan node of SlicerRT describes: the plan, its values there beam by beam in the same order, and whether
    it was made from a plan of ours."""

    plan: Plan
    values: SlicerRtPlan
    notes: tuple[str, ...]
    goals: tuple[str, ...]
    converted: bool


def planOfSlicerRt(rtPlanNode, machine: str | None = None) -> PlanOfSlicerRt:
    """Return the plan that SlicerRT's nodes describe, with what was edited there; nothing is added to the scene.

    Raises
    ------
    PlanningError
        As `RTPlanningLib.logic.RTPlanningLogic.fromSlicerRT`.
    """
    now, names = readSlicerRtNodes(rtPlanNode), _segmentNames(referencedSegmentation(rtPlanNode))
    stored = _stored(rtPlanNode)
    if stored is None:
        machine = machine or DEFAULT_MACHINE
        load_machine(machine)
        plan, notes = plan_from_slicerrt(now, names, machine)
        return PlanOfSlicerRt(plan, now, notes, (), False)
    if machine is not None:
        raise PlanError(
            f"{rtPlanNode.GetName()} was made from a plan of RTPlanning and its beams keep their machines; leave "
            "the machine out, and change it in the plan afterwards."
        )
    plan, written, goals = stored
    plan, notes = edited_plan(plan, written, now, names)
    return PlanOfSlicerRt(plan, now, notes, goals, True)


def _stored(rtPlanNode) -> tuple[Plan, SlicerRtPlan, tuple[str, ...]] | None:
    text = rtPlanNode.GetAttribute(CONVERTED_PLAN)
    if not text:
        return None
    try:
        data = json.loads(text)
        version = data["schema_version"]
        if version != _SCHEMA_VERSION:
            raise SchemaError(
                f"{rtPlanNode.GetName()} was made by a version of RTPlanning with schema {version}, this one reads "
                f"{_SCHEMA_VERSION}; update RTPlanning. The node was left as it is."
            )
        plan, written = plan_from_json(data["plan"]), SlicerRtPlan.from_dict(data["written"])
        return plan, written, tuple(data["goals"])
    except (ValueError, TypeError, KeyError) as error:
        raise SchemaError(
            f"What {rtPlanNode.GetName()} keeps of its plan is damaged ({error!r}); remove its attribute "
            f"{CONVERTED_PLAN} to read it as a plan of SlicerRT's own."
        ) from error


def _segmentNames(segmentationNode) -> dict[str, str]:
    if segmentationNode is None:
        return {}
    segmentation = segmentationNode.GetSegmentation()
    ids = (segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments()))
    return {segmentID: segmentation.GetSegment(segmentID).GetName() for segmentID in ids}


def _targets(plan: Plan, segmentationNode) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """IDs of the target's segments, and a note where it has none."""
    target = plan.prescription.target if plan.prescription is not None else None
    if target is None:
        return (), ()
    ids = tuple(segmentID for segmentID, name in _segmentNames(segmentationNode).items() if name == target)
    return ids[:1], () if ids else (f"The target {target} is not among the structures; SlicerRT shows no target.",)
