"""Fluences that a planning system stored in its RT Plan, and the leaf model they were made with.

Varian's systems write, as compensators without material, the fluence that the leaves of a dynamic beam give (type
TOTAL_ACTUAL): an image at the isocentre plane in the collimator's frame (PS3.3 C.8.8.14, Compensator Sequence). It
follows from the leaf positions by three numbers: transmission, offset of leaf ends, width of tongue and groove. Fitting
them tells how that system models its MLC, which no other tag of the plan does, and that positions were read rightly.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from scipy.optimize import least_squares

from DoseEngineLib.errors import CaseError
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.photon.fluence import beam_segments
from DoseEngineLib.plan import Beam, LeafModel, Plan
from RTPlanningLib.dicom.dataset import decimal_strings, numbers, read_dataset, text, value, whole_number

_ACTUAL = "TOTAL_ACTUAL"
_ALIGNED_PIXELS = 0.02
_LEAST_SPACING_MM, _LARGEST_SPACING_MM = 0.5, 5.0
# The fit takes the beams of most MU: parameters are the machine's.
_MOST_BEAMS = 3
# A stored fluence of the leaves read here differs from theirs by rounding; one that differs by more is of other leaves.
_WORST_RMS = 0.003
_START = (0.01, 0.3, 0.2)
_LOW, _HIGH = (0.0, -1.0, 0.0), (0.1, 3.0, 1.2)
_SCALES = (0.01, 0.2, 0.2)


@dataclass(frozen=True, eq=False)
class StoredFluence:
    """The fluence of a beam as its planning system stored it.

    Attributes
    ----------
    values : (y, x) array
        Relative to what the system chose; rows and columns rise with collimator Y and X.
    x_mm, y_mm : (n,) arrays
        Middles of the pixels at the isocentre plane.
    """

    values: np.ndarray
    x_mm: np.ndarray
    y_mm: np.ndarray

    @property
    def pixel_mm(self) -> float:
        """Width of a pixel."""
        return float(self.x_mm[1] - self.x_mm[0])


@dataclass(frozen=True)
class StoredLeafModel:
    """The leaf model that stored fluences were made with.

    Attributes
    ----------
    model : LeafModel
    rms : float
        Root mean square of stored less computed fluence within the fields, relative to an open field.
    beams : tuple of str
        Beams it was fitted to.
    """

    model: LeafModel
    rms: float
    beams: tuple[str, ...]

    def describe(self) -> str:
        """Say it in words."""
        m = self.model
        return (
            f"transmission {100 * m.transmission:.2f} %, leaf ends {m.leaf_end_offset_mm:.3f} mm (dosimetric leaf gap "
            f"{2 * m.leaf_end_offset_mm:.2f} mm), tongue and groove {m.tongue_and_groove_mm:.2f} mm"
        )


def read_stored_fluences(file: str | os.PathLike) -> dict[int, StoredFluence]:
    """Read the stored fluences of an RT Plan, by beam number; empty where there are none.

    Raises
    ------
    CaseError
        A stored fluence that is malformed; the text names file, beam and tag.
    """
    path = Path(file)
    dataset = read_dataset(path)
    found = {}
    for place, beam in enumerate(value(dataset, "BeamSequence", str(path)) or (), start=1):
        where = f"{path}, beam {place}"
        for item in value(beam, "CompensatorSequence", where) or ():
            if text(item, "CompensatorType", where) == _ACTUAL and not text(item, "MaterialID", where):
                found[whole_number(beam, "BeamNumber", where)] = _fluence(item, f"{where}, stored fluence")
    return found


def _fluence(item: Dataset, where: str) -> StoredFluence:
    rows, columns = (whole_number(item, f"Compensator{name}", where) for name in ("Rows", "Columns"))
    data = decimal_strings(item, "CompensatorTransmissionData", where)
    down, across = numbers(item, "CompensatorPixelSpacing", where, 2)
    left, top = numbers(item, "CompensatorPosition", where, 2)
    if (
        rows < 2
        or columns < 2
        or data.size != rows * columns
        or not np.isfinite(data).all()
        or not _LEAST_SPACING_MM <= across <= _LARGEST_SPACING_MM
        or down != across
    ):
        raise CaseError(
            f"{where}: CompensatorTransmissionData (300A,00EB) must hold {rows} x {columns} finite numbers on square "
            f"pixels of {_LEAST_SPACING_MM:g} to {_LARGEST_SPACING_MM:g} mm; it has {data.size} on {down:g} x "
            f"{across:g} mm. Export the plan again."
        )
    # the first row is that of the largest Y
    values = data.reshape(rows, columns)[::-1]
    return StoredFluence(values, left + across * np.arange(columns), (top - down * np.arange(rows))[::-1])


def stored_leaf_model(
    plan: Plan, fluences: Sequence[StoredFluence | None], notes: list[str] | None = None
) -> StoredLeafModel | None:
    """Find the leaf model that stored fluences were made with.

    Parameters
    ----------
    plan : Plan
    fluences : sequence of StoredFluence or None
        One a beam.
    notes : list of str, optional
        Told why there is none, where the plan stores fluences.

    Returns
    -------
    StoredLeafModel or None
        None where no beam stores a fluence, or it is not that of the plan's leaves.
    """
    notes = [] if notes is None else notes
    stored = [
        (beam, fluence)
        for beam, fluence in zip(plan.beams, fluences, strict=True)
        if fluence is not None and beam.control_points[0].aperture.leaf_positions_mm is not None
    ]
    if not stored:
        return None
    machines = {beam.machine for beam, _ in stored}
    if len(machines) > 1:
        notes.append(
            "The plan stores the fluences of its beams, but for several machines; no leaf model was taken from them."
        )
        return None
    aligned = [(beam, fluence, index) for beam, fluence in stored if (index := _pixels(beam, fluence)) is not None]
    if not aligned:
        notes.append(
            "The fluences that the plan stores are not centred on the axis; no leaf model was taken from them."
        )
        return None
    aligned.sort(key=lambda entry: -(entry[0].meterset_MU or 0.0))
    chosen = aligned[:_MOST_BEAMS]

    def residuals(parameters: np.ndarray) -> np.ndarray:
        return np.concatenate([_difference(beam, fluence, index, parameters) for beam, fluence, index in chosen])

    fit = least_squares(residuals, _START, bounds=(_LOW, _HIGH), x_scale=_SCALES, diff_step=0.02, xtol=1e-5)
    transmission, offset, groove = (float(v) for v in fit.x)
    rms = float(np.sqrt(np.mean(fit.fun**2)))
    if rms > _WORST_RMS:
        notes.append(
            f"The fluences that the plan stores differ from those of its leaves by {100 * rms:.2f} % of an open field, "
            "whatever the leaf model; none was taken from them."
        )
        return None
    model = LeafModel(transmission, offset, groove)
    return StoredLeafModel(model, rms, tuple(beam.name for beam, _, _ in chosen))


def _bare(machine: Machine, parameters: Sequence[float]) -> Machine:
    """The machine as a stored fluence has it: flat, from a point, jaws that let nothing through."""
    transmission, offset, groove = parameters
    return replace(
        machine,
        extra_focal=None,
        monitor_backscatter=None,
        off_axis_kind="flat",
        jaw_x=replace(machine.jaw_x, transmission=0.0),
        jaw_y=replace(machine.jaw_y, transmission=0.0),
        mlc=replace(machine.mlc, transmission=transmission, leaf_end_offset_mm=offset, tongue_and_groove_mm=groove),
    )


def _computed(beam: Beam, pixel_mm: float, parameters: Sequence[float]) -> np.ndarray:
    machine = load_machine(beam.machine).for_beam(replace(beam, leaf_model=None))
    return beam_segments(beam, _bare(machine, parameters), "HFS", pixel_mm)[0].fluence.values


def _pixels(beam: Beam, fluence: StoredFluence) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows and columns of our map for the stored pixels; None where they fall between ours."""
    if len({(p.gantry_deg, p.collimator_deg, p.couch_deg) for p in beam.control_points}) > 1:
        return None
    middle = _computed(beam, fluence.pixel_mm, _START).shape[0] // 2
    indices = []
    for at in (fluence.y_mm, fluence.x_mm):
        place = at / fluence.pixel_mm - 0.5 + middle
        index = np.rint(place).astype(int)
        if np.abs(place - index).max() > _ALIGNED_PIXELS or index.min() < 0 or index.max() >= 2 * middle:
            return None
        indices.append(index)
    return indices[0], indices[1]


def _difference(
    beam: Beam, fluence: StoredFluence, index: tuple[np.ndarray, np.ndarray], parameters: Sequence[float]
) -> np.ndarray:
    """Computed less stored fluence within the field, in parts of an open field; the stored one's unit is open."""
    computed = _computed(beam, fluence.pixel_mm, parameters)[np.ix_(*index)].astype(float)
    lit = (computed > 0) | (fluence.values > 0)
    ours, theirs = computed[lit], fluence.values[lit]
    scale = float(ours @ theirs) / float(ours @ ours)
    # a fluence of nothing cannot be scaled
    return ours - theirs / scale if scale > 0 else ours
