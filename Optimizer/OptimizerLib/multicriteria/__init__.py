"""Several goals at once: Pareto plans, navigation between them, and goals in order of priority."""

from OptimizerLib.multicriteria.lexicographic import PrioritizedPlan, PriorityStep, optimize_by_priority
from OptimizerLib.multicriteria.navigation import Navigator, Position
from OptimizerLib.multicriteria.pareto import ParetoFront, approximate_pareto_front
from OptimizerLib.multicriteria.trade_off import Goal, ScalarizedProblem, TradeOff

__all__ = [
    "Goal",
    "Navigator",
    "ParetoFront",
    "Position",
    "PrioritizedPlan",
    "PriorityStep",
    "ScalarizedProblem",
    "TradeOff",
    "approximate_pareto_front",
    "optimize_by_priority",
]
