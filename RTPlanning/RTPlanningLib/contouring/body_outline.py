"""The body outline as a structure."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.body import find_body
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.contouring.edited_structure import EditedStructure

# AAPM TG-263's name
NAME = "External"
_SKIN = (0.8, 0.65, 0.5)


def body_outline(
    hu: np.ndarray, grid: Grid, threshold_HU: float = -350.0, *, keep_all_parts: bool = False, name: str = NAME
) -> EditedStructure:
    """Find the body in a CT: without couch and air around it, cavities included; see `DoseEngineLib.body.find_body`.

    Returns
    -------
    EditedStructure
        Role EXTERNAL.

    Raises
    ------
    PatientError
        Nothing exceeds the threshold.
    """
    mask = find_body(hu, grid, threshold_HU, keep_all_parts)
    sides = [f for axis in (1, 2) for f in (mask.take(0, axis=axis), mask.take(-1, axis=axis))]
    notes = ()
    if any(face.any() for face in sides):
        notes = (
            "The body reaches the side of the image: it was cut by the field of view, or the couch was taken for it. "
            "Look at it before calculating dose.",
        )
    return EditedStructure(Structure(name, mask, grid, "EXTERNAL", _SKIN), notes)
