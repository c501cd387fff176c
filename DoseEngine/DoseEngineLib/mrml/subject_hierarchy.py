"""Patient, study and node items of the subject hierarchy, made by hand where the application does not make them."""

from __future__ import annotations

import slicer
import vtk

_STUDY = "Study"
_PATIENT = "Patient"
_DICOM = "DICOM"
# INTEROP: the unit of all doses of a study
_UNIT_NAME, _UNIT_VALUE = "DicomRtImport.DoseUnitName", "DicomRtImport.DoseUnitValue"


def hierarchyNode(scene):
    """Return the scene's subject hierarchy node, made when there is none."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def placeNode(node, parentItem: int | None = None) -> int:
    """Return a node's item, made when missing (desktop Slicer makes it on AddNode), under ``parentItem`` when given."""
    hierarchy = hierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    if not item:
        item = hierarchy.CreateItem(parentItem or hierarchy.GetSceneItemID(), node)
    elif parentItem is not None and hierarchy.GetItemParent(item) != parentItem:
        hierarchy.SetItemParent(item, parentItem)
    # which plug-in owns an item can depend on its place and attributes
    hierarchy.RequestOwnerPluginSearch(item)
    return item


def createPatient(scene, name: str, patientID: str = "") -> int:
    """Return the patient item with this DICOM ID, or a new one; without an ID always a new one."""
    hierarchy = hierarchyNode(scene)
    item = hierarchy.GetItemByUID(_DICOM, patientID) if patientID else 0
    if not item:
        item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), name)
        hierarchy.SetItemAttribute(item, "DICOM.PatientName", name)
        if patientID:
            hierarchy.SetItemUID(item, _DICOM, patientID)
            hierarchy.SetItemAttribute(item, "DICOM.PatientID", patientID)
    return item


def createStudy(scene, patientItem: int, name: str, studyInstanceUID: str = "") -> int:
    """Return the patient's study item with this UID, or a new one; without a UID always a new one."""
    hierarchy = hierarchyNode(scene)
    item = hierarchy.GetItemByUID(_DICOM, studyInstanceUID) if studyInstanceUID else 0
    if not item:
        item = hierarchy.CreateStudyItem(patientItem, name)
        if studyInstanceUID:
            hierarchy.SetItemUID(item, _DICOM, studyInstanceUID)
            hierarchy.SetItemAttribute(item, "DICOM.StudyInstanceUID", studyInstanceUID)
    return item


def studyOf(node) -> int:
    """Return the study item above a node; 0 when there is none."""
    hierarchy = hierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    return hierarchy.GetItemAncestorAtLevel(item, _STUDY) if item else 0


def ensureStudy(node, patientName: str, studyName: str) -> int:
    """Return the study item above a node; without one a patient and a study are made and the node put under them."""
    study = studyOf(node)
    if not study:
        scene = node.GetScene()
        study = createStudy(scene, createPatient(scene, patientName), studyName)
        placeNode(node, study)
    return study


def studyForDose(scene, study: int) -> int:
    """Return a study item whose dose unit is Gy.

    It is ``study`` itself, its unit set when it has none. A study has one unit; where this one holds doses in another
    unit (relative, or scaled), a study beside it takes ours.
    """
    hierarchy = hierarchyNode(scene)
    if _unitIsFree(hierarchy, study):
        return _setUnit(hierarchy, study)
    patient = hierarchy.GetItemAncestorAtLevel(study, _PATIENT) or hierarchy.GetItemParent(study)
    name = f"{hierarchy.GetItemName(study)} (dose in Gy)"
    beside = hierarchy.GetItemChildWithName(patient, name)
    return _setUnit(hierarchy, beside or createStudy(scene, patient, name))


def _unitIsFree(hierarchy, study: int) -> bool:
    name = hierarchy.GetItemAttribute(study, _UNIT_NAME)
    value = hierarchy.GetItemAttribute(study, _UNIT_VALUE)
    return (name in ("", "GY")) and (value == "" or float(value) == 1.0)


def _setUnit(hierarchy, study: int) -> int:
    hierarchy.SetItemAttribute(study, _UNIT_NAME, "GY")
    hierarchy.SetItemAttribute(study, _UNIT_VALUE, "1.0")
    return study


def removeNode(node) -> None:
    """Remove a node and its own item (headless, the item would stay); items below move up."""
    scene = node.GetScene()
    hierarchy = hierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        parent = hierarchy.GetItemParent(item)
        for child in childItems(scene, item):
            hierarchy.SetItemParent(child, parent)
        hierarchy.RemoveItem(item, False, False)
    scene.RemoveNode(node)


def childItems(scene, item: int) -> list[int]:
    """Return the items directly below one, in order."""
    children = vtk.vtkIdList()
    hierarchyNode(scene).GetItemChildren(item, children)
    return [children.GetId(n) for n in range(children.GetNumberOfIds())]
