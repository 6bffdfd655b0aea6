"""How a DICOM file is opened: without trusting its lengths, and without a word of it in a warning or a log."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from rounds.imaging.plain_dicom import read_plain

MAX_FILE_BYTES = 256 * 2**20
"""A single-frame CT slice of 4096 x 4096 pixels has 32 MiB; a file eight times that is no slice."""

MAX_MULTIFRAME_BYTES = 512 * 2**20
"""A whole scan in one file: a thousand slices of 512 x 512 pixels."""

ENHANCED_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""Enhanced CT Image Storage, and Legacy Converted Enhanced CT Image Storage."""

MAX_INFLATED_BYTES = 64 * 2**20
MAX_SEQUENCE_BYTES = 2**20
MAX_READS = 60_000
"""A parser reads two or three times for an element; the headers of CT slices have some hundred elements."""

MAX_MULTIFRAME_READS = 600_000
MAX_GROUPS_BYTES = 16 * 2**20

_HEAD_BYTES = 64 * 1024
_AFTER_IMAGE_GROUP = 0x00290000
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PLAIN = b"1.2.840.10008.1.2.1\0\0\0"
_EXPLICIT_VRS = {b"UI", b"CS", b"DA", b"TM", b"SH", b"LO", b"UL", b"OB", b"SQ"}
_MAX_FIRST_LENGTH = 256
_ENHANCED = tuple(one.encode("ascii") for one in ENHANCED_CLASSES)
_GROUPS = frozenset({0x52009229, 0x52009230})
_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}


class NotDicom(Exception):
    """The file is something else than DICOM."""


class Unreadable(Exception):
    """The file looks like DICOM but cannot be parsed; the message never quotes its content."""


@contextmanager
def quietly() -> Iterator[None]:
    """Silence pydicom's warnings, which quote values, and its checks of values, which are ours to make."""
    before = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = before


def tags_of(keywords: str) -> frozenset[int]:
    """Return the tags of keywords that stand apart by spaces."""
    return frozenset(tag for keyword in keywords.split() if (tag := tag_for_keyword(keyword)) is not None)


def read_header(path: Path, tags: frozenset[int]) -> FileDataset:
    """Read the elements `tags` up to group 0028 from a file, its first 64 KiB where they suffice.

    Raise NotDicom or Unreadable, never anything else.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            bare = _is_bare(head, path)
            reached_end = False

            def past_image_group(tag: BaseTag, vr: str | None, length: int) -> bool:
                nonlocal reached_end
                reached_end = bool(tag >= _AFTER_IMAGE_GROUP)
                return reached_end

            if is_deflated(head):
                whole = head + file.read(MAX_FILE_BYTES)
                return _as_deflated(_parse(_Bounded(inflated(whole)), tags, past_image_group, bare))
            with quietly():
                plain = read_plain(head, tags, _AFTER_IMAGE_GROUP)
            if plain is not None:
                return plain
            with suppress(Unreadable):
                dataset = _parse(_Bounded(head), tags, past_image_group, bare)
                if reached_end or len(head) < _HEAD_BYTES:
                    return dataset
            if len(head) < _HEAD_BYTES:
                raise Unreadable("the header cannot be parsed")
            return _parse(_BoundedFile(io.FileIO(path)), tags, past_image_group, bare)
    except OSError as error:
        raise Unreadable("the file cannot be opened") from error


def read_dataset(path: Path) -> FileDataset:
    """Read a whole file; raise NotDicom or Unreadable, never anything else."""
    try:
        data = _whole(path)
    except OSError as error:
        raise Unreadable("the file cannot be opened") from error
    bare = _is_bare(data[:_HEAD_BYTES], path)
    deflated, many = is_deflated(data), _is_enhanced(data)
    with quietly():
        plain = None if deflated or many else read_plain(data)
    if plain is not None:
        return plain
    source = _Bounded(inflated(data) if deflated else data)
    source.allowed = MAX_MULTIFRAME_READS if many else MAX_READS
    del data
    try:
        with quietly():
            dataset = pydicom.dcmread(source, force=bare)
            dataset.file_meta.get("TransferSyntaxUID")
            _refuse_long_sequences(dataset, many)
            dataset.buffer = None  # or else the file's bytes stay in memory beside the pixels
    except Unreadable:
        raise
    except (Exception, RecursionError) as error:
        raise Unreadable("the file cannot be parsed") from error
    return _as_deflated(dataset) if deflated else dataset


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        most = MAX_MULTIFRAME_BYTES if _is_enhanced(head) else MAX_FILE_BYTES
        if os.fstat(file.fileno()).st_size > most:
            raise Unreadable("the file is larger than any CT slice")
        file.seek(0)
        return file.read(most)


def _is_enhanced(data: bytes) -> bool:
    """Tell by its first bytes whether a file is of an enhanced class; a wrong guess only moves the limits."""
    return any(one in data[132:1024] for one in _ENHANCED)


def regular_files(root: Path) -> Iterator[Path]:
    """Yield the regular files at or under `root` in a stable order; links to folders are not followed."""
    if root.is_file():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield path


def _parse(
    source: BinaryIO,
    tags: frozenset[int],
    stop: Callable[[BaseTag, str | None, int], bool],
    bare: bool,
) -> FileDataset:
    try:
        with quietly():
            return pydicom.filereader.read_partial(
                source, stop_when=stop, force=bare, specific_tags=list(tags)
            )
    except Unreadable:
        raise
    except (Exception, RecursionError) as error:
        raise Unreadable("the header cannot be parsed") from error


def _is_bare(head: bytes, path: Path) -> bool:
    """Tell whether the file is DICOM without its preamble; raise NotDicom if it is not DICOM at all."""
    if head[128:132] == b"DICM":
        return False
    group, element = struct.unpack("<HH", head[:4]) if len(head) >= 8 else (0, 0)
    if group in {0x0002, 0x0008} and element <= 0x0018:
        explicit = head[4:6] in _EXPLICIT_VRS
        if explicit or struct.unpack("<L", head[4:8])[0] <= _MAX_FIRST_LENGTH:
            return True
    if path.suffix.lower() in _DICOM_SUFFIXES:
        raise Unreadable("the file has a DICOM name but no DICOM header")
    raise NotDicom("not a DICOM file")


def is_deflated(data: bytes) -> bool:
    """Tell by its first bytes whether a file is deflated."""
    return _DEFLATED in data[132:1024]


def inflated(data: bytes) -> bytes:
    """Return a deflated file as it would be without, or raise Unreadable if it is broken or beyond any slice.

    Its transfer syntax says so too: the parser counts what it reads, which it cannot do while it inflates.
    """
    if data[132:136] != b"\x02\x00\x00\x00":
        raise Unreadable("a deflated file without a header length")
    start = 144 + int(struct.unpack("<L", data[140:144])[0])
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data[start:], MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise Unreadable("the deflated data are broken") from error
    if len(inflated) >= MAX_INFLATED_BYTES:
        raise Unreadable("the deflated data inflate beyond any CT slice")
    if not inflater.eof:
        raise Unreadable("the deflated data end too early")
    return data[:start].replace(_DEFLATED, _PLAIN) + inflated


def _as_deflated(dataset: FileDataset) -> FileDataset:
    """Give a data set that was inflated here its own transfer syntax back."""
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return dataset


def _refuse_long_sequences(dataset: FileDataset, many: bool) -> None:
    """Raise Unreadable if a sequence that is still to be parsed is longer than any that a CT file has."""
    for tag in dataset.keys():  # noqa: SIM118 (iterating parses values)
        element = dataset.get_item(tag)
        most = MAX_GROUPS_BYTES if many and tag in _GROUPS else MAX_SEQUENCE_BYTES
        if not isinstance(element, RawDataElement) or len(element.value or b"") <= most:
            continue
        if element.VR == "SQ" or (element.VR in {None, "UN"} and _is_sequence(tag)):
            raise Unreadable("a sequence is longer than any CT slice has")


def _is_sequence(tag: BaseTag) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


class _Counted:
    """Counts how often a parser reads, and ends it with Unreadable where no CT slice has so many parts."""

    _reads = 0
    allowed = MAX_READS

    def count(self) -> None:
        self._reads += 1
        if self._reads > self.allowed:
            raise Unreadable("the file has more parts than any CT slice")


class _Bounded(_Counted, io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        self.count()
        return super().read(size)


class _BoundedFile(_Counted, io.BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        self.count()
        return super().read(size)
