"""Nodes calculated from others: what was asked, of which nodes, what came out; asking again updates the same node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from RTPlanningLib.mrml.node_digest import nodeDigest

REQUEST = "RTPlanning.Request"
STATISTICS = "RTPlanning.Statistics"
INPUT = "derivedFromRef"
_DIGESTS = "RTPlanning.InputDigests"


def derivedNode(scene, className: str, request: Mapping[str, Any], inputs: Sequence):
    """Return the scene's node of this class that an equal request of the same nodes made, or None.

    Parameters
    ----------
    scene : vtkMRMLScene
    className : str
    request : mapping
        JSON values.
    inputs : sequence of nodes
        In order.
    """
    text = _text(request)
    wanted = [node.GetID() for node in inputs]
    for n in range(scene.GetNumberOfNodesByClass(className)):
        node = scene.GetNthNodeByClass(n, className)
        if node.GetAttribute(REQUEST) == text and _inputIDs(node) == wanted:
            return node
    return None


def setDerivation(node, request: Mapping[str, Any], inputs: Sequence) -> None:
    """Keep with a node what was asked, of which nodes, and a digest of what they held."""
    node.SetAttribute(REQUEST, _text(request))
    node.RemoveNodeReferenceIDs(INPUT)
    for source in inputs:
        node.AddNodeReferenceID(INPUT, source.GetID())
    node.SetAttribute(_DIGESTS, " ".join(_digests(inputs)))


def isDerivationCurrent(node) -> bool:
    """Tell whether the doses and transforms that a node was calculated from are in the scene and are still the same."""
    inputs = inputsOf(node)
    if not inputs or len(inputs) != node.GetNumberOfNodeReferences(INPUT):
        return False
    return (node.GetAttribute(_DIGESTS) or "").split(" ") == _digests(inputs)


def requestOf(node) -> dict[str, Any]:
    """Return what a node was calculated by; empty for nodes of other origin."""
    return json.loads(node.GetAttribute(REQUEST) or "{}")


def inputsOf(node) -> list:
    """Return the nodes that a node was calculated from, those that are still in the scene."""
    nodes = (node.GetNthNodeReference(INPUT, n) for n in range(node.GetNumberOfNodeReferences(INPUT)))
    return [source for source in nodes if source is not None]


def setStatistics(node, statistics: Mapping[str, Any]) -> None:
    """Keep figures with a node."""
    node.SetAttribute(STATISTICS, _text(statistics))


def statisticsOf(node) -> dict[str, Any]:
    """Return the figures kept with a node, for example gamma's pass rate; empty where there are none."""
    return json.loads(node.GetAttribute(STATISTICS) or "{}")


def _inputIDs(node) -> list[str]:
    return [node.GetNthNodeReferenceID(INPUT, n) for n in range(node.GetNumberOfNodeReferences(INPUT))]


def _digests(inputs: Sequence) -> list[str]:
    return [nodeDigest(source) or "-" for source in inputs]


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False, allow_nan=False)
