"""Pictures of difference and gamma volumes over the CT of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, isPlanNode, planFromNode, referencedNode
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from RTPlanningLib.display.color_overlay import ColorOverlay, difference_overlay, gamma_overlay
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.mrml.comparison_volume import UNIT, comparisonValues
from RTPlanningLib.mrml.derived_nodes import inputsOf, statisticsOf
from RTPlanningLib.mrml.dose_difference_node import DIFFERENCE_VOLUME
from RTPlanningLib.mrml.gamma_node import GAMMA_VOLUME
from RTPlanningLib.mrml.plan_evaluation import planStructures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparisonOverlay(volumeNode) -> ColorOverlay:
    """Return a difference or gamma volume as a coloured map; another volume raises `EvaluationError`."""
    if volumeNode.GetAttribute(GAMMA_VOLUME) == "1":
        statistics = statisticsOf(volumeNode)
        label = "Gamma"
        if statistics:
            label = f"Gamma {statistics['dose_percent']:g} %, {statistics['distance_mm']:g} mm, {statistics['kind']}"
        return gamma_overlay(*comparisonValues(volumeNode), label)
    if volumeNode.GetAttribute(DIFFERENCE_VOLUME) == "1":
        limit = statisticsOf(volumeNode).get("display_limit")
        return difference_overlay(*comparisonValues(volumeNode), _unit(volumeNode), limit)
    raise EvaluationError(
        f"{volumeNode.GetName()} holds neither a dose difference nor gamma; choose a volume that a comparison made."
    )


def _unit(volumeNode) -> str:
    """The unit, and what 100 % are."""
    statistics, unit = statisticsOf(volumeNode), volumeNode.GetAttribute(UNIT) or "Gy"
    if statistics.get("kind") == "local":
        return f"{unit} of the local dose"
    if statistics.get("kind") == "percent":
        return f"{unit} of {statistics['normalization_Gy']:.4g} Gy"
    return unit


def drawComparison(volumeNode, planNode=None, point_RAS_mm: Sequence[float] | None = None) -> Figure:
    """Draw the three planes of a plan's CT with its structures under a difference or gamma volume.

    Parameters
    ----------
    volumeNode : vtkMRMLScalarVolumeNode
    planNode : vtkMRMLScriptedModuleNode, optional
        By default the first plan that the volume was calculated from.
    point_RAS_mm : (3,) array, optional
        Where the planes cross; by default the plan's first isocentre.

    Raises
    ------
    EvaluationError
        A volume that holds no comparison, no plan, or a point outside the CT.
    """
    overlay = comparisonOverlay(volumeNode)
    if planNode is None:
        planNode = next((node for node in inputsOf(volumeNode) if isPlanNode(node)), None)
    if planNode is None:
        raise EvaluationError(
            f"{volumeNode.GetName()} was not calculated from a plan in the scene; name the plan whose CT it lies on."
        )
    plan = planFromNode(planNode)
    ctNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    grid = gridFromVolume(ctNode)
    isocenter = plan.beams[0].isocenter_RAS_mm if plan.beams else None
    if point_RAS_mm is None and isocenter is not None and grid.contains(isocenter):
        point_RAS_mm = isocenter
    hasStructures = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True) is not None
    return draw_slices(
        arrayFromVolume(ctNode),
        grid,
        structures=planStructures(planNode) if hasStructures else (),
        point_RAS_mm=point_RAS_mm,
        isocenter_RAS_mm=isocenter,
        overlay=overlay,
    )
