"""Schedules side by side: BED and EQD2 of each in each tissue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from DoseEngineLib.errors import EvaluationError, SchemaError
from RTPlanningLib.radiobiology.fractionation import Fractionation, weekday_overall_days
from RTPlanningLib.radiobiology.physical_range import require_positive
from RTPlanningLib.radiobiology.tissue import Tissue

SCHEDULES_SCHEMA_VERSION = 1
_FILE = "fractionation_schedules.json"


@dataclass(frozen=True)
class Schedule:
    """A dose and how it is given.

    Attributes
    ----------
    name : str
    dose_Gy : float
        Of the whole course.
    fractionation : Fractionation
    kind : str
        "standard", "moderate" (hypofractionation), "ultra", or anything else.
    site, source : str
    """

    name: str
    dose_Gy: float
    fractionation: Fractionation
    kind: str = ""
    site: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        require_positive(f"Schedule {self.name}", dose_Gy=self.dose_Gy)

    @property
    def fraction_Gy(self) -> float:
        """Dose a fraction in Gy."""
        return self.dose_Gy / self.fractionation.fractions


@dataclass(frozen=True)
class FractionationRow:
    """One schedule in one tissue.

    Attributes
    ----------
    schedule, kind, tissue : str
    dose_Gy, fraction_Gy : float
    fractions : int
    alpha_beta_Gy, bed_Gy, eqd2_Gy : float
    relative_to_first : float
        BED over that of the first schedule in the same tissue.
    source : str
    """

    schedule: str
    kind: str
    tissue: str
    dose_Gy: float
    fractions: int
    fraction_Gy: float
    alpha_beta_Gy: float
    bed_Gy: float
    eqd2_Gy: float
    relative_to_first: float
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row for a table, CSV or JSON."""
        return asdict(self)


def compare_fractionations(schedules: Sequence[Schedule], tissues: Sequence[Tissue]) -> list[FractionationRow]:
    """Return a row for every schedule in every tissue, schedules within tissues.

    Raises
    ------
    EvaluationError
        Nothing to compare, or a tissue that needs what a schedule does not say (its overall time).
    """
    if not schedules or not tissues:
        raise EvaluationError("A comparison of fractionations needs at least one schedule and one tissue.")
    rows = []
    for tissue in tissues:
        beds = [float(tissue.bed_Gy(schedule.dose_Gy, schedule.fractionation)) for schedule in schedules]
        for schedule, bed in zip(schedules, beds):
            rows.append(
                FractionationRow(
                    schedule.name,
                    schedule.kind,
                    tissue.name,
                    schedule.dose_Gy,
                    schedule.fractionation.fractions,
                    schedule.fraction_Gy,
                    tissue.alpha_beta_Gy,
                    bed,
                    float(tissue.eqd2_Gy(schedule.dose_Gy, schedule.fractionation)),
                    bed / beds[0] if beds[0] > 0.0 else float("nan"),
                    schedule.source,
                )
            )
    return rows


@cache
def load_schedules() -> tuple[Schedule, ...]:
    """Return the schedules of trials that come with the package."""
    table = json.loads(resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))
    if table.get("schema_version") != SCHEDULES_SCHEMA_VERSION:
        raise SchemaError(
            f"The fractionation schedules have schema version {table.get('schema_version')!r}; this program reads "
            f"{SCHEDULES_SCHEMA_VERSION}."
        )
    return tuple(_schedules(table["schedules"]))


def schedules_of(site: str) -> tuple[Schedule, ...]:
    """Return the trial schedules of a site; raise `EvaluationError`, naming the sites there are, for an unknown one."""
    found = tuple(schedule for schedule in load_schedules() if schedule.site == site)
    if not found:
        sites = ", ".join(dict.fromkeys(schedule.site for schedule in load_schedules()))
        raise EvaluationError(f"There are no schedules for {site!r}; there are for: {sites}.")
    return found


def _schedules(entries: Iterable[dict[str, Any]]) -> Iterable[Schedule]:
    for entry in entries:
        days = entry.get("overall_days", weekday_overall_days(entry["fractions"]))
        yield Schedule(
            entry["name"],
            entry["dose_Gy"],
            Fractionation(entry["fractions"], overall_days=days),
            entry["kind"],
            entry["site"],
            entry["source"],
        )
