"""A structure's role in planning, by its name, in the manner of AAPM TG-263 (2018)."""

from __future__ import annotations

_BODY = ("body", "external", "skin")
_ROLE_BY_PREFIX = {"ptv": "PTV", "ctv": "CTV", "itv": "CTV", "gtv": "GTV", "igtv": "GTV", "couch": "SUPPORT"}


def role_from_name(name: str) -> str:
    """Return the role of `DoseEngineLib.plan.ROLES` that a name speaks for; ``"ORGAN"`` when it speaks for none."""
    lower = name.strip().lower()
    if lower in _BODY:
        return "EXTERNAL"
    for prefix, role in _ROLE_BY_PREFIX.items():
        if lower.startswith(prefix):
            return role
    return "ORGAN"
