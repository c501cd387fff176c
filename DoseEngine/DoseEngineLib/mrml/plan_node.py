"""The plan node: a scripted module node that holds a `Plan` as JSON and refers to everything that belongs to it.

The JSON is the truth; beam transforms and the isocenter markup are made from it for display and for other modules.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import slicer
import slicer.util

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.mrml.dose_inputs import NO_STRUCTURES, TARGET, doseInputs
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode, removeNode
from DoseEngineLib.plan import Plan, plan_from_json, plan_to_json

# SlicerRT's own names where it has one for the same thing
REFERENCE_VOLUME = "referenceVolumeRef"
SEGMENTATION = "segmentationRef"
ISOCENTER = "posMarkupsRef"
DOSE = "outputTotalDoseVolumeRef"
BEAM_DOSE = "beamDoseVolumeRef"
BEAM_TRANSFORM = "beamTransformRef"
BEAM_MODEL = "beamModelRef"

BEAM_NAME = "RTPlanning.BeamName"
_CLASS = "vtkMRMLScriptedModuleNode"
_NODE_TYPE, _PLAN_TYPE = "RTPlanning.NodeType", "Plan"
_NAME_SUFFIX = "Name"
_PLAN, _DELIVERED_PLAN, _DOSE_PLAN_HASH, _GOALS = "Plan", "DeliveredPlan", "DosePlanHash", "Goals"
_DOSE_INPUTS = "DoseInputs"


def createPlanNode(scene, plan: Plan, volumeNode, segmentationNode=None):
    """Add a plan node with its beam transforms and isocenter markup, in the CT's study.

    Parameters
    ----------
    scene : vtkMRMLScene
    plan : Plan
    volumeNode : vtkMRMLScalarVolumeNode
        The planning CT.
    segmentationNode : vtkMRMLSegmentationNode, optional

    Returns
    -------
    vtkMRMLScriptedModuleNode
    """
    if volumeNode is None:
        raise PlanError(f"Plan {plan.name} needs a CT volume; choose one.")
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetName(scene.GetUniqueNameByString(plan.name))
    node.SetModuleName("RTPlanning")
    node.SetAttribute(_NODE_TYPE, _PLAN_TYPE)
    node.SetHideFromEditors(False)
    node = scene.AddNode(node)
    setReference(node, REFERENCE_VOLUME, volumeNode)
    if segmentationNode is not None:
        setReference(node, SEGMENTATION, segmentationNode)
    placeNode(node, ensureStudy(volumeNode, "Patient", "Radiotherapy planning"))
    setPlan(node, plan)
    return node


def planNodes(scene) -> list:
    """Return every plan node of a scene."""
    # slicer.util.getNodesByClass looks into slicer.mrmlScene whatever scene it is given
    count = scene.GetNumberOfNodesByClass(_CLASS)
    nodes = (scene.GetNthNodeByClass(n, _CLASS) for n in range(count))
    return [node for node in nodes if isPlanNode(node)]


def isPlanNode(node) -> bool:
    """Tell whether a node is a plan node."""
    return node is not None and node.GetAttribute(_NODE_TYPE) == _PLAN_TYPE


def planFromNode(planNode) -> Plan:
    """Return the plan a node holds.

    Raises
    ------
    PlanError
        No plan node, or a plan that contradicts itself.
    SchemaError
        A plan stored by a newer version, or damaged; the node is left as it is.
    """
    _check(planNode)
    plan = _TEXTS.plan(planNode.GetParameter(_PLAN))
    # the one part of a plan that could be changed in place
    return replace(plan, engine_options=dict(plan.engine_options))


# Panels ask for the plan at every change of theirs, and one of many control points takes a tenth of a second to read.


class _PlanTexts:
    """The plans of the texts met last: those of modulated plans take a tenth of a second to read or to write."""

    _MOST = 8

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    def plan(self, text: str) -> Plan:
        """Return the plan of a text."""
        if text not in self._plans:
            self._keep(text, plan_from_json(text))
        self._plans.move_to_end(text)
        return self._plans[text]

    def text(self, plan: Plan) -> str:
        """Return the text of a plan, which `plan` then knows."""
        text = plan_to_json(plan)
        # the plan's own options can be changed by whoever holds it
        self._keep(text, replace(plan, engine_options=deepcopy(plan.engine_options)))
        return text

    def _keep(self, text: str, plan: Plan) -> None:
        self._plans[text] = plan
        while len(self._plans) > self._MOST:
            self._plans.popitem(last=False)


_TEXTS = _PlanTexts()


@lru_cache(maxsize=8)
def _hashOfText(text: str) -> str:
    return _TEXTS.plan(text).hash()


def planHash(planNode) -> str:
    """Return the hash of the plan that a node holds, as `Plan.hash` gives it."""
    _check(planNode)
    return _hashOfText(planNode.GetParameter(_PLAN))


def setPlan(planNode, plan: Plan) -> None:
    """Store a plan in its node and bring beam transforms and isocenter markup up to date; a dose is kept.

    Raises
    ------
    SchemaError
        When the node holds a plan of a newer version, which would be lost.
    """
    _check(planNode)
    if planNode.HasParameter(_PLAN):
        planFromNode(planNode)
    planNode.SetParameter(_PLAN, _TEXTS.text(plan))
    _updateTransforms(planNode, plan)
    _updateIsocenter(planNode, plan)


def setReference(planNode, role: str, node) -> None:
    """Refer to a node, and keep its name: a scene forgets a reference when the node is removed, a plan must not."""
    _check(planNode)
    planNode.SetNodeReferenceID(role, node.GetID())
    planNode.SetParameter(role + _NAME_SUFFIX, node.GetName())


def referencedNode(planNode, role: str, what: str, *, optional: bool = False):
    """Return the node a plan refers to.

    Raises
    ------
    PlanError
        When it is no longer in the scene, or was never set (then None is returned if it is ``optional``).
    """
    _check(planNode)
    node = planNode.GetNodeReference(role)
    if node is not None:
        return node
    former = planNode.GetParameter(role + _NAME_SUFFIX)
    if optional and not former:
        return None
    state = f"({former}) is no longer in the scene" if former else "is not set"
    raise PlanError(f"Plan {planNode.GetName()}: its {what} {state}; {_REMEDIES.get(role, 'choose one')}.")


_REMEDIES = {
    REFERENCE_VOLUME: "load the CT and set it as the plan's reference volume",
    SEGMENTATION: "load the structures and set them as the plan's segmentation",
    DOSE: "calculate the dose first",
}


def setDeliveredPlan(planNode, plan: Plan, delivered: Plan, inputs: Mapping[str, str] | None = None) -> None:
    """Store the plan as delivered (MU resolved) beside the user's plan, and what it was calculated of.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    plan, delivered : Plan
    inputs : mapping of str to str, optional
        `inputsOfDose` when the calculation began; by default as they are now.
    """
    planNode.SetParameter(_DELIVERED_PLAN, _TEXTS.text(delivered))
    planNode.SetParameter(_DOSE_PLAN_HASH, _hashOfText(plan_to_json(plan)))
    inputs = inputsOfDose(planNode, plan) if inputs is None else inputs
    planNode.SetParameter(_DOSE_INPUTS, json.dumps({**NO_STRUCTURES, **inputs}, sort_keys=True))


def inputsOfDose(planNode, plan: Plan) -> dict[str, str]:
    """Return digests of what a dose of a plan is calculated of, as it is now (`DoseEngineLib.mrml.dose_inputs`)."""
    return doseInputs(plan, planNode.GetNodeReference(REFERENCE_VOLUME), planNode.GetNodeReference(SEGMENTATION))


def deliveredPlan(planNode) -> Plan:
    """Return the plan as delivered, every beam with its MU; `PlanError` when no dose was calculated yet."""
    _check(planNode)
    if not planNode.HasParameter(_DELIVERED_PLAN):
        raise PlanError(
            f"Plan {planNode.GetName()} has no dose yet, so its MU are not known; calculate the dose first."
        )
    plan = _TEXTS.plan(planNode.GetParameter(_DELIVERED_PLAN))
    return replace(plan, engine_options=deepcopy(plan.engine_options))


def isDoseCurrent(planNode) -> bool:
    """Tell whether the plan's dose exists and was calculated of the plan, the CT and the structures as they now are."""
    return planNode.GetNodeReference(DOSE) is not None and not changedSinceDose(planNode)


def changedSinceDose(planNode) -> tuple[str, ...]:
    """Return what has changed since the plan's dose was calculated, in words: "plan", "CT", "body" and so on.

    Of a CT or structures that are no longer in the scene nothing can be told.

    Raises
    ------
    PlanError, SchemaError
        As `planFromNode`; what is kept of the dose is damaged.
    """
    try:
        former = dict(json.loads(planNode.GetParameter(_DOSE_INPUTS) or "{}"))
    except (ValueError, TypeError) as error:
        raise SchemaError(
            f"Plan {planNode.GetName()}: what its dose was calculated of is damaged ({error}); calculate the dose "
            "again."
        ) from error
    now = inputsOfDose(planNode, _TEXTS.plan(planNode.GetParameter(_PLAN)))
    changed = [what for what, digest in former.items() if now.get(what, digest) != digest]
    if planNode.GetParameter(_DOSE_PLAN_HASH) == planHash(planNode):
        return tuple(changed)
    # another plan may have another target
    return ("plan", *(what for what in changed if what != TARGET))


def setGoals(planNode, goals: Sequence[str]) -> None:
    """Store clinical goals (texts in the goal grammar) with a plan."""
    _check(planNode)
    planNode.SetParameter(_GOALS, json.dumps(list(goals), ensure_ascii=False))


def goalsOf(planNode) -> tuple[str, ...]:
    """Return the clinical goals stored with a plan."""
    _check(planNode)
    text = planNode.GetParameter(_GOALS)
    try:
        return tuple(json.loads(text)) if text else ()
    except ValueError as error:
        raise SchemaError(f"Plan {planNode.GetName()}: its stored goals are damaged ({error}).") from error


def beamNode(planNode, role: str, beamName: str):
    """Return the plan's node of this role and beam, or None."""
    for node in referencedNodes(planNode, role):
        if node.GetAttribute(BEAM_NAME) == beamName:
            return node
    return None


def addBeamNode(planNode, node, beamName: str, kind: str):
    """Put a new node of a beam into the plan's scene, named ``<plan>_<beam>_<kind>``; returns it."""
    node.SetName(f"{planNode.GetName()}_{beamName}_{kind}")
    node.SetAttribute(BEAM_NAME, beamName)
    return planNode.GetScene().AddNode(node)


def referencedNodes(planNode, role: str) -> list:
    """Return the nodes of a repeated reference that are in the scene."""
    nodes = (planNode.GetNthNodeReference(role, n) for n in range(planNode.GetNumberOfNodeReferences(role)))
    return [node for node in nodes if node is not None]


def setBeamNodes(planNode, role: str, nodes: Sequence) -> None:
    """Refer to these nodes, one a beam in order; former ones that are not among them are removed from the scene."""
    kept = {node.GetID() for node in nodes}
    former = referencedNodes(planNode, role)
    planNode.RemoveNodeReferenceIDs(role)
    for node in nodes:
        planNode.AddNodeReferenceID(role, node.GetID())
    for node in former:
        if node.GetID() not in kept:
            removeNode(node)


def _check(planNode) -> None:
    if planNode is None:
        raise PlanError("There is no plan; create or choose one.")
    if not isPlanNode(planNode):
        raise PlanError(f"{planNode.GetName()} is not a plan node; choose a plan.")
    if planNode.GetScene() is None:
        raise PlanError(f"Plan {planNode.GetName()} is no longer in a scene; load or create it again.")


def _updateTransforms(planNode, plan: Plan) -> None:
    nodes = []
    for beam in plan.beams:
        node = beamNode(planNode, BEAM_TRANSFORM, beam.name)
        if node is None:
            node = addBeamNode(planNode, slicer.vtkMRMLLinearTransformNode(), beam.name, "Transform")
            # Slicer's default, HDF5, writes the time of day into the file
            node.AddDefaultStorageNode()
            node.GetStorageNode().SetDefaultWriteFileExtension("tfm")
        placeNode(node, placeNode(planNode))
        matrix = beam.frame(plan.patient_position).matrix()
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        nodes.append(node)
    setBeamNodes(planNode, BEAM_TRANSFORM, nodes)


def _updateIsocenter(planNode, plan: Plan) -> None:
    node = planNode.GetNodeReference(ISOCENTER)
    if node is None:
        node = slicer.vtkMRMLMarkupsFiducialNode()
        node.SetName(f"{planNode.GetName()}_POI")
        node = planNode.GetScene().AddNode(node)
        node.CreateDefaultDisplayNodes()
        planNode.SetNodeReferenceID(ISOCENTER, node.GetID())
    placeNode(node, placeNode(planNode))
    node.RemoveAllControlPoints()
    for n, isocenter in enumerate(dict.fromkeys(beam.isocenter_RAS_mm for beam in plan.beams)):
        index = node.AddControlPoint(isocenter, "Isocenter" if n == 0 else f"Isocenter {n + 1}")
        # dragging a point would not change the plan, so it cannot be dragged
        node.SetNthControlPointLocked(index, True)
