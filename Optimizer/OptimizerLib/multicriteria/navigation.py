"""From plan to plan by sliders: convex mixtures of Pareto plans, found by small linear programs.

The dose of a mixture is the mixture of the doses, exactly. The goals are convex, so each is at or below the mixture of
its values at the plans: what a slider shows is a guarantee, and the plan can only be better.

Monz, Küfer, Bortfeld and Thieke, Phys. Med. Biol. 53 (2008) 985: a slider moved (selection) asks for a value of its
goal while the largest loss of the others is as small as possible, and a slider locked (restriction) bounds its goal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria.pareto import ParetoFront
from OptimizerLib.multicriteria.trade_off import TradeOff

# Weight of the sum of all goals beside the largest loss: of equal losses the mixture that wastes nothing is taken.
_AUGMENTATION = 1e-3
# What the linear programs are allowed to round by, in units of nadir - ideal.
_ROUNDING = 1e-7


@dataclass(frozen=True, eq=False)
class Position:
    """Where the sliders stand.

    Attributes
    ----------
    shares : (plans,) array
        Of each plan, not negative, of sum one; few are not zero.
    values : (goals,) array
        Mixture of the plans' values: each goal's value is at or below.
    asked : float or None
        The value that a slider was moved to.
    reached : bool
        False where the slider was moved further than bounds and plans allow and stopped at the end of its way.
    """

    shares: np.ndarray
    values: np.ndarray
    asked: float | None
    reached: bool


class Navigator:
    """Sliders over the plans of a front. It begins at the most balanced mixture.

    Parameters
    ----------
    front : ParetoFront
    trade_off : TradeOff, optional
        Only to find the goals' exact values at a mixture.
    """

    def __init__(self, front: ParetoFront, trade_off: TradeOff | None = None) -> None:
        if front.plans < 1:
            raise OptimizationError("The front has no plans; compute it first.")
        if trade_off is not None and trade_off.names != front.goals:
            raise OptimizationError(
                f"The trade-off has the goals {', '.join(trade_off.names)}, the front {', '.join(front.goals)}; they "
                "must be the same."
            )
        self.front = front
        self.trade_off = trade_off
        extent = front.nadir - front.ideal
        self._extent = np.where(front.competing, extent, np.maximum(np.abs(front.nadir), 1e-6))
        self._scaled = (front.values - front.ideal) / self._extent
        self._bounds = np.full(len(front.goals), math.inf)
        self.position = self.aim(front.ideal)

    @property
    def bounds(self) -> np.ndarray:
        """Bound of each goal (goals,); infinite where there is none."""
        return self._bounds.copy()

    def reach(self, goal: str | int) -> tuple[float, float]:
        """Least and largest value of a goal that a mixture within the bounds can show."""
        number = self._number(goal)
        ends = []
        for sign in (1.0, -1.0):
            shares = self._solve(sign * self._scaled[:, number], None, self._limits())
            ends.append(float(shares @ self.front.values[:, number]))
        return ends[0], ends[1]

    def move(self, goal: str | int, value: float) -> Position:
        """Move the slider of one goal; the others lose as little as possible, or gain.

        The goal's value is ``value`` at most. Of all mixtures within the bounds the one is taken whose largest loss
        among the other goals, relative to where they stand and in units of nadir - ideal, is smallest. A value out of
        reach moves the slider to the end of its way, and the position says so.

        Raises
        ------
        OptimizationError
            A goal that there is not, a value that is not finite.
        """
        number = self._number(goal)
        if not math.isfinite(value):
            raise OptimizationError(f"Move {self.front.goals[number]} to a finite value; got {value}.")
        limits = self._limits()
        asked = self._to_scaled(value, number)
        # a locked goal cannot be moved past its bound
        limits[number] = min(limits[number], asked)
        reference = (self.position.values - self.front.ideal) / self._extent
        reference[number] = math.inf
        reached = bool(asked <= self._to_scaled(self._bounds[number], number) + _ROUNDING)
        shares = self._aim(reference, limits)
        if shares is None:
            lowest = self._to_scaled(self.reach(number)[0], number)
            limits[number] = lowest + _ROUNDING
            shares = self._aim(reference, limits)
            reached = False
        self.position = self._at(shares, float(value), reached)
        return self.position

    def aim(self, values: np.ndarray) -> Position:
        """Go to the mixture within the bounds that comes nearest to wished values (goals,), or beats them evenly."""
        values = np.asarray(values, float)
        if values.shape != self._bounds.shape or not np.isfinite(values).all():
            raise OptimizationError(f"Give {self._bounds.size} finite values to aim at; got {values}.")
        shares = self._aim((values - self.front.ideal) / self._extent, self._limits())
        self.position = self._at(shares, None, True)
        return self.position

    def restore(self, shares: np.ndarray, bounds: np.ndarray) -> Position:
        """Go back to where the sliders stood (`Position.shares`), with the `bounds` of then.

        Raises
        ------
        OptimizationError
            Shares (plans,) that are not finite, not negative and of sum one; bounds (goals,) that are NaN or that the
            position breaks.
        """
        shares, bounds = np.asarray(shares, float), np.asarray(bounds, float)
        if shares.shape != (self.front.plans,) or not np.isfinite(shares).all() or (shares < 0).any():
            raise OptimizationError(f"Give a share of each of {self.front.plans} plans, none negative; got {shares}.")
        # those of a position are taken as they are, to the last bit
        if abs(shares.sum() - 1.0) > 1e-9:
            raise OptimizationError(f"The shares of the plans must have the sum one; it is {shares.sum():.6g}.")
        if bounds.shape != self._bounds.shape or np.isnan(bounds).any():
            raise OptimizationError(f"Give {self._bounds.size} bounds, infinite where there is none; got {bounds}.")
        position = self._at(shares, None, True)
        broken = position.values > bounds + 10 * _ROUNDING * self._extent
        if broken.any():
            names = ", ".join(name for name, breaks in zip(self.front.goals, broken, strict=True) if breaks)
            raise OptimizationError(f"This mixture breaks the bounds of {names}.")
        self._bounds = bounds.copy()
        self.position = position
        return position

    def balance(self, importance: np.ndarray) -> Position:
        """Go to the mixture within the bounds whose goals lie evenly above their least values, by importance (goals,).

        The largest of ``importance * (value - ideal) / (nadir - ideal)`` is as small as it can be: a goal of twice the
        importance stands half as far from its least value.

        Raises
        ------
        OptimizationError
            Importances that are not one a goal, finite and positive.
        """
        importance = np.asarray(importance, float)
        if importance.shape != self._bounds.shape or not (np.isfinite(importance) & (importance > 0)).all():
            raise OptimizationError(f"Give {self._bounds.size} positive importances, one a goal; got {importance}.")
        shares = self._solve(
            _AUGMENTATION * self._scaled.sum(axis=1), np.zeros(importance.shape), self._limits(), importance
        )
        self.position = self._at(shares, None, True)
        return self.position

    def set_bound(self, goal: str | int, value: float | None) -> Position:
        """Bound a goal, or release it by None; where the position breaks the bound, the goal moves there.

        Raises
        ------
        OptimizationError
            When no mixture keeps this bound and the others; nothing has changed then.
        """
        number = self._number(goal)
        if value is None:
            self._bounds[number] = math.inf
            return self.position
        before = self._bounds[number]
        self._bounds[number] = math.inf
        lowest = self.reach(number)[0]
        if not value >= lowest - _ROUNDING * self._extent[number]:
            self._bounds[number] = before
            raise OptimizationError(
                f"{self.front.goals[number]} cannot be bounded by {value:.5g}: within the other bounds the plans reach "
                f"{lowest:.5g}. Loosen a bound, or add plans to the front."
            )
        self._bounds[number] = float(value)
        if self.position.values[number] > value:
            return self.move(number, value)
        return self.position

    def lock(self, goal: str | int) -> Position:
        """Bound a goal by where it stands: it may improve and not worsen."""
        number = self._number(goal)
        return self.set_bound(number, float(self.position.values[number]))

    def weights(self) -> np.ndarray:
        """Weights (variables,) of the plan where the sliders stand."""
        return self.front.mixed_weights(self.position.shares)

    def dose_Gy(self, structure: str | None = None) -> np.ndarray:
        """Dose of the plan where the sliders stand, in the stored voxels or those of one structure; float32."""
        return self.front.mixed_dose_Gy(self.position.shares, structure)

    def exact_values(self) -> np.ndarray:
        """Values (goals,) of the plan where the sliders stand, at or below those shown.

        Raises
        ------
        OptimizationError
            When the navigator does not know the trade-off, or a structure's dose was not stored with the plans.
        """
        if self.trade_off is None:
            raise OptimizationError("Give the trade-off to the navigator to find the exact values of its goals.")
        problem = self.trade_off.problem
        shares = self.position.shares
        dose = {o.structure: self.front.mixed_dose_Gy(shares, o.structure) for o in problem.objectives}
        values = [objective.value(dose[objective.structure]) for objective in problem.objectives]
        if problem.fluence_terms:
            weights = self.weights()
            values += [float(term.value(weights)) for term in problem.fluence_terms]
        return self.trade_off.goal_values(values)

    def _number(self, goal: str | int) -> int:
        if isinstance(goal, str):
            if goal not in self.front.goals:
                raise OptimizationError(f"There is no goal {goal!r}; there are: {', '.join(self.front.goals)}.")
            return self.front.goals.index(goal)
        if not 0 <= goal < len(self.front.goals):
            raise OptimizationError(f"There is no goal number {goal}; there are {len(self.front.goals)} from 0.")
        return int(goal)

    def _to_scaled(self, value: float, number: int) -> float:
        return (value - self.front.ideal[number]) / self._extent[number]

    def _limits(self) -> np.ndarray:
        return (self._bounds - self.front.ideal) / self._extent + _ROUNDING

    def _aim(self, reference: np.ndarray, limits: np.ndarray) -> np.ndarray | None:
        return self._solve(_AUGMENTATION * self._scaled.sum(axis=1), reference, limits)

    def _solve(
        self,
        cost: np.ndarray,
        reference: np.ndarray | None,
        limits: np.ndarray,
        importance: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Shares of least ``cost @ shares`` plus largest excess over the reference; None where limits leave nothing."""
        times = np.ones(limits.size) if importance is None else importance
        plans = cost.size
        aimed = np.zeros(limits.size, bool) if reference is None else np.isfinite(reference)
        limited = np.isfinite(limits)
        # without a goal to aim at the last variable has no meaning and is held
        found = linprog(
            np.r_[cost, 1.0 if aimed.any() else 0.0],
            A_ub=np.vstack(
                [
                    np.column_stack([self._scaled[:, aimed].T, -1.0 / times[aimed]]),
                    np.column_stack([self._scaled[:, limited].T, np.zeros(limited.sum())]),
                ]
            ),
            b_ub=np.r_[reference[aimed] if aimed.any() else [], limits[limited]],
            A_eq=np.r_[np.ones(plans), 0.0][None],
            b_eq=[1.0],
            bounds=[(0.0, None)] * plans + [(None, None) if aimed.any() else (0.0, 0.0)],
            method="highs",
        )
        if found.status == 2:
            return None
        if found.status != 0:
            raise OptimizationError(f"The position of the sliders could not be found: {found.message}")
        shares = np.where(found.x[:-1] > 1e-12, found.x[:-1], 0.0)
        return shares / shares.sum()

    def _at(self, shares: np.ndarray, asked: float | None, reached: bool) -> Position:
        return Position(shares, shares @ self.front.values, asked, reached)
