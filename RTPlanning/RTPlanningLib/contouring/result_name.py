"""What the structure is called that a contouring tool makes, unless a person says otherwise."""

from __future__ import annotations

from RTPlanningLib.contouring.margins import Margins
from RTPlanningLib.contouring.name_check import check_name


def margin_name(structure: str, role: str, margins: Margins) -> str:
    """Name a structure with margins: a planning risk volume about an organ, else the structure itself changes.

    Even, growing margins about an organ make ``<organ>_PRV05``, the margin in mm, as AAPM TG-263 writes it; the organ's
    own name is kept as it is.
    """
    if role == "ORGAN" and margins.is_uniform and margins.left_mm >= 0.5 and "_PRV" not in structure:
        name = f"{structure}_PRV{round(margins.left_mm):02d}"
        return check_name(name).proposal or name
    return structure


def ring_name(structure: str, inner_mm: float, outer_mm: float) -> str:
    """Name a ring: for planning only, as the ``z`` says in TG-263."""
    return f"zRing_{structure}_{inner_mm:g}-{outer_mm:g}mm"
