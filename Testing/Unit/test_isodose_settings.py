"""Isodose levels as a person sets them."""

from __future__ import annotations

import pytest

from DoseEngineLib.errors import EvaluationError, SchemaError
from RTPlanningLib.display.isodose_levels import default_levels, levels_in_percent
from RTPlanningLib.display.isodose_settings import (
    IsodoseSetting,
    default_settings,
    next_setting,
    settings_from_json,
    settings_to_json,
    visible_levels,
)


def test_defaults_draw_what_isodoses_drew_without_settings() -> None:
    assert visible_levels(default_settings(60.0, 66.0), 60.0) == levels_in_percent(60.0)
    assert [level.dose_Gy for level in visible_levels(default_settings(None, 66.0), None)] == [
        level.dose_Gy for level in default_levels(None, 66.0)
    ]


def test_percent_and_gray_mix_and_hidden_levels_are_left_out() -> None:
    settings = (
        IsodoseSetting(20.0, "Gy", (0.0, 1.0, 0.0)),
        IsodoseSetting(50.0, "%", (1.0, 0.0, 0.0)),
        IsodoseSetting(95.0, "%", (0.0, 0.0, 1.0), visible=False),
    )
    levels = visible_levels(settings, 60.0)
    assert [(level.dose_Gy, level.label) for level in levels] == [(30.0, "50 % = 30 Gy"), (20.0, "20 Gy")]
    assert visible_levels(settings[:1], None)[0].dose_Gy == 20.0


def test_what_makes_no_level_is_refused_in_words() -> None:
    with pytest.raises(EvaluationError, match="above 0"):
        IsodoseSetting(0.0)
    with pytest.raises(EvaluationError, match="% or Gy"):
        IsodoseSetting(1.0, "cGy")
    with pytest.raises(EvaluationError, match="RGB"):
        IsodoseSetting(1.0, "Gy", (255.0, 0.0, 0.0))
    with pytest.raises(EvaluationError, match="prescribe one"):
        visible_levels((IsodoseSetting(95.0),), None)
    with pytest.raises(EvaluationError, match="same dose"):
        visible_levels((IsodoseSetting(50.0), IsodoseSetting(30.0, "Gy")), 60.0)


def test_they_go_through_text_exactly_and_damage_is_said() -> None:
    settings = default_settings(60.0, 66.0)
    assert settings_from_json(settings_to_json(settings)) == settings
    assert settings_from_json(settings_to_json(())) == ()
    with pytest.raises(SchemaError, match="damaged"):
        settings_from_json("{")
    with pytest.raises(SchemaError, match="damaged"):
        settings_from_json(settings_to_json(settings).replace("110.0", "-110.0"))
    with pytest.raises(SchemaError, match="schema version 9"):
        settings_from_json(settings_to_json(settings).replace('"schema_version": 1', '"schema_version": 9'))


def test_a_level_to_add_is_new_in_value_and_colour() -> None:
    settings: tuple[IsodoseSetting, ...] = ()
    for _ in range(12):
        added = next_setting(settings)
        assert added.value not in {setting.value for setting in settings}
        settings = (*settings, added)
    assert settings[0].value == 100.0
    assert len({setting.color for setting in settings[:10]}) == 10
    visible_levels(settings, 60.0)
    assert next_setting((IsodoseSetting(10.0, "Gy"),)) == IsodoseSetting(5.0, "Gy", next_setting(()).color)
