"""What may hide inside pixel data: comments in compressed streams, bytes behind an image, overlays in spare bits."""

import struct
from collections.abc import Iterator

import numpy as np

_SOI, _EOI, _J2K = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f\xff\x51"
_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_J2K_COMMENT, _J2K_TILE, _J2K_DATA = 0x64, 0x90, 0x93
_ITEM_TAG = 0xE000FFFE


def without_stowaways(value: bytes) -> bytes:
    """Blank the comments and the application data of encapsulated images, and what follows the end of each.

    Bytes are overwritten with zeros where they lie, so lengths and offset tables still hold and the decoded image
    is the same. Raise ValueError if the stream cannot be followed.
    """
    fragments = list(_fragments(value))
    images = [index for index, (start, _) in enumerate(fragments) if _begins_image(value, start, index)]
    if not images:
        return value
    data = bytearray(value)
    for first, following in zip(images, [*images[1:], len(fragments)], strict=True):
        start, end = fragments[first]
        notes = _jpeg_notes if data[start : start + 2] == _SOI else _j2k_notes
        for begin, stop in notes(data, start, end):
            data[begin:stop] = bytes(stop - begin)
        start, end = fragments[following - 1]
        finish = data.rfind(_EOI, start, end)
        if finish >= 0:
            data[finish + 2 : end] = bytes(end - finish - 2)
    return bytes(data)


def _begins_image(value: bytes, start: int, index: int) -> bool:
    """Tell whether a fragment begins an image, as every frame's first one does."""
    head = value[start : start + 4]
    return head[:2] == _SOI or head == _J2K or (index == 0 and head[:2] == _J2K[:2])


def without_excess(value: bytes, expected: int) -> bytes:
    """Cut what follows the `expected` bytes of an uncompressed image, a pad byte aside."""
    if expected <= 0 or len(value) <= expected:
        return value
    return value[:expected] + bytes(expected % 2)


def without_overlay_bits(value: bytes, positions: frozenset[int], high_bit: int, signed: bool) -> bytes:
    """Clear overlay planes in the bits `positions` above `high_bit` of 16-bit pixels; signed ones keep their sign."""
    spare = sum(1 << bit for bit in positions if high_bit < bit < 16)
    if not spare:
        return value
    even = len(value) - len(value) % 2
    pixels = np.frombuffer(value[:even], dtype="<u2") & np.uint16(0xFFFF ^ spare)
    if signed:
        pixels = np.where(pixels >> high_bit & 1, pixels | np.uint16(spare), pixels).astype("<u2")
    return pixels.tobytes() + value[even:]


def _fragments(value: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the fragments of an encapsulated value lie; the first item is the offset table."""
    at, count = 0, 0
    while at + 8 <= len(value):
        tag, length = struct.unpack_from("<LL", value, at)
        if tag != _ITEM_TAG or at + 8 + length > len(value):
            return
        if count:
            yield at + 8, at + 8 + length
        at, count = at + 8 + length, count + 1


def _jpeg_notes(data: bytearray, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where comments and application data of a JPEG or JPEG-LS header lie, up to the first scan."""
    for marker, first, last in _segments(data, at + 2, end, _START_OF_SCAN):
        harmless = data[first : first + 5] == b"Adobe" and last - first == 12
        plain = data[first : first + 5] == b"JFIF\0" and last - first == 14
        if marker == _COMMENT or (marker in _APPLICATION and not (harmless or plain)):
            yield first, last


def _j2k_notes(data: bytearray, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the comments of a JPEG 2000 main header lie and those of its tile-part headers."""
    for marker, first, last in _segments(data, at + 2, end, _J2K_TILE):
        if marker == _J2K_COMMENT:
            yield first + 2, last
    tile = data.find(b"\xff\x90\x00\x0a", at, end)
    while tile >= 0 and tile + 12 <= end and data[tile : tile + 2] == b"\xff\x90":
        for marker, first, last in _segments(data, tile + 12, end, _J2K_DATA):
            if marker == _J2K_COMMENT:
                yield first + 2, last
        (length,) = struct.unpack_from(">L", data, tile + 6)
        if length < 12:
            return
        tile += length


def _segments(data: bytearray, at: int, end: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the payload of each segment of a header until the marker `stop`."""
    while at + 4 <= end:
        if data[at] != 0xFF:
            raise ValueError("a compressed image with a broken header")
        marker = data[at + 1]
        if marker == stop:
            return
        if marker == 0xFF:
            at += 1
            continue
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        if length < 2 or at + 2 + length > end:
            raise ValueError("a compressed image with a broken header")
        yield marker, at + 4, at + 2 + length
        at += 2 + length
