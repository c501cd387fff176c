"""Dose-volume histograms that a planning system stored in its RT Dose."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from RTPlanningLib.dicom.dataset import decimal_strings, number, read_dataset, text, value, whole_number


@dataclass(frozen=True, eq=False)
class StoredDvh:
    """A cumulative DVH of a file.

    Attributes
    ----------
    dose_Gy : (n,) array
        Middles of its bins, rising. The standard does not say where in a bin the volume stands; at the middle, the area
        under the curves of Eclipse is the mean dose.
    volume_percent : (n,) array
        Volume that receives at least that dose, in % of ``volume_cm3``.
    volume_cm3 : float or None
        None where the file gives volumes in % only.
    """

    dose_Gy: np.ndarray
    volume_percent: np.ndarray
    volume_cm3: float | None

    @property
    def mean_Gy(self) -> float:
        """Mean dose: the area under the curve."""
        dose = np.concatenate(([0.0], self.dose_Gy))
        volume = np.concatenate(([100.0], self.volume_percent))
        return float(np.sum(0.5 * (volume[1:] + volume[:-1]) * np.diff(dose)) / 100.0)

    def dose_at_volume_percent(self, percent: float) -> float:
        """Dose in Gy that so much of the volume receives at least, between points linear."""
        # the last of several doses with one volume
        return float(np.interp(-percent, -self.volume_percent, self.dose_Gy))


def read_stored_dvhs(
    dose_file: str | os.PathLike, structure_set_file: str | os.PathLike
) -> tuple[dict[str, StoredDvh], tuple[str, ...]]:
    """Read the DVHs of an RT Dose, by the names that the structure set gives its ROI numbers.

    Returns
    -------
    dvhs : dict of structure name to StoredDvh
        Empty where the dose has none, or was made for another structure set.
    notes : tuple of str
        What was left out, and why.

    Raises
    ------
    CaseError
        A file that cannot be read.
    """
    path = Path(dose_file)
    where = str(path)
    dataset = read_dataset(path)
    entries = value(dataset, "DVHSequence", where) or ()
    if not entries:
        return {}, ()
    structure_set = read_dataset(Path(structure_set_file))
    belongs = {text(one, "ReferencedSOPInstanceUID", where) for one in _items(dataset, where)}
    if belongs and text(structure_set, "SOPInstanceUID", str(structure_set_file)) not in belongs:
        return {}, (f"The DVHs in {path.name} are of another structure set and were left out.",)
    names = {
        whole_number(roi, "ROINumber", where): text(roi, "ROIName", where)
        for roi in value(structure_set, "StructureSetROISequence", where) or ()
    }
    found: dict[str, StoredDvh] = {}
    notes = []
    for entry in entries:
        rois = value(entry, "DVHReferencedROISequence", where) or ()
        numbers = [whole_number(roi, "ReferencedROINumber", where) for roi in rois]
        name = names.get(numbers[0], "") if len(numbers) == 1 else ""
        label = name or f"ROI {', '.join(map(str, numbers)) or 'unknown'}"
        reason = "" if name else "not of one structure with a name"
        if not reason:
            found[name], reason = _dvh(entry, f"{where}, DVH of {label}")
        if reason:
            found.pop(name, None)
            notes.append(f"The DVH of {label} in {path.name} was left out: {reason}.")
    return found, tuple(notes)


def _items(dataset, where: str):
    return value(dataset, "ReferencedStructureSetSequence", where) or ()


def _dvh(entry, where: str) -> tuple[StoredDvh | None, str]:
    """A DVH, or why there is none."""
    for keyword, wanted in (("DVHType", "CUMULATIVE"), ("DoseUnits", "GY"), ("DoseType", "PHYSICAL")):
        kind = text(entry, keyword, where).upper()
        if kind != wanted:
            return None, f"its {keyword} is {kind or 'missing'}, not {wanted}"
    data = decimal_strings(entry, "DVHData", where)
    scaling = number(entry, "DVHDoseScaling", where)
    if data.size < 4 or data.size % 2 or not np.isfinite(data).all() or scaling is None or not scaling > 0.0:
        return None, "its bins are not complete"
    width, volume = data.reshape(-1, 2).T
    if (width < 0.0).any() or (np.diff(volume) > 1e-6 * volume[0]).any() or not volume[0] > 0.0:
        return None, "it does not fall with dose"
    units = text(entry, "DVHVolumeUnits", where).upper()
    if units not in ("CM3", "PERCENT"):
        return None, f"its volumes are in {units or 'no unit'}"
    dose = (np.cumsum(width) - 0.5 * width) * scaling
    percent = volume if units == "PERCENT" else 100.0 * volume / volume[0]
    return StoredDvh(dose, percent, float(volume[0]) if units == "CM3" else None), ""
