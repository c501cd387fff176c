"""Which tissue of the parameter table a structure is, by its name.

The names are those of `RTPlanningLib.structure_names`, of the organs that have parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from RTPlanningLib.radiobiology.parameters import RadiobiologyParameters, TissueNames, load_parameters
from RTPlanningLib.structure_names import match_name

# Roles of structures that are no tissue with complications of its own.
ROLES_WITHOUT_TISSUE = ("GTV", "CTV", "PTV", "EXTERNAL", "CONTROL", "SUPPORT")


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
    tissues = (parameters or load_parameters()).tissues
    match = match_name(structure, [tissue.organ for tissue in tissues.values()])
    return TissueMatch(structure, tuple(tissues[organ.id] for organ in match.organs), match.side, match.by)


def match_tissues(
    structures: Iterable[str], parameters: RadiobiologyParameters | None = None
) -> dict[str, TissueMatch]:
    """Return the match of every structure's name."""
    return {structure: match_tissue(structure, parameters) for structure in structures}
