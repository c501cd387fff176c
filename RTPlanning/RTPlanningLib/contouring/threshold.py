"""Structures by their CT numbers, inside the body, with presets for tissues and materials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from DoseEngineLib.errors import PatientError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.contouring.boolean import mask_on_grid
from RTPlanningLib.contouring.edited_structure import EditedStructure

THRESHOLD_PRESETS_SCHEMA_VERSION = 1
_FILE = "threshold_presets.json"
_GRAY = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ThresholdPreset:
    """A range of CT numbers.

    Attributes
    ----------
    id, title : str
    low_HU, high_HU : float
        Both included; infinite where the range is open.
    name, role : str
        Of the structure it makes.
    color : (3,) tuple of float
    source : str
    """

    id: str
    title: str
    low_HU: float
    high_HU: float
    name: str
    role: str
    color: tuple[float, float, float]
    source: str


@cache
def threshold_presets() -> Mapping[str, ThresholdPreset]:
    """Return the presets that come with the package, by identifier."""
    table = json.loads(resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))
    if table.get("schema_version") != THRESHOLD_PRESETS_SCHEMA_VERSION:
        raise SchemaError(
            f"{_FILE} has schema version {table.get('schema_version')!r}; this program reads "
            f"{THRESHOLD_PRESETS_SCHEMA_VERSION}. Update the program or the table."
        )
    presets = {}
    for entry in table["presets"]:
        low = -math.inf if entry["low_HU"] is None else float(entry["low_HU"])
        high = math.inf if entry["high_HU"] is None else float(entry["high_HU"])
        presets[entry["id"]] = ThresholdPreset(
            entry["id"],
            entry["title"],
            low,
            high,
            entry["name"],
            entry["role"],
            tuple(entry["color"]),
            entry["source"],
        )
    return presets


def threshold(
    hu: np.ndarray,
    grid: Grid,
    low_HU: float,
    high_HU: float,
    *,
    body: Structure | None = None,
    name: str,
    role: str = "ORGAN",
    color: tuple[float, float, float] = _GRAY,
) -> EditedStructure:
    """Make a structure of the voxels in a range of CT numbers.

    Parameters
    ----------
    hu : (k, j, i) array
        CT numbers in HU.
    grid : Grid
    low_HU, high_HU : float
        Both included; may be infinite.
    body : Structure, optional
        What is outside is left out; without it a note says so.
    name, role, color
        Of the structure.

    Raises
    ------
    PatientError
        An empty range, or no voxel in it.
    """
    if math.isnan(low_HU) or math.isnan(high_HU) or low_HU > high_HU:
        raise PatientError(f"The range of CT numbers {low_HU:g} to {high_HU:g} HU is empty; give the lower one first.")
    notes: list[str] = []
    values = np.asarray(hu)
    mask = (values >= low_HU) & (values <= high_HU)
    where = ""
    if body is None:
        notes.append("There is no body outline: couch and air around the patient count, too.")
    else:
        mask &= mask_on_grid(body, grid, notes)
        where = f" in {body.name}"
    if not mask.any():
        raise PatientError(
            f"No voxel{where} has {low_HU:g} to {high_HU:g} HU; the image holds {values.min():g} to "
            f"{values.max():g} HU. Widen the range, or check that the image is a CT."
        )
    return EditedStructure(Structure(name, mask, grid, role, color), tuple(notes))
