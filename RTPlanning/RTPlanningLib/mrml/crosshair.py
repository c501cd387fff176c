"""Where the crosshair of the slice views is."""

from __future__ import annotations

from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.volumes import gridFromVolume

_HOW = "hold Shift and move the mouse over a slice view to place it, then try again"


def crosshairPosition_RAS_mm(scene, volumeNode) -> tuple[float, float, float]:
    """Return the crosshair's place in a CT, RAS in mm to a hundredth.

    Raises
    ------
    PlanError
        No crosshair, one that was never placed (it is at the origin then), or one outside the CT.
    """
    node = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    position = (0.0, 0.0, 0.0) if node is None else tuple(round(float(v), 2) for v in node.GetCrosshairRAS())
    if not any(position):
        raise PlanError(f"The crosshair has not been placed yet; {_HOW}.")
    if not gridFromVolume(volumeNode).contains([position])[0]:
        raise PlanError(f"The crosshair lies outside the CT; {_HOW}.")
    return position
