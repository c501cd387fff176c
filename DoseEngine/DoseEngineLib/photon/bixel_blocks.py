"""The bixels of a beam in blocks: which of them, one by one or gathered, make up a voxel's row of the dose influence.

Near a voxel every bixel counts; further away the bixels of a square block of 2, 4, 8 ... a side give it less than the
cut-off between them, and one of them stands for the block. Which one changes from voxel to voxel in an even pattern.
Blocks split where they come nearer than a distance that grows with their size, so that on each level the split ones are
an interval of every row of blocks. Rows are cut into *lines* of at most 16 blocks, a bit each: what is chosen of four
lines is one word, and choosing is a walk over its bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.fluence import off_axis_ratio

# Blocks of at most 2^4 = 16 bixels a side.
_MOST_LEVELS = 4
# Parts a side of a bixel over which the fluence is averaged.
_PARTS_A_SIDE = 5
_GOLDEN = 0.6180339887498949
# Blocks a line, and lines a word; levels are filled up to so many lines, for whole vectors too.
_LINE = 16
_WORD = 4
# Strips of `BixelBlocks.line_place`: middle and half width in mm, first column's edge in mm, columns.
_STRIPS = 4


@dataclass(frozen=True, eq=False)
class BixelBlocks:
    """The bixels of a beam on their lattice, and the blocks over them; flat arrays for the kernels.

    Level 0 holds single places of the lattice, each next level blocks of 2 x 2 of the level below; blocks are numbered
    level by level, row by row. Lines come from the largest blocks down, those of each level filled up to whole words
    with lines without bixels.
    """

    first: np.ndarray  # (2,) x, y of the lattice's lower corner, mm
    pitch: float
    used: np.ndarray  # (levels, 2) rows and columns of each level up to the last with a bixel
    column_start: np.ndarray  # (levels,) first column response of each level
    row_start: np.ndarray  # (levels,) first row response of each level
    count: np.ndarray  # (blocks,) bixels in each block
    member_start: np.ndarray  # (blocks,) where those are in `member`
    member: np.ndarray
    phase: np.ndarray  # (blocks,) where in the pattern a block starts
    line_start: np.ndarray  # (levels + 1,) first line of the largest blocks, ..., of single places; all lines
    line_place: np.ndarray  # (4 * lines,) float32, see `_STRIPS`
    line_radius: np.ndarray  # (lines,) uint64: which of a voxel's radii a line goes by
    line_parent: np.ndarray  # (lines,) uint64: line of the blocks that these are in
    line_shift: np.ndarray  # (lines,) uint64: of the first of them
    line_filled: np.ndarray  # (lines,) uint64: which blocks have bixels
    line_block: np.ndarray  # (lines,) uint64: first block
    column: np.ndarray  # (blocks,) int32: column response of each block
    row: np.ndarray  # (blocks,) int32
    occupied: np.ndarray  # (blocks,) float32: bixels over places of the lattice up to its last row and column
    off_axis: np.ndarray  # (bixels,) float32, fluence relative to the axis

    @property
    def levels(self) -> int:
        """How many, single places included; a voxel has one radius a level: see `choose_blocks`."""
        return self.used.shape[0]

    def choice(self) -> tuple:
        """What `choose_blocks` takes."""
        return (
            self.first, self.count, self.member_start, self.member, self.phase, self.line_start, self.line_place,
            self.line_radius, self.line_parent, self.line_shift, self.line_filled, self.line_block, _SPREAD,
        )  # fmt: skip

    def axes(self) -> tuple:
        """What `fill_values` takes."""
        return self.first, self.pitch, self.used, self.column_start, self.row_start

    def blocks(self) -> tuple:
        """What an entry takes."""
        return self.column, self.row, self.occupied


def make_blocks(beam: BixelBeam, machine: Machine) -> BixelBlocks:
    """Lay the bixels of a beam out."""
    columns, rows = beam.columns, beam.rows
    first = np.array([columns.min(), rows.min()])
    columns, rows = columns - first[0], rows - first[1]
    last = np.array([rows.max(), columns.max()])
    levels = int(min(max(math.ceil(math.log2(last.max() + 1)), 1), _MOST_LEVELS)) + 1
    used = np.stack([(last >> level) + 1 for level in range(levels)])
    # an even number of responses, for a last one without a neighbour to be joined with nothing
    row_start, column_start = (np.cumsum(even) - even for even in (used + used % 2).T)
    counts, members, starts, places, block_rows, block_columns = [], [], [], [], [], []
    for level in range(levels):
        block = (rows >> level) * used[level, 1] + (columns >> level)
        counts.append(np.bincount(block, minlength=used[level].prod()))
        members.append(np.argsort(block, kind="stable"))
        starts.append(level * rows.size + np.cumsum(counts[level]) - counts[level])
        high, wide = (
            np.minimum(last[axis] + 1 - (np.arange(used[level, axis]) << level), 1 << level) for axis in (0, 1)
        )
        places.append(np.outer(high, wide).ravel())
        in_row, in_column = np.divmod(np.arange(counts[level].size), used[level, 1])
        block_rows.append(row_start[level] + in_row)
        block_columns.append(column_start[level] + in_column)
    count = np.concatenate(counts)
    return BixelBlocks(
        first=np.array(beam.lattice_mm) + first * beam.width_mm,
        pitch=beam.width_mm,
        used=used.astype(np.int64),
        column_start=column_start.astype(np.int64),
        row_start=row_start.astype(np.int64),
        count=count.astype(np.float64),
        member_start=np.concatenate(starts).astype(np.uint64),
        member=np.concatenate(members).astype(np.int32),
        phase=np.modf(np.arange(count.size) * _GOLDEN)[0],
        **_lines(used, counts, beam.width_mm),
        column=np.concatenate(block_columns).astype(np.int32),
        row=np.concatenate(block_rows).astype(np.int32),
        occupied=(count / np.concatenate(places)).astype(np.float32),
        off_axis=_off_axis(beam, machine).astype(np.float32),
    )


def _lines(used: np.ndarray, counts: list[np.ndarray], pitch_mm: float) -> dict[str, np.ndarray]:
    """Fields of `BixelBlocks` about lines."""
    levels = used.shape[0]
    block_start = np.concatenate(([0], np.cumsum([count.size for count in counts])))
    place, radius, parent, shift, filled, block, start = [], [], [], [], [], [], [0]
    # for the distance at which they are dropped the largest blocks come once before
    for level in (levels, *range(levels - 1, -1, -1)):
        of = min(level, levels - 1)
        side = pitch_mm * 2.0**of
        row_count, column_count = used[of]
        segments = -(-column_count // _LINE)
        for r in range(row_count):
            for segment in range(segments):
                begin = segment * _LINE
                blocks = min(_LINE, column_count - begin)
                at = r * column_count + begin
                place.append(((r + 0.5) * side, side / 2.0, begin * side, blocks))
                radius.append(level)
                if of == level and level < levels - 1:
                    # two lines of this level to one of the next, where that has more than one
                    of_parent = -(-used[level + 1, 1] // _LINE)
                    parent.append(start[-2] + (r >> 1) * of_parent + (segment >> 1))
                    shift.append((segment & 1) * (_LINE // 2))
                else:
                    parent.append(max(len(parent) - start[-1], 0))
                    shift.append(0)
                filled.append(sum(1 << n for n in range(blocks) if counts[of][at + n] > 0))
                block.append(block_start[of] + at)
        while len(place) % _WORD:
            place.append((0.0, 1.0, 0.0, 0.0))
            for values, nothing in ((radius, level), (parent, 0), (shift, 0), (filled, 0), (block, 0)):
                values.append(nothing)
        start.append(len(place))
    return {
        "line_start": np.array(start, np.int64),
        "line_place": np.array(place, np.float32).T.ravel(),
        "line_radius": np.array(radius, np.uint64),
        "line_parent": np.array(parent, np.uint64),
        "line_shift": np.array(shift, np.uint64),
        "line_filled": np.array(filled, np.uint64),
        "line_block": np.array(block, np.uint64),
    }


def _off_axis(beam: BixelBeam, machine: Machine) -> np.ndarray:
    """Fluence (bixels,) relative to the axis, averaged over each bixel."""
    within = ((np.arange(_PARTS_A_SIDE) + 0.5) / _PARTS_A_SIDE - 0.5) * beam.width_mm
    radius = np.hypot((beam.x_mm[:, None] + within)[:, None, :], (beam.y_mm[:, None] + within)[:, :, None])
    return (off_axis_ratio(machine, radius) * (radius <= machine.field_radius_mm)).mean(axis=(1, 2))


# Every bit of eight twice.
_SPREAD = np.array([sum(3 << 2 * n for n in range(8) if byte >> n & 1) for byte in range(256)], np.uint64)


@intrinsic
def _lowest_bit(typingctx, word):
    """Number of the lowest bit that is set in a uint64 that is not zero."""
    if word != types.uint64:
        return None

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


# No fast mathematics here: both passes over the voxels must choose the same.
@numba.njit(cache=True, nogil=True, error_model="numpy")
def _split_bits(bits, reach2, lines, x, y, place):
    """Which blocks of the first lines come nearer to (x, y), from the lattice's corner, than a line's reach."""
    zero, one = np.float32(0.0), np.uint64(1)
    all_lines = np.uint64(reach2.size)
    for n in range(np.uint64(lines)):
        half, columns = place[all_lines + n], place[np.uint64(3) * all_lines + n]
        from_first = x - place[np.uint64(2) * all_lines + n]
        away = max(abs(y - place[n]) - half, zero)
        rest = reach2[n] - away * away
        reach = np.sqrt(max(rest, zero))
        a_block = np.float32(0.5) / half
        begin = min(max((from_first - reach) * a_block, zero), columns)
        end = min(max((from_first + reach) * a_block + np.float32(1.0), zero), columns)
        end = end if rest >= zero else begin
        low, high = np.uint64(np.int64(begin)), np.uint64(np.int64(end))
        bits[n] = (one << high) - (one << low)


@numba.njit(cache=True, nogil=True)
def choose_blocks(bixel, block, ends, voxels, place, radius2, pattern, choice):
    """Blocks and single bixels that make up the rows of some voxels: who carries each, and which it is.

    Parameters
    ----------
    bixel, block : int32 arrays, at least voxels * bixels
        Filled, one voxel after the other.
    ends : (voxels,) int64 array
        Filled: where the row of each voxel ends in ``bixel`` and ``block``.
    voxels : (int, int)
        First voxel, and the one behind the last.
    place : (v, 3) float32 array
        Where the ray to each voxel meets the isocentre plane: x, y in mm; the third is not looked at.
    radius2 : (v, levels + 1) float32 array
        Squared distances, mm2, rising: blocks of a level split up to theirs (that of level 0 counts for nothing), and
        the largest blocks are dropped beyond the last. Below zero: nothing is chosen.
    pattern : (v,) array
        Of each voxel's place in the pattern, 0 to 1.
    choice : tuple
        See `BixelBlocks.choice`.
    """
    (
        first, count, member_start, member, phase, line_start, line_place, radius, parent, shift, filled, line_block,
        spread,
    ) = choice  # fmt: skip
    levels = line_start.size - 2
    lines = line_start[levels]
    bits, reach2 = np.empty(radius.size, np.uint64), np.empty(radius.size, np.float32)
    # unsigned indices need no look at their sign, and a range in steps would divide
    one, byte, column_of, line_of = np.uint64(1), np.uint64(255), np.uint64(_LINE - 1), np.uint64(4)
    to_line = np.uint64(2)
    found = np.uint64(0)
    for p in range(np.uint64(voxels[0]), np.uint64(voxels[1])):
        for line in range(np.uint64(lines)):
            reach2[line] = radius2[p, radius[line]]
        x, y = np.float32(place[p, 0] - first[0]), np.float32(place[p, 1] - first[1])
        _split_bits(bits, reach2, lines, x, y, line_place)
        start = pattern[p]
        any_split = np.uint64(0)
        for step in range(1, levels):
            any_split = np.uint64(0)
            for words in range(np.uint64(line_start[step]) >> to_line, np.uint64(line_start[step + 1]) >> to_line):
                group = words << to_line
                word = np.uint64(0)
                for n in range(np.uint64(_WORD)):
                    line = group + n
                    # of the largest blocks those that are not dropped, of the others those whose parent splits
                    of_parent = bits[parent[line]]
                    if step > 1:
                        of_parent = spread[(of_parent >> shift[line]) & byte]
                    wanted = of_parent & filled[line]
                    split = bits[line]
                    word |= (wanted & ~split) << (n << line_of)
                    bits[line] = wanted & split
                    any_split |= wanted & split
                while word:
                    at = _lowest_bit(word)
                    word &= word - one
                    here = line_block[group + (at >> line_of)] + (at & column_of)
                    turn = start + phase[here]
                    turn -= 1.0 if turn >= 1.0 else 0.0
                    bixel[found] = member[member_start[here] + np.uint64(turn * count[here])]
                    block[found] = here
                    found += one
            if not any_split:
                break
        if any_split:
            for words in range(np.uint64(line_start[levels]) >> to_line, np.uint64(line_start[levels + 1]) >> to_line):
                group = words << to_line
                word = np.uint64(0)
                for n in range(np.uint64(_WORD)):
                    line = group + n
                    wanted = spread[(bits[parent[line]] >> shift[line]) & byte] & filled[line]
                    word |= wanted << (n << line_of)
                while word:
                    at = _lowest_bit(word)
                    word &= word - one
                    here = line_block[group + (at >> line_of)] + (at & column_of)
                    bixel[found] = member[member_start[here]]
                    block[found] = here
                    found += one
        ends[p - np.uint64(voxels[0])] = found
