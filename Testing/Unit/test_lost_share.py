"""The approximant of 1 - exp(-x) against the exponential."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.materials.attenuation import mass_attenuation_by_density_cm2_g
from DoseEngineLib.photon import collapsed_cone, terma
from DoseEngineLib.photon.lost_share import LARGEST_EXPONENT, lost_share


@pytest.mark.parametrize(("largest", "error"), [(0.23, 1e-6), (0.5, 5e-5), (1.0, 2e-3)])
def test_what_passes_is_right_as_stated(largest, error):
    """1 - lost share against exp(-x), relative, up to the exponents that the module names."""
    x = np.linspace(0.0, largest, 200).astype(np.float32)
    passed = 1.0 - np.array([lost_share(value) for value in x], dtype=float)
    assert passed == pytest.approx(np.exp(-x.astype(float)), rel=error + 2e-7)


def test_it_rises_to_its_largest_and_stays():
    """Never negative, never falling, constant from the largest exponent on."""
    x = np.concatenate((np.linspace(0.0, LARGEST_EXPONENT, 300), [5.0, 50.0])).astype(np.float32)
    lost = np.array([lost_share(value) for value in x])
    assert lost[0] == 0.0
    assert (np.diff(lost) >= 0.0).all()
    assert lost[-1] == lost[-3]


@pytest.mark.parametrize(("density", "error"), [(1.0, 1e-5), (1.85, 1e-5), (4.5, 1e-4), (7.8, 1e-3)])
def test_attenuation_of_a_ray(density, error):
    """20 steps of 2.5 mm through water, bone, titanium and steel, 0.1 to 15 MeV: what is left of what came."""
    energy = np.geomspace(0.1, 15.0, 24)
    per_mass = mass_attenuation_by_density_cm2_g(np.array([density]), energy)[0].astype(np.float32)
    left = np.ones(energy.size, np.float32)
    for _ in range(20):
        terma._pass_on(left, per_mass, 0.25 * density)
    assert left == pytest.approx(np.exp(-5.0 * density * per_mass.astype(float)), abs=error)


@pytest.mark.parametrize(("density", "error"), [(0.26, 1e-6), (1.0, 1e-5), (1.85, 1e-4), (7.8, 4e-3)])
def test_powers_of_one_are_all_four_exponentials(density, error):
    """Cells of 2 mm crossed at the steepest angle: what each exponential loses, against its own range."""
    ranges = np.array(collapsed_cone.RANGES_G_CM2[:4])
    path = 0.2 * np.sqrt(3.0)
    row = np.zeros(8 * collapsed_cone._STRIP, np.float32)
    one = np.ones(1, np.float32)
    collapsed_cone._prepare_row(np.full(1, density, np.float32), one, one, np.float32(path / 3.0), row)
    lost = row[: 4 * collapsed_cone._STRIP : collapsed_cone._STRIP]
    assert lost == pytest.approx(1.0 - np.exp(-density * path / ranges), abs=error)
