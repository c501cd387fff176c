"""Photon engines against independent Monte Carlo (EGSnrc), absolute: no scaling of either side."""

from __future__ import annotations

import numpy as np
import pytest

from RTPlanningLib.validation import monte_carlo
from RTPlanningLib.validation.comparison import gamma_pass_rate
from RTPlanningLib.validation.monte_carlo import calculate, penumbra_mm

pytestmark = pytest.mark.reference


def load_reference(shared_data, name):
    """A reference of the data beside the checkout."""
    return monte_carlo.load_reference(shared_data / "egsnrc", name)


@pytest.fixture(scope="module")
def pencil_beam_dose(shared_data):
    """Pencil-beam dose by case, computed once."""
    doses = {}

    def of(name):
        if name not in doses:
            doses[name] = calculate(load_reference(shared_data, name))
        return doses[name]

    return of


@pytest.fixture(scope="module")
def collapsed_cone_dose(shared_data):
    """Collapsed-cone dose by case, computed once."""
    doses = {}

    def of(name):
        if name not in doses:
            doses[name] = calculate(load_reference(shared_data, name), "photon-collapsed-cone")
        return doses[name]

    return of


def depth_dose_deviation(shared_data, dose, name):
    """Relative deviation on the axis beyond the build-up and above the last 2 cm, and the reference's error there."""
    return load_reference(shared_data, name).axis_deviation(dose)


@pytest.mark.parametrize("name", ["w03", "w10", "w10_15MV"])
def test_pencil_beam_depth_dose_in_water_within_2_percent(shared_data, pencil_beam_dose, name):
    """Absolute depth dose within 2 % everywhere beyond the build-up, none of it by allowing for noise.

    Measured: w03 at most 1.0 %, w10 0.9 %, 15 MV 1.5 % (single noisy voxel planes).
    """
    deviation, _ = depth_dose_deviation(shared_data, pencil_beam_dose(name), name)
    assert np.abs(deviation).max() < 0.02


@pytest.mark.parametrize("name", ["w03", "w10"])
def test_pencil_beam_build_up_in_water_within_2_mm(shared_data, pencil_beam_dose, name):
    """In the build-up (from the first voxel centre to 15 mm) within 2 mm or 2 %."""
    reference = load_reference(shared_data, name)
    ours = reference.axis_of(pencil_beam_dose(name))
    z = reference.z_mm
    for depth in z[z < 15.0]:
        near = np.linspace(max(depth - 2.0, z[0]), depth + 2.0, 81)
        reachable = np.interp(near, z, reference.axis)
        value = np.interp(depth, z, ours)
        close = np.abs(value / np.interp(depth, z, reference.axis) - 1) <= 0.02
        assert close or reachable.min() <= value <= reachable.max(), f"{name} at {depth} mm"


# What the method cannot do is on record: dose at the interfaces of lung and bone.
@pytest.mark.parametrize(("name", "measured"), [("l03", 0.051), ("l10", 0.039), ("b03", 0.040)])
def test_pencil_beam_depth_dose_in_slabs_as_poor_as_stated(shared_data, pencil_beam_dose, name, measured):
    """Largest deviation on the axis: lung 3x3 5.1 %, lung 10x10 3.9 %, bone 3x3 4.0 %; held to a tenth of that."""
    deviation, _ = depth_dose_deviation(shared_data, pencil_beam_dose(name), name)
    assert np.abs(deviation).max() == pytest.approx(measured, abs=0.1 * measured)


@pytest.mark.parametrize("name", ["w03", "w10"])
@pytest.mark.parametrize("depth_mm", [15, 50, 100, 200])
def test_pencil_beam_field_edge_within_half_a_millimetre(shared_data, pencil_beam_dose, name, depth_mm):
    """Position of the 50 % dose across the field within 0.5 mm of Monte Carlo."""
    reference = load_reference(shared_data, name)
    ours = penumbra_mm(reference.x_mm, reference.profile_of(pencil_beam_dose(name), depth_mm))
    theirs = penumbra_mm(reference.x_mm, reference.profile_of(reference.dose, depth_mm))
    assert ours[0] == pytest.approx(theirs[0], abs=0.5)
    assert ours[1] == pytest.approx(theirs[1], abs=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "percent", "distance_mm", "least"),
    [("w10", 3, 2, 0.99), ("w03", 3, 2, 0.99), ("w10_15MV", 3, 2, 0.99), ("l10", 3, 2, 0.98), ("l03", 3, 2, 0.98),
     ("b03", 3, 2, 0.98)],
)  # fmt: skip
def test_pencil_beam_gamma(shared_data, pencil_beam_dose, name, percent, distance_mm, least):
    """Global gamma 3 %/2 mm, 10 % threshold, by pymedphys.

    Measured: w10 99.9 %, w03 100.0 %, 15 MV 99.9 %, l10 99.2 %, l03 99.6 %, b03 99.9 %. The bars lie just below.
    """
    rate = gamma_pass_rate(load_reference(shared_data, name), pencil_beam_dose(name), percent, distance_mm)
    print(f"{name}: gamma {percent} %/{distance_mm} mm passes {100 * rate:.2f} %")
    assert rate >= least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "within"),
    [("w03", 0.01), ("w10", 0.01), ("w10_15MV", 0.015), ("l10", 0.02), ("l03", 0.04), ("b03", 0.03)],
)
def test_collapsed_cone_depth_dose(shared_data, collapsed_cone_dose, name, within):
    """Absolute axis dose beyond the build-up, two standard deviations of the reference allowed.

    Water 1 % (15 MV 1.5 %), lung 10 x 10 cm 2 %, lung 3 x 3 cm 4 % (the method's limit), bone 3 x 3 cm 3 %.
    """
    deviation, error = depth_dose_deviation(shared_data, collapsed_cone_dose(name), name)
    beyond = np.abs(deviation) - 2 * error
    print(f"{name}: at most {100 * np.abs(deviation).max():.2f} %, beyond 2 sigma {100 * max(beyond.max(), 0):.2f} %")
    assert beyond.max() < within


@pytest.mark.slow
@pytest.mark.parametrize("name", ["w03", "w10"])
@pytest.mark.parametrize("depth_mm", [15, 50, 100, 200])
def test_collapsed_cone_penumbra_in_water_within_half_a_millimetre(shared_data, collapsed_cone_dose, name, depth_mm):
    """Position of the 50 % edge and 80-20 % width within 0.5 mm of Monte Carlo."""
    reference = load_reference(shared_data, name)
    ours = penumbra_mm(reference.x_mm, reference.profile_of(collapsed_cone_dose(name), depth_mm))
    theirs = penumbra_mm(reference.x_mm, reference.profile_of(reference.dose, depth_mm))
    assert ours == pytest.approx(theirs, abs=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "percent", "distance_mm", "least"),
    [
        ("w03", 2, 1, 0.99),
        ("w10", 2, 1, 0.99),
        ("w10_15MV", 2, 1, 0.98),
        ("l10", 2, 2, 0.97),
        ("l03", 3, 2, 0.95),
        ("b03", 3, 2, 0.99),
    ],
)
def test_collapsed_cone_gamma(shared_data, collapsed_cone_dose, name, percent, distance_mm, least):
    """Global gamma of the cube, 10 % threshold, by pymedphys: water 2 %/1 mm, lung 2 %/2 mm and 3 %/2 mm."""
    rate = gamma_pass_rate(load_reference(shared_data, name), collapsed_cone_dose(name), percent, distance_mm)
    print(f"{name}: gamma {percent} %/{distance_mm} mm passes {100 * rate:.2f} %")
    assert rate >= least
