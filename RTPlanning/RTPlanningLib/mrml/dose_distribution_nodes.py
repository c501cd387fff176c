"""Plan nodes and dose volume nodes as doses to compare, with what is known of their course."""

from __future__ import annotations

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.dose_volume import DOSE_TO, DOSE_VOLUME, provenanceOf
from DoseEngineLib.mrml.plan_node import DOSE, deliveredPlan, isPlanNode, planNodes
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.mrml.plan_evaluation import currentDose

# What a dose is, in DICOM's own words (Dose Type, 3004,0004): PHYSICAL, or EFFECTIVE where biology is in it.
DOSE_TYPE = "RTPlanning.DoseType"
PHYSICAL, EFFECTIVE = "PHYSICAL", "EFFECTIVE"
# Which effective dose, and the fractions a dose stands for where no plan tells.
QUANTITY = "RTPlanning.DoseQuantity"
FRACTIONS = "RTPlanning.Fractions"
_MEDIA = ("water", "medium")


def doseVolumeOf(node):
    """Return the dose volume node that a plan node or a dose volume node stands for.

    Raises
    ------
    PlanError
        A plan without a dose, or changed since it was calculated.
    EvaluationError
        No node, or one that is neither.
    """
    if node is None:
        raise EvaluationError("There is no dose; choose a plan or a dose volume.")
    if isPlanNode(node):
        return currentDose(node)
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.GetAttribute(DOSE_VOLUME) != "1":
        raise EvaluationError(
            f"{node.GetName()} is no dose volume; choose a plan or a dose. (A volume that holds a dose in Gy is marked "
            f"as one by its attribute {DOSE_VOLUME} = 1.)"
        )
    return node


def doseDistribution(node) -> DoseDistribution:
    """Return the dose of a plan node or a dose volume node.

    The fractions are those of the plan as it was delivered, or those kept with the volume. A volume of other origin
    counts as one fraction; ``provenance["fractions_known"]`` says so.
    """
    doseNode = doseVolumeOf(node)
    fractions = knownFractions(doseNode)
    dose_to = doseNode.GetAttribute(DOSE_TO)
    return DoseDistribution(
        node.GetName(),
        arrayFromVolume(doseNode),
        gridFromVolume(doseNode),
        1 if fractions is None else fractions,
        dose_to if dose_to in _MEDIA else "unknown",
        provenance={
            **provenanceOf(doseNode),
            "volume": doseNode.GetName(),
            "quantity": quantityOf(doseNode),
            "fractions_known": fractions is not None,
        },
    )


def knownFractions(doseNode) -> int | None:
    """Return the fractions a dose volume stands for: of the plan it belongs to, or kept with it; None where unknown."""
    kept = doseNode.GetAttribute(FRACTIONS)
    if kept:
        return int(kept)
    for planNode in planNodes(doseNode.GetScene()):
        if planNode.GetNodeReferenceID(DOSE) == doseNode.GetID():
            return deliveredPlan(planNode).fractions
    return None


def quantityOf(doseNode) -> str:
    """Return "physical dose", "EQD2" or "BED"."""
    return doseNode.GetAttribute(QUANTITY) or "physical dose"


def checkSameQuantity(nodes) -> str:
    """Return the one quantity of these doses; `EvaluationError` where EQD2, BED and physical doses are mixed."""
    found = {doseVolumeOf(node).GetName(): quantityOf(doseVolumeOf(node)) for node in nodes}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name}: {quantity}" for name, quantity in found.items())
        raise EvaluationError(
            f"Doses of different quantities cannot be put together ({told}); choose the same of each."
        )
    return next(iter(found.values()))


def setQuantity(doseNode, quantity: str, fractions: int | None) -> None:
    """Mark a dose volume as physical dose, EQD2 or BED, and keep the fractions it stands for."""
    doseNode.SetAttribute(DOSE_TYPE, PHYSICAL if quantity == "physical dose" else EFFECTIVE)
    doseNode.SetAttribute(QUANTITY, quantity)
    doseNode.SetAttribute(FRACTIONS, None if fractions is None else str(int(fractions)))
