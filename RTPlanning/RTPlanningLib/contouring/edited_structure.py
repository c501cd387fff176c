"""What a contouring tool returns: a structure, and what a person should know about it."""

from __future__ import annotations

from dataclasses import dataclass

from DoseEngineLib.plan import Structure


@dataclass(frozen=True)
class EditedStructure:
    """A structure made by a tool.

    Attributes
    ----------
    structure : Structure
        On the grid of the structure it was made from, without an outline.
    notes : tuple of str
        What was left out, cut off or assumed; empty where there is nothing to tell.
    """

    structure: Structure
    notes: tuple[str, ...] = ()
