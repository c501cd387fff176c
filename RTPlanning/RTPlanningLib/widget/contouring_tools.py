"""The contouring tools as the panel offers them: their fields, the name of their result, and how they are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import PatientError, PlanningError
from RTPlanningLib.contouring.boolean import OPERATIONS
from RTPlanningLib.contouring.planning_target import planning_target_name
from RTPlanningLib.contouring.result_name import margin_name, ring_name
from RTPlanningLib.contouring.threshold import threshold_presets
from RTPlanningLib.structures_logic import EditedSegment, StructuresLogic
from RTPlanningLib.widget.structures_parameters import StructuresParameters, marginsOf


@dataclass(frozen=True)
class ToolInput:
    """What a tool is run on.

    Attributes
    ----------
    logic : StructuresLogic
    segmentationNode, volumeNode : node
    parameters : StructuresParameters
    roles : dict of structure name to role
    """

    logic: StructuresLogic
    segmentationNode: Any
    volumeNode: Any
    parameters: StructuresParameters
    roles: dict[str, str]

    @property
    def bodyName(self) -> str:
        """The body outline that the result is kept inside of; empty where it is not to be."""
        if not self.parameters.insideBody:
            return ""
        for name, role in self.roles.items():
            if role == "EXTERNAL":
                return name
        raise PatientError(_("There is no body outline: press Body outline, or do not keep inside the body."))


@dataclass(frozen=True)
class ContouringTool:
    """A tool.

    Attributes
    ----------
    title, help : str
        For a person.
    fields : tuple of str
        Groups of widgets it needs, ``<field>Fields`` in the ``.ui`` file.
    proposedName : callable
        Gets `ToolInput`, returns what the result is called.
    run : callable
        Gets `ToolInput` and the keywords of all tools (``result``, ``progress``).
    """

    title: str
    help: str
    fields: tuple[str, ...]
    proposedName: Callable[[ToolInput], str]
    run: Callable[..., EditedSegment]


def _target(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.createPlanningTarget(
        on.segmentationNode,
        p.structure,
        marginsOf(p),
        bodyName=on.bodyName,
        skin_mm=p.skin_mm if p.insideBody else 0.0,
        volumeNode=on.volumeNode,
        cutAtImage=p.cutAtImage,
        **common,
    )


def _margin(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.growSegment(
        on.segmentationNode,
        p.structure,
        marginsOf(p),
        volumeNode=on.volumeNode,
        cutAtImage=p.cutAtImage,
        **common,
    )


def _combine(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.combineSegments(
        on.segmentationNode, [p.structure, p.other], p.operation, volumeNode=on.volumeNode, **common
    )


def _crop(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.cropSegment(
        on.segmentationNode,
        p.structure,
        p.other,
        p.distance_mm,
        inside=p.side == "inside",
        volumeNode=on.volumeNode,
        **common,
    )


def _ring(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.createRing(
        on.segmentationNode,
        p.structure,
        p.ringInner_mm,
        p.ringOuter_mm,
        bodyName=on.bodyName,
        volumeNode=on.volumeNode,
        **common,
    )


def _wall(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.createWall(
        on.segmentationNode,
        p.structure,
        p.wallInside_mm,
        p.wallOutside_mm,
        volumeNode=on.volumeNode,
        cutAtImage=p.cutAtImage,
        **common,
    )


def _threshold(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.thresholdSegment(
        on.segmentationNode,
        on.volumeNode,
        p.low_HU,
        p.high_HU,
        presetID=p.preset,
        bodyName=on.bodyName,
        **common,
    )


def _slices(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.fillBetweenSlices(on.segmentationNode, p.structure, p.axis, volumeNode=on.volumeNode, **common)


def _islands(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    minimum_cm3 = None if p.parts == "largest" else p.minimum_cm3
    return on.logic.removeIslands(on.segmentationNode, p.structure, minimum_cm3, volumeNode=on.volumeNode, **common)


def _body(on: ToolInput, **common: Any) -> EditedSegment:
    p = on.parameters
    return on.logic.createBody(
        on.segmentationNode, on.volumeNode, p.bodyThreshold_HU, keepAllParts=p.keepAllParts, **common
    )


def _itself(on: ToolInput) -> str:
    return on.parameters.structure


def _marginName(on: ToolInput) -> str:
    p = on.parameters
    return margin_name(p.structure, on.roles.get(p.structure, ""), marginsOf(p))


def _bodyName(on: ToolInput) -> str:
    return next((name for name, role in on.roles.items() if role == "EXTERNAL"), "External")


TOOLS: dict[str, ContouringTool] = {
    "target": ContouringTool(
        "PTV from CTV",
        "A planning target: the clinical target with margins for motion and set-up, kept inside the body.",
        ("structure", "margin", "insideBody", "skin", "cut"),
        lambda on: planning_target_name(on.parameters.structure),
        _target,
    ),
    "margin": ContouringTool(
        "Margin",
        "Grow or shrink a structure, by its own distance in each direction of the patient.",
        ("structure", "margin", "cut"),
        _marginName,
        _margin,
    ),
    "combine": ContouringTool(
        "Combine",
        "Join two structures, keep what they share, or take one from the other.",
        ("structure", "operation", "other"),
        lambda on: f"{on.parameters.structure}_{OPERATIONS[on.parameters.operation]}_{on.parameters.other}",
        _combine,
    ),
    "crop": ContouringTool(
        "Crop",
        "Cut a structure by another one, keeping a distance from it.",
        ("structure", "side", "other", "distance"),
        _itself,
        _crop,
    ),
    "ring": ContouringTool(
        "Ring",
        "The shell between two distances from a structure: optimization shapes the dose outside a target with it.",
        ("structure", "ring", "insideBody"),
        lambda on: ring_name(on.parameters.structure, on.parameters.ringInner_mm, on.parameters.ringOuter_mm),
        _ring,
    ),
    "wall": ContouringTool(
        "Wall",
        "The wall of a hollow organ that was contoured with its contents.",
        ("structure", "wall", "cut"),
        lambda on: f"{on.parameters.structure}_Wall",
        _wall,
    ),
    "threshold": ContouringTool(
        "Threshold",
        "All voxels in a range of CT numbers; choose a preset and adjust it to your scanner.",
        ("threshold", "insideBody"),
        lambda on: threshold_presets()[on.parameters.preset].name,
        _threshold,
    ),
    "slices": ContouringTool(
        "Fill between slices",
        "Contour every second or third slice by hand; the slices between are interpolated from their shapes.",
        ("structure", "axis"),
        _itself,
        _slices,
    ),
    "islands": ContouringTool(
        "Remove islands",
        "Remove crumbs: keep the largest part, or all parts of some size.",
        ("structure", "island"),
        _itself,
        _islands,
    ),
    "body": ContouringTool(
        "Body outline",
        "The patient without couch and air around; dose is calculated inside it.",
        ("bodyThreshold",),
        _bodyName,
        _body,
    ),
}
FIELDS = tuple(dict.fromkeys(field for tool in TOOLS.values() for field in tool.fields))


def missingInput(tool: ContouringTool, on: ToolInput) -> str:
    """What a person still has to choose before a tool can run; empty when it can."""
    p = on.parameters
    byNumbers = "threshold" in tool.fields or "bodyThreshold" in tool.fields
    if on.segmentationNode is None and on.volumeNode is None:
        return _("Choose a case first.")
    if on.volumeNode is None and byNumbers:
        return _("Choose a CT first.")
    if on.segmentationNode is None and not byNumbers:
        return _("There are no structures yet: press Body outline, or New to draw one.")
    if "structure" in tool.fields and p.structure not in on.roles:
        return _("Choose a structure.")
    if "other" in tool.fields and p.other not in on.roles:
        return _("Choose the other structure.")
    if "other" in tool.fields and p.other == p.structure:
        return _("Choose two different structures.")
    if "insideBody" in tool.fields:
        try:
            # asks for the outline when it is needed
            on.bodyName  # noqa: B018
        except PlanningError as error:
            return str(error)
    return ""
