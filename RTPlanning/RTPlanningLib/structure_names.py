"""Which organ a structure is, by its name: TG-263 names, other names in use, sides, pairs.

A name matches as a whole, never by a part of it, so that a planning risk volume or a structure with another one cut out
is not taken for the organ. A name in use for more than one organ is reported with all of them.

The table is ``structure_names.json``; goal templates and radiobiology both read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from DoseEngineLib.errors import SchemaError

STRUCTURE_NAMES_SCHEMA_VERSION = 1
_FILE = "structure_names.json"
_SIDE_WORDS = {"l": "L", "left": "L", "lt": "L", "li": "L", "r": "R", "right": "R", "rt": "R", "re": "R"}
_WORD = re.compile(r"[a-z]+|\d+|[-+~^!]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PLAIN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


@dataclass(frozen=True)
class OrganNames:
    """An organ and the names its structure may have.

    Attributes
    ----------
    id, title : str
    sided : bool
        One of a pair: the names come with a side.
    tg263, aliases : tuple of str
        Names of AAPM TG-263 and other names in use, without sides.
    shared_aliases : tuple of str
        Names in use for more than one organ.
    pair_of : str
        For an organ that is both of a pair: the identifier of the one; else empty.
    """

    id: str
    title: str
    sided: bool
    tg263: tuple[str, ...]
    aliases: tuple[str, ...]
    shared_aliases: tuple[str, ...]
    pair_of: str = ""


@dataclass(frozen=True)
class NameMatch:
    """What a structure's name says.

    Attributes
    ----------
    structure : str
    organs : tuple of OrganNames
        None: unknown. One: found. More: the name is in use for all of them.
    side : {"L", "R", ""}
    by : str
        "TG-263 name", "name in use" or "".
    """

    structure: str
    organs: tuple[OrganNames, ...]
    side: str = ""
    by: str = ""

    @property
    def organ(self) -> OrganNames | None:
        """The organ, when there is exactly one."""
        return self.organs[0] if len(self.organs) == 1 else None


def match_name(structure: str, organs: Iterable[OrganNames] | None = None) -> NameMatch:
    """Return the organ that a structure's name stands for.

    Parameters
    ----------
    structure : str
    organs : iterable of OrganNames, optional
        Those that come into question; by default all of the table.
    """
    candidates = tuple(load_organs().values()) if organs is None else tuple(organs)
    words = _words(structure)
    whole = "".join(words)
    side, rest = _without_side(words)
    for by, names_of in (
        ("TG-263 name", lambda organ: organ.tg263),
        ("name in use", lambda organ: organ.aliases),
        ("name in use", lambda organ: organ.shared_aliases),
    ):
        found = []
        for organ in candidates:
            known = {"".join(_words(name)) for name in names_of(organ)}
            if whole in known or (organ.sided and side and rest in known):
                found.append(organ)
        if found:
            return NameMatch(structure, tuple(found), side if all(organ.sided for organ in found) else "", by)
    return NameMatch(structure, ())


def is_same_name(one: str, other: str) -> bool:
    """Tell whether two names differ by no more than case, spaces and separators."""
    return _words(one) == _words(other) or "".join(_words(one)) == "".join(_words(other))


@cache
def load_organs() -> Mapping[str, OrganNames]:
    """Return the table that comes with the package, by identifier."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return parse_organs(json.loads(text))


def parse_organs(table: Mapping[str, Any]) -> dict[str, OrganNames]:
    """Read a table in the form of the package's own.

    Raises
    ------
    SchemaError
        An unknown schema version, a missing key, two entries of one identifier, or a pair of no organ in the table.
    """
    version = table.get("schema_version")
    if version != STRUCTURE_NAMES_SCHEMA_VERSION:
        raise SchemaError(
            f"The table of structure names has schema version {version!r}; this program reads "
            f"{STRUCTURE_NAMES_SCHEMA_VERSION}. Update the program or the table."
        )
    organs: dict[str, OrganNames] = {}
    try:
        for entry in table["organs"]:
            organ = OrganNames(
                entry["id"],
                entry["title"],
                entry["sided"],
                tuple(entry["tg263"]),
                tuple(entry["aliases"]),
                tuple(entry["shared_aliases"]),
                entry.get("pair_of", ""),
            )
            if organ.id in organs:
                raise SchemaError(f"The table of structure names has {organ.id!r} twice; join the two.")
            organs[organ.id] = organ
    except KeyError as error:
        raise SchemaError(f"The table of structure names lacks {error.args[0]!r}; complete it.") from error
    for organ in organs.values():
        if organ.pair_of and not (organ.pair_of in organs and organs[organ.pair_of].sided):
            raise SchemaError(
                f"Structure names, {organ.id}: {organ.pair_of!r} is no organ with sides; correct pair_of."
            )
    return organs


# a panel matches all names of a case against the whole table at every change
@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_CAMEL.sub(" ", name).lower().translate(_PLAIN)))


def _without_side(words: tuple[str, ...]) -> tuple[str, str]:
    for position in (-1, 0):
        if len(words) > 1 and words[position] in _SIDE_WORDS:
            kept = words[:-1] if position == -1 else words[1:]
            return _SIDE_WORDS[words[position]], "".join(kept)
    return "", "".join(words)
