"""Dose influence of the pencil beam against its own forward dose: equality, the cut-off, symmetry, bookkeeping."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from DoseEngineLib.engine import available_engines, create_engine
from DoseEngineLib.errors import Cancelled, EngineError, PatientError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Aperture, Beam, Plan, Structure

ENGINE = create_engine("photon-pencil-beam")


def phantom(kind="water", half_mm=90.0, voxel=6.0):
    """Cube about the origin: water, or with a lung and a bone plate; a ball of 30 mm radius is the target."""
    count = round(2 * half_mm / voxel)
    first = -half_mm + voxel / 2
    grid = Grid.from_spacing((count,) * 3, voxel, (first,) * 3)
    x, y, z = np.moveaxis(grid.centres_RAS_mm(), -1, 0)
    density = np.ones(grid.shape, np.float32)
    if kind == "lung":
        density[(y > 10) & (x > -20)] = 0.26
        density[(y < -40) & (y > -55)] = 1.6
    ball = x**2 + y**2 + z**2 <= 30.0**2
    organ = (x - 45) ** 2 + y**2 + z**2 <= 15.0**2
    structures = (Structure("Target", ball, grid, "PTV"), Structure("Organ", organ, grid))
    return Patient.from_density(density, grid, structures=structures)


def plan_of(*angles, machine="generic_6mv", isocenter=(0.0, 0.0, 0.0), spacing=6.0):
    beams = tuple(
        Beam.open_field(
            f"Beam {n}", gantry_deg=g, collimator_deg=c, couch_deg=s, machine=machine, isocenter_RAS_mm=isocenter
        )
        for n, (g, c, s) in enumerate(angles, 1)
    )
    return Plan("P", beams, dose_grid_spacing_mm=spacing)


def square(half=4, width=5.0, beam=None, machine="generic_6mv"):
    """Bixels of a square field of 2 half x 2 half bixels about the axis, for a beam of a plan."""
    at = (np.arange(-half, half) + 0.5) * width
    x, y = (v.ravel() for v in np.meshgrid(at, at))
    angles = (0.0, 0.0, 0.0) if beam is None else vars(beam.control_points[0]).values()
    gantry, collimator, couch = list(angles)[:3]
    isocenter = (0.0, 0.0, 0.0) if beam is None else beam.isocenter_RAS_mm
    return BixelBeam("Beam 1", gantry, collimator, couch, isocenter, machine, width, x, y)


def smooth(beams):
    """Weights that vary as a leaf sequence would: a ramp with a hill."""
    parts = []
    for beam in beams:
        parts.append(50 + 30 * np.sin(beam.x_mm / 17.0 + 1) * np.cos(beam.y_mm / 23.0) + 0.3 * beam.x_mm)
    return np.concatenate(parts)


CASES = [
    ("water", "generic_6mv", ((0, 0, 0),)),
    ("lung", "generic_6mv", ((0, 0, 0), (90, 0, 0))),
    ("lung", "generic_6mv", ((35, 20, 0), (130, 70, 25), (290, 0, -60))),
    ("lung", "generic_15mv", ((35, 20, 15),)),
    ("lung", "ideal_6mv", ((200, 45, 330),)),
    ("water", "generic_6mv_fff", ((60, 0, 0),)),
]


@pytest.mark.parametrize(("kind", "machine", "angles"), CASES)
def test_matrix_times_weights_is_the_forward_dose(kind, machine, angles):
    """A smooth fluence on the bixels of a target: within 0.5 % of the largest dose in every voxel of the body."""
    patient, plan = phantom(kind), plan_of(*angles, machine=machine)
    influence = ENGINE.calculate_influence(patient, plan, target="Target")
    weights = smooth(influence.beams)
    forward, grid = ENGINE.calculate_fluence_dose(patient, plan, influence.beams, weights)
    assert grid.is_same_as(influence.grid)
    assert influence.voxels.size == np.count_nonzero(forward)
    error = np.abs(influence.dose(weights) - forward).max() / forward.max()
    print(f"{kind} {machine}: {100 * error:.3f} %, {influence.cutoff_error}")
    assert error < 0.005


@pytest.mark.parametrize("kind", ["water", "lung"])
@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 30, 20)])
def test_open_bixels_are_an_aperture_of_the_forward_engine(kind, angles):
    """An ideal machine, 40 x 40 mm: bixels of weight one against jaws at the same edges, 0.5 % of the maximum."""
    patient, plan = phantom(kind), plan_of(angles, machine="ideal_6mv")
    open_field = Beam.open_field(
        gantry_deg=angles[0], collimator_deg=angles[1], couch_deg=angles[2], machine="ideal_6mv",
        jaw_x_mm=(-20, 20), jaw_y_mm=(-20, 20), meterset_MU=1.0,
    )  # fmt: skip
    bixels = square(beam=open_field, machine="ideal_6mv")
    influence = ENGINE.calculate_influence(patient, plan, bixels=[bixels])
    forward = ENGINE.calculate_dose(patient, Plan("P", (open_field,)), influence.grid).dose_Gy
    error = np.abs(influence.dose(np.ones(bixels.size)) - forward).max() / forward.max()
    assert error < 0.005


def test_every_entry_kept_sums_to_the_open_field_and_gathering_changes_little():
    """Cut-off 0 keeps voxels x bixels entries; with the default each voxel's sum stays within 0.1 %."""
    patient, plan = phantom("lung", 60.0), plan_of((20, 10, 0))
    bixels = [square(half=5, beam=plan.beams[0])]
    every = ENGINE.calculate_influence(patient, plan, bixels=bixels, cutoff=0.0)
    some = ENGINE.calculate_influence(patient, plan, bixels=bixels)
    assert every.matrix.nnz == every.matrix.shape[0] * every.matrix.shape[1]
    assert every.cutoff_error["dropped_share"] == pytest.approx(0.0, abs=1e-6)
    assert some.matrix.nnz < 0.7 * every.matrix.nnz
    ones = np.ones(100, np.float32)
    whole, gathered = every.matrix @ ones, some.matrix @ ones
    local = np.abs(gathered - whole).max() / whole.max()
    assert local < 0.001
    # what the result says of itself is what it is
    assert some.cutoff_error["largest_local_error"] == pytest.approx(local, rel=0.5, abs=2e-6)
    assert some.cutoff_error["dropped_share"] == pytest.approx(1 - gathered.sum() / whole.sum(), abs=2e-5)
    # entries above the cut-off are all there and the same
    dense, thin = every.matrix.toarray(), some.matrix.toarray()
    large = dense > 1e-3 * dense.max()
    assert np.allclose(thin[large], dense[large], rtol=1e-5)
    # a gathered entry stands for others, and is itself about as small as the cut-off
    gathered_entries = (thin > 0) & ~np.isclose(thin, dense, rtol=1e-4)
    assert gathered_entries.any()
    assert thin[gathered_entries].max() < 1.5e-3 * dense.max()


def test_gathered_entries_keep_every_bixel_its_share():
    """Mean dose of each bixel to a small structure: within 2 % of the largest of what all entries give."""
    patient, plan = phantom("water", 72.0), plan_of((0, 0, 0))
    bixels = [square(half=6, beam=plan.beams[0])]
    means = []
    for cutoff in (0.0, 1e-3):
        influence = ENGINE.calculate_influence(patient, plan, bixels=bixels, cutoff=cutoff)
        rows = influence.rows_of(patient.structure("Organ"))
        assert rows.size > 20
        means.append(np.asarray(influence.matrix[rows].mean(axis=0)))
    assert np.abs(means[1] - means[0]).max() / means[0].max() < 0.02


def test_a_bixel_has_its_width():
    """One bixel in water: half of the dose at its middle lies half a bixel away at the isocentre, symmetrically."""
    patient, plan = phantom("water", 60.0), plan_of((0, 0, 0), machine="ideal_6mv")
    fine = Grid.from_spacing((1, 1, 81), 0.5, (-20.0, 0.0, 0.0))
    wide = BixelBeam("Beam 1", 0, 0, 0, (0, 0, 0), "ideal_6mv", 20.0, [0.0], [0.0], (-10.0, -10.0))
    dose = ENGINE.calculate_influence(patient, plan, bixels=[wide], grid=fine, cutoff=0.0).dose([1.0])[0, 0]
    assert np.allclose(dose, dose[::-1], rtol=1e-4)
    at = np.arange(81) * 0.5 - 20.0
    edge = np.interp(-dose[40] / 2, -dose[40:], at[40:])
    assert edge == pytest.approx(10.0, abs=0.3)


def test_opposed_and_turned_beams_see_the_same():
    """A cube of water with beams from four sides: the same entries in turned places."""
    patient, plan = phantom("water", 60.0), plan_of((0, 0, 0), (90, 0, 0), (180, 0, 0), (270, 0, 0))
    bixels = [square(half=3, beam=beam) for beam in plan.beams]
    influence = ENGINE.calculate_influence(patient, plan, bixels=bixels, cutoff=0.0)
    doses = []
    for part in influence.beam_slices():
        weights = np.zeros(influence.bixels)
        weights[part] = 1.0
        doses.append(influence.dose(weights))
    largest = doses[0].max()
    # arrays are [S, A, R]: gantry 0 comes from +A, 90 from the patient's left (-R), and so on round
    assert np.abs(doses[2] - doses[0][:, ::-1]).max() / largest < 2e-3
    assert np.abs(doses[3] - doses[1][:, :, ::-1]).max() / largest < 2e-3
    assert np.abs(doses[3] - np.swapaxes(doses[0], 1, 2)).max() / largest < 2e-3


def test_the_matrix_does_not_depend_on_the_number_of_threads():
    """The same bits with one thread and two."""
    patient, plan = phantom("lung", 60.0), plan_of((30, 0, 0), (100, 0, 0))
    before = numba.get_num_threads()
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        results.append(ENGINE.calculate_influence(patient, plan, target="Target"))
    numba.set_num_threads(before)
    one, two = (result.matrix for result in results)
    assert np.array_equal(one.indptr, two.indptr)
    assert np.array_equal(one.indices, two.indices)
    assert np.array_equal(one.data, two.data)
    assert results[0].cutoff_error == results[1].cutoff_error


def test_the_matrix_is_a_proper_csc_array():
    """float32 and int32, rows ascending in every column, nothing twice, nothing negative."""
    patient, plan = phantom("lung", 60.0), plan_of((30, 0, 0), (100, 0, 0))
    matrix = ENGINE.calculate_influence(patient, plan, target="Target").matrix
    assert matrix.data.dtype == np.float32
    assert matrix.indices.dtype == np.int32
    assert matrix.indptr.dtype == np.int32
    matrix.check_format(full_check=True)
    step = np.diff(matrix.indices)
    starts = np.zeros(step.size, bool)
    starts[matrix.indptr[1:-1] - 1] = True
    assert (step[~starts] > 0).all()
    assert np.isfinite(matrix.data).all()
    assert matrix.data.min() >= 0


def test_bixels_cover_the_target_and_its_margin():
    """A ball of 30 mm radius: bixels from -35 to 35 mm and a little more, none far; a wider margin adds some."""
    patient, plan = phantom(), plan_of((0, 0, 0))
    influence = ENGINE.calculate_influence(patient, plan, target="Target", structures=["Target"])
    beam = influence.beams[0]
    reach = np.hypot(beam.x_mm, beam.y_mm)
    assert 34 <= np.abs(beam.x_mm).max() + 2.5 <= 45
    assert reach.max() < 50
    wider = ENGINE.calculate_influence(patient, plan, target="Target", structures=["Target"], target_margin_mm=12)
    assert wider.bixels > 1.3 * influence.bixels
    half = ENGINE.calculate_influence(patient, plan, target="Target", structures=["Target"], bixel_mm=2.5)
    assert half.beams[0].width_mm == 2.5
    assert np.allclose(half.beams[0].x_mm % 2.5, 1.25)


def test_chosen_structures_and_sampled_normal_tissue():
    """Structures alone give their voxels; the rest of the body, sampled, carries the weight of what it stands for."""
    patient, plan = phantom("water", 60.0), plan_of((0, 0, 0))
    target = patient.structure("Target")
    alone = ENGINE.calculate_influence(patient, plan, target="Target", structures=["Target"])
    assert alone.voxels.size == np.count_nonzero(target.mask)
    assert np.array_equal(alone.rows_of(target), np.arange(alone.voxels.size))
    chosen = {"target": "Target", "structures": ["Target"]}
    sampled = ENGINE.calculate_influence(patient, plan, normal_tissue_every=3, **chosen)
    assert sampled.voxel_weights.sum() == np.count_nonzero(patient.body)
    assert sampled.voxels.size < 0.2 * patient.grid.size
    assert (sampled.voxel_weights[sampled.rows_of(target)] == 1).all()
    # a row of the sample is the row of all
    every = ENGINE.calculate_influence(patient, plan, target="Target")
    places = np.searchsorted(every.voxels, sampled.voxels)
    assert np.array_equal(every.voxels[places], sampled.voxels)
    ones = np.ones(every.bixels, np.float32)
    row_sums = every.matrix @ ones
    assert np.allclose(row_sums[places], sampled.matrix @ ones, atol=5e-4 * row_sums.max())
    # and the sample's integral dose that of the body
    assert (sampled.matrix @ ones * sampled.voxel_weights).sum() == pytest.approx(row_sums.sum(), rel=0.05)
    mask = np.zeros(patient.grid.shape, bool)
    mask[10, 10, 8:12] = True
    few = ENGINE.calculate_influence(patient, plan, target="Target", mask=mask)
    assert np.array_equal(few.voxels, np.flatnonzero(mask))


def test_refusals_say_what_to_do():
    """What cannot be served is refused with a remedy."""
    patient, plan = phantom("water", 60.0), plan_of((0, 0, 0))
    with pytest.raises(EngineError, match="raise max_memory_GB"):
        ENGINE.calculate_influence(patient, plan, target="Target", max_memory_GB=0.001)
    with pytest.raises(EngineError, match="cut-off must lie"):
        ENGINE.calculate_influence(patient, plan, target="Target", cutoff=0.5)
    with pytest.raises(EngineError, match="Name the target"):
        ENGINE.calculate_influence(patient, plan)
    with pytest.raises(PatientError, match="no structure"):
        ENGINE.calculate_influence(patient, plan, target="Nothing")
    with pytest.raises(PlanError, match="at least 1 mm"):
        ENGINE.calculate_influence(patient, plan, target="Target", bixel_mm=0.2)
    with pytest.raises(EngineError, match="needs structures"):
        ENGINE.calculate_influence(patient, plan, target="Target", normal_tissue_every=2)
    with pytest.raises(EngineError, match="another direction"):
        ENGINE.calculate_influence(patient, plan, bixels=[square(beam=plan_of((90, 0, 0)).beams[0])])
    with pytest.raises(EngineError, match="every beam"):
        ENGINE.calculate_influence(patient, plan, bixels=[])
    points = [Beam.open_field(gantry_deg=g).control_points[n] for n, g in enumerate((0.0, 8.0))]
    arc = Plan("P", (Beam("Arc", tuple(points), (0, 0, 0), meterset_MU=1.0),))
    with pytest.raises(PlanError, match="rotates"):
        ENGINE.calculate_influence(patient, arc, target="Target")
    grid = Grid.from_spacing((3, 3, 3), 5.0, (500.0, 0, 0))
    with pytest.raises(EngineError, match="does not meet the body"):
        ENGINE.calculate_influence(patient, plan, target="Target", grid=grid)


def test_an_engine_without_influence_says_so():
    """The registry tells, the engine refuses and names one that has it."""
    has = {info.label: info.has_influence for info in available_engines()}
    assert has["photon-pencil-beam"]
    assert not has["photon-collapsed-cone"]
    with pytest.raises(EngineError, match="photon-pencil-beam"):
        create_engine("photon-collapsed-cone").calculate_influence(phantom(), plan_of((0, 0, 0)), target="Target")


def test_progress_rises_and_can_cancel():
    """Fractions rise to one; a callback that raises stops the work."""
    patient, plan = phantom("water", 60.0), plan_of((0, 0, 0), (90, 0, 0))
    seen = []
    ENGINE.calculate_influence(patient, plan, target="Target", progress=lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction, text):
        if fraction > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        ENGINE.calculate_influence(patient, plan, target="Target", progress=stop)


def test_bixels_are_an_mlc_field_of_the_generic_linac():
    """10 x 10 cm by leaves and jaws, all of the head in the forward engine: within 0.5 % of the maximum across leaf
    ends, within 2 % past the jaws along Y, which stand higher than leaves and let more of the extra-focal source by.

    Rounded leaf ends, which a bixel has not, are taken off the tips; jaws stand where a side of a leaf would.
    """
    patient, plan = phantom("water", 90.0), plan_of((0, 0, 0))
    mlc = load_machine("generic_6mv").mlc
    sides = np.array(mlc.boundaries_mm)
    middle = (sides[:-1] + sides[1:]) / 2
    tip = 50.0 - mlc.leaf_end_offset_mm
    leaves = tuple((-tip, tip) if abs(y) < 55 else (0.0, 0.0) for y in middle)
    influence = ENGINE.calculate_influence(patient, plan, bixels=[square(half=10, beam=plan.beams[0])])
    bixels = influence.dose(np.ones(influence.bixels))
    beam = Beam.static_field("Beam 1", Aperture((-50, 50), (-50, 50), leaves), meterset_MU=1.0)
    real = ENGINE.calculate_dose(patient, Plan("P", (beam,)), influence.grid).dose_Gy
    error = (bixels - real) / real.max()
    print(f"bixels against the MLC field: {100 * error.min():.2f}..{100 * error.max():.2f} % of the maximum")
    assert bixels[15, :, 15] == pytest.approx(real[15, :, 15], rel=0.003)
    assert np.abs(error[14:16]).max() < 0.005
    assert np.abs(error).max() < 0.02


def test_jaws_stand_around_the_bixels():
    """A machine without head parts has no factors; the generic one loses extra-focal light in a small field."""
    from DoseEngineLib.photon.modulated_fluence import jaw_factors

    ideal = square(machine="ideal_6mv")
    assert jaw_factors(ideal, load_machine("ideal_6mv")) == (1.0, 1.0)
    machine = load_machine("generic_6mv")
    small, large = (jaw_factors(square(half=half), machine) for half in (2, 30))
    assert 0.95 < small[0] < large[0] <= 1.0
    assert 0.1 < small[1] < large[1] <= 1.0
    outside = BixelBeam("B", 0, 0, 0, (0, 0, 0), "generic_6mv", 5.0, [302.5], [2.5])
    with pytest.raises(EngineError, match="beyond the jaws"):
        jaw_factors(outside, machine)
