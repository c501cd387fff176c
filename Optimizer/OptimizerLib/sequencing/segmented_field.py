"""A step-and-shoot beam as variables of a search: exposure of its bixels, and the slope with leaves and MU.

Where a leaf's edge stands inside a bixel, moving it changes that bixel's exposure at a constant rate, so that the slope
of anything with the leaf is its slope with that bixel times the rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.fluence import backscatter_factor
from DoseEngineLib.plan import Beam
from OptimizerLib.errors import OptimizationError
from OptimizerLib.sequencing.bixel_exposure import jaw_share, open_share, row_shares, strip_edges
from OptimizerLib.sequencing.delivery_limits import required_limits
from OptimizerLib.sequencing.leaf_tips import leaf_tips, least_opening_mm
from OptimizerLib.sequencing.modulated_beams import closed_beam, static_segments_beam

if TYPE_CHECKING:
    from DoseEngineLib.influence import BixelBeam

# The exposure has kinks where leaves pass from one bixel to the next; a search sees it averaged over this way.
_SMOOTHING_MM = 1.0
# Pairs that are open stay open by at least so much.
_LEAST_TIP_GAP_MM = 1.0


class SegmentedField:
    """Segments of a beam as variables: MU, and the radiation edges of the pairs that are open.

    The variables are scaled to numbers of about one: MU by their mean, edges by the width of a bixel.

    Parameters
    ----------
    beam : Beam
    bixels : BixelBeam
    machine : Machine
    pairs : slice
        Leaf pairs of the MLC that take part.
    open_MU : (segments,) array
        MU of open fluence.
    low_mm, high_mm : (segments, pairs that take part) arrays
        Radiation edges; of closed pairs, where they are closed.
    is_open : (segments, pairs that take part) bool array
    step_mm : float
        How far an edge may go from where it stands.
    dropped : bool
        Whether segments with too few MU were left out.
    """

    def __init__(
        self,
        beam: Beam,
        bixels: BixelBeam,
        machine: Machine,
        pairs: slice,
        open_MU: np.ndarray,
        low_mm: np.ndarray,
        high_mm: np.ndarray,
        is_open: np.ndarray,
        step_mm: float,
        dropped: bool = False,
    ) -> None:
        self.beam, self.bixels, self.machine, self.pairs = beam, bixels, machine, pairs
        self.open_MU, self.low_mm, self.high_mm, self.is_open = open_MU, low_mm, high_mm, is_open
        self.step_mm, self.dropped = step_mm, dropped
        self.jaw_y_mm = beam.control_points[0].aperture.jaw_y_mm
        _, self._x, y = bixels.fluence_map(np.zeros(bixels.size))
        self._at = bixels.rows - bixels.rows.min(), bixels.columns - bixels.columns.min()
        self.jaw_x_mm = self._reach()
        under, beside = row_shares(y, self.jaw_y_mm, machine)
        self._seen = under.any(axis=0)
        self._under, self._beside = under[:, self._seen], beside
        self._jaw = jaw_share(self._x, self.jaw_x_mm, machine.jaw_x.transmission)
        # behind the Y jaws the next pairs follow the outermost, see leaf_tips
        followed = np.full(machine.mlc.pairs, -1)
        followed[pairs] = np.arange(pairs.stop - pairs.start)
        if pairs.start > 0:
            followed[pairs.start - 1] = 0
        if pairs.stop < machine.mlc.pairs:
            followed[pairs.stop] = pairs.stop - pairs.start - 1
        self._set = np.flatnonzero(followed >= 0)
        self._followed = followed[self._set]
        self._MU_scale = float(open_MU.mean())

    @classmethod
    def from_beam(
        cls, beam: Beam, bixels: BixelBeam, machine: Machine, step_mm: float = 5.0, least_segment_MU: float = 0.0
    ) -> SegmentedField | None:
        """Read the segments of a step-and-shoot beam; None for a beam without MU."""
        if beam.meterset_MU is None or any(p.aperture.leaf_positions_mm is None for p in beam.control_points):
            raise OptimizationError(f"Beam {beam.name} has no MU or no leaves; sequence the plan first.")
        if beam.meterset_MU == 0:
            return None
        points = beam.control_points
        share = np.diff([point.cumulative_meterset_weight for point in points])
        tips = np.array([point.aperture.leaf_positions_mm for point in points])
        lit = share > 0
        if (np.abs(np.diff(tips, axis=0))[lit] > 1e-6).any():
            raise OptimizationError(
                f"Beam {beam.name} has leaves that move while the beam is on; only step and shoot can be refined, "
                "sequence it with method='step_and_shoot'."
            )
        MU = beam.meterset_MU * share[lit]
        kept = (least_segment_MU <= MU) | (np.max(MU) == MU)
        aperture = points[0].aperture
        sides = np.asarray(machine.mlc.boundaries_mm)
        taking_part = np.flatnonzero(
            (sides[1:] > aperture.jaw_y_mm[0] + 1e-6) & (sides[:-1] < aperture.jaw_y_mm[1] - 1e-6)
        )
        pairs = slice(int(taking_part[0]), int(taking_part[-1]) + 1)
        tips = tips[:-1][lit][kept][:, pairs]
        is_open = tips[..., 1] - tips[..., 0] > max(required_limits(machine).minimum_gap_mm, 1e-6) - 1e-9
        # with a gap that cannot be closed, what the X jaws hide counts as closed
        is_open &= (tips[..., 1] > aperture.jaw_x_mm[0]) & (tips[..., 0] < aperture.jaw_x_mm[1])
        if not is_open.any():
            raise OptimizationError(f"Beam {beam.name} has MU but no open leaf pair; sequence the plan anew.")
        offset = np.where(is_open, machine.mlc.leaf_end_offset_mm, 0.0)
        # what dropped segments gave is left to the search to give back
        open_MU = MU[kept] * backscatter_factor(aperture, machine)
        low, high = tips[..., 0] - offset, tips[..., 1] + offset
        return cls(beam, bixels, machine, pairs, open_MU, low, high, is_open, step_mm, not kept.all())

    def _reach(self) -> tuple[float, float]:
        """Between which X all edges stay: a step around the field, where there are bixels and the carriages reach."""
        mlc, limits = self.machine.mlc, required_limits(self.machine)
        offset = mlc.leaf_end_offset_mm
        field_low, field_high = self.beam.control_points[0].aperture.jaw_x_mm
        # jaws that hide gaps which cannot be closed stay where they are
        step = self.step_mm if limits.minimum_gap_mm == 0 else 0.0
        low = max(float(self._x[0]), mlc.minimum_mm - offset, field_low - step)
        high = min(float(self._x[-1]), mlc.maximum_mm + offset, field_high + step)
        room = max(limits.maximum_spread_mm, field_high - field_low)
        if high - low > room:
            low = float(np.clip(0.5 * (field_low + field_high) - room / 2, low, high - room))
            high = low + room
        return low, high

    def variables(self) -> np.ndarray:
        """Where the field stands."""
        width = self.bixels.width_mm
        return np.concatenate(
            (
                self.open_MU / self._MU_scale,
                self.low_mm[self.is_open] / width,
                self.high_mm[self.is_open] / width,
            )
        )

    def _unpacked(self, variables: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        segments, edges = len(self.open_MU), int(self.is_open.sum())
        width = self.bixels.width_mm
        low, high = self.low_mm.copy(), self.high_mm.copy()
        low[self.is_open] = variables[segments : segments + edges] * width
        high[self.is_open] = variables[segments + edges :] * width
        return variables[:segments] * self._MU_scale, low, high

    def move_to(self, variables: np.ndarray) -> None:
        """Set the field to some variables."""
        self.open_MU, self.low_mm, self.high_mm = self._unpacked(variables)

    def bounds(self, least_segment_MU: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the variables in which every limit of the machine is met, whatever the other leaves do.

        Where two leaves must keep their distance, each may use half of what lies between them.
        """
        limits = required_limits(self.machine)
        gap = max(
            least_opening_mm(self.machine, moving=False), 2 * self.machine.mlc.leaf_end_offset_mm + _LEAST_TIP_GAP_MM
        )
        middle = 0.5 * (self.low_mm + self.high_mm)
        low_most = np.minimum(self.low_mm + self.step_mm, middle - gap / 2)
        high_least = np.maximum(self.high_mm - self.step_mm, middle + gap / 2)
        if not limits.interdigitation:
            apart = least_opening_mm(self.machine, moving=False)
            for low, high, most, least, opened in zip(
                self.low_mm, self.high_mm, low_most, high_least, self.is_open, strict=True
            ):
                rows = np.flatnonzero(opened)
                for one, other in zip(rows[:-1], rows[1:], strict=True):
                    for left, right in ((one, other), (other, one)):
                        between = 0.5 * (low[left] + high[right])
                        most[left] = min(most[left], between - apart / 2)
                        least[right] = max(least[right], between + apart / 2)
        low_least = np.minimum(np.maximum(self.low_mm - self.step_mm, self.jaw_x_mm[0]), low_most)
        high_most = np.maximum(np.minimum(self.high_mm + self.step_mm, self.jaw_x_mm[1]), high_least)
        width, edges = self.bixels.width_mm, self.is_open
        aperture = self.beam.control_points[0].aperture
        # the jaws are fitted afterwards and change the backscatter a little
        least = 1.001 * least_segment_MU * backscatter_factor(aperture, self.machine) / self._MU_scale
        segments = len(self.open_MU)
        return (
            np.concatenate((np.full(segments, least), low_least[edges] / width, high_least[edges] / width)),
            np.concatenate((np.full(segments, np.inf), low_most[edges] / width, high_most[edges] / width)),
        )

    def exposure(self, variables: np.ndarray, smoothing_mm: float = _SMOOTHING_MM) -> np.ndarray:
        """MU of open fluence (bixels,), averaged over a small way of each edge; X jaws at the ends of their reach."""
        self._MU, low, high = self._unpacked(variables)
        mlc = self.machine.mlc
        shape = (len(low), mlc.pairs)
        self._all_low, self._all_high = np.zeros(shape), np.zeros(shape)
        self._all_low[:, self._set], self._all_high[:, self._set] = low[:, self._followed], high[:, self._followed]
        strip_low, strip_high = (edge[:, self._seen] for edge in strip_edges(self._all_low, self._all_high, mlc))
        half = smoothing_mm / 2
        self._share = open_share(
            self._x,
            self.jaw_x_mm,
            self.machine.jaw_x.transmission,
            (strip_low - half, strip_low + half),
            (strip_high - half, strip_high + half),
        )
        self._strip_low, self._strip_high, self._smoothing_mm = strip_low, strip_high, smoothing_mm
        leak = mlc.transmission
        by_strip = leak * self._jaw * self._MU.sum() + (1.0 - leak) * np.tensordot(self._MU, self._share, axes=1)
        return (self._under @ by_strip + self._MU.sum() * self._beside[:, None] * self._jaw)[self._at]

    def slope(self, by_bixel: np.ndarray) -> np.ndarray:
        """Gradient with the variables where `exposure` was called last, from that with the bixels."""
        raster = np.zeros((len(self._under), len(self._x) - 1))
        raster[self._at] = by_bixel
        by_strip = self._under.T @ raster
        mlc = self.machine.mlc
        leak = mlc.transmission
        always = (by_strip * leak * self._jaw).sum() + (raster * self._beside[:, None] * self._jaw).sum()
        by_MU = always + (1.0 - leak) * np.einsum("qx,sqx->s", by_strip, self._share)
        factor = (1.0 - leak) * self._MU[:, None]
        by_low, by_high = np.zeros(self._all_low.shape), np.zeros(self._all_low.shape)
        is_lit = self._strip_high > self._strip_low
        for edge, by_edge, sign in ((self._strip_low, by_low, -1.0), (self._strip_high, by_high, 1.0)):
            self._to_pairs(np.where(is_lit, sign * factor * self._density(edge, by_strip), 0.0), by_edge, sign)
        low, high = np.zeros(self.low_mm.shape), np.zeros(self.low_mm.shape)
        np.add.at(low, (slice(None), self._followed), by_low[:, self._set])
        np.add.at(high, (slice(None), self._followed), by_high[:, self._set])
        width = self.bixels.width_mm
        return np.concatenate((by_MU * self._MU_scale, low[self.is_open] * width, high[self.is_open] * width))

    def _density(self, edge: np.ndarray, by_strip: np.ndarray) -> np.ndarray:
        """Mean (segments, strips) of what an edge gains a millimetre, over the way it is smoothed."""
        half = self._smoothing_mm / 2
        leak = self.machine.jaw_x.transmission

        def gained(edges_mm: np.ndarray) -> np.ndarray:
            # integral of the density from the first column to an edge, linear between column edges
            total = np.cumsum(by_strip * np.diff(edges_mm) / np.diff(self._x), axis=1)
            total = np.pad(total, ((0, 0), (1, 0)))
            return np.stack(
                [
                    np.interp(edge[:, q] + half, edges_mm, total[q]) - np.interp(edge[:, q] - half, edges_mm, total[q])
                    for q in range(len(by_strip))
                ],
                axis=1,
            )

        inside = np.clip(self._x, *self.jaw_x_mm)
        density = (1.0 - leak) * gained(inside)
        if leak > 0:
            density = density + leak * gained(self._x)
        return density / self._smoothing_mm

    def _to_pairs(self, by_strip: np.ndarray, by_pair: np.ndarray, sign: float) -> None:
        """Add what strips gain to the pairs whose edges they have."""
        mlc = self.machine.mlc
        strips = np.flatnonzero(self._seen)
        if mlc.tongue_and_groove_mm == 0:
            by_pair[:, strips] += by_strip
            return
        single = strips % 2 == 0
        by_pair[:, strips[single] // 2] += by_strip[:, single]
        first = strips[~single] // 2
        edge = self._all_low if sign < 0 else -self._all_high
        # a strip between two pairs has the greater low and the lesser high edge
        second = edge[:, first + 1] > edge[:, first]
        rows = np.arange(len(by_pair))[:, None]
        np.add.at(by_pair, (rows, first[None, :] + second), by_strip[:, ~single])

    def to_beam(self) -> Beam:
        """Make the beam, its jaws fitted to what is open now; closed when no segment has any MU left."""
        if not self.open_MU.max() > 0:
            return closed_beam(self.beam, self.bixels, self.machine)
        jaw_x = (
            max(float(self.low_mm[self.is_open].min()), self.jaw_x_mm[0]),
            min(float(self.high_mm[self.is_open].max()), self.jaw_x_mm[1]),
        )
        tips = leaf_tips(
            self.low_mm,
            self.high_mm,
            self.is_open,
            self.pairs,
            jaw_x,
            self.machine,
            required_limits(self.machine).minimum_gap_mm,
        )
        kept = self.open_MU > 1e-6 * self.open_MU.max()
        return static_segments_beam(
            self.beam, self.bixels, tips[kept], self.open_MU[kept], jaw_x, self.jaw_y_mm, self.machine
        )
