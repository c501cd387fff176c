"""Solvers: one interface, whatever the method."""

from OptimizerLib.solvers.lbfgsb import BoundedLBFGS
from OptimizerLib.solvers.solver import Solution, Solver, optimality

__all__ = ["BoundedLBFGS", "Solution", "Solver", "optimality"]
