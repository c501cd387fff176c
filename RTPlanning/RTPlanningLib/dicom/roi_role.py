"""A structure's role in planning, from DICOM's RT ROI Interpreted Type or else from its name."""

from __future__ import annotations

import re

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
# Names in the manner of AAPM TG-263 (2018).
_ROLE_BY_NAME = (
    (re.compile(r"^PTV", re.IGNORECASE), "PTV"),
    (re.compile(r"^(CTV|ITV)", re.IGNORECASE), "CTV"),
    (re.compile(r"^(GTV|IGTV)", re.IGNORECASE), "GTV"),
    (re.compile(r"^(BODY|EXTERNAL|SKIN)$", re.IGNORECASE), "EXTERNAL"),
    (re.compile(r"^COUCH", re.IGNORECASE), "SUPPORT"),
)


def role_from_type(interpreted_type: str) -> str | None:
    """Map an RT ROI Interpreted Type to a role of `DoseEngineLib.plan.ROLES`; None when there is no type."""
    kind = interpreted_type.strip().upper()
    return _ROLE_BY_TYPE.get(kind, "OTHER") if kind else None


def role_from_name(name: str) -> str:
    """Guess a role from a structure's name; an organ when nothing speaks for another."""
    for pattern, role in _ROLE_BY_NAME:
        if pattern.match(name.strip()):
            return role
    return "ORGAN"
