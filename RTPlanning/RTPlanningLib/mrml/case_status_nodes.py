"""A case of nodes read for its status, structure by structure, so that a panel's events turn in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from DoseEngineLib.errors import Cancelled, PlanningError
from DoseEngineLib.mrml.ct_calibration import ctCalibration
from DoseEngineLib.mrml.segmentations import densityOverrides, structuresFromSegmentation
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case_status import StatusLine, case_status
from RTPlanningLib.mrml.case_nodes import caseFromNodes
from RTPlanningLib.mrml.segment_names import segmentNames


def readCaseStatus(
    volumeNode, segmentationNode=None, progress: Progress | None = None
) -> Callable[[Progress], tuple[StatusLine, ...]]:
    """Read CT and structures now; return what makes the status of them, which touches no node.

    What cannot be read becomes a line of the status.
    """
    report = part(progress, 0.0, 1.0)
    report(0.0, "Reading the CT")
    try:
        case = caseFromNodes(volumeNode)
        curve = ctCalibration(volumeNode)
    except Cancelled:
        raise
    except PlanningError as error:
        lines = (StatusLine("CT", "missing", str(error)),)
        return lambda report: lines
    structures, unreadable = [], []
    names = [one.name for one in segmentNames(segmentationNode)]
    for number, name in enumerate(dict.fromkeys(names)):
        report(number / len(names), f"Reading {name}")
        try:
            structures += structuresFromSegmentation(segmentationNode, case.grid, [name])
        except PlanningError as error:
            unreadable.append(str(error))
    overrides = {}
    try:
        overrides = densityOverrides(segmentationNode) if segmentationNode is not None else {}
    except PlanningError as error:
        unreadable.append(str(error))
    case = replace(case, structures=tuple(structures), density_overrides_g_cm3=overrides)
    reasons = tuple(dict.fromkeys(unreadable))
    return lambda report: case_status(case, curve, report, unreadable=reasons)


def caseStamp(volumeNode, segmentationNode) -> tuple:
    """Return what changes whenever a status may no longer stand; cheap, and of use in this process alone."""
    if volumeNode is None:
        return ()
    stamp = [volumeNode.GetID(), volumeNode.GetMTime(), volumeNode.GetTransformNodeID()]
    if volumeNode.GetImageData() is not None:
        stamp.append(volumeNode.GetImageData().GetMTime())
    if segmentationNode is not None:
        segmentation = segmentationNode.GetSegmentation()
        source = segmentation.GetSourceRepresentationName()
        stamp += [segmentationNode.GetID(), segmentationNode.GetTransformNodeID()]
        for index in range(segmentation.GetNumberOfSegments()):
            segment = segmentation.GetNthSegment(index)
            drawn = segment.GetRepresentation(source)
            stamp += [segment.GetName(), segment.GetMTime(), drawn.GetMTime() if drawn is not None else 0]
    return tuple(stamp)
