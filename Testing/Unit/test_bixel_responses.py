"""Entries of a dose influence against the integrals that they stand for, and the vector instructions under them."""

from __future__ import annotations

import math
from dataclasses import replace

import numba
import numpy as np
import pytest
from scipy.special import ndtr

from DoseEngineLib.errors import EngineError
from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.bixel_blocks import choose_blocks, make_blocks
from DoseEngineLib.photon.bixel_responses import (
    PRIMARY_LANES,
    fill_reach2,
    fill_values,
    phi,
    phi_table,
    primary_lanes,
    sources,
)
from DoseEngineLib.photon.lanes import join_lanes, march_lanes, product_of_lanes

MACHINE = load_machine("generic_6mv")
SIGMAS = np.array([0.4, 1.5, 4.0, 8.0, 12.0, 30.0, 90.0])


def case(machine=MACHINE, pitch=5.0, count=9, voxels=40, seed=2):
    """A square lattice, and voxels in and around it with random Gaussians; arguments of `fill_values` and more."""
    rng = np.random.default_rng(seed)
    at = (np.arange(count) + 0.5 - count // 2) * pitch
    x, y = (v.ravel() for v in np.meshgrid(at, at))
    beam = BixelBeam("1", 0, 0, 0, (0, 0, 0), machine.name, pitch, x, y)
    blocks = make_blocks(beam, machine)
    lanes = primary_lanes(SIGMAS, pitch, "Beam 1")
    place = np.column_stack((rng.uniform(-60, 60, (voxels, 2)), rng.uniform(880.0, 1100.0, voxels))).astype(np.float32)
    amplitude, variance = np.zeros((voxels, PRIMARY_LANES), np.float32), np.ones((voxels, PRIMARY_LANES), np.float32)
    amplitude[:, lanes] = rng.uniform(0.1, 1.0, (voxels, SIGMAS.size))
    variance[:, lanes] = (SIGMAS * rng.uniform(0.9, 1.6, (voxels, 1))) ** 2
    return beam, blocks, sources(machine, SIGMAS, lanes, 0.9), place, amplitude, variance, lanes


def all_entries(blocks, source, place, amplitude, variance):
    """(voxels, bixels) array with every entry."""
    n, bixels = place.shape[0], blocks.off_axis.size
    bixel, block = np.empty(n * bixels, np.int32), np.empty(n * bixels, np.int32)
    ends, values = np.empty(n, np.int64), np.empty(n * bixels, np.float32)
    radius2 = np.full((n, blocks.levels + 1), np.inf, np.float32)
    choose_blocks(bixel, block, ends, (0, n), place, radius2, np.zeros(n), blocks.choice())
    fill_values(
        values, bixel, block, ends, (0, n), place, amplitude, variance, source, blocks.axes(), blocks.blocks(),
        blocks.off_axis,
    )  # fmt: skip
    result = np.empty((n, bixels))
    result[np.repeat(np.arange(n), np.diff(ends, prepend=0)), bixel] = values
    return result


def exact_entries(machine, beam, blocks, source, place, amplitude, variance, lanes):
    """The same by products of differences of the cumulative normal distribution, in double precision."""
    sad, spot, opening, primary, extra, distance, magnification, extra_variance = source[:8]
    half = beam.width_mm / 2
    result = np.zeros((place.shape[0], beam.size))
    for p, (u, v, w) in enumerate(place.astype(float)):
        blur2 = (spot * (w / opening - 1.0) * sad / w) ** 2
        spread = (sad - distance) / (w - distance) * w / sad
        for lane in lanes:
            a, s2 = float(amplitude[p, lane]), float(variance[p, lane])
            for weight, shift, sigma2, scale in (
                (blocks.off_axis.astype(float), 1.0, s2 + blur2, 1.0),
                (extra / primary * spread**2, 1.0 / magnification, (s2 + extra_variance) / magnification**2, 1.0),
            ):
                sigma = math.sqrt(sigma2)
                along = [
                    ndtr((c + half - at * shift) / sigma) - ndtr((c - half - at * shift) / sigma)
                    for c, at in ((beam.x_mm, u), (beam.y_mm, v))
                ]
                result[p] += a * weight * scale * along[0] * along[1]
    return result


@pytest.mark.parametrize("name", ["generic_6mv", "generic_15mv", "ideal_6mv", "generic_6mv_fff"])
@pytest.mark.parametrize("pitch", [2.5, 5.0, 10.0])
def test_entries_are_integrals_of_gaussians_over_bixels(name, pitch):
    """Every entry of 40 voxels, against double precision: 0.02 % of the largest entry of all, as the module says.

    Of the largest of its own voxel 0.1 % without an extra-focal source; with one 1 %, for narrow Gaussians count as
    one under its blur.
    """
    machine = load_machine(name)
    beam, blocks, source, place, amplitude, variance, lanes = case(machine, pitch)
    got = all_entries(blocks, source, place, amplitude, variance)
    wanted = exact_entries(machine, beam, blocks, source, place, amplitude, variance, lanes)
    error = np.abs(got - wanted)
    print(f"{name} {pitch}: {error.max() / wanted.max():.1e}, {(error.max(axis=1) / wanted.max(axis=1)).max():.1e}")
    assert error.max() < 2e-4 * wanted.max()
    assert (error.max(axis=1) / wanted.max(axis=1)).max() < (1e-3 if machine.extra_focal is None else 1e-2)


def test_a_block_is_the_sum_of_its_bixels():
    """A block's entry against the sum of its bixels' entries, levels 1 to 4, without off-axis differences: 1e-5."""
    flat = replace(MACHINE, off_axis_kind="flat")
    _, blocks, source, place, amplitude, variance, _ = case(flat, count=16, voxels=5)
    entries = all_entries(blocks, source, place, amplitude, variance)
    for level in range(1, blocks.levels):
        size = blocks.used[level].prod()
        start = blocks.used[:level].prod(axis=1).sum()
        block = np.arange(start, start + size, dtype=np.int32)
        bixel = blocks.member[blocks.member_start[block]].astype(np.int32)
        for p in range(place.shape[0]):
            values = np.empty(size, np.float32)
            fill_values(
                values, bixel, block, np.array([size]), (p, p + 1), place, amplitude, variance, source, blocks.axes(),
                blocks.blocks(), blocks.off_axis,
            )  # fmt: skip
            for n, b in enumerate(block):
                first = int(blocks.member_start[b])
                members = blocks.member[first : first + int(blocks.count[b])]
                assert values[n] == pytest.approx(entries[p, members].sum(), rel=2e-5)


def test_reach_is_where_the_largest_gaussian_falls_to_half_the_limit():
    """Against the logarithm in double precision: 0.1 % of the squared distance."""
    _, _, source, place, amplitude, variance, _ = case(replace(MACHINE, extra_focal=None))
    amplitude[3] = 0.0
    pitch, limit = 5.0, 1e-4
    more = np.arange(4) * math.log(4.0)
    reach2 = np.empty((place.shape[0], 4), np.float32)
    fill_reach2(reach2, (0, place.shape[0]), place, amplitude, variance, more.astype(np.float32), limit, source, pitch)
    sad, spot, opening = source[:3]
    blur2 = (spot * (place[:, 2] / opening - 1.0) * sad / place[:, 2]) ** 2
    square = variance + blur2[:, None] + pitch**2 / 12
    with np.errstate(divide="ignore"):
        above = np.log(amplitude * pitch**2 / (math.pi * square * limit))
    wanted = np.maximum((2 * square[..., None] * (above[..., None] + more)).max(axis=1), 0.0)
    assert (reach2[3] == -1.0).all()
    rest = np.arange(place.shape[0]) != 3
    assert reach2[rest] == pytest.approx(wanted[rest], rel=1e-3)
    fill_reach2(reach2, (0, 5), place, amplitude, variance, more.astype(np.float32), 0.0, source, pitch)
    assert np.isinf(reach2[[0, 1, 2, 4]]).all()
    assert (reach2[3] == -1.0).all()


def test_too_many_gaussians_are_refused():
    with pytest.raises(EngineError, match="choose another width"):
        primary_lanes(np.linspace(0.1, 1.0, 9), 5.0, "Beam 1")
    wide = np.geomspace(11.0, 300.0, 8)
    with pytest.raises(EngineError, match="more Gaussians"):
        sources(MACHINE, wide, np.arange(8), 1.0)


def test_table_of_the_normal_distribution():
    """Read linearly: 2e-6; constant beyond 6 standard deviations."""
    table = phi_table()
    z = np.linspace(-7.0, 7.0, 2001)
    assert [phi(table, value) for value in z] == pytest.approx(ndtr(np.clip(z, -6, 6)), abs=2e-6)


@numba.njit
def _products(columns, rows, factor):
    return product_of_lanes(columns, 2, rows, 1, factor, 0, 2), product_of_lanes(columns, 2, rows, 1, factor, 1, 2)


@numba.njit
def _joined(array):
    join_lanes(array, 6, 0, 3, 1, 2)


@numba.njit
def _marched(array, strip):
    march_lanes(array, 3, 4, 1, strip, 0, 24, 1, 2)
    march_lanes(array, 3, 3, -1, strip, 0, 24, 1, 2)


def test_lanes_do_what_numpy_does():
    """Products, sums of pairs, and marching of rows of 24: to float32 rounding; other groups are left alone."""
    rng = np.random.default_rng(4)
    columns, rows = (rng.random((9, 24), np.float32) for _ in range(2))
    both = columns[2] * rows[1]
    factor = np.float32(0.7)
    assert _products(columns, rows, factor) == pytest.approx(
        (both[:16].sum() * factor + both[16:].sum(), both[8:16].sum() * factor + both[16:].sum()), rel=1e-6
    )
    joined = columns.copy()
    _joined(joined)
    assert np.array_equal(joined[6:, 8:], columns[0:6:2, 8:] + columns[1:6:2, 8:])
    assert np.array_equal(joined[:, :8], columns[:, :8])
    marched, strip = columns.copy(), np.concatenate((rng.random(24), rng.random(24))).astype(np.float32)
    _marched(marched, strip)
    ratio, fall = strip[8:24].astype(float), strip[32:48].astype(float)
    for place in range(8):
        k = abs(place - 3)
        wanted = columns[3, 8:] * ratio**k * fall ** (k * (k - 1) / 2)
        assert marched[place, 8:] == pytest.approx(wanted, rel=1e-5, abs=1e-12)
    assert np.array_equal(marched[:, :8], columns[:, :8])
