"""Published goals as templates, and how they are laid on the structures of a case.

A template is a JSON file after ``goal_templates/goal_template.schema.json``: goals in the grammar of
`DoseEngineLib.clinical_goals`, each with its source and with what its figures were compared. Structures are written by
their TG-263 names and found in a case by `RTPlanningLib.structure_names`. Nothing is guessed: an organ that several
structures may be, or that is not there, is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from DoseEngineLib.clinical_goals import Goal, parse_goal
from DoseEngineLib.errors import EvaluationError, SchemaError
from DoseEngineLib.geometry import resample
from DoseEngineLib.plan import Structure
from DoseEngineLib.schema_json import read_schema_json
from RTPlanningLib.evaluation.plan_sum import union_grid
from RTPlanningLib.structure_names import NameMatch, OrganNames, is_same_name, load_organs, match_name

GOAL_TEMPLATE_SCHEMA_VERSION = 1
_FOLDER = "goal_templates"
_SCHEMA = "goal_template.schema.json"
# A prescribed dose a fraction this close (relative) to a template's range is in it: 2.1 Gy is still about 2 Gy.
_SAME_FRACTION_DOSE = 0.1


@dataclass(frozen=True)
class TemplateGoal:
    """A goal as published.

    Attributes
    ----------
    goal : Goal
        Its structure is a TG-263 name, or that of a phantom's part.
    is_target : bool
        Whether the structure is the prescription's target, whatever its name.
    source, where : str
        Citation, and table or section in it.
    note : str
        Endpoint, and what the structure must be.
    checked : str
        What the figures were compared with.
    """

    goal: Goal
    is_target: bool
    source: str
    where: str
    note: str
    checked: str


@dataclass(frozen=True)
class GoalTemplate:
    """A set of published goals.

    Attributes
    ----------
    name, title, description : str
    fractions : tuple of int or None
        Numbers of fractions that the limits are for; None: any.
    fraction_dose_Gy : (float, float) or None
        Range of the prescribed dose a fraction that they are for; None: any.
    goals : tuple of TemplateGoal
    sources : tuple of str
        Citations.
    left_out : tuple of str
        What the source has and the template has not, and why.
    """

    name: str
    title: str
    description: str
    fractions: tuple[int, ...] | None
    fraction_dose_Gy: tuple[float, float] | None
    goals: tuple[TemplateGoal, ...]
    sources: tuple[str, ...]
    left_out: tuple[str, ...]

    def fractionation_note(self, fractions: int | None, prescription_Gy: float | None) -> str:
        """Tell why these limits are not for a fractionation, or that it is not known; empty where they are."""
        if self.fractions is None and self.fraction_dose_Gy is None:
            return ""
        meant = self._fractionation_in_words()
        if fractions is None or (self.fraction_dose_Gy is not None and prescription_Gy is None):
            return f"{self.title} is for {meant}; whether this plan has them was not said. Give dose and fractions."
        if self.fractions is not None and fractions not in self.fractions:
            return f"{self.title} is for {meant}; the plan has {fractions}. Choose another template."
        if self.fraction_dose_Gy is not None:
            low, high = self.fraction_dose_Gy
            dose = prescription_Gy / fractions
            if not low * (1.0 - _SAME_FRACTION_DOSE) <= dose <= high * (1.0 + _SAME_FRACTION_DOSE):
                return (
                    f"{self.title} is for {meant}; the plan has {dose:.3g} Gy a fraction. Choose another template, or "
                    "compare EQD2."
                )
        return ""

    def _fractionation_in_words(self) -> str:
        words = []
        if self.fractions is not None:
            noun = "fraction" if self.fractions == (1,) else "fractions"
            words.append(f"{' or '.join(str(n) for n in self.fractions)} {noun}")
        if self.fraction_dose_Gy is not None:
            low, high = self.fraction_dose_Gy
            words.append(f"{low:g} Gy a fraction" if low == high else f"{low:g} to {high:g} Gy a fraction")
        return " of ".join(words)


@dataclass(frozen=True)
class AppliedGoal:
    """A template's goal for a structure of a case.

    Attributes
    ----------
    goal : Goal
        With the name of the case's structure.
    published : TemplateGoal
    note : str
        How the structure was found, where that is not by its TG-263 name.
    """

    goal: Goal
    published: TemplateGoal
    note: str = ""


@dataclass(frozen=True)
class UnmatchedGoal:
    """A template's goal without a structure, and why."""

    published: TemplateGoal
    is_ambiguous: bool
    reason: str


@dataclass(frozen=True, eq=False)
class AppliedTemplate:
    """A template laid on the structures of a case.

    Attributes
    ----------
    template : GoalTemplate
    goals : tuple of AppliedGoal
    unmatched : tuple of UnmatchedGoal
    combined : tuple of Structure
        Unions that goals refer to: both of a pair that the case has one by one.
    """

    template: GoalTemplate
    goals: tuple[AppliedGoal, ...]
    unmatched: tuple[UnmatchedGoal, ...]
    combined: tuple[Structure, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Structures that the template asks for and the case has not, each once."""
        return _each_once(g.published.goal.structure for g in self.unmatched if not g.is_ambiguous)

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """Structures that several of the case's may be, each once."""
        return _each_once(g.published.goal.structure for g in self.unmatched if g.is_ambiguous)


def available_goal_templates() -> list[GoalTemplate]:
    """Return the templates that come with the package, by name."""
    names = sorted(
        entry.name.removesuffix(".json")
        for entry in _folder().iterdir()
        if entry.name.endswith(".json") and entry.name != _SCHEMA
    )
    return [_load_shipped(name) for name in names]


def load_goal_template(name_or_path: str | Path) -> GoalTemplate:
    """Load a template that comes with the package by name, or one from a JSON file by path.

    Raises
    ------
    EvaluationError
        An unknown name, an unreadable file, or a goal that cannot be read.
    SchemaError
        A file that violates the schema; the text names the place.
    """
    text = str(name_or_path)
    if text.endswith(".json") or "/" in text or "\\" in text:
        path = Path(text)
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"The goal template {path} cannot be read: {error}.") from error
        return parse_goal_template(content, str(path))
    known = [template.name for template in available_goal_templates()]
    if text not in known:
        raise EvaluationError(
            f"There is no goal template {text!r}; choose one of: {', '.join(known)}, or give a .json file."
        )
    return _load_shipped(text)


def parse_goal_template(text: str, where: str = "goal template") -> GoalTemplate:
    """Read a template from JSON text; errors as `load_goal_template`."""
    data = read_schema_json(text, where, _schema(), _SCHEMA, GOAL_TEMPLATE_SCHEMA_VERSION, SchemaError)
    return _from_data(data, where)


def _from_data(data: Mapping[str, Any], where: str) -> GoalTemplate:
    sources = data["sources"]
    goals = []
    for number, entry in enumerate(data["goals"]):
        if entry["source"] not in sources:
            raise SchemaError(f"{where}, goals/{number}: source {entry['source']!r} is not in its list of sources.")
        try:
            goal = parse_goal(entry["goal"])
        except EvaluationError as error:
            raise EvaluationError(f"{where}, goals/{number}:\n{error}") from error
        goals.append(
            TemplateGoal(
                goal,
                entry.get("target", False),
                sources[entry["source"]],
                entry["where"],
                entry["note"],
                entry["checked"],
            )
        )
    fractions, dose = data["fractions"], data["fraction_dose_Gy"]
    return GoalTemplate(
        data["name"],
        data["title"],
        data["description"],
        None if fractions is None else tuple(fractions),
        None if dose is None else (float(dose[0]), float(dose[1])),
        tuple(goals),
        tuple(sources.values()),
        tuple(data["left_out"]),
    )


def apply_goal_template(
    template: GoalTemplate,
    structures: Sequence[Structure],
    *,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
) -> AppliedTemplate:
    """Lay a template's goals on the structures of a case.

    A structure that has the template's own name, up to case and separators, comes first; else the one whose name is
    known for the organ. A goal for one of a pair, without a side, is asked of each side. A goal for both of a pair is
    asked of their union where the case has them one by one. Empty structures do not count, nor does the body's outline.

    Parameters
    ----------
    template : GoalTemplate
    structures : sequence of Structure
    target : str, optional
        Name of the structure that goals for the target are asked of. By default the one with the template's name, or
        the only one of role PTV.
    names : mapping of template structure to name of a structure, optional
        Settles what is ambiguous.

    Raises
    ------
    EvaluationError
        ``target`` or ``names`` with a structure that is not there, empty, or not asked for.
    """
    filled = [structure for structure in structures if not structure.is_empty]
    finder = _Finder(structures, filled, target, dict(names or {}))
    finder.check({published.goal.structure for published in template.goals})
    goals: list[AppliedGoal] = []
    unmatched: list[UnmatchedGoal] = []
    combined: dict[str, Structure] = {}
    for published in template.goals:
        found = finder.find(published)
        if isinstance(found, _NotFound):
            unmatched.append(UnmatchedGoal(published, found.is_ambiguous, found.reason))
            continue
        for one in found:
            if len(one.parts) > 1:
                name = " + ".join(part.name for part in one.parts)
                combined.setdefault(name, _union(name, one.parts))
            else:
                name = one.parts[0].name
            goals.append(AppliedGoal(replace(published.goal, structure=name), published, one.note))
    return AppliedTemplate(template, tuple(goals), tuple(unmatched), tuple(combined.values()))


@dataclass(frozen=True, eq=False)
class _Found:
    """The structure of a goal, or the parts of its union."""

    parts: tuple[Structure, ...]
    note: str = ""


@dataclass(frozen=True)
class _NotFound:
    reason: str
    is_ambiguous: bool = False


class _Finder:
    """Finds the structures of a case that a template's goals mean."""

    def __init__(
        self,
        all_structures: Sequence[Structure],
        filled: Sequence[Structure],
        target: str | None,
        names: dict[str, str],
    ) -> None:
        self._empty = [structure.name for structure in all_structures if structure.is_empty]
        # a body outline may be called Skin, but is not the organ
        self._structures = [structure for structure in filled if structure.role != "EXTERNAL"]
        self._outlines = [structure.name for structure in filled if structure.role == "EXTERNAL"]
        self._by_name = {structure.name: structure for structure in filled}
        self._target, self._names = target, names
        self._matches = {structure.name: match_name(structure.name) for structure in filled}

    def check(self, asked: set[str]) -> None:
        for name in (*self._names.values(), *((self._target,) if self._target else ())):
            if name not in self._by_name:
                what = "is empty" if name in self._empty else "does not exist"
                raise EvaluationError(f"Structure {name!r} {what}; the case has: {', '.join(self._by_name) or 'none'}.")
        unknown = sorted(set(self._names) - asked)
        if unknown:
            raise EvaluationError(
                f"The template asks for no structure {', '.join(unknown)}; it asks for: {', '.join(sorted(asked))}."
            )

    def find(self, published: TemplateGoal) -> list[_Found] | _NotFound:
        wanted = published.goal.structure
        if wanted in self._names:
            return [_Found((self._by_name[self._names[wanted]],), f"{wanted}: {self._names[wanted]}, as asked.")]
        if published.is_target and self._target is not None:
            return [_Found((self._by_name[self._target],))]
        same = [structure for structure in self._structures if is_same_name(structure.name, wanted)]
        match = match_name(wanted)
        organ = match.organ
        if len(same) == 1:
            others = [s.name for s in self._of(organ) if s is not same[0]] if organ and not organ.sided else []
            more = f"{', '.join(others)} would be known for it too; {same[0].name} has its very name." if others else ""
            return [_Found((same[0],), more)]
        if len(same) > 1:
            return _ambiguous(wanted, [structure.name for structure in same])
        if published.is_target:
            return self._by_role(wanted)
        if organ is None:
            return self._missing(wanted, "")
        return self._of_organ(wanted, organ, match)

    def _by_role(self, wanted: str) -> list[_Found] | _NotFound:
        targets = [structure for structure in self._structures if structure.role == "PTV"]
        if len(targets) == 1:
            return [_Found((targets[0],), f"{targets[0].name} is the only PTV.")]
        if targets:
            return _ambiguous(wanted, [structure.name for structure in targets])
        return self._missing(wanted, "and none of role PTV")

    def _of_organ(self, wanted: str, organ: OrganNames, match: NameMatch) -> list[_Found] | _NotFound:
        found = self._of(organ)
        if organ.sided:
            by_side: dict[str, list[Structure]] = {}
            for structure in found:
                by_side.setdefault(self._matches[structure.name].side, []).append(structure)
            if match.side:
                by_side = {side: kept for side, kept in by_side.items() if side == match.side}
            elif "" in by_side and len(by_side) > 1:
                return _ambiguous(wanted, [structure.name for structure in found])
            for same_side in by_side.values():
                if len(same_side) > 1:
                    return _ambiguous(wanted, [structure.name for structure in same_side])
            if by_side:
                return [_Found((kept[0],), self._how(kept[0], wanted)) for _, kept in sorted(by_side.items())]
        elif len(found) == 1:
            return [_Found((found[0],), self._how(found[0], wanted))]
        elif found:
            return _ambiguous(wanted, [structure.name for structure in found])
        if organ.pair_of:
            return self._both(wanted, organ)
        return self._missing(wanted, self._hint(organ))

    def _both(self, wanted: str, organ: OrganNames) -> list[_Found] | _NotFound:
        parts = self._of(load_organs()[organ.pair_of])
        sides = [self._matches[structure.name].side for structure in parts]
        if sorted(sides) == ["L", "R"]:
            ordered = tuple(sorted(parts, key=lambda structure: self._matches[structure.name].side))
            return [_Found(ordered, f"{wanted}: {ordered[0].name} and {ordered[1].name} together.")]
        if len(set(sides)) == 1 and len(sides) == 1:
            return self._missing(wanted, f"and of the two only {parts[0].name}")
        if parts:
            return _ambiguous(wanted, [structure.name for structure in parts])
        return self._missing(wanted, self._hint(organ))

    def _of(self, organ: OrganNames) -> list[Structure]:
        return [structure for structure in self._structures if self._matches[structure.name].organ is organ]

    def _how(self, structure: Structure, wanted: str) -> str:
        match = self._matches[structure.name]
        return "" if match.by == "TG-263 name" else f"{structure.name} is a {match.by} for {wanted}."

    def _hint(self, organ: OrganNames) -> str:
        """What comes near: a name that several organs share."""
        shared = [
            structure.name
            for structure in self._structures
            if len(self._matches[structure.name].organs) > 1 and organ in self._matches[structure.name].organs
        ]
        return f"; {', '.join(shared)} may be it, or something else: say so by names" if shared else ""

    def _missing(self, wanted: str, more: str) -> _NotFound:
        empty = [name for name in self._empty if is_same_name(name, wanted) or _is_organ_of(name, wanted)]
        if empty:
            return _NotFound(f"{', '.join(empty)} is empty; contour it.")
        outlines = [name for name in self._outlines if is_same_name(name, wanted) or _is_organ_of(name, wanted)]
        if outlines:
            text = f"{', '.join(outlines)} is the outline of the body, not {wanted}; if it is meant, say so by names."
            return _NotFound(text, is_ambiguous=True)
        # a hint names a structure that may be meant
        hinted = more.startswith(";")
        if not more:
            return _NotFound(absence_of(wanted))
        return _NotFound(f"{absence_of(wanted)[:-1]}{'' if hinted else ' '}{more}.", is_ambiguous=hinted)


def absence_of(wanted: str) -> str:
    """Say that a case has no structure for an organ, nor anything near it."""
    return f"The case has no {wanted}."


def _is_organ_of(name: str, wanted: str) -> bool:
    organ = match_name(wanted).organ
    return organ is not None and match_name(name).organ is organ


def _ambiguous(wanted: str, found: Sequence[str]) -> _NotFound:
    return _NotFound(f"{wanted} may be any of {', '.join(found)}; say which by names.", is_ambiguous=True)


def _union(name: str, parts: Sequence[Structure]) -> Structure:
    first = parts[0]
    # each may lie on a grid of its own, around itself alone
    together = all(part.grid.is_same_as(first.grid) for part in parts)
    grid = first.grid if together else union_grid([part.grid for part in parts])
    mask = np.zeros(grid.shape, bool)
    for part in parts:
        mask |= resample(part.mask, part.grid, grid)
    return Structure(name, mask, grid, first.role, first.color)


def _each_once(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _folder() -> Any:
    return resources.files(__package__).joinpath(_FOLDER)


@lru_cache(maxsize=1)
def _schema() -> dict[str, Any]:
    return json.loads(_folder().joinpath(_SCHEMA).read_text(encoding="utf-8"))


@lru_cache(maxsize=64)
def _load_shipped(name: str) -> GoalTemplate:
    # held to the schema by the tests: a panel lists them before the package for it may be installed
    return _from_data(json.loads(_folder().joinpath(f"{name}.json").read_text(encoding="utf-8")), f"{name}.json")
