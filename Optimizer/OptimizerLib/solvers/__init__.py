"""Solvers: one interface, whatever the method."""

from OptimizerLib.solvers.lbfgsb import BoundedLBFGS
from OptimizerLib.solvers.quasi_newton import QuasiNewton
from OptimizerLib.solvers.registry import DEFAULT_SOLVER, SolverInfo, available_solvers, create_solver
from OptimizerLib.solvers.solver import IterationState, Solution, Solver, optimality

__all__ = [
    "DEFAULT_SOLVER",
    "BoundedLBFGS",
    "IterationState",
    "QuasiNewton",
    "Solution",
    "Solver",
    "SolverInfo",
    "available_solvers",
    "create_solver",
    "optimality",
]
