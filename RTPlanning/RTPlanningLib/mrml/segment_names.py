"""Names and roles of a segmentation's segments, and whether anything is drawn; no masks are made."""

from __future__ import annotations

from collections import OrderedDict

import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.structure_role import role_from_name
from RTPlanningLib.evaluation.goal_template_choice import StructureName

_ROLE_TAG = "RTPlanning.Role"
_TARGETS = ("PTV", "CTV", "GTV")
# What nobody prescribes to or sets goals for
_NO_TARGET = ("EXTERNAL", "SUPPORT", "CONTROL")
_VOXELS_AT_A_TIME = 1 << 20
# Images are looked through again only after they were changed: VTK counts every change in the process.
_FILLED: OrderedDict[tuple[int, int, int], bool] = OrderedDict()
_MOST_REMEMBERED = 512


def segmentNames(segmentationNode) -> tuple[StructureName, ...]:
    """Return name and role of every segment, in order; none for None."""
    if segmentationNode is None:
        return ()
    segmentation = segmentationNode.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    names = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        name = segment.GetName() or segmentation.GetNthSegmentID(index)
        role = vtk.mutable("")
        tagged = segment.GetTag(_ROLE_TAG, role) and str(role)
        drawn = segment.GetRepresentation(source)
        isEmpty = drawn is None or not _isFilled(drawn, segment.GetLabelValue())
        names.append(StructureName(name, str(role) if tagged else role_from_name(name), isEmpty))
    return tuple(names)


def possibleTargets(names: tuple[StructureName, ...]) -> list[str]:
    """Return what can be prescribed to, PTVs first, then CTVs, GTVs and the rest; empty structures are left out."""
    filled = [one for one in names if not one.is_empty and one.role not in _NO_TARGET]
    order = {role: place for place, role in enumerate(_TARGETS)}
    return [one.name for one in sorted(filled, key=lambda one: order.get(one.role, len(order)))]


def likelyTarget(names: tuple[StructureName, ...]) -> str:
    """Return the structure that is most likely prescribed to: the first PTV, CTV or GTV; "" where there is none."""
    roles = {one.name: one.role for one in names}
    first = next(iter(possibleTargets(names)), "")
    return first if roles.get(first) in _TARGETS else ""


def _isFilled(drawn, label: int) -> bool:
    key = (drawn.GetMTime(), drawn.GetNumberOfPoints(), label)
    if key not in _FILLED:
        while len(_FILLED) >= _MOST_REMEMBERED:
            _FILLED.popitem(last=False)
        _FILLED[key] = _holdsLabel(drawn, label) if drawn.IsA("vtkImageData") else drawn.GetNumberOfPoints() > 0
    return _FILLED[key]


def _holdsLabel(image, label: int) -> bool:
    scalars = image.GetPointData().GetScalars()
    if scalars is None or image.GetNumberOfPoints() == 0:
        return False
    values = vtk_to_numpy(scalars)
    # several segments share an image
    starts = range(0, len(values), _VOXELS_AT_A_TIME)
    return any(bool((values[start : start + _VOXELS_AT_A_TIME] == label).any()) for start in starts)
