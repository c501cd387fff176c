"""What a DICOM folder holds: every file's identity, gathered into series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    RTDoseStorage,
    RTIonPlanStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from DoseEngineLib.errors import CaseError
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.dicom.dataset import read_header, text, texts

_KEYWORDS = [
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "StudyDescription",
    "SeriesDescription",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StructureSetLabel",
    "RTPlanLabel",
]


@dataclass(frozen=True)
class DicomFile:
    """A file's identity.

    Attributes
    ----------
    path : Path
    modality, sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid : str
    description : str
        Series description, or a structure set's or plan's label.
    is_localizer : bool
        A scout view, by its Image Type.
    """

    path: Path
    modality: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    description: str
    is_localizer: bool

    @property
    def is_ct(self) -> bool:
        """Whether this is an image of a CT, single- or multi-frame, and no scout view."""
        return not self.is_localizer and self.sop_class_uid in (
            CTImageStorage,
            EnhancedCTImageStorage,
            LegacyConvertedEnhancedCTImageStorage,
        )

    @property
    def is_structure_set(self) -> bool:
        """Whether this is an RTSTRUCT."""
        return self.sop_class_uid == RTStructureSetStorage

    @property
    def is_plan(self) -> bool:
        """Whether this is an RTPLAN or an RTIONPLAN."""
        return self.sop_class_uid in (RTPlanStorage, RTIonPlanStorage)

    @property
    def is_dose(self) -> bool:
        """Whether this is an RTDOSE."""
        return self.sop_class_uid == RTDoseStorage


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a folder.

    Attributes
    ----------
    modality, series_instance_uid, study_instance_uid, description : str
    files : tuple of DicomFile
    """

    modality: str
    series_instance_uid: str
    study_instance_uid: str
    description: str
    files: tuple[DicomFile, ...]

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self.files)

    @property
    def is_ct(self) -> bool:
        """Whether the series holds CT slices (not only scout views)."""
        return any(file.is_ct for file in self.files)

    def __str__(self) -> str:
        unit = "file" if self.count == 1 else "files"
        what = f'"{self.description}"' if self.description else "no description"
        return f"{self.modality} series {self.series_instance_uid}, {what}, {self.count} {unit}"


@dataclass(frozen=True)
class FolderScan:
    """The DICOM files of a folder and its sub-folders, in the order of their paths; ``notes`` says what was skipped."""

    folder: Path
    files: tuple[DicomFile, ...]
    notes: tuple[str, ...]

    @property
    def series(self) -> tuple[SeriesInfo, ...]:
        """The files by series, ordered by modality and UID."""
        gathered: dict[tuple[str, str], list[DicomFile]] = {}
        for file in self.files:
            gathered.setdefault((file.modality, file.series_instance_uid), []).append(file)
        return tuple(
            SeriesInfo(
                modality,
                uid,
                files[0].study_instance_uid,
                next((file.description for file in files if file.description), ""),
                tuple(files),
            )
            for (modality, uid), files in sorted(gathered.items())
        )


def list_series(folder: str | os.PathLike, progress: Progress | None = None) -> tuple[SeriesInfo, ...]:
    """Say which DICOM series a folder and its sub-folders hold.

    Returns
    -------
    tuple of SeriesInfo
        Each with ``modality``, ``series_instance_uid``, ``description``, ``count``.
    """
    return scan_folder(folder, progress).series


def scan_folder(folder: str | os.PathLike, progress: Progress | None = None) -> FolderScan:
    """Identify every DICOM file under a folder; files that are not DICOM are skipped and noted.

    Raises
    ------
    CaseError
        When the folder does not exist, or a DICOM file is damaged: a lost slice must not go unnoticed.
    """
    progress = progress or silent
    root = Path(folder)
    if not root.exists():
        raise CaseError(f"There is no folder {root}; check the path.")
    if not root.is_dir():
        raise CaseError(f"{root} is a file; give the folder that holds the DICOM files.")
    # os.walk leaves linked folders alone, so a link cannot make it go round in circles
    paths = sorted(Path(place) / name for place, _, names in os.walk(root) for name in names)
    files: list[DicomFile] = []
    skipped: list[str] = []
    for number, path in enumerate(paths):
        progress(number / len(paths), f"Looking at {path.name}")
        dataset = read_header(path, _KEYWORDS)
        if dataset is None:
            skipped.append(str(path.relative_to(root)))
            continue
        where = str(path)
        sop_class = text(dataset, "SOPClassUID", where)
        meta = getattr(dataset, "file_meta", None)
        if not sop_class:
            if meta is not None and text(meta, "MediaStorageSOPClassUID", where) == MediaStorageDirectoryStorage:
                continue
            raise CaseError(
                f"{path}: the required tag SOPClassUID (0008,0016) is missing; the file is damaged or cut short. "
                "Export it again or remove it from the folder."
            )
        series = text(dataset, "SeriesInstanceUID", where)
        if not series:
            raise CaseError(
                f"{path}: the required tag SeriesInstanceUID (0020,000E) is missing; the file is damaged or cut short. "
                "Export it again or remove it from the folder."
            )
        files.append(
            DicomFile(
                path,
                text(dataset, "Modality", where) or "unknown modality",
                sop_class,
                text(dataset, "SOPInstanceUID", where),
                series,
                text(dataset, "StudyInstanceUID", where),
                text(dataset, "StructureSetLabel", where)
                or text(dataset, "RTPlanLabel", where)
                or text(dataset, "SeriesDescription", where),
                "LOCALIZER" in texts(dataset, "ImageType", where),
            )
        )
    notes = []
    if skipped:
        notes.append(f"Files that are not DICOM were skipped ({len(skipped)}): {_some(skipped)}.")
    return FolderScan(root, tuple(files), tuple(notes))


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def without_copies(files: Sequence[DicomFile], what: str, notes: list[str]) -> dict[str, DicomFile]:
    """Return one file of each SOP Instance UID, in their order; copies are noted.

    Parameters
    ----------
    files : sequence of DicomFile
    what : str
        What they are, for the texts: "structure set".
    notes : list of str
        Takes what was left out.

    Raises
    ------
    CaseError
        Two files of one UID that differ.
    """
    kept: dict[str, DicomFile] = {}
    for file in files:
        first = kept.setdefault(file.sop_instance_uid, file)
        if first is file:
            continue
        if first.path.read_bytes() != file.path.read_bytes():
            raise CaseError(
                f"Two different {what}s have the same SOP Instance UID {file.sop_instance_uid}: {first.path} and "
                f"{file.path}. Remove the wrong one."
            )
        notes.append(f"Left out {file.path.name}, a copy of the {what} {first.path.name}.")
    return kept
