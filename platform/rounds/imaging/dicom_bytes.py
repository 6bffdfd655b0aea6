"""DICOM data elements as bytes (PS3.5 chapter 7), for data sets whose values are bytes already."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

_LONG_VRS = {"OB", "OW", "SQ", "UN", "UT", "OD", "OF", "OL", "OV", "SV", "UC", "UR", "UV"}
_UNDEFINED = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_END = (0xFFFE, 0xE0DD)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One element: its VR and its value's bytes, in the byte order that is written, or a sequence's items."""

    vr: str
    value: bytes = b""
    items: tuple["Elements", ...] = ()
    encapsulated: bool = False


Elements = Mapping[int, Encoded]


def text(vr: str, value: str) -> Encoded:
    """Make an element of an ASCII text, padded to even length."""
    data = value.encode("ascii")
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    return Encoded(vr, data)


def encode(elements: Elements, *, implicit: bool, little: bool) -> bytes:
    """Write a data set in ascending order of tags, sequences and items with explicit lengths."""
    return b"".join(_parts(elements, implicit, little))


def _parts(elements: Elements, implicit: bool, little: bool) -> list[bytes]:
    """Return the parts of a data set; pixels are one of them, so that a whole scan is not copied more than once."""
    order = "<" if little else ">"
    parts: list[bytes] = []
    for tag in sorted(elements):
        one = elements[tag]
        value = one.value
        if one.vr == "SQ":
            items = [encode(item, implicit=implicit, little=little) for item in one.items]
            value = b"".join(struct.pack(f"{order}HHL", *_ITEM, len(item)) + item for item in items)
        length = _UNDEFINED if one.encapsulated else len(value)
        group, number = tag >> 16, tag & 0xFFFF
        if implicit:
            parts.append(struct.pack(f"{order}HHL", group, number, length))
        elif one.vr in _LONG_VRS:
            parts.append(struct.pack(f"{order}HH2sHL", group, number, one.vr.encode("ascii"), 0, length))
        else:
            parts.append(struct.pack(f"{order}HH2sH", group, number, one.vr.encode("ascii"), length))
        parts.append(value)
        if one.encapsulated:
            parts.append(struct.pack(f"{order}HHL", *_SEQUENCE_END, 0))
    return parts


def encode_file(elements: Elements, meta: Elements, *, implicit: bool, little: bool, deflated: bool) -> bytes:
    """Write a DICOM file: an empty preamble, the file meta information `meta` (group 0002), the data set."""
    header = encode(meta, implicit=False, little=True)
    length = encode({0x00020000: Encoded("UL", struct.pack("<L", len(header)))}, implicit=False, little=True)
    parts = _parts(elements, implicit, little)
    if deflated:
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = compressor.compress(b"".join(parts)) + compressor.flush()
        parts = [body, bytes(len(body) % 2)]
    return b"".join((bytes(128), b"DICM", length, header, *parts))
