"""A case: one CT with its structures, wherever it came from (DICOM, volume files, a built-in sample)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from DoseEngineLib.errors import CaseError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.iec61217 import check_patient_position
from DoseEngineLib.plan import Structure
from RTPlanningLib.dicom.source import DicomSource


@dataclass(frozen=True, eq=False)
class Case:
    """One CT with its structures.

    Attributes
    ----------
    name : str
        Short name, used for nodes and files.
    hu : (k, j, i) array
        CT numbers in HU (int16 or float32).
    grid : Grid
    structures : tuple of Structure
        Unique names; masks are on ``grid``.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
    patient_name, patient_id : str
    study_instance_uid, series_instance_uid, frame_of_reference_uid : str
        Empty where the case did not come from DICOM.
    goals : tuple of str
        Clinical goals in the goal grammar, e.g. ``"PTV D95% >= 47.5 Gy"``.
    density_overrides_g_cm3 : mapping of structure name to mass density
    description : str
        A sentence or two: what it is and its source.
    notes : tuple of str
        What the reader had to decide or leave out, in words for the user.
    dicom : DicomSource, optional
        The CT's images and study where the case came from DICOM, for objects that refer to them.
    """

    name: str
    hu: np.ndarray
    grid: Grid
    structures: tuple[Structure, ...] = ()
    patient_position: str = "HFS"
    patient_name: str = ""
    patient_id: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    goals: tuple[str, ...] = ()
    density_overrides_g_cm3: Mapping[str, float] = field(default_factory=dict)
    description: str = ""
    notes: tuple[str, ...] = ()
    dicom: DicomSource | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise CaseError("A case needs a name.")
        if self.hu.shape != self.grid.shape:
            raise CaseError(f"The CT array's shape {self.hu.shape} is not the grid's {self.grid.shape} (k, j, i).")
        names = [structure.name for structure in self.structures]
        if len(set(names)) != len(names):
            raise CaseError(f"Structure names must be unique; got {', '.join(names)}.")
        check_patient_position(self.patient_position)
        if self.dicom is not None and len(self.dicom.ct_sop_instance_uids) != self.grid.shape[0]:
            raise CaseError(
                f"The case names {len(self.dicom.ct_sop_instance_uids)} CT images for {self.grid.shape[0]} slices; "
                "give those of this CT, or none for a CT that was resampled."
            )

    def structure(self, name: str) -> Structure:
        """Return a structure by name; an unknown name raises `CaseError` and lists those there are."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        known = ", ".join(structure.name for structure in self.structures) or "none"
        raise CaseError(f"There is no structure {name!r}; the case has: {known}.")
