"""DVHs from tables that other programs wrote, and which structures they are of."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.structure_names import match_name

# A cumulative curve becomes so many samples of equal volume, a fortieth of a percent each.
_SAMPLES = 4000
_DOSE_COLUMN = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(c?Gy)\s*$", re.IGNORECASE)
_PAIR_DOSE = re.compile(r"^(.*) Dose \((c?Gy)\)$", re.IGNORECASE)
_PAIR_VOLUME = re.compile(r"^(.*) Value \(% of ([\d.]+) cc\)$")
_RISE_PERCENT = 0.2
_TARGETS = ("GTV", "CTV", "ITV", "PTV")
_SAME_ORGAN_VOLUME, _SAME_TARGET_VOLUME = 0.15, 0.02


def read_dvh_table(file: str | Path) -> tuple[dict[str, Dvh], tuple[str, ...]]:
    """Read cumulative DVHs from a CSV file.

    Two kinds are known. A row a structure: columns ``ROI``, ``Volume (mL)`` and one a dose (``0cGy``, ``10cGy``, ... or
    Gy) with volumes in %. Two columns a structure, as SlicerRT and this package write them: ``<name> Dose (Gy)`` and
    ``<name> Value (% of <volume> cc)``.

    Returns
    -------
    dvhs : dict of name to Dvh
    notes : tuple of str
        Rows that hold no DVH, by name.

    Raises
    ------
    EvaluationError
        A file that cannot be read, neither of these kinds, or a curve that rises.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"The DVH table {path} cannot be read ({error}).") from error
    try:
        rows = [row for row in csv.reader(StringIO(text)) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise EvaluationError(f"The DVH table {path} is no CSV file ({error}).") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "ROI" in header and any(_DOSE_COLUMN.match(cell) for cell in header):
        return _row_a_structure(path, header, rows[1:])
    if header and any(_PAIR_DOSE.match(cell) for cell in header):
        return _columns_a_structure(path, header, rows[1:])
    raise EvaluationError(
        f"{path} is no DVH table that is known: give a row a structure (ROI, Volume (mL), 0cGy, 10cGy, ...) or two "
        "columns a structure (<name> Dose (Gy), <name> Value (% of <volume> cc))."
    )


def _row_a_structure(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]):
    columns = [(n, found) for n, cell in enumerate(header) if (found := _DOSE_COLUMN.match(cell))]
    dose = np.array(
        [float(found.group(1)) * (0.01 if found.group(2).lower() == "cgy" else 1.0) for _, found in columns]
    )
    name_at = header.index("ROI")
    volume_at = next((n for n, cell in enumerate(header) if cell.lower().startswith("volume")), None)
    if volume_at is None:
        raise EvaluationError(f"{path}: the column Volume (mL) is missing.")
    dvhs: dict[str, Dvh] = {}
    empty = []
    for line, row in enumerate(rows, start=2):
        where = f"{path}, row {line}"
        cells = list(row) + [""] * (len(header) - len(row))
        name = cells[name_at].strip()
        volume = _number(cells[volume_at], where)
        curve = np.array([_number(cells[n], where) if cells[n].strip() else 0.0 for n, _ in columns])
        if not name or not volume > 0 or curve[0] <= 0:
            empty.append(name or f"row {line}")
            continue
        if name in dvhs:
            raise EvaluationError(f"{where}: {name} stands in the table twice; leave one.")
        dvhs[name] = dvh_from_curve(name, volume, dose, curve, where)
    return _found(path, dvhs), ((f"{path.name} holds no DVH for {', '.join(empty)}.",) if empty else ())


def _columns_a_structure(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]):
    dvhs: dict[str, Dvh] = {}
    for n, cell in enumerate(header[:-1]):
        dose_found, volume_found = _PAIR_DOSE.match(cell), _PAIR_VOLUME.match(header[n + 1])
        if dose_found is None or volume_found is None or dose_found.group(1) != volume_found.group(1):
            continue
        name = dose_found.group(1)
        where = f"{path}, {name}"
        pairs = [(row[n], row[n + 1]) for row in rows if len(row) > n + 1 and row[n].strip() and row[n + 1].strip()]
        values = np.array([[_number(one, where) for one in pair] for pair in pairs], dtype=float).reshape(-1, 2)
        unit = 0.01 if dose_found.group(2).lower() == "cgy" else 1.0
        dvhs[name] = dvh_from_curve(name, float(volume_found.group(2)), values[:, 0] * unit, values[:, 1], where)
    return _found(path, dvhs), ()


def _found(path: Path, dvhs: dict[str, Dvh]) -> dict[str, Dvh]:
    if not dvhs:
        raise EvaluationError(f"The DVH table {path} holds no DVH.")
    return dvhs


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise EvaluationError(f"{where}: {text!r} is no number.")
    return number


def dvh_from_curve(
    name: str, volume_cm3: float, dose_Gy: np.ndarray, volume_percent: np.ndarray, where: str = "DVH"
) -> Dvh:
    """Return a DVH from points of its cumulative curve, straight lines between them.

    Parameters
    ----------
    name : str
    volume_cm3 : float
    dose_Gy : (n,) array
        Rising.
    volume_percent : (n,) array
        Volume with at least that dose; it may begin below 100 where the table's rounding or first dose lets it.
    where : str
        For messages.

    Raises
    ------
    EvaluationError
        Fewer than two points, doses that do not rise, volumes that do or are not in 0..100.
    """
    dose, volume = np.asarray(dose_Gy, float), np.asarray(volume_percent, float)
    if dose.size < 2 or dose.size != volume.size or (np.diff(dose) <= 0).any() or dose[0] < 0:
        raise EvaluationError(f"{where}: a DVH needs two or more doses that rise from 0 on.")
    if volume.min() < -1e-6 or volume.max() > 100.0 + _RISE_PERCENT or (np.diff(volume) > _RISE_PERCENT).any():
        raise EvaluationError(f"{where}: volumes of a cumulative DVH fall from 100 to 0 %; these do not.")
    # rounding may let a curve rise by a hair; what is missing above the first point has at least its dose
    falling = np.minimum.accumulate(volume)
    at = 100.0 * (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    samples = np.interp(-at, -falling, dose)
    return Dvh(name, float(volume_cm3), samples.astype(np.float32))


def match_dvhs(
    table: Mapping[str, Dvh], dvhs: Mapping[str, Dvh], names: Mapping[str, str] | None = None
) -> tuple[dict[str, Dvh], tuple[str, ...]]:
    """Find which DVH of a table is of which structure.

    Names that are the same but for case and punctuation count first; then names of the same organ, of volumes within
    15 %; then targets of the same kind (GTV, CTV, PTV) whose volumes agree within 2 %, where only one does.

    Parameters
    ----------
    table, dvhs : mapping of name to Dvh
        Of the table, and of the structures.
    names : mapping of structure to name in the table, optional
        What the user says; it settles.

    Returns
    -------
    found : dict of structure name to Dvh of the table
        In the order of ``dvhs``.
    notes : tuple of str
        What was matched by more than its name, and what not at all.

    Raises
    ------
    EvaluationError
        A name given that is not there.
    """
    names = dict(names or {})
    for structure, name in names.items():
        if structure not in dvhs:
            raise EvaluationError(f"There is no structure {structure!r}; there are: {', '.join(dvhs)}.")
        if name not in table:
            raise EvaluationError(f"There is no DVH {name!r} in the table; there are: {', '.join(table)}.")
    found, by = dict(names), {}
    for rule, why in ((_same_name, ""), (_same_organ, "the same organ by name"), (_same_target, "by kind and volume")):
        for structure, dvh in dvhs.items():
            if structure in found:
                continue
            fitting = [n for n, one in table.items() if n not in found.values() and rule(structure, dvh, n, one)]
            others = [
                one
                for one in dvhs
                if one != structure
                and one not in found
                and fitting
                and rule(one, dvhs[one], fitting[0], table[fitting[0]])
            ]
            if len(fitting) == 1 and not others:
                found[structure], by[structure] = fitting[0], why
    notes = []
    taken = [
        f"{found[s]} ({table[found[s]].volume_cm3:.1f} cm³) as {s} ({dvhs[s].volume_cm3:.1f} cm³; {why})"
        for s, why in by.items()
        if why
    ]
    if taken:
        notes.append(f"DVHs of the table were taken as those of structures of other names: {', '.join(taken)}.")
    unused = [name for name in table if name not in found.values()]
    if unused:
        notes.append(f"DVHs of the table without a structure here: {', '.join(unused)}.")
    return {s: table[found[s]] for s in dvhs if s in found}, tuple(notes)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _same_name(structure: str, dvh: Dvh, name: str, other: Dvh) -> bool:
    return _plain(structure) == _plain(name)


def _close(a: Dvh, b: Dvh, share: float) -> bool:
    return abs(a.volume_cm3 - b.volume_cm3) <= share * max(a.volume_cm3, b.volume_cm3)


def _same_organ(structure: str, dvh: Dvh, name: str, other: Dvh) -> bool:
    one, two = match_name(structure), match_name(name)
    if one.organ is None or two.organ is None:
        return False
    return one.organ.id == two.organ.id and one.side == two.side and _close(dvh, other, _SAME_ORGAN_VOLUME)


def _same_target(structure: str, dvh: Dvh, name: str, other: Dvh) -> bool:
    kinds = [next((kind for kind in _TARGETS if one.upper().startswith(kind)), None) for one in (structure, name)]
    return kinds[0] is not None and kinds[0] == kinds[1] and _close(dvh, other, _SAME_TARGET_VOLUME)
