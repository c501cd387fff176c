"""The contract of a term on the fluence itself, and which bixels are neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.influence import BixelBeam
from OptimizerLib.errors import OptimizationError


@dataclass(frozen=True, eq=False)
class FluenceTerm(ABC):
    """A penalty on bixel weights; smaller is better. A mean over pairs of neighbours, so independent of their number.

    Make one with `of_beams`.

    Attributes
    ----------
    neighbours : (p, 2) int array
        Pairs of columns of the influence that lie side by side in one beam.
    weight : float
        Importance relative to the objectives.
    """

    neighbours: np.ndarray
    weight: float = 1.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        pairs = np.array(self.neighbours, dtype=np.intp)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
            raise OptimizationError(
                f"{name} needs pairs of neighbouring bixels, and there are none; use beams with more than one bixel."
            )
        if not (np.isfinite(self.weight) and self.weight >= 0.0):
            raise OptimizationError(f"{name}: the weight must be a finite number, not negative; got {self.weight!r}.")
        pairs.setflags(write=False)
        object.__setattr__(self, "neighbours", pairs)

    @classmethod
    def of_beams(cls, beams: Sequence[BixelBeam], weight: float = 1.0) -> FluenceTerm:
        """Make the term for the bixels of some beams, in the order of the influence's columns."""
        return cls(neighbouring_bixels(beams), weight)

    @abstractmethod
    def value(self, weights: np.ndarray) -> float:
        """Value at some bixel weights (variables,) in MU."""

    @abstractmethod
    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Derivative with respect to each weight, (variables,), per MU."""

    def _differences(self, weights: np.ndarray) -> np.ndarray:
        return weights[self.neighbours[:, 0]] - weights[self.neighbours[:, 1]]

    def _scatter(self, slopes: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Gradient from the derivative of the value with respect to each pair's difference."""
        count = weights.size
        return np.bincount(self.neighbours[:, 0], slopes, count) - np.bincount(self.neighbours[:, 1], slopes, count)


def neighbouring_bixels(beams: Sequence[BixelBeam]) -> np.ndarray:
    """Pairs (p, 2) of columns whose bixels share an edge: along the leaves' travel and across to the next leaf pair."""
    pairs = [np.zeros((0, 2), np.intp)]
    first = 0
    for beam in beams:
        column, row = beam.columns - beam.columns.min(), beam.rows - beam.rows.min()
        place = np.full((row.max() + 1, column.max() + 1), -1, np.intp)
        place[row, column] = first + np.arange(beam.size)
        for one, other in ((place[:, :-1], place[:, 1:]), (place[:-1], place[1:])):
            both = (one >= 0) & (other >= 0)
            pairs.append(np.stack((one[both], other[both]), axis=1))
        first += beam.size
    return np.concatenate(pairs)
