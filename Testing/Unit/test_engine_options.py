"""Options that engines declare: what is checked, what the errors name, and that registry and class agree."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from DoseEngineLib.engine import (
    DoseEngine,
    available_engines,
    create_engine,
    engine_class,
    engine_options,
    register_engine,
    unregister_engine,
)
from DoseEngineLib.engine_option import EngineOption, checked_options
from DoseEngineLib.errors import EngineError, EngineUnavailableError

LABELS = [info.label for info in available_engines()]
NUMBER = EngineOption("cells", "Cells", "int", 8, 4, 96, "", "How many.")


@pytest.mark.parametrize("label", LABELS)
def test_declared_options_are_the_constructors(label: str) -> None:
    found = engine_class(label)
    assert engine_options(label) == found.options
    accepted = {}
    for cls in inspect.getmro(found):
        if "__init__" in vars(cls):
            for name, parameter in inspect.signature(cls.__init__).parameters.items():
                if parameter.default is not inspect.Parameter.empty:
                    accepted[name] = parameter.default
    assert {option.name: option.default for option in found.options} == accepted
    for option in found.options:
        assert option.tool_tip.endswith(".")
        assert option.title


@pytest.mark.parametrize("label", LABELS)
def test_engines_take_the_ends_of_every_range_and_nothing_beyond(label: str) -> None:
    for option in engine_options(label):
        if option.is_number:
            beyond = 1 if option.kind == "int" else 1e-3
            for value in (option.minimum, option.maximum):
                value = int(value) if option.kind == "int" else value
                assert getattr(create_engine(label, **{option.name: value}), option.name) == value
            for value in (option.minimum - beyond, option.maximum + beyond):
                value = int(value) if option.kind == "int" else value
                with pytest.raises(EngineError, match=rf"{option.name} must be .*\.\."):
                    create_engine(label, **{option.name: value})
                # made directly, an engine checks the same
                with pytest.raises(EngineError, match=option.name):
                    engine_class(label)(**{option.name: value})
        for value, _title in option.choices:
            assert getattr(create_engine(label, **{option.name: value}), option.name) == value


def test_an_unknown_option_names_those_there_are() -> None:
    with pytest.raises(EngineError, match=r"no option 'dose_too'; it has: dose_to, pitch_mm.*Did you mean dose_to\?"):
        create_engine("photon-collapsed-cone", dose_too="water")
    with pytest.raises(EngineError, match="no option 'rings'; it has: arc_step_deg"):
        create_engine("photon-pencil-beam", rings=8)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        (NUMBER, 8.5, "a whole number in 4..96; got 8.5"),
        (NUMBER, True, "got True"),
        (NUMBER, "8", "got '8'"),
        (NUMBER, None, "got None"),
        (EngineOption("share", "Share", "float", 0.5, 0.0, 1.0), float("nan"), "in 0..1; got nan"),
        (EngineOption("on", "On", "bool", False), 1, "true or false; got 1"),
        (EngineOption("to", "To", "choice", "a", choices=(("a", "A"), ("b", "B"))), "c", '"a" or "b"; got \'c\''),
    ],
)
def test_wrong_values_are_told_apart(option: EngineOption, value: object, says: str) -> None:
    with pytest.raises(EngineError, match="Engine: .*" + says.replace("(", r"\(")):
        checked_options([option], {option.name: value}, "Engine")


def test_values_come_as_the_constructor_takes_them() -> None:
    wide = EngineOption("width", "Width", "float", None, 1.0, 5.0, "mm", automatic="as needed")
    checked = checked_options([NUMBER, wide], {"cells": np.int64(12), "width": 3}, "Engine")
    assert checked == {"cells": 12, "width": 3.0}
    assert [type(value) for value in checked.values()] == [int, float]
    assert wide.checked(None) is None
    assert wide.domain == "in 1..5 mm, or none: as needed"
    assert NUMBER.describe() == "cells: a whole number in 4..96 (default 8). How many."


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "text", "default": ""},
        {"kind": "int", "default": 3},
        {"kind": "int", "default": 3, "minimum": 4, "maximum": 9},
        {"kind": "float", "default": 3.0, "minimum": 9, "maximum": 4},
        {"kind": "choice", "default": "a"},
        {"kind": "bool", "default": None},
    ],
)
def test_an_option_cannot_contradict_itself(wrong: dict) -> None:
    with pytest.raises(EngineError):
        EngineOption("name", "Name", **wrong)


def test_options_of_an_engine_that_cannot_run_here() -> None:
    register_engine("test-listed", "Listed", "nowhere", "Nothing", requires=("no_such_one",), options=(NUMBER,))
    register_engine("test-unlisted", "Unlisted", "nowhere", "Nothing", requires=("no_such_one",))
    try:
        assert engine_options("test-listed") == (NUMBER,)
        with pytest.raises(EngineUnavailableError, match="no_such_one"):
            engine_options("test-unlisted")
        with pytest.raises(EngineUnavailableError, match="choose one of"):
            engine_options("test-nothing")
    finally:
        unregister_engine("test-listed")
        unregister_engine("test-unlisted")
    assert DoseEngine.options == ()


def test_what_engines_do_not_model_is_known_without_importing_them() -> None:
    known = {info.label: info.does_not_model for info in available_engines()}
    for label in ("photon-pencil-beam", "photon-collapsed-cone"):
        assert known[label]
        assert known[label] == engine_class(label).does_not_model
