"""Where a dose comes from, in rows for a table: what the engines' provenance says, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LABELS = {
    "engine": "Engine",
    "engine_version": "Engine version",
    "rtplanning_version": "RTPlanning version",
    "options": "Option",
    "machines": "Machine",
    "machines_do_not_model": "Left out of machine",
    "leaves_of_the_plan": "Leaves of the plan",
    "dose_to": "Dose to",
    "grid_shape_kji": "Dose grid, voxels (k, j, i)",
    "grid_spacing_mm": "Dose grid, spacing (mm)",
    "normalization": "Normalization",
    "plan_hash": "Plan (SHA-256)",
    "patient": "Patient",
    "does_not_model": "The engine does not model",
    "beam": "Beam",
    "calibration": "CT calibration",
    "body": "Body outline",
    "density_overrides_g_cm3": "Density override (g/cm3)",
}
_ORDER = tuple(_LABELS)


def provenance_rows(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and text of everything the provenance says, what a reader asks first on top; nothing is left out."""
    known = sorted((key for key in provenance if key in _LABELS), key=_ORDER.index)
    unknown = sorted(key for key in provenance if key not in _LABELS)
    return [row for key in (*known, *unknown) for row in _rows(_label(key), provenance[key])]


def _label(key: str) -> str:
    return _LABELS.get(key, key.replace("_", " ").capitalize())


def _rows(label: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if not value:
            yield label, "none"
        for key, inner in value.items():
            # what is said of the patient has names of its own; beams, machines and options are names themselves
            named = label == _LABELS["patient"]
            yield from _rows(_label(str(key)) if named else f"{label} {key}", inner)
    elif isinstance(value, (list, tuple)):
        numbers = all(isinstance(item, (int, float)) for item in value)
        yield label, (" x " if numbers else "; ").join(map(_text, value)) or "none"
    else:
        yield label, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not stated" if value is None else str(value)
