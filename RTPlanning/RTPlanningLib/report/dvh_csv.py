"""DVHs as CSV, in the columns that SlicerRT writes and reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.dvh import Dvh


def dvh_csv(dvhs: Mapping[str, Dvh], step_Gy: float = 0.1) -> str:
    """Return DVHs as CSV text.

    Two columns a structure, ``<name> Dose (Gy)`` and ``<name> Value (% of <volume> cc)``, six decimals, a row every
    ``step_Gy`` from 0 to the first at which no structure has volume left.

    Raises
    ------
    EvaluationError
        When there is no DVH to write.
    """
    if not dvhs:
        raise EvaluationError("There is no DVH to write; calculate one of at least one structure.")
    stop_Gy = max(dvh.max_Gy for dvh in dvhs.values()) + step_Gy
    header: list[str] = []
    columns: list[np.ndarray] = []
    for name, dvh in dvhs.items():
        header += [f"{name} Dose (Gy)", f"{name} Value (% of {dvh.covered_volume_cm3:.3f} cc)"]
        columns += dvh.curve(step_Gy, stop_Gy)
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6f}" for value in row] for row in np.column_stack(columns))
    return stream.getvalue()


def write_dvh_csv(path: str | Path, dvhs: Mapping[str, Dvh], step_Gy: float = 0.1) -> None:
    """Write DVHs to a CSV file; see `dvh_csv`."""
    text = dvh_csv(dvhs, step_Gy)
    Path(path).write_text(text, encoding="utf-8", newline="\n")
