"""Equal weights of a fitting size, to begin an optimization with."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from OptimizerLib.multicriteria.trade_off import TradeOff


def even_start(trade_off: TradeOff) -> np.ndarray:
    """Equal weights (variables,), of the size that is best for the bounded goals, or for all where none is bounded."""
    bounds = trade_off.bounds
    bounded = np.isfinite(bounds) & (bounds > 0)
    share = np.where(bounded, 1.0 / np.where(bounded, bounds, 1.0), 0.0) if bounded.any() else np.ones(bounds.shape)
    even = np.ones(trade_off.variables)
    # the size is found by decades: doses per weight differ by orders of magnitude between machines and variables
    found = minimize_scalar(
        lambda decade: float(share @ trade_off.values(10.0**decade * even)), bounds=(-6.0, 6.0), method="bounded"
    )
    return 10.0**found.x * even
