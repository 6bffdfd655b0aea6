"""Multipart/related bodies (RFC 2387) as DICOMweb sends them, split into private files as they stream in."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header

MOST_PARTS = 50_000
DICOM = "application/dicom"


class NotMultipart(Exception):
    """The body is not announced as multipart/related of DICOM objects."""


class Broken(Exception):
    """The body is not what it was announced as, or ends too early."""


@dataclass(frozen=True)
class Part:
    """One part, written to a file; `path` is None where it was larger than any slice or not DICOM."""

    path: Path | None = field(repr=False)
    size: int


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type header names; raise NotMultipart."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind.lower() != b"multipart/related" or not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
        raise NotMultipart("send multipart/related with a boundary")
    if options.get(b"type", DICOM.encode()).lower() != DICOM.encode():
        raise NotMultipart("send parts of type application/dicom")
    return boundary


class Parts:
    """Splits a body; memory holds no more than what is fed at once, and a part over `most` bytes is not kept."""

    def __init__(self, boundary: bytes, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._count = 0
        self._size = 0
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        self._field = bytearray()
        self._value = bytearray()
        self._done: list[Part] = []
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._header,
                "on_part_data": self._data,
                "on_part_end": self._finish,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> Iterator[Part]:
        """Take the next bytes of the body and yield the parts that they end; raise Broken."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Broken("the body does not follow its boundary") from error
        done, self._done = self._done, []
        yield from done

    def close(self) -> None:
        """Say that the body has ended; raise Broken if its last boundary is missing."""
        if self._file is not None:
            self._file.close()
        if not self._ended:
            raise Broken("the body ends before its last boundary")

    def _begin(self) -> None:
        self._count += 1
        if self._count > MOST_PARTS:
            raise Broken(f"more than {MOST_PARTS} parts")
        self._size = 0
        self._path = self._folder / f"part{self._count:06d}"
        self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._field.lower() == b"content-type":
            kind, _ = parse_options_header(bytes(self._value))
            if kind.lower() != DICOM.encode():
                self._drop()
        self._field.clear()
        self._value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._most:
            self._drop()
        elif self._file is not None:
            self._file.write(memoryview(data)[start:end])

    def _finish(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._done.append(Part(self._path, self._size))

    def _end(self) -> None:
        self._ended = True

    def _drop(self) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
            self._path.unlink()
        self._file, self._path = None, None
