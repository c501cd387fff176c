"""DVH tables of other programs: read, and matched with structures."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.dvh_table import dvh_from_curve, match_dvhs, read_dvh_table
from RTPlanningLib.report.dvh_csv import write_dvh_csv


def ramp(name: str, volume: float = 100.0, low: float = 0.0, high: float = 40.0) -> Dvh:
    return Dvh(name, volume, np.linspace(low, high, 2001, dtype=np.float32))


def test_a_curve_gives_its_own_metrics():
    dvh = dvh_from_curve("PTV", 50.0, np.array([0.0, 20.0, 40.0]), np.array([100.0, 100.0, 0.0]))
    assert dvh.mean_Gy == pytest.approx(30.0, abs=0.01)
    assert dvh.dose_at_volume_percent(95) == pytest.approx(21.0, abs=0.01)
    assert dvh.dose_at_volume_percent(50) == pytest.approx(30.0, abs=0.01)
    assert dvh.volume_percent_at_dose(35.0) == pytest.approx(25.0, abs=0.05)


@pytest.mark.parametrize(
    ("dose", "volume"),
    [([0, 1], [50, 100]), ([1, 0], [100, 0]), ([0], [100]), ([0, 1], [120, 0]), ([0, 1, 2], [100, 0])],
)
def test_curves_that_are_no_dvh_are_refused(dose, volume):
    with pytest.raises(EvaluationError):
        dvh_from_curve("X", 1.0, np.array(dose), np.array(volume))


def test_a_row_a_structure(tmp_path):
    path = tmp_path / "dvh.csv"
    path.write_text(
        "Patient ID,ROI,Volume (mL),0cGy,1000cGy,2000cGy,3000cGy\nx,PTV,12.5,100,100,50,0\nx,Couch,0,0,0,0,0\n"
    )
    dvhs, notes = read_dvh_table(path)
    assert list(dvhs) == ["PTV"]
    assert dvhs["PTV"].volume_cm3 == 12.5
    assert dvhs["PTV"].mean_Gy == pytest.approx(20.0, abs=0.01)
    assert "Couch" in notes[0]


def test_our_own_tables_come_back(tmp_path):
    write_dvh_csv(tmp_path / "dvh.csv", {"PTV é": ramp("PTV é", 33.25, 18, 22), "Cord (L)": ramp("Cord (L)")})
    dvhs, _ = read_dvh_table(tmp_path / "dvh.csv")
    assert list(dvhs) == ["PTV é", "Cord (L)"]
    assert dvhs["PTV é"].volume_cm3 == 33.25
    assert dvhs["PTV é"].mean_Gy == pytest.approx(20.0, abs=0.01)
    assert dvhs["Cord (L)"].dose_at_volume_percent(2) == pytest.approx(39.2, abs=0.06)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no DVH table that is known"),
        ("a,b\n1,2\n", "no DVH table that is known"),
        ("ROI,Volume (mL),0cGy,10cGy\nPTV,1,x,0\n", "row 2: 'x' is no number"),
        ("ROI,Volume (mL),0cGy,10cGy\nPTV,1,100,0\nPTV,1,100,0\n", "twice"),
        ("ROI,0cGy,10cGy\nPTV,100,0\n", "column Volume"),
        ("ROI,Volume (mL),0cGy,10cGy\nPTV,0,0,0\n", "holds no DVH"),
        ("ROI,Volume (mL),0cGy,10cGy\nPTV,1,50,100\n", "fall from 100"),
    ],
)
def test_tables_that_cannot_be_read_are_named(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(EvaluationError, match=message):
        read_dvh_table(path)


def test_names_organs_and_targets_are_matched():
    table = {
        "heart": ramp("heart", 400),
        "cord": ramp("cord", 54),
        "lt lung": ramp("lt lung", 900),
        "PTV_41.4": ramp("PTV_41.4", 752.9),
        "prv cord": ramp("prv cord", 114),
    }
    dvhs = {
        "HEART": ramp("HEART", 396),
        "SPINALCORD": ramp("SPINALCORD", 53.6),
        "LUNG_L": ramp("LUNG_L", 915),
        "LUNG_R": ramp("LUNG_R", 1147),
        "PTV4140": ramp("PTV4140", 750.9),
    }
    found, notes = match_dvhs(table, dvhs)
    assert {name: dvh.structure_name for name, dvh in found.items()} == {
        "HEART": "heart",
        "SPINALCORD": "cord",
        "LUNG_L": "lt lung",
        "PTV4140": "PTV_41.4",
    }
    assert "PTV_41.4 (752.9 cm³) as PTV4140 (750.9 cm³; by kind and volume)" in notes[0]
    assert "prv cord" in notes[1]


def test_organs_of_another_volume_and_doubtful_targets_are_left_out():
    found, _ = match_dvhs({"cord": ramp("cord", 20)}, {"SPINALCORD": ramp("SPINALCORD", 53.6)})
    assert found == {}
    two = {"PTV1": ramp("PTV1", 100), "PTV2": ramp("PTV2", 101)}
    assert match_dvhs({"PTV_60": ramp("PTV_60", 100.5)}, two)[0] == {}
    given, _ = match_dvhs({"PTV_60": ramp("PTV_60", 100.5)}, two, {"PTV2": "PTV_60"})
    assert list(given) == ["PTV2"]
    with pytest.raises(EvaluationError, match="no structure 'PTV3'"):
        match_dvhs({"PTV_60": ramp("PTV_60")}, two, {"PTV3": "PTV_60"})
