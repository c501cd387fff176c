"""Where the surface of a mask runs within its outermost voxels, told by the voxels around them.

A mask says only on which side of the surface a voxel's centre lies. On a face along the voxels the surface is half a
voxel beyond the outermost centres; on an inclined face centres of all depths are outermost somewhere, and the ones that
stick out, from which distances are measured, lie on the surface itself. The share of marked voxels in the cube around a
voxel tells the two apart.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_SMALL, _LARGE = 3, 5
# No part of a voxel is farther from its centre than this, in voxels.
LARGEST_OFFSET = np.sqrt(3.0) / 2.0
# Radii of curvature in voxels: below the first the shares say nothing of a surface, above the second all.
_SHARP, _ROUND = 2.0, 4.0
# Of voxels that are equally far but for chance the nearest is taken, which makes the surface seem nearer by this share
# of a voxel: measured on balls of 3 to 20 voxels' radius.
_CHOSEN = 0.09


class SurfaceOffset:
    """The offset of the surface from the voxels of a mask.

    Parameters
    ----------
    mask : (k, j, i) bool array
        Beyond the array is taken as more of the same.
    """

    def __init__(self, mask: np.ndarray) -> None:
        values = np.asarray(mask, dtype=np.float32)
        self._shares = {n: ndimage.uniform_filter(values, n, mode="nearest") for n in (_SMALL, _LARGE)}

    def at(self, voxels: tuple[np.ndarray, ...], normals: np.ndarray) -> np.ndarray:
        """Return how far the surface lies beyond voxel centres, along its normal.

        Where the surface is curved, the share of a cube is smaller than that of a plane, by an amount that grows with
        the cube's side squared; the shares of two cubes give the offset without it. Where it is curved more than they
        can tell (edges, corners, sheets of one or two voxels), half a voxel is taken.

        Parameters
        ----------
        voxels : three (n,) arrays of int
            k, j, i of marked voxels next to the surface.
        normals : (n, 3) array
            Outward normals of the surface in index space (k, j, i), of length 1.

        Returns
        -------
        (n,) array
            Voxels along the normal in index space, 0 to 0.87.
        """
        plane = {}
        for side, shares in self._shares.items():
            plane[side] = (shares[voxels] - 0.5) / _density_at_centre(side * np.abs(normals))
        # the effect of curvature is as (side**2 - 1): 8 and 24
        smooth = 1.5 * plane[_SMALL] - 0.5 * plane[_LARGE]
        curvature = 0.75 * (plane[_SMALL] - plane[_LARGE])
        with np.errstate(divide="ignore"):
            radius = 1.0 / np.abs(curvature)
        trust = np.clip((radius - _SHARP) / (_ROUND - _SHARP), 0.0, 1.0)
        return trust * np.clip(smooth + _CHOSEN, 0.0, LARGEST_OFFSET) + (1.0 - trust) * 0.5


def _density_at_centre(widths: np.ndarray) -> np.ndarray:
    """Density at zero of the sum of three uniform variables of the given widths about zero, (n, 3) -> (n,).

    That is how fast a plane's share of a box changes with its distance from the box's centre.
    """
    total = widths.sum(axis=1)
    largest = widths.max(axis=1)
    # as long as the other two together are narrower, the largest alone counts
    flat = 2.0 * largest >= total
    half = 0.5 * total
    numerator = half**2 - (np.maximum(half[:, None] - widths, 0.0) ** 2).sum(axis=1)
    product = np.where(flat, 1.0, widths.prod(axis=1))
    return np.where(flat, 1.0 / largest, numerator / (2.0 * np.maximum(product, 1e-12)))
