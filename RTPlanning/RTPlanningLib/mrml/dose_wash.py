"""The dose as a colour wash over the CT: what doses are coloured, how strongly, and the legend beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import slicer

from DoseEngineLib.errors import EvaluationError

_COMPOSITE = "vtkMRMLSliceCompositeNode"
# Above every dose that is shown.
_NO_LIMIT_GY = 1e6
_LEGEND_LABELS = 6
_LEGEND_TEXT_SIZE = 14


@dataclass(frozen=True)
class DoseWash:
    """How a dose is coloured.

    Attributes
    ----------
    from_Gy, to_Gy : float
        Doses of the first and the last colour.
    threshold_Gy : float
        Doses below are not coloured.
    opacity : float
        0..1
    """

    from_Gy: float
    to_Gy: float
    threshold_Gy: float
    opacity: float

    def __post_init__(self) -> None:
        values = (self.from_Gy, self.to_Gy, self.threshold_Gy, self.opacity)
        if not all(math.isfinite(value) for value in values) or self.from_Gy < 0.0 or self.threshold_Gy < 0.0:
            raise EvaluationError(f"The colours of a dose need doses of 0 Gy or more; got {values[:3]}.")
        if self.to_Gy <= self.from_Gy:
            raise EvaluationError(
                f"The colours go from {self.from_Gy:.4g} to {self.to_Gy:.4g} Gy; the second has to be the larger one."
            )
        if not 0.0 <= self.opacity <= 1.0:
            raise EvaluationError(f"An opacity is between 0 and 1; got {self.opacity:g}.")


def showOverlay(overlayNode, volumeNode, opacity: float) -> None:
    """Lay a volume over another in every slice view of the scene, in place of a former one and its colour bar."""
    scene = overlayNode.GetScene()
    for composite in _composites(scene):
        former = scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if former is not None and former is not overlayNode:
            showLegend(former, False)
        if volumeNode is not None:
            composite.SetBackgroundVolumeID(volumeNode.GetID())
        composite.SetForegroundVolumeID(overlayNode.GetID())
        composite.SetForegroundOpacity(opacity)


def showDoseWash(doseNode, volumeNode, wash: DoseWash) -> None:
    """Lay a dose over its CT in every slice view of the scene.

    Parameters
    ----------
    doseNode, volumeNode : vtkMRMLScalarVolumeNode
    wash : DoseWash
    """
    display = doseNode.GetScalarVolumeDisplayNode()
    if display is None:
        doseNode.CreateDefaultDisplayNodes()
        display = doseNode.GetScalarVolumeDisplayNode()
    modified = display.StartModify()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(wash.from_Gy, wash.to_Gy)
    display.AutoThresholdOff()
    display.SetThreshold(wash.threshold_Gy, _NO_LIMIT_GY)
    display.ApplyThresholdOn()
    display.EndModify(modified)
    showOverlay(doseNode, volumeNode, wash.opacity)


def hideDoseWash(doseNode) -> None:
    """Take a dose off the slice views; other volumes there stay."""
    for composite in _composites(doseNode.GetScene()):
        if composite.GetForegroundVolumeID() == doseNode.GetID():
            composite.SetForegroundVolumeID(None)
    showLegend(doseNode, False)


def showLegend(volumeNode, visible: bool, title: str = "", labelFormat: str = "%.3g"):
    """Show or hide the colour bar of a volume; returns its display node, or None where there is none to hide."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(volumeNode)
    if legend is None:
        if not visible:
            return None
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(volumeNode)
        legend.SetNumberOfLabels(_LEGEND_LABELS)
        legend.GetTitleTextProperty().SetFontSize(_LEGEND_TEXT_SIZE)
        legend.GetLabelTextProperty().SetFontSize(_LEGEND_TEXT_SIZE)
    if visible:
        legend.SetTitleText(title or volumeNode.GetName())
        legend.SetLabelFormat(labelFormat)
    legend.SetVisibility(visible)
    return legend


def _composites(scene) -> list:
    return [scene.GetNthNodeByClass(n, _COMPOSITE) for n in range(scene.GetNumberOfNodesByClass(_COMPOSITE))]
