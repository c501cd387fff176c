"""Beam parameters of a scripted dose engine of SlicerRT: declared once, shown on a panel, read back as checked values.

SlicerRT keeps a parameter as text in an attribute of the beam; one that was never set has its default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from DoseEngineLib.engine_option import EngineOption
from DoseEngineLib.errors import EngineError

# A spin box cannot be left empty; below the range of an option this stands for the engine's own choice.
_AUTOMATIC = 0.0


@dataclass(frozen=True)
class BeamParameter:
    """A parameter of a beam.

    Attributes
    ----------
    name : str
        Of the attribute; scenes keep it, so it never changes its meaning.
    label, tool_tip : str
    """

    name: str
    label: str
    tool_tip: str


@dataclass(frozen=True)
class NumberParameter(BeamParameter):
    """A number from ``minimum`` to ``maximum``."""

    default: float
    minimum: float
    maximum: float
    step: float = 1.0
    decimals: int = 1

    def define(self, scriptedEngine: Any, tab: str) -> None:
        """Show it on a tab of the panel."""
        scriptedEngine.addBeamParameterSpinBox(
            tab, self.name, self.label, self.tool_tip, float(self.minimum), float(self.maximum), float(self.default),
            float(self.step), int(self.decimals),
        )  # fmt: skip

    def checked(self, text: str) -> float:
        """The number that a text is."""
        value = _number(self, text)
        if not self.minimum <= value <= self.maximum:
            raise EngineError(f"{self.label}: {value:g} is not in {self.minimum:g}..{self.maximum:g}; set it again.")
        return value


@dataclass(frozen=True)
class ChoiceParameter(BeamParameter):
    """One of several values. Scenes keep its place in the list: choices are only ever added at the end.

    Attributes
    ----------
    choices : tuple of (str, str)
        Value and title of each.
    default : str
    """

    choices: tuple[tuple[str, str], ...]
    default: str

    def define(self, scriptedEngine: Any, tab: str) -> None:
        """Show it on a tab of the panel."""
        values = [value for value, _title in self.choices]
        titles = [title for _value, title in self.choices]
        place = values.index(self.default)
        scriptedEngine.addBeamParameterComboBox(tab, self.name, self.label, self.tool_tip, titles, place)

    def checked(self, text: str) -> str:
        """The value whose place a text is."""
        place = _number(self, text)
        if place not in range(len(self.choices)):
            raise EngineError(
                f"{self.label}: choice {text} is none of the {len(self.choices)} of this version of RTPlanning; choose "
                "again, or update RTPlanning."
            )
        return self.choices[int(place)][0]


@dataclass(frozen=True)
class FlagParameter(BeamParameter):
    """Yes or no."""

    default: bool

    def define(self, scriptedEngine: Any, tab: str) -> None:
        """Show it on a tab of the panel."""
        scriptedEngine.addBeamParameterCheckBox(tab, self.name, self.label, self.tool_tip, self.default)

    def checked(self, text: str) -> bool:
        """The truth that a text is."""
        if text not in ("true", "false"):
            raise EngineError(f"{self.label}: {text!r} is neither true nor false; set it again.")
        return text == "true"


@dataclass(frozen=True)
class TextParameter(BeamParameter):
    """A line of text."""

    default: str

    def define(self, scriptedEngine: Any, tab: str) -> None:
        """Show it on a tab of the panel."""
        scriptedEngine.addBeamParameterLineEdit(tab, self.name, self.label, self.tool_tip, self.default)

    def checked(self, text: str) -> str:
        """The text without spaces around it, the default where nothing is left."""
        return text.strip() or self.default


def read_parameters(parameters: Sequence[BeamParameter], scriptedEngine: Any, beamNode: Any) -> dict[str, Any]:
    """Return the values of a beam's parameters by name.

    Raises
    ------
    EngineError
        A text that is no value of its parameter; the message names beam and parameter.
    """
    values = {}
    for parameter in parameters:
        # nothing where it was never set
        text = scriptedEngine.parameter(beamNode, parameter.name) or ""
        try:
            values[parameter.name] = parameter.checked(text) if text else parameter.default
        except EngineError as error:
            raise EngineError(f"Beam {beamNode.GetName()}, {error}") from error
    return values


def option_parameters(options: Sequence[EngineOption]) -> tuple[BeamParameter, ...]:
    """Return a parameter for each option that an engine declares, named as the option."""
    return tuple(_of_option(option) for option in options)


def option_values(options: Sequence[EngineOption], values: dict[str, Any]) -> dict[str, Any]:
    """Return those options of an engine, out of a beam's values, that are not as they are by default."""
    chosen = {}
    for option in options:
        value = values[option.name]
        if option.automatic and value == _AUTOMATIC:
            value = None
        if option.kind == "int":
            value = int(value)
        if value != option.default:
            chosen[option.name] = value
    return chosen


def _of_option(option: EngineOption) -> BeamParameter:
    unit = f" ({option.unit})" if option.unit else ""
    shown = option.name, f"{option.title}{unit}:", option.tool_tip
    if option.kind == "bool":
        return FlagParameter(*shown, option.default)
    if option.kind == "choice":
        return ChoiceParameter(*shown, option.choices, option.default)
    decimals = 0 if option.kind == "int" else 2
    if not option.automatic:
        return NumberParameter(*shown, option.default, option.minimum, option.maximum, option.step, decimals)
    tool_tip = f"{option.tool_tip} {_AUTOMATIC:g}: {option.automatic}."
    default = _AUTOMATIC if option.default is None else option.default
    return NumberParameter(*shown[:2], tool_tip, default, _AUTOMATIC, option.maximum, option.step, decimals)


def _number(parameter: BeamParameter, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise EngineError(f"{parameter.label}: {text!r} is no number; set it again.")
    return value
