"""The dose influence as data: bixel beams, bookkeeping, saving, loading, and noticing what changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from DoseEngineLib.errors import EngineError, PlanError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.influence import BixelBeam, DoseInfluence, beams_hash, patient_hash
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Structure

GRID = Grid.from_spacing((4, 5, 6), 10.0, (-25.0, -20.0, -15.0))


def bixel_beam(name="A", x=(2.5, 7.5, 2.5), y=(2.5, 2.5, 7.5), **changes):
    fields = dict(gantry_deg=10.0, collimator_deg=0.0, couch_deg=0.0, isocenter_RAS_mm=(0, 0, 0),
                  machine="generic_6mv", width_mm=5.0)  # fmt: skip
    return BixelBeam(name, **(fields | changes), x_mm=np.array(x), y_mm=np.array(y))


def patient():
    density = np.ones(GRID.shape, np.float32)
    corner = np.zeros(GRID.shape, bool)
    corner[:2, :2, :3] = True
    return Patient.from_density(density, GRID, structures=(Structure("Corner", corner, GRID),))


def plan(**changes):
    options = {"gantry_deg": 10.0} | changes
    return Plan("P", (Beam.open_field("A", **options), Beam.open_field("B", gantry_deg=90.0)))


def influence(fractions=1):
    beams = (bixel_beam(), bixel_beam("B", (2.5, -2.5), (2.5, 2.5), gantry_deg=90.0))
    rng = np.random.default_rng(5)
    dense = rng.random((60, 5), dtype=np.float32) * (rng.random((60, 5)) < 0.5)
    provenance = {"patient_hash": patient_hash(patient()), "beams_hash": beams_hash(plan().beams, "HFS")}
    matrix = sparse.csc_array(dense.astype(np.float32))
    return DoseInfluence(
        matrix, np.arange(0, 120, 2), GRID, beams, fractions, cutoff_error={"dropped_share": 0.0}, provenance=provenance
    )


def test_bixels_know_their_places_on_the_lattice():
    """Columns and rows count widths from the axis; weights fall on their squares and zero elsewhere."""
    beam = bixel_beam(x=(-2.5, 7.5, 2.5), y=(2.5, 2.5, -7.5))
    assert beam.size == 3
    assert beam.columns.tolist() == [-1, 1, 0]
    assert beam.rows.tolist() == [0, 0, -2]
    values, x, y = beam.fluence_map([1.0, 2.0, 3.0])
    assert x.tolist() == [-5, 0, 5, 10]
    assert y.tolist() == [-10, -5, 0, 5]
    assert values.tolist() == [[0, 3, 0], [0, 0, 0], [1, 0, 2]]
    shifted = bixel_beam(x=(0.0, 5.0), y=(0.0, 0.0), lattice_mm=(2.5, 2.5))
    assert shifted.columns.tolist() == [-1, 0]
    assert shifted.fluence_map([1, 1])[1].tolist() == [-2.5, 2.5, 7.5]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x": (0.0, 5.0, 10.0)}, "middle between lines"),
        ({"x": (2.5, 2.5, 2.5), "y": (2.5, 2.5, 7.5)}, "twice"),
        ({"x": (), "y": ()}, "at least one"),
        ({"x": (2.5, 7.5)}, "as many of both"),
        ({"x": (2.5, np.nan, 2.5)}, "finite"),
        ({"width_mm": 0.0}, "positive"),
    ],
)
def test_impossible_bixels_are_refused(changes, text):
    with pytest.raises(PlanError, match=text):
        bixel_beam(**changes)


def test_wrong_numbers_of_weights_are_refused():
    with pytest.raises(PlanError, match="3 bixels"):
        bixel_beam().fluence_map([1.0])
    with pytest.raises(PlanError, match="5 bixels"):
        influence().dose([1.0])


def test_dose_is_matrix_times_weights_times_fractions_on_the_grid():
    result = influence(fractions=30)
    weights = np.array([1.0, 0.0, 2.0, 3.0, 0.5])
    dose = result.dose(weights)
    assert dose.shape == GRID.shape
    assert dose.ravel()[::2] == pytest.approx(30 * (result.matrix.toarray() @ weights), rel=1e-5)
    assert not dose.ravel()[1::2].any()
    assert result.beam_slices() == (slice(0, 3), slice(3, 5))
    assert (result.voxel_weights == 1).all()


def test_rows_of_a_structure_on_its_own_grid():
    """Rows are those of voxels whose centre lies in it, on whatever grid it was drawn."""
    result = influence()
    corner = patient().structure("Corner")
    expected = [row for row, voxel in enumerate(result.voxels) if corner.mask.ravel()[voxel]]
    assert result.rows_of(corner).tolist() == expected
    fine = GRID.with_spacing(5.0)
    mask = (fine.centres_RAS_mm() < (5.0, 0.0, 5.0)).all(axis=-1)
    assert result.rows_of(Structure("Corner", mask, fine)).tolist() == expected
    empty = Structure("Nothing", np.zeros(GRID.shape, bool), GRID)
    assert result.rows_of(empty).size == 0


def test_saved_and_loaded_it_is_the_same(tmp_path):
    result = influence(fractions=3)
    loaded = DoseInfluence.load(result.save(tmp_path / "a.npz"))
    assert np.array_equal(loaded.matrix.toarray(), result.matrix.toarray())
    assert loaded.matrix.data.dtype == np.float32
    assert loaded.matrix.indices.dtype == np.int32
    assert np.array_equal(loaded.voxels, result.voxels)
    assert np.array_equal(loaded.voxel_weights, result.voxel_weights)
    assert loaded.grid.is_same_as(result.grid)
    assert loaded.fractions == 3
    assert loaded.cutoff_error == result.cutoff_error
    assert loaded.provenance == result.provenance
    for one, other in zip(loaded.beams, result.beams, strict=True):
        assert (one.name, one.gantry_deg, one.isocenter_RAS_mm) == (
            other.name,
            other.gantry_deg,
            other.isocenter_RAS_mm,
        )
        assert np.array_equal(one.x_mm, other.x_mm)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]
    loaded.check(patient(), plan())


def test_what_is_no_influence_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"saved as \.npz"):
        influence().save(tmp_path / "a.h5")
    with pytest.raises(SchemaError, match="cannot be read"):
        DoseInfluence.load(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(SchemaError, match="not a dose influence"):
        DoseInfluence.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(SchemaError, match="not a dose influence"):
        DoseInfluence.load(tmp_path / "other.npz")
    np.savez(tmp_path / "newer.npz", meta=np.array('{"schema_version": 99}'))
    with pytest.raises(SchemaError, match="Update RTPlanning"):
        DoseInfluence.load(tmp_path / "newer.npz")


def test_a_changed_patient_or_plan_is_noticed():
    """Density, body and geometry of beams count; metersets, apertures and names of plans do not."""
    result = influence()
    result.check(patient(), plan())
    result.check(patient(), replace(plan(jaw_x_mm=(-10, 10), meterset_MU=7.0), name="Other"))
    density = np.ones(GRID.shape, np.float32)
    density[2, 2, 2] = 1.1
    with pytest.raises(PlanError, match="the patient"):
        result.check(Patient.from_density(density, GRID), plan())
    for changes in (
        {"gantry_deg": 11.0},
        {"couch_deg": 5.0},
        {"isocenter_RAS_mm": (1, 0, 0)},
        {"machine": "ideal_6mv"},
    ):
        with pytest.raises(PlanError, match="the plan's beams"):
            result.check(patient(), plan(**changes))
    with pytest.raises(PlanError, match="the plan's beams"):
        result.check(patient(), replace(plan(), patient_position="HFP"))
    moved = Patient.from_density(np.ones(GRID.shape, np.float32), Grid.from_spacing(GRID.shape, 10.0, (-20, -20, -15)))
    with pytest.raises(PlanError, match="the patient"):
        result.check(moved, plan())


def test_parts_that_do_not_belong_together_are_refused():
    result = influence()
    with pytest.raises(EngineError, match="belong together"):
        replace(result, voxels=np.arange(10))
    with pytest.raises(EngineError, match="ascending"):
        replace(result, voxels=result.voxels[::-1])
    with pytest.raises(EngineError, match="voxel weights"):
        replace(result, voxel_weights=np.ones(3))
