"""The beams of a plan in the views: a model and a central axis for each, under the beam's transform."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import slicer

from DoseEngineLib.machine import load_beam_machine
from DoseEngineLib.mrml.plan_node import (
    BEAM_DOSE,
    BEAM_MODEL,
    BEAM_NAME,
    BEAM_TRANSFORM,
    ISOCENTER,
    REFERENCE_VOLUME,
    addBeamNode,
    beamNode,
    planFromNode,
    referencedNode,
    referencedNodes,
    setBeamNodes,
    setPlan,
)
from DoseEngineLib.mrml.subject_hierarchy import placeNode
from DoseEngineLib.mrml.volumes import gridFromVolume
from DoseEngineLib.plan import Beam, Plan
from RTPlanningLib.display.beam_model import beam_model, beam_outline, closed_beam_model

BEAM_AXIS = "beamAxisRef"
_SHAPE = "RTPlanning.BeamShape"
_BEYOND_PATIENT_MM = 20.0
_AXIS_MM = 1.0
_COLOR, _OPACITY = (1.0, 0.85, 0.3), 0.25
_SELECTED_COLOR, _SELECTED_OPACITY = (0.2, 0.9, 1.0), 0.35


def createBeamModelNodes(planNode) -> list:
    """Show a plan's beams, or bring what is shown up to date in place; returns the models in the order of the beams.

    Models are in collimator coordinates under the beam's transform and reach from the source through the aperture (jaws
    and MLC) to just beyond the CT; a beam that opens nowhere has none but its central axis. The axes are markups lines.
    What has not changed is not touched, so this may be called with every change of a number.
    """
    plan = planFromNode(planNode)
    grid = gridFromVolume(referencedNode(planNode, REFERENCE_VOLUME, "CT volume"))
    shapes = []
    for beam in plan.beams:
        machine = load_beam_machine(beam)
        depth = -beam.frame(plan.patient_position).to_beam(grid.corners_RAS_mm)[:, 2].min()
        boundaries = machine.mlc.boundaries_mm if machine.mlc else None
        shapes.append((machine.sad_mm, max(depth, 0.0) + _BEYOND_PATIENT_MM, boundaries))
    _restoreDisplay(planNode, plan)
    models = [_model(planNode, beam, *shape) for beam, shape in zip(plan.beams, shapes, strict=True)]
    axes = [_axis(planNode, beam, *shape[:2]) for beam, shape in zip(plan.beams, shapes, strict=True)]
    setBeamNodes(planNode, BEAM_MODEL, models)
    setBeamNodes(planNode, BEAM_AXIS, axes)
    return models


def highlightBeam(planNode, beamName: str | None) -> None:
    """Show one beam of those that `createBeamModelNodes` made in another colour; None: all alike."""
    for role in (BEAM_MODEL, BEAM_AXIS):
        for node in referencedNodes(planNode, role):
            display = node.GetDisplayNode()
            if display is not None:
                _colour(display, node.GetAttribute(BEAM_NAME) == beamName)


def renameBeamNodes(planNode, beamName: str, newName: str) -> None:
    """Let transform, model, axis and dose of a beam go on as those of its new name; call it before storing the plan."""
    for role in (BEAM_TRANSFORM, BEAM_MODEL, BEAM_AXIS, BEAM_DOSE):
        node = beamNode(planNode, role, beamName)
        if node is not None:
            node.SetAttribute(BEAM_NAME, newName)
            node.SetName(node.GetName().replace(f"_{beamName}_", f"_{newName}_"))


def showBeams(planNode, isShown: bool) -> None:
    """Show or hide the models and axes of a plan's beams."""
    for role in (BEAM_MODEL, BEAM_AXIS):
        for node in referencedNodes(planNode, role):
            if node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(isShown)


def _restoreDisplay(planNode, plan: Plan) -> None:
    """Transforms and isocentre that someone moved or removed are brought back to what the plan says."""
    isocenter = planNode.GetNodeReference(ISOCENTER)
    if isocenter is None or isocenter.GetNumberOfControlPoints() == 0:
        setPlan(planNode, plan)
        return
    for beam in plan.beams:
        node = beamNode(planNode, BEAM_TRANSFORM, beam.name)
        wanted = beam.frame(plan.patient_position).matrix()
        if node is None or not np.array_equal(slicer.util.arrayFromTransformMatrix(node), wanted):
            setPlan(planNode, plan)
            return


def _model(planNode, beam: Beam, sad_mm: float, beyond_mm: float, boundaries: tuple[float, ...] | None):
    node = beamNode(planNode, BEAM_MODEL, beam.name)
    if node is None:
        node = addBeamNode(planNode, slicer.vtkMRMLModelNode(), beam.name, "Beam")
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        _colour(display, False)
        display.Visibility2DOn()
        display.SetSliceIntersectionThickness(2)
    shape = _digest([point.aperture for point in beam.control_points], sad_mm, beyond_mm, boundaries)
    polyData = node.GetPolyData()
    if node.GetAttribute(_SHAPE) != shape or polyData is None or polyData.GetNumberOfPoints() == 0:
        isOpen = bool(beam_outline(beam, boundaries))
        make = (lambda: beam_model(beam, sad_mm, beyond_mm, boundaries)) if isOpen else closed_beam_model
        node.SetAndObservePolyData(make())
        node.SetAttribute(_SHAPE, shape)
    return _placed(planNode, beam, node)


def _axis(planNode, beam: Beam, sad_mm: float, beyond_mm: float):
    node = beamNode(planNode, BEAM_AXIS, beam.name)
    if node is None:
        node = addBeamNode(planNode, slicer.vtkMRMLMarkupsLineNode(), beam.name, "Axis")
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(False)
        display.SetGlyphScale(0.1)
        # by itself the line would be as thin as its points are small
        display.SetCurveLineSizeMode(display.UseLineDiameter)
        display.SetLineDiameter(_AXIS_MM)
        display.SetSnapMode(display.SnapModeUnconstrained)
        _colour(display, False)
        # dragging it would not change the plan
        node.SetLocked(True)
    ends = ((0.0, 0.0, sad_mm), (0.0, 0.0, -beyond_mm))
    if node.GetNumberOfControlPoints() != 2 or any(
        not np.allclose(node.GetNthControlPointPosition(n), end) for n, end in enumerate(ends)
    ):
        node.RemoveAllControlPoints()
        for end in ends:
            node.AddControlPoint(end)
    return _placed(planNode, beam, node)


def _placed(planNode, beam: Beam, node):
    transformID = beamNode(planNode, BEAM_TRANSFORM, beam.name).GetID()
    if node.GetTransformNodeID() != transformID:
        node.SetAndObserveTransformNodeID(transformID)
        placeNode(node, placeNode(planNode))
    return node


def _colour(display, isSelected: bool) -> None:
    color = _SELECTED_COLOR if isSelected else _COLOR
    display.SetColor(*color)
    if display.IsA("vtkMRMLMarkupsDisplayNode"):
        # markups that are not being dragged are drawn in the selected colour
        display.SetSelectedColor(*color)
        display.SetOpacity(1.0)
    else:
        display.SetOpacity(_SELECTED_OPACITY if isSelected else _OPACITY)


def _digest(apertures: list, sad_mm: float, beyond_mm: float, boundaries: tuple[float, ...] | None) -> str:
    values = [[[a.jaw_x_mm, a.jaw_y_mm, a.leaf_positions_mm] for a in apertures], sad_mm, beyond_mm, boundaries]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
