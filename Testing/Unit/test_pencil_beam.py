"""The photon pencil-beam engine: geometry, absolute dose, bookkeeping, refusals."""

from __future__ import annotations

import json

import numba
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.engine import available_engines, create_engine, register_engine, unregister_engine
from DoseEngineLib.errors import (
    Cancelled,
    EngineError,
    EngineUnavailableError,
    GeometryError,
    MachineError,
    PatientError,
    PlanError,
)
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import load_machine
from DoseEngineLib.normalization import dose_at_points
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.water_dose import axis_dose_in_water, photons_per_cm2_per_MU
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription, Structure

ENGINE = create_engine("photon-pencil-beam")


def water_box(half_mm=(150, 150, 150), voxel=5.0, directions=None):
    """Water box about the origin, its grid along the given directions."""
    shape = tuple(int(2 * h / voxel) for h in half_mm[::-1])
    directions = np.eye(3) if directions is None else directions
    first = -directions @ ((np.array(shape[::-1]) - 1) / 2 * voxel)
    grid = Grid.from_spacing(shape, voxel, first, directions)
    return Patient.from_density(np.ones(shape, np.float32), grid)


def water_sphere(radius_mm=110.0, voxel=4.0, directions=None):
    """Water sphere about the origin."""
    box = water_box((radius_mm + 8,) * 3, voxel, directions)
    inside = (box.grid.centres_RAS_mm() ** 2).sum(axis=-1) <= radius_mm**2
    return Patient.from_density(inside.astype(np.float32), box.grid)


def one_beam(**options):
    return Plan("P", (Beam.open_field(**options),))


def edges_along(result, frame, centre, axis, reach=90.0):
    """Both positions in the isocentre plane where the dose falls to half of that at ``centre``."""
    at = np.arange(-reach, reach + 0.01, 0.25)
    points = np.zeros((at.size, 3))
    points[:, :2] = centre
    points[:, axis] = at
    dose = dose_at_points(result.dose_Gy, result.grid, frame.to_ras(points))
    half = dose_at_points(result.dose_Gy, result.grid, frame.to_ras([[*centre, 0.0]]))[0] / 2
    inside = np.flatnonzero(dose >= half)
    low, high = inside[0], inside[-1]
    left = np.interp(half, dose[low - 1 : low + 1], at[low - 1 : low + 1])
    right = np.interp(-half, -dose[high : high + 2], at[high : high + 2])
    return left, right


# 24 combinations: gantry, collimator, couch, patient position; every third dose and CT grid oblique
COMBINATIONS = [
    (0, 0, 0, "HFS"), (90, 0, 0, "HFS"), (180, 0, 0, "HFS"), (270, 0, 0, "HFS"), (0, 90, 0, "HFS"), (0, 0, 90, "HFS"),
    (90, 45, 0, "HFS"), (45, 30, 20, "HFS"), (135, -30, -20, "HFS"), (225, 60, 45, "HFS"), (315, 10, -60, "HFS"),
    (30, 0, 90, "HFS"), (60, 90, 270, "HFS"), (200, 175, 10, "HFS"), (300, 300, 300, "HFS"), (20, 45, 0, "HFP"),
    (110, 0, 30, "HFP"), (250, 90, -45, "HFP"), (20, 45, 0, "FFS"), (110, 0, 30, "FFS"), (250, 90, -45, "FFS"),
    (20, 45, 0, "FFP"), (110, 0, 30, "FFP"), (250, 90, -45, "FFP"),
]  # fmt: skip


@pytest.mark.parametrize(("gantry", "collimator", "couch", "position"), COMBINATIONS)
def test_field_edges_within_half_a_millimetre(gantry, collimator, couch, position):
    """Asymmetric field, X -20..35, Y -45..15 mm: half of the dose at its centre lies within 0.5 mm of each jaw."""
    index = COMBINATIONS.index((gantry, collimator, couch, position))
    turn = Rotation.from_euler("zyx", (17.0 * index, 9.0 * index, -13.0 * index), degrees=True).as_matrix()
    patient = water_sphere(directions=turn if index % 3 == 0 else None)
    dose_grid = water_box((62, 62, 62), 2.0, turn.T if index % 3 == 0 else None).grid
    jaws = (-20.0, 35.0), (-45.0, 15.0)
    beam = Beam.open_field(
        gantry_deg=gantry, collimator_deg=collimator, couch_deg=couch, jaw_x_mm=jaws[0], jaw_y_mm=jaws[1]
    )
    result = ENGINE.calculate_dose(patient, Plan("P", (beam,), patient_position=position), dose_grid)
    frame = beam.frame(position)
    centre = (7.5, -15.0)
    for axis in (0, 1):
        assert edges_along(result, frame, centre, axis, 60.0) == pytest.approx(jaws[axis], abs=0.5)


def test_an_open_square_field_is_square():
    """Jaws as set, no target shapes them: a 10 cm field has four edges at 50 mm."""
    result = ENGINE.calculate_dose(water_box(), one_beam(), water_box((70, 70, 70), 2.5).grid)
    frame = Beam.open_field().frame("HFS")
    for axis in (0, 1):
        assert edges_along(result, frame, (0, 0), axis, 65) == pytest.approx((-50, 50), abs=0.5)


def test_one_MU_is_one_centigray_at_the_reference_condition():
    """Generic linac: SSD 100 cm, 1.5 cm deep, 10 x 10 cm: 1 cGy/MU within 0.3 % in the engine's own water tank."""
    patient = water_box((200, 150, 200), 5.0)
    plan = one_beam(isocenter_RAS_mm=(0, 150, 0), meterset_MU=100.0)
    grid = Grid.from_spacing((3, 3, 3), 1.0, (-1, 134, -1))
    assert ENGINE.calculate_dose(patient, plan, grid).dose_Gy[1, 1, 1] == pytest.approx(1.0, rel=3e-3)


@pytest.mark.parametrize("machine", ["ideal_6mv", "generic_6mv"])
@pytest.mark.parametrize(("field", "depth"), [(30, 50), (100, 100), (200, 30)])
def test_the_volume_calculation_agrees_with_its_closed_form(machine, field, depth):
    """On the axis of square fields: the engine in a voxel phantom against error functions, 0.5 %."""
    patient = water_box((200, 150, 200), 5.0)
    plan = one_beam(
        isocenter_RAS_mm=(0, 50, 0), machine=machine, jaw_x_mm=(-field / 2, field / 2),
        jaw_y_mm=(-field / 2, field / 2), meterset_MU=1.0,
    )  # fmt: skip
    grid = Grid.from_spacing((3, 3, 3), 1.0, (-1, 150 - depth - 1, -1))
    dose = ENGINE.calculate_dose(patient, plan, grid).dose_Gy[1, 1, 1]
    model = load_machine(machine)
    expected = axis_dose_in_water(model, 900, depth, (field, field)) * photons_per_cm2_per_MU(model)
    assert dose == pytest.approx(expected, rel=5e-3)


def test_inverse_square_law():
    """The same depth and field at the surface, 20 cm further away: fluence falls as distance squared, within 1 %."""
    patient = water_box((150, 100, 150), 5.0)
    doses = []
    for distance, jaw in ((900.0, 60.0), (1100.0, 60.0 * 900 / 1100)):
        # jaws scaled so that the field in the phantom is the same; transmission kept out of it
        isocentre = 100 + distance - 1000
        plan = one_beam(isocenter_RAS_mm=(0, isocentre, 0), jaw_x_mm=(-jaw, jaw), jaw_y_mm=(-jaw, jaw),
                        machine="ideal_6mv", meterset_MU=1.0)  # fmt: skip
        engine = create_engine("photon-pencil-beam", allow_isocenter_outside=True)
        doses.append(engine.calculate_dose(patient, plan, Grid.from_spacing((1, 1, 1), 1.0, (0, 50, 0))).dose_Gy.item())
    assert doses[0] / doses[1] == pytest.approx((1150 / 950) ** 2, rel=0.01)


def test_opposed_beams_are_mirror_images():
    """Two opposed equal beams on a symmetric phantom: dose symmetric about the middle to 0.2 % of the maximum."""
    beams = tuple(Beam.open_field(f"G{g}", gantry_deg=g) for g in (0, 180))
    result = ENGINE.calculate_dose(water_box((100, 100, 100)), Plan("P", beams), water_box((80, 98, 80), 4.0).grid)
    assert np.abs(result.dose_Gy - result.dose_Gy[:, ::-1, :]).max() < 2e-3 * result.dose_Gy.max()


def test_rotating_patient_and_beam_together_changes_nothing():
    """A couch turn and the same turn of the phantom give the same dose along the beam within 0.5 %."""
    reference = ENGINE.calculate_dose(water_box((120, 80, 160)), one_beam(gantry_deg=30), None)
    turn = Rotation.from_euler("y", -35, degrees=True).as_matrix()  # A is vertical: couch angle 35
    patient = water_box((120, 80, 160), directions=turn)
    turned = ENGINE.calculate_dose(patient, one_beam(gantry_deg=30, couch_deg=35), None)
    other_way = ENGINE.calculate_dose(patient, one_beam(gantry_deg=30, couch_deg=-35), None)
    top = reference.dose_Gy.max()
    assert np.abs(turned.dose_Gy - reference.dose_Gy).max() < 5e-3 * top
    assert np.abs(other_way.dose_Gy - reference.dose_Gy).max() > 0.1 * top


def test_mlc_and_jaws_form_the_same_field_but_for_head_scatter():
    """The same field by leaves in wider jaws: 1 to 4 % more dose as more extra-focal source is seen."""
    jaws = Aperture((-30, 30), (-40, 40))
    leaves = Aperture((-60, 60), (-60, 60), tuple((-30.0, 30.0) if 22 <= n < 38 else (0.0, 0.0) for n in range(60)))
    grid = water_box((50, 4, 50), 2.0).grid
    doses = [
        ENGINE.calculate_dose(water_box(), Plan("P", (Beam.static_field("B", aperture),)), grid).dose_Gy
        for aperture in (jaws, leaves)
    ]
    core = np.s_[10:40, :, 15:35]
    ratio = doses[1][core] / doses[0][core]
    assert 1.01 < ratio.mean() < 1.04
    assert ratio == pytest.approx(ratio.mean(), rel=0.01)


def test_an_arc_on_a_cylinder_is_round():
    """A full arc in 36 steps: the dose on a ring about the axis varies by less than 1 %."""
    box = water_box((100, 100, 60), 4.0)
    centres = box.grid.centres_RAS_mm()
    density = (np.hypot(centres[..., 0], centres[..., 1]) <= 90).astype(np.float32)
    patient = Patient.from_density(density, box.grid)
    points = tuple(ControlPoint(10.0 * n % 360, cumulative_meterset_weight=n / 36) for n in range(37))
    plan = Plan("Arc", (Beam("Arc", points, (0, 0, 0), meterset_MU=100.0),))
    result = ENGINE.calculate_dose(patient, plan, water_box((60, 60, 3), 2.0).grid)
    angle = np.radians(np.arange(0, 360, 15) + 5)
    ring = np.stack((30 * np.cos(angle), 30 * np.sin(angle), np.zeros_like(angle)), axis=1)
    dose = dose_at_points(result.dose_Gy, result.grid, ring)
    assert np.ptp(dose) / dose.mean() < 0.01


def test_results_do_not_depend_on_the_number_of_threads():
    """The same bits with one thread and two."""
    patient, plan = water_box((80, 80, 80)), one_beam(gantry_deg=40)
    before = numba.get_num_threads()
    doses = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        doses.append(ENGINE.calculate_dose(patient, plan).dose_Gy)
    numba.set_num_threads(before)
    assert np.array_equal(*doses)


def test_jit_agrees_with_plain_python():
    """The voxel loop interpreted by Python gives the compiled result to rounding."""
    from DoseEngineLib.photon import pencil_beam

    rng = np.random.default_rng(3)
    sizes = dict(depth=rng.random((4, 4, 4)).astype(np.float32) * 30, first=np.array([-20.0, -20, 990]),
                 step=np.array([15.0, 15, 10]), table=rng.random((100, 2)), live=np.ones(100, bool),
                 kernel_sigma=np.array([1.0, 9.0]), reaches=np.array([6.0, 22.0]),
                 values=rng.random(12 * 64).astype(np.float32), offset=np.arange(12) * 64, half=np.full(12, 4),
                 pixel=4.0 + np.arange(12.0), level_sigma=2.0 ** (np.arange(12) / 2))  # fmt: skip
    rest = dict(sharp=True, sad=1000.0, source_sigma=0.7, collimation=500.0, source_distance=0.0,
                softening=np.array([1e-3, 2e-3]), photons=1e9)  # fmt: skip
    inside = np.ones((3, 3, 3), bool)
    results = []
    for function in (pencil_beam._accumulate, pencil_beam._accumulate.py_func):
        dose = np.zeros((3, 3, 3), np.float32)
        function(dose, inside, np.diag([3.0, 3.0, 3.0, 1.0]), **sizes, **rest)
        results.append(dose)
    assert results[0].max() > 0
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_beam_doses_add_up_scale_with_MU_and_fractions_and_carry_provenance():
    beams = (Beam.open_field("A", meterset_MU=50), Beam.open_field("B", gantry_deg=90, meterset_MU=150))
    patient = water_box((80, 80, 80))
    one = ENGINE.calculate_dose(patient, Plan("P", beams, dose_grid_spacing_mm=5.0))
    ten = ENGINE.calculate_dose(
        patient, Plan("P", beams, Prescription(20, 10, normalization="none"), dose_grid_spacing_mm=5.0)
    )
    assert sum(one.beam_doses_Gy.values()) == pytest.approx(one.dose_Gy, rel=1e-5)
    assert ten.dose_Gy == pytest.approx(10 * one.dose_Gy, rel=1e-5)
    assert one.dose_to == "water"
    assert json.loads(json.dumps(one.provenance))["plan_hash"] == one.plan.hash()
    assert one.provenance["engine"] == "photon-pencil-beam"
    assert one.provenance["does_not_model"]


def target(patient, radius=25.0):
    inside = (patient.grid.centres_RAS_mm() ** 2).sum(axis=-1) <= radius**2
    return Structure("PTV", inside, patient.grid, "PTV")


@pytest.mark.parametrize("normalization", ["point", "mean", "D50", "D95"])
def test_weights_are_scaled_to_the_prescription(normalization):
    """A plan without MU: the metric the prescription names equals its dose, and delivering those MU gives it again."""
    phantom = water_box((100, 100, 100))
    patient = Patient.from_density(phantom.density_g_cm3, phantom.grid, structures=[target(phantom)])
    beams = tuple(
        Beam.open_field(f"G{g}", gantry_deg=g, meterset_MU=None, weight=w) for g, w in ((0, 1.0), (90, 2.0), (200, 0.5))
    )
    plan = Plan("P", beams, Prescription(50, 25, "PTV", normalization), dose_grid_spacing_mm=5.0)
    result = ENGINE.calculate_dose(patient, plan)
    dvh = calculate_dvh(result.dose_Gy, result.grid, patient.structure("PTV"))
    value = {
        "point": dose_at_points(result.dose_Gy, result.grid, np.zeros((1, 3)))[0],
        "mean": dvh.mean_Gy,
        "D50": dvh.dose_at_volume_percent(50),
        "D95": dvh.dose_at_volume_percent(95),
    }[normalization]
    assert value == pytest.approx(50.0, rel=1e-4)
    metersets = [beam.meterset_MU for beam in result.plan.beams]
    assert metersets[1] / metersets[0] == pytest.approx(2.0)
    again = ENGINE.calculate_dose(patient, result.plan)
    assert again.dose_Gy == pytest.approx(result.dose_Gy, rel=1e-4)
    assert normalization in result.provenance["normalization"] or normalization == "point"


def test_dose_at_points_holds_to_the_faces_of_the_grid():
    grid = Grid.from_spacing((2, 2, 2), 2.0)
    points = [[-0.99, 0, 0], [2.9, 2.9, 2.9], [1, 1, 1], [-1.1, 0, 0]]
    assert dose_at_points(np.full(grid.shape, 3.0), grid, np.array(points)) == pytest.approx([3, 3, 3, 0])


def test_outside_the_body_there_is_no_dose_and_none_is_negative():
    patient = water_sphere(60)
    result = ENGINE.calculate_dose(patient, one_beam(), patient.grid)
    assert result.dose_Gy[~patient.body].max() == 0
    assert result.dose_Gy.min() >= 0
    assert np.isfinite(result.dose_Gy).all()


def test_the_default_grid_covers_the_body_at_the_plans_spacing():
    patient = water_sphere(60)
    result = ENGINE.calculate_dose(patient, one_beam())
    assert result.grid.spacing_mm == pytest.approx([2.5] * 3)
    assert result.grid.contains(patient.grid.centres_RAS_mm()[patient.body]).all()


def test_cancelling_stops_the_work():
    def stop(fraction, text):
        raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        ENGINE.calculate_dose(water_box((50, 50, 50)), one_beam(), progress=stop)


def test_what_cannot_be_computed_says_so():
    patient = water_box((60, 60, 60))
    far = Grid.from_spacing((4, 4, 4), 2.0, (500, 0, 0))
    huge = Grid.from_spacing((3000, 3000, 3000), 0.1)
    leap = Beam("Arc", (ControlPoint(0), ControlPoint(90, cumulative_meterset_weight=1)), (0, 0, 0), meterset_MU=1)
    for error, plan, grid, says in [
        (PlanError, one_beam(isocenter_RAS_mm=(0, 61, 0)), None, "lies outside the image"),
        (EngineError, one_beam(), far, "does not meet the body"),
        (EngineError, one_beam(), huge, "coarser grid"),
        (EngineError, Plan("P", (leap,)), None, "add control points"),
        (MachineError, one_beam(machine="linac"), None, "no machine 'linac'"),
        (PlanError, one_beam(jaw_x_mm=(-300, 0)), None, "exceed the travel"),
    ]:
        with pytest.raises(error, match=says):
            ENGINE.calculate_dose(patient, plan, grid)
    weighted = (Beam.open_field(meterset_MU=None),)
    for prescription, error, says in [
        (Prescription(50, target="PTV", normalization="D95"), PatientError, "no structure 'PTV'"),
        (Prescription(50, point_RAS_mm=(0, 500, 0)), PlanError, "outside the dose grid"),
    ]:
        with pytest.raises(error, match=says):
            ENGINE.calculate_dose(patient, Plan("P", weighted, prescription))
    with pytest.raises(GeometryError, match="from the radiation source"):
        ENGINE.calculate_dose(water_box((60, 800, 60), 20.0), one_beam())
    with pytest.raises(EngineError, match="max_memory_GB"):
        create_engine("photon-pencil-beam", max_memory_GB=0)


def test_the_registry_lists_engines_and_says_why_not():
    assert "photon-pencil-beam" in [info.label for info in available_engines() if info.available]
    with pytest.raises(EngineUnavailableError, match=r"choose one of: .*photon-pencil-beam"):
        create_engine("monte-carlo")
    with pytest.raises(EngineError, match="registered already"):
        register_engine("photon-pencil-beam", "Again", "x", "Y")
    register_engine("test-missing", "Needs something", "x", "Y", requires=("no_such_package_anywhere",))
    try:
        (info,) = [info for info in available_engines() if info.label == "test-missing"]
        assert not info.available
        assert "pip install no_such_package_anywhere" in info.reason
        with pytest.raises(EngineUnavailableError, match="no_such_package_anywhere"):
            create_engine("test-missing")
    finally:
        unregister_engine("test-missing")
    with pytest.raises(EngineUnavailableError):
        unregister_engine("test-missing")
