"""A digest of what a node gives to a calculation: a plan's dose, a volume's voxels, a transform's course."""

from __future__ import annotations

from DoseEngineLib.mrml.plan_node import DOSE, isPlanNode
from DoseEngineLib.mrml.volume_digest import digestOf, transformCourse, volumeDigest


def nodeDigest(node) -> str:
    """Return the digest of a plan's dose, of a volume, or of a transform; "" where there is nothing to take it of.

    The place of a volume counts with its voxels, parent transforms with transforms.
    """
    if isPlanNode(node):
        node = node.GetNodeReference(DOSE)
    if node is None:
        return ""
    if node.IsA("vtkMRMLVolumeNode"):
        return volumeDigest(node)
    course = transformCourse(node) if node.IsA("vtkMRMLTransformNode") else []
    return digestOf(course) if course else ""
