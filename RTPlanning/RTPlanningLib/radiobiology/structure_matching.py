"""Which tissue of the parameter table a structure is, by its name: TG-263 names, other names in use, sides.

A name matches as a whole, never by a part of it, so that a planning risk volume or a structure with another one cut out
is not taken for the organ. A name in use for more than one tissue is reported with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from RTPlanningLib.radiobiology.parameters import RadiobiologyParameters, TissueNames, load_parameters

_SIDE_WORDS = {"l": "L", "left": "L", "lt": "L", "li": "L", "r": "R", "right": "R", "rt": "R", "re": "R"}
_WORD = re.compile(r"[a-z]+|\d+|[-+~^!]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PLAIN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


@dataclass(frozen=True)
class TissueMatch:
    """What a structure's name says.

    Attributes
    ----------
    structure : str
    tissues : tuple of TissueNames
        None: unknown. One: found. More: the name is in use for all of them.
    side : {"L", "R", ""}
    by : str
        "TG-263 name", "name in use" or "".
    """

    structure: str
    tissues: tuple[TissueNames, ...]
    side: str = ""
    by: str = ""

    @property
    def tissue(self) -> TissueNames | None:
        """The tissue, when there is exactly one."""
        return self.tissues[0] if len(self.tissues) == 1 else None

    @property
    def note(self) -> str:
        """What to tell the user; empty where the match is clear."""
        if not self.tissues:
            return f"{self.structure} is no name of a tissue with parameters; choose a set for it or rename it."
        if len(self.tissues) > 1:
            titles = ", ".join(tissue.title for tissue in self.tissues)
            return f"{self.structure} may be any of: {titles}; choose a set for it or rename it."
        return ""


def match_tissue(structure: str, parameters: RadiobiologyParameters | None = None) -> TissueMatch:
    """Return the tissue that a structure's name stands for."""
    table = parameters or load_parameters()
    words = _words(structure)
    whole = "".join(words)
    side, rest = _without_side(words)
    for by, names_of in (
        ("TG-263 name", lambda tissue: tissue.tg263),
        ("name in use", lambda tissue: tissue.aliases),
        ("name in use", lambda tissue: tissue.shared_aliases),
    ):
        found = []
        for tissue in table.tissues.values():
            known = {"".join(_words(name)) for name in names_of(tissue)}
            if whole in known or (tissue.sided and side and rest in known):
                found.append(tissue)
        if found:
            return TissueMatch(structure, tuple(found), side if all(tissue.sided for tissue in found) else "", by)
    return TissueMatch(structure, ())


def match_tissues(
    structures: Iterable[str], parameters: RadiobiologyParameters | None = None
) -> dict[str, TissueMatch]:
    """Return the match of every structure's name."""
    return {structure: match_tissue(structure, parameters) for structure in structures}


def _words(name: str) -> list[str]:
    return _WORD.findall(_CAMEL.sub(" ", name).lower().translate(_PLAIN))


def _without_side(words: list[str]) -> tuple[str, str]:
    for position in (-1, 0):
        if len(words) > 1 and words[position] in _SIDE_WORDS:
            kept = words[:-1] if position == -1 else words[1:]
            return _SIDE_WORDS[words[position]], "".join(kept)
    return "", "".join(words)
