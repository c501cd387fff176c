"""Sums, subtractions and accumulations of doses as volumes, with what they were made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.dose_volume import setDoseVolume
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, studyForDose
from DoseEngineLib.mrml.volumes import gridFromVolume
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.display.map_colors import difference_limit
from RTPlanningLib.evaluation.dose_accumulation import FractionDose, accumulate_dose
from RTPlanningLib.evaluation.plan_sum import FIRST, UNION, CombinedDose, PlanDose, subtract_plans, sum_plans
from RTPlanningLib.mrml.comparison_volume import setComparisonVolume
from RTPlanningLib.mrml.derived_nodes import derivedNode, setDerivation
from RTPlanningLib.mrml.dose_difference_node import DIFFERENCE_VOLUME
from RTPlanningLib.mrml.dose_distribution_nodes import (
    checkSameQuantity,
    doseDistribution,
    doseVolumeOf,
    knownFractions,
    setQuantity,
)
from RTPlanningLib.mrml.dose_mapping_transforms import mappingFromTransform
from RTPlanningLib.mrml.map_color_tables import showDifference

# Below every difference, for a volume in which every voxel is judged.
_NOTHING_LEFT_OUT = -1e30


@dataclass(frozen=True)
class DosePart:
    """A dose in the scene, and how much of it counts.

    Attributes
    ----------
    node : plan node or dose volume node
    fractions : int or None
        Fractions delivered; None: the whole course. Needs a dose whose fractions are known.
    weight : float
        A further factor.
    transformNode : vtkMRMLTransformNode or None
        For accumulation: brings the dose onto the common anatomy (see `mappingFromTransform`).
    """

    node: Any
    fractions: int | None = None
    weight: float = 1.0
    transformNode: Any = None


def createPlanSum(
    parts: Sequence[DosePart],
    grid: str = UNION,
    *,
    name: str = "Plan sum",
    allow_mixed_media: bool = False,
    progress: Progress | None = None,
) -> tuple[object, CombinedDose]:
    """Put the sum of doses into the scene as a dose volume in the first one's study.

    Parameters
    ----------
    parts : sequence of DosePart
        Without transforms.
    grid : {"union", "first"}
    name : str
    allow_mixed_media : bool
    progress : callable, optional

    Raises
    ------
    EvaluationError, PlanError
        As `RTPlanningLib.evaluation.plan_sum.sum_plans`; a sum that is negative; doses of different quantities; a part
        with a transform, or with fractions of a course that is not known.
    """
    report = part(progress, 0.0, 1.0)
    parts = _checked(parts)
    moved = [p.node.GetName() for p in parts if p.transformNode is not None]
    if moved:
        raise EvaluationError(f"A plan sum takes no transforms ({', '.join(moved)} has one); accumulate these doses.")
    total = sum_plans(
        [PlanDose(doseDistribution(p.node), p.fractions, p.weight) for p in parts],
        grid,
        name=name,
        allow_mixed_media=allow_mixed_media,
        progress=part(report, 0.0, 0.95),
    )
    request = {"operation": "sum", "name": name, "grid": grid, "parts": _parts(parts)}
    return _store(parts, total, request, [p.node for p in parts], report), total


def createPlanSubtraction(
    minuend: DosePart,
    subtrahend: DosePart,
    grid: str = FIRST,
    *,
    allow_mixed_media: bool = False,
    limit_Gy: float | None = None,
    progress: Progress | None = None,
) -> tuple[object, CombinedDose]:
    """Put one dose minus another into the scene, in the first one's study; blue where negative, red where positive.

    A difference is no dose: its volume carries no mark as one.

    Parameters
    ----------
    minuend, subtrahend : DosePart
        Without transforms.
    grid : {"union", "first"}
    allow_mixed_media : bool
    limit_Gy : float, optional
        End of the display's window.
    progress : callable, optional

    Raises
    ------
    EvaluationError, PlanError
        As `createPlanSum`.
    """
    report = part(progress, 0.0, 1.0)
    parts = _checked((minuend, subtrahend))
    if any(p.transformNode is not None for p in parts):
        raise EvaluationError("A subtraction takes no transforms; accumulate the moved dose first, then subtract.")
    if limit_Gy is not None and not (math.isfinite(limit_Gy) and limit_Gy > 0.0):
        raise EvaluationError(f"The display limit {limit_Gy} Gy must be a number above 0.")
    first, second = (PlanDose(doseDistribution(p.node), p.fractions, p.weight) for p in parts)
    difference = subtract_plans(
        first, second, grid, allow_mixed_media=allow_mixed_media, progress=part(report, 0.0, 0.95)
    )
    values = difference.dose_Gy
    window = limit_Gy or difference_limit(values[values != 0.0])
    # the last call that can cancel: from here on the scene changes
    report(1.0, f"{difference.name} ready")
    node = setComparisonVolume(
        difference.name,
        values,
        difference.grid,
        notJudged=_NOTHING_LEFT_OUT,
        unit="Gy",
        request={"operation": "subtraction", "grid": grid, "parts": _parts(parts)},
        inputs=[p.node for p in parts],
        beside=doseVolumeOf(minuend.node),
        statistics={
            **dict(difference.provenance),
            "minimum_Gy": float(values.min()),
            "maximum_Gy": float(values.max()),
            "display_limit": window,
        },
        attributes={DIFFERENCE_VOLUME: "1"},
        show=lambda volume: showDifference(volume, window, _NOTHING_LEFT_OUT),
    )
    return node, difference


def createAccumulatedDose(
    parts: Sequence[DosePart],
    commonNode=None,
    *,
    name: str = "Accumulated dose",
    allow_folding: bool = False,
    allow_mixed_media: bool = False,
    progress: Progress | None = None,
) -> tuple[object, CombinedDose]:
    """Put the dose accumulated over fractions, each through its transform, into the scene as a dose volume.

    Parameters
    ----------
    parts : sequence of DosePart
    commonNode : plan node or volume node, optional
        Its grid (of a plan: its dose's) is that of the result, in the common anatomy; by default the first part's,
        which then has no transform.
    name : str
    allow_folding : bool
        Accept grid transforms that fold; a note says how much.
    allow_mixed_media : bool
    progress : callable, optional

    Raises
    ------
    EvaluationError, PlanError
        As `RTPlanningLib.evaluation.dose_accumulation.accumulate_dose` and `mappingFromTransform`; doses of different
        quantities; no grid.
    """
    report = part(progress, 0.0, 1.0)
    parts = _checked(parts)
    grid, common = _commonGrid(parts, commonNode)
    report(0.0, f"{name}: reading doses and transforms")
    fractions = [
        FractionDose(
            doseDistribution(p.node),
            None if p.transformNode is None else mappingFromTransform(p.transformNode, doseVolumeOf(p.node), grid),
            p.fractions,
            p.weight,
        )
        for p in parts
    ]
    total = accumulate_dose(
        fractions,
        grid,
        name=name,
        allow_folding=allow_folding,
        allow_mixed_media=allow_mixed_media,
        progress=part(report, 0.1, 0.95),
    )
    inputs = [node for p in parts for node in (p.node, p.transformNode) if node is not None]
    request = {
        "operation": "accumulation",
        "name": name,
        "parts": _parts(parts),
        "transforms": [p.transformNode is not None for p in parts],
    }
    return _store(parts, total, request, [common, *inputs], report, beside=common), total


def _store(parts, total: CombinedDose, request: Mapping[str, Any], inputs: Sequence, report: Progress, beside=None):
    quantity = checkSameQuantity([p.node for p in parts])
    total.distribution()
    beside = beside or doseVolumeOf(parts[0].node)
    scene = beside.GetScene()
    known = all(knownFractions(doseVolumeOf(p.node)) is not None for p in parts)
    # the last call that can cancel: from here on the scene changes
    report(1.0, f"{total.name} ready")
    node = setDoseVolume(
        scene,
        derivedNode(scene, "vtkMRMLScalarVolumeNode", request, inputs),
        total.name,
        total.dose_Gy,
        total.grid,
        parentItem=studyForDose(scene, ensureStudy(beside, "Patient", "Radiotherapy planning")),
        provenance=dict(total.provenance),
        dose_to=total.dose_to,
    )
    setQuantity(node, quantity, total.fractions if known and quantity == "physical dose" else None)
    setDerivation(node, request, inputs)
    return node


def _checked(parts: Sequence[DosePart]) -> tuple[DosePart, ...]:
    parts = tuple(parts)
    if not parts:
        raise EvaluationError("There is no dose to put together; give at least one.")
    checkSameQuantity([p.node for p in parts])
    for p in parts:
        if p.fractions is not None and knownFractions(doseVolumeOf(p.node)) is None:
            raise EvaluationError(
                f"{p.node.GetName()}: how many fractions its dose stands for is not known, so {p.fractions} of them "
                "cannot be taken; give a weight instead."
            )
    return parts


def _parts(parts: Sequence[DosePart]) -> list[dict[str, Any]]:
    return [{"fractions": p.fractions, "weight": p.weight} for p in parts]


def _commonGrid(parts: Sequence[DosePart], commonNode) -> tuple[Grid, Any]:
    if commonNode is not None:
        isVolume = commonNode.IsA("vtkMRMLScalarVolumeNode")
        return gridFromVolume(commonNode if isVolume else doseVolumeOf(commonNode)), commonNode
    if parts[0].transformNode is not None:
        raise EvaluationError(
            "Every dose has a transform, so none tells the grid of the result; name the plan or volume of the common "
            "anatomy."
        )
    return gridFromVolume(doseVolumeOf(parts[0].node)), parts[0].node
