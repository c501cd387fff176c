"""The built-in sample cases against the sizes they claim."""

import math

import numpy as np
import pytest
from scipy import ndimage

from DoseEngineLib.calibration import default_calibration
from DoseEngineLib.errors import CaseError
from DoseEngineLib.patient import Patient
from RTPlanningLib.evaluation.goals import parse_goal
from RTPlanningLib.samples import available_samples, load_sample, sample_plan
from RTPlanningLib.samples.solids import margin_around, sphere
from RTPlanningLib.samples.tg119 import prostate_ctv

NAMES = [name for name, _, _ in available_samples()]

_BALL = 4 * math.pi / 3


@pytest.fixture(scope="module")
def cases():
    """Every sample, made once."""
    return {name: load_sample(name) for name in NAMES}


def test_the_catalogue_lists_what_the_report_defines():
    assert NAMES == [
        "tg119-multitarget",
        "tg119-prostate",
        "tg119-headneck",
        "tg119-cshape",
        "thorax",
        "water-tank",
    ]
    for name, title, description in available_samples():
        assert title, name
        assert "chosen by us" in description.lower(), name


def test_an_unknown_name_lists_the_known_ones():
    for ask in (load_sample, sample_plan):
        with pytest.raises(CaseError, match=r"'tg119-horseshoe'.*tg119-cshape.*water-tank"):
            ask("tg119-horseshoe")


@pytest.mark.parametrize("spacing", [0.1, -2.0, 50.0, float("nan"), "fine", (1.0, 2.0)])
def test_a_useless_spacing_is_refused(spacing):
    with pytest.raises(CaseError, match="spacing"):
        load_sample("tg119-cshape", spacing)


def test_a_spacing_too_coarse_for_a_structure_names_it():
    # voxel centres 10 mm apart straddle the 11 mm cord only if the grid happens to meet it
    with pytest.raises(CaseError, match="SpinalCord"):
        load_sample("thorax", (10.0, 10.0, 10.0))


@pytest.mark.parametrize("name", NAMES)
def test_every_case_is_complete_and_ready_to_plan(cases, name):
    case, plan = cases[name], sample_plan(name)
    assert case.patient_position == "HFS"
    assert case.hu.dtype == np.int16
    assert case.structure(plan.target).role == "PTV"
    assert plan.dose_Gy > 0
    assert plan.fractions > 0
    # a point normalizes where it lies in the target alone
    target = case.structure(plan.target)
    i, j, k = (round(float(v)) for v in target.grid.ras_to_index(target.centroid_RAS_mm()))
    assert plan.normalization == ("point" if target.mask[k, j, i] else "D95")
    assert 1.7 <= plan.dose_Gy / plan.fractions <= 2.1
    external = [s for s in case.structures if s.role == "EXTERNAL"]
    assert [s.name for s in external] == ["External"]
    for structure in case.structures:
        assert not (structure.mask & ~external[0].mask).any(), f"{structure.name} leaves the body"
    assert (case.hu[~external[0].mask] == -1000).all()
    assert case.goals
    for text in case.goals:
        case.structure(parse_goal(text).structure)


@pytest.mark.parametrize(
    ("name", "structure", "volume_cm3"),
    [
        ("tg119-multitarget", "External", 18000.0),
        ("tg119-multitarget", "PTV_Central", math.pi * 2.0**2 * 4.0),
        ("tg119-multitarget", "PTV_Superior", math.pi * 2.0**2 * 4.0),
        ("tg119-multitarget", "PTV_Inferior", math.pi * 2.0**2 * 4.0),
        ("tg119-prostate", "Rectum", math.pi * 0.75**2 * 10.0),
        ("tg119-prostate", "Bladder", _BALL * 2.5 * 2.0 * 2.5),
        ("tg119-headneck", "SpinalCord", math.pi * 0.55**2 * 15.0),
        ("tg119-headneck", "Parotid_L", _BALL * 1.1 * 1.7 * 2.2),
        ("tg119-headneck", "Parotid_R", _BALL * 1.1 * 1.7 * 2.2),
        ("tg119-cshape", "Core", math.pi * 1.0**2 * 10.0),
        ("tg119-cshape", "PTV", math.pi * (3.7**2 - 1.5**2) * 8.0 * 220 / 360),
        ("thorax", "External", math.pi * 18.0 * 12.0 * 30.0),
        ("thorax", "GTV", _BALL * 1.5**3),
        ("thorax", "PTV", _BALL * 2.2**3),
        ("thorax", "Lung_R", _BALL * 5.2 * 6.8 * 11.5),
        ("thorax", "Heart", _BALL * 5.0 * 4.5 * 5.5),
        ("thorax", "Esophagus", math.pi * 0.75**2 * 30.0),
        ("thorax", "SpinalCord", math.pi * 0.55**2 * 30.0),
        ("water-tank", "External", 64000.0),
        ("water-tank", "PTV", 125.0),
    ],
)
def test_volumes_are_the_analytic_ones(cases, name, structure, volume_cm3):
    assert cases[name].structure(structure).volume_cm3 == pytest.approx(volume_cm3, rel=0.02)


@pytest.mark.parametrize(
    ("name", "structure", "centre_RAS_mm"),
    [
        ("tg119-multitarget", "External", (0, 0, 0)),
        ("tg119-multitarget", "PTV_Superior", (0, 0, 40)),
        ("tg119-multitarget", "PTV_Inferior", (0, 0, -40)),
        ("tg119-prostate", "Bladder", (0, 0, 57.5)),
        ("tg119-prostate", "Rectum", (0, -18, -17.5)),
        ("tg119-headneck", "SpinalCord", (0, -40, 0)),
        ("tg119-headneck", "Parotid_L", (-47, -8, 40)),
        ("tg119-headneck", "Parotid_R", (47, -8, 40)),
        ("tg119-cshape", "Core", (0, 0, 0)),
        ("thorax", "GTV", (80, 10, 20)),
        ("thorax", "PTV", (80, 10, 20)),
        ("thorax", "SpinalCord", (0, -88, 0)),
        ("water-tank", "PTV", (0, -100, 0)),
    ],
)
def test_structures_lie_where_they_should(cases, name, structure, centre_RAS_mm):
    centroid = cases[name].structure(structure).centroid_RAS_mm()
    np.testing.assert_allclose(centroid, centre_RAS_mm, atol=0.1)


def test_left_is_left():
    case = load_sample("tg119-headneck", 3.0)
    assert case.structure("Parotid_L").centroid_RAS_mm()[0] < 0 < case.structure("Parotid_R").centroid_RAS_mm()[0]


def test_margin_is_exact_around_a_sphere():
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 130), np.linspace(0, 2 * np.pi, 260))
    surface = 20.0 * np.stack(
        (np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)), axis=-1
    ).reshape(-1, 3)
    grown = margin_around(sphere((0, 0, 0), 20.0), surface, 6.0)
    directions = np.random.default_rng(1).normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert grown(*(25.98 * directions).T).all()
    assert not grown(*(26.001 * directions).T).any()


def test_prostate_ctv_has_the_published_diameters_and_a_hollow():
    ctv = prostate_ctv()
    line = np.arange(-40.0, 40.0, 0.01)
    zero = np.zeros_like(line)
    assert np.ptp(line[ctv(line, zero, zero)]) == pytest.approx(40.0, abs=0.05)
    assert np.ptp(line[ctv(zero, zero, line)]) == pytest.approx(65.0, abs=0.05)
    # 13 mm in front of the centre, 13 - 2.5 behind it at the midline, more beside it
    assert line[ctv(zero, line, zero)].min() == pytest.approx(-10.5, abs=0.02)
    assert line[ctv(zero, line, zero)].max() == pytest.approx(13.0, abs=0.02)
    assert line[ctv(zero + 7.0, line, zero)].min() < -11.2


def test_prostate_ptv_is_the_ctv_and_six_millimetres(cases):
    case = cases["tg119-prostate"]
    ctv, ptv = case.structure("CTV"), case.structure("PTV")
    assert not (ctv.mask & ~ptv.mask).any()
    # an independent distance: the Euclidean transform of the voxels, good to about a voxel
    to_ctv = ndimage.distance_transform_edt(~ctv.mask, sampling=case.grid.spacing_mm[::-1])
    assert to_ctv[ptv.mask].max() < 6.0 + 1.5
    assert to_ctv[~ptv.mask].min() > 6.0 - 1.5
    extent = np.ptp(case.grid.centres_RAS_mm()[ptv.mask], axis=0) + case.grid.spacing_mm
    np.testing.assert_allclose(extent[[0, 2]], (52.0, 77.0), atol=2.5)


def test_about_a_third_of_the_rectum_is_in_the_prostate_ptv(cases):
    case = cases["tg119-prostate"]
    rectum, ptv = case.structure("Rectum").mask, case.structure("PTV").mask
    widest = ptv.sum(axis=(1, 2)).argmax()
    share = (rectum[widest] & ptv[widest]).sum() / rectum[widest].sum()
    assert 0.28 < share < 0.42
    assert not (rectum & case.structure("CTV").mask).any()
    assert not (rectum & case.structure("Bladder").mask).any()


def test_head_and_neck_gaps(cases):
    case = cases["tg119-headneck"]
    points = case.grid.centres_RAS_mm()
    ptv = points[case.structure("PTV").mask]
    to_cord = np.hypot(ptv[:, 0], ptv[:, 1] + 40.0) - 5.5
    assert 15.0 <= to_cord.min() < 16.5
    # horseshoe: beside the cord and behind its centre, but not behind it at the midline
    assert ptv[:, 1].min() < -45.0
    assert (np.abs(ptv[ptv[:, 1] < -40.0, 0]) > 13.0).all()
    for name in ("Parotid_L", "Parotid_R"):
        parotid = points[case.structure(name).mask]
        nearby = ptv[np.abs(ptv[:, 2] - 40.0) < 1.5]
        slab = parotid[np.abs(parotid[:, 2] - 40.0) < 1.5]
        distance = np.linalg.norm(nearby[:, None, :2] - slab[None, :, :2], axis=-1).min()
        assert 4.0 < distance < 7.5


def test_c_shape_arc_gap_and_opening(cases):
    case = cases["tg119-cshape"]
    points = case.grid.centres_RAS_mm()
    ptv = points[case.structure("PTV").mask]
    radius = np.hypot(ptv[:, 0], ptv[:, 1])
    assert 15.0 <= radius.min() < 16.0
    assert 36.0 < radius.max() <= 37.0 + 1e-6
    angle = np.degrees(np.arctan2(ptv[:, 0], ptv[:, 1]))
    assert np.abs(angle).max() <= 110.0
    assert np.abs(angle).max() > 107.0
    core = points[case.structure("Core").mask]
    assert np.hypot(core[:, 0], core[:, 1]).max() <= 10.0


def test_water_phantoms_are_water_for_the_engine():
    case = load_sample("tg119-cshape", 5.0)
    patient = Patient.from_hu(
        case.hu, case.grid, structures=case.structures, density_overrides_g_cm3=case.density_overrides_g_cm3
    )
    np.testing.assert_array_equal(patient.density_g_cm3[patient.body], 1.0)
    np.testing.assert_array_equal(patient.body, case.structure("External").mask)


def test_water_surface_is_a_voxel_face(cases):
    case = cases["water-tank"]
    a = case.grid.centres_RAS_mm()[case.structure("External").mask][:, 1]
    assert a.max() + case.grid.spacing_mm[1] / 2 == pytest.approx(0.0, abs=1e-6)


def test_thorax_densities(cases):
    case = cases["thorax"]
    density = default_calibration().density_g_cm3(case.hu)

    def median(name):
        return float(np.median(density[case.structure(name).mask]))

    assert median("Lungs-GTV") == pytest.approx(0.26, abs=0.002)
    assert median("GTV") == pytest.approx(1.05, abs=0.01)
    assert median("Heart") == pytest.approx(1.05, abs=0.01)
    assert 1.15 < density.max() < 1.5
    lungs = case.structure("Lungs-GTV").mask
    assert np.ptp(case.hu[lungs]) == 0, "bone or fat inside a lung"
    gtv, ptv = case.structure("GTV").mask, case.structure("PTV").mask
    assert not (gtv & ~ptv).any()
    assert not (gtv & lungs).any()
    lung_share = (ptv & (case.structure("Lung_R").mask)).sum() / ptv.sum()
    assert lung_share == 1.0


def test_another_spacing_gives_the_same_anatomy():
    fine, coarse = load_sample("thorax", (2.0, 2.0, 3.0)), load_sample("thorax", 4.0)
    np.testing.assert_allclose(coarse.grid.spacing_mm, 4.0)
    for name in ("Lung_L", "Heart", "External"):
        a, b = fine.structure(name), coarse.structure(name)
        assert a.volume_cm3 == pytest.approx(b.volume_cm3, rel=0.02)
        np.testing.assert_allclose(a.centroid_RAS_mm(), b.centroid_RAS_mm(), atol=0.3)


def test_the_same_sample_twice_is_identical():
    one, two = load_sample("tg119-prostate"), load_sample("tg119-prostate")
    np.testing.assert_array_equal(one.hu, two.hu)
    for a, b in zip(one.structures, two.structures, strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)
