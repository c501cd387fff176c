"""Exact solutions of linear and quadratic problems by HiGHS (Huangfu and Hall, Math. Program. Comput. 10 (2018) 119).

Every voxel becomes a row of the program, so this is for problems of up to some ten thousand voxels, for linear ones,
and to judge other solvers by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from DoseEngineLib.progress import Progress
from OptimizerLib.constraints import Constraint, MaxDose, MaxMean, MaxTailMean, MinDose, MinMean, MinTailMean
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose, SquaredUnderdose
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.solver import Callback, IterationState, Solution, Solver, optimality, require_finite


class Highs(Solver):
    """Simplex method for linear problems, active-set method for convex quadratic ones.

    Objectives may be `MeanDose`, `SquaredDeviation`, `SquaredOverdose` and `SquaredUnderdose`; constraints all on
    maximum, minimum, mean and mean of a tail. Other terms are refused. The callback hears of start and end only.

    Parameters
    ----------
    time_limit_s : float
    """

    handles_constraints = True

    def __init__(self, time_limit_s: float = 600.0) -> None:
        if not time_limit_s > 0:
            raise OptimizationError(f"time_limit_s must be positive; got {time_limit_s}.")
        self.time_limit_s = float(time_limit_s)

    def _minimize(self, problem: Problem, start: np.ndarray, progress: Progress, callback: Callback | None) -> Solution:
        import highspy

        if type(problem).evaluate is not Problem.evaluate or problem.fluence_terms:
            raise OptimizationError(
                "HiGHS takes objectives on dose alone; use the quasi-newton solver for other terms."
            )
        history = [problem.value_and_gradient(start)[0]]
        require_finite(history[0], "at the start")
        progress(0.0, f"Start: objective {history[0]:.5g}")
        if callback is not None:
            state = IterationState(problem, 0, history[0], start.copy())
            callback(state)
            if state.is_stopped:
                return self._solution(problem, start, history, None, np.zeros(0), "Stopped on request at the start.")
        program = _Program(problem)
        for objective in problem.objectives:
            program.add_objective(objective)
        for constraint in problem.constraints:
            program.add_constraint(constraint)
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("time_limit", self.time_limit_s)
        solver.passModel(program.model(highspy))
        solver.run()
        status = solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            raise OptimizationError("No weights meet all constraints together; relax one.")
        if status != highspy.HighsModelStatus.kOptimal:
            raise OptimizationError(
                f"HiGHS did not solve it: {solver.modelStatusToString(status)}; use another solver."
            )
        answer = solver.getSolution()
        weights = program.unit * np.maximum(np.array(answer.col_value)[: problem.variables], 0.0)
        history.append(problem.value_and_gradient(weights)[0])
        if callback is not None:
            callback(IterationState(problem, 1, history[-1], weights.copy()))
        message = "Optimum found by HiGHS."
        progress(1.0, message)
        return self._solution(problem, weights, history, program, np.array(answer.row_dual), message)

    @staticmethod
    def _solution(problem, weights, history, program, row_duals, message) -> Solution:
        dose = problem.seen_dose_Gy(weights)
        value, by_dose, by_weights = problem.evaluate(dose, weights)
        multipliers: list[np.ndarray] = []
        for constraint in problem.constraints if program is not None else ():
            multiplier, pressure = program.multipliers(constraint, dose, row_duals)
            multipliers.append(multiplier)
            by_dose[problem.rows(constraint)] += pressure
        gradient = problem.gradient_of(by_dose) + by_weights
        return Solution(
            weights,
            float(value),
            tuple(history),
            optimality(weights, gradient / history[0] if history[0] > 0 else gradient),
            program is not None,
            message,
            tuple(multipliers),
            problem.violation_Gy(weights),
        )


class _Program:
    """Rows ``lower <= A x <= upper`` and cost ``linear @ x + sum(square * x**2)`` of the weights and what they need."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        dose = sparse.csr_array(problem.operator.to_csr() * problem.scale)
        # in weights of which one gives about 1 Gy: HiGHS penalizes their squares a little, whatever their unit
        largest = dose.max(axis=0).toarray().ravel()
        self.unit = 1.0 / float(largest[largest > 0].mean()) if (largest > 0).any() else 1.0
        self._dose = dose * self.unit
        self._linear = [np.zeros(problem.variables)]
        self._square = [np.zeros(problem.variables)]
        self._lower = [np.zeros(problem.variables)]
        self._columns = problem.variables
        # blocks of rows: (by weights, first further column, by further columns, lower, upper)
        self._rows: list[tuple[Any, int, Any, np.ndarray, np.ndarray]] = []
        # blocks of each constraint's rows: its own, and those of the voxels of a tail
        self._dual_of: dict[int, tuple[int, int | None]] = {}

    def _add_columns(self, linear: np.ndarray, square: np.ndarray, lower: float) -> int:
        first = self._columns
        self._linear.append(linear)
        self._square.append(square)
        self._lower.append(np.full(linear.size, lower))
        self._columns += linear.size
        return first

    def _add_rows(self, by_weights, first: int, further, lower: np.ndarray, upper: np.ndarray) -> None:
        self._rows.append((by_weights, first, further, lower, upper))

    def add_objective(self, objective: Any) -> None:
        """Bring in an objective, or raise when it is neither linear nor a square."""
        part = self._dose[self._row_numbers(objective)]
        count = part.shape[0]
        zeros, inf = np.zeros(count), np.full(count, np.inf)
        kind = type(objective)
        if kind is MeanDose:
            self._linear[0] += part.T @ objective.gradient(zeros)
            return
        if kind not in (SquaredDeviation, SquaredOverdose, SquaredUnderdose):
            raise OptimizationError(
                f"HiGHS cannot work with {kind.__name__} of {objective.structure}: neither linear nor a square; use "
                "the quasi-newton solver."
            )
        level = np.full(count, objective.dose_Gy)
        below = kind is SquaredUnderdose
        # half the slope a Gy beyond the level
        square = np.abs(objective.gradient(level - 1.0 if below else level + 1.0)) / 2.0
        first = self._add_columns(zeros, square, -np.inf if kind is SquaredDeviation else 0.0)
        eye = sparse.eye_array(count)
        if kind is SquaredDeviation:
            self._add_rows(part, first, -eye, level, level)
        elif below:
            self._add_rows(part, first, eye, level, inf)
        else:
            self._add_rows(part, first, -eye, -inf, level)

    def add_constraint(self, constraint: Constraint) -> None:
        """Bring in a constraint, or raise when it is not linear."""
        part = self._dose[self._row_numbers(constraint)]
        count = part.shape[0]
        kind = type(constraint)
        tail = None
        sign = -1.0 if kind in (MinDose, MinMean, MinTailMean) else 1.0
        if kind in (MaxDose, MinDose):
            limit, by_weights, further, first = np.full(count, sign * constraint.dose_Gy), sign * part, None, 0
        elif kind in (MaxMean, MinMean):
            mean = constraint.pullback(np.zeros(count), np.ones(1))
            limit, by_weights = np.array([sign * constraint.dose_Gy]), sparse.csr_array((part.T @ mean)[None, :])
            further, first = None, 0
        elif kind in (MaxTailMean, MinTailMean):
            # threshold and what is beyond it (Rockafellar and Uryasev 2000)
            shares = np.full(count, 1.0 / count) if constraint.voxel_weights is None else constraint.voxel_weights
            volume = constraint.volume_percent / 100.0
            first = self._add_columns(np.zeros(1), np.zeros(1), -np.inf)
            self._add_columns(np.zeros(count), np.zeros(count), 0.0)
            beyond = sparse.hstack([sparse.csr_array(np.full((count, 1), -1.0)), -sparse.eye_array(count)])
            tail = len(self._rows)
            self._add_rows(sign * part, first, beyond, np.full(count, -np.inf), np.zeros(count))
            limit = np.array([sign * constraint.dose_Gy])
            by_weights = sparse.csr_array((1, self._problem.variables))
            further = sparse.csr_array(
                np.concatenate(([1.0], shares / (volume if sign > 0 else 1.0 - volume)))[None, :]
            )
        else:
            raise OptimizationError(
                f"HiGHS cannot work with {kind.__name__} of {constraint.structure}, which is not linear; use the "
                "quasi-newton solver."
            )
        self._dual_of[id(constraint)] = (len(self._rows), tail)
        self._add_rows(by_weights, first, further, np.full(limit.size, -np.inf), limit)

    def _row_numbers(self, term: Any) -> np.ndarray:
        return np.arange(self._dose.shape[0])[self._problem.rows(term)]

    def multipliers(
        self, constraint: Constraint, dose: np.ndarray, row_duals: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Multipliers of a constraint's excesses, and the derivative (n,) of their product by the voxels' dose."""
        ends = np.cumsum([0, *(lower.size for *_, lower, _ in self._rows)])
        own, tail = self._dual_of[id(constraint)]
        multiplier = np.maximum(-row_duals[ends[own] : ends[own + 1]], 0.0)
        if tail is None:
            return multiplier, constraint.pullback(dose[self._problem.rows(constraint)], multiplier)
        sign = -1.0 if type(constraint) is MinTailMean else 1.0
        return multiplier, -sign * row_duals[ends[tail] : ends[tail + 1]]

    def model(self, highspy):
        """The program as HiGHS wants it."""
        blocks = []
        for by_weights, first, further, lower, _ in self._rows:
            size = lower.size
            middle = sparse.csr_array((size, (first if further is not None else self._columns) - by_weights.shape[1]))
            parts = [by_weights, middle]
            if further is not None:
                parts += [further, sparse.csr_array((size, self._columns - first - further.shape[1]))]
            blocks.append(sparse.hstack(parts))
        matrix = sparse.csc_array(sparse.vstack(blocks)) if blocks else sparse.csc_array((0, self._columns))
        model = highspy.HighsModel()
        lp = model.lp_
        lp.num_col_, lp.num_row_ = self._columns, matrix.shape[0]
        lp.col_cost_ = np.concatenate(self._linear)
        lp.col_lower_ = np.concatenate(self._lower)
        lp.col_upper_ = np.full(self._columns, np.inf)
        lp.row_lower_ = np.concatenate([np.zeros(0), *(row[3] for row in self._rows)])
        lp.row_upper_ = np.concatenate([np.zeros(0), *(row[4] for row in self._rows)])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = matrix.indptr
        lp.a_matrix_.index_ = matrix.indices
        lp.a_matrix_.value_ = matrix.data.astype(float)
        square = np.concatenate(self._square)
        if square.any():
            quadratic = sparse.csc_array(sparse.diags_array(2.0 * square))
            quadratic.eliminate_zeros()
            model.hessian_.dim_ = self._columns
            model.hessian_.format_ = highspy.HessianFormat.kTriangular
            model.hessian_.start_ = quadratic.indptr
            model.hessian_.index_ = quadratic.indices
            model.hessian_.value_ = quadratic.data
        return model
