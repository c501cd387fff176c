"""A structure's role in planning, from DICOM's RT ROI Interpreted Type."""

from __future__ import annotations

# Defined terms of DICOM PS3.3 C.8.8.8.1; those not here (markers, applicators, bolus ...) become OTHER.
_ROLE_BY_TYPE = {
    "EXTERNAL": "EXTERNAL",
    "PTV": "PTV",
    "CTV": "CTV",
    "GTV": "GTV",
    "ORGAN": "ORGAN",
    "OAR": "ORGAN",
    "AVOIDANCE": "AVOIDANCE",
    "CONTROL": "CONTROL",
    "DOSE_REGION": "CONTROL",
    "SUPPORT": "SUPPORT",
    "FIXATION": "SUPPORT",
}


def role_from_type(interpreted_type: str) -> str | None:
    """Map an RT ROI Interpreted Type to a role of `DoseEngineLib.plan.ROLES`; None when there is no type."""
    kind = interpreted_type.strip().upper()
    return _ROLE_BY_TYPE.get(kind, "OTHER") if kind else None
