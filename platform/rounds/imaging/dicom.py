"""How a DICOM file is opened: without trusting its lengths, and without a word of it in a warning or a log."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import config
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag

MAX_FILE_BYTES = 256 * 2**20
"""A single-frame CT slice of 4096 x 4096 pixels has 32 MiB; a file eight times that is no slice."""

MAX_INFLATED_BYTES = 256 * 2**20
_HEAD_BYTES = 64 * 1024
_AFTER_IMAGE_GROUP = 0x00290000
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT_VRS = {b"UI", b"CS", b"DA", b"TM", b"SH", b"LO", b"UL", b"OB", b"SQ"}
_MAX_FIRST_LENGTH = 256
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

            deflated = _is_deflated(head)
            if not deflated:
                dataset = _parse(io.BytesIO(head), tags, past_image_group, bare)
                if reached_end or len(head) < _HEAD_BYTES:
                    return dataset
            if deflated:
                _refuse_bomb(head + file.read(MAX_FILE_BYTES))
            file.seek(0)
            return _parse(file, tags, past_image_group, bare)
    except OSError as error:
        raise Unreadable("the file cannot be opened") from error


def read_dataset(path: Path) -> FileDataset:
    """Read a whole file; raise NotDicom or Unreadable, never anything else."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Unreadable("the file is larger than any CT slice")
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable("the file cannot be opened") from error
    bare = _is_bare(data[:_HEAD_BYTES], path)
    if _is_deflated(data):
        _refuse_bomb(data)
    try:
        with quietly():
            dataset = pydicom.dcmread(io.BytesIO(data), force=bare)
            dataset.file_meta.get("TransferSyntaxUID")
    except (Exception, RecursionError) as error:
        raise Unreadable("the file cannot be parsed") from error
    return dataset


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
    source: BinaryIO | io.BytesIO,
    tags: frozenset[int],
    stop: Callable[[BaseTag, str | None, int], bool],
    bare: bool,
) -> FileDataset:
    try:
        with quietly():
            return pydicom.filereader.read_partial(
                source, stop_when=stop, force=bare, specific_tags=list(tags)
            )
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


def _is_deflated(data: bytes) -> bool:
    return _DEFLATED in data[132:1024]


def _refuse_bomb(data: bytes) -> None:
    """Raise Unreadable if a deflated data set is broken or inflates beyond what a slice can hold."""
    if data[132:136] != b"\x02\x00\x00\x00":
        raise Unreadable("a deflated file without a header length")
    start = 144 + int(struct.unpack("<L", data[140:144])[0])
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise Unreadable("the deflated data are broken") from error
    if len(inflated) >= MAX_INFLATED_BYTES:
        raise Unreadable("the deflated data inflate beyond any CT slice")
