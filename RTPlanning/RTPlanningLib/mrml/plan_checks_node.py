"""The checks of a plan before sign-off as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.mrml.patient_nodes import readPatient
from DoseEngineLib.mrml.plan_node import (
    REFERENCE_VOLUME,
    SEGMENTATION,
    goalsOf,
    isDoseCurrent,
    planFromNode,
    referencedNode,
)
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.evaluation.plan_checks import CheckResult, check_plan
from RTPlanningLib.mrml.derived_nodes import derivedNode
from RTPlanningLib.mrml.derived_table import setDerivedTable
from RTPlanningLib.mrml.evaluated_state import setEvaluatedState
from RTPlanningLib.mrml.plan_dose_result import planDoseResult

_REQUEST = {"operation": "checks"}


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
    return readPlanChecks(planNode, missing, calibration)(silent)


def readPlanChecks(
    planNode, missing: Sequence[str] = (), calibration: CalibrationCurve | None = None
) -> Callable[[Progress], list[CheckResult]]:
    """Read plan, CT, structures and dose now; return what checks them, which touches no node.

    Parameters as `checkPlanNode`.
    """
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
    makePatient = readPatient(volumeNode, segmentationNode, calibration)
    result = planDoseResult(planNode) if isDoseCurrent(planNode) else None
    plan, goals, missing = planFromNode(planNode), goalsOf(planNode), tuple(missing)

    def check(progress: Progress) -> list[CheckResult]:
        progress(0.0, "Checking the plan")
        return check_plan(makePatient(), plan, result, goals=goals, missing=missing)

    return check


def planChecksTable(planNode):
    """Return the plan's table of checks, or None."""
    return derivedNode(planNode.GetScene(), "vtkMRMLTableNode", _REQUEST, [planNode])


def createPlanChecksTable(planNode, results: Sequence[CheckResult], state: Mapping[str, str] | None = None):
    """Put the table ``<plan>_Checks`` (columns Check, Result, Text) into the scene, in place of the former one.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    results : sequence of CheckResult
    state : mapping, optional
        What they were made of; see `RTPlanningLib.mrml.evaluated_state`.

    Returns
    -------
    vtkMRMLTableNode
    """
    columns = {
        "Check": [result.name for result in results],
        "Result": [result.verdict for result in results],
        "Text": [result.text for result in results],
    }
    table = setDerivedTable(f"{planNode.GetName()}_Checks", _REQUEST, [planNode], columns.items())
    setEvaluatedState(table, state)
    return table
