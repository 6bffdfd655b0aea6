"""A second reader of DICOM headers (PS3.5 chapter 7), on purpose not the one that de-identification uses."""

import struct
import zlib
from typing import NamedTuple

from pydicom.datadict import dictionary_VR

_UNDEFINED = 0xFFFFFFFF
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT", b"OD", b"OF", b"OL", b"OV", b"SV", b"UC", b"UR", b"UV"}
_DELIMITERS, _SEQUENCE_END = 0xFFFE, 0xE0DD
_SYNTAX = 0x00020010
_PIXELS = 0x7FE00010
_DEFLATED, _IMPLICIT, _BIG = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2"
_MAX_INFLATED = 256 * 2**20
_SHORT = {order: struct.Struct(order + "HH2sH") for order in "<>"}
_PLAIN = {order: struct.Struct(order + "HHL") for order in "<>"}
_LENGTH = {order: struct.Struct(order + "L") for order in "<>"}
_vrs: dict[int, bytes] = {}


Found = tuple[int, bytes, bytes, int]
"""One element with a value: its tag, VR (b"" if unknown), bytes, and the top-level sequence it lies in (or 0)."""


class Truncated(Exception):
    """The bytes end before the pixel data begin."""


class Header(NamedTuple):
    """The elements before the pixel data in order, down into sequences; the bytes; where the pixel data begin."""

    elements: list[Found]
    data: bytes
    pixels: int


def read_header(data: bytes) -> Header:
    """Read every element up to the pixel data; raise Truncated if the bytes end before them."""
    at = 132 if data[128:132] == b"DICM" else 0
    syntax, elements = b"", []
    try:
        while at and data[at : at + 2] == b"\x02\x00":
            one, at = _meta_element(data, at)
            if one[0] == _SYNTAX:
                syntax = one[2].rstrip(b"\0 ")
            elements.append(one)
        if syntax == _DEFLATED:
            data, at = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[at:], _MAX_INFLATED), 0
        explicit = syntax != _IMPLICIT if syntax else data[at + 4 : at + 6].isalpha()
        return Header(elements, data, _walk(data, at, explicit, ">" if syntax == _BIG else "<", elements))
    except struct.error as error:
        raise Truncated from error


def _meta_element(data: bytes, at: int) -> tuple[Found, int]:
    group, number, name, length = _SHORT["<"].unpack_from(data, at)
    start = at + 8
    if name in _LONG:
        start, length = at + 12, _LENGTH["<"].unpack_from(data, at + 8)[0]
    return (group << 16 | number, name, data[start : start + length], 0), start + length


def _walk(data: bytes, at: int, explicit: bool, order: str, elements: list[Found]) -> int:
    """Append the elements of a data set; return where its pixel data begin.

    There is no recursion: heads of sequences and items are stepped over, so that their elements follow. A sequence
    of VR UN with undefined length holds implicit little-endian elements until its end.
    """
    within = within_end = depth = hidden_since = 0
    given, size = (explicit, order), len(data)
    while True:
        if explicit:
            group, number, vr, length = _SHORT[order].unpack_from(data, at)
            start = at + 8
            if vr in _LONG:
                start, length = at + 12, _LENGTH[order].unpack_from(data, at + 8)[0]
        else:
            group, number, length = _PLAIN[order].unpack_from(data, at)
            start, vr = at + 8, _vr(group << 16 | number)
        if group == _DELIMITERS:
            depth -= number == _SEQUENCE_END
            if depth < hidden_since:
                (explicit, order), hidden_since = given, 0
            at += 8
            continue
        tag = group << 16 | number
        outside = depth == 0 and at >= within_end
        if outside and tag == _PIXELS:
            return start
        if vr == b"SQ" or length == _UNDEFINED:
            if tag == _PIXELS:
                raise Truncated
            if outside:
                within, within_end = tag, start + (0 if length == _UNDEFINED else length)
            depth += length == _UNDEFINED
            if vr == b"UN" and not hidden_since:
                explicit, order, hidden_since = False, "<", depth
            at = start
            continue
        at = start + length
        if at > size:
            raise Truncated
        if length:
            elements.append((tag, vr, data[start:at], 0 if outside else within))


def _vr(tag: int) -> bytes:
    known = _vrs.get(tag)
    if known is None:
        try:
            known = dictionary_VR(tag)[:2].encode("ascii")
        except KeyError:
            known = b""
        if len(_vrs) < 10_000:
            _vrs[tag] = known
    return known
