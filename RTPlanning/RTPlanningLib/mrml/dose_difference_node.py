"""The difference of two doses as a volume, blue to red about zero."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.plan_node import deliveredPlan, isPlanNode
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.display.map_colors import difference_limit
from RTPlanningLib.evaluation.dose_difference import DoseDifference, dose_difference
from RTPlanningLib.mrml.comparison_volume import setComparisonVolume
from RTPlanningLib.mrml.dose_distribution_nodes import checkSameQuantity, doseDistribution, doseVolumeOf
from RTPlanningLib.mrml.map_color_tables import showDifference

DIFFERENCE_VOLUME = "RTPlanning.DoseDifferenceVolume"
NORMALIZATIONS = ("maximum", "prescription")
_NOT_JUDGED = -9999.0
_LARGEST = 9000.0


def createDoseDifference(
    referenceNode,
    evaluatedNode,
    kind: str = "absolute",
    *,
    normalization: str | float = "maximum",
    threshold_Gy: float = 0.0,
    structure: Structure | None = None,
    limit: float | None = None,
    progress: Progress | None = None,
    background: Background = at_once,
) -> tuple[object, DoseDifference]:
    """Put the evaluated minus the reference dose into the scene, on the reference's grid and in its study.

    Parameters
    ----------
    referenceNode, evaluatedNode : plan node or dose volume node
    kind : {"absolute", "percent", "local"}
        In Gy; in % of the normalization; in % of the reference dose of the voxel.
    normalization : {"maximum", "prescription"} or float
        What 100 % are, for "percent": the largest reference dose, the reference plan's prescription, or a dose in Gy.
    threshold_Gy : float
        Voxels of a lower reference dose are not judged.
    structure : Structure, optional
        Judge only voxels in it.
    limit : float, optional
        The display's window reaches from minus to plus this; by default a round figure that 99.5 % of the voxels keep
        to.
    progress : callable, optional
    background : Background
        Runs the comparison itself.

    Returns
    -------
    volumeNode : vtkMRMLScalarVolumeNode
        Voxels that were not judged have the value of its attribute ``RTPlanning.NotJudged`` and are not shown.
    difference : DoseDifference

    Raises
    ------
    EvaluationError, PlanError
        As `RTPlanningLib.evaluation.dose_difference.dose_difference`; doses of different quantities; no prescription;
        differences too large for the value of voxels not judged.
    """
    report = part(progress, 0.0, 1.0)
    report(0.0, "Dose difference: reading the doses")
    quantity = checkSameQuantity((referenceNode, evaluatedNode))
    if limit is not None and not (np.isfinite(limit) and limit > 0.0):
        raise EvaluationError(f"The display limit {limit} of a dose difference must be a number above 0.")
    reference, evaluated = doseDistribution(referenceNode), doseDistribution(evaluatedNode)
    normalization_Gy = _normalization_Gy(referenceNode, normalization) if kind == "percent" else None

    def compare(told: Progress) -> DoseDifference:
        told(0.0, "Dose difference")
        return dose_difference(
            reference,
            evaluated,
            kind,
            normalization_Gy=normalization_Gy,
            threshold_Gy=threshold_Gy,
            structure=structure,
        )

    difference = background(compare, part(report, 0.2, 0.9))
    largest = float(np.abs(difference.values[[0, -1]]).max())
    if largest > _LARGEST:
        raise EvaluationError(
            f"The difference of {evaluated.name} from {reference.name} reaches {largest:.4g} {difference.unit}, beyond "
            f"the {_LARGEST:g} that a volume of it can hold; raise the threshold or the normalization dose."
        )
    request = {
        "operation": "dose difference",
        "kind": kind,
        "normalization": normalization if kind == "percent" else None,
        "threshold_Gy": float(threshold_Gy),
        "structure": None if structure is None else structure.name,
    }
    window = limit or difference_limit(difference.values)
    # the last call that can cancel: from here on the scene changes
    report(1.0, "Dose difference ready")
    volumeNode = setComparisonVolume(
        f"{evaluatedNode.GetName()} minus {referenceNode.GetName()} ({_in_words(kind)})",
        difference.difference,
        difference.grid,
        notJudged=_NOT_JUDGED,
        unit=difference.unit,
        request=request,
        inputs=[referenceNode, evaluatedNode],
        beside=doseVolumeOf(referenceNode),
        statistics={**difference.statistics(), "quantity": quantity, "display_limit": window},
        attributes={DIFFERENCE_VOLUME: "1"},
        show=lambda node: showDifference(node, window, _NOT_JUDGED),
    )
    return volumeNode, difference


def _normalization_Gy(referenceNode, normalization: str | float) -> float | None:
    if not isinstance(normalization, str):
        return float(normalization)
    if normalization == "maximum":
        return None
    if normalization != "prescription":
        raise EvaluationError(
            f"Normalize a dose difference to {' or '.join(NORMALIZATIONS)} or to a dose in Gy, not {normalization!r}."
        )
    prescription = deliveredPlan(referenceNode).prescription if isPlanNode(referenceNode) else None
    if prescription is None:
        raise EvaluationError(
            f"{referenceNode.GetName()} has no prescription to normalize to; choose a plan that has one as the "
            "reference, or give a dose in Gy."
        )
    return prescription.dose_Gy


def _in_words(kind: str) -> str:
    return {"absolute": "Gy", "percent": "%", "local": "% local"}[kind]
