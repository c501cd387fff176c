"""A display model for each beam of a plan, under the beam's transform."""

from __future__ import annotations

import slicer

from DoseEngineLib.machine import load_beam_machine
from DoseEngineLib.mrml.plan_node import (
    BEAM_MODEL,
    BEAM_NAME,
    BEAM_TRANSFORM,
    REFERENCE_VOLUME,
    beamNode,
    planFromNode,
    referencedNode,
    setBeamNodes,
    setPlan,
)
from DoseEngineLib.mrml.subject_hierarchy import placeNode
from DoseEngineLib.mrml.volumes import gridFromVolume
from RTPlanningLib.display.beam_model import beam_model

_BEYOND_PATIENT_MM = 20.0
_COLOR, _OPACITY = (1.0, 0.85, 0.3), 0.25


def createBeamModelNodes(planNode) -> list:
    """Show a plan's beams: a model each, in collimator coordinates under the beam's transform; returns them in order.

    Models reach from the source through the aperture (jaws and MLC) to just beyond the CT.
    """
    plan = planFromNode(planNode)
    grid = gridFromVolume(referencedNode(planNode, REFERENCE_VOLUME, "CT volume"))
    # a transform that someone moved or removed is brought back to what the plan says
    setPlan(planNode, plan)
    shapes = []
    for beam in plan.beams:
        machine = load_beam_machine(beam)
        depth = -beam.frame(plan.patient_position).to_beam(grid.corners_RAS_mm)[:, 2].min()
        boundaries = machine.mlc.boundaries_mm if machine.mlc else None
        shapes.append(beam_model(beam, machine.sad_mm, max(depth, 0.0) + _BEYOND_PATIENT_MM, boundaries))
    nodes = []
    for beam, shape in zip(plan.beams, shapes, strict=True):
        node = beamNode(planNode, BEAM_MODEL, beam.name)
        if node is None:
            node = slicer.vtkMRMLModelNode()
            node.SetName(f"{planNode.GetName()}_{beam.name}_Beam")
            node.SetAttribute(BEAM_NAME, beam.name)
            node = planNode.GetScene().AddNode(node)
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetColor(*_COLOR)
            display.SetOpacity(_OPACITY)
            display.Visibility2DOn()
        node.SetAndObservePolyData(shape)
        node.SetAndObserveTransformNodeID(beamNode(planNode, BEAM_TRANSFORM, beam.name).GetID())
        placeNode(node, placeNode(planNode))
        nodes.append(node)
    setBeamNodes(planNode, BEAM_MODEL, nodes)
    return nodes
