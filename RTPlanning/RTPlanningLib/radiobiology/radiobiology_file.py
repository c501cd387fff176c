"""Complication and control probabilities as CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import StringIO

from RTPlanningLib.radiobiology.plan_radiobiology import RadiobiologyResult

SCHEMA = 1
_COLUMNS = (
    "structure",
    "quantity",
    "endpoint",
    "probability",
    "low",
    "high",
    "dose_terms",
    "mean_Gy",
    "geud_Gy",
    "set_id",
    "note",
    "source",
)


def radiobiology_csv(results: Sequence[RadiobiologyResult]) -> str:
    """Return a line a probability (0..1, six digits); empty cells where there is none, and the note says why."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in results:
        values = result.as_dict()
        writer.writerow([_cell(values[name]) for name in _COLUMNS])
    return stream.getvalue()


def radiobiology_json(results: Sequence[RadiobiologyResult]) -> str:
    """Return everything that is known of each probability, at full precision."""
    content = {"schema": SCHEMA, "results": [result.as_dict() for result in results]}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
