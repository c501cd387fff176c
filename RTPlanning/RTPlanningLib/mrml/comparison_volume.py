"""Volumes that compare doses and are no doses themselves: differences (negative too) and gamma."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import slicer

from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume, setVolumeFromArray
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation, setStatistics

# Volumes hold no NaN: this attribute tells the value of voxels that were not judged.
NOT_JUDGED = "RTPlanning.NotJudged"
UNIT = "RTPlanning.Unit"


def setComparisonVolume(
    name: str,
    values: np.ndarray,
    grid: Grid,
    *,
    notJudged: float,
    unit: str,
    request: Mapping[str, Any],
    inputs: Sequence,
    beside,
    statistics: Mapping[str, Any],
    attributes: Mapping[str, str],
    show: Callable[[Any], None],
):
    """Write a comparison into the scene, in place of what the same request made before.

    Parameters
    ----------
    name : str
        Of a new node.
    values : (k, j, i) array
        NaN where not judged.
    grid : Grid
    notJudged : float
        Below all values; it takes the place of NaN.
    unit : str
    request, inputs
        See `RTPlanningLib.mrml.derived_nodes`.
    beside : vtkMRMLScalarVolumeNode
        The volume whose study takes the new one.
    statistics : mapping
        JSON values.
    attributes : mapping of str to str
        Further attributes, set before the node enters the scene.
    show : callable
        Sets the node's display.

    Returns
    -------
    vtkMRMLScalarVolumeNode
    """
    scene = beside.GetScene()
    node = derivedNode(scene, "vtkMRMLScalarVolumeNode", request, inputs)
    isNew = node is None
    if isNew:
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(scene.GetUniqueNameByString(name))
    for key, value in {**attributes, NOT_JUDGED: repr(float(notJudged)), UNIT: unit}.items():
        node.SetAttribute(key, value)
    setVolumeFromArray(node, np.where(np.isnan(values), np.float32(notJudged), values).astype(np.float32), grid)
    if isNew:
        node = scene.AddNode(node)
    setStatistics(node, statistics)
    setDerivation(node, request, inputs)
    show(node)
    placeNode(node, ensureStudy(beside, "Patient", "Radiotherapy planning"))
    return node


def comparisonValues(node) -> tuple[np.ndarray, Grid]:
    """Return a comparison volume's values (k, j, i), NaN where not judged, and its grid."""
    values = arrayFromVolume(node).astype(np.float32)
    text = node.GetAttribute(NOT_JUDGED)
    if text:
        values[values == np.float32(text)] = np.nan
    return values, gridFromVolume(node)
