"""A map over the CT with a colour bar: dose differences about zero, gamma parted at 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import ListedColormap, Normalize

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from RTPlanningLib.display.map_colors import difference_colors, difference_limit, gamma_colors

# Number 128 of 256 colours, the first of those that fail, begins just above a gamma of 1.
_GAMMA_END = 2.0 * (1.0 + 1e-6)
_OPACITY = 0.7
_FAINT = 0.25


@dataclass(frozen=True, eq=False)
class ColorOverlay:
    """Values on a grid and how they are coloured.

    Attributes
    ----------
    values : (k, j, i) array
        NaN where nothing is shown.
    grid : Grid
    colors : (n, 3) array
        RGB in 0..1 from ``low`` to ``high``; values beyond get the colour at the end.
    low, high : float
    label : str
        Of the colour bar.
    ticks : tuple of (float, str)
    fades_at_zero : bool
        Let the CT through where the value is about 0.

    Raises
    ------
    EvaluationError
        A shape that is not the grid's, or a range that is none.
    """

    values: np.ndarray
    grid: Grid
    colors: np.ndarray
    low: float
    high: float
    label: str
    ticks: tuple[tuple[float, str], ...]
    fades_at_zero: bool = False

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise EvaluationError(f"The map's shape {self.values.shape} is not its grid's {self.grid.shape} (k, j, i).")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise EvaluationError(f"A map from {self.low} to {self.high} cannot be coloured; give a range.")

    @property
    def colormap(self) -> ListedColormap:
        """For matplotlib."""
        return ListedColormap(self.colors)

    @property
    def norm(self) -> Normalize:
        """For matplotlib."""
        return Normalize(self.low, self.high, clip=True)

    def opacity(self, values: np.ndarray) -> np.ndarray:
        """Return 0..1 for every value; 0 for NaN."""
        opacity = np.full(values.shape, _OPACITY)
        if self.fades_at_zero:
            share = np.abs(np.nan_to_num(values)) / max(abs(self.low), abs(self.high))
            opacity = _FAINT + (_OPACITY - _FAINT) * np.clip(3.0 * share, 0.0, 1.0)
        return np.where(np.isnan(values), 0.0, opacity)


def difference_overlay(
    values: np.ndarray, grid: Grid, unit: str, limit: float | None = None, label: str = "Dose difference"
) -> ColorOverlay:
    """Colour differences from blue (negative) to red (positive), white and faint about zero.

    Parameters
    ----------
    values : (k, j, i) array
        NaN where not judged.
    grid : Grid
    unit : str
        "Gy" or "%".
    limit : float, optional
        The colours reach from minus to plus this; by default that of `difference_limit`.
    label : str
    """
    judged = np.abs(values[~np.isnan(values)])
    if not judged.size:
        raise EvaluationError("The difference has no voxel that was judged; there is nothing to draw.")
    if limit is None:
        limit = difference_limit(judged)
    if not (math.isfinite(limit) and limit > 0.0):
        raise EvaluationError(f"The limit {limit} of a difference map must be a number above 0.")
    places = tuple(limit * share for share in (-1.0, -0.5, 0.0, 0.5, 1.0))
    ticks = tuple((v, "0" if v == 0.0 else f"{v:+.3g}") for v in places)
    return ColorOverlay(values, grid, difference_colors(), -limit, limit, f"{label} ({unit})", ticks, True)


def gamma_overlay(values: np.ndarray, grid: Grid, label: str = "Gamma") -> ColorOverlay:
    """Colour gamma: blue to green up to 1 (passes), yellow to red above it (fails), the same from 2 on.

    Parameters
    ----------
    values : (k, j, i) array
        NaN where not judged.
    grid : Grid
    label : str
    """
    ticks = ((0.0, "0"), (0.5, "0.5"), (1.0, "1"), (1.5, "1.5"), (2.0, "2+"))
    return ColorOverlay(values, grid, gamma_colors(), 0.0, _GAMMA_END, label, ticks)
