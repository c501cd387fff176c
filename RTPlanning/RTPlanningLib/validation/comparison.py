"""A calculated dose against a Monte Carlo reference: the figures, and the bars they are held to."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.validation.monte_carlo import Reference, penumbra_mm

PENUMBRA_DEPTHS_MM = (15.0, 50.0, 100.0, 200.0)
GAMMA_THRESHOLD_PERCENT = 10
# Gamma is judged in one quadrant (the references are 8-fold symmetric), this far beyond the field's edge at the axis.
_GAMMA_MARGIN_MM = 50.0


@dataclass(frozen=True)
class Bars:
    """What a case is held to; None where nothing is asked.

    Attributes
    ----------
    axis_percent : float or None
        Largest deviation on the axis beyond build-up, two standard deviations of the reference allowed.
    gamma_percent, gamma_mm : float
        The criterion: global, of voxels above 10 % of the maximum.
    gamma_rate : float or None
        Least share of them that passes.
    penumbra_mm : float or None
        Largest difference of the 50 % edge and of the 80-20 % width.
    """

    axis_percent: float | None
    gamma_percent: float
    gamma_mm: float
    gamma_rate: float | None
    penumbra_mm: float | None


# phantom, machine: side of the field in mm, its bars. A field of another size is held to those of the nearest (ratio).
_BARS = {
    ("w", "ideal_6mv"): {30.0: Bars(1.0, 2, 1, 0.99, 0.5), 100.0: Bars(1.0, 2, 1, 0.99, 0.5)},
    ("w", "ideal_15mv"): {100.0: Bars(1.5, 2, 1, None, None)},
    ("l", "ideal_6mv"): {30.0: Bars(4.0, 3, 2, 0.95, None), 100.0: Bars(2.0, 2, 2, 0.97, None)},
    ("b", "ideal_6mv"): {30.0: Bars(3.0, 3, 2, None, None)},
}
_NO_BARS = Bars(None, 3, 2, None, None)


@dataclass(frozen=True)
class PenumbraComparison:
    """Field edge (50 %) and 80-20 % width at a depth, in mm: calculated and reference."""

    depth_mm: float
    edge_mm: float
    reference_edge_mm: float
    width_mm: float
    reference_width_mm: float

    @property
    def edge_difference_mm(self) -> float:
        """Calculated minus reference."""
        return self.edge_mm - self.reference_edge_mm

    @property
    def width_difference_mm(self) -> float:
        """Calculated minus reference."""
        return self.width_mm - self.reference_width_mm


@dataclass(frozen=True)
class Figure:
    """A figure that is held to a bar: at most, or with ``at_least`` at least, ``bar``; None where nothing is asked."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None without a bar."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@dataclass(frozen=True, eq=False)
class Comparison:
    """An engine's dose of a case against its reference.

    Attributes
    ----------
    axis : (z,) array
        Calculated dose on the axis, as `Reference.axis`.
    profiles : dict of depth in mm to (x,) array
    largest_percent, rms_percent : float
        Of the deviation on the axis beyond the build-up.
    beyond_2_sigma_percent : float
        Its largest part beyond two standard deviations of the reference.
    penumbrae : tuple of PenumbraComparison
    gamma_rate : float or None
        Share of voxels with gamma <= 1; None where it was not calculated.
    seconds : float
        What the calculation took, compilation included.
    """

    reference: Reference
    engine: str
    bars: Bars
    axis: np.ndarray
    profiles: dict[float, np.ndarray]
    largest_percent: float
    beyond_2_sigma_percent: float
    rms_percent: float
    penumbrae: tuple[PenumbraComparison, ...]
    gamma_rate: float | None
    seconds: float

    def figures(self) -> tuple[Figure, ...]:
        """All figures, with their bars where there are any."""
        bars = self.bars
        figures = [
            Figure("axis, largest deviation", self.largest_percent, "%"),
            Figure("axis, largest deviation beyond 2 sigma", self.beyond_2_sigma_percent, "%", bars.axis_percent),
            Figure("axis, rms deviation", self.rms_percent, "%"),
        ]
        for p in self.penumbrae:
            at = f"{p.depth_mm:g} mm deep"
            figures.append(Figure(f"field edge, difference {at}", abs(p.edge_difference_mm), "mm", bars.penumbra_mm))
            figures.append(
                Figure(f"80-20 % width, difference {at}", abs(p.width_difference_mm), "mm", bars.penumbra_mm)
            )
        if self.gamma_rate is not None:
            least = None if bars.gamma_rate is None else 100 * bars.gamma_rate
            name = f"gamma {bars.gamma_percent:g} %/{bars.gamma_mm:g} mm, pass rate"
            figures.append(Figure(name, 100 * self.gamma_rate, "%", least, at_least=True))
        return tuple(figures)


def bars_for(reference: Reference) -> Bars:
    """The bars of a case: none where none is set for its phantom and spectrum."""
    sizes = _BARS.get((reference.phantom, reference.machine))
    if sizes is None:
        return _NO_BARS
    return sizes[min(sizes, key=lambda side: abs(np.log(side / reference.field_mm)))]


def compare(reference: Reference, dose: np.ndarray, engine: str, *, gamma: bool, seconds: float) -> Comparison:
    """Compare a dose cube [z, y, x] in Gy for 1 photon/cm2 with its reference: absolute, no scaling of either side."""
    deviation, error = reference.axis_deviation(dose)
    bars = bars_for(reference)
    penumbrae = []
    for depth in PENUMBRA_DEPTHS_MM:
        ours = penumbra_mm(reference.x_mm, reference.profile_of(dose, depth))
        theirs = penumbra_mm(reference.x_mm, reference.profile_of(reference.dose, depth))
        penumbrae.append(PenumbraComparison(depth, ours[0], theirs[0], ours[1], theirs[1]))
    return Comparison(
        reference=reference,
        engine=engine,
        bars=bars,
        axis=reference.axis_of(dose),
        profiles={depth: reference.profile_of(dose, depth) for depth in PENUMBRA_DEPTHS_MM},
        largest_percent=100 * float(np.abs(deviation).max()),
        beyond_2_sigma_percent=100 * max(float((np.abs(deviation) - 2 * error).max()), 0.0),
        rms_percent=100 * float(np.sqrt(np.mean(deviation**2))),
        penumbrae=tuple(penumbrae),
        gamma_rate=gamma_pass_rate(reference, dose, bars.gamma_percent, bars.gamma_mm) if gamma else None,
        seconds=seconds,
    )


def gamma_available() -> bool:
    """Whether pymedphys, of whose hand the gamma index is, can be imported."""
    return importlib.util.find_spec("pymedphys") is not None


def gamma_pass_rate(reference: Reference, dose: np.ndarray, percent: float, distance_mm: float) -> float:
    """Share of reference voxels (one quadrant, they are 8-fold symmetric) above 10 % of the maximum with gamma <= 1.

    Global gamma by pymedphys, normalized to the largest reference dose on the axis.

    Raises
    ------
    EvaluationError
        pymedphys is not installed.
    """
    if not gamma_available():
        raise EvaluationError('The gamma index needs pymedphys: pip install "rtplanning[validate]".')
    import pymedphys

    middle = reference.x_mm.size // 2
    at_the_end = reference.field_mm / 2 * (900.0 + reference.z_mm[-1]) / 1000.0
    count = max(40, round((at_the_end + _GAMMA_MARGIN_MM) / reference.voxel_mm))
    reach = slice(middle, middle + count)
    axes = (reference.z_mm, reference.x_mm[reach], reference.x_mm[reach])
    gamma = pymedphys.gamma(
        axes,
        reference.dose[:, reach, reach],
        axes,
        dose[:, reach, reach],
        dose_percent_threshold=percent,
        distance_mm_threshold=distance_mm,
        lower_percent_dose_cutoff=GAMMA_THRESHOLD_PERCENT,
        interp_fraction=10,
        max_gamma=1.1,
        local_gamma=False,
        global_normalisation=reference.axis.max(),
    )
    valid = ~np.isnan(gamma)
    return float((gamma[valid] <= 1).mean())
