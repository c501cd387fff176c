"""Optimized fluence kept as JSON and in a file, and laid onto other bixels to go on from."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from DoseEngineLib.errors import SchemaError
from DoseEngineLib.influence import BixelBeam
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings, HistoryEntry
from OptimizerLib.optimized_fluence import OptimizedFluence


def beam(name="Gantry 40", width=10.0, columns=range(-2, 2), rows=range(-1, 2), gantry=40.0) -> BixelBeam:
    x, y = (v.ravel() for v in np.meshgrid((np.array(columns) + 0.5) * width, (np.array(rows) + 0.5) * width))
    return BixelBeam(name, gantry, 5.0, 0.0, (1.0, -2.0, 3.5), "generic_6mv", width, x, y)


@pytest.fixture
def fluence() -> OptimizedFluence:
    beams = (beam(), beam("Gantry 90", gantry=90.0))
    weights = np.random.default_rng(1).uniform(0.0, 30.0, 24)
    return OptimizedFluence(
        beams,
        weights,
        weights * 0.9,
        ("PTV uniform 50 Gy, weight 3",),
        ("PTV",),
        FluenceSettings(bixel_mm=10.0, levels=7),
        ("PTV uniform 50 Gy, weight 3",),
        (HistoryEntry(0, 4.5, (4.5,)), HistoryEntry(1, 1.25, (1.25,), 2)),
        True,
        "Optimum found.",
        ("No row limits dose to the body.",),
    )


def assert_same(one: OptimizedFluence, other: OptimizedFluence) -> None:
    np.testing.assert_array_equal(one.weights_MU, other.weights_MU)
    np.testing.assert_array_equal(one.delivered_MU, other.delivered_MU)
    for name in ("objectives", "targets", "settings", "term_names", "history", "converged", "message", "notes"):
        assert getattr(one, name) == getattr(other, name)
    for mine, theirs in zip(one.beams, other.beams, strict=True):
        np.testing.assert_array_equal(mine.x_mm, theirs.x_mm)
        np.testing.assert_array_equal(mine.y_mm, theirs.y_mm)
        assert (mine.name, mine.isocenter_RAS_mm, mine.width_mm) == (
            theirs.name,
            theirs.isocenter_RAS_mm,
            theirs.width_mm,
        )


def test_json_and_file_bring_back_the_same(fluence, tmp_path):
    assert_same(OptimizedFluence.from_json(fluence.to_json()), fluence)
    path = fluence.save(tmp_path / "fluence.npz")
    assert_same(OptimizedFluence.load(path), fluence)
    with np.load(path) as archive:
        assert archive["Gantry 90: ideal"].shape == (3, 4)
        assert archive["Gantry 90: ideal"].sum() == pytest.approx(fluence.weights_MU[12:].sum())
        np.testing.assert_array_equal(archive["Gantry 40: x_edges_mm"], [-20.0, -10.0, 0.0, 10.0, 20.0])


def test_a_start_on_the_same_bixels_is_the_fluence_itself(fluence):
    start = fluence.start_for(SimpleNamespace(beams=fluence.beams))
    np.testing.assert_array_equal(start, fluence.weights_MU)


def test_a_start_on_finer_and_further_bixels_keeps_the_fluence_of_each_place(fluence):
    finer = beam("Gantry 90", 5.0, range(-6, 5), range(-2, 4), gantry=90.0)
    start = fluence.start_for(SimpleNamespace(beams=(finer,)))
    values, x, y = finer.fluence_map(start)
    former, _, _ = fluence.beams[1].fluence_map(fluence.weights_MU[12:])
    inside = values[:, (x[:-1] >= -20) & (x[:-1] < 20)]
    np.testing.assert_array_equal(inside, former.repeat(2, axis=0).repeat(2, axis=1))
    assert (values[:, (x[:-1] < -20) | (x[:-1] >= 20)] == 0.0).all()
    assert (y[0], y[-1]) == (-10.0, 20.0)


@pytest.mark.parametrize("other", [beam("Gantry 50", gantry=50.0), beam(gantry=41.0)])
def test_a_start_from_another_direction_is_refused(fluence, other):
    with pytest.raises(OptimizationError, match=rf"{other.name}.*Gantry 40, Gantry 90"):
        fluence.start_for(SimpleNamespace(beams=(other,)))


def test_a_file_without_levels_and_notes_is_read_too(fluence):
    data = json.loads(fluence.to_json())
    for name in ("history_levels", "notes"):
        del data[name]
    read = OptimizedFluence.from_json(json.dumps(data))
    assert [entry.level for entry in read.history] == [1, 1]
    assert read.notes == ()


def test_what_is_no_fluence_is_refused(fluence, tmp_path):
    newer = json.loads(fluence.to_json()) | {"schema_version": 99}
    with pytest.raises(SchemaError, match="schema version 99"):
        OptimizedFluence.from_json(json.dumps(newer))
    for text in ("", "[]", "{}", fluence.to_json().replace('"weights_MU": [', '"weights_MU": [-')):
        with pytest.raises(SchemaError, match="damaged"):
            OptimizedFluence.from_json(text)
    with pytest.raises(SchemaError, match="no optimized fluence"):
        OptimizedFluence.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_text("no archive")
    with pytest.raises(SchemaError, match="no optimized fluence"):
        OptimizedFluence.load(tmp_path / "bad.npz")
    with pytest.raises(OptimizationError, match=r"\.npz"):
        fluence.save(tmp_path / "fluence.json")
    with pytest.raises(OptimizationError, match="24 finite numbers"):
        OptimizedFluence(fluence.beams, np.ones(3), np.ones(24), ())
