"""Damaged and hostile DICOM files made of sound ones, as strategies for hypothesis."""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom
from hypothesis import strategies as st
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

# Values that no reader may trust, whatever element they stand in.
HOSTILE_VALUES = (
    b"",
    b"\\",
    b"\\\\\\\\",
    b"NaN ",
    b"inf ",
    b"-1",
    b"0 ",
    b"1e308 ",
    b"-1e-320 ",
    b"99999999999999",
    b"0x7FFFFFFF",
    b"2147483648",
    b"1.5 ",
    b"abc ",
    b"../../../../etc/passwd",
    b"C:\\Windows\\System32\\con ",
    b"/dev/zero",
    b"1.2.3.4\x00../../x",
    b"%s%n%x{0}{0.__class__}",
    b"\x00" * 64,
    b"\xff" * 64,
    b"\xc3\x28\xa0\xa1",
    b"1\\" * 5000,
    b"A" * 100000,
    b"\x1b$B" * 40,
    struct.pack("<H", 0xFFFF),
    struct.pack("<H", 0),
    struct.pack("<I", 0xFFFFFFFF),
    struct.pack("<d", float("nan")),
)
_NUMBERS = (b"1e308", b"-1e30", b"1e9", b"1e5", b"NaN", b"-inf", b"1e-300", b"0", b"-7", b"0.5", b"9" * 30, b"3 4")
VRS = ("DS", "IS", "UI", "LO", "PN", "SQ", "OW", "UN", "US", "FD", "DA", "AT", "CS", "ZZ")
_LENGTHS = (0, 1, 2, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_CHUNKS = (b"\x00" * 8, b"\xff" * 8, b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00", b"DICM")


class Content(bytes):
    """A file's content that does not fill the screen when a test fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@st.composite
def damaged_bytes(draw, content: bytes) -> Content:
    """A file cut short, with bits turned over, lengths made absurd, or pieces doubled, dropped or overwritten."""
    for _ in range(draw(st.integers(1, 3))):
        if len(content) < 8:
            break
        # headers are where it hurts: half of the damage is done there
        end = draw(st.sampled_from((min(2000, len(content)), len(content))))
        place = draw(st.integers(0, end - 1))
        kind = draw(st.sampled_from(("cut", "flip", "length", "drop", "double", "chunk", "random")))
        if kind == "cut":
            content = content[:place]
        elif kind == "flip":
            content = content[:place] + bytes([content[place] ^ (1 << draw(st.integers(0, 7)))]) + content[place + 1 :]
        elif kind == "length":
            wanted = struct.pack("<I", draw(st.sampled_from(_LENGTHS)))[: draw(st.sampled_from((2, 4)))]
            content = content[:place] + wanted + content[place + len(wanted) :]
        elif kind == "drop":
            content = content[:place] + content[place + draw(st.integers(1, 64)) :]
        elif kind == "double":
            piece = content[place : place + draw(st.integers(1, 256))]
            content = content[:place] + piece + content[place:]
        elif kind == "chunk":
            piece = draw(st.sampled_from(_CHUNKS))
            content = content[:place] + piece + content[place + len(piece) :]
        else:
            piece = draw(st.binary(min_size=1, max_size=16))
            content = content[:place] + piece + content[place + len(piece) :]
    return Content(content)


@st.composite
def hostile_elements(draw, content: bytes) -> Content:
    """A well-formed file in which elements are missing, doubled, of the wrong kind, or hold what they must not."""
    dataset = pydicom.dcmread(BytesIO(content))
    implicit = dataset.file_meta.TransferSyntaxUID.is_implicit_VR
    # not both in one file: pydicom would write for minutes
    kinds = (
        "delete",
        "value",
        "value",
        "vr",
        "junk",
        "copy",
        "number",
        "number",
        draw(st.sampled_from(("many", "deep"))),
    )
    for _ in range(draw(st.integers(1, 4))):
        # down into sequences, some way
        place = dataset
        for _ in range(draw(st.integers(0, 4))):
            nested = [tag for tag in place.keys() if _vr(place, tag) == "SQ" and len(place[tag].value)]  # noqa: SIM118
            if not nested:
                break
            items = place[draw(st.sampled_from(nested))].value
            place = items[draw(st.integers(0, min(len(items), 4) - 1))]
        tags = list(place.keys())
        if not tags:
            continue
        tag = draw(st.sampled_from(tags))
        kind = draw(st.sampled_from(kinds))
        if kind == "delete":
            del place[tag]
        elif kind in ("value", "vr"):
            vr = draw(st.sampled_from(VRS)) if kind == "vr" else _vr(place, tag)
            _put(place, tag, vr, draw(st.sampled_from(HOSTILE_VALUES)), implicit)
        elif kind == "number" and _vr(place, tag) in ("DS", "IS"):
            element = place.get_item(tag)
            if isinstance(element.value, bytes):
                numbers = element.value.split(b"\\")
                numbers[draw(st.integers(0, len(numbers) - 1))] = draw(st.sampled_from(_NUMBERS))
                _put(place, tag, _vr(place, tag), b"\\".join(numbers), implicit)
        elif kind == "junk":
            for element in range(draw(st.integers(1, 50))):
                _put(place, Tag(0x0009, 0x1000 + element), "UN", draw(st.sampled_from(HOSTILE_VALUES)), implicit)
        elif kind == "many" and _vr(place, tag) == "SQ":
            items = place[tag].value
            place[tag].value = [*items, *([items[0] if items else Dataset()] * draw(st.sampled_from((1, 2, 3000))))]
        elif kind == "deep":
            _put_sequence(place, _nested(draw(st.sampled_from((3, 150)))))
        elif kind == "copy":
            element = place.get_item(draw(st.sampled_from(tags)))
            if isinstance(element.value, bytes):
                _put(place, tag, _vr(place, tag), element.value, implicit)
    stream = BytesIO()
    try:
        pydicom.dcmwrite(stream, dataset, enforce_file_format=False)
    except Exception:  # what the writer cannot put into bytes is no file; the sound one stands for it
        return Content(content)
    return Content(stream.getvalue())


def _vr(place: Dataset, tag) -> str:
    """Value representation of an element; in implicit files the dictionary knows it."""
    vr = place.get_item(tag).VR
    if vr is None:
        return dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    return vr


def _nested(depth: int) -> Dataset:
    inner = Dataset()
    for _ in range(depth):
        outer = Dataset()
        outer.BeamSequence = [inner]
        inner = outer
    return inner


def _put_sequence(place: Dataset, item: Dataset) -> None:
    # past the data set's own checks, which look at elements that may be spoilt by now
    place._dict[Tag("BeamSequence")] = DataElement(Tag("BeamSequence"), "SQ", Sequence([item]))


def _put(place: Dataset, tag, vr: str, value: bytes, implicit: bool) -> None:
    if vr == "SQ":
        # bytes that are no items
        vr = "UN"
    if vr not in ("OW", "UN", "OB") and not implicit:
        value = value[:65534]
    place[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, implicit, True)
