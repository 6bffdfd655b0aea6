"""Plain DICOM files, which nearly all are, read into what pydicom would read them into, in a third of its time.

Plain means: a preamble, file meta information with a known little-endian transfer syntax, lengths that fit, little in
sequences of undefined length. Everything else is answered with None and left to pydicom: nothing is judged here.
"""

from collections.abc import Collection
from functools import lru_cache
from io import BytesIO
from struct import Struct

from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

MAX_ELEMENTS = 4000
MAX_VALUE_BYTES = 64 * 1024
"""Of anything but pixels, and of all sequences of undefined length: who reads what is longer knows what to refuse."""

_PIXELS, _CHARACTER_SET, _SYNTAX = 0x7FE00010, 0x00080005, 0x00020010
_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = 0xE000FFFE, 0xE0DDFFFE
_IMPLICIT = b"1.2.840.10008.1.2"
_EXPLICIT = (b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.5")
_COMPRESSED = b"1.2.840.10008.1.2.4."
_HEAD, _LONG = Struct("<HH2sH").unpack_from, Struct("<L").unpack_from
_TAG_LENGTH = Struct("<LL").unpack_from
_VRS = {vr.encode("ascii"): str(vr.value) for vr in VR if len(vr) == 2}
_LONG_VRS = frozenset(vr.encode("ascii") for vr in EXPLICIT_VR_LENGTH_32)

Elements = dict[BaseTag, RawDataElement | DataElement]


class _NotPlain(Exception):
    """The file is for another reader."""


def read_plain(data: bytes, tags: Collection[int] = (), stop: int | None = None) -> FileDataset | None:
    """Return the data set that pydicom would read from `data`, or None if the file is not a plain one.

    With `tags` only these elements are kept; with `stop` reading ends at the first tag from there on, and None is
    returned if the bytes end before it.
    """
    if data[128:132] != b"DICM":
        return None
    try:
        meta: Elements = {}
        at = _walk(data, 132, False, (), 0x00030000, meta)
        implicit = _is_implicit(data, at, meta)
        kept: Elements = {}
        _walk(data, at, implicit, {*tags, _CHARACTER_SET} if tags else (), stop, kept)
        return _dataset(data[:128], meta, kept, implicit)
    except (Exception, RecursionError):  # whatever it is, the other reader finds it too
        return None


def _is_implicit(data: bytes, at: int, meta: Elements) -> bool:
    """Tell whether the elements from `at` on have no VR, if the transfer syntax and the first of them agree."""
    syntax = meta.get(BaseTag(_SYNTAX))
    if syntax is None or min(meta) < 0x00020000 or data[at : at + 2] == b"\0\0":
        raise _NotPlain
    name = (syntax.value or b"").rstrip(b"\0")
    first = data[at + 4 : at + 6]
    if name == _IMPLICIT and not (first.isalpha() and first.isupper()):
        return True
    if (name in _EXPLICIT or name.startswith(_COMPRESSED)) and first in _VRS:
        return False
    raise _NotPlain


def _walk(
    data: bytes, at: int, implicit: bool, tags: Collection[int], stop: int | None, kept: Elements
) -> int:
    """Gather elements until the tag `stop` or the end of the data; return where that is."""
    end, count, spare = len(data), 0, MAX_VALUE_BYTES
    while at < end:
        group, number, code, length = _HEAD(data, at)
        tag, start = group << 16 | number, at + 8
        if stop is not None and tag >= stop:
            return at
        vr = None if implicit else _VRS[code]
        if implicit or code in _LONG_VRS:
            start += 0 if implicit else 4
            (length,) = _LONG(data, start - 4)
        known, at = BaseTag(tag), start + length
        if length == _UNDEFINED and tag == _PIXELS and vr in ("OB", "OW"):
            at = _end_of_fragments(data, start)
            kept[known] = RawDataElement(known, vr, length, data[start : at - 8], start, implicit, True)
            continue
        if length == _UNDEFINED:
            one, at = _sequence(data, start, spare, implicit, known, vr, kept)
            spare -= at - start
            if not tags:
                kept[known] = one
        elif length > MAX_VALUE_BYTES and tag != _PIXELS:
            raise _NotPlain
        elif not tags or tag in tags:
            value = data[start:at] if length else _empty(vr)
            kept[known] = RawDataElement(known, vr, length, value, start, implicit, True)
        count += 1
        if at > end or group == 0xFFFE or count > MAX_ELEMENTS:
            raise _NotPlain
    if stop is not None:
        raise _NotPlain
    return at


def _sequence(
    data: bytes, start: int, most: int, implicit: bool, tag: BaseTag, vr: str | None, kept: Elements
) -> tuple[DataElement, int]:
    """Have pydicom read a sequence of undefined length and of `most` bytes; return it, and where it ends."""
    if vr is None and dictionary_VR(tag) == "SQ":
        vr = "SQ"
    if vr != "SQ":
        raise _NotPlain
    source = BytesIO(data[: start + most])
    source.seek(start)
    read = read_sequence(source, implicit, True, _UNDEFINED, _encoding(kept))
    return DataElement(tag, vr, read, start, is_undefined_length=True), source.tell()


def _end_of_fragments(data: bytes, at: int) -> int:
    """Return where the delimiter of an encapsulated value ends."""
    while True:
        tag, length = _TAG_LENGTH(data, at)
        if tag == _SEQUENCE_END and length == 0:
            return at + 8
        if tag != _ITEM:
            raise _NotPlain
        at += 8 + length


@lru_cache(maxsize=64)
def _empty(vr: str | None) -> bytes | None:
    value = empty_value_for_VR(vr, raw=True)
    return value if isinstance(value, bytes) else None


def _dataset(preamble: bytes, meta: Elements, kept: Elements, implicit: bool) -> FileDataset:
    """Put the elements together as pydicom's reader does."""
    file_meta = FileMetaDataset(meta)
    file_meta.set_original_encoding(False, True, default_encoding)
    encoding, declared = _encoding(kept), kept.get(BaseTag(_CHARACTER_SET))
    if isinstance(declared, RawDataElement):
        kept[BaseTag(_CHARACTER_SET)] = convert_raw_data_element(declared)
    dataset = FileDataset(BytesIO(), Dataset(kept), preamble, file_meta, implicit, True)
    dataset.set_original_encoding(implicit, True, encoding)
    return dataset


def _encoding(kept: Elements) -> str | list[str]:
    """Return Python's names of the character set that the elements so far declare."""
    declared = kept.get(BaseTag(_CHARACTER_SET))
    if not isinstance(declared, RawDataElement):
        return str(default_encoding)
    encodings: list[str] = convert_encodings(convert_raw_data_element(declared).value)
    return encodings
