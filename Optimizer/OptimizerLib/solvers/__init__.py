"""Solvers: one interface, whatever the method."""

from OptimizerLib.solvers.lbfgsb import BoundedLBFGS
from OptimizerLib.solvers.quasi_newton import QuasiNewton
from OptimizerLib.solvers.solver import IterationState, Solution, Solver, optimality

__all__ = ["BoundedLBFGS", "IterationState", "QuasiNewton", "Solution", "Solver", "optimality"]
