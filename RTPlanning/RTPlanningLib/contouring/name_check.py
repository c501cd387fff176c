"""What AAPM TG-263 (2018) would call a structure, from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from DoseEngineLib.structure_role import role_from_name
from RTPlanningLib.structure_names import NameMatch, match_name

# TG-263's limit, for the sake of planning systems that cut names.
LONGEST_NAME = 16
# Type, then what TG-263 allows to follow: kind (n, p, sb, par, v, vas), image or number, level or dose.
_TARGET = re.compile(r"^(?P<type>IGTV|ICTV|GTV|CTV|ITV|PTV)(?P<rest>.*)$", re.IGNORECASE)
_TARGET_REST = re.compile(
    r"^(n|p|sb|par|v|vas)?\d*(_(High|Mid\d\d|Mid|Low|\d{4,5}|\d+x\d+|[A-Z]{2}\d*[A-Za-z0-9]*|[LR]))*(!|-\d\d)?(\^.+)?$"
)
# PTV70 and CTV 50.4 of everyday use; numbers of several targets are smaller.
_GRAY = re.compile(r"^_?(?P<dose>[2-8]\d(?:\.\d+)?)(?:_?Gy)?$", re.IGNORECASE)
_PRV = re.compile(r"^(?P<organ>.+?)[_ -]?PRV[_ ]?(?P<margin>\d+)?(?:[_ ]?mm)?$", re.IGNORECASE)
_PLANNING_ONLY = re.compile(r"^[z_]")


@dataclass(frozen=True)
class NameCheck:
    """What a name is worth.

    Attributes
    ----------
    name : str
    is_standard : bool
        Whether it is as TG-263 has it, or marked as no dose evaluation structure (``z`` or ``_`` in front).
    proposal : str
        What to call it instead; empty where there is nothing to propose.
    text : str
        One line for a person.
    """

    name: str
    is_standard: bool
    proposal: str
    text: str


def check_name(name: str, others: Iterable[str] = ()) -> NameCheck:
    """Judge a structure's name.

    Parameters
    ----------
    name : str
    others : iterable of str
        Names of the set's other structures: a name that is there already is not proposed.
    """
    taken = {other.casefold() for other in others}
    check = _checked(name)
    if check.proposal and check.proposal.casefold() in taken and check.proposal.casefold() != name.casefold():
        return NameCheck(name, False, "", f"{check.proposal} by TG-263, but there is one already.")
    return check


@lru_cache(maxsize=1024)
def _checked(name: str) -> NameCheck:
    stripped = name.strip()
    if not stripped:
        return NameCheck(name, False, "", "A structure needs a name.")
    if _PLANNING_ONLY.match(stripped) and " " not in stripped:
        return _judged(name, stripped, "for planning only")
    target = _TARGET.match(stripped)
    if target:
        return _target(name, target)
    prv = _PRV.match(stripped)
    if prv:
        return _planning_risk_volume(name, prv)
    if role_from_name(stripped) == "SUPPORT":
        return _judged(name, stripped.replace(" ", ""), "treatment couch")
    found = match_name(stripped)
    standard = _standard_name(found)
    if standard:
        return _judged(name, standard, found.organ.title.lower())
    if found.organ is not None and found.organ.sided:
        return NameCheck(name, False, "", f"{found.organ.title}: say which side, {found.organ.tg263[0]}_L or _R.")
    if found.organs:
        titles = ", ".join(organ.title.lower() for organ in found.organs)
        return NameCheck(name, False, "", f"In use for several organs ({titles}); name the one.")
    return NameCheck(name, False, "", "Not in the table of names; keep it if TG-263 has it.")


def _standard_name(found: NameMatch) -> str:
    organ = found.organ
    if organ is None or (organ.sided and not found.side):
        return ""
    suffix = f"_{found.side}" if organ.sided else ""
    names = [f"{known}{suffix}" for known in organ.tg263]
    # a name of the list that is the structure's own is as good as the first
    own = found.structure.strip()
    return own if own in names else names[0]


def _target(name: str, target: re.Match[str]) -> NameCheck:
    kind, rest = target["type"].upper(), target["rest"]
    cleaned = re.sub(r"[\s-]+(?!\d\d$)", "_", rest.strip())
    cleaned = re.sub(r"__+", "_", cleaned)
    dose = _GRAY.match(cleaned)
    if dose:
        proposal = f"{kind}_{float(dose['dose']) * 100:.0f}"
        return NameCheck(name, False, proposal, f"{proposal} by TG-263, if {dose['dose']} is the dose in Gy.")
    if not _TARGET_REST.match(cleaned) and _TARGET_REST.match(f"_{cleaned.lstrip('_')}"):
        cleaned = f"_{cleaned.lstrip('_')}"
    if not _TARGET_REST.match(cleaned):
        custom = f"{kind}^{cleaned.strip('_')}"
        proposal = custom if len(custom) <= LONGEST_NAME else ""
        return NameCheck(
            name,
            False,
            proposal,
            f"{custom} by TG-263: after the type High, Mid, Low, the dose in cGy, or ^ and your own.",
        )
    return _judged(name, f"{kind}{cleaned}", "target volume")


def _planning_risk_volume(name: str, prv: re.Match[str]) -> NameCheck:
    organ = _standard_name(match_name(prv["organ"]))
    if not organ:
        return NameCheck(name, False, "", "A planning risk volume of a structure that the table of names lacks.")
    margin = f"{int(prv['margin']):02d}" if prv["margin"] else ""
    return _judged(name, f"{organ}_PRV{margin}", "planning risk volume")


def _judged(name: str, standard: str, what: str) -> NameCheck:
    if len(standard) > LONGEST_NAME:
        if name == standard:
            return NameCheck(name, False, "", f"Longer than {LONGEST_NAME} characters ({what}).")
        return NameCheck(name, False, "", f"{standard} ({what}) is longer than {LONGEST_NAME} characters; shorten it.")
    if name == standard:
        return NameCheck(name, True, "", f"As in TG-263 ({what}).")
    return NameCheck(name, False, standard, f"{standard} by TG-263 ({what}).")
