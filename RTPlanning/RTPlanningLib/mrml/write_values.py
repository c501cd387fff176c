"""Arrays on a grid to volume files that Slicer reads: doses, and maps that compare doses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.dose_volume import DOSE_TO, DOSE_VOLUME, PROVENANCE, storableDose
from DoseEngineLib.mrml.volumes import setVolumeFromArray
from RTPlanningLib.mrml.comparison_volume import NOT_JUDGED, UNIT
from RTPlanningLib.mrml.write_volume import writeVolume


def writeDose(
    path: str | Path, dose_Gy: np.ndarray, grid: Grid, dose_to: str, provenance: Mapping[str, Any] | None = None
) -> Path:
    """Write a dose (k, j, i) in Gy to a ``.nrrd`` file, marked as SlicerRT marks doses; NaN and negatives raise."""
    attributes = {
        DOSE_VOLUME: "1",
        PROVENANCE: json.dumps(dict(provenance or {}), sort_keys=True, allow_nan=False),
        DOSE_TO: dose_to,
    }
    return _write(path, storableDose(dose_Gy, Path(path).stem), grid, attributes)


def writeMap(path: str | Path, values: np.ndarray, grid: Grid, unit: str, not_judged: float) -> Path:
    """Write a map (k, j, i) to a ``.nrrd`` file; NaN becomes ``not_judged``, which an attribute tells."""
    filled = np.where(np.isnan(values), np.float32(not_judged), values).astype(np.float32)
    return _write(path, filled, grid, {NOT_JUDGED: repr(float(not_judged)), UNIT: unit})


def _write(path: str | Path, values: np.ndarray, grid: Grid, attributes: Mapping[str, str]) -> Path:
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", Path(path).stem)
    for key, value in attributes.items():
        node.SetAttribute(key, value)
    setVolumeFromArray(node, values, grid)
    return writeVolume(node, path)
