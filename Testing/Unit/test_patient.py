"""Patients: densities, body outline, overrides, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Structure

GRID = Grid.from_spacing((20, 60, 70), (3.0, 3.0, 5.0), (-105, -90, -50))


def ellipse(centre, half_axes):
    """Elliptic cylinder along S on GRID."""
    points = GRID.centres_RAS_mm()
    return ((points[..., 0] - centre[0]) / half_axes[0]) ** 2 + (
        (points[..., 1] - centre[1]) / half_axes[1]
    ) ** 2 <= 1.0


def box(r, a):
    points = GRID.centres_RAS_mm()
    return (np.abs(points[..., 0] - r[0]) <= r[1]) & (np.abs(points[..., 1] - a[0]) <= a[1])


def thorax():
    """A chest with lungs on a couch top of foam between two skins, touching the back at one line."""
    hu = np.full(GRID.shape, -1000.0)
    body = ellipse((0, 10), (85, 60))
    hu[body] = 0
    lungs = ellipse((-40, 10), (25, 35)) | ellipse((40, 10), (25, 35))
    hu[lungs] = -750
    hu[box((0, 90), (-55, 2))] = 100
    hu[box((0, 90), (-75, 2))] = 100
    hu[box((0, 90), (-65, 8))] = -930
    return hu, body


def test_body_is_found_without_couch_and_with_its_lungs():
    """Within one voxel layer of the true outline; nothing of the couch but what touches the back."""
    hu, body = thorax()
    found = Patient.from_hu(hu, GRID).body
    wrong = found ^ body
    assert wrong.sum() < 0.01 * body.sum()
    assert not found[:, GRID.centres_RAS_mm()[0, :, 0, 1] < -60, :].any()


def test_body_is_found_on_an_oblique_grid():
    hu, _ = thorax()
    turned = Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix()
    oblique = Grid.from_spacing(GRID.shape, GRID.spacing_mm, (11, 22, 33), turned)
    assert np.array_equal(Patient.from_hu(hu, oblique).body, Patient.from_hu(hu, GRID).body)


def test_an_external_structure_is_the_body():
    hu, _ = thorax()
    external = Structure("BODY", ellipse((0, 10), (50, 40)), GRID, "EXTERNAL")
    patient = Patient.from_hu(hu, GRID, structures=[external])
    assert np.array_equal(patient.body, external.mask)
    assert patient.density_g_cm3[~external.mask].max() == 0
    assert patient.provenance["body"] == "structure BODY"


def test_overrides_apply_in_order_and_are_recorded():
    hu, _ = thorax()
    small = Structure("Seed", ellipse((0, 10), (6, 6)), GRID)
    large = Structure("Region", ellipse((0, 10), (20, 20)), GRID)
    patient = Patient.from_hu(hu, GRID, structures=[small, large], density_overrides_g_cm3={"Region": 1.2, "Seed": 4.5})
    assert patient.density_g_cm3[small.mask] == pytest.approx(4.5)
    assert patient.density_g_cm3[large.mask & ~small.mask] == pytest.approx(1.2)
    assert patient.provenance["density_overrides_g_cm3"] == {"Region": 1.2, "Seed": 4.5}


def test_from_density_keeps_what_is_dense_and_fills_cavities():
    density = np.zeros(GRID.shape)
    density[ellipse((0, 10), (85, 60))] = 1.0
    density[ellipse((0, 10), (10, 10))] = 0.0
    patient = Patient.from_density(density, GRID)
    assert np.array_equal(patient.body, ellipse((0, 10), (85, 60)))
    assert patient.density_g_cm3[ellipse((0, 10), (9, 9))].max() == 0


def test_bad_patients_say_what_to_do():
    hu, body = thorax()
    with pytest.raises(PatientError, match="NaN or infinite"):
        Patient.from_hu(np.where(body, np.nan, hu), GRID)
    with pytest.raises(PatientError, match="shape"):
        Patient.from_hu(hu[1:], GRID)
    with pytest.raises(PatientError, match="No voxel exceeds"):
        Patient.from_hu(np.full(GRID.shape, -1000), GRID)
    with pytest.raises(PatientError, match="empty"):
        Patient.from_hu(hu, GRID, body=np.zeros(GRID.shape, bool))
    with pytest.raises(PatientError, match="CT numbers"):
        Patient.from_density(hu, GRID)
    ptv = Structure("PTV", body, GRID)
    with pytest.raises(PatientError, match="no structure 'GTV'; choose one of: PTV"):
        Patient.from_hu(hu, GRID, structures=[ptv], density_overrides_g_cm3={"GTV": 1})
    with pytest.raises(PatientError, match="not in 0"):
        Patient.from_hu(hu, GRID, structures=[ptv], density_overrides_g_cm3={"PTV": -1})
    with pytest.raises(PatientError, match="unique"):
        Patient.from_hu(hu, GRID, structures=[ptv, ptv])
    with pytest.raises(PatientError, match="keep one"):
        Patient.from_hu(hu, GRID, structures=[Structure(n, body, GRID, "EXTERNAL") for n in "AB"])
    with pytest.raises(PatientError, match="the case has: PTV"):
        Patient.from_hu(hu, GRID, structures=[ptv]).structure("Cord")
