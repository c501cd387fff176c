"""Contouring tools on the segments of a segmentation node, undoable.

Every tool reads structures from the node, does its work beside the events of a panel (`StructuresLogic.background`),
and stores the result as one change that can be undone. On an error and on cancel nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import slicer

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.segmentations import (
    ensureLabelmaps,
    roleOfSegment,
    segmentIDOf,
    setSegmentRole,
    storeStructure,
    structuresFromSegmentation,
)
from DoseEngineLib.mrml.subject_hierarchy import placeNode, studyOf
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part, silent
from DoseEngineLib.ring import ring
from DoseEngineLib.structure_role import role_from_name
from RTPlanningLib.contouring.body_outline import body_outline
from RTPlanningLib.contouring.boolean import combine
from RTPlanningLib.contouring.crop import crop_inside, crop_outside
from RTPlanningLib.contouring.edited_structure import EditedStructure
from RTPlanningLib.contouring.expansion import with_margins
from RTPlanningLib.contouring.free_color import free_color
from RTPlanningLib.contouring.islands import keep_largest_part, remove_small_parts
from RTPlanningLib.contouring.margins import Margins
from RTPlanningLib.contouring.planning_target import planning_target
from RTPlanningLib.contouring.slice_interpolation import fill_between_slices
from RTPlanningLib.contouring.threshold import threshold, threshold_presets
from RTPlanningLib.contouring.wall import wall
from RTPlanningLib.mrml.editing_grid import editingGrid
from RTPlanningLib.mrml.segmentation_history import History, SegmentationHistory
from RTPlanningLib.mrml.structure_rows import SegmentVolumes, structureRows

_BODY_ROLE = "EXTERNAL"
_LABELMAP = "Binary labelmap"

Work = Callable[[Mapping[str, Structure], Progress], EditedStructure]


@dataclass(frozen=True)
class Result:
    """Where a tool's result goes.

    Attributes
    ----------
    name : str
        Of the segment; one that is there is replaced and keeps role and color. Empty: as the tool names its result.
    role : str
        Empty: as the tool has it.
    color : (3,) tuple of float or None
        None: as the tool has it, or one that no other structure has.
    """

    name: str = ""
    role: str = ""
    color: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class EditedSegment:
    """What a tool made.

    Attributes
    ----------
    segmentID, name : str
    volume_cm3 : float
        By voxel count.
    notes : tuple of str
        What was left out, cut off or assumed.
    """

    segmentID: str
    name: str
    volume_cm3: float
    notes: tuple[str, ...]


class StructuresLogic:
    """Contouring on nodes.

    Structures are named by their segments' names. Tools take the segmentation node first, then what they work on;
    ``volumeNode`` is the CT, needed where CT numbers are or where the segmentation has no reference geometry;
    ``result`` says which segment takes what was made.

    Parameters
    ----------
    scene : vtkMRMLScene

    Attributes
    ----------
    background : Background
        How pure work is run; a panel puts its thread here.
    """

    def __init__(self, scene) -> None:
        self.scene = scene
        self.background: Background = at_once
        self._histories: dict[str, SegmentationHistory] = {}
        self._given: tuple[object, History] | None = None
        self._tags = [
            scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved),
            scene.AddObserver(scene.StartCloseEvent, self._onClose),
        ]

    def release(self) -> None:
        """Let go of the scene and of all histories."""
        for tag in self._tags:
            self.scene.RemoveObserver(tag)
        self._tags = []
        self._onClose()

    # Beginning

    def createSegmentation(self, volumeNode):
        """Add an empty segmentation for a CT, drawn on its voxels; returns the node.

        Raises
        ------
        PatientError
            No CT.
        """
        # refuses what is no image
        gridFromVolume(volumeNode)
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(self.scene.GetUniqueNameByString(f"{volumeNode.GetName()}_Structures"))
        node = self.scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.GetSegmentation().SetSourceRepresentationName(_LABELMAP)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        placeNode(node, studyOf(volumeNode))
        return node

    def addSegment(self, segmentationNode, name: str = "") -> str:
        """Add an empty structure to draw into; returns its name.

        Raises
        ------
        PatientError
            A name that is taken.
        """
        segmentation = segmentationNode.GetSegmentation()
        names = [row.name for row in structureRows(segmentationNode, SegmentVolumes())]
        if name and name in names:
            raise PatientError(f"There is a structure {name!r} already; choose another name.")
        number = 1
        while not name:
            name = f"Structure_{number}" if f"Structure_{number}" not in names else ""
            number += 1
        colors = [segmentation.GetNthSegment(n).GetColor() for n in range(segmentation.GetNumberOfSegments())]
        self.history(segmentationNode).saveStateForUndo()
        segmentID = segmentation.AddEmptySegment("", name)
        if not segmentID:
            raise PatientError(
                f"{segmentationNode.GetName()} took no further structure; convert its segments to binary labelmaps "
                "(Segmentations module, Representations) and try again."
            )
        segment = segmentation.GetSegment(segmentID)
        segment.SetColor(*free_color(colors[-1] if colors else (0.90, 0.62, 0.0), colors))
        setSegmentRole(segment, role_from_name(name))
        return name

    # Undo

    def useHistory(self, segmentationNode, history: History | None) -> None:
        """Make changes of this segmentation undoable by another history, as that of a segment editor; None: by none."""
        self._given = None if history is None else (segmentationNode, history)

    def history(self, segmentationNode) -> History:
        """Return the history that keeps the changes of a segmentation."""
        if self._given is not None and self._given[0] is segmentationNode:
            return self._given[1]
        nodeID = segmentationNode.GetID()
        if nodeID not in self._histories:
            self._histories[nodeID] = SegmentationHistory(segmentationNode)
        return self._histories[nodeID]

    def undo(self, segmentationNode) -> bool:
        """Take the last change back; False when nothing changed."""
        return self._stepped(segmentationNode, lambda history: history.undo())

    def redo(self, segmentationNode) -> bool:
        """Make the change again that was taken back last; False when nothing changed."""
        return self._stepped(segmentationNode, lambda history: history.redo())

    # Margins and what is made of them

    def growSegment(
        self,
        segmentationNode,
        name: str,
        margins: Margins,
        *,
        volumeNode=None,
        result: Result | None = None,
        cutAtImage: bool = False,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Grow or shrink a structure; see `RTPlanningLib.contouring.expansion.with_margins`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            return with_margins(structures[name], margins, cut_at_image=cutAtImage, progress=report)

        return self._edit(segmentationNode, volumeNode, [name], work, result, progress)

    def createPlanningTarget(
        self,
        segmentationNode,
        name: str,
        margins: Margins,
        *,
        bodyName: str = "",
        skin_mm: float = 0.0,
        volumeNode=None,
        result: Result | None = None,
        cutAtImage: bool = False,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Make a PTV of a target; see `RTPlanningLib.contouring.planning_target.planning_target`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            body = structures[bodyName] if bodyName else None
            return planning_target(
                structures[name], margins, body=body, skin_mm=skin_mm, cut_at_image=cutAtImage, progress=report
            )

        names = [name, bodyName] if bodyName else [name]
        return self._edit(segmentationNode, volumeNode, names, work, result, progress)

    def createWall(
        self,
        segmentationNode,
        name: str,
        inside_mm: float,
        outside_mm: float = 0.0,
        *,
        volumeNode=None,
        result: Result | None = None,
        cutAtImage: bool = False,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Make the wall of an organ; see `RTPlanningLib.contouring.wall.wall`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            return wall(structures[name], inside_mm, outside_mm, cut_at_image=cutAtImage, progress=report)

        return self._edit(segmentationNode, volumeNode, [name], work, result, progress)

    def createRing(
        self,
        segmentationNode,
        name: str,
        inner_mm: float,
        outer_mm: float,
        *,
        bodyName: str = "",
        volumeNode=None,
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Make the shell between two distances from a structure, inside the body; see `DoseEngineLib.ring.ring`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            report(0.1, "Measuring distances")
            body = structures[bodyName] if bodyName else None
            made = ring(structures[name], inner_mm, outer_mm, within=body)
            return EditedStructure(made, _atImagesEnd(made))

        names = [name, bodyName] if bodyName else [name]
        return self._edit(segmentationNode, volumeNode, names, work, result, progress)

    # Structures with each other

    def combineSegments(
        self,
        segmentationNode,
        names: Sequence[str],
        operation: str,
        *,
        volumeNode=None,
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Join, intersect or subtract structures; see `RTPlanningLib.contouring.boolean.combine`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            report(0.1, "Combining structures")
            return combine([structures[name] for name in names], operation)

        return self._edit(segmentationNode, volumeNode, names, work, result, progress)

    def cropSegment(
        self,
        segmentationNode,
        name: str,
        otherName: str,
        distance_mm: float = 0.0,
        *,
        inside: bool = False,
        volumeNode=None,
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Cut a structure by another one with a distance; see `RTPlanningLib.contouring.crop`."""
        crop = crop_inside if inside else crop_outside

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            return crop(structures[name], structures[otherName], distance_mm, progress=report)

        return self._edit(segmentationNode, volumeNode, [name, otherName], work, result, progress)

    # One structure by itself

    def fillBetweenSlices(
        self,
        segmentationNode,
        name: str,
        axis: str = "",
        *,
        volumeNode=None,
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Fill the slices between contoured ones; see `RTPlanningLib.contouring.slice_interpolation`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            return fill_between_slices(structures[name], axis, progress=report)

        return self._edit(segmentationNode, volumeNode, [name], work, result, progress)

    def removeIslands(
        self,
        segmentationNode,
        name: str,
        minimum_cm3: float | None = None,
        *,
        volumeNode=None,
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Keep a structure's largest part, or all of at least a volume; see `RTPlanningLib.contouring.islands`."""

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            report(0.1, "Finding the parts")
            if minimum_cm3 is None:
                return keep_largest_part(structures[name])
            return remove_small_parts(structures[name], minimum_cm3)

        return self._edit(segmentationNode, volumeNode, [name], work, result, progress)

    # By CT numbers

    def createBody(
        self,
        segmentationNode,
        volumeNode,
        threshold_HU: float = -350.0,
        *,
        keepAllParts: bool = False,
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Find the body outline; by default it replaces the structure that has the role EXTERNAL."""
        result = result or Result()
        outlines = self.namesOfRole(segmentationNode, _BODY_ROLE)
        if not result.name and outlines:
            result = replace(result, name=outlines[0])
        others = [name for name in outlines if name != (result.name or outlines[0])]
        if others:
            raise PatientError(
                f"{', '.join(others)} would be a second body outline; give it another role or remove it first."
            )
        hu, grid = arrayFromVolume(volumeNode), gridFromVolume(volumeNode)

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            report(0.1, "Finding the body")
            return body_outline(hu, grid, threshold_HU, keep_all_parts=keepAllParts)

        return self._edit(segmentationNode, volumeNode, [], work, result, progress, grid)

    def thresholdSegment(
        self,
        segmentationNode,
        volumeNode,
        low_HU: float,
        high_HU: float,
        *,
        presetID: str = "",
        bodyName: str = "",
        result: Result | None = None,
        progress: Progress | None = None,
    ) -> EditedSegment:
        """Make a structure by CT numbers inside the body; see `RTPlanningLib.contouring.threshold.threshold`.

        ``presetID`` gives name, role and color where the result names none; the range is that of the call.
        """
        preset = threshold_presets().get(presetID)
        if presetID and preset is None:
            raise PatientError(f"There is no preset {presetID!r}; use one of {', '.join(threshold_presets())}.")
        hu, grid = arrayFromVolume(volumeNode), gridFromVolume(volumeNode)
        look = {"name": "Threshold"}
        if preset is not None:
            look = {"name": preset.name, "role": preset.role, "color": preset.color}

        def work(structures: Mapping[str, Structure], report: Progress) -> EditedStructure:
            report(0.1, "Comparing CT numbers")
            body = structures[bodyName] if bodyName else None
            return threshold(hu, grid, low_HU, high_HU, body=body, **look)

        return self._edit(segmentationNode, volumeNode, [bodyName] if bodyName else [], work, result, progress, grid)

    # What a segment is

    def renameSegment(self, segmentationNode, name: str, newName: str) -> None:
        """Give a structure another name; its ID stays. A name that is empty or taken raises `PatientError`."""
        segmentID = segmentIDOf(segmentationNode, name)
        newName = newName.strip()
        if newName == name:
            return
        segmentation = segmentationNode.GetSegmentation()
        if not newName:
            raise PatientError(f"Give {name} a name that is not empty.")
        if segmentation.GetSegmentIdBySegmentName(newName):
            raise PatientError(f"There is a structure {newName!r} already; choose another name for {name}.")
        self.history(segmentationNode).saveStateForUndo()
        segmentation.GetSegment(segmentID).SetName(newName)

    def setSegmentRole(self, segmentationNode, name: str, role: str) -> None:
        """Give a structure a role of `DoseEngineLib.plan.ROLES`."""
        segment = segmentationNode.GetSegmentation().GetSegment(segmentIDOf(segmentationNode, name))
        self.history(segmentationNode).saveStateForUndo()
        setSegmentRole(segment, role)

    def setSegmentColor(self, segmentationNode, name: str, color: tuple[float, float, float]) -> None:
        """Give a structure a color, RGB in 0..1."""
        segment = segmentationNode.GetSegmentation().GetSegment(segmentIDOf(segmentationNode, name))
        self.history(segmentationNode).saveStateForUndo()
        segment.SetColor(*color)

    def removeSegment(self, segmentationNode, name: str) -> None:
        """Remove a structure."""
        segmentID = segmentIDOf(segmentationNode, name)
        self.history(segmentationNode).saveStateForUndo()
        segmentationNode.GetSegmentation().RemoveSegment(segmentID)

    def namesOfRole(self, segmentationNode, role: str) -> list[str]:
        """Return the names of the structures of a role, in order."""
        return [row.name for row in structureRows(segmentationNode, SegmentVolumes()) if row.role == role]

    # How a tool runs

    def _edit(
        self,
        segmentationNode,
        volumeNode,
        names: Sequence[str],
        work: Work,
        result: Result | None,
        progress: Progress | None,
        grid: Grid | None = None,
    ) -> EditedSegment:
        result, progress = result or Result(), progress or silent
        if segmentationNode is None:
            raise PatientError("There is no segmentation; choose one.")
        for name in names:
            segmentIDOf(segmentationNode, name)
        progress(0.0, "Reading structures")
        grid = grid or editingGrid(segmentationNode, volumeNode)
        structures = {s.name: s for s in structuresFromSegmentation(segmentationNode, grid, names)} if names else {}
        edited = self.background(lambda report: work(structures, report), part(progress, 0.1, 0.95))
        # events may have turned meanwhile
        if segmentationNode.GetScene() is None:
            raise PatientError("The segmentation was removed meanwhile; nothing was stored.")
        made = edited.structure
        name = result.name.strip() or made.name
        segmentation = segmentationNode.GetSegmentation()
        former = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))
        if former is None:
            present = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
            made = replace(made, color=free_color(made.color, [segment.GetColor() for segment in present]))
        else:
            made = replace(made, role=roleOfSegment(former, name), color=tuple(former.GetColor()))
        made = replace(made, name=name, role=result.role or made.role, color=result.color or made.color)
        # a history keeps segments, not what they are in the first place
        ensureLabelmaps(segmentationNode, grid)
        self.history(segmentationNode).saveStateForUndo()
        segmentID = storeStructure(segmentationNode, made)
        return EditedSegment(segmentID, name, made.volume_cm3, edited.notes)

    def _stepped(self, segmentationNode, step: Callable[[History], object]) -> bool:
        # a segment editor does not say whether it had something to undo
        before = _segmentTimes(segmentationNode)
        step(self.history(segmentationNode))
        return _segmentTimes(segmentationNode) != before

    def _onClose(self, *_unused: object) -> None:
        for history in self._histories.values():
            history.release()
        self._histories = {}
        self._given = None

    def _onNodeRemoved(self, *_unused: object) -> None:
        for nodeID in list(self._histories):
            if self.scene.GetNodeByID(nodeID) is None:
                self._histories.pop(nodeID).release()
        if self._given is not None and self._given[0].GetScene() is None:
            self._given = None


def _segmentTimes(segmentationNode) -> list[tuple[str, int]]:
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    return [(segmentID, segmentation.GetSegment(segmentID).GetMTime()) for segmentID in ids]


def _atImagesEnd(structure: Structure) -> tuple[str, ...]:
    faces = [structure.mask.take(index, axis=axis) for axis in range(3) for index in (0, -1)]
    if any(face.any() for face in faces):
        return (f"{structure.name} reaches the image's end and is cut there.",)
    return ()
