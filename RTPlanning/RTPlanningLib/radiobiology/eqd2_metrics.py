"""EQD2 of a plan's structures, each by an alpha/beta of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.parameters import load_parameters
from RTPlanningLib.radiobiology.structure_matching import match_tissues
from RTPlanningLib.radiobiology.tissue import Tissue

BY_CHOICE, BY_NAME, ELSEWHERE = "chosen", "tissue of that name", "not known by name"


@dataclass(frozen=True)
class Eqd2Row:
    """EQD2 of one structure in Gy.

    Attributes
    ----------
    structure : str
    alpha_beta_Gy : float
    by : str
        Where the alpha/beta comes from.
    mean_Gy, D98_Gy, D50_Gy, D2_Gy : float
    note : str
    """

    structure: str
    alpha_beta_Gy: float
    by: str
    mean_Gy: float
    D98_Gy: float
    D50_Gy: float
    D2_Gy: float
    note: str = ""


def eqd2_metrics(
    dvhs: Mapping[str, Dvh],
    fractionation: Fractionation,
    *,
    elsewhere_Gy: float,
    alpha_beta_Gy: Mapping[str, float] | None = None,
) -> list[Eqd2Row]:
    """Return the EQD2 of structures, from their physical DVHs sample by sample (linear-quadratic model).

    Parameters
    ----------
    dvhs : mapping of structure name to Dvh
        Physical dose of the whole course.
    fractionation : Fractionation
        Taken as acute and fully repaired between fractions.
    elsewhere_Gy : float
        Alpha/beta of structures whose tissue is not known by name.
    alpha_beta_Gy : mapping of structure name to float, optional
        Instead of what their names give.

    Raises
    ------
    EvaluationError
        An alpha/beta that is none, or of a structure that is not there.
    """
    chosen = dict(alpha_beta_Gy or {})
    unknown = sorted(set(chosen) - set(dvhs))
    if unknown:
        raise EvaluationError(f"There is no DVH of {', '.join(unknown)}, for which an alpha/beta was chosen.")
    matches = match_tissues(dvhs, load_parameters())
    rows = []
    for name, dvh in dvhs.items():
        tissue = matches[name].tissue
        if name in chosen:
            ratio, by = float(chosen[name]), BY_CHOICE
        elif tissue is not None:
            ratio, by = tissue.alpha_beta_Gy, BY_NAME
        else:
            ratio, by = float(elsewhere_Gy), ELSEWHERE
        eqd2 = Tissue(name, ratio).eqd2_dvh(dvh, fractionation)
        doses = (eqd2.dose_at_volume_percent(percent) for percent in (98.0, 50.0, 2.0))
        note = ""
        if dvh.covered_fraction < 1.0:
            note = f"Only {dvh.covered_percent_text} % of the structure lie inside the dose grid."
        rows.append(Eqd2Row(name, ratio, by, eqd2.mean_Gy, *doses, note))
    return rows
