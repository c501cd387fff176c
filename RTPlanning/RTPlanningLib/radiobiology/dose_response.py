"""How probabilities rise with the prescribed dose: a plan's dose scaled at a constant number of fractions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.parameters import NtcpParameters, TcpParameters
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_positive
from RTPlanningLib.radiobiology.plan_radiobiology import dose_in_terms_of
from RTPlanningLib.radiobiology.uncertainty import DEFAULT_SAMPLES, DEFAULT_SEED, Band, probability_band

# Groups of equal volume that a DVH is joined to, for the curve and for its band.
_CURVE_POINTS, _BAND_POINTS = 10_000, 1000


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """A probability over prescribed dose.

    Attributes
    ----------
    label : str
    quantity : {"NTCP", "TCP"}
    prescription_Gy : (n,) array
    probability : (n,) array
        0..1, of the published values.
    band : Band or None
        None where no limits were published.
    planned_Gy, planned_probability : float
        The plan as it is.
    """

    label: str
    quantity: str
    prescription_Gy: np.ndarray
    probability: np.ndarray
    band: Band | None
    planned_Gy: float
    planned_probability: float


def ntcp_response(
    entry: NtcpParameters,
    dose_volume: DoseVolume,
    fractionation: Fractionation,
    planned_Gy: float,
    prescription_Gy: np.ndarray,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = DEFAULT_SEED,
) -> DoseResponse:
    """Return NTCP over prescribed dose.

    Parameters
    ----------
    dose_volume : DoseVolume
        Physical dose of the plan as prescribed to ``planned_Gy``.
    prescription_Gy : (n,) array
        Where the curve is asked for. The terms of the dose are those of the plan as it is, all along the curve.
    """
    _, terms, _ = dose_in_terms_of(entry, dose_volume, fractionation.fractions, planned_Gy)
    fixed = "physical" if terms == "physical dose" else "EQD2"

    def converted(grouped: DoseVolume, dose: float) -> DoseVolume:
        scaled = grouped.scaled(dose / planned_Gy)
        return dose_in_terms_of(entry, scaled, fractionation.fractions, planned_Gy, fixed)[0]

    label = f"{dose_volume.name}: {entry.endpoint}"
    return _response(
        label,
        "NTCP",
        entry,
        dose_volume,
        converted,
        lambda model, dose: model.ntcp(dose),
        planned_Gy,
        prescription_Gy,
        samples,
        seed,
    )


def tcp_response(
    entry: TcpParameters,
    dose_volume: DoseVolume,
    fractionation: Fractionation,
    planned_Gy: float,
    prescription_Gy: np.ndarray,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = DEFAULT_SEED,
) -> DoseResponse:
    """Return TCP over prescribed dose; parameters as for `ntcp_response`."""
    label = f"{dose_volume.name}: {entry.endpoint}"
    return _response(
        label,
        "TCP",
        entry,
        dose_volume,
        lambda grouped, dose: grouped.scaled(dose / planned_Gy),
        lambda model, dose: model.tcp(dose, fractionation),
        planned_Gy,
        prescription_Gy,
        samples,
        seed,
    )


def _response(
    label: str,
    quantity: str,
    entry: NtcpParameters | TcpParameters,
    dose_volume: DoseVolume,
    at: Callable[[DoseVolume, float], DoseVolume],
    probability: Callable[..., float],
    planned_Gy: float,
    prescription_Gy: np.ndarray,
    samples: int,
    seed: int,
) -> DoseResponse:
    require_positive("Dose response", planned_Gy=planned_Gy)
    doses = checked_doses("Dose response", prescription_Gy)
    if doses.ndim != 1 or doses.size < 2 or (np.diff(doses) <= 0.0).any():
        raise EvaluationError("A dose response needs at least two rising prescribed doses.")

    def curve(points: int, wanted_Gy: np.ndarray) -> Callable[[object], np.ndarray]:
        grouped = dose_volume.grouped(points)
        volumes = [at(grouped, float(dose)) for dose in wanted_Gy]
        return lambda model: np.array([probability(model, volume) for volume in volumes])

    band = None
    if any(estimate.is_uncertain for estimate in entry.estimates.values()):
        band = probability_band(curve(_BAND_POINTS, doses), entry.build, entry.estimates, samples=samples, seed=seed)
    best = curve(_CURVE_POINTS, np.append(doses, planned_Gy))(entry.build())
    return DoseResponse(label, quantity, doses, best[:-1], band, planned_Gy, float(best[-1]))
