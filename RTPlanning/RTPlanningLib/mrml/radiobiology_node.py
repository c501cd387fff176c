"""The table of complication and control probabilities of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation
from RTPlanningLib.mrml.evaluated_state import setEvaluatedState
from RTPlanningLib.mrml.table_columns import addTexts
from RTPlanningLib.radiobiology.plan_radiobiology import RadiobiologyResult

_REQUEST = {"operation": "radiobiology"}


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
    scene = planNode.GetScene()
    table = radiobiologyTable(planNode)
    if table is None:
        name = scene.GetUniqueNameByString(f"{planNode.GetName()}_Radiobiology")
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.RemoveAllColumns()
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
    for name, texts in columns.items():
        addTexts(table, name, texts)
    setDerivation(table, _REQUEST, [planNode])
    setEvaluatedState(table, state)
    placeNode(table, ensureStudy(planNode, "Patient", "Radiotherapy planning"))
    return table


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{100.0 * probability:.3g}"
