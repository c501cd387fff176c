"""Isodoses as SlicerRT shapes them: one model with all levels, and a color table whose color names are the levels."""

from __future__ import annotations

from collections.abc import Sequence

import slicer
import vtk

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.subject_hierarchy import placeNode
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.progress import Progress
from RTPlanningLib.display.isodose_levels import IsodoseLevel
from RTPlanningLib.display.isodose_settings import IsodoseSetting, settings_from_json, settings_to_json
from RTPlanningLib.display.isodose_surface import INDEX_ARRAY, isodose_surface

ISODOSE_MODEL = "DicomRtImport.IsodoseModel"
_MODEL_REFERENCE, _COLOR_REFERENCE = "isodoseModelRef", "isodoseColorTableRef"
_SETTINGS = "RTPlanning.IsodoseLevels"
_OPACITY = 0.35


def createIsodoseModel(doseNode, levels: Sequence[IsodoseLevel], progress: Progress | None = None):
    """Show a dose volume's isodoses: a model node, made once for each dose and updated afterwards.

    Parameters
    ----------
    doseNode : vtkMRMLScalarVolumeNode
    levels : sequence of IsodoseLevel
        None of them: an empty model.
    progress : callable, optional
        Called between the levels; when it raises, the former model stays.

    Returns
    -------
    vtkMRMLModelNode
        ``<dose>_IsodoseLevels``, point scalars ``isolevels`` in Gy, below the dose in the subject hierarchy.
    """
    scene = doseNode.GetScene()
    levels = sorted(levels, key=lambda level: level.dose_Gy)
    doses_Gy = [level.dose_Gy for level in levels]
    if levels:
        surface = isodose_surface(arrayFromVolume(doseNode), gridFromVolume(doseNode), doses_Gy, progress)
    else:
        surface = vtk.vtkPolyData()
    # events may have turned in between
    if doseNode.GetScene() is not scene:
        raise EvaluationError("The dose was removed while its isodoses were drawn; calculate it again.")
    model = doseNode.GetNodeReference(_MODEL_REFERENCE)
    if model is None:
        model = slicer.vtkMRMLModelNode()
        model.SetName(f"{doseNode.GetName()}_IsodoseLevels")
        model.SetAttribute(ISODOSE_MODEL, "1")
        model = scene.AddNode(model)
        model.CreateDefaultDisplayNodes()
        doseNode.SetNodeReferenceID(_MODEL_REFERENCE, model.GetID())
    colors = _colorTable(doseNode, levels)
    model.SetAndObservePolyData(surface)
    display = model.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    # colored by the level's position, since levels need not be at equal steps
    display.SetActiveScalarName(INDEX_ARRAY)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(0.0, max(len(levels) - 1, 1))
    display.ScalarVisibilityOn()
    display.SetOpacity(_OPACITY)
    display.Visibility2DOn()
    placeNode(model, placeNode(doseNode))
    return model


def isodoseSettings(doseNode) -> tuple[IsodoseSetting, ...] | None:
    """Return the levels that were set for a dose volume, or None; damaged ones raise `SchemaError`."""
    text = doseNode.GetAttribute(_SETTINGS)
    return settings_from_json(text) if text else None


def setIsodoseSettings(doseNode, settings: Sequence[IsodoseSetting] | None) -> None:
    """Keep levels with a dose volume, and so with its scene; None: the clinical default ones again."""
    doseNode.SetAttribute(_SETTINGS, None if settings is None else settings_to_json(settings))


def isodoseModel(doseNode):
    """Return the isodose model of a dose volume node, or None."""
    return doseNode.GetNodeReference(_MODEL_REFERENCE)


def _colorTable(doseNode, levels: Sequence[IsodoseLevel]):
    table = doseNode.GetNodeReference(_COLOR_REFERENCE)
    if table is None:
        table = slicer.vtkMRMLColorTableNode()
        table.SetName(f"{doseNode.GetName()}_IsodoseColorTable")
        table.SetTypeToUser()
        table = doseNode.GetScene().AddNode(table)
        doseNode.SetNodeReferenceID(_COLOR_REFERENCE, table.GetID())
    # a table of no colours cannot be drawn with
    table.SetNumberOfColors(max(len(levels), 1))
    for index, level in enumerate(levels):
        table.SetColor(index, f"{level.dose_Gy:.6g}", *level.color, 1.0)
    table.GetLookupTable().SetTableRange(0, max(len(levels) - 1, 1))
    return table
