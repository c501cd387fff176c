"""Structures of a segmentation, read again only when they have changed."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.transforms import matrixToWorld
from DoseEngineLib.mrml.volumes import gridFromVolume
from DoseEngineLib.plan import Structure


class StructureReader:
    """Reads structures of a segmentation on a CT's grid, each one anew only when it, or the CT's grid, has changed.

    The same `Structure` object comes back for the same contours, so what is cached by structure stays valid.
    """

    def __init__(self) -> None:
        self._read: dict[tuple, Structure] = {}

    def structure(self, volumeNode, segmentationNode, name: str) -> Structure:
        """Return a structure by name.

        Raises
        ------
        PlanError
            No CT or structures chosen, or no structure of this name.
        PatientError, GeometryError
            One that cannot be read.
        """
        if volumeNode is None or segmentationNode is None:
            raise PlanError("There are no structures to aim at; choose a CT and its structures first.")
        found = self.structures(volumeNode, segmentationNode, [name])
        if not found:
            segmentation = segmentationNode.GetSegmentation()
            known = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
            raise PlanError(
                f"There is no structure {name!r} to aim at; {segmentationNode.GetName()} has: "
                f"{', '.join(known) or 'none'}. Choose another target."
            )
        return found[0]

    def structures(self, volumeNode, segmentationNode, names: Sequence[str]) -> list[Structure]:
        """Return those structures of the names given that there are, in the order of the names."""
        if volumeNode is None or segmentationNode is None:
            return []
        keys = _keys(volumeNode, segmentationNode)
        missing = [name for name in names if name in keys and keys[name] not in self._read]
        if missing:
            for structure in structuresFromSegmentation(segmentationNode, gridFromVolume(volumeNode), missing):
                self._read[keys[structure.name]] = structure
        # what the segmentation no longer holds is let go
        wanted = set(keys.values())
        self._read = {key: structure for key, structure in self._read.items() if key in wanted}
        return [self._read[keys[name]] for name in names if name in keys]

    def states(self, volumeNode, segmentationNode, names: Sequence[str]) -> tuple:
        """Return what the contours of structures can be told by, without reading them: equal as long as they stay."""
        if volumeNode is None or segmentationNode is None:
            return ()
        keys = _keys(volumeNode, segmentationNode)
        return tuple(keys.get(name) for name in names)


def _keys(volumeNode, segmentationNode) -> dict[str, tuple]:
    """What a structure's mask depends on, by name."""
    grid = gridFromVolume(volumeNode)
    place = (grid.shape, grid.affine.tobytes(), matrixToWorld(segmentationNode).tobytes(), segmentationNode.GetID())
    segmentation = segmentationNode.GetSegmentation()
    keys = {}
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        name = segment.GetName() or segmentation.GetNthSegmentID(n)
        representation = segment.GetRepresentation(segmentation.GetSourceRepresentationName())
        changed = representation.GetMTime() if representation is not None else 0
        keys[name] = (*place, name, segment.GetMTime(), changed, tuple(segment.GetColor()))
    return keys
