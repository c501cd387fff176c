"""What the table ``[optimization]`` of a plan file asks for.

::

    [optimization]
    objectives = [
        "PTV uniform 51 Gy, weight 100",        # rows as in OptimizerLib.objective_rows
        {aim = "Core Max <= 20 Gy", weight = 20},
    ]
    targets = ["PTV"]                   # optional; by default the prescription's target and every PTV with a row
    bixel_mm = 5                        # the rest is optional: the fields of FluenceSettings
    delivery = "step_and_shoot"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from OptimizerLib.fluence_planning import FluenceSettings
from OptimizerLib.planning_goals import PlanningGoals

SETTINGS = tuple(entry.name for entry in fields(FluenceSettings))


@dataclass(frozen=True)
class OptimizationRequest:
    """Objectives and settings of an inverse plan.

    Attributes
    ----------
    goals : PlanningGoals
    targets : tuple of str
        Structures that bixels are laid around; empty: see `OptimizerLib.fluence_planning.plan_fluence`.
    settings : FluenceSettings
    """

    goals: PlanningGoals
    targets: tuple[str, ...] = ()
    settings: FluenceSettings = field(default_factory=FluenceSettings)

    def changed_settings(self) -> Iterator[tuple[str, object]]:
        """Names and values of the settings that are not the usual ones."""
        usual = FluenceSettings()
        for name in SETTINGS:
            value = getattr(self.settings, name)
            if value != getattr(usual, name):
                yield name, value
