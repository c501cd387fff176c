"""Optimized fluence in the scene: kept with the plan node, and shown as an image a beam in its isocentre plane."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import BeamFrame
from DoseEngineLib.mrml.plan_node import BEAM_NAME, beamNode, planFromNode, setBeamNodes
from DoseEngineLib.mrml.subject_hierarchy import placeNode
from DoseEngineLib.mrml.volumes import setVolumeFromArray
from OptimizerLib.optimized_fluence import OptimizedFluence

BEAM_FLUENCE = "beamFluenceVolumeRef"
_FLUENCE = "OptimizedFluence"
# A single slice needs a thickness to be seen beside the CT.
_THICKNESS_MM = 2.0


def setOptimizedFluence(planNode, fluence: OptimizedFluence) -> None:
    """Keep optimized fluence with a plan node, in place of a former one, and show it as images.

    Each image holds MU a fraction of open fluence, one voxel a bixel, columns along the collimator's X axis, rows along
    its Y axis, at the isocentre in RAS.
    """
    position = planFromNode(planNode).patient_position
    planNode.SetParameter(_FLUENCE, fluence.to_json())
    scene = planNode.GetScene()
    nodes = []
    for beam, (name, values, x_edges_mm, y_edges_mm) in zip(fluence.beams, fluence.maps(), strict=True):
        node = beamNode(planNode, BEAM_FLUENCE, name)
        isNew = node is None
        if isNew:
            node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{planNode.GetName()}_{name}_Fluence")
            node.SetAttribute(BEAM_NAME, name)
        grid = fluenceGrid(beam.frame(position), x_edges_mm, y_edges_mm)
        setVolumeFromArray(node, values[None].astype(np.float32), grid)
        if isNew:
            node.CreateDefaultDisplayNodes()
        placeNode(node, placeNode(planNode))
        nodes.append(node)
    setBeamNodes(planNode, BEAM_FLUENCE, nodes)


def hasOptimizedFluence(planNode) -> bool:
    """Tell whether fluence is kept with a plan node, without reading it."""
    return bool(planNode.GetParameter(_FLUENCE))


def optimizedFluence(planNode) -> OptimizedFluence | None:
    """Return the fluence kept with a plan node, or None; raises `SchemaError` for one of a newer version."""
    text = planNode.GetParameter(_FLUENCE)
    if not text:
        return None
    return OptimizedFluence.from_json(text, f"The optimized fluence of plan {planNode.GetName()}")


def fluenceGrid(frame: BeamFrame, x_edges_mm: np.ndarray, y_edges_mm: np.ndarray) -> Grid:
    """Grid (1, rows, columns) of a fluence map in the isocentre plane."""
    width, height = x_edges_mm[1] - x_edges_mm[0], y_edges_mm[1] - y_edges_mm[0]
    affine = np.eye(4)
    affine[:3, :3] = frame.rotation * (width, height, _THICKNESS_MM)
    affine[:3, 3] = frame.to_ras((x_edges_mm[0] + width / 2, y_edges_mm[0] + height / 2, 0.0))
    return Grid((1, len(y_edges_mm) - 1, len(x_edges_mm) - 1), affine)
