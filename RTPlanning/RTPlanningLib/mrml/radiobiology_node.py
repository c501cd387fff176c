"""The table of complication and control probabilities of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from RTPlanningLib.mrml.derived_nodes import derivedNode
from RTPlanningLib.mrml.derived_table import setDerivedTable
from RTPlanningLib.mrml.evaluated_state import setEvaluatedState
from RTPlanningLib.radiobiology.eqd2_metrics import Eqd2Row
from RTPlanningLib.radiobiology.plan_radiobiology import RadiobiologyResult

_REQUEST = {"operation": "radiobiology"}
_EQD2 = {"operation": "EQD2 by structure"}


def radiobiologyTable(planNode):
    """Return the plan's table of probabilities, or None."""
    return derivedNode(planNode.GetScene(), "vtkMRMLTableNode", _REQUEST, [planNode])


def createRadiobiologyTable(planNode, results: Sequence[RadiobiologyResult], state: Mapping[str, str] | None = None):
    """Put the table ``<plan>_Radiobiology`` into the scene, in place of the former one.

    Columns Structure, Quantity, Endpoint, Probability (%), 95 % band (%), Mean dose (Gy), gEUD (Gy), Doses, Parameters,
    Note, Source.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    results : sequence of RadiobiologyResult
    state : mapping, optional
        What they were calculated of; see `RTPlanningLib.mrml.evaluated_state`.

    Returns
    -------
    vtkMRMLTableNode
    """
    columns = {
        "Structure": [r.structure for r in results],
        "Quantity": [r.quantity for r in results],
        "Endpoint": [r.endpoint for r in results],
        "Probability (%)": [_percent(r.probability) for r in results],
        "95 % band (%)": [
            "" if r.low is None or r.high is None else f"{_percent(r.low)} to {_percent(r.high)}" for r in results
        ],
        "Mean dose (Gy)": ["" if r.mean_Gy is None else f"{r.mean_Gy:.2f}" for r in results],
        "gEUD (Gy)": ["" if r.geud_Gy is None else f"{r.geud_Gy:.2f}" for r in results],
        "Doses": [r.dose_terms for r in results],
        "Parameters": [r.set_id for r in results],
        "Note": [r.note for r in results],
        "Source": [r.source for r in results],
    }
    table = setDerivedTable(f"{planNode.GetName()}_Radiobiology", _REQUEST, [planNode], columns.items())
    setEvaluatedState(table, state)
    return table


def eqd2Table(planNode):
    """Return the plan's table of EQD2 by structure, or None."""
    return derivedNode(planNode.GetScene(), "vtkMRMLTableNode", _EQD2, [planNode])


def createEqd2Table(planNode, rows: Sequence[Eqd2Row], state: Mapping[str, str] | None = None):
    """Put the table ``<plan>_EQD2Metrics`` into the scene, in place of the former one.

    Columns Structure, alpha/beta (Gy), Mean (Gy), D98% (Gy), D50% (Gy), D2% (Gy), alpha/beta by, Note.

    Returns
    -------
    vtkMRMLTableNode
    """
    columns = {
        "Structure": [row.structure for row in rows],
        "alpha/beta (Gy)": [f"{row.alpha_beta_Gy:g}" for row in rows],
        "Mean (Gy)": [f"{row.mean_Gy:.2f}" for row in rows],
        "D98% (Gy)": [f"{row.D98_Gy:.2f}" for row in rows],
        "D50% (Gy)": [f"{row.D50_Gy:.2f}" for row in rows],
        "D2% (Gy)": [f"{row.D2_Gy:.2f}" for row in rows],
        "alpha/beta by": [row.by for row in rows],
        "Note": [row.note for row in rows],
    }
    table = setDerivedTable(f"{planNode.GetName()}_EQD2Metrics", _EQD2, [planNode], columns.items())
    setEvaluatedState(table, state)
    return table


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{100.0 * probability:.3g}"
