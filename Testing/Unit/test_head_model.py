"""The linac head part by part: what each does alone, against closed forms and against what it must do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from DoseEngineLib.engine import create_engine
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import ExtraFocalSource, MonitorBackscatter, available_machines, load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.fluence import (
    aperture_fluence,
    backscatter_factor,
    beam_segments,
    extra_focal_fluence,
    fluence_sources,
    leaf_strips,
)
from DoseEngineLib.photon.water_dose import dose_for_fluence
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan

LINAC = load_machine("generic_6mv")
# nothing but jaws, leaves and sources
BARE = replace(
    LINAC,
    off_axis_kind="flat",
    softening=(),
    monitor_backscatter=None,
    electron_contamination=None,
    jaw_x=replace(LINAC.jaw_x, transmission=0.0),
    jaw_y=replace(LINAC.jaw_y, transmission=0.0),
    mlc=replace(LINAC.mlc, leaf_end_offset_mm=0.0, tongue_and_groove_mm=0.0, transmission=0.0),
)


def square(side):
    return Aperture((-side / 2, side / 2), (-side / 2, side / 2))


def leaves(low, high, pairs=range(60)):
    return tuple((low, high) if n in pairs else (0.0, 0.0) for n in range(60))


def middle(fluence):
    """Value on the axis: the mean of the four pixels about it."""
    n = fluence.values.shape[0] // 2
    return float(fluence.values[n - 1 : n + 1, n - 1 : n + 1].mean())


def axis_dose(machine, aperture, depth=100.0, ssd=1000.0):
    return dose_for_fluence(machine, aperture, ssd, np.array([[0.0, 0.0, depth]]))[0]


@pytest.mark.parametrize("name", available_machines())
def test_sources_add_up_to_the_open_field(name):
    machine = load_machine(name)
    sources = fluence_sources(square(300), machine)
    assert sources[0].name == "primary"
    assert sum(source.weight for source in sources) == pytest.approx(1.0)
    assert len(sources) == (1 if machine.extra_focal is None else 2)
    assert sum(s.strength(machine.sad_mm, machine.sad_mm) for s in sources) == pytest.approx(1.0)


@pytest.mark.parametrize("field", [20, 50, 100, 250])
def test_the_axis_sees_the_extra_focal_source_through_both_jaws(field):
    """Closed form: an edge at e of a jaw at d shows the source up to e d/SAD (SAD - s)/(SAD - d) from its middle."""
    source = BARE.extra_focal
    expected = 1.0
    for jaw in (BARE.jaw_x, BARE.jaw_y):
        seen = field / 2 * jaw.distance_mm / 1000 * (1000 - source.distance_mm) / (1000 - jaw.distance_mm)
        expected *= erf(seen / source.sigma_mm / np.sqrt(2))
    assert middle(extra_focal_fluence(square(field), BARE)) == pytest.approx(expected, abs=3e-3)


def test_with_leaves_the_smaller_view_of_jaws_and_leaves_counts():
    """Leaves wide open change nothing; leaves that close in a wide field hide less than jaws of the same field do."""
    jaws_only = extra_focal_fluence(square(60), BARE)
    open_leaves = extra_focal_fluence(replace(square(60), leaf_positions_mm=leaves(-200, 200)), BARE)
    assert open_leaves.values == pytest.approx(jaws_only.values, abs=1e-6)
    by_leaves = extra_focal_fluence(
        replace(square(100), leaf_positions_mm=leaves(-30, 30, range(24, 36))), BARE
    )  # 60 x 60 mm
    assert middle(jaws_only) < middle(by_leaves) < middle(extra_focal_fluence(square(100), BARE))
    both = extra_focal_fluence(replace(square(60), leaf_positions_mm=leaves(-30, 30, range(24, 36))), BARE)
    assert middle(both) <= middle(jaws_only)


def test_leaves_that_stop_all_but_their_transmission():
    closed = replace(square(100), leaf_positions_mm=leaves(0, 0))
    leaky = replace(BARE, mlc=replace(BARE.mlc, transmission=0.02))
    assert middle(extra_focal_fluence(closed, BARE)) == pytest.approx(0.0, abs=1e-3)
    assert middle(extra_focal_fluence(closed, leaky)) == pytest.approx(
        0.02 * middle(extra_focal_fluence(square(100), leaky)), rel=0.05
    )


def test_collimator_exchange():
    """A long field gives more dose when its short side is set by the lower jaws (X): 1 to 4 %, as is measured."""
    upper_short = axis_dose(LINAC, Aperture((-150, 150), (-25, 25)))
    lower_short = axis_dose(LINAC, Aperture((-25, 25), (-150, 150)))
    assert 1.01 < lower_short / upper_short < 1.04


def test_output_rises_with_the_field_even_without_scatter_in_the_phantom():
    """In-air output of the generic linac: a few per cent from 3 x 3 to 30 x 30 cm, and less without a filter."""

    def in_air(machine, field):
        sources = fluence_sources(square(field), machine)
        return sum(s.weight * middle(s.fluence) for s in sources)

    flattened = [in_air(LINAC, f) / in_air(LINAC, 100) for f in (30, 60, 200, 300)]
    assert flattened == sorted(flattened)
    assert 0.92 < flattened[0] < 0.97
    assert 1.02 < flattened[-1] < 1.05
    unflattened = load_machine("generic_6mv_fff")
    assert in_air(unflattened, 300) / in_air(unflattened, 30) < 0.6 * (flattened[-1] / flattened[0] - 1) + 1


def test_the_extra_focal_source_is_nearer():
    source = fluence_sources(square(100), LINAC)[1]
    assert source.strength(1100.0, 1000.0) / source.weight == pytest.approx((875 / 975) ** 2)
    assert source.blur_sigma_mm(1100.0, 400.0, 1000.0) == 0.0
    primary = fluence_sources(square(100), LINAC)[0]
    assert primary.blur_sigma_mm(1100.0, 400.0, 1000.0) == pytest.approx(0.8 * (1100 / 400 - 1) * 1000 / 1100)


def test_rounded_leaf_ends_widen_every_opening():
    wide = replace(BARE, mlc=replace(BARE.mlc, leaf_end_offset_mm=0.7))
    aperture = replace(square(100), leaf_positions_mm=leaves(-20, 30, range(20, 40)))
    sums = [aperture_fluence(aperture, m).values.sum() for m in (BARE, wide)]
    assert sums[1] / sums[0] == pytest.approx(51.4 / 50, rel=1e-4)
    touching = replace(square(100), leaf_positions_mm=leaves(5, 5))
    assert aperture_fluence(touching, wide).values.max() == 0.0


def test_tongue_and_groove_shade_where_a_leaf_stands_next_to_an_open_one():
    """Fields of odd and of even leaves: every open leaf loses a strip at both sides; open together they lose none."""
    grooved = replace(BARE, mlc=replace(BARE.mlc, tongue_and_groove_mm=0.4))
    odd, even = range(21, 39, 2), range(20, 40, 2)
    total = {}
    for machine in (BARE, grooved):
        parts = [
            aperture_fluence(replace(square(90), leaf_positions_mm=leaves(-30, 30, p)), machine).values
            for p in (odd, even)
        ]
        together = aperture_fluence(replace(square(90), leaf_positions_mm=leaves(-30, 30, range(20, 39))), machine)
        total[machine.mlc.tongue_and_groove_mm] = (sum(p.sum() for p in parts), together.values.sum())
    assert total[0.4][1] == pytest.approx(total[0.0][1] - 0.4 * 60, rel=1e-3)  # the strip along the last closed pair
    pairs = 18  # of 5 mm within the jaws
    assert total[0.0][0] - total[0.4][0] == pytest.approx(pairs * 2 * 0.4 * 60, rel=1e-3)


def test_leaf_strips_rise_and_cover_the_bank():
    sides, low, high = leaf_strips(replace(square(100), leaf_positions_mm=leaves(-10, 20)), LINAC)
    assert (np.diff(sides) > 0).all()
    assert (sides[0], sides[-1]) == (-200.0, 200.0)
    assert sides.size == low.size + 1 == high.size + 1 == 120
    assert (low == -10.7).all()
    assert (high == 20.7).all()


def test_backscatter_into_the_monitor():
    machine = replace(BARE, monitor_backscatter=MonitorBackscatter(0.004, 0.01))
    assert backscatter_factor(square(400), machine) == 1.0
    assert backscatter_factor(square(100), machine) == pytest.approx(1 / (1 + 0.75 * 0.014))
    ratio = middle(aperture_fluence(square(100), machine)) / middle(aperture_fluence(square(100), BARE))
    assert ratio == pytest.approx(1 / (1 + 0.75 * 0.014), rel=1e-6)


def test_horns_or_a_cone():
    """At the maximum a flattened beam rises to the side, an unflattened one falls, the more the higher its voltage."""
    ratio = {}
    for name in ("generic_6mv", "generic_10mv", "generic_6mv_fff", "generic_10mv_fff"):
        points = np.array([[0.0, 0.0, 20.0], [120.0, 0.0, 20.0]])
        axis, side = dose_for_fluence(load_machine(name), square(400), 1000.0, points)
        ratio[name] = side / axis
    assert 1.02 < ratio["generic_6mv"] < 1.06
    assert 1.02 < ratio["generic_10mv"] < 1.06
    assert 0.5 < ratio["generic_10mv_fff"] < ratio["generic_6mv_fff"] - 0.08 < 0.7


def test_softening_makes_depth_doses_fall_faster_off_the_axis():
    unsoftened = replace(LINAC, softening=())
    at = np.array([[150.0, 0.0, 15.0], [150.0 * 1.3 / 1.015, 0.0, 300.0]])  # one ray
    falls = []
    for machine in (LINAC, unsoftened):
        shallow, deep = dose_for_fluence(machine, square(400), 1000.0, at)
        falls.append(deep / shallow)
    assert 0.85 < falls[0] / falls[1] < 0.95


def test_electron_contamination_grows_with_the_field():
    surface = []
    for side in (50, 100, 200, 300):
        depth = np.array([0.0, 15.0])
        skin, deep = dose_for_fluence(LINAC, square(side), 1000.0, np.stack([0 * depth, 0 * depth, depth], axis=1))
        surface.append(skin / deep)
    assert surface == sorted(surface)
    assert surface[0] < 0.12
    assert 0.2 < surface[-1] < 0.4


def test_moving_leaves_light_every_source():
    """Sources of a sliding window are the mean of its parts; the beam's segments weigh one together."""
    points = tuple(
        ControlPoint(aperture=Aperture(leaf_positions_mm=leaves(s - 40.0, s - 20.0)), cumulative_meterset_weight=w)
        for s, w in ((0.0, 0.0), (30.0, 0.4), (60.0, 1.0))
    )
    (segment,) = beam_segments(Beam("DMLC", points, (0, 0, 0)), LINAC, "HFS")
    assert [source.name for source in segment.sources] == ["primary", "extra_focal"]
    assert segment.fluence is segment.sources[0].fluence
    assert 0.2 < middle(segment.sources[0].fluence) < 0.5
    assert 0.05 < middle(segment.sources[1].fluence) < 0.6


def test_the_head_keeps_its_symmetry_in_the_engine():
    """Point-symmetric field, all parts on: dose symmetric about the axis to 0.1 % of the maximum."""
    grid = Grid.from_spacing((20, 20, 20), 8.0, (-76, -76, -76))
    patient = Patient.from_density(np.ones(grid.shape, np.float32), grid)
    beam = Beam.open_field(jaw_x_mm=(-30, 30), jaw_y_mm=(-50, 50))
    dose = create_engine("photon-pencil-beam").calculate_dose(patient, Plan("P", (beam,)), grid).dose_Gy
    for mirrored in (dose[:, :, ::-1], dose[::-1]):
        assert np.abs(dose - mirrored).max() < 1e-3 * dose.max()


def test_a_point_extra_focal_source_at_the_spot_would_change_nothing():
    """An extra-focal source shrunk to a point on the axis, seen whole by every open field, gives the ideal output."""
    tiny = replace(BARE, extra_focal=ExtraFocalSource(0.1, 0.5, 125.0))
    without = replace(BARE, extra_focal=None)
    ratio = [axis_dose(tiny, square(f)) / axis_dose(without, square(f)) for f in (40, 100, 200)]
    # farther than the isocentre its inverse square law falls a little faster than the focal spot's
    expected = 0.9 + 0.1 * (875 / 975) ** 2 / (1000 / 1100) ** 2
    assert ratio == pytest.approx([expected] * 3, rel=4e-3)
