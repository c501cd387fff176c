"""The checks of a plan before sign-off as a table."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.engine import DoseResult
from DoseEngineLib.mrml.dose_volume import DOSE_TO, provenanceOf
from DoseEngineLib.mrml.patient_nodes import patientFromNodes
from DoseEngineLib.mrml.plan_node import (
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    deliveredPlan,
    goalsOf,
    isDoseCurrent,
    planFromNode,
    referencedNode,
)
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from RTPlanningLib.evaluation.plan_checks import CheckResult, check_plan
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation
from RTPlanningLib.mrml.table_columns import addTexts


def checkPlanNode(
    planNode, missing: Sequence[str] = (), calibration: CalibrationCurve | None = None
) -> list[CheckResult]:
    """Run all checks of a plan in the scene; a dose that is not that of the plan as it stands does not count.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    missing : sequence of str
        Organs that a goal template asks for and the case has not.
    calibration : CalibrationCurve, optional
        As the dose was calculated with; by default that of `Patient.from_hu`.
    """
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
    patient = patientFromNodes(volumeNode, segmentationNode, calibration)
    result = None
    if isDoseCurrent(planNode):
        doseNode = referencedNode(planNode, DOSE, "dose")
        result = DoseResult(
            arrayFromVolume(doseNode),
            gridFromVolume(doseNode),
            {},
            deliveredPlan(planNode),
            doseNode.GetAttribute(DOSE_TO) or "water",
            None,
            provenanceOf(doseNode),
        )
    return check_plan(patient, planFromNode(planNode), result, goals=goalsOf(planNode), missing=missing)


def createPlanChecksTable(planNode, results: Sequence[CheckResult]):
    """Put the table ``<plan>_Checks`` (columns Check, Result, Text) into the scene, in place of the former one.

    Returns
    -------
    vtkMRMLTableNode
    """
    request = {"operation": "checks"}
    scene = planNode.GetScene()
    table = derivedNode(scene, "vtkMRMLTableNode", request, [planNode])
    if table is None:
        name = scene.GetUniqueNameByString(f"{planNode.GetName()}_Checks")
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.RemoveAllColumns()
    for name, texts in {
        "Check": [result.name for result in results],
        "Result": [result.verdict for result in results],
        "Text": [result.text for result in results],
    }.items():
        addTexts(table, name, texts)
    setDerivation(table, request, [planNode])
    placeNode(table, ensureStudy(planNode, "Patient", "Radiotherapy planning"))
    return table
