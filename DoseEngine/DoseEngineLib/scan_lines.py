"""Closed outlines cut by scan lines: spans inside by the even-odd rule, exact areas, and points of equal volume.

A solid is a pile of layers. Each layer has a cross-section, given by the edges of its outlines in any order, and a
thickness over which that cross-section stands. Planar contours are such a pile as they are; a closed surface becomes
one when it is cut by planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Steps of an additive recurrence that fills the unit cube evenly (Roberts 2018, the R3 sequence). Layers, rows and
# points are each shifted by a step of their own, where a plain lattice would draw steps into the DVH of a dose that
# varies along one axis only.
_SPREAD = 1.2207440846057596 ** -np.arange(1.0, 4.0)

# Areas are summed over strips no higher than the extent of all outlines over this.
_STRIPS = 200


@dataclass(frozen=True, eq=False)
class LayerEdges:
    """Edges of closed outlines, each in a layer.

    Attributes
    ----------
    layer : (e,) int array
    start, stop : (e, 2) arrays
        Ends of each edge in mm, (x, y). Within a layer every point is the end of an even number of edges, and equal to
        the bit in all of them.
    """

    layer: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def of_polygons(cls, layers: list[int], polygons: list[np.ndarray]) -> LayerEdges:
        """Return the edges of closed polygons (n, 2), each in a layer; the last vertex joins the first."""
        return cls(
            np.repeat(layers, [len(polygon) for polygon in polygons]),
            np.concatenate(polygons),
            np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons]),
        )

    def repeated(self, times: np.ndarray) -> LayerEdges:
        """Return the edges with layer n copied ``times[n]`` times; copies are numbered on, layer by layer."""
        first = np.cumsum(times) - times
        count = times[self.layer]
        edge = np.repeat(np.arange(len(self.layer)), count)
        copy = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        return LayerEdges(first[self.layer][edge] + copy, self.start[edge], self.stop[edge])


def spans_inside(
    edges: LayerEdges, row_layer: np.ndarray, row_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where rows (lines of constant y) run inside the outlines.

    Parameters
    ----------
    edges : LayerEdges
    row_layer, row_y : (r,) arrays
        Layer and y of each row, sorted by layer, then y.

    Returns
    -------
    row : (s,) int array
        The row of each span; a row may have several or none.
    x_start, x_stop : (s,) arrays
        Ends of each span in mm.
    """
    ys = np.concatenate([edges.start[:, 1], edges.stop[:, 1], row_y])
    bottom, height = ys.min(), np.ptp(ys) + 1.0
    # every edge runs upwards, so both directions of travel give the same crossing to the bit: doubled edges cancel
    upward = (edges.start[:, 1] <= edges.stop[:, 1])[:, None]
    low, high = np.where(upward, edges.start, edges.stop), np.where(upward, edges.stop, edges.start)
    # layers end to end on one axis: one search serves them all
    rows = row_layer * height + (row_y - bottom)
    first = np.searchsorted(rows, edges.layer * height + (low[:, 1] - bottom), side="left")
    last = np.searchsorted(rows, edges.layer * height + (high[:, 1] - bottom), side="left")
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    low, high = low[edge], high[edge]
    x = low[:, 0] + (row_y[row] - low[:, 1]) * (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    order = np.lexsort((x, row))
    row, x = row[order], x[order]
    return row[::2], x[::2], x[1::2]


def layer_areas_mm2(edges: LayerEdges, layers: int) -> np.ndarray:
    """Return the area inside the outlines of each layer in mm2, by the even-odd rule.

    Between two neighbouring vertices along y the inside is made of trapezoids, whose area is their middle width times
    their height: the sum is exact wherever outlines do not cross. Where they do, thin strips keep it close.
    """
    layer, y = np.concatenate([edges.layer] * 2), np.concatenate([edges.start[:, 1], edges.stop[:, 1]])
    order = np.lexsort((y, layer))
    layer, y = layer[order], y[order]
    strip = np.flatnonzero((layer[1:] == layer[:-1]) & (y[1:] > y[:-1]))
    if not len(strip):
        return np.zeros(layers)
    height = y[strip + 1] - y[strip]
    parts = np.maximum(np.ceil(height / (np.ptp(y) / _STRIPS)), 1.0).astype(np.int64)
    strip, height = np.repeat(strip, parts), np.repeat(height / parts, parts)
    part = np.arange(len(strip)) - np.repeat(np.cumsum(parts) - parts, parts)
    row_layer, row_y = layer[strip], y[strip] + (part + 0.5) * height
    row, x_start, x_stop = spans_inside(edges, row_layer, row_y)
    return np.bincount(row_layer[row], weights=(x_stop - x_start) * height[row], minlength=layers)


@dataclass(frozen=True, eq=False)
class PointRows:
    """Points inside a pile of layers, row by row, each standing for the same volume; made when asked for.

    Attributes
    ----------
    first : (r,) int array
        Number of each row's first point on its lattice.
    count : (r,) int array
        Points in each row.
    phase, pitch_mm : (r,) arrays
        A point lies at x = (number + phase) * pitch.
    y_mm, low_mm, thickness_mm : (r,) arrays
        y of each row; where its layer begins along z, and how thick it is.
    frame : (3, 3) array
        Columns: the axes x, y, z in RAS.
    """

    first: np.ndarray
    count: np.ndarray
    phase: np.ndarray
    pitch_mm: np.ndarray
    y_mm: np.ndarray
    low_mm: np.ndarray
    thickness_mm: np.ndarray
    frame: np.ndarray

    def __len__(self) -> int:
        return int(self.count.sum())

    def parts(self, size: int) -> list[slice]:
        """Return slices of rows that hold about ``size`` points each."""
        ends = np.searchsorted(np.cumsum(self.count), np.arange(size, len(self) + size, size)) + 1
        ends = np.unique(np.minimum(ends, len(self.count))).tolist()
        return [slice(start, stop) for start, stop in zip([0, *ends], ends)]

    def points_RAS_mm(self) -> np.ndarray:
        """Return all points (n, 3) in RAS mm; the same at every call."""
        return self.points(np.eye(4), slice(None)).T

    def points(self, affine: np.ndarray, rows: slice) -> np.ndarray:
        """Return the points of some rows after an affine (4, 4) from RAS in mm, component by component: (3, n)."""
        count = self.count[rows]
        into = affine[:3, :3] @ self.frame
        first, low_mm, thickness_mm = self.first + self.phase, self.low_mm[rows], self.thickness_mm[rows]
        x, y, pitch_mm = first[rows] * self.pitch_mm[rows], self.y_mm[rows], self.pitch_mm[rows]
        number = np.arange(int(count.sum()))
        shift = _shift(number + int(self.count[: rows.start].sum()), 2)
        number -= np.repeat(np.cumsum(count) - count, count)
        points = np.empty((3, len(number)))
        # component by component: many small matrix products would take most of the time
        for point, axis, offset in zip(points, into, affine[:3, 3]):
            point[:] = np.repeat(axis[0] * x + axis[1] * y + axis[2] * low_mm + offset, count)
            if axis[0]:
                point += number * np.repeat(axis[0] * pitch_mm, count)
            if axis[2]:
                point += shift * np.repeat(axis[2] * thickness_mm, count)
        return points


def points_inside(
    edges: LayerEdges,
    layer_low_mm: np.ndarray,
    layer_thickness_mm: np.ndarray,
    volume_mm3: float,
    frame: np.ndarray | None = None,
) -> PointRows:
    """Return points inside a pile of layers, spread evenly, each standing for the same volume.

    Parameters
    ----------
    edges : LayerEdges
    layer_low_mm, layer_thickness_mm : (l,) arrays
        Where each layer begins along z, and how thick it is.
    volume_mm3 : float
        Volume of a point. The number of points follows from it, to within the chance of a point falling inside or
        outside at the outline.
    frame : (3, 3) array, optional
        Columns: the layers' x, y, z in RAS; by default the axes of RAS themselves.
    """
    pitch = np.sqrt(volume_mm3 / layer_thickness_mm)
    low = np.full(len(pitch), np.inf)
    high = np.full(len(pitch), -np.inf)
    for end in (edges.start, edges.stop):
        np.minimum.at(low, edges.layer, end[:, 1])
        np.maximum.at(high, edges.layer, end[:, 1])
    used = np.flatnonzero(high > low)
    offset = _shift(used, 0)
    first = np.ceil(low[used] / pitch[used] - offset).astype(np.int64)
    count = np.maximum(np.ceil(high[used] / pitch[used] - offset).astype(np.int64) - first, 0)
    row_layer = np.repeat(used, count)
    number = np.arange(len(row_layer)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    row_y = (number + np.repeat(offset, count)) * pitch[row_layer]
    row, x_start, x_stop = spans_inside(edges, row_layer, row_y)
    layer, phase = row_layer[row], _shift(row, 1)
    first = np.ceil(x_start / pitch[layer] - phase).astype(np.int64)
    count = np.ceil(x_stop / pitch[layer] - phase).astype(np.int64) - first
    return PointRows(
        first,
        count,
        phase,
        pitch[layer],
        row_y[row],
        layer_low_mm[layer],
        layer_thickness_mm[layer],
        np.eye(3) if frame is None else frame,
    )


def _shift(number: np.ndarray, axis: int) -> np.ndarray:
    return np.modf(0.5 + number * _SPREAD[axis])[0]
