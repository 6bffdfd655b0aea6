"""Where the parts of an enhanced multi-frame file lie: its functional groups, and each frame's bytes.

Nothing the file says about itself is believed: lengths, counts and depths are checked while walking, and a frame is
read from the file only when it is wanted.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from rounds.imaging.dicom import (
    MAX_GROUPS_BYTES,
    MAX_MULTIFRAME_BYTES,
    MAX_SEQUENCE_BYTES,
    Unreadable,
    inflated,
    is_deflated,
)

MAX_FRAMES = 4096
"""A chest in slices of 0.5 mm has 800; a perfusion study or a heart in ten phases some thousand."""

MAX_ELEMENTS = 400_000
MAX_DEPTH = 8

SHARED, PER_FRAME, DIMENSIONS = 0x52009229, 0x52009230, 0x00209222
_PIXELS, _EXTENDED_OFFSETS = 0x7FE00010, 0x7FE00001
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX = 0x00020010
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT", b"OD", b"OF", b"OL", b"OV", b"SV", b"UC", b"UR", b"UV"})
_IMPLICIT, _BIG = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2"
_MAX_TOP_ELEMENTS = 20_000

Item = dict[int, "bytes | tuple[Item, ...]"]


@dataclass(frozen=True)
class Layout:
    """What an enhanced file holds: `groups` by tag (parsed items), the byte order, and where the pixel data lie."""

    groups: dict[int, tuple[Item, ...]] = field(repr=False)
    little: bool
    offset: int
    length: int
    extended: tuple[int, ...] = field(default=(), repr=False)

    @property
    def encapsulated(self) -> bool:
        return self.length == _UNDEFINED


class FrameFile:
    """An enhanced file that is open: its layout, and its frames one at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = _opened(path)
        except OSError as error:
            raise Unreadable("the file cannot be opened") from error
        try:
            self.layout = _layout(self._file)
        except (struct.error, IndexError) as error:
            self.close()
            raise Unreadable("the multi-frame file cannot be parsed") from error
        except Unreadable:
            self.close()
            raise
        self._places: list[list[tuple[int, int]]] | None = None

    def __enter__(self) -> "FrameFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def frame(self, index: int, count: int, size: int) -> bytes:
        """Return the bytes of frame `index` of `count`: `size` of them, or a compressed image; raise Unreadable."""
        layout = self.layout
        if not layout.encapsulated:
            if layout.length < count * size:
                raise Unreadable("the pixels are fewer than the frames need")
            return self._read(layout.offset + index * size, size)
        if self._places is None:
            try:
                self._places = _grouped(self._file, layout, count)
            except struct.error as error:
                raise Unreadable("the compressed pixels end too early") from error
        return b"".join(self._read(start, length) for start, length in self._places[index])

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        data = self._file.read(length)
        if len(data) != length:
            raise Unreadable("the pixels end too early")
        return data


def _opened(path: Path) -> BinaryIO:
    """Open a file, or the bytes that a deflated one inflates to."""
    if path.stat().st_size > MAX_MULTIFRAME_BYTES:
        raise Unreadable("the file is larger than any CT scan")
    file = path.open("rb")
    head = file.read(1024)
    if not is_deflated(head):
        return file
    with file:
        return io.BytesIO(inflated(head + file.read()))


def _layout(file: BinaryIO) -> Layout:
    file.seek(0, io.SEEK_END)
    size = file.tell()
    syntax, at = _meta(file)
    explicit, order = syntax != _IMPLICIT, ">" if syntax == _BIG else "<"
    budget = _Budget()
    groups: dict[int, tuple[Item, ...]] = {}
    extended: tuple[int, ...] = ()
    for _ in range(_MAX_TOP_ELEMENTS):
        file.seek(at)
        walk = _Walk(file.read(12), explicit, order, budget)
        tag, vr, length, start = walk.head(0)
        at += start
        if tag == _PIXELS:
            return Layout(groups, order == "<", at, length, extended)
        if tag > _PIXELS and tag >> 16 != 0x7FE0:
            break
        if length == _UNDEFINED or tag in {SHARED, PER_FRAME, DIMENSIONS}:
            items, used = _sequence(file, at, length, tag, vr, walk)
            groups[tag] = items
            at += used
        else:
            if tag == _EXTENDED_OFFSETS and length <= 8 * MAX_FRAMES:
                file.seek(at)
                extended = struct.unpack(f"{order}{length // 8}Q", file.read(length // 8 * 8))
            at += length
        if at > size:
            break
    raise Unreadable("the multi-frame file has no pixels, or ends before them")


def _meta(file: BinaryIO) -> tuple[bytes, int]:
    """Return the transfer syntax and where the data set begins."""
    file.seek(0)
    head = file.read(64 * 1024)
    if head[128:132] != b"DICM":
        raise Unreadable("a multi-frame file without its preamble")
    walk = _Walk(head, explicit=True, order="<", budget=_Budget())
    syntax, at = b"", 132
    while head[at : at + 2] == b"\x02\x00":
        tag, _, length, start = walk.head(at)
        if tag == _SYNTAX:
            syntax = head[start : start + length].rstrip(b"\0 ")
        at = start + length
    if not syntax:
        raise Unreadable("a multi-frame file that does not say how it is written")
    return syntax, at


def _sequence(
    file: BinaryIO, at: int, length: int, tag: int, vr: bytes, like: "_Walk"
) -> tuple[tuple[Item, ...], int]:
    """Parse a sequence at the top level; return its items and its length in bytes."""
    most = MAX_GROUPS_BYTES if tag in {SHARED, PER_FRAME} else MAX_SEQUENCE_BYTES
    if length != _UNDEFINED and length > most:
        raise Unreadable("a sequence is longer than any CT scan has")
    file.seek(at)
    data = file.read(most if length == _UNDEFINED else length)
    hidden = vr == b"UN"
    walk = _Walk(data, like.explicit and not hidden, "<" if hidden else like.order, like.budget)
    return walk.items(0, length, 0)


class _Budget:
    """How many more elements a file may have."""

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unreadable("the file has more parts than any CT scan")


class _Walk:
    """Parses items and elements (PS3.5 chapter 7) out of bytes."""

    def __init__(self, data: bytes, explicit: bool, order: str, budget: _Budget) -> None:
        self.data, self.explicit, self.order, self.budget = data, explicit, order, budget
        self._short = struct.Struct(order + "HH2sH")
        self._plain = struct.Struct(order + "HHL")
        self._length = struct.Struct(order + "L")

    def head(self, at: int) -> tuple[int, bytes, int, int]:
        """Return tag, VR (b"" where none is written), length and where the value begins."""
        self.budget.spend()
        group, number, length = self._plain.unpack_from(self.data, at)
        if not self.explicit or group == 0xFFFE:
            return group << 16 | number, b"", length, at + 8
        _, _, vr, length = self._short.unpack_from(self.data, at)
        if vr not in _LONG:
            return group << 16 | number, vr, length, at + 8
        return group << 16 | number, vr, self._length.unpack_from(self.data, at + 8)[0], at + 12

    def items(self, at: int, length: int, depth: int) -> tuple[tuple[Item, ...], int]:
        """Return the items of a sequence and where it ends."""
        end = self._end(at, length)
        if depth > MAX_DEPTH:
            raise Unreadable("the sequences are nested deeper than in any CT scan")
        found: list[Item] = []
        while at < end:
            tag, _, size, at = self.head(at)
            if tag == _SEQUENCE_END and length == _UNDEFINED:
                return tuple(found), at
            if tag != _ITEM:
                raise Unreadable("a sequence that has something else than items")
            item, at = self._elements(at, size, depth)
            found.append(item)
        if length == _UNDEFINED:
            raise Unreadable("a sequence without an end")
        return tuple(found), end

    def _elements(self, at: int, length: int, depth: int) -> tuple[Item, int]:
        end = self._end(at, length)
        item: Item = {}
        while at < end:
            tag, vr, size, at = self.head(at)
            if tag == _ITEM_END and length == _UNDEFINED:
                return item, at
            nested = size == _UNDEFINED or vr == b"SQ" or (not vr and self._opens(at, size))
            if nested and vr == b"UN":
                hidden = _Walk(self.data, explicit=False, order="<", budget=self.budget)
                _, at = hidden.items(at, size, depth + 1)
            elif nested:
                item[tag], at = self.items(at, size, depth + 1)
            else:
                item[tag] = self.data[at : self._end(at, size)]
                at += size
        if length == _UNDEFINED:
            raise Unreadable("an item without an end")
        return item, end

    def _opens(self, at: int, size: int) -> bool:
        """Tell whether an element whose VR is not written begins as a sequence does."""
        return size >= 8 and self._plain.unpack_from(self.data, at)[:2] == (0xFFFE, 0xE000)

    def _end(self, at: int, length: int) -> int:
        end = len(self.data) if length == _UNDEFINED else at + length
        if end > len(self.data):
            raise Unreadable("a sequence ends before its length")
        return end


def _grouped(file: BinaryIO, layout: Layout, count: int) -> list[list[tuple[int, int]]]:
    """Return where the fragments of each frame lie: one a frame, or as an offset table says (PS3.5 A.4)."""
    table, first, fragments = _fragments(file, layout.offset, most=count * 16)
    if len(fragments) == count:
        return [[one] for one in fragments]
    offsets: Sequence[int] = layout.extended or table
    starts = {start - 8 - first: index for index, (start, _) in enumerate(fragments)}
    if len(offsets) != count or list(offsets) != sorted(set(offsets)) or not set(offsets) <= set(starts):
        raise Unreadable("the compressed pixels do not say which frame is where")
    cuts = [*(starts[offset] for offset in offsets), len(fragments)]
    return [fragments[begin:end] for begin, end in pairwise(cuts)]


def _fragments(file: BinaryIO, at: int, most: int) -> tuple[tuple[int, ...], int, list[tuple[int, int]]]:
    """Return the basic offset table, where the first fragment's item begins, and each fragment's place and length."""
    file.seek(at)
    tag, length = _item(file.read(8))
    if tag != _ITEM or length > 4 * MAX_FRAMES:
        raise Unreadable("the compressed pixels do not begin with their table")
    table = struct.unpack(f"<{length // 4}L", file.read(length)[: length // 4 * 4])
    at = first = at + 8 + length
    found: list[tuple[int, int]] = []
    while len(found) <= most:
        file.seek(at)
        tag, length = _item(file.read(8))
        if tag == _SEQUENCE_END:
            return table, first, found
        if tag != _ITEM:
            break
        found.append((at + 8, length))
        at += 8 + length
    raise Unreadable("the compressed pixels cannot be told apart")


def _item(head: bytes) -> tuple[int, int]:
    group, number, length = struct.unpack("<HHL", head)
    return group << 16 | number, length
