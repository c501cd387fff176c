"""Complication and control probabilities of a plan's structures, with their bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import eqd2_Gy
from RTPlanningLib.radiobiology.parameters import (
    NtcpParameters,
    RadiobiologyParameters,
    TcpParameters,
    load_parameters,
)
from RTPlanningLib.radiobiology.physical_range import require_positive
from RTPlanningLib.radiobiology.structure_matching import match_tissue
from RTPlanningLib.radiobiology.uncertainty import DEFAULT_SAMPLES, DEFAULT_SEED, probability_band

DOSE_TERMS = ("as published", "physical", "EQD2")
# How far a prescribed dose a fraction may lie outside a set's own range and still count as the same, relative.
_SAME_FRACTION = 0.1
# Groups of equal volume that a DVH is joined to for the bands; NTCP itself takes all samples. The largest dose, which
# is all for a volume parameter of 0, becomes the mean of a 10 000th of the volume.
_NTCP_BAND_POINTS = 10000
# For TCP with and without a band: below 1e-4 off.
_TCP_POINTS = 2000


@dataclass(frozen=True)
class RadiobiologyResult:
    """One probability of one structure.

    Attributes
    ----------
    structure : str
    quantity : {"NTCP", "TCP"}
    set_id, endpoint, source : str
    probability : float or None
        0..1; None where it was not evaluated, ``note`` says why.
    low, high : float or None
        95 % band from the parameters' published limits; None where none were published.
    dose_terms : str
        What the model was given: "physical dose" or "EQD2, alpha/beta 3 Gy".
    geud_Gy, mean_Gy : float or None
        In those terms; the gEUD of the model, where it has one.
    note : str
    """

    structure: str
    quantity: str
    set_id: str
    endpoint: str
    source: str
    probability: float | None
    low: float | None
    high: float | None
    dose_terms: str
    mean_Gy: float | None
    geud_Gy: float | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Return the result for a table, CSV or JSON."""
        return dict(vars(self))


def dose_in_terms_of(
    parameters: NtcpParameters,
    dose_volume: DoseVolume,
    fractions: int,
    prescription_Gy: float,
    dose_terms: str = "as published",
) -> tuple[DoseVolume, str, str]:
    """Return the doses that a parameter set takes, what they are, and a note.

    Parameters
    ----------
    parameters : NtcpParameters
    dose_volume : DoseVolume
        Physical dose of the whole course.
    fractions : int
    prescription_Gy : float
        Prescribed dose of the course; its dose a fraction is compared with that of the set.
    dose_terms : {"as published", "physical", "EQD2"}
        As published: a set fitted to EQD2 gets EQD2; one fitted to physical dose gets physical dose when the prescribed
        dose a fraction is that of the set within 10 %, and EQD2 when it is not, with a note.
    """
    if dose_terms not in DOSE_TERMS:
        raise EvaluationError(f"Dose terms {dose_terms!r} are unknown; use one of {', '.join(DOSE_TERMS)}.")
    require_positive("Prescription", prescription_Gy=prescription_Gy)
    fraction = prescription_Gy / fractions
    low, high = parameters.fraction_Gy
    same = low * (1.0 - _SAME_FRACTION) <= fraction <= high * (1.0 + _SAME_FRACTION)
    note = ""
    convert = dose_terms == "EQD2" or (dose_terms == "as published" and parameters.dose == "EQD2")
    if dose_terms == "as published" and parameters.dose == "physical" and not same:
        convert = True
        span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        note = f"Fitted to fractions of {span} Gy, the plan has {fraction:.3g} Gy: doses were converted to EQD2."
    elif dose_terms == "physical" and (parameters.dose == "EQD2" or not same):
        note = "Physical dose was asked for; the parameters were fitted to other terms."
    if not convert:
        return dose_volume, "physical dose", note
    converted = eqd2_Gy(dose_volume.dose_Gy, fractions, parameters.alpha_beta_Gy)
    return dose_volume.with_dose(converted), f"EQD2, alpha/beta {parameters.alpha_beta_Gy:g} Gy", note


def evaluate_ntcp(
    dvhs: Mapping[str, Dvh],
    fractionation: Fractionation,
    prescription_Gy: float,
    *,
    chosen: Mapping[str, str] | None = None,
    dose_terms: str = "as published",
    samples: int = DEFAULT_SAMPLES,
    seed: int = DEFAULT_SEED,
    parameters: RadiobiologyParameters | None = None,
    progress: Progress | None = None,
) -> list[RadiobiologyResult]:
    """Return complication probabilities of the structures.

    Structures are matched to tissues by name and get the default sets of theirs. One that cannot be matched, or only
    ambiguously, or that has no default, gets a result without a probability and a note; none is left out.

    Parameters
    ----------
    dvhs : mapping of structure name to Dvh
        Physical dose of the whole course.
    fractionation : Fractionation
    prescription_Gy : float
        Prescribed dose of the course.
    chosen : mapping of structure name to the identifier of an NTCP set, optional
        Instead of what its name would give.
    dose_terms : {"as published", "physical", "EQD2"}
        As in `dose_in_terms_of`.
    samples, seed : int
        Of the bands.
    """
    table = parameters or load_parameters()
    chosen = dict(chosen or {})
    unknown = sorted(set(chosen) - set(dvhs))
    if unknown:
        raise EvaluationError(f"There is no DVH of {', '.join(unknown)}, for which an NTCP set was chosen.")
    if fractionation.fractions_per_day > 1 and dose_terms != "physical":
        note_day = " Several fractions a day: incomplete repair is not in this probability."
    else:
        note_day = ""
    report = progress or silent
    results = []
    for done, (name, dvh) in enumerate(dvhs.items()):
        report(done / len(dvhs), f"NTCP of {name}")
        if name in chosen:
            sets = (table.ntcp_set(chosen[name]),)
        else:
            match = match_tissue(name, table)
            if match.tissue is None:
                results.append(_none(name, "NTCP", match.note))
                continue
            sets = table.default_ntcp(match.tissue.id)
            if not sets:
                others = [entry.id for entry in table.ntcp.values() if entry.tissue == match.tissue.id]
                text = f"{match.tissue.title} has no default set"
                text += f"; choose one of {', '.join(others)}." if others else " of parameters."
                results.append(_none(name, "NTCP", text))
                continue
        for entry in sets:
            results.append(_ntcp(entry, dvh, fractionation, prescription_Gy, dose_terms, samples, seed, note_day))
    report(1.0, "NTCP ready")
    return results


def evaluate_tcp(
    dvh: Dvh,
    fractionation: Fractionation,
    entry: TcpParameters,
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = DEFAULT_SEED,
) -> RadiobiologyResult:
    """Return the control probability of a target; its name does not tell the tumour, so the set has to be given."""
    try:
        dose_volume = DoseVolume.from_dvh(dvh, _TCP_POINTS)
    except EvaluationError as error:
        return _none(dvh.structure_name, "TCP", str(error), entry)
    probability = entry.build().tcp(dose_volume, fractionation)
    low, high = _band(entry, lambda model: model.tcp(dose_volume, fractionation), samples, seed)
    note = _join(entry.note, "" if entry.checked else "The parameters were not checked against their source.")
    return RadiobiologyResult(
        dvh.structure_name,
        "TCP",
        entry.id,
        entry.endpoint,
        entry.source,
        probability,
        low,
        high,
        "physical dose and its fractions",
        dose_volume.mean_Gy,
        None,
        note,
    )


def _ntcp(
    entry: NtcpParameters,
    dvh: Dvh,
    fractionation: Fractionation,
    prescription_Gy: float,
    dose_terms: str,
    samples: int,
    seed: int,
    more: str,
) -> RadiobiologyResult:
    try:
        physical = DoseVolume.from_dvh(dvh)
    except EvaluationError as error:
        return _none(dvh.structure_name, "NTCP", str(error), entry)
    dose_volume, terms, note = dose_in_terms_of(entry, physical, fractionation.fractions, prescription_Gy, dose_terms)
    model = entry.build()
    grouped = dose_volume.grouped(_NTCP_BAND_POINTS)
    low, high = _band(entry, lambda drawn: drawn.ntcp(grouped), samples, seed)
    geud = None
    if hasattr(model, "n"):
        geud = dose_volume.generalized_eud_Gy(np.inf if model.n == 0.0 else 1.0 / model.n)
    elif hasattr(model, "a"):
        geud = dose_volume.generalized_eud_Gy(model.a)
    unchecked = "" if entry.checked else "The parameters were not checked against their source."
    return RadiobiologyResult(
        dvh.structure_name,
        "NTCP",
        entry.id,
        entry.endpoint,
        entry.source,
        model.ntcp(dose_volume),
        low,
        high,
        terms,
        dose_volume.mean_Gy,
        geud,
        _join(note, more.strip() if terms != "physical dose" else "", entry.note, unchecked),
    )


def _band(
    entry: NtcpParameters | TcpParameters, probability: Any, samples: int, seed: int
) -> tuple[float | None, float | None]:
    if not any(estimate.is_uncertain for estimate in entry.estimates.values()):
        return None, None
    band = probability_band(
        probability, entry.build, entry.estimates, samples=samples, seed=seed, percentiles=(2.5, 97.5)
    )
    return float(band.values[0]), float(band.values[1])


def _none(
    structure: str, quantity: str, note: str, entry: NtcpParameters | TcpParameters | None = None
) -> RadiobiologyResult:
    known = ("", "", "") if entry is None else (entry.id, entry.endpoint, entry.source)
    return RadiobiologyResult(structure, quantity, *known, None, None, None, "", None, None, note)


def _join(*texts: str) -> str:
    return " ".join(text for text in texts if text)
