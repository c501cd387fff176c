"""Which blocks of bixels make up a voxel's row: every bixel once, split exactly where blocks come too near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import load_machine
from DoseEngineLib.photon.bixel_blocks import choose_blocks, make_blocks

MACHINE = load_machine("generic_6mv")
PITCH = 5.0


def lattice(places):
    """Blocks over the bixels of a (rows, columns) bool array, the first at 0 mm."""
    rows, columns = np.nonzero(places)
    x, y = (columns + 0.5) * PITCH, (rows + 0.5) * PITCH
    return make_blocks(BixelBeam("1", 0, 0, 0, (0, 0, 0), "generic_6mv", PITCH, x, y), MACHINE), rows, columns


def chosen(blocks, points, radius2, pattern):
    """Bixels and blocks of each point, as lists."""
    n = len(points)
    place = np.column_stack((points, np.full(n, 1000.0))).astype(np.float32)
    bixel, block = (np.full(n * blocks.off_axis.size, -1, np.int32) for _ in range(2))
    ends = np.zeros(n, np.int64)
    choose_blocks(bixel, block, ends, (0, n), place, np.asarray(radius2, np.float32), pattern, blocks.choice())
    starts = np.concatenate(([0], ends[:-1]))
    return [(bixel[a:b], block[a:b]) for a, b in zip(starts, ends, strict=True)]


def expected(blocks, rows, columns, point, radius2):
    """Blocks that the tree, walked from the top, splits and gathers: (level, row, column) of those gathered."""
    levels = blocks.levels
    shift = np.array([rows - rows.min(), columns - columns.min()])
    x, y = point - blocks.first
    found = set()

    def away2(level, r, c):
        side = PITCH * 2**level
        dx = max(abs(x - (c + 0.5) * side) - side / 2, 0.0)
        dy = max(abs(y - (r + 0.5) * side) - side / 2, 0.0)
        return dx * dx + dy * dy

    def walk(level, r, c):
        within = ((shift[0] >> level) == r) & ((shift[1] >> level) == c)
        if not within.any():
            return
        if level == 0 or away2(level, r, c) > radius2[level]:
            if level < levels - 1 or away2(level, r, c) <= radius2[levels]:
                found.add((level, r, c))
            return
        for rr in (2 * r, 2 * r + 1):
            for cc in (2 * c, 2 * c + 1):
                walk(level - 1, rr, cc)

    top = levels - 1
    for r in range(blocks.used[top, 0]):
        for c in range(blocks.used[top, 1]):
            walk(top, r, c)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 70), st.integers(1, 70))
def test_blocks_are_those_of_the_tree_walked_from_the_top(seed, row_count, column_count):
    """Random lattices with holes, up to 70 bixels wide; points within and far beyond; rising radii, some zero."""
    rng = np.random.default_rng(seed)
    places = rng.random((row_count, column_count)) < rng.choice([0.15, 0.6, 1.0])
    places[rng.integers(row_count), rng.integers(column_count)] = True
    blocks, rows, columns = lattice(places)
    points = rng.uniform(-60.0, 60.0 + PITCH * max(row_count, column_count), (6, 2))
    radius2 = np.sort(rng.uniform(0.0, 120.0, (6, blocks.levels + 1)) ** 2 * rng.integers(0, 2, (6, 1)), axis=1)
    radius2[0] = np.inf
    rows_of_points = chosen(blocks, points, radius2, rng.random(6))
    level_start = np.concatenate(([0], np.cumsum(blocks.used.prod(axis=1))))
    for point, radii, (bixel, block) in zip(points, radius2, rows_of_points, strict=True):
        level = np.searchsorted(level_start, block, side="right") - 1
        r, c = np.divmod(block - level_start[level], blocks.used[level, 1])
        got = set(zip(level.tolist(), r.tolist(), c.tolist(), strict=True))
        wanted = expected(blocks, rows, columns, point, radii)
        # float32 may see a block whose edge touches the circle on its other side
        assert len(got) == block.size
        assert len(got ^ wanted) <= (0 if np.isinf(radii[0]) else 4)
        # who carries a block is in it, and no bixel carries two
        shift = np.array([rows - rows.min(), columns - columns.min()])
        assert (shift[0][bixel] >> level == r).all()
        assert (shift[1][bixel] >> level == c).all()
        assert np.unique(bixel).size == bixel.size


def test_every_bixel_has_its_part_where_nothing_is_dropped():
    """Bixels of the chosen blocks of 200 voxels sum to all bixels, whatever the radii."""
    rng = np.random.default_rng(5)
    blocks, _, _ = lattice(rng.random((37, 43)) < 0.8)
    points = rng.uniform(-100.0, 300.0, (200, 2))
    radius2 = np.sort(rng.uniform(0.0, 150.0, (200, blocks.levels + 1)) ** 2, axis=1)
    radius2[:, -1] = np.inf
    for _, block in chosen(blocks, points, radius2, rng.random(200)):
        assert blocks.count[block].sum() == blocks.off_axis.size


def test_the_pattern_gives_every_bixel_of_a_block_its_turn():
    """A block of 16 x 16 far away, 25,600 voxels with an even pattern: each of 256 bixels carries it 100 times."""
    blocks, _, _ = lattice(np.ones((16, 16), bool))
    n = 25_600
    radius2 = np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.inf], np.float32)
    turns = np.zeros(256, int)
    for bixel, block in chosen(blocks, np.full((n, 2), 900.0), np.tile(radius2, (n, 1)), (np.arange(n) + 0.5) / n):
        assert block.size == 1
        turns[bixel[0]] += 1
    assert turns.min() >= 99
    assert turns.max() <= 101


def test_nothing_is_chosen_below_zero_and_far_blocks_are_dropped():
    blocks, _, _ = lattice(np.ones((8, 8), bool))
    levels = blocks.levels
    radius2 = np.stack((np.full(levels + 1, -1.0), np.append(np.zeros(levels), 50.0**2), np.full(levels + 1, np.inf)))
    nothing, dropped, every = chosen(
        blocks, np.array([[20.0, 20.0], [150.0, 20.0], [150.0, 20.0]]), radius2, np.zeros(3)
    )
    assert nothing[0].size == dropped[0].size == 0
    assert every[0].size == 64


@pytest.mark.parametrize("count", [1, 2])
def test_lattices_of_one_or_two_bixels(count):
    blocks, _, _ = lattice(np.ones((1, count), bool))
    ((bixel, _),) = chosen(blocks, np.zeros((1, 2)), np.full((1, blocks.levels + 1), np.inf), np.zeros(1))
    assert sorted(bixel) == list(range(count))
