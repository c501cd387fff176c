"""Dose volume nodes as SlicerRT reads them: attribute, study unit, display, and where the dose comes from."""

from __future__ import annotations

import colorsys
import json
from typing import Any

import numpy as np
import slicer

from DoseEngineLib.errors import EngineError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.color_table import singletonColorTable
from DoseEngineLib.mrml.subject_hierarchy import placeNode
from DoseEngineLib.mrml.volumes import setVolumeFromArray

DOSE_VOLUME = "DicomRtImport.DoseVolume"
PROVENANCE = "RTPlanning.DoseProvenance"
DOSE_TO = "RTPlanning.DoseTo"

_SLICERRT_COLOR_TABLE = "Dose_ColorTable"
_OWN_COLOR_TABLE = "RTPlanning_Dose_ColorTable"
_COLORS = 256
# Rounding of float32 sums may leave such negatives; larger ones are an engine's error.
_ROUNDING = 1e-6
_WINDOW = 1.1
_LOWER_THRESHOLD = 0.05


def storableDose(dose_Gy: np.ndarray, what: str) -> np.ndarray:
    """Return a dose as float32 without negatives.

    Raises
    ------
    EngineError
        NaN, infinite or negative values beyond rounding: the engine is at fault, nothing is hidden.
    """
    dose = np.array(dose_Gy, dtype=np.float32)
    if not np.isfinite(dose).all():
        raise EngineError(
            f"{what} has {np.count_nonzero(~np.isfinite(dose))} NaN or infinite voxels; report this engine."
        )
    if dose.size and dose.min() < -_ROUNDING * max(float(dose.max()), 0.0):
        raise EngineError(f"{what} has negative voxels down to {dose.min():.3g} Gy; report this engine.")
    return np.maximum(dose, 0.0)


def setDoseVolume(
    scene,
    doseNode,
    name: str,
    dose_Gy: np.ndarray,
    grid: Grid,
    *,
    parentItem: int,
    reference_Gy: float | None = None,
    provenance: dict[str, Any] | None = None,
    dose_to: str = "water",
):
    """Write a dose into a volume node, added to the scene when ``doseNode`` is None.

    Parameters
    ----------
    scene : vtkMRMLScene
    doseNode : vtkMRMLScalarVolumeNode or None
    name : str
        Name of a new node.
    dose_Gy : (k, j, i) array
    grid : Grid
    parentItem : int
        Subject hierarchy item in a study whose unit is Gy.
    reference_Gy : float, optional
        Sets the display window, normally the prescription; else the maximum.
    provenance : dict, optional
        JSON values, kept as the attribute ``RTPlanning.DoseProvenance``.
    dose_to : {"water", "medium"}

    Returns
    -------
    vtkMRMLScalarVolumeNode
    """
    dose = storableDose(dose_Gy, name)
    isNew = doseNode is None
    if isNew:
        doseNode = slicer.vtkMRMLScalarVolumeNode()
        doseNode.SetName(scene.GetUniqueNameByString(name))
        # before AddNode: SlicerRT decides by it, when the node appears, whether the volume is a dose
        doseNode.SetAttribute(DOSE_VOLUME, "1")
    setVolumeFromArray(doseNode, dose, grid)
    doseNode.SetAttribute(PROVENANCE, json.dumps(provenance or {}, sort_keys=True, allow_nan=False))
    doseNode.SetAttribute(DOSE_TO, dose_to)
    if isNew:
        doseNode = scene.AddNode(doseNode)
        doseNode.CreateDefaultDisplayNodes()
    _display(scene, doseNode, reference_Gy or float(dose.max()) or 1.0)
    placeNode(doseNode, parentItem)
    return doseNode


def provenanceOf(doseNode) -> dict[str, Any]:
    """Return where a dose comes from (engine, version, machine, grid, plan hash); empty for doses of other origin."""
    text = doseNode.GetAttribute(PROVENANCE)
    return json.loads(text) if text else {}


def doseColorTable(scene):
    """Return SlicerRT's dose color table when the scene has it, else our own with 256 colors from blue to red."""
    slicerrt = scene.GetSingletonNode(_SLICERRT_COLOR_TABLE, "vtkMRMLColorTableNode")
    if slicerrt is not None:
        return slicerrt
    fractions = [n / (_COLORS - 1) for n in range(_COLORS)]
    colors = [colorsys.hsv_to_rgb((1.0 - fraction) * 2.0 / 3.0, 1.0, 1.0) for fraction in fractions]
    return singletonColorTable(scene, _OWN_COLOR_TABLE, colors, [f"{fraction:.4f}" for fraction in fractions])


def _display(scene, doseNode, reference_Gy: float) -> None:
    display = doseNode.GetScalarVolumeDisplayNode()
    display.SetAndObserveColorNodeID(doseColorTable(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, _WINDOW * reference_Gy)
    display.AutoThresholdOff()
    display.SetThreshold(_LOWER_THRESHOLD * reference_Gy, 1e6)
    display.ApplyThresholdOn()
