"""Colours of verdicts stand out on light and dark grounds."""

from __future__ import annotations

import pytest

from DoseEngineLib.verdict_colors import VERDICTS, verdict_color
from RTPlanningLib.display.colors import relative_luminance
from RTPlanningLib.evaluation.goals import VERDICTS as GOAL_VERDICTS
from RTPlanningLib.evaluation.plan_checks.check_result import VERDICTS as CHECK_VERDICTS

# white and an alternate row; a dark theme's base and alternate row
LIGHT, DARK = ((1.0,) * 3, (0.96,) * 3), ((0.10,) * 3, (0.21,) * 3)


def contrast(a, b) -> float:
    high, low = sorted((relative_luminance(a), relative_luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("dark", [False, True])
def test_contrast(verdict: str, dark: bool) -> None:
    for ground in DARK if dark else LIGHT:
        assert contrast(verdict_color(verdict, dark=dark), ground) >= 4.5


def test_every_verdict_has_one() -> None:
    assert {*GOAL_VERDICTS, *CHECK_VERDICTS} == set(VERDICTS)
    assert verdict_color("passed", dark=True) != verdict_color("failed", dark=True)
    assert verdict_color("not asked", dark=False) is None
