"""What a case keeps of the DICOM study it came from, so that what is exported belongs to the same study."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from DoseEngineLib.errors import CaseError


@dataclass(frozen=True)
class DicomSource:
    """Identity of the CT a case was read from, beyond what the case itself names.

    Attributes
    ----------
    ct_sop_instance_uids : tuple of str
        One a slice, in the order of k.
    ct_sop_class_uid : str
    patient_birth_date, patient_sex : str
    study_date, study_time, study_id, study_description, accession_number, referring_physician_name : str
        As in the CT; empty where it is silent.
    position_reference_indicator : str
    """

    ct_sop_instance_uids: tuple[str, ...]
    ct_sop_class_uid: str
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    study_description: str = ""
    accession_number: str = ""
    referring_physician_name: str = ""
    position_reference_indicator: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the source as JSON-ready values."""
        return {**asdict(self), "ct_sop_instance_uids": list(self.ct_sop_instance_uids)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DicomSource:
        """Read what `to_dict` wrote; anything else raises `CaseError`."""
        known = {field.name for field in fields(cls)}
        try:
            values = {key: value for key, value in data.items() if key in known}
            uids = tuple(values.pop("ct_sop_instance_uids"))
            source = cls(ct_sop_instance_uids=uids, **values)
            strings = [*uids, *(getattr(source, name) for name in known - {"ct_sop_instance_uids"})]
        except (AttributeError, KeyError, TypeError) as error:
            raise CaseError(
                f"The stored DICOM identity of the case is damaged ({error!r}); read the case again."
            ) from None
        if not all(isinstance(text, str) for text in strings):
            raise CaseError(
                "The stored DICOM identity of the case holds something that is no text; read the case again."
            )
        return source
