"""What an engine lets a person choose: declared options, from which forms are made and requests are checked."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from DoseEngineLib.errors import EngineError

KINDS = ("bool", "int", "float", "choice")


@dataclass(frozen=True)
class EngineOption:
    """An option of a dose engine.

    Attributes
    ----------
    name : str
        Keyword of the engine's constructor, and key of ``Plan.engine_options``.
    title : str
        For people, without unit.
    kind : {"bool", "int", "float", "choice"}
    default : bool, int, float, str or None
        None where the option may be left to the engine; ``automatic`` then says what the engine does.
    minimum, maximum : float or None
        Ends of the range of numbers, both allowed; both are stated for "int" and "float".
    unit : str
    tool_tip : str
        What the option does and what it costs, in a sentence or two.
    choices : tuple of (str, str)
        Value and title of each, of kind "choice".
    automatic : str
        Not empty: None is a value, and this says what it means.
    step : float
        What a spin box steps by.
    """

    name: str
    title: str
    kind: str
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    tool_tip: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    automatic: str = ""
    step: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EngineError(f"Option {self.name}: {self.kind!r} is no kind of option; use one of {', '.join(KINDS)}.")
        if self.is_number and (self.minimum is None or self.maximum is None or self.minimum >= self.maximum):
            raise EngineError(f"Option {self.name}: a number needs a minimum below its maximum.")
        if (self.kind == "choice") != bool(self.choices):
            raise EngineError(f"Option {self.name}: choices belong to options of kind 'choice', and to no others.")
        self.checked(self.default)

    @property
    def is_number(self) -> bool:
        """Whether it is a whole or a decimal number."""
        return self.kind in ("int", "float")

    def checked(self, value: Any, owner: str = "") -> Any:
        """Return a value as the constructor takes it.

        Parameters
        ----------
        value : bool, int, float, str or None
        owner : str
            The engine's title, for the error's text.

        Raises
        ------
        EngineError
            Another type, or out of range; the text says what can be chosen.
        """
        if value is None and self.automatic:
            return None
        # numpy's and JSON's numbers count; True is no number
        truth = isinstance(value, bool)
        if self.kind == "bool" and truth:
            return value
        if self.kind == "choice" and isinstance(value, str) and value in dict(self.choices):
            return value
        kind = numbers.Integral if self.kind == "int" else numbers.Real
        number = self.is_number and isinstance(value, kind) and not truth and math.isfinite(value)
        if number and self.minimum <= value <= self.maximum:
            return int(value) if self.kind == "int" else float(value)
        raise EngineError(f"{owner + ': ' if owner else ''}{self.name} must be {self.domain}; got {value!r}.")

    @property
    def domain(self) -> str:
        """What can be chosen, in words: ``in 0.5..5 mm``, ``"medium" or "water"``."""
        if self.kind == "bool":
            text = "true or false"
        elif self.kind == "choice":
            text = " or ".join(f'"{value}"' for value, _title in self.choices)
        else:
            whole = "a whole number " if self.kind == "int" else ""
            text = f"{whole}in {self.minimum:g}..{self.maximum:g}{' ' + self.unit if self.unit else ''}"
        return f"{text}, or none: {self.automatic}" if self.automatic else text

    def describe(self) -> str:
        """One line for lists: name, domain, default, and what it does."""
        default = self.default
        if isinstance(default, bool):
            default = "true" if default else "false"
        shown = f"{default:g}" if self.is_number and default is not None else default
        told = "" if default is None else f" (default {shown})"
        return f"{self.name}: {self.domain}{told}. {self.tool_tip}".rstrip()


def checked_options(options: Sequence[EngineOption], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return the values as the engine's constructor takes them; options that are not given stay away.

    Raises
    ------
    EngineError
        An option that the engine does not have, the text naming those it has; or a value out of range.
    """
    declared = {option.name: option for option in options}
    for name in values:
        if name not in declared:
            near = difflib.get_close_matches(str(name), declared, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise EngineError(f"{owner} has no option {name!r}; it has: {', '.join(declared) or 'none'}.{meant}")
    return {name: declared[name].checked(value, owner) for name, value in values.items()}
