"""What can go wrong in an optimization that a user can mend."""

from DoseEngineLib.errors import PlanningError


class OptimizationError(PlanningError):
    """Objectives, structures or beams that an optimization cannot work with."""
