"""What was read of a DICOM folder as nodes: CT, segmentation, plans and doses in one study, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.mrml.dose_volume import DOSE_VOLUME, setDoseVolume
from DoseEngineLib.mrml.plan_node import BEAM_NAME, createPlanNode
from DoseEngineLib.mrml.segmentations import setStructures
from DoseEngineLib.mrml.subject_hierarchy import (
    childItems,
    createPatient,
    createStudy,
    ensureStudy,
    hierarchyNode,
    placeNode,
    removeNode,
    studyForDose,
)
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.dicom.planning_folder import DoseOfFolder, PlanningFolder
from RTPlanningLib.mrml.beam_model_nodes import createBeamModelNodes
from RTPlanningLib.mrml.case_nodes import createCaseNodes
from RTPlanningLib.mrml.dose_distribution_nodes import setQuantity
from RTPlanningLib.mrml.slicerrt_dicom import loadThroughSlicerRt, slicerRtPlugin

_SAME_MM = 0.01
# of the largest dose: SlicerRT keeps single precision
_SAME_DOSE = 1e-5
_MEDIA = {"Dose to water": "water", "Dose to medium": "medium"}


@dataclass(frozen=True)
class ImportedNodes:
    """What an import added to the scene.

    Attributes
    ----------
    volumeNode : vtkMRMLScalarVolumeNode or None
        The CT, where there is one.
    segmentationNode : vtkMRMLSegmentationNode
    planNodes : tuple of vtkMRMLScriptedModuleNode
    doseNodes : tuple of vtkMRMLScalarVolumeNode
        Doses of the files, those of whole plans first. They are volumes of their own: calculating a plan leaves the
        dose it came with as it is.
    notes : tuple of str
        What the user should know.
    """

    volumeNode: Any
    segmentationNode: Any
    planNodes: tuple[Any, ...]
    doseNodes: tuple[Any, ...]
    notes: tuple[str, ...]


def createImportedNodes(
    scene, folder: PlanningFolder, *, throughSlicerRT: bool = True, progress: Progress | None = None
) -> ImportedNodes:
    """Add what a DICOM folder holds to a scene; on failure and cancel nothing of it stays.

    Where SlicerRT is there, structures and doses are loaded through its DICOM plug-in, so that its modules know them.
    Voxels, contours and doses are those read here in either case, and a difference between the two is noted.

    Parameters
    ----------
    scene : vtkMRMLScene
    folder : PlanningFolder
    throughSlicerRT : bool
        Use SlicerRT's plug-in where it is there.
    progress : callable, optional
    """
    report = part(progress, 0.0, 1.0)
    if folder.case is None:
        return _createWithoutCt(scene, folder)
    with _allOrNothing(scene) as before:
        plugin = slicerRtPlugin(scene) if throughSlicerRT else None
        notes = list(folder.notes)
        segmentationNode = None
        if plugin is not None and folder.structure_set is not None:
            segmentationNode = _loaded(plugin, scene, folder.structure_set, notes, "vtkMRMLSegmentationNode")
        report(0.0, "Adding CT and structures")
        volumeNode, segmentationNode = createCaseNodes(scene, folder.case, segmentationNode)
        planNodes = {}
        for number, plan in enumerate(folder.plans):
            report(0.4 + 0.3 * number / len(folder.plans), f"Adding plan {plan.plan.name}")
            planNodes[plan] = createPlanNode(scene, plan.plan, volumeNode, segmentationNode)
        for number, planNode in enumerate(planNodes.values()):
            report(0.7 + 0.2 * number / len(planNodes), f"Drawing the beams of {planNode.GetName()}")
            createBeamModelNodes(planNode)
        report(0.9, "Adding doses")
        doseNodes: dict[DoseOfFolder, Any] = {}
        for dose in folder.doses:
            study = ensureStudy(volumeNode, "Patient", "Radiotherapy planning")
            doseNodes[dose] = _doseNode(scene, plugin, dose, study, planNodes, doseNodes, notes)
        before.removeEmptyItems()
        return ImportedNodes(
            volumeNode, segmentationNode, tuple(planNodes.values()), tuple(doseNodes.values()), tuple(notes)
        )


def _createWithoutCt(scene, folder: PlanningFolder) -> ImportedNodes:
    """Doses and contoured structures in a study of their own; the voxels of structures are on the dose's lattice."""
    with _allOrNothing(scene):
        name = folder.patient_name or "Patient"
        patient = createPatient(scene, name, folder.patient_id)
        study = createStudy(scene, patient, "Radiotherapy planning", folder.study_instance_uid)
        notes = list(folder.notes)
        doseNodes: dict[DoseOfFolder, Any] = {}
        for dose in folder.doses:
            doseNodes[dose] = _doseNode(scene, None, dose, study, {}, doseNodes, notes)
        lattice = folder.doses[0].read.dose.grid
        segmentationNode = slicer.vtkMRMLSegmentationNode()
        segmentationNode.SetName(scene.GetUniqueNameByString("Structures"))
        segmentationNode = scene.AddNode(segmentationNode)
        segmentationNode.CreateDefaultDisplayNodes()
        structures = [_onLattice(structure, lattice) for structure in folder.structures]
        notes += [
            f"{structure.name}: too small for a voxel of the dose; its segment is empty."
            for structure in structures
            if structure.is_empty
        ]
        setStructures(segmentationNode, structures, next(iter(doseNodes.values())))
        placeNode(segmentationNode, study)
        return ImportedNodes(None, segmentationNode, (), tuple(doseNodes.values()), tuple(notes))


def _onLattice(structure: Structure, lattice: Grid) -> Structure:
    """A structure with its outline, its voxels those of a lattice that goes on beyond its grid as far as needed."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(structure.grid.shape[::-1]) - 1)
    to_lattice = np.linalg.inv(lattice.affine) @ structure.grid.affine
    indices = corners @ to_lattice[:3, :3].T + to_lattice[:3, 3]
    first = np.floor(indices.min(axis=0)).astype(int) - 1
    count = np.ceil(indices.max(axis=0)).astype(int) + 2 - first
    affine = lattice.affine.copy()
    affine[:3, 3] = lattice.affine[:3, :3] @ first + lattice.affine[:3, 3]
    grid = Grid(tuple(int(n) for n in count[::-1]), affine)
    mask = resample(structure.mask.astype(np.float32), structure.grid, grid, fill=0.0) >= 0.5
    return replace(structure, mask=mask, grid=grid)


def _doseNode(scene, plugin, dose: DoseOfFolder, study: int, planNodes, doseNodes, notes: list[str]):
    read, plan = dose.read, dose.plan
    planName = planNodes[plan].GetName() if plan is not None else ""
    beamName = ""
    if plan is not None and len(read.beam_numbers) == 1 and read.beam_numbers[0] in plan.beam_numbers:
        beamName = plan.plan.beams[plan.beam_numbers.index(read.beam_numbers[0])].name
    parent = studyForDose(scene, study)
    if read.summation == "BEAM" and plan is not None:
        whole = [node for other, node in doseNodes.items() if other.plan is plan and other.read.summation != "BEAM"]
        parent = placeNode(whole[0]) if whole else parent
    node = None
    if plugin is not None:
        node = _loaded(plugin, scene, dose.path, notes, "vtkMRMLScalarVolumeNode", DOSE_VOLUME)
    if node is not None:
        node.CreateDefaultDisplayNodes()
    if node is not None and not _isSame(node, dose):
        notes.append(f"SlicerRT reads {dose.path.name} otherwise; the dose is as the file has it by its own tags.")
    prescription = plan.plan.prescription if plan is not None else None
    node = setDoseVolume(
        scene,
        node,
        "_".join(word for word in (planName, beamName, dose.path.stem) if word),
        read.dose.dose_Gy,
        read.dose.grid,
        parentItem=parent,
        reference_Gy=prescription.dose_Gy if prescription else None,
        provenance={**read.dose.provenance, "comment": read.comment},
        dose_to=_MEDIA.get(read.comment.split(",")[0], "unknown"),
    )
    if beamName:
        node.SetAttribute(BEAM_NAME, beamName)
    setQuantity(node, _quantity(read), plan.plan.fractions if plan is not None else None)
    return node


def _quantity(read) -> str:
    if read.kind != "EFFECTIVE":
        return "physical dose"
    # an effective dose that does not say which one is neither EQD2 nor BED
    return next((name for name in ("EQD2", "BED") if read.comment.startswith(f"{name},")), "effective dose")


def _loaded(plugin, scene, file: Path, notes: list[str], className: str, attribute: str | None = None):
    """SlicerRT's node of a file; None and a note where it makes none, and then nothing of it stays."""
    before = _Content(scene)
    node, reason = loadThroughSlicerRt(plugin, scene, file, className, attribute)
    if node is None:
        before.restore()
        notes.append(f"SlicerRT could not load {file.name} ({reason}); it was loaded without it.")
    return node


def _isSame(node, dose: DoseOfFolder) -> bool:
    own = dose.read.dose
    if not gridFromVolume(node).is_same_as(own.grid, _SAME_MM):
        return False
    return bool(np.abs(arrayFromVolume(node) - own.dose_Gy).max() <= _SAME_DOSE * max(float(own.dose_Gy.max()), 1.0))


class _Content:
    """Nodes and hierarchy items of a scene at a moment, to come back to."""

    def __init__(self, scene) -> None:
        self.scene = scene
        # it is made when first asked for, and stays
        hierarchyNode(scene)
        self.nodes = {node.GetID() for node in _nodes(scene)}
        self.items = set(_items(scene))

    def restore(self) -> None:
        for node in reversed(_nodes(self.scene)):
            if node.GetID() not in self.nodes and self.scene.GetNodeByID(node.GetID()) is not None:
                removeNode(node)
        for item in reversed(_items(self.scene)):
            if item not in self.items:
                hierarchyNode(self.scene).RemoveItem(item, False, False)

    def removeEmptyItems(self) -> None:
        """Remove patients and studies that came since and hold nothing: SlicerRT's, whose nodes were moved to ours."""
        hierarchy = hierarchyNode(self.scene)
        for item in reversed(_items(self.scene)):
            isNode = hierarchy.GetItemDataNode(item) is not None
            if item not in self.items and not isNode and not childItems(self.scene, item):
                hierarchy.RemoveItem(item, False, False)


def _nodes(scene) -> list:
    return [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]


def _items(scene) -> list[int]:
    hierarchy = hierarchyNode(scene)
    found = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    return [found.GetId(n) for n in range(found.GetNumberOfIds())]


@contextmanager
def _allOrNothing(scene) -> Iterator[_Content]:
    before = _Content(scene)
    try:
        yield before
    except BaseException:
        before.restore()
        raise
