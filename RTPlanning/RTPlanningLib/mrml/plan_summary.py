"""What a plan node holds, in words."""

from __future__ import annotations

from DoseEngineLib.mrml.dose_volume import provenanceOf
from DoseEngineLib.mrml.plan_node import (
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    changedSinceDose,
    deliveredPlan,
    goalsOf,
    isDoseCurrent,
    planFromNode,
    referencedNode,
)
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Beam
from RTPlanningLib.mrml.goals_node import GOALS_TABLE


def planSummary(planNode) -> list[str]:
    """Return lines that tell a plan's prescription, images, beams, dose and goals; what is missing is said.

    Raises
    ------
    PlanError, SchemaError
        No plan node, or a plan that this version cannot read.
    """
    plan = planFromNode(planNode)
    current = isDoseCurrent(planNode)
    beams = deliveredPlan(planNode).beams if current else plan.beams
    return [
        f"Plan {plan.name}, {plan.patient_position}, engine {plan.engine}",
        f"  Prescription: {_prescription(plan)}",
        f"  CT: {_image(planNode)}",
        f"  Structures: {_structures(planNode)}",
        f"  Dose: {_dose(planNode, current)}",
        "  Beams:",
        *_columns([_BEAM_HEADER, *(_beam(beam) for beam in beams)]),
        *_goals(planNode),
    ]


_BEAM_HEADER = (
    "name",
    "gantry",
    "collimator",
    "couch",
    "jaws X (mm)",
    "jaws Y (mm)",
    "MLC",
    "MU",
    "isocentre RAS (mm)",
)


def _beam(beam: Beam) -> tuple[str, ...]:
    first, last = beam.control_points[0], beam.control_points[-1]
    gantry = f"{first.gantry_deg:g}" + ("" if first.gantry_deg == last.gantry_deg else f" to {last.gantry_deg:g}")
    aperture = first.aperture
    return (
        beam.name,
        gantry,
        f"{first.collimator_deg:g}",
        f"{first.couch_deg:g}",
        "{:.1f} / {:.1f}".format(*aperture.jaw_x_mm),
        "{:.1f} / {:.1f}".format(*aperture.jaw_y_mm),
        "open" if aperture.leaf_positions_mm is None else f"{len(aperture.leaf_positions_mm)} pairs",
        "-" if beam.meterset_MU is None else f"{beam.meterset_MU:.1f}",
        ", ".join(f"{value:.1f}" for value in beam.isocenter_RAS_mm),
    )


def _prescription(plan) -> str:
    prescription = plan.prescription
    if prescription is None:
        return "none; MU as given"
    text = f"{prescription.dose_Gy:g} Gy in {prescription.fractions} fractions"
    if prescription.target:
        text += f" to {prescription.target}"
    if prescription.normalization == "point":
        point = prescription.point_RAS_mm
        where = "the first isocentre" if point is None else "{:g}, {:g}, {:g} mm".format(*point)
        return f"{text}, normalized at {where}"
    return f"{text}, " + ("MU as given" if prescription.normalization == "none" else f"by {prescription.normalization}")


def _image(planNode) -> str:
    node = planNode.GetNodeReference(REFERENCE_VOLUME)
    if node is None:
        return "not in the scene"
    grid = gridFromVolume(node)
    return f"{node.GetName()}, {_lengths(grid.shape[::-1])} voxels of {_lengths(grid.spacing_mm)} mm"


def _structures(planNode) -> str:
    node = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
    if node is None:
        return "none"
    segmentation = node.GetSegmentation()
    return (
        ", ".join(segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())) or "none"
    )


def _dose(planNode, current: bool) -> str:
    node = planNode.GetNodeReference(DOSE)
    if node is None:
        return "not calculated"
    grid = gridFromVolume(node)
    maximum = float(arrayFromVolume(node).max())
    text = f"maximum {maximum:.2f} Gy, {_lengths(grid.shape[::-1])} voxels of {_lengths(grid.spacing_mm)} mm"
    provenance = provenanceOf(node)
    if "engine" in provenance:
        text += f", {provenance['engine']} {provenance.get('engine_version', '')}".rstrip()
    if current:
        return text
    return f"{text}; changed since: {', '.join(changedSinceDose(planNode))}; calculate it again"


def _goals(planNode) -> list[str]:
    table = planNode.GetNodeReference(GOALS_TABLE)
    if table is None or not table.GetNumberOfRows():
        return [f"  Goal, not judged yet: {goal}" for goal in goalsOf(planNode)]
    names = ("Structure", "Metric", "Limit", "Achieved", "Result")
    rows = [
        tuple(table.GetCellText(row, table.GetColumnIndex(name)) for name in names)
        for row in range(table.GetNumberOfRows())
    ]
    return ["  Goals:", *_columns(rows)]


def _lengths(values) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["    " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths)).rstrip() for row in rows]
