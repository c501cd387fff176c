"""CT calibration curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DoseEngineLib.calibration import (
    CalibrationCurve,
    calibration_from_points,
    default_calibration,
    load_calibration,
)
from DoseEngineLib.errors import PatientError, SchemaError


# Schneider et al. (2000): linear sections in g/cm3 over HU
@pytest.mark.parametrize(
    ("hu", "density"),
    [
        (-1000, 0.00121),
        (-50, 1.018 + 0.893e-3 * -50),
        (0, 1.018),
        (50, 1.003 + 1.169e-3 * 50),
        (500, 1.017 + 0.592e-3 * 500),
        (1500, 1.017 + 0.592e-3 * 1500),
        (-1500, 0.00121),
        (4000, 2.8),
    ],
)
def test_default_curve_is_schneiders(hu, density):
    """Within 0.002 g/cm3 of the published sections; held beyond the ends."""
    assert default_calibration().density_g_cm3(np.array([float(hu)]))[0] == pytest.approx(density, abs=2e-3)


@given(st.lists(st.integers(-2000, 4000), min_size=1, max_size=20))
def test_integer_tables_equal_interpolation(values):
    many = np.array(values * 100_001, np.int16)[:100_001]
    curve = default_calibration()
    assert np.array_equal(curve.density_g_cm3(many), curve.density_g_cm3(many.astype(float)))


def test_a_curve_survives_its_file(tmp_path):
    curve = calibration_from_points("Mine", [(1000, 1.6), (-1000, 0.001), (0, 1.0)], "phantom, today")
    path = tmp_path / "curve.json"
    path.write_text(curve.to_json(), encoding="utf-8")
    assert load_calibration(path) == curve
    assert curve.density_g_cm3(np.array([-500.0]))[0] == pytest.approx(0.5005)


@pytest.mark.parametrize(
    ("hu", "density", "says"),
    [
        ((0,), (1,), "at least two"),
        ((0, 1), (1,), "at least two"),
        ((0, 0), (1, 1), "rise strictly"),
        ((0, 1), (1, -1), "negative"),
        ((0, float("nan")), (1, 1), "finite"),
    ],
)
def test_bad_curves_are_refused(hu, density, says):
    with pytest.raises(PatientError, match=says):
        CalibrationCurve("bad", hu, density)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(PatientError, match="cannot be read"):
        load_calibration(tmp_path / "none.json")
    path = tmp_path / "curve.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(SchemaError, match="not a CT calibration"):
        load_calibration(path)
    path.write_text(default_calibration().to_json().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(SchemaError, match="schema version 2"):
        load_calibration(path)
