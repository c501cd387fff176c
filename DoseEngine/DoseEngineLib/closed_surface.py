"""A structure as a closed triangle mesh: its volume, and points inside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from DoseEngineLib.errors import GeometryError
from DoseEngineLib.scan_lines import LayerEdges, PointRows, points_inside


@dataclass(frozen=True, eq=False)
class ClosedSurface:
    """A closed triangle mesh, of one piece or several, possibly with cavities; it must not cut through itself.

    Attributes
    ----------
    name : str
    vertices_RAS_mm : (v, 3) array
    triangles : (t, 3) int array
        Vertex numbers. Neighbours share vertices and are oriented alike; outwards or inwards does not matter.

    Raises
    ------
    GeometryError
        Arrays of another shape, vertices that are not finite or missing, a surface with holes or turned triangles, or
        without volume.
    """

    name: str
    vertices_RAS_mm: np.ndarray
    triangles: np.ndarray

    def __post_init__(self) -> None:
        vertices = np.array(self.vertices_RAS_mm, dtype=float)
        triangles = np.array(self.triangles, dtype=np.int64)
        if vertices.ndim != 2 or vertices.shape[1:] != (3,) or not np.isfinite(vertices).all():
            raise GeometryError(
                f"{self.name}: a surface's vertices are finite points (v, 3) in RAS mm; got shape {vertices.shape}."
            )
        if triangles.ndim != 2 or triangles.shape[1:] != (3,) or not len(triangles):
            raise GeometryError(
                f"{self.name}: a surface's triangles are rows of three vertex numbers; got shape {triangles.shape}."
            )
        if triangles.min() < 0 or triangles.max() >= len(vertices):
            raise GeometryError(f"{self.name}: a triangle names a vertex that is not among the {len(vertices)} given.")
        vertices.setflags(write=False)
        triangles.setflags(write=False)
        object.__setattr__(self, "vertices_RAS_mm", vertices)
        object.__setattr__(self, "triangles", triangles)
        self._check_closed()
        if not self.volume_cm3 > 0.0:
            raise GeometryError(f"{self.name}: the surface encloses no volume; make it again from its segment.")

    def _check_closed(self) -> None:
        """Every edge must be travelled as often one way as the other."""
        edges = np.concatenate([self.triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
        forward = edges[:, 0] < edges[:, 1]
        ends = np.sort(edges, axis=1)
        _, which = np.unique(ends[:, 0] * len(self.vertices_RAS_mm) + ends[:, 1], return_inverse=True)
        balance = np.bincount(which, weights=np.where(forward, 1.0, -1.0))
        times = np.bincount(which)
        open_edges = int(np.count_nonzero(times % 2))
        if open_edges:
            raise GeometryError(
                f"{self.name}: the surface is not closed ({open_edges} edges have a triangle on one side only). Merge "
                "its doubled points, fill its holes, or use the structure's contours or label map."
            )
        if balance.any():
            raise GeometryError(
                f"{self.name}: neighbouring triangles are oriented against each other at {np.count_nonzero(balance)} "
                "edges; orient the surface consistently."
            )

    @cached_property
    def volume_cm3(self) -> float:
        """Enclosed volume in cm3, exact for the triangles (divergence theorem)."""
        centred = self.vertices_RAS_mm - self.vertices_RAS_mm[self.triangles[:, 0]].mean(axis=0)
        a, b, c = (centred[self.triangles[:, n]] for n in range(3))
        return abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6000.0

    @property
    def extent(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The axes of RAS, and the lowest and highest corner of the surface's box along them, in mm."""
        used = self.vertices_RAS_mm[np.unique(self.triangles)]
        return np.eye(3), used.min(axis=0), used.max(axis=0)

    def cross_sections(self, heights_mm: np.ndarray) -> tuple[LayerEdges, np.ndarray]:
        """Return the outlines in which axial planes at evenly spaced heights cut the surface.

        Parameters
        ----------
        heights_mm : (h,) array
            Positions along S, ascending, all the same distance apart.

        Returns
        -------
        edges : LayerEdges
            A layer for every height.
        height : (h,) int array
            The height of each layer, by number.
        """
        step = float(heights_mm[1] - heights_mm[0]) if len(heights_mm) > 1 else 1.0
        if len(heights_mm) > 1 and np.ptp(np.diff(heights_mm)) > 1e-6 * step:
            raise GeometryError(f"{self.name}: cross-sections are taken at evenly spaced heights.")
        return self._cross_sections(float(heights_mm[0]) - 0.5 * step, step, len(heights_mm)), np.arange(
            len(heights_mm)
        )

    def points_inside(self, volume_mm3: float) -> PointRows:
        """Return points inside, spread evenly, each standing for ``volume_mm3``.

        The surface is cut by axial planes in the middle of layers about as high as the points are apart.
        """
        heights = self.vertices_RAS_mm[:, 2]
        low, high = float(heights.min()), float(heights.max())
        layers = max(round((high - low) / volume_mm3 ** (1.0 / 3.0)), 1)
        thickness_mm = (high - low) / layers
        edges = self._cross_sections(low, thickness_mm, layers)
        return points_inside(edges, low + thickness_mm * np.arange(layers), np.full(layers, thickness_mm), volume_mm3)

    def _cross_sections(self, low_mm: float, thickness_mm: float, layers: int) -> LayerEdges:
        """Return the outlines, edge by edge, in which the middle planes of the layers cut the surface."""
        heights = self.vertices_RAS_mm[:, 2]
        # a vertex counts as above the planes with smaller numbers
        above = np.ceil((heights - low_mm) / thickness_mm - 0.5).astype(np.int64).clip(0, layers)
        corners = above[self.triangles]
        count = corners.max(axis=1) - corners.min(axis=1)
        triangle = np.repeat(np.arange(len(count)), count)
        layer = (
            np.arange(len(triangle))
            - np.repeat(np.cumsum(count) - count, count)
            + np.repeat(corners.min(axis=1), count)
        )
        is_above = corners[triangle] > layer[:, None]
        # the corner that is alone on its side of the plane; the two edges from it are cut
        alone = np.argmax(is_above == (is_above.sum(axis=1) == 1)[:, None], axis=1)
        apex = self.triangles[triangle, alone]
        plane_mm = low_mm + (layer + 0.5) * thickness_mm
        ends = [self._cut(apex, self.triangles[triangle, (alone + turn) % 3], plane_mm) for turn in (1, 2)]
        return LayerEdges(layer, *ends)

    def _cut(self, one: np.ndarray, other: np.ndarray, plane_mm: np.ndarray) -> np.ndarray:
        """Return where edges between vertices cross planes, (n, 2); equal to the bit from both sides of an edge."""
        a, b = self.vertices_RAS_mm[np.minimum(one, other)], self.vertices_RAS_mm[np.maximum(one, other)]
        fraction = ((plane_mm - a[:, 2]) / (b[:, 2] - a[:, 2])).clip(0.0, 1.0)
        return a[:, :2] + fraction[:, None] * (b[:, :2] - a[:, :2])
