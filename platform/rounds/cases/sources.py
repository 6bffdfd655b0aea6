"""Where scans come from: a folder, a file, a zip, or a folder with zips in it; what is unsafe to unpack is refused.

Zips are unpacked under `<home>/scratch`, 0700, into numbered files that no name in an archive can influence. The folder
is removed afterwards, and the next ingest removes what a killed one left.
"""

import fcntl
import os
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from rounds.imaging.dicom import NotDicom, Unreadable, regular_files
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.series import Found, Series, find_series, read_slice_header

SUFFIXES = {".dcm", ".dicom", ".ima"}
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
BLOCK = 2**20
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
END, END64 = b"PK\x05\x06", b"PK\x06\x06"
END_BYTES = 22
ENTRY_BYTES = 400  # what one entry takes in an archive's directory, generously
_ENCRYPTED = 0x1
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(RuntimeError, ValueError, LookupError, ArithmeticError),
)
"""What zipfile raises for archives that are broken, or made in a way that it lacks."""


@dataclass(frozen=True)
class ZipLimits:
    """What one archive may hold, archives inside it included; sizes in bytes.

    CT slices deflate to a half or a third, empty ones to a hundredth; `max_ratio` counts from `ratio_from` on.
    """

    max_entries: int = 50_000
    max_bytes: int = 64 * 2**30
    max_ratio: float = 100.0
    ratio_from: int = 256 * 2**20
    spare_bytes: int = 2 * 2**30


LIMITS = ZipLimits()


class Unsafe(Exception):
    """The archive must not be unpacked; the message has numbers only, never a name from the archive."""


class Damaged(Exception):
    """An entry of the archive, or the archive, cannot be read."""


@dataclass
class Opened:
    """The folders to search, what was refused on the way, and how unpacked files are called for the operator."""

    roots: list[Path] = field(repr=False)
    refused: list[Refusal] = field(default_factory=list, repr=False)
    names: dict[Path, str] = field(default_factory=dict, repr=False)
    arrived: bool = False

    def named(self, path: Path) -> str:
        """Return a file's original path, `archive.zip!/name` if it was unpacked; its UIDs if it came by network."""
        if self.arrived:
            return _uids(path)
        return self.names.get(path, str(path))

    def find(self) -> Found:
        """Find the series in all roots; one that is spread over several archives is one series."""
        return _merged([find_series(root) for root in self.roots], self.refused)


@contextmanager
def opened(home: Path, path: Path, limits: ZipLimits = LIMITS) -> Iterator[Opened]:
    """Lend what lies at or under `path`, zips unpacked; every unpacked file is gone afterwards."""
    sweep(home)
    archives = [found for found in regular_files(path) if is_zip(found)]
    if not archives:
        own = (home.absolute() / name for name in ("inbox", "scratch"))
        yield Opened([path], arrived=any(path.is_relative_to(folder) for folder in own))
        return
    with scratch(home) as folder:
        source = Opened([] if path.is_file() else [path])
        for index, archive in enumerate(archives):
            room = folder / str(index)
            _take_out(archive, room, source, limits)
            source.roots.append(room)
        yield source


def _uids(path: Path) -> str:
    """Return what an archive knows a file by."""
    try:
        one = read_slice_header(path)
    except (NotDicom, Unreadable):
        return path.name
    return f"study {one.study_uid}, series {one.series_uid}, instance {one.instance_uid}"


def is_zip(path: Path) -> bool:
    """Tell by its first bytes whether a file is a zip; what has a DICOM header as well is DICOM."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[:4] in ZIP_MAGIC and head[128:] != b"DICM"


def sweep(home: Path) -> None:
    """Remove the unpacked files of ingests that were killed."""
    for lock in (home / "scratch").glob("*.lock"):
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # somebody is at work there
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """Lend a private folder that is locked while its process lives."""
    parent = home / "scratch"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    parent.chmod(0o700)
    folder = parent / secrets.token_hex(8)
    draft = parent / f".{folder.name}"
    with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lock = draft.rename(parent / f"{folder.name}.lock")  # never seen unlocked
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _take_out(archive: Path, room: Path, source: Opened, limits: ZipLimits) -> None:
    """Unpack an archive and the archives inside it, or refuse it whole."""
    room.mkdir(mode=0o700)
    names: dict[Path, str] = {}
    broken: list[Path] = []
    taken = _Taken(limits, archive.stat().st_size)
    try:
        _unpack(archive, room, str(archive), names, broken, taken)
        for inner in [path for path in names if is_zip(path)]:
            _unpack(inner, room, names[inner], names, broken, taken)
            inner.unlink()
        if any(is_zip(path) for path in names if path.exists()):
            raise Unsafe("archives inside archives inside an archive")
    except (Unsafe, Damaged) as error:
        shutil.rmtree(room)
        room.mkdir(mode=0o700)
        code = Reason.UNSAFE_ARCHIVE if isinstance(error, Unsafe) else Reason.UNDECODABLE
        source.refused.append(Refusal(code, str(error), (archive,)))
        return
    source.names.update(names)
    source.refused += [Refusal(Reason.UNDECODABLE, "damaged in its archive", (path,)) for path in broken]


@dataclass
class _Taken:
    """How much came out of one archive so far: what is written counts, not what the archive claims."""

    limits: ZipLimits
    packed: int
    entries: int = 0
    written: int = 0

    def entry(self) -> int:
        self.entries += 1
        if self.entries > self.limits.max_entries:
            raise Unsafe(f"more than {self.limits.max_entries} entries")
        return self.entries

    def block(self, size: int) -> None:
        self.written += size
        if self.written > self.limits.max_bytes:
            raise Unsafe(f"it unpacks to more than {self.limits.max_bytes // 2**30} GiB")
        if self.written > self.limits.ratio_from and self.written > self.limits.max_ratio * self.packed:
            raise Unsafe(f"it unpacks to more than {self.limits.max_ratio:g} times its size")


def _unpack(
    archive: Path, room: Path, told: str, names: dict[Path, str], broken: list[Path], taken: _Taken
) -> None:
    """Unpack one archive; its directory is judged whole before the first byte is written."""
    try:
        _refuse_directory(archive, taken.limits)
        with zipfile.ZipFile(archive) as opened_zip:
            entries = [entry for entry in opened_zip.infolist() if not entry.filename.endswith("/")]
            _judge(entries, archive.stat().st_size, room, taken)
            for entry in entries:
                path = room / f"{taken.entry():06d}{_suffix(entry.filename)}"
                names[path] = f"{told}!/{entry.filename}"
                if not _written(opened_zip, entry, path, taken):
                    broken.append(path)
    except (*_BROKEN, OSError) as error:
        raise Damaged("the archive cannot be read") from error


def _refuse_directory(archive: Path, limits: ZipLimits) -> None:
    """Raise Unsafe for a directory that would fill the memory: it is read whole.

    Its length stands in the last record of the archive or, in large ones, in the ZIP64 record 76 bytes before it.
    """
    with archive.open("rb") as file:
        start = file.seek(max(0, archive.stat().st_size - 2**16 - END_BYTES))
        tail = file.read()
        bare = tail[-END_BYTES:-18] == END and tail[-2:] == b"\0\0"
        at = len(tail) - END_BYTES if bare else tail.rfind(END)
        if at < 0 or len(tail) < at + END_BYTES:
            raise Damaged("the archive cannot be read")
        size = struct.unpack_from("<L", tail, at + 12)[0]
        if start + at >= 76:
            file.seek(start + at - 76)
            large = file.read(56)
            if large[:4] == END64:
                size = struct.unpack_from("<Q", large, 40)[0]
    if size > limits.max_entries * ENTRY_BYTES:
        raise Unsafe(f"more than {limits.max_entries} entries")


def _judge(entries: Sequence[zipfile.ZipInfo], size: int, room: Path, taken: _Taken) -> None:
    """Raise Unsafe for what no honest export holds."""
    if taken.entries + len(entries) > taken.limits.max_entries:
        raise Unsafe(f"more than {taken.limits.max_entries} entries")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise Unsafe("it is encrypted")
    if any(_leaves(entry.filename) for entry in entries):
        raise Unsafe("an entry would be written outside the archive's folder")
    if any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise Unsafe("it holds links")
    if sum(entry.compress_size for entry in entries) > size:
        raise Unsafe("its entries overlap")
    claimed = sum(entry.file_size for entry in entries)
    if claimed + taken.limits.spare_bytes > shutil.disk_usage(room).free:
        raise Unsafe(f"it needs {claimed / 2**30:.1f} GiB, more than there is room for")
    before = taken.written
    taken.block(claimed)
    taken.written = before


def _leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or parts[0].endswith(":") or ".." in parts


def _written(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, taken: _Taken) -> bool:
    """Write one entry; tell whether it was sound. What was read of a damaged one stays, to be told of."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        try:
            if entry.compress_type not in METHODS:  # others can ask for gigabytes of memory
                return False
            with archive.open(entry) as packed:
                _pour(packed, target, entry, taken)
        except _BROKEN:
            return False
    return True


def _pour(packed: IO[bytes], target: IO[bytes], entry: zipfile.ZipInfo, taken: _Taken) -> None:
    written = 0
    while block := packed.read(BLOCK):
        written += len(block)
        taken.block(len(block))
        target.write(block)
        if written > entry.file_size:
            raise Unsafe("an entry is longer than it says")


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _merged(found: Sequence[Found], refused: Sequence[Refusal]) -> Found:
    """Join what was found in several roots; files that are told of already are not told of twice."""
    broken = {path for refusal in refused for path in refusal.files}
    groups: dict[str, list[Series]] = {}
    for series in (one for part in found for one in part.series):
        sound = tuple(one for one in series.slices if one.path not in broken)
        if sound:
            groups.setdefault(series.uid, []).append(Series(series.uid, sound))
    unreadable = [one for part in found for one in part.unreadable if not set(one.files) & broken]
    return Found(
        tuple(
            Series(uid, tuple(one for part in parts for one in part.slices)) for uid, parts in groups.items()
        ),
        (*unreadable, *refused),
        sum(part.not_dicom for part in found),
        sum(part.directories for part in found),
    )
