"""EQD2 of structures by alpha/beta of their own."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.eqd2_metrics import BY_CHOICE, BY_NAME, ELSEWHERE, eqd2_metrics
from RTPlanningLib.radiobiology.fractionation import Fractionation


def dvh(name: str, dose_Gy: float, covered: float = 1.0) -> Dvh:
    return Dvh(name, 10.0, np.full(100, dose_Gy), covered)


def test_each_structure_has_its_own_alpha_beta() -> None:
    # 20 fractions of 3 Gy: EQD2 = 60 (3 + ab) / (2 + ab)
    dvhs = {name: dvh(name, 60.0) for name in ("PTV", "Rectum", "Bladder", "Blob")}
    rows = eqd2_metrics(dvhs, Fractionation(20), elsewhere_Gy=10.0, alpha_beta_Gy={"PTV": 1.5})
    assert [(row.structure, row.alpha_beta_Gy, row.by) for row in rows] == [
        ("PTV", 1.5, BY_CHOICE),
        ("Rectum", 3.0, BY_NAME),
        ("Bladder", 3.0, BY_NAME),
        ("Blob", 10.0, ELSEWHERE),
    ]
    for row in rows:
        expected = 60.0 * (3.0 + row.alpha_beta_Gy) / (2.0 + row.alpha_beta_Gy)
        assert (row.mean_Gy, row.D98_Gy, row.D50_Gy, row.D2_Gy) == pytest.approx((expected,) * 4, rel=1e-6)


def test_the_mean_is_that_of_the_converted_samples() -> None:
    two = Dvh("Blob", 10.0, np.array([0.0, 60.0]))
    row = eqd2_metrics({"Blob": two}, Fractionation(20), elsewhere_Gy=3.0)[0]
    assert row.mean_Gy == pytest.approx(36.0)
    # converted as a whole, half the dose would give 30 (1.5 + 3) / 5
    assert row.mean_Gy > 30.0 * 4.5 / 5.0


def test_what_is_left_out_is_said_and_nonsense_refused() -> None:
    row = eqd2_metrics({"Blob": dvh("Blob", 60.0, 0.8)}, Fractionation(20), elsewhere_Gy=3.0)[0]
    assert "80.0 % of the structure" in row.note
    with pytest.raises(EvaluationError, match="no DVH of Lung"):
        eqd2_metrics({"Blob": dvh("Blob", 60.0)}, Fractionation(20), elsewhere_Gy=3.0, alpha_beta_Gy={"Lung": 3.0})
    with pytest.raises(EvaluationError):
        eqd2_metrics({"Blob": dvh("Blob", 60.0)}, Fractionation(20), elsewhere_Gy=-3.0)
