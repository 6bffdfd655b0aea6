"""The size that compressed pixels declare of themselves, so that no decoder is handed a lie about it."""

import struct

_START = b"\xff\xd8"
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_BARE = {0x01, *range(0xD0, 0xD8)}
_SCAN = {0xDA, 0xD9}
_J2K = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
_BITS = range(2, 17)
"""Of a sample (T.81 table B.2). Decoders have died of more."""

JPEG_SYNTAXES = "1.2.840.10008.1.2.4."
"""JPEG, JPEG-LS, JPEG 2000 and their kin; other compressed syntaxes (RLE) have no size of their own."""


class BadCodestream(Exception):
    """The compressed pixels do not begin as their syntax demands."""


def declared_size(data: bytes) -> tuple[int, int, int]:
    """Return (rows, columns, components) as a JPEG, JPEG-LS or JPEG 2000 codestream declares them.

    Follows ISO/IEC 10918-1 B.2, 14495-1 C.2 and 15444-1 A.5.1. Raise BadCodestream, also for a header that contradicts
    itself or declares samples of more than 16 bits.
    """
    try:
        if data[:2] == _START:
            return _of_jpeg(data)
        start = data.find(_J2K, 0, 4096) if data[: len(_JP2)] == _JP2 else 0
        if start >= 0 and data[start : start + 4] == _J2K:
            return _of_jpeg_2000(data, start + 4)
    except (struct.error, IndexError) as error:
        raise BadCodestream("the compressed pixels end before their size") from error
    raise BadCodestream("the compressed pixels are of no known kind")


def _of_jpeg(data: bytes) -> tuple[int, int, int]:
    """Walk the marker segments to the first frame header."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise BadCodestream("a marker is missing")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            length, bits, rows, columns, components = struct.unpack_from(">HBHHB", data, at + 2)
            if bits not in _BITS or length != 8 + 3 * components:
                raise BadCodestream("the compressed pixels are of no known kind")
            return rows, columns, components
        elif marker in _SCAN:
            raise BadCodestream("the pixels begin before their size")
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + max(2, length)


def _of_jpeg_2000(data: bytes, at: int) -> tuple[int, int, int]:
    """Read the SIZ segment; an image that does not begin at the origin is no slice."""
    width, height, left, top = struct.unpack_from(">LLLL", data, at + 4)
    components, bits = struct.unpack_from(">HB", data, at + 36)
    if (bits & 0x7F) + 1 > max(_BITS):
        raise BadCodestream("the samples have more than 16 bits")
    if left or top:
        raise BadCodestream("the image does not begin at its origin")
    return height, width, components
