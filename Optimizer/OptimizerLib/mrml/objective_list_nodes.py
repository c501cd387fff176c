"""The objectives of a plan as a person edits them, kept with the plan node."""

from __future__ import annotations

import json
from collections.abc import Sequence

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.mrml.plan_node import planFromNode
from OptimizerLib.mrml.fluence_nodes import optimizedFluence

_OBJECTIVES = "Objectives"


def setObjectiveLines(planNode, lines: Sequence[str]) -> None:
    """Keep objective rows with a plan, as typed: lines that cannot be read yet are kept too."""
    text = json.dumps(list(lines), ensure_ascii=False)
    if planNode.GetParameter(_OBJECTIVES) != text:
        planNode.SetParameter(_OBJECTIVES, text)


def objectiveLines(planNode) -> tuple[str, ...]:
    """Return the objective rows of a plan: those kept with it, else those it was optimized for, else a beginning.

    Raises
    ------
    SchemaError
        What is kept is damaged.
    """
    text = planNode.GetParameter(_OBJECTIVES)
    if text:
        try:
            lines = json.loads(text)
        except ValueError as error:
            raise SchemaError(
                f"Plan {planNode.GetName()}: its objectives are damaged ({error}); write them anew."
            ) from error
        return tuple(str(line) for line in lines)
    fluence = optimizedFluence(planNode)
    if fluence is not None:
        return fluence.objectives
    prescription = planFromNode(planNode).prescription
    if prescription is None or not prescription.target:
        return ()
    # without a term on the fluence, bixels that hardly reach the target would get any MU
    return (
        f"{prescription.target} uniform {prescription.dose_Gy:g} Gy, weight 100",
        "fluence smoothness, weight 0.01",
    )
