"""What came of an optimization, in tables and a chart that stay with the plan: objectives, beams, DVHs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.mrml.plan_node import isDoseCurrent, planHash, referencedNodes
from DoseEngineLib.mrml.plot_series import setLine
from DoseEngineLib.mrml.subject_hierarchy import placeNode, removeNode, studyOf
from DoseEngineLib.mrml.table_columns import setColumns
from DoseEngineLib.plan import Beam, Plan
from OptimizerLib.objectives_reached import RowOutcome
from OptimizerLib.voxel_dvh import curve_doses_Gy

OUTCOME_TABLE = "optimizationOutcomeTableRef"
BEAMS_TABLE = "optimizationBeamsTableRef"
RESULT_CHART = "optimizationDvhChartRef"
_DVH_TABLE = "optimizationDvhTableRef"
_SERIES = "optimizationDvhSeriesRef"
_OF_PLAN = "RTPlanning.PlanHash"
_VERDICTS = {True: "yes", False: "no", None: ""}


def createOptimizationResultNodes(
    planNode,
    outcomes: Sequence[RowOutcome],
    before: Plan,
    after: Plan,
    ideal: Mapping[str, Dvh],
    delivered: Mapping[str, Dvh],
    colors: Mapping[str, tuple[float, float, float]],
) -> None:
    """Put results into the scene, in place of the plan's former ones.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    outcomes : sequence of RowOutcome
    before, after : Plan
        The latter with MU.
    ideal, delivered : mapping of structure name to Dvh
        Drawn dashed and solid.
    colors : mapping of structure name to RGB
    """
    removeOptimizationResultNodes(planNode)
    name = planNode.GetName()
    outcome = _add(planNode, "vtkMRMLTableNode", f"{name}_ObjectivesReached", OUTCOME_TABLE)
    setColumns(
        outcome,
        {
            "Objective": [str(entry.row) for entry in outcomes] or [""],
            "Ideal": [entry.ideal.text for entry in outcomes] or [""],
            "Delivered": [entry.delivered.text for entry in outcomes] or [""],
            "Reached": [_VERDICTS[entry.delivered.met] for entry in outcomes] or [""],
        },
    )
    outcome.SetAttribute(_OF_PLAN, planHash(planNode))
    former = {beam.name: beam.meterset_MU for beam in before.beams}
    beams = _add(planNode, "vtkMRMLTableNode", f"{name}_OptimizedBeams", BEAMS_TABLE)
    setColumns(
        beams,
        {
            "Beam": [beam.name for beam in after.beams],
            "MU before": [_MU(former.get(beam.name)) for beam in after.beams],
            "MU after": [_MU(beam.meterset_MU) for beam in after.beams],
            "Segments": [_segments(beam) for beam in after.beams],
        },
    )
    _createChart(planNode, ideal, delivered, colors)


def isResultCurrent(planNode) -> bool:
    """Tell whether the plan's results are those of the plan as it now stands, and of its dose."""
    table = planNode.GetNodeReference(OUTCOME_TABLE)
    if table is None or not isDoseCurrent(planNode):
        return False
    return table.GetAttribute(_OF_PLAN) == planHash(planNode)


def removeOptimizationResultNodes(planNode) -> None:
    """Remove the plan's results from the scene."""
    for role in (_SERIES, RESULT_CHART, _DVH_TABLE, BEAMS_TABLE, OUTCOME_TABLE):
        for node in referencedNodes(planNode, role):
            removeNode(node)
        planNode.RemoveNodeReferenceIDs(role)


def _createChart(planNode, ideal, delivered, colors) -> None:
    kinds = (("delivered", delivered, "LineStyleSolid"), ("ideal", ideal, "LineStyleDash"))
    largest = max((dvh.max_Gy for _, dvhs, _ in kinds for dvh in dvhs.values()), default=0.0)
    at_Gy = curve_doses_Gy(largest)
    columns = {"Dose": at_Gy}
    drawn = []
    for kind, dvhs, style in kinds:
        for structure, dvh in dvhs.items():
            column = f"{structure}, {kind}"
            columns[column] = [dvh.volume_percent_at_dose(float(dose)) for dose in at_Gy]
            drawn.append((column, colors.get(structure, (0.5, 0.5, 0.5)), style))
    table = _add(planNode, "vtkMRMLTableNode", f"{planNode.GetName()}_OptimizationDvh", _DVH_TABLE)
    setColumns(table, columns)
    chart = _add(planNode, "vtkMRMLPlotChartNode", f"{planNode.GetName()}_OptimizationDvhChart", RESULT_CHART)
    chart.SetTitle("DVH: delivered (solid), ideal fluence (dashed)")
    chart.SetXAxisTitle("Dose [Gy]")
    chart.SetYAxisTitle("Volume [%]")
    for column, color, style in drawn:
        series = _add(planNode, "vtkMRMLPlotSeriesNode", column, _SERIES)
        setLine(series, table, "Dose", column, color)
        series.SetLineStyle(getattr(series, style))
        chart.AddAndObservePlotSeriesNodeID(series.GetID())


def _add(planNode, className: str, name: str, role: str):
    node = planNode.GetScene().AddNewNodeByClass(className, name)
    placeNode(node, studyOf(planNode))
    planNode.AddNodeReferenceID(role, node.GetID())
    return node


def _segments(beam: Beam) -> str:
    """Number of openings that stand while the beam is on; leaves that move meanwhile have control points instead."""
    pairs = list(zip(beam.control_points, beam.control_points[1:]))
    lit = [(a, b) for a, b in pairs if b.cumulative_meterset_weight > a.cumulative_meterset_weight]
    if all(a.aperture == b.aperture for a, b in lit):
        return str(len(lit))
    return f"moving, {len(beam.control_points)} control points"


def _MU(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
