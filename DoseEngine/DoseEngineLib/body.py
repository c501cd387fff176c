"""The body outline, found in the image: patient without couch, clothes and air, cavities included."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid

_WORKING_SPACING_MM = 3.0
# Couch tops are skins of 1-4 mm about foam; limbs and ears are thicker than twice this.
_OPENING_RADIUS_MM = 6.0
# Separate parts (arms, legs) are kept when at least this share of the largest one.
_PART_FRACTION = 0.02


def find_body(hu: np.ndarray, grid: Grid, threshold_HU: float = -350.0, keep_all_parts: bool = False) -> np.ndarray:
    """Find the body in CT numbers.

    Voxels above the threshold are opened by a ball (which breaks off couch skins and wires), the largest part and
    parts of comparable size are kept, and enclosed cavities are filled slice by slice.

    Parameters
    ----------
    hu : (k, j, i) array
        CT numbers in HU.
    grid : Grid
    threshold_HU : float
    keep_all_parts : bool
        Keep everything above the threshold, however thin (phantoms).

    Returns
    -------
    (k, j, i) bool array

    Raises
    ------
    PatientError
        When nothing exceeds the threshold.
    """
    tissue = np.asarray(hu) > threshold_HU
    if not tissue.any():
        raise PatientError(
            f"No voxel exceeds {threshold_HU:g} HU, so no body was found; check that the image is a CT in HU, "
            "or contour the body."
        )
    if keep_all_parts:
        return _fill_slices(tissue)
    core = _thick_parts(tissue, grid)
    if core is None:
        # nothing is thicker than a couch skin: a small or thin object is the patient itself
        return _fill_slices(tissue)
    return _fill_slices(core)


def _thick_parts(tissue: np.ndarray, grid: Grid) -> np.ndarray | None:
    strides = tuple(max(int(_WORKING_SPACING_MM / s), 1) for s in grid.spacing_mm[::-1])
    sparse = tissue[:: strides[0], :: strides[1], :: strides[2]]
    spacing = grid.spacing_mm[::-1] * strides
    padded = np.pad(sparse, ((0, 0), (1, 1), (1, 1)))
    # the body leaves the scan at its first and last slice: do not erode there
    depth = ndimage.distance_transform_edt(np.concatenate((padded[:1], padded, padded[-1:])), sampling=spacing)[1:-1]
    eroded = depth > _OPENING_RADIUS_MM
    labels, count = ndimage.label(eroded)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    parts = np.flatnonzero(sizes >= _PART_FRACTION * sizes.max())
    parts = [p for p in parts if p == sizes.argmax() or not _is_flat(labels == p, spacing)]
    kept = np.isin(labels, parts)
    reach = ndimage.distance_transform_edt(~kept, sampling=spacing) <= _OPENING_RADIUS_MM + spacing.max()
    reach = reach[:, 1:-1, 1:-1]
    for axis, stride in enumerate(strides):
        reach = np.repeat(reach, stride, axis=axis)
    reach = reach[: tissue.shape[0], : tissue.shape[1], : tissue.shape[2]]
    return tissue & reach


def _is_flat(part: np.ndarray, spacing: np.ndarray) -> bool:
    """Whether a part is a board: far wider (left-right) than thick (up-down), as couch tops are."""
    rows = np.flatnonzero(part.any(axis=(0, 2)))
    columns = np.flatnonzero(part.any(axis=(0, 1)))
    height = (rows[-1] - rows[0] + 1) * spacing[1]
    width = (columns[-1] - columns[0] + 1) * spacing[2]
    return width > 4 * height


def _fill_slices(mask: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
