"""The inbox on disk: whole slices by series, under keyed digests for names, until the ingest has taken them in.

`<home>/inbox` is 0700 and holds identified data: `open/` series that slices still arrive for, `taking/` what an ingest
was asked to take in, `taken/` for a while what was taken in, and for good which slices that were (keyed digests alone).
A slice appears whole or not at all, and is on the disk before the sender is told so.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from rounds.imaging.dicom import NotDicom, Unreadable, quietly, read_header
from rounds.inbox.model import Pile, Standing
from rounds.private import sync, write_private

_CLASS, _INSTANCE, _STUDY, _SERIES, _COUNT = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00201209
_TAGS = frozenset({_CLASS, _INSTANCE, _STUDY, _SERIES, _COUNT})
_LONGEST_UID = 64


class NotASlice(Exception):
    """What arrived cannot be read or does not say which instance of which series it is; the message quotes nothing."""


class NoRoom(Exception):
    """The disk has too little room left."""


@dataclass(frozen=True)
class Identity:
    """Which object a file is, by its own header; `count` is how many the series has, where the header says so."""

    sop_class: str
    instance: str = field(repr=False)
    study: str = field(repr=False)
    series: str = field(repr=False)
    count: int | None = None


@dataclass(frozen=True)
class Waiting:
    """A series in `open/`: its key, whose it is, what arrived, and when the last new slice did (seconds)."""

    key: str
    site: str
    pile: Pile = field(repr=False)
    last: float
    stamp: int = 0  # of the moment when the last new slice came

    @property
    def standing(self) -> Standing:
        return self.pile.standing


@dataclass(frozen=True)
class Taking:
    """Series of one site that an ingest takes in: its ticket and flow run once asked for, and how it went so far.

    `attempts` failed since a person last asked for it, which was done `tries` times. `missing` is how many slices came
    and of how many, where those are more: such a series is in a lot by itself.
    """

    name: str
    site: str
    series: tuple[str, ...]
    ticket: str | None = None
    run: str | None = None
    attempts: int = 0
    failed: bool = False
    tries: int = 0
    missing: tuple[int, int] | None = None


class Patience(TypedDict):
    """Whether the archive is asked when the quiet period is over, and how long a series waits at most (seconds)."""

    asks: bool
    longest: float


class Inbox:
    """The inbox under a state folder; any number of processes may use it at once."""

    def __init__(self, home: Path) -> None:
        self.root = home.absolute() / "inbox"
        for name in ("", "open", "taking", "taken"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        self._key = self._salt()

    def deliver(self, draft: Path, who: Identity, site: str, expected: int | None = None) -> bool:
        """Move a whole file into its series; tell whether it is new. A file that is there already adds nothing.

        `draft` is gone afterwards and must lie on the same disk. Raises NoRoom.
        """
        key = self._digest(f"{site}\0{who.series}", 32)
        name = f"{self._digest(who.instance)}-{self._digest(_content(draft))}.dcm"
        count = expected or who.count
        try:
            draft.chmod(0o600)
            sync(draft)
            with self._locked(fcntl.LOCK_SH):
                folder = self.root / "open" / key
                known = self._about(key)
                if known is None or (count and count > (known["expected"] or 0)):
                    about = {**(known or {}), "site": site, "expected": count}
                    _write(folder.with_suffix(".json"), about)
                folder.mkdir(mode=0o700, exist_ok=True)
                if (folder / name).exists():
                    return False
                draft.rename(folder / name)
                sync(folder)
        except OSError as error:
            raise NoRoom("the slice could not be written") from error
        finally:
            draft.unlink(missing_ok=True)
        return True

    def waiting(
        self, quiet: float, since: float = 0.0, *, asks: bool = False, longest: float = float("inf")
    ) -> list[Waiting]:
        """Return the series that slices arrived for, oldest first; `quiet` is the quiet period in seconds.

        It counts from `since` and from the start of a receiver at the earliest: while nobody listened, nothing could
        arrive. `asks` says whether the archive is asked before a quiet series is taken in, `longest` after how many
        seconds nobody waits for the rest of one. A series that is being taken in fills until that is done, since only
        then it is known which slices were.
        """
        found = []
        since = max(since, float(_read(self.root / "listening") or 0))
        busy = {key for lot in self.takings() for key in lot.series}
        for folder in (self.root / "open").iterdir():
            if not folder.is_dir() or (about := self._about(folder.name)) is None:
                continue
            when, now = folder.stat(), time.time()
            resting = folder.name not in busy
            asked = about.get("asked") == when.st_mtime_ns
            pile = Pile(
                _instances(folder),
                taken=frozenset(_read(self.root / "taken" / f"{folder.name}.json") or ()),
                kept=(self.root / "taken" / folder.name).is_dir(),
                expected=about["expected"] if resting else None,
                quiet=resting and now - max(when.st_mtime, since) >= quiet,
                asked=asked or not asks,
                overdue=now - when.st_mtime >= longest,
            )
            told = about.get("told") if resting else None
            if told is not None and (asked or told > pile.at_hand):  # an old answer can only make wait
                pile = replace(pile, expected=told)
            found.append(Waiting(folder.name, about["site"], pile, when.st_mtime, when.st_mtime_ns))
        return sorted(found, key=lambda one: one.last)

    def identity(self, key: str) -> Identity | None:
        """Return whose slices wait in a series, by the header of one of them."""
        for path in (self.root / "open" / key).glob("*.dcm"):
            with suppress(NotASlice):
                return identify(path)
        return None

    def heard(self, one: Waiting, *told: int | None) -> None:
        """Note that the archive was asked about a series as it was, and what it `told` if it answered."""
        with self._locked(fcntl.LOCK_EX):
            about = self._about(one.key)
            if about is not None:
                answer = {"told": told[0]} if told else {}
                _write(self.root / "open" / f"{one.key}.json", {**about, **answer, "asked": one.stamp})

    def claim(
        self,
        quiet: float,
        since: float = 0.0,
        forced: Sequence[str] = (),
        *,
        asks: bool = False,
        longest: float = float("inf"),
    ) -> list[Taking]:
        """Set aside what is complete and what is `forced`, drop strays, and return the new lots.

        There is one lot a site, and one for each series that lacks slices.
        """
        with self._locked(fcntl.LOCK_EX):
            ready: dict[tuple[str, str], list[Waiting]] = {}
            for one in self.waiting(quiet, since, asks=asks, longest=longest):
                if one.standing is Standing.STRAY:
                    self._drop(one.key)
                elif one.standing is Standing.COMPLETE or one.key in forced:
                    alone = one.key if one.pile.missing else ""
                    ready.setdefault((one.site, alone), []).append(one)
            return [self._claim(site, series) for (site, _), series in ready.items()]

    def takings(self) -> list[Taking]:
        """Return the lots that an ingest takes in or failed to."""
        found = [(path.stem, _read(path)) for path in sorted((self.root / "taking").glob("*.json"))]
        return [
            Taking(
                name, **{**known, "series": tuple(known["series"]), "missing": _pair(known.get("missing"))}
            )
            for name, known in found
            if known
        ]

    def note(self, lot: Taking) -> None:
        """Write down how far a lot is."""
        known = asdict(lot)
        known.pop("name")
        _write(self.root / "taking" / f"{lot.name}.json", known)

    def again(self, lot: Taking) -> None:
        """Let a lot that failed be tried anew."""
        self.note(replace(lot, run=None, attempts=0, failed=False, tries=lot.tries + 1))

    def folder_of(self, lot: Taking) -> Path:
        """Return the folder that the ingest of a lot reads."""
        return self.root / "taking" / lot.name

    def settle(self, lot: Taking, keep: bool) -> None:
        """Remember which slices were taken in and remove the files, or `keep` them for slices that come late."""
        with self._locked(fcntl.LOCK_EX):
            for key in lot.series:
                self._settle(key, self.folder_of(lot) / key, keep)
            self._forget(lot)

    def split(self, lot: Taking) -> None:
        """Make lots of one series each, so that one that cannot be taken in holds no other back."""
        with self._locked(fcntl.LOCK_EX):
            for key in lot.series:
                alone = Taking(secrets.token_hex(8), lot.site, (key,), attempts=lot.attempts)
                if (self.folder_of(lot) / key).is_dir():
                    self.folder_of(alone).mkdir(mode=0o700)
                    self.note(alone)
                    (self.folder_of(lot) / key).rename(self.folder_of(alone) / key)
            self._forget(lot)

    def give_up(self, lot: Taking) -> None:
        """Remove a lot that failed, files and all."""
        with self._locked(fcntl.LOCK_EX):
            self._forget(lot)

    def expire(self, keep_seconds: float) -> None:
        """Remove kept files that nobody added to for so long."""
        with self._locked(fcntl.LOCK_EX):
            for folder in (self.root / "taken").iterdir():
                if folder.is_dir() and time.time() - folder.stat().st_mtime >= keep_seconds:
                    shutil.rmtree(folder, ignore_errors=True)

    def discard(self, key: str) -> None:
        """Remove what arrived of a series and was not taken in."""
        with self._locked(fcntl.LOCK_EX):
            self._drop(key)

    @contextmanager
    def collecting(self, quiet: float) -> Iterator[bool]:
        """Lend the right to collect to one process at a time; False: another one has it."""
        with os.fdopen(os.open(self.root / "collector", os.O_RDWR | os.O_CREAT, 0o600), "wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                _write(self.root / "quiet", quiet)
                yield True

    def listens(self) -> None:
        """Note that a receiver begins to listen now; whoever collects may be another process."""
        _write(self.root / "listening", time.time())

    def quiet_in_force(self, otherwise: float) -> float:
        """Return the quiet period (seconds) of whoever collects or did so last."""
        known = _read(self.root / "quiet")
        return otherwise if known is None else float(known)

    def _claim(self, site: str, series: Sequence[Waiting]) -> Taking:
        missing = series[0].pile.missing
        lot = Taking(secrets.token_hex(8), site, tuple(one.key for one in series), missing=missing)
        folder = self.folder_of(lot)
        folder.mkdir(mode=0o700)
        self.note(lot)
        for one in series:
            (self.root / "open" / one.key).rename(folder / one.key)
            (self.root / "open" / f"{one.key}.json").unlink(missing_ok=True)
            kept = self.root / "taken" / one.key
            for path in kept.glob("*.dcm"):
                if not (folder / one.key / path.name).exists():
                    os.link(path, folder / one.key / path.name)
        return lot

    def _settle(self, key: str, folder: Path, keep: bool) -> None:
        if not folder.is_dir():
            return  # a crash left it in `open`, or it is settled already
        ledger = self.root / "taken" / f"{key}.json"
        _write(ledger, sorted(_instances(folder) | set(_read(ledger) or ())))
        kept = self.root / "taken" / key
        shutil.rmtree(kept, ignore_errors=True)
        if keep:
            folder.rename(kept)
            os.utime(kept)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, lot: Taking) -> None:
        shutil.rmtree(self.folder_of(lot), ignore_errors=True)
        (self.root / "taking" / f"{lot.name}.json").unlink(missing_ok=True)

    def _drop(self, key: str) -> None:
        shutil.rmtree(self.root / "open" / key, ignore_errors=True)
        (self.root / "open" / f"{key}.json").unlink(missing_ok=True)

    def _about(self, key: str) -> Any:
        return _read(self.root / "open" / f"{key}.json")

    def _digest(self, text: str, length: int = 16) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:length]

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with os.fdopen(os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600), "wb") as file:
            fcntl.flock(file, how)
            yield

    def _salt(self) -> bytes:
        path = self.root / "salt"
        with self._locked(fcntl.LOCK_EX):
            if not path.exists():
                _write(path, secrets.token_hex(32))
        return bytes.fromhex(json.loads(path.read_text()))


def identify(path: Path) -> Identity:
    """Read which object a file is; raise NotASlice."""
    try:
        header = read_header(path, _TAGS)
    except (NotDicom, Unreadable) as error:
        raise NotASlice("the header cannot be read") from error
    with quietly():
        try:
            told = {tag: str(header[tag].value).strip() if tag in header else "" for tag in _TAGS}
        except Exception as error:
            raise NotASlice("the header cannot be read") from error
    if not all(0 < len(told[tag]) <= _LONGEST_UID for tag in (_CLASS, _INSTANCE, _SERIES)):
        raise NotASlice("the object has no class, instance or series UID")
    count = told[_COUNT]
    return Identity(
        told[_CLASS], told[_INSTANCE], told[_STUDY], told[_SERIES],
        int(count) if count.isascii() and count.isdigit() and 0 < int(count) < 10**6 else None,
    )  # fmt: skip


def _instances(folder: Path) -> frozenset[str]:
    return frozenset(name.partition("-")[0] for name in os.listdir(folder) if name.endswith(".dcm"))


def _pair(told: list[int] | None) -> tuple[int, int] | None:
    return (told[0], told[1]) if told else None


def _content(path: Path) -> str:
    """Return a digest of a file without its meta header, which names the sender's software."""
    with path.open("rb") as file:
        head = file.read(144)
        if head[132:136] == b"\x02\x00\x00\x00" and len(head) == 144:
            file.seek(144 + struct.unpack("<L", head[140:144])[0])
        else:
            file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: object) -> None:
    write_private(path, json.dumps(data))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
