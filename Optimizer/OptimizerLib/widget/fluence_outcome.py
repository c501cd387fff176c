"""How an optimization ended, in words for the status line."""

from __future__ import annotations

from slicer.i18n import tr as _

from OptimizerLib.fluence_planning import FluencePlan


def outcomeText(found: FluencePlan) -> str:
    """What the solver says, the objectives with ideal fluence and with leaves, and what the rows left open."""
    losses = found.losses
    text = _("{message} Objectives: {ideal:.4g} with ideal fluence, {delivered:.4g} with leaves.").format(
        message=found.solution.message, ideal=losses.ideal, delivered=losses.refined
    )
    return " ".join([text, *found.notes])
