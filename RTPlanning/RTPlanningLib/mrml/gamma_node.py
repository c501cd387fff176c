"""The gamma index of two doses as a volume, its colors parted at 1."""

from __future__ import annotations

from dataclasses import asdict

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.gamma import GammaCriterion, GammaResult, gamma_index
from RTPlanningLib.mrml.comparison_volume import setComparisonVolume
from RTPlanningLib.mrml.dose_distribution_nodes import checkSameQuantity, doseDistribution, doseVolumeOf
from RTPlanningLib.mrml.map_color_tables import showGamma

# SlicerRT's own mark
GAMMA_VOLUME = "DoseComparison.GammaVolume"
PASS_RATE = "RTPlanning.GammaPassRatePercent"
_NOT_JUDGED = -1.0


def createGamma(
    referenceNode,
    evaluatedNode,
    criterion: GammaCriterion | None = None,
    *,
    structure: Structure | None = None,
    progress: Progress | None = None,
    background: Background = at_once,
) -> tuple[object, GammaResult]:
    """Put the gamma of two doses into the scene, on the reference's grid and in its study.

    Parameters
    ----------
    referenceNode, evaluatedNode : plan node or dose volume node
    criterion : GammaCriterion, optional
        By default 3 %/2 mm global, threshold 10 %.
    structure : Structure, optional
        Judge only voxels in it.
    progress : callable, optional
    background : Background
        Runs the comparison itself.

    Returns
    -------
    volumeNode : vtkMRMLScalarVolumeNode
        Pass rate in the attribute ``RTPlanning.GammaPassRatePercent``, all statistics in ``RTPlanning.Statistics``.
        Voxels that were not judged have the value -1 and are not shown.
    result : GammaResult

    Raises
    ------
    EvaluationError, PlanError
        As `RTPlanningLib.evaluation.gamma.gamma_index`, and doses of different quantities.
    """
    criterion = criterion or GammaCriterion()
    report = part(progress, 0.0, 1.0)
    report(0.0, "Gamma: reading the doses")
    quantity = checkSameQuantity((referenceNode, evaluatedNode))
    reference, evaluated = doseDistribution(referenceNode), doseDistribution(evaluatedNode)
    result = background(
        lambda told: gamma_index(reference, evaluated, criterion, structure=structure, progress=told),
        part(report, 0.05, 0.95),
    )
    request = {
        "operation": "gamma",
        "criterion": asdict(criterion),
        "structure": None if structure is None else structure.name,
    }
    # the last call that can cancel: from here on the scene changes
    report(1.0, "Gamma ready")
    kind = "local" if criterion.local else "global"
    volumeNode = setComparisonVolume(
        f"Gamma {criterion.dose_percent:g} %, {criterion.distance_mm:g} mm {kind}: {evaluatedNode.GetName()} against "
        f"{referenceNode.GetName()}",
        result.gamma,
        result.grid,
        notJudged=_NOT_JUDGED,
        unit="",
        request=request,
        inputs=[referenceNode, evaluatedNode],
        beside=doseVolumeOf(referenceNode),
        statistics={**result.statistics(), "quantity": quantity},
        attributes={GAMMA_VOLUME: "1", PASS_RATE: f"{result.pass_rate_percent:.4f}"},
        show=lambda node: showGamma(node, _NOT_JUDGED),
    )
    return volumeNode, result
