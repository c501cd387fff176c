"""The DVHs of several plans as CSV and JSON, on one axis of dose."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from io import StringIO

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.dvh import Dvh

SCHEMA = 1


def dvh_comparison_csv(dvhs: Mapping[str, Mapping[str, Dvh]], step_Gy: float = 0.1) -> str:
    """Return cumulative DVHs as CSV: a column of doses in Gy, then one a plan and structure in % of its covered volume.

    Parameters
    ----------
    dvhs : mapping of plan name to mapping of structure name to Dvh
    step_Gy : float

    Raises
    ------
    EvaluationError
        When there is no DVH to write.
    """
    stop_Gy = _end(dvhs) + step_Gy
    header, columns = ["Dose (Gy)"], []
    for plan, of_plan in dvhs.items():
        for name, dvh in of_plan.items():
            dose, volume = dvh.curve(step_Gy, stop_Gy)
            columns = columns or [dose]
            header.append(f"{plan}: {name} (% of {dvh.covered_volume_cm3:.3f} cc)")
            columns.append(volume)
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6f}" for value in row] for row in np.column_stack(columns))
    return stream.getvalue()


def dvh_comparison_json(
    dvhs: Mapping[str, Mapping[str, Dvh]],
    notes: Mapping[str, Mapping[str, str]] | None = None,
    step_Gy: float = 0.1,
) -> str:
    """Return cumulative DVHs with volume, minimum, mean, maximum and D98, D95, D50, D2 of each structure as JSON.

    Parameters
    ----------
    dvhs : mapping of plan name to mapping of structure name to Dvh
    notes : mapping of plan name to mapping of structure name to str, optional
        What a reader has to know, of structures left out too.
    step_Gy : float
    """
    stop_Gy = _end(dvhs) + step_Gy
    axis: list[float] = []
    plans = {}
    for plan, of_plan in dvhs.items():
        structures = {}
        for name, dvh in of_plan.items():
            dose, volume = dvh.curve(step_Gy, stop_Gy)
            axis = [round(float(d), 9) for d in dose]
            structures[name] = {
                "volume_cm3": dvh.volume_cm3,
                "covered_fraction": dvh.covered_fraction,
                "sampled_from": dvh.sampled_from,
                "minimum_Gy": dvh.min_Gy,
                "mean_Gy": dvh.mean_Gy,
                "maximum_Gy": dvh.max_Gy,
                "dose_at_volume_percent_Gy": {
                    f"{percent:g}": dvh.dose_at_volume_percent(percent) for percent in (98.0, 95.0, 50.0, 2.0)
                },
                "volume_percent": [round(float(v), 6) for v in volume],
            }
        plans[plan] = {"structures": structures, "notes": dict((notes or {}).get(plan, {}))}
    content = {"schema": SCHEMA, "dose_Gy": axis, "plans": plans}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _end(dvhs: Mapping[str, Mapping[str, Dvh]]) -> float:
    doses = [dvh.max_Gy for of_plan in dvhs.values() for dvh in of_plan.values()]
    if not doses:
        raise EvaluationError("There is no DVH to write; calculate one of at least one structure.")
    return max(doses)
