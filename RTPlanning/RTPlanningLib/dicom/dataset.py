"""Reading one DICOM file and its elements so that every failure names the file and the tag."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from DoseEngineLib.errors import CaseError

_UNDEFINED_LENGTH = 0xFFFFFFFF
_AGAIN = "The file may be damaged; export it again."


def read_dataset(path: Path) -> Dataset:
    """Read a whole DICOM file; raises `CaseError` when it cannot be parsed or is cut short."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error}). Check that the file exists and may be read.") from error
    try:
        # force: files without the 128-byte preamble occur in old archives; what is no DICOM lacks all tags
        dataset = dcmread(BytesIO(content), force=True)
    except Exception as error:  # a damaged file can make the parser fail in any way
        raise CaseError(f"{path}: cannot be read as DICOM ({error}). {_AGAIN}") from error
    # pydicom accepts a last element that is shorter than its declared length
    for tag in tuple(dataset.keys()):
        try:
            element = dataset.get_item(tag)
        except Exception as error:  # an unknown value representation, from a damaged file
            raise CaseError(f"{path}: cannot be read as DICOM ({error}). {_AGAIN}") from error
        if (
            isinstance(element, RawDataElement)
            and isinstance(element.value, bytes)
            and element.length != _UNDEFINED_LENGTH
            and len(element.value) < element.length
        ):
            raise CaseError(
                f"{path}: the file is cut short ({len(element.value)} of {element.length} bytes of {_tag_name(tag)}). "
                "Copy or export it again."
            )
    return dataset


def read_header(path: Path, keywords: list[str]) -> Dataset | None:
    """Read the named elements of a file, without pixels; None when the file is not DICOM.

    Raises
    ------
    CaseError
        When the file says or is named as if it were DICOM but cannot be parsed.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(132)
    except OSError as error:
        raise CaseError(f"{path}: cannot be read ({error}). Check that the file exists and may be read.") from error
    marked = head[128:132] == b"DICM"
    named = path.suffix.lower() in (".dcm", ".dicom", ".ima")
    # without a preamble, a data set starts with group 0002 or 0008, little endian
    bare = head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00"
    if not (marked or named or bare):
        return None
    try:
        dataset = dcmread(path, stop_before_pixels=True, force=not marked and bare, specific_tags=keywords)
    except InvalidDicomError as error:
        raise CaseError(
            f"{path}: is named like a DICOM file but is not one, or its beginning is damaged. Export it again or "
            "remove it from the folder."
        ) from error
    except Exception as error:  # a damaged file can make the parser fail in any way
        raise CaseError(f"{path}: cannot be read as DICOM ({error}). {_AGAIN}") from error
    if not marked and not named and "SOPClassUID" not in dataset:
        return None
    return dataset


def _tag_name(tag: Any) -> str:
    tag = Tag(tag)
    return f"{keyword_for_tag(tag) or 'private tag'} ({tag.group:04X},{tag.element:04X})"


def value(dataset: Dataset, keyword: str, where: str) -> Any:
    """Return an element's value, None when it is missing or empty."""
    try:
        found = dataset.get(keyword)
    except Exception as error:  # value conversion fails in as many ways as there are VRs
        raise CaseError(f"{where}: {_tag_name(tag_for_keyword(keyword))} is malformed ({error}). {_AGAIN}") from error
    if found is None or (hasattr(found, "__len__") and len(found) == 0):
        return None
    if dictionary_VR(keyword) == "SQ" and not isinstance(found, Sequence):
        raise CaseError(f"{where}: {_tag_name(tag_for_keyword(keyword))} is malformed (no sequence of items). {_AGAIN}")
    return found


def required(dataset: Dataset, keyword: str, where: str) -> Any:
    """Return an element's value; raises `CaseError` when it is missing or empty."""
    found = value(dataset, keyword, where)
    if found is None:
        raise CaseError(
            f"{where}: the required tag {_tag_name(tag_for_keyword(keyword))} is missing or empty. "
            "Export the file again from a system that writes it."
        )
    return found


def text(dataset: Dataset, keyword: str, where: str) -> str:
    """Return an element as stripped text, empty when it is missing."""
    found = value(dataset, keyword, where)
    return "" if found is None else str(found).strip()


def texts(dataset: Dataset, keyword: str, where: str) -> tuple[str, ...]:
    """Return an element's values as stripped texts, whatever their kind; none when it is missing."""
    found = value(dataset, keyword, where)
    if found is None:
        return ()
    several = found if isinstance(found, (MultiValue, list, tuple)) else [found]
    return tuple(str(one).strip() for one in several)


def numbers(dataset: Dataset, keyword: str, where: str, count: int) -> np.ndarray:
    """Return a required element as ``count`` finite floats."""
    found = required(dataset, keyword, where)
    name = _tag_name(tag_for_keyword(keyword))
    try:
        result = np.atleast_1d(np.array(found, dtype=float))
    except (TypeError, ValueError) as error:
        raise CaseError(f"{where}: {name} holds no numbers ({found!r}). {_AGAIN}") from error
    if result.shape != (count,):
        raise CaseError(f"{where}: {name} must hold {count} numbers; it has {result.size}. {_AGAIN}")
    if not np.isfinite(result).all():
        raise CaseError(f"{where}: {name} holds NaN or infinity ({found!r}). {_AGAIN}")
    return result


def number(dataset: Dataset, keyword: str, where: str) -> float | None:
    """Return an optional element as one finite float, None when it is missing or empty."""
    return None if value(dataset, keyword, where) is None else float(numbers(dataset, keyword, where, 1)[0])


def whole_number(dataset: Dataset, keyword: str, where: str) -> int:
    """Return a required element as one whole number."""
    found = float(numbers(dataset, keyword, where, 1)[0])
    if not found.is_integer():
        raise CaseError(
            f"{where}: {_tag_name(tag_for_keyword(keyword))} must be a whole number; got {found:g}. {_AGAIN}"
        )
    return int(found)


def decimal_strings(dataset: Dataset, keyword: str, where: str) -> np.ndarray:
    """Return a required, long DS element as floats (NaN allowed), without an object for each number."""
    name = _tag_name(tag_for_keyword(keyword))
    try:
        element = dataset.get_item(keyword) if keyword in dataset else None
    except Exception as error:  # an unknown value representation, from a damaged file
        raise CaseError(f"{where}: {name} is malformed ({error}). {_AGAIN}") from error
    raw = element.value if element is not None else None
    try:
        if isinstance(raw, bytes):
            raw = raw.strip(b" \0")
            result = np.array(raw.split(b"\\"), dtype="S").astype(float) if raw else np.empty(0)
        else:
            result = np.atleast_1d(np.array(required(dataset, keyword, where), dtype=float))
    except (TypeError, ValueError) as error:
        raise CaseError(f"{where}: {name} holds something that is not a number ({error}). {_AGAIN}") from error
    if result.size == 0:
        raise CaseError(f"{where}: the required tag {name} is missing or empty. {_AGAIN}")
    return result
