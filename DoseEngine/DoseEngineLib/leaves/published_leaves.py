"""Leaves of known MLCs, by their widths: transmission and leaf ends as published, for plans of other machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from DoseEngineLib.machine import Machine
from DoseEngineLib.plan import LeafModel

SCHEMA_VERSION = 1
_SAME_SIDE_MM = 1e-3
_WORDS = {
    "transmission": "transmission {:.2%}",
    "leaf_end_offset_mm": "leaf ends {:.3g} mm",
    "tongue_and_groove_mm": "tongue and groove {:.3g} mm",
}


@dataclass(frozen=True)
class PublishedLeaves:
    """Leaves of one kind of MLC.

    Attributes
    ----------
    name, title, source, short_source : str
    boundaries_mm : tuple of float
    energies : mapping of energy label to mapping of `LeafModel`'s fields to float
        What is published; the rest is the machine's.
    """

    name: str
    title: str
    boundaries_mm: tuple[float, ...]
    energies: Mapping[str, Mapping[str, float]]
    source: str
    short_source: str

    def model_for(self, machine: Machine) -> LeafModel:
        """Return the leaf model for a machine's energy, what is not published as the machine has it."""
        values = {name: getattr(machine.mlc, name) for name in _WORDS}
        return LeafModel(**{**values, **self.energies.get(machine.energy_label, {})})

    def describe(self, machine: Machine) -> str:
        """Say what is published and what not, in words."""
        known = self.energies.get(machine.energy_label, {})
        words = ", ".join(_WORDS[name].format(value) for name, value in known.items())
        rest = ", ".join(_WORDS[name].split(" {")[0] for name in _WORDS if name not in known)
        published = f"{words} as published ({self.short_source})" if words else "nothing is published for this energy"
        return f"{published}; {rest} as {machine.name} has it" if rest else published


@lru_cache(maxsize=1)
def all_published_leaves() -> tuple[PublishedLeaves, ...]:
    """Read the table."""
    text = resources.files("DoseEngineLib").joinpath("leaves", "published_leaves.json").read_text(encoding="utf-8")
    return tuple(
        PublishedLeaves(
            entry["name"],
            entry["title"],
            tuple(map(float, entry["boundaries_mm"])),
            entry["energies"],
            entry["source"],
            entry["short_source"],
        )
        for entry in json.loads(text)["leaves"]
    )


def published_leaves(boundaries_mm: Sequence[float], machine: Machine) -> PublishedLeaves | None:
    """Return the leaves with these boundaries, None where none are known; a machine without MLC has none."""
    if machine.mlc is None:
        return None
    for leaves in all_published_leaves():
        if len(leaves.boundaries_mm) == len(boundaries_mm) and np.allclose(
            leaves.boundaries_mm, boundaries_mm, rtol=0.0, atol=_SAME_SIDE_MM
        ):
            return leaves
    return None
