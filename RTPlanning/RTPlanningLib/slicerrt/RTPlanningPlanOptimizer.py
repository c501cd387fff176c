"""Our optimizer as a plan optimizer of SlicerRT."""

from __future__ import annotations

import logging

from PlanOptimizers import AbstractScriptedPlanOptimizer
from slicer.i18n import tr as _

from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from RTPlanningLib.slicerrt.answered import answered
from RTPlanningLib.slicerrt.objectives_table import available_objectives


class RTPlanningPlanOptimizer(AbstractScriptedPlanOptimizer):
    """Fluence optimization on the dose influence of the RTPlanning photon pencil beam."""

    def __init__(self, scriptedPlanOptimizer) -> None:
        scriptedPlanOptimizer.name = "RTPlanning"
        AbstractScriptedPlanOptimizer.__init__(self, scriptedPlanOptimizer)

    def setAvailableObjectives(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the objectives of the table, with their parameters and defaults."""
        return available_objectives()

    @answered
    def optimizePlanUsingOptimizer(self, planNode, objectives, resultOptimizationVolumeNode) -> None:
        """Write the dose of the optimized fluence into the volume; see `plan_optimization.optimizePlan`."""
        ensurePackages(DOSE_PACKAGES, _("optimization"))
        from RTPlanningLib.slicerrt.plan_optimization import optimizePlan

        nodes = [entry["ObjectiveNode"] for entry in objectives]
        said = ""

        def say(fraction: float, text: str) -> None:
            nonlocal said
            shown = f"{text} ({fraction:.0%})"
            if shown != said:
                said = shown
                self.scriptedPlanOptimizer.progressInfoUpdated(shown)

        found = optimizePlan(planNode, nodes, resultOptimizationVolumeNode, say)
        for note in found.notes:
            logging.warning("RTPlanning: %s", note)
