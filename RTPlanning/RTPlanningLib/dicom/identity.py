"""Whose an exported DICOM object is: patient, study and frame of reference, alike in all objects of an export.

Attributes follow DICOM PS3.3: Patient (C.7.1.1), General Study (C.7.2.1), RT Series (C.8.8.1), Equipment (C.7.5.1),
Frame of Reference (C.7.4.1) and SOP Common (C.12.1).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from DoseEngineLib.errors import CaseError, PlanError
from RTPlanningLib.case import Case

MANUFACTURER = "RTPlanning"
# UIDs below the root 2.25 are UUIDs in decimal (PS3.5 B.2): no registered root is needed.
_UUID_ROOT = "2.25."
_NAMESPACE = uuid.UUID("6c1f1bd8-5a57-4d0e-9f0c-2f1f5f3f6b0a")
_LONGEST = {"SH": 16, "LO": 64, "PN": 64, "ST": 1024, "CS": 16}
# what a file of that value representation may not hold, the separator of values first of all
_FORBIDDEN = {"SH": r"[\\\x00-\x1f\x7f]", "LO": r"[\\\x00-\x1f\x7f]", "PN": r"[\\\x00-\x1f\x7f]"}
_FORBIDDEN |= {"ST": r"[\x00-\x08\x0b\x0e-\x1f\x7f]", "CS": r"[^A-Z0-9_ ]"}
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST_UID = 64


def new_uid() -> str:
    """Make a UID that nobody else has."""
    return f"{_UUID_ROOT}{uuid.uuid4().int}"


def uid_of(*content: str) -> str:
    """Make a UID from texts: the same texts give the same UID."""
    return f"{_UUID_ROOT}{uuid.uuid5(_NAMESPACE, chr(31).join(content)).int}"


def text_for(value: str, vr: str, what: str) -> str:
    """Return a text as an element of that value representation may hold it.

    Parameters
    ----------
    value : str
    vr : {"SH", "LO", "PN", "ST", "CS"}
    what : str
        What it is, for the message.

    Raises
    ------
    PlanError
        Too long, or with a character DICOM does not allow there: cutting it short could make two names one.
    """
    text = value.strip()
    if len(text) > _LONGEST[vr]:
        raise PlanError(
            f"{what} {text[:80]!r} has {len(text)} characters; DICOM allows {_LONGEST[vr]}. Give it a shorter name."
        )
    found = re.search(_FORBIDDEN[vr], text)
    if found:
        raise PlanError(
            f"{what} {text!r} holds the character {found.group()!r}, which DICOM does not allow there; rename it."
        )
    return text


def is_uid(value: str) -> bool:
    """Tell whether a text is a UID by the rules of PS3.5 (digits and dots, 64 characters)."""
    return len(value) <= _LONGEST_UID and _UID.fullmatch(value) is not None


@dataclass(frozen=True)
class DicomIdentity:
    """Patient, study and frame of reference of an export.

    Attributes
    ----------
    patient_name, patient_id, patient_birth_date, patient_sex : str
    study_instance_uid, study_date, study_time, study_id, study_description, accession_number : str
    referring_physician_name : str
    frame_of_reference_uid, position_reference_indicator : str
    created : datetime
        When the objects are made, one moment for all of an export.

    Raises
    ------
    CaseError
        UIDs that are none.
    """

    patient_name: str
    patient_id: str
    study_instance_uid: str
    frame_of_reference_uid: str
    created: datetime
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    study_description: str = ""
    accession_number: str = ""
    referring_physician_name: str = ""
    position_reference_indicator: str = ""

    def __post_init__(self) -> None:
        for what in ("study_instance_uid", "frame_of_reference_uid"):
            if not is_uid(getattr(self, what)):
                raise CaseError(
                    f"{what} {getattr(self, what)!r} of the case is no DICOM UID (numbers and dots, at most 64 "
                    "characters); nothing can refer to it. Export the CT again from a system that writes valid UIDs."
                )

    @property
    def date(self) -> str:
        """Day of creation, as DICOM writes it."""
        return self.created.strftime("%Y%m%d")

    @property
    def time(self) -> str:
        """Time of creation, as DICOM writes it."""
        return self.created.strftime("%H%M%S")

    def new_dataset(
        self,
        sop_class_uid: str,
        modality: str,
        description: str,
        *,
        sop_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        series_number: int | None = None,
        implicit_vr: bool = False,
    ) -> Dataset:
        """Begin an object: file meta information, SOP common, patient, study, series and equipment.

        Parameters
        ----------
        sop_class_uid, modality, description : str
            The description is that of the series.
        sop_instance_uid, series_instance_uid : str, optional
            New ones by default.
        series_number : int, optional
        implicit_vr : bool
            For objects with values beyond 64 kB, such as the points of long contours, which explicit VR cannot hold.
        """
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(sop_class_uid)
        meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid or new_uid())
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit_vr else ExplicitVRLittleEndian
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.InstanceCreationDate = self.date
        dataset.InstanceCreationTime = self.time
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.PatientName = self.patient_name
        dataset.PatientID = self.patient_id
        dataset.PatientBirthDate = self.patient_birth_date
        dataset.PatientSex = self.patient_sex
        dataset.StudyInstanceUID = UID(self.study_instance_uid)
        dataset.StudyDate = self.study_date
        dataset.StudyTime = self.study_time
        dataset.StudyID = self.study_id
        dataset.AccessionNumber = self.accession_number
        dataset.ReferringPhysicianName = self.referring_physician_name
        if self.study_description:
            dataset.StudyDescription = self.study_description
        dataset.Modality = modality
        dataset.SeriesInstanceUID = UID(series_instance_uid or new_uid())
        dataset.SeriesNumber = series_number
        dataset.SeriesDescription = text_for(description, "LO", "Series description")
        dataset.SeriesDate = self.date
        dataset.SeriesTime = self.time
        dataset.OperatorsName = ""
        dataset.Manufacturer = MANUFACTURER
        dataset.ManufacturerModelName = MANUFACTURER
        dataset.SoftwareVersions = software_version()
        return dataset

    def add_frame_of_reference(self, dataset: Dataset) -> None:
        """Say in which frame of reference the object's coordinates are."""
        dataset.FrameOfReferenceUID = UID(self.frame_of_reference_uid)
        dataset.PositionReferenceIndicator = self.position_reference_indicator


def identity_of_case(case: Case, created: datetime | None = None) -> DicomIdentity:
    """Return the identity of what is exported for a case.

    A case from DICOM keeps its patient, study and frame of reference. Any other gets a patient of its own
    (``RTPLANNING^PROSTATE``), with a study and frame of reference that follow from its CT: exported twice, a phantom is
    still one patient in one study.

    Raises
    ------
    PlanError
        A patient name or ID that DICOM cannot hold.
    CaseError
        A UID that is none.
    """
    source = case.dicom
    digest = ct_digest(case)
    label = re.sub(r"[^A-Z0-9_]+", "-", case.name.upper()).strip("-") or "CASE"
    name = text_for(case.patient_name or f"RTPLANNING^{label[:53]}", "PN", "Patient name")
    patient_id = text_for(case.patient_id or (f"RTP-{label}"[:64] if source is None else ""), "LO", "Patient ID")
    return DicomIdentity(
        patient_name=name,
        patient_id=patient_id,
        study_instance_uid=case.study_instance_uid or uid_of("study", digest),
        frame_of_reference_uid=case.frame_of_reference_uid or uid_of("frame of reference", digest),
        created=created or datetime.now(),
        **(
            {"study_description": "RTPlanning", "study_id": digest[:8].upper()}
            if source is None
            else {
                "patient_birth_date": source.patient_birth_date,
                "patient_sex": source.patient_sex,
                "study_date": source.study_date,
                "study_time": source.study_time,
                "study_id": source.study_id,
                "study_description": source.study_description,
                "accession_number": source.accession_number,
                "referring_physician_name": source.referring_physician_name,
                "position_reference_indicator": source.position_reference_indicator,
            }
        ),
    )


def ct_digest(case: Case) -> str:
    """SHA-256 of what an exported CT shows and whose it is: another CT, patient or place, another digest."""
    digest = hashlib.sha256()
    hu = np.ascontiguousarray(case.hu)
    # to the nanometre, since a saved scene keeps its place to rounding only; adding zero makes -0.0 and 0.0 one
    affine = np.ascontiguousarray(np.round(case.grid.affine, 6) + 0.0, dtype="<f8")
    who = (case.name, case.patient_name, case.patient_id, case.patient_position, case.study_instance_uid)
    digest.update(repr((who, case.series_instance_uid, case.frame_of_reference_uid, hu.shape)).encode())
    digest.update(affine.tobytes())
    digest.update(hu.astype("<f4" if hu.dtype.kind == "f" else "<i4").tobytes())
    return digest.hexdigest()


def software_version() -> str:
    """Version that made an object."""
    try:
        return version("rtplanning")
    except PackageNotFoundError:
        # inside desktop Slicer the modules are no installed package
        return "unpackaged"
