"""What has changed since a plan's dose was calculated, as a panel says it."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.mrml.plan_node import changedSinceDose


def changesText(planNode: Any) -> str:
    """Return a sentence without its end, such as "Changed since the dose was calculated: plan, CT"."""
    changes = ", ".join(_(what) for what in changedSinceDose(planNode))
    return _("Changed since the dose was calculated: {changes}").format(changes=changes)
