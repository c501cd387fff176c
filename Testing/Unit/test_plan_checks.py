"""Checks before sign-off: each passes a good plan and finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.calibration import default_calibration
from DoseEngineLib.dvh import Dvh, calculate_dvh
from DoseEngineLib.engine import DoseResult
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Aperture, Beam, Plan, Prescription, Structure
from RTPlanningLib.evaluation.plan_checks import CheckResult, check_plan, summary_of_checks
from RTPlanningLib.evaluation.plan_checks.beam_checks import (
    check_apertures,
    check_beams_meet_target,
    check_isocenter,
    check_metersets,
)
from RTPlanningLib.evaluation.plan_checks.dose_checks import (
    check_coverage,
    check_dose_grid_extent,
    check_dose_grid_spacing,
    check_engine,
    check_hot_spots,
    check_prescription,
)
from RTPlanningLib.evaluation.plan_checks.patient_checks import (
    check_calibration,
    check_density_overrides,
    check_structures,
)

GRID = Grid.from_spacing((30, 30, 30), 4.0, (-58.0, -58.0, -58.0))
CENTRES = GRID.centres_RAS_mm()
RADIUS = np.linalg.norm(CENTRES, axis=-1)
PTV = Structure("PTV", RADIUS <= 20.0, GRID, "PTV")
BODY = Structure("External", RADIUS <= 55.0, GRID, "EXTERNAL")
ORGAN = Structure("Organ", np.linalg.norm(CENTRES - (0, 36, 0), axis=-1) <= 11.0, GRID)
EMPTY = Structure("Heart", np.zeros(GRID.shape, bool), GRID)
MACHINES = {"generic_6mv": load_machine("generic_6mv")}
LEAVES = MACHINES["generic_6mv"].mlc
PRESCRIPTION = Prescription(50.0, 25, "PTV", "none")


def make_patient(density: np.ndarray | None = None, **more) -> Patient:
    values = np.ones(GRID.shape) if density is None else density
    return Patient.from_density(values, GRID, structures=(BODY, PTV, ORGAN), **more)


PATIENT = make_patient()


def field(name: str = "AP", half_mm: float = 27.0, gantry_deg: float = 0.0, meterset_MU: float = 150.0, **more) -> Beam:
    jaws = (-half_mm, half_mm)
    return Beam.open_field(name, gantry_deg=gantry_deg, jaw_x_mm=jaws, jaw_y_mm=jaws, meterset_MU=meterset_MU, **more)


def leaves(half_mm: float) -> tuple[tuple[float, float], ...]:
    """A square opening of the leaves."""
    middles = np.add(LEAVES.boundaries_mm[:-1], LEAVES.boundaries_mm[1:]) / 2
    return tuple((-half_mm, half_mm) if abs(middle) < half_mm else (0.0, 0.0) for middle in middles)


def shaped(jaws_mm: float, opening_mm: float) -> Plan:
    aperture = Aperture((-jaws_mm, jaws_mm), (-jaws_mm, jaws_mm), leaves(opening_mm))
    return plan(Beam.static_field("AP", aperture, meterset_MU=150.0))


def plan(*beams: Beam, prescription: Prescription | None = PRESCRIPTION) -> Plan:
    return Plan("Plan", beams or (field(), field("PA", gantry_deg=180.0)), prescription)


def dose(target_Gy: float = 50.0, outside_Gy: float = 20.0) -> np.ndarray:
    """Dose of one value in the target and 6 mm around it, and another elsewhere."""
    return np.where(RADIUS <= 26.0, target_Gy, outside_Gy).astype(np.float32)


def dvh(values: np.ndarray) -> Dvh:
    return calculate_dvh(values, GRID, PTV)


def result_of(values: np.ndarray, of: Plan | None = None, **provenance) -> DoseResult:
    return DoseResult(values, GRID, {}, of or plan(), provenance={"engine": "photon-pencil-beam", **provenance})


def hu_patient(**more) -> Patient:
    return Patient.from_hu(np.zeros(GRID.shape), GRID, structures=(BODY, PTV), **more)


# --- one by one


@pytest.mark.parametrize(
    ("isocenter", "verdict", "text"),
    [
        ((0.0, 0.0, 0.0), "passed", "lie in PTV"),
        ((0.0, 0.0, 40.0), "warning", "22 mm from PTV"),
        ((0.0, 0.0, 80.0), "failed", "outside the body"),
    ],
)
def test_isocentre(isocenter, verdict, text):
    found = check_isocenter(PATIENT, plan(field(isocenter_RAS_mm=isocenter)), PTV)
    assert found.verdict == verdict
    assert text in found.text


def test_a_prescription_to_a_point_outside_the_target_is_told():
    isocenter, point = (0.0, 0.0, 40.0), (0.0, 0.0, 2.0)
    to_point = Prescription(50.0, 25, "PTV", "point")
    beams = (field(isocenter_RAS_mm=isocenter, meterset_MU=None),)
    of = replace(plan(), beams=beams, prescription=to_point)
    assert "Prescribe to the target" in check_isocenter(PATIENT, of, PTV).text
    for better in (replace(to_point, normalization="D95"), replace(to_point, point_RAS_mm=point)):
        found = check_isocenter(PATIENT, replace(of, prescription=better), PTV)
        assert found.verdict == "warning"
        assert "Prescribe to the target" not in found.text


def test_isocentre_without_a_target():
    assert check_isocenter(PATIENT, plan(), None).verdict == "not applicable"


@pytest.mark.parametrize(
    ("of", "verdict", "text"),
    [
        (plan(), "passed", "close to the leaves"),
        (shaped(27.0, 25.0), "passed", "close to the leaves"),
        (shaped(60.0, 25.0), "warning", "AP (35 mm)"),
        (shaped(27.0, 0.0), "failed", "is shut"),
        (shaped(400.0, 25.0), "failed", "exceed the travel"),
        (plan(field(half_mm=0.0)), "failed", "is shut"),
    ],
)
def test_apertures(of, verdict, text):
    found = check_apertures(of, MACHINES)
    assert (found.verdict, text in found.text) == (verdict, True), found.text


def test_jaws_beyond_the_outermost_leaves_leave_the_field_unshaped():
    narrow = replace(LEAVES, boundaries_mm=tuple(np.array(LEAVES.boundaries_mm) * 0.25))
    machines = {"generic_6mv": replace(MACHINES["generic_6mv"], mlc=narrow)}
    found = check_apertures(shaped(60.0, 55.0), machines)
    assert found.verdict == "failed"
    assert "beyond the outermost leaves" in found.text
    wide = {"generic_6mv": MACHINES["generic_6mv"]}
    assert check_apertures(shaped(60.0, 55.0), wide).verdict == "passed"


@pytest.mark.parametrize(
    ("metersets", "verdict", "text"),
    [
        ((150.0, 150.0), "passed", "300.0 MU a fraction in 2 beams, 1.50 MU for each cGy"),
        ((1.2, 298.0), "warning", "Fewer than 2 MU a fraction"),
        ((100.0, 1100.0), "warning", "More than 1000 MU a fraction"),
        ((30.0, 30.0), "warning", "0.30 MU for each cGy prescribed are unusual"),
        ((0.0, 300.0), "failed", "A deliver no monitor units"),
    ],
)
def test_metersets(metersets, verdict, text):
    found = check_metersets(plan(*(field(name, meterset_MU=value) for name, value in zip("AB", metersets))))
    assert found.verdict == verdict
    assert text in found.text


def test_metersets_that_are_not_known_yet():
    found = check_metersets(plan(field(meterset_MU=None), prescription=replace(PRESCRIPTION, normalization="D95")))
    assert found.verdict == "failed"
    assert "calculate the dose" in found.text


@pytest.mark.parametrize(
    ("beam", "verdict", "text"),
    [
        (field(half_mm=30.0), "passed", "in the opening of every beam"),
        (field(half_mm=10.0), "warning", "AP ("),
        (field(isocenter_RAS_mm=(0.0, 0.0, 55.0)), "failed", "No part of PTV"),
    ],
)
def test_beams_and_target(beam, verdict, text):
    found = check_beams_meet_target(plan(beam), MACHINES, PTV)
    assert found.verdict == verdict
    assert text in found.text


def test_leaves_may_hide_the_target_from_open_jaws():
    assert check_beams_meet_target(shaped(40.0, 30.0), MACHINES, PTV).verdict == "passed"
    assert check_beams_meet_target(shaped(40.0, 0.0), MACHINES, PTV).verdict == "failed"
    assert check_beams_meet_target(shaped(40.0, 12.0), MACHINES, PTV).verdict == "warning"


@pytest.mark.parametrize(
    ("structures", "prescription", "more", "verdict", "text"),
    [
        ((BODY, PTV, ORGAN), PRESCRIPTION, {}, "passed", "all 3 structures"),
        ((BODY, ORGAN), PRESCRIPTION, {}, "failed", "PTV is not among the structures (External, Organ)"),
        ((BODY, replace(EMPTY, name="PTV")), PRESCRIPTION, {}, "failed", "PTV is empty"),
        ((BODY, PTV, EMPTY), PRESCRIPTION, {}, "warning", "Without a contour: Heart"),
        ((PTV,), PRESCRIPTION, {}, "warning", "no body contour"),
        ((BODY, PTV), PRESCRIPTION, {"wanted": ["Rectum", "PTV"]}, "warning", "not there: Rectum;"),
        ((BODY, PTV), PRESCRIPTION, {"missing": ["SpinalCord"]}, "warning", "SpinalCord"),
        ((BODY, PTV), replace(PRESCRIPTION, target=None), {}, "failed", "names no target"),
        ((BODY, PTV), None, {}, "warning", "names no target"),
    ],
)
def test_structures(structures, prescription, more, verdict, text):
    found = check_structures(plan(prescription=prescription), structures, **more)
    assert found.verdict == verdict
    assert text in found.text


def test_density_overrides_are_listed():
    assert check_density_overrides(PATIENT).verdict == "passed"
    found = check_density_overrides(make_patient(density_overrides_g_cm3={"Organ": 1.05}))
    assert found.verdict == "warning"
    assert "Organ 1.05 g/cm³" in found.text


def test_calibration():
    assert check_calibration(PATIENT).verdict == "not applicable"
    found = check_calibration(hu_patient())
    assert found.verdict == "warning"
    assert "no scanner's own" in found.text
    own = check_calibration(hu_patient(calibration=replace(default_calibration(), name="Scanner 3, 120 kV")))
    assert own.verdict == "passed"
    assert "Scanner 3" in own.text
    assert check_calibration(replace(PATIENT, provenance={})).verdict == "failed"


def test_dose_grid_extent():
    structures = (BODY, PTV, ORGAN)
    assert check_dose_grid_extent(PATIENT, GRID, structures).verdict == "passed"
    near = GRID.crop(RADIUS < 50.0)[0]
    found = check_dose_grid_extent(PATIENT, near, structures)
    assert (found.verdict, "of the body" in found.text) == ("warning", True)
    without_organ = GRID.crop(RADIUS < 25.0)[0]
    found = check_dose_grid_extent(PATIENT, without_organ, structures)
    assert (found.verdict, "cuts Organ" in found.text) == ("warning", True)
    found = check_dose_grid_extent(PATIENT, GRID.crop(RADIUS < 12.0)[0], structures)
    assert (found.verdict, "cuts the target PTV" in found.text) == ("failed", True)


def test_dose_grid_spacing():
    assert check_dose_grid_spacing(plan(), GRID, (PTV, ORGAN)).verdict == "passed"
    lens = Structure("Lens_L", np.linalg.norm(CENTRES, axis=-1) <= 5.0, GRID)
    found = check_dose_grid_spacing(plan(), GRID, (PTV, lens))
    assert found.verdict == "warning"
    assert "Lens_L" in found.text
    assert "PTV" not in found.text
    few = plan(prescription=Prescription(54.0, 3, "PTV", "none"))
    found = check_dose_grid_spacing(few, GRID, (PTV,))
    assert (found.verdict, "TG-101" in found.text) == ("warning", True)
    assert check_dose_grid_spacing(few, GRID.with_spacing(2.0), (PTV,)).verdict == "passed"


@pytest.mark.parametrize(
    ("target_Gy", "verdict", "text"),
    [(50.0, "passed", "100.0 %"), (45.0, "failed", "90.0 %"), (60.0, "warning", "more than 107 %")],
)
def test_prescription(target_Gy, verdict, text):
    found = check_prescription(PRESCRIPTION, dvh(dose(target_Gy)))
    assert found.verdict == verdict
    assert text in found.text


def test_prescription_without_target_or_dose():
    assert check_prescription(None, dvh(dose())).verdict == "not applicable"
    assert check_coverage(PRESCRIPTION, None).verdict == "not applicable"


@pytest.mark.parametrize(("radius_mm", "verdict"), [(22.0, "passed"), (19.6, "warning"), (17.0, "failed")])
def test_coverage(radius_mm, verdict):
    samples = np.linspace(0.0, 1.0, 10_000)
    covered = min((radius_mm / 20.0) ** 3, 1.0)
    found = check_coverage(PRESCRIPTION, Dvh("PTV", 33.5, np.where(samples < covered, 50.0, 40.0)))
    assert found.verdict == verdict
    assert f"{100.0 * covered:.1f} %" in found.text


def test_a_target_half_in_the_grid_is_not_covered():
    half = Dvh("PTV", 33.5, np.full(100, 50.0), covered_fraction=0.5)
    assert check_coverage(PRESCRIPTION, half).verdict == "failed"


def test_hot_spots():
    structures = (BODY, PTV, ORGAN)
    found = check_hot_spots(PATIENT, PRESCRIPTION, dose(), GRID, structures)
    # the shell of 6 mm around the target is too thin for a hot spot
    assert found.verdict == "passed"
    assert "100.0 % of the prescribed" in found.text
    spot = np.linalg.norm(CENTRES - (0, 40, 0), axis=-1) <= 13.0
    assert check_hot_spots(PATIENT, PRESCRIPTION, np.where(spot, 51.0, dose()), GRID, structures).verdict == "warning"
    hot = check_hot_spots(PATIENT, PRESCRIPTION, np.where(spot, 55.0, dose()), GRID, structures)
    assert hot.verdict == "failed"
    assert "110.0 %" in hot.text
    assert "(" in hot.text
    # the same dose in a target is none, and neither is one outside the body
    boost = (*structures, Structure("PTV_2", spot, GRID, "PTV"))
    assert check_hot_spots(PATIENT, PRESCRIPTION, np.where(spot, 55.0, dose()), GRID, boost).verdict == "passed"
    beside = np.where(RADIUS > 56.0, 80.0, dose())
    assert check_hot_spots(PATIENT, PRESCRIPTION, beside, GRID, structures).verdict == "passed"
    assert check_hot_spots(PATIENT, None, dose(), GRID, structures).verdict == "not applicable"


def test_engine_and_tissue():
    stated = {"engine": "photon-pencil-beam", "does_not_model": ["disequilibrium in lung"]}
    values = dose()
    found = check_engine(PATIENT, values, GRID, PTV, stated)
    assert found.verdict == "passed"
    assert "disequilibrium in lung" in found.text
    lung = make_patient(np.where((RADIUS > 20.0) & (RADIUS < 45.0), 0.26, 1.0))
    found = check_engine(lung, values, GRID, PTV, stated)
    assert (found.verdict, "photon-collapsed-cone" in found.text) == ("failed", True)
    far = make_patient(np.where(RADIUS > 38.0, 0.26, 1.0))
    assert check_engine(far, values, GRID, PTV, stated).verdict == "warning"
    assert check_engine(lung, values, GRID, PTV, {**stated, "engine": "photon-collapsed-cone"}).verdict == "passed"
    hip = make_patient(np.where(RADIUS < 8.0, 7.8, 1.0))
    found = check_engine(hip, values, GRID, PTV, {**stated, "engine": "photon-collapsed-cone"})
    assert (found.verdict, "denser than 2.5" in found.text) == ("warning", True)
    assert check_engine(PATIENT, values, GRID, PTV, {}).verdict == "not applicable"


# --- all together


def test_a_good_plan_passes_everything():
    results = check_plan(PATIENT, plan(), result_of(dose(), does_not_model=["nothing of note"]))
    assert {result.verdict for result in results} <= {"passed", "not applicable"}, results
    assert [result.name for result in results if result.verdict == "not applicable"] == ["CT calibration"]
    assert len({result.name for result in results}) == len(results) == 13


def test_without_a_dose_the_same_checks_are_listed():
    before, after = check_plan(PATIENT, plan()), check_plan(PATIENT, plan(), result_of(dose()))
    assert [result.name for result in before] == [result.name for result in after]
    assert before[-1].verdict == "not applicable"
    assert "calculate" in before[-1].text


def test_a_bad_plan_is_told_what_to_do():
    bad = plan(field(isocenter_RAS_mm=(0.0, 0.0, 55.0), meterset_MU=1.0))
    results = {
        result.name: result
        for result in check_plan(PATIENT, bad, result_of(dose(10.0), bad), goals=["Rectum Mean <= 40 Gy"])
    }
    assert results["Beams meet the target"].verdict == "failed"
    assert results["Prescription reached"].verdict == "failed"
    assert results["Target coverage"].verdict == "failed"
    assert "Rectum" in results["Structures"].text
    assert summary_of_checks(results.values()).startswith("3 failed, ")


def test_a_target_outside_the_dose_grid_is_reported_once():
    far = Structure("PTV", CENTRES[..., 2] > 50.0, GRID, "PTV")
    small, cut = GRID.crop(RADIUS < 25.0)
    result = replace(result_of(dose()[cut]), grid=small)
    found = {one.name: one.verdict for one in check_plan(PATIENT, plan(), result, structures=(BODY, far))}
    assert found["Dose grid covers the body"] == "failed"
    assert found["Target coverage"] == "not applicable"


def test_a_verdict_is_one_of_four():
    with pytest.raises(ValueError, match="passed"):
        CheckResult("Isocentre", "fine", "")
    assert summary_of_checks([]) == "none made"
    three = [CheckResult(str(n), verdict, "") for n, verdict in enumerate(("warning", "passed", "warning"))]
    assert summary_of_checks(three) == "2 warnings, 1 passed"
