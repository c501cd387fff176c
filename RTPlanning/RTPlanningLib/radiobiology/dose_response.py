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

# A curve needs no more of a DVH than this many groups of equal volume.
_POINTS = 500


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
    grouped = dose_volume.grouped(_POINTS)
    _, terms, _ = dose_in_terms_of(entry, grouped, fractionation.fractions, planned_Gy)
    fixed = "physical" if terms == "physical dose" else "EQD2"

    def converted(dose: float) -> DoseVolume:
        scaled = grouped.scaled(dose / planned_Gy)
        return dose_in_terms_of(entry, scaled, fractionation.fractions, planned_Gy, fixed)[0]

    label = f"{dose_volume.name}: {entry.endpoint}"
    return _response(
        label,
        "NTCP",
        entry,
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
    grouped = dose_volume.grouped(_POINTS)
    label = f"{dose_volume.name}: {entry.endpoint}"
    return _response(
        label,
        "TCP",
        entry,
        lambda dose: grouped.scaled(dose / planned_Gy),
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
    at: Callable[[float], DoseVolume],
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
    volumes = [at(float(dose)) for dose in doses]

    def curve(model: object) -> np.ndarray:
        return np.array([probability(model, volume) for volume in volumes])

    model = entry.build()
    band = None
    if any(estimate.is_uncertain for estimate in entry.estimates.values()):
        band = probability_band(curve, entry.build, entry.estimates, samples=samples, seed=seed)
    return DoseResponse(label, quantity, doses, curve(model), band, planned_Gy, probability(model, at(planned_Gy)))
