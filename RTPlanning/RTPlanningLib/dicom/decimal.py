"""Numbers as DICOM's decimal strings (DS, PS3.5 6.2): at most 16 characters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds

_LONGEST = 16


def decimal_string(number: float) -> str:
    """Write a number with as many digits as it needs, and as fit."""
    # adding zero turns -0.0 into 0.0
    text = repr(float(number) + 0.0)
    text = text[:-2] if text.endswith(".0") else text
    return text if len(text) <= _LONGEST else format_number_as_ds(float(number))


def decimal_value(number: float) -> float:
    """Return the number that a reader of `decimal_string` gets."""
    return float(decimal_string(number))


def set_long_decimals(dataset: Dataset, keyword_tag: int, numbers: Iterable[float]) -> None:
    """Store many numbers, without an object for each; for data sets with implicit VR only."""
    text = "\\".join(decimal_string(number) for number in np.asarray(numbers, float).ravel().tolist())
    value = text.encode("ascii")
    value += b" " * (len(value) % 2)
    tag = Tag(keyword_tag)
    dataset[tag] = RawDataElement(tag, "DS", len(value), value, 0, True, True)
