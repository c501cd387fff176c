"""Taking out of DICOM objects what tells who the patient is, by the basic profile of DICOM PS3.15 (Annex E).

What is done with each attribute is the profile's own table, as the package dicom-anonymizer keeps it (edition 2026c).
Two of its options are applied, because without them a plan is of no use: Clean Descriptors (names of structures that
are standard names stay) and Retain Longitudinal Temporal Information with Modified Dates (all dates are shifted alike).

One `Anonymiser` makes one consistent set: a UID, patient or date becomes the same wherever it occurs. What became what
is random, is held in memory only, and goes with the object.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from DoseEngineLib.errors import PlanningError
from RTPlanningLib.dicom.identity import new_uid
from RTPlanningLib.structure_names import match_name

_EDITION = "dicomfields_2026c"
_DICOM_ROOT = "1.2.840.10008."
# PS3.16 CID 7050
_METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
# Targets and the body are named by these; organs by the table of structure names.
_KEPT_NAME = re.compile(r"(i?GTV|CTV|ITV|PTV)[a-z]?([_!+-]?[A-Za-z]?[0-9]{0,5})?|BODY|Body|External|Skin|Couch|Bolus")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 _.+~^!-]*")
# Comments of our own that say what a dose is; without them one could be taken for another.
_KEPT_COMMENT = re.compile(
    r"(EQD2|BED), alpha/beta ([0-9.]+ Gy|by structure, [0-9.]+ Gy elsewhere)|Dose to (water|medium)"
)
_TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
_SHORTEST_IDENTIFIER = 3
_DAYS = 365, 3650
_BIRTH = ("PatientBirthDate", "PatientBirthTime")


class AnonymisationError(PlanningError):
    """Objects that cannot be anonymised, or would still tell who the patient is."""


class Anonymiser:
    """Anonymises the objects of one export, in place.

    Attributes
    ----------
    renamed : dict of str to str
        Structures whose names are no standard ones, and what they are called now.

    Raises
    ------
    AnonymisationError
        When the package dicom-anonymizer is missing.
    """

    def __init__(self) -> None:
        try:
            from dicomanonymizer.simpledicomanonymizer import initialize_actions

            actions = initialize_actions(_EDITION)
        except (ImportError, TypeError, ValueError) as error:
            raise AnonymisationError(
                "Anonymising needs the package dicom-anonymizer of version 2.1 or newer; install it with: "
                f'pip install "rtplanning[anonymise]" ({error})'
            ) from error
        self._actions: dict[tuple[int, int], str] = {
            tag: action.__name__ for tag, action in actions.items() if len(tag) == 2
        }
        # what a repeating group holds (curves, overlays) is removed as a whole
        self._groups = [tag for tag in actions if len(tag) == 4]
        self._uids: dict[str, str] = {}
        self._identifiers: set[str] = set()
        days = _DAYS[0] + secrets.randbelow(_DAYS[1] - _DAYS[0])
        self._shift = timedelta(days=days, seconds=secrets.randbelow(86400))
        self._pseudonym = f"ANON{secrets.token_hex(4).upper()}"
        self.renamed: dict[str, str] = {}

    def anonymise(self, dataset: Dataset) -> None:
        """Anonymise an object with all that it holds.

        Raises
        ------
        AnonymisationError
            An object that still holds a name or number of the patient afterwards, in an attribute that the profile
            leaves alone.
        """
        self._learn(dataset)
        self._walk(dataset)
        self._walk(dataset.file_meta)
        dataset.PatientName = f"{self._pseudonym}^"
        dataset.PatientID = self._pseudonym
        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"
        dataset.DeidentificationMethodCodeSequence = [_code(value, meaning) for value, meaning in _METHODS]
        self._check(dataset)

    def _learn(self, dataset: Dataset) -> None:
        """Note what must not be found afterwards."""
        for keyword in ("PatientName", "PatientID", "ReferringPhysicianName", "AccessionNumber", "StudyID"):
            for part in re.split(r"[\^=\s]+", str(dataset.get(keyword) or "")):
                if len(part) >= _SHORTEST_IDENTIFIER:
                    self._identifiers.add(part)

    def _walk(self, dataset: Dataset) -> None:
        self._shift_dates(dataset)
        for tag in tuple(dataset.keys()):
            place = (tag.group, tag.element)
            action = self._actions.get(place)
            if tag.is_private or any(
                tag.group & mask[2] == mask[0] & mask[2] and tag.element & mask[3] == mask[1] & mask[3]
                for mask in self._groups
            ):
                del dataset[tag]
                continue
            keyword = keyword_for_tag(tag)
            own = _OWN.get(keyword)
            if own is not None:
                own(self, dataset, dataset[tag])
                continue
            vr = dataset.get_item(tag).VR
            if vr in ("DA", "TM", "DT") and keyword not in _BIRTH:
                continue
            if vr == "UI":
                self._replace_uids(dataset[tag])
            elif action is not None:
                self._apply(action, dataset, dataset[tag])
            elif vr == "SQ":
                for item in dataset[tag].value:
                    self._walk(item)

    def _apply(self, action: str, dataset: Dataset, element: DataElement) -> None:
        """Do what the profile says: remove, empty, or where a value is required put another one in its place."""
        if action == "delete":
            del dataset[element.tag]
        elif action in ("replace", "empty_or_replace", "delete_or_replace", "delete_or_empty_or_replace"):
            if element.VR in _TEXTS or element.VR == "CS":
                element.value = "ANONYMISED" if element.value else ""
            else:
                del dataset[element.tag]
        elif action in ("empty", "delete_or_empty"):
            element.value = [] if element.VR == "SQ" else None
        else:
            raise AnonymisationError(
                f"The table of dicom-anonymizer asks for {action} of {element.keyword or element.tag}, which is not "
                "known here; use another version of it."
            )

    def _replace_uids(self, element: DataElement) -> None:
        if element.VM > 1:
            element.value = [self._uid(str(uid)) for uid in element.value]
        elif element.value:
            element.value = self._uid(str(element.value))

    def _uid(self, uid: str) -> UID:
        # those of DICOM itself, such as SOP classes, and of the toolkit say nothing of the patient
        if uid.startswith(_DICOM_ROOT):
            return UID(uid)
        return UID(self._uids.setdefault(uid, new_uid()))

    def _shift_dates(self, dataset: Dataset) -> None:
        """Shift dates with the times that go with them; times of no known day are emptied."""
        times_done = set()
        for tag in tuple(dataset.keys()):
            vr = dataset.get_item(tag).VR
            if vr not in ("DA", "DT"):
                continue
            element = dataset[tag]
            keyword = element.keyword
            if keyword in _BIRTH:
                element.value = None
            elif vr == "DT":
                element.value = [self._shifted(str(value)[:14]) for value in _values(element)]
            else:
                time = dataset.get(f"{keyword.removesuffix('Date')}Time") if keyword.endswith("Date") else None
                if time and element.VM == 1:
                    digits = str(time).partition(".")[0]
                    moved = self._shifted(str(element.value) + digits)
                    element.value = moved[:8]
                    setattr(dataset, f"{keyword.removesuffix('Date')}Time", moved[8:])
                    times_done.add(f"{keyword.removesuffix('Date')}Time")
                else:
                    element.value = [self._shifted(str(value)) for value in _values(element)]
        for tag in tuple(dataset.keys()):
            if dataset.get_item(tag).VR == "TM" and keyword_for_tag(tag) not in times_done:
                dataset[tag].value = None

    def _shifted(self, digits: str) -> str:
        """Move a day (YYYYMMDD), with or without a time of day, into the past; empty where it is none."""
        form = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
        try:
            moment = datetime.strptime(digits, form or "")
        except ValueError:
            return ""
        shift = timedelta(days=self._shift.days) if len(digits) == 8 else self._shift
        return (moment - shift).strftime(form or "")

    def _roi_name(self, dataset: Dataset, element: DataElement) -> None:
        name = str(element.value or "")
        if not _is_standard_name(name):
            number = dataset.get("ROINumber")
            element.value = f"ROI {number}"
            self.renamed[name] = element.value

    def _beam_name(self, dataset: Dataset, element: DataElement) -> None:
        element.value = f"Beam {dataset.get('BeamNumber')}"

    def _dose_comment(self, dataset: Dataset, element: DataElement) -> None:
        said = str(element.value or "")
        match = _KEPT_COMMENT.match(said)
        kept = match.group() if match else ""
        # the names of the structures that have alpha/betas of their own are left out
        named = kept.startswith(("EQD2", "BED")) and len(kept) < len(said)
        element.value = f"{kept} and others" if named else kept

    def _empty(self, dataset: Dataset, element: DataElement) -> None:
        element.value = None

    def _keep(self, dataset: Dataset, element: DataElement) -> None:
        """Say nothing of the patient: names of the program that wrote the object."""

    def _check(self, dataset: Dataset) -> None:
        """Refuse an object in which something of the patient is left."""
        for element in _texts(dataset):
            if element.keyword in _OWN:
                continue
            for value in _values(element):
                found = [
                    word for word in self._identifiers if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", str(value))
                ]
                if found:
                    raise AnonymisationError(
                        f"{element.keyword or element.tag} {str(value)!r} of the {dataset.get('Modality', '')} object "
                        "still holds a name or number of the patient; change it before the export. Nothing was written."
                    )


_OWN: dict[str, Callable[[Anonymiser, Dataset, DataElement], None]] = {
    "ROIName": Anonymiser._roi_name,
    "BeamName": Anonymiser._beam_name,
    "DoseComment": Anonymiser._dose_comment,
    # free text of the scanner, which the profile does not list
    "PositionReferenceIndicator": Anonymiser._empty,
    "Manufacturer": Anonymiser._keep,
    "ManufacturerModelName": Anonymiser._keep,
    "SoftwareVersions": Anonymiser._keep,
    "ImplementationVersionName": Anonymiser._keep,
    "ImplementationClassUID": Anonymiser._keep,
}


def _texts(dataset: Dataset) -> Iterator[DataElement]:
    """All elements of text, at any depth; numbers are not touched, there may be very many."""
    for tag in tuple(dataset.keys()):
        vr = dataset.get_item(tag).VR
        if vr == "SQ":
            for item in dataset[tag].value:
                yield from _texts(item)
        elif vr in _TEXTS:
            yield dataset[tag]


def _is_standard_name(name: str) -> bool:
    if not _PLAIN_NAME.fullmatch(name):
        # the table compares latin letters and digits only
        return False
    return bool(_KEPT_NAME.fullmatch(name)) or bool(match_name(name).organs)


def _values(element: DataElement) -> list:
    if element.value is None or element.value == "":
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = meaning
    return code
