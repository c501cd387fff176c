"""Uncertain parameters: published confidence limits, drawn with a fixed seed, and the bands of probability that follow.

The parameters of a model are drawn independently of one another. Fits correlate them, and papers seldom say how; a band
of independent draws is then too wide in some directions and too narrow in others. It holds the uncertainty of the
parameters only, not that of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.physical_range import require_count

Model = TypeVar("Model")

DEFAULT_SEED = 20100301
DEFAULT_SAMPLES = 1000
PERCENTILES = (2.5, 16.0, 50.0, 84.0, 97.5)
# standard deviations of a normal distribution from its middle to its 95 % and its 68 % limits
_TO_LIMIT = {95.0: 1.959963984540054, 68.0: 0.994457883209753}
_TRIES = 200


@dataclass(frozen=True)
class Estimate:
    """A parameter's value with its confidence limits, where they were published.

    Attributes
    ----------
    value : float
    low, high : float, optional
        Confidence limits; both or neither.
    confidence_percent : {95.0, 68.0}
    """

    value: float
    low: float | None = None
    high: float | None = None
    confidence_percent: float = 95.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise EvaluationError(f"A parameter's value must be finite; got {self.value}.")
        if (self.low is None) != (self.high is None):
            raise EvaluationError("Confidence limits come in pairs; give both or neither.")
        if self.low is not None and not self.low <= self.value <= self.high:
            raise EvaluationError(
                f"The confidence limits {self.low} and {self.high} do not enclose the value {self.value}."
            )
        if self.confidence_percent not in _TO_LIMIT:
            raise EvaluationError(f"Confidence limits of 95 or 68 % are understood, not {self.confidence_percent} %.")

    @property
    def is_uncertain(self) -> bool:
        """Whether limits are known and apart."""
        return self.low is not None and self.high > self.low

    def draw(self, normal: np.ndarray) -> np.ndarray:
        """Turn standard normal deviates into values: two halves of normal distributions that meet at the value."""
        if self.low is None:
            return np.full(np.shape(normal), self.value)
        scale = _TO_LIMIT[self.confidence_percent]
        below, above = (self.value - self.low) / scale, (self.high - self.value) / scale
        return self.value + np.where(normal < 0.0, below, above) * normal


@dataclass(frozen=True, eq=False)
class Band:
    """Percentiles of a probability over drawn parameters.

    Attributes
    ----------
    best : float or (n,) array
        Probability of the published values.
    percentiles : tuple of float
    values : (len(percentiles), ...) array
    samples : int
    seed : int
    varied : tuple of str
        Parameters that had limits; the others kept their values.
    """

    best: np.ndarray
    percentiles: tuple[float, ...]
    values: np.ndarray
    samples: int
    seed: int
    varied: tuple[str, ...]

    def at(self, percentile: float) -> np.ndarray:
        """Return one of the percentiles."""
        if percentile not in self.percentiles:
            raise EvaluationError(f"The band has the percentiles {self.percentiles}, not {percentile}.")
        return self.values[self.percentiles.index(percentile)]


def draw_models(
    build: Callable[..., Model],
    estimates: Mapping[str, Estimate],
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = DEFAULT_SEED,
) -> list[Model]:
    """Return models with drawn parameters; the same seed gives the same models.

    Draws that the model refuses as not physical are drawn again.

    Parameters
    ----------
    build : callable
        Takes the parameters by name; raises `EvaluationError` for those that are not physical.
    estimates : mapping of parameter name to Estimate
    """
    require_count("Uncertainty", samples=samples)
    generator = np.random.default_rng(seed)
    names = tuple(estimates)
    models: list[Model] = []
    for _ in range(_TRIES):
        # always drawn for all, so that a parameter's draws do not depend on which others are uncertain
        normal = generator.standard_normal((samples - len(models), len(names)))
        drawn = np.column_stack([estimates[name].draw(normal[:, k]) for k, name in enumerate(names)])
        for row in drawn:
            try:
                models.append(build(**dict(zip(names, map(float, row)))))
            except EvaluationError:
                continue
        if len(models) == samples:
            return models
    raise EvaluationError(
        "Hardly any draw of the parameters is physical; check the confidence limits of " + ", ".join(names) + "."
    )


def probability_band(
    probability: Callable[[Model], np.ndarray | float],
    build: Callable[..., Model],
    estimates: Mapping[str, Estimate],
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = DEFAULT_SEED,
    percentiles: Sequence[float] = PERCENTILES,
) -> Band:
    """Return the percentiles of a probability, or of a curve of them, over drawn parameters.

    Raises
    ------
    EvaluationError
        When no parameter has confidence limits: there is then no band to draw, and none is made up.
    """
    varied = tuple(name for name, estimate in estimates.items() if estimate.is_uncertain)
    if not varied:
        raise EvaluationError(
            "None of the parameters has confidence limits, so there is no band; give limits, or do without."
        )
    percentiles = tuple(float(p) for p in percentiles)
    if not percentiles or not all(0.0 <= p <= 100.0 for p in percentiles):
        raise EvaluationError(f"Percentiles lie between 0 and 100; got {percentiles}.")
    best = np.asarray(probability(build(**{name: estimate.value for name, estimate in estimates.items()})))
    values = [np.asarray(probability(model)) for model in draw_models(build, estimates, samples=samples, seed=seed)]
    return Band(best, percentiles, np.percentile(values, percentiles, axis=0), samples, seed, varied)
