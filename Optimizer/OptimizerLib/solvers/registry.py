"""Solvers by label: which there are, which of them can be used here, and why not the others."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from OptimizerLib.errors import OptimizationError
from OptimizerLib.solvers.solver import Solver

DEFAULT_SOLVER = "quasi-newton"


@dataclass(frozen=True)
class SolverInfo:
    """A solver as a user may choose it.

    Attributes
    ----------
    label, title : str
    available : bool
    reason : str
        What is missing and how to get it; empty when available.
    """

    label: str
    title: str
    available: bool
    reason: str


@dataclass(frozen=True)
class _Entry:
    title: str
    module: str
    class_name: str
    requires: tuple[str, ...]


_REGISTRY = {
    "quasi-newton": _Entry("Quasi-Newton for dose", "OptimizerLib.solvers.quasi_newton", "QuasiNewton", ()),
    "l-bfgs-b": _Entry("L-BFGS-B of scipy", "OptimizerLib.solvers.lbfgsb", "BoundedLBFGS", ()),
    "ipopt": _Entry("IPOPT interior point", "OptimizerLib.solvers.ipopt", "Ipopt", ("ipyopt",)),
    "highs": _Entry("HiGHS for linear and quadratic problems", "OptimizerLib.solvers.highs", "Highs", ("highspy",)),
}


def available_solvers() -> list[SolverInfo]:
    """List every solver, the unavailable ones with the reason; the default first."""
    infos = []
    for label, entry in _REGISTRY.items():
        missing = [name for name in entry.requires if importlib.util.find_spec(name) is None]
        reason = f"needs {', '.join(missing)}: pip install {' '.join(missing)}" if missing else ""
        infos.append(SolverInfo(label, entry.title, not missing, reason))
    return infos


def create_solver(label: str = DEFAULT_SOLVER, **options: Any) -> Solver:
    """Create a solver by label.

    Raises
    ------
    OptimizationError
        Unknown label, a package that is missing, or an option that the solver does not have.
    """
    if label not in _REGISTRY:
        raise OptimizationError(f"There is no solver {label!r}; choose one of: {', '.join(_REGISTRY)}.")
    info = next(info for info in available_solvers() if info.label == label)
    if not info.available:
        raise OptimizationError(f"Solver {label!r} is not available here: it {info.reason}.")
    entry = _REGISTRY[label]
    solver_class = getattr(importlib.import_module(entry.module), entry.class_name)
    try:
        return solver_class(**options)
    except TypeError as error:
        raise OptimizationError(f"Solver {label!r} does not take these options: {error}.") from error
