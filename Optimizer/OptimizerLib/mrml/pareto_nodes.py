"""Pareto plans in the scene: kept beside the plan node, with where the sliders between them stand."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import slicer

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.mrml.plan_node import isPlanNode
from DoseEngineLib.mrml.subject_hierarchy import placeNode
from OptimizerLib.pareto_plans import ParetoPlans

PARETO_PLANS = "paretoPlansRef"
_SLIDERS, _DIGEST = "RTPlanning.ParetoSliders", "RTPlanning.ParetoDigest"


@dataclass(frozen=True)
class SliderState:
    """Where sliders between plans stand.

    Attributes
    ----------
    shares : tuple of float
        Of each plan in the mixture.
    bounds : tuple of float
        Of each goal; infinite where it is not held.
    """

    shares: tuple[float, ...]
    bounds: tuple[float, ...]


def setParetoPlans(planNode, plans: bytes) -> None:
    """Keep Pareto plans (`ParetoPlans.to_bytes`) with a plan node, in place of former ones and their sliders."""
    node = planNode.GetNodeReference(PARETO_PLANS)
    if node is None:
        node = slicer.vtkMRMLTextNode()
        node.SetName(f"{planNode.GetName()}_ParetoPlans")
        # megabytes belong into a file of their own
        node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
        node = planNode.GetScene().AddNode(node)
        planNode.SetNodeReferenceID(PARETO_PLANS, node.GetID())
    node.RemoveAttribute(_SLIDERS)
    node.SetText(base64.b64encode(plans).decode("ascii"))
    node.SetAttribute(_DIGEST, hashlib.sha256(plans).hexdigest()[:16])
    placeNode(node, placeNode(planNode))


def paretoStamp(planNode) -> tuple[str, str] | None:
    """Return what changes when other Pareto plans are kept with a plan node; None where there are none."""
    node = planNode.GetNodeReference(PARETO_PLANS) if isPlanNode(planNode) else None
    return None if node is None else (node.GetID(), node.GetAttribute(_DIGEST) or "")


def paretoPlans(planNode) -> ParetoPlans | None:
    """Return the Pareto plans kept with a plan node, or None.

    Raises
    ------
    SchemaError
        Damaged ones, or those of a newer version.
    """
    node = planNode.GetNodeReference(PARETO_PLANS)
    if node is None:
        return None
    try:
        content = base64.b64decode(node.GetText() or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SchemaError(f"{node.GetName()} holds no Pareto plans, or is damaged ({error}).") from error
    return ParetoPlans.from_bytes(content, node.GetName())


def setSliderState(planNode, state: SliderState) -> None:
    """Keep where the sliders between a plan node's Pareto plans stand."""
    node = planNode.GetNodeReference(PARETO_PLANS)
    bounds = [bound if math.isfinite(bound) else None for bound in state.bounds]
    node.SetAttribute(_SLIDERS, json.dumps({"shares": state.shares, "bounds": bounds}, allow_nan=False))


def sliderState(planNode) -> SliderState | None:
    """Return where the sliders stand, or None; raises `SchemaError` for what cannot be read."""
    node = planNode.GetNodeReference(PARETO_PLANS)
    text = node.GetAttribute(_SLIDERS) if node is not None else None
    if not text:
        return None
    try:
        kept = json.loads(text)
        return SliderState(_floats(kept["shares"]), _floats(math.inf if b is None else b for b in kept["bounds"]))
    except (ValueError, TypeError, KeyError) as error:
        raise SchemaError(f"{node.GetName()}: its sliders cannot be read ({error}); move them anew.") from error


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
