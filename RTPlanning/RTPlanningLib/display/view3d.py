"""A 3D picture of a plan, drawn offscreen from the scene's nodes: body, structures, beams, isodoses."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer.util
import vtk
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DoseEngineLib.body import find_body
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.plan_node import (
    BEAM_MODEL,
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    referencedNode,
    referencedNodes,
)
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.transforms import matrixToWorld
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure
from RTPlanningLib.display.isodose_surface import INDEX_ARRAY, contour
from RTPlanningLib.mrml.isodose_node import isodoseModel

# From the patient's left, front and head: the side from which a supine patient is usually drawn.
DEFAULT_VIEW_DIRECTION_RAS = (-0.75, 1.0, 0.35)
_BACKGROUND = (1.0, 1.0, 1.0)
_BODY_COLOR, _BODY_OPACITY = (0.80, 0.62, 0.50), 0.22
_TARGET_OPACITY, _ORGAN_OPACITY = 1.0, 0.6
_BEAM_OPACITY, _BEAM_LINE_WIDTH = 0.16, 2.5
_ISODOSE_OPACITY = 0.25
# Smooths the voxel staircase before contouring; display only.
_SMOOTHING_VOXELS = 0.8
# A level of its own for each structure keeps surfaces that coincide (lungs, left lung) some tenths of a voxel apart.
_SURFACE_LEVELS = (0.4, 0.6)
_NOT_DRAWN = ("SUPPORT", "CONTROL", "OTHER")
_ZOOM = 1.15
_PEELS = 12
_OSMESA = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")


class RenderingError(PlanningError):
    """Pictures cannot be drawn on this machine."""


def renderPlan(
    planNode,
    size: tuple[int, int] = (1000, 750),
    *,
    view_direction_RAS: Sequence[float] = DEFAULT_VIEW_DIRECTION_RAS,
    showIsodoses: bool = True,
) -> np.ndarray:
    """Draw a plan: translucent body, structures, beams, and the isodose model of its dose where there is one.

    The scene is not changed, and equal scenes give equal pictures on one machine.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    size : (int, int)
        Width and height in pixels.
    view_direction_RAS : (3,) sequence
        From the patient to the camera; the head is up, unless the camera looks along the body.
    showIsodoses : bool

    Returns
    -------
    (height, width, 3) uint8 array
        RGB, first row on top.

    Raises
    ------
    RenderingError
        When this machine has no OpenGL for offscreen drawing.
    PlanError
        When the plan's CT is gone.
    """
    direction = np.asarray(view_direction_RAS, float)
    if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
        raise RenderingError(f"A view direction needs three numbers, not all zero; got {view_direction_RAS}.")
    volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
    grid = gridFromVolume(volumeNode)
    segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
    structures = structuresFromSegmentation(segmentationNode, grid) if segmentationNode is not None else ()
    structures = [s for s in structures if not s.is_empty and s.role not in _NOT_DRAWN]
    if not any(structure.role == "EXTERNAL" for structure in structures):
        # as the dose engine's patient: without a contour the body is found in the image
        body = find_body(arrayFromVolume(volumeNode), grid)
        structures.insert(0, Structure("Body", body, grid, "EXTERNAL", _BODY_COLOR))
    renderer = vtk.vtkRenderer()
    renderer.SetBackground(*_BACKGROUND)
    for structure, level in zip(structures, np.linspace(*_SURFACE_LEVELS, len(structures))):
        actor = _structureActor(structure, float(level))
        renderer.AddActor(actor)
        if structure.role == "EXTERNAL":
            bounds = np.array(actor.GetBounds()).reshape(3, 2).T
    for node in referencedNodes(planNode, BEAM_MODEL):
        for actor in _beamActors(node):
            renderer.AddActor(actor)
    doseNode = planNode.GetNodeReference(DOSE)
    model = isodoseModel(doseNode) if doseNode is not None and showIsodoses else None
    if model is not None and model.GetPolyData() is not None and model.GetPolyData().GetNumberOfPoints():
        renderer.AddActor(_isodoseActor(model))
    _placeCamera(renderer, direction / np.linalg.norm(direction), bounds)
    return _render(renderer, size)


def writePng(image: np.ndarray, path: str | Path) -> Path:
    """Write an (h, w, 3) uint8 picture as PNG; equal pictures give equal bytes."""
    height, width, _ = image.shape
    data = vtk.vtkImageData()
    data.SetDimensions(width, height, 1)
    data.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(image[::-1]).reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetInputData(data)
    writer.SetFileName(str(path))
    writer.Write()
    if writer.GetErrorCode():
        raise RenderingError(f"The picture could not be written to {path}; check the folder.")
    return Path(path)


def _structureActor(structure: Structure, level: float) -> vtk.vtkActor:
    part, slices = structure.grid.crop(structure.mask)
    # a margin of nothing all round closes surfaces at the end of the image
    pad = 3
    values = np.pad(structure.mask[slices].astype(np.float32), pad)
    affine = part.affine.copy()
    affine[:3, 3] = part.index_to_ras((-pad, -pad, -pad))
    smooth = ndimage.gaussian_filter(values, _SMOOTHING_VOXELS)
    # structures thinner than the smoothing would vanish at a fixed level
    surface = contour(smooth, Grid(values.shape, affine), level * min(1.0, float(smooth.max())))
    actor = _actor(surface)
    actor.GetProperty().SetColor(*structure.color)
    if structure.role == "EXTERNAL":
        actor.GetProperty().SetColor(*_BODY_COLOR)
        actor.GetProperty().SetOpacity(_BODY_OPACITY)
        actor.GetProperty().BackfaceCullingOn()
    else:
        isTarget = structure.role in ("PTV", "CTV", "GTV")
        actor.GetProperty().SetOpacity(_TARGET_OPACITY if isTarget else _ORGAN_OPACITY)
    return actor


def _beamActors(node) -> list[vtk.vtkActor]:
    matrix = slicer.util.vtkMatrixFromArray(matrixToWorld(node))
    color = node.GetDisplayNode().GetColor() if node.GetDisplayNode() else (1.0, 0.85, 0.3)
    faces, lines = vtk.vtkPolyData(), vtk.vtkPolyData()
    for part in (faces, lines):
        part.SetPoints(node.GetPolyData().GetPoints())
    faces.SetPolys(node.GetPolyData().GetPolys())
    lines.SetLines(node.GetPolyData().GetLines())
    actors = []
    for part, opacity in ((faces, _BEAM_OPACITY), (lines, 1.0)):
        actor = _actor(part)
        actor.SetUserMatrix(matrix)
        actor.GetProperty().SetColor(*color)
        actor.GetProperty().SetOpacity(opacity)
        actor.GetProperty().LightingOff()
        actor.GetProperty().SetLineWidth(_BEAM_LINE_WIDTH)
        actors.append(actor)
    actors[1].GetProperty().SetColor(*(0.6 * c for c in color))
    return actors


def _isodoseActor(node) -> vtk.vtkActor:
    actor = _actor(node.GetPolyData())
    mapper = actor.GetMapper()
    display = node.GetDisplayNode()
    mapper.ScalarVisibilityOn()
    mapper.SetScalarModeToUsePointFieldData()
    mapper.SelectColorArray(INDEX_ARRAY)
    mapper.SetLookupTable(display.GetColorNode().GetLookupTable())
    mapper.SetUseLookupTableScalarRange(False)
    mapper.SetScalarRange(*display.GetScalarRange())
    actor.GetProperty().SetOpacity(_ISODOSE_OPACITY)
    return actor


def _actor(surface: vtk.vtkPolyData) -> vtk.vtkActor:
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputData(surface)
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetInterpolationToPhong()
    actor.GetProperty().SetSpecular(0.15)
    return actor


def _placeCamera(renderer: vtk.vtkRenderer, direction: np.ndarray, bounds_RAS_mm: np.ndarray) -> None:
    centre = bounds_RAS_mm.mean(axis=0)
    radius = 0.5 * float(np.linalg.norm(bounds_RAS_mm[1] - bounds_RAS_mm[0]))
    camera = renderer.GetActiveCamera()
    camera.SetViewAngle(30.0)
    distance = _ZOOM * radius / np.sin(np.radians(15.0))
    camera.SetFocalPoint(*centre)
    camera.SetPosition(*(centre + distance * direction))
    alongBody = abs(direction[2]) > 0.99
    camera.SetViewUp(*((0.0, 1.0, 0.0) if alongBody else (0.0, 0.0, 1.0)))
    renderer.ResetCameraClippingRange()


def offscreenWindow() -> vtk.vtkRenderWindow:
    """Return a render window that draws into memory.

    Raises
    ------
    RenderingError
        When this machine has neither a display nor EGL nor OSMesa.
    """
    # VTK warns of each kind of window it cannot make before it comes to one that it can
    warnings = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        window = vtk.vtkRenderWindow()
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(warnings)
    # VTK's last resort is an OSMesa window even where OSMesa is missing; drawing in it ends the process
    if window.GetClassName() == "vtkOSOpenGLRenderWindow" and not _hasOSMesa():
        raise RenderingError(
            "3D pictures need OpenGL for offscreen drawing, which this machine lacks; on Debian or Ubuntu install "
            "libegl1 and libgl1-mesa-dri (or libosmesa6)."
        )
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(True)
    return window


def _hasOSMesa() -> bool:
    for name in _OSMESA:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _render(renderer: vtk.vtkRenderer, size: tuple[int, int]) -> np.ndarray:
    window = offscreenWindow()
    window.SetSize(*size)
    window.AddRenderer(renderer)
    # translucent surfaces in any order give the right picture
    renderer.UseDepthPeelingOn()
    renderer.SetMaximumNumberOfPeels(_PEELS)
    renderer.SetOcclusionRatio(0.0)
    renderer.UseFXAAOn()
    window.Render()
    capture = vtk.vtkWindowToImageFilter()
    capture.SetInput(window)
    capture.SetInputBufferTypeToRGB()
    capture.ReadFrontBufferOff()
    capture.Update()
    output = capture.GetOutput()
    width, height, _ = output.GetDimensions()
    image = vtk_to_numpy(output.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()
    window.RemoveRenderer(renderer)
    window.Finalize()
    return image
