"""The second check: whether names, numbers, dates or words of the original header are left in a de-identified file.

It shares neither tables nor reader with the de-identification it checks, and tells kinds and places, never values.
"""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from rounds.imaging.residue_elements import Found, Header, Truncated, read_header


class Kind(StrEnum):
    """What may be left of an identity."""

    NAME = "name"
    IDENTIFIER = "identifier"
    DATE = "date"
    PHONE = "phone"
    WORDS = "words"
    UID = "uid"
    PRIVATE = "private"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is left: what kind it is of and where it stands, "(gggg,eeee)" or a part of the file."""

    kind: Kind
    place: str


_TEXTS = {b"AE", b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UR", b"UT", b"CS", b"UN", b""}
_FREE = {b"LT", b"ST", b"UT", b"UC"}
_LINES = {b"LO", b"SH"}
_MOMENTS = {b"DA", b"DT", b"TM"}
_ACCESSION, _STATION, _STUDY_ID, _SERIAL = 0x00080050, 0x00081010, 0x00200010, 0x00181000
_IDENTIFIERS = {
    *(_ACCESSION, _STATION, _STUDY_ID, _SERIAL, 0x00181002, 0x00181008),
    *(0x00380010, 0x00380060, 0x00400009, 0x00400253, 0x00401001, 0x00402016, 0x00402017, 0x00100020),
}
_ORGANISATIONS = {0x00080080, 0x00080081, 0x00081040, 0x00101040, 0x00321033, 0x00080092}
_SEX, _AGE, _METHOD = 0x00100040, 0x00101010, 0x00120064
_META = range(0x00020000, 0x00030000)
_STANDARD_UIDS = b"1.2.840.10008."
_LARGE = 2048
_HEAD, _PIXEL_HEAD, _PIXEL_TAIL = 64 * 1024, 2048, 512
_LONG_HEAD = 2**24  # functional groups of a thousand frames, without the pixels of a whole scan

_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_NUMBERED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_-]{5,}")
_PHONE = re.compile(rb"\+?\d[\d ()/-]{6,}\d")
_TITLED = re.compile(
    rb"(?:\b(?:Dr\.?|Prof\.?|Mr\.?|Mrs\.?|Ms\.?|Herr|Frau|Mme|Dott\.?|Sra?\.)|[Nn]ame:)\s+([A-Z\x80-\xff][A-Za-z\x80-\xff]{2,})"
)
_DATE = re.compile(rb"(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_NO_DIGITS = re.compile(rb"\D+")
_ORDINARY = frozenset(
    b"""abdomen anonymous anonym anonymized axial bone brain body breast chest clinic contrast covid dose head heart
    helical high hospital imaging low lung lungs medical neck none not other patient pelvis phantom plain plastic
    private radiology recon routine scan siemens philips toshiba canon hitachi fujifilm headneck neusoft samsung united
    systems soft spine standard study test the thin thorax unknown unnamed volume water whole with without""".split()
)
"""Words that are no evidence of anybody on their own: anatomy, protocol, makers, fillers."""


@dataclass
class Residue:
    """What the originals of one series told so far; it serves all files of the series, so that work is done once."""

    _seen: set[tuple[int, bytes]] = field(default_factory=set, repr=False)
    _moments: set[tuple[int, bytes]] = field(default_factory=set, repr=False)
    _uids: set[bytes] = field(default_factory=set, repr=False)
    _names: set[bytes] = field(default_factory=set, repr=False)
    _ids: set[bytes] = field(default_factory=set, repr=False)
    _numbered: dict[bytes, set[int]] = field(default_factory=dict, repr=False)
    _dates: set[bytes] = field(default_factory=set, repr=False)
    _phones: set[bytes] = field(default_factory=set, repr=False)
    _phrases: dict[tuple[bytes, ...], set[int]] = field(default_factory=dict, repr=False)
    _strong: list[bytes] = field(default_factory=list, repr=False)
    _fine: set[tuple[int, bytes]] = field(default_factory=set, repr=False)

    def find(self, original: Path | bytes, result: bytes) -> tuple[Finding, ...]:
        """Return what of the original is left in the result; a file that cannot be followed is a finding itself."""
        try:
            self._learn_all(original)
            return tuple(sorted(set(self._left(result))))
        except Exception:
            return (Finding(Kind.UNCHECKED, "file"),)

    def _learn_all(self, original: Path | bytes) -> None:
        before = self._known_secrets()
        for tag, vr, value, _ in _original_elements(original):
            if len(value) <= _LARGE and (tag, value) not in self._seen:
                self._seen.add((tag, value))
                self._learn(tag, vr, value.strip(b" \0"))
        if self._known_secrets() != before:
            self._fine.clear()
            long = {secret for secret in self._names | self._ids if len(secret) >= 6}
            self._strong = sorted(long | self._dates)

    def _known_secrets(self) -> int:
        grown = self._names, self._ids, self._phrases, self._numbered, self._dates, self._phones
        return sum(map(len, grown))

    def _learn(self, tag: int, vr: bytes, value: bytes) -> None:
        if vr == b"UI":
            uids = value.split(b"\\")
            self._uids.update(uid for uid in uids if len(uid) > 3 and not uid.startswith(_STANDARD_UIDS))
        elif vr in _MOMENTS:
            self._moments.add((tag, value))
            self._dates.update(_DATE.findall(value[:8]))
        elif vr in _TEXTS or vr in {b"OB", b"OW"}:
            self._learn_text(tag, vr, value)

    def _learn_text(self, tag: int, vr: bytes, value: bytes) -> None:
        lower = value.lower()
        words = _WORD.findall(lower)
        if vr == b"PN":
            self._names.update(
                word for word in words if len(word) >= 3 and word not in _ORDINARY and not word.isdigit()
            )
            self._ids.update(word for word in words if len(word) >= 5 and word.isdigit())
            return
        if tag in _IDENTIFIERS or (tag >> 16 == 0x0010 and vr in _LINES and tag not in _ORGANISATIONS):
            for whole in lower.split(b"\\"):
                self._learn_id(whole.strip())
        titled = (found.lower() for found in _TITLED.findall(value))
        self._names.update(found for found in titled if found not in _ORDINARY)
        for token in _NUMBERED.findall(lower):
            if sum(48 <= byte < 58 for byte in token) >= 5:
                self._numbered.setdefault(token, set()).add(tag)
        if vr in _FREE or vr in _LINES:
            phones = (_NO_DIGITS.sub(b"", found) for found in _PHONE.findall(value))
            self._phones.update(digits for digits in phones if len(digits) >= 7)
        size = 2 if tag in _ORGANISATIONS else 3 if vr in _FREE else 0
        for run in _runs(words, size):
            self._phrases.setdefault(run, set()).add(tag)

    def _learn_id(self, whole: bytes) -> None:
        short_number = whole.isdigit() and len(whole) < 4
        if len(whole) >= 3 and not short_number and whole not in _ORDINARY:
            self._ids.add(whole)

    def _left(self, result: bytes) -> Iterator[Finding]:
        if any(result[:128]):
            yield Finding(Kind.UNCHECKED, "preamble")
        header = read_header(result)
        for tag, vr, value, within in header.elements:
            if (tag, value) not in self._fine and within != _METHOD:
                found = list(self._left_in(tag, vr, value.strip(b" \0")))
                yield from found
                if not found and vr not in _MOMENTS and vr != b"UI":
                    self._fine.add((tag, value))
        yield from self._left_in_pixels(header)

    def _left_in_pixels(self, header: Header) -> Iterator[Finding]:
        """Search where text could stand beside the image: its first bytes (headers of compressed images) and last."""
        data, start = header.data, header.pixels
        for part in (data[start : start + _PIXEL_HEAD], data[max(start, len(data) - _PIXEL_TAIL) :]):
            lower = part.lower()
            if any(secret in lower for secret in self._strong):
                yield Finding(Kind.IDENTIFIER, "pixel data")

    def _left_in(self, tag: int, vr: bytes, value: bytes) -> Iterator[Finding]:
        place = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        if tag >> 16 & 1:
            yield Finding(Kind.PRIVATE, place)
        if vr == b"UI":
            if not self._uids.isdisjoint(value.split(b"\\")):
                yield Finding(Kind.UID, place)
        elif vr in _MOMENTS:
            if (tag, value) in self._moments:
                yield Finding(Kind.DATE, place)
        elif vr == b"AS":
            if value.endswith(b"Y") and value > b"090Y":
                yield Finding(Kind.IDENTIFIER, place)
        elif vr in _TEXTS:
            yield from (Finding(kind, place) for kind in self._left_in_text(tag, value.lower()))

    def _left_in_text(self, tag: int, text: bytes) -> Iterator[Kind]:
        words = _WORD.findall(text)
        if not self._names.isdisjoint(words) or any(len(n) >= 6 and n in text for n in self._names):
            yield Kind.NAME
        if any(one in words or (one in text and (len(one) >= 6 or not one.isalnum())) for one in self._ids):
            yield Kind.IDENTIFIER
        if any(tag not in self._numbered.get(token, {tag}) for token in _NUMBERED.findall(text)):
            yield Kind.IDENTIFIER
        digits = _NO_DIGITS.sub(b"", text)
        if len(digits) >= 7 and any(phone in digits for phone in self._phones):
            yield Kind.PHONE
        if len(digits) >= 8 and any(form in digits for day in self._dates for form in _forms(day)):
            yield Kind.DATE
        for size in (2, 3):
            if any(self._phrases.get(run, {tag}) != {tag} for run in _runs(words, size)):
                yield Kind.WORDS


def _original_elements(original: Path | bytes) -> list[Found]:
    """Read the original's header, from its first bytes where they hold it whole."""
    if isinstance(original, bytes):
        return read_header(original).elements
    with original.open("rb") as file:
        data = file.read(_HEAD)
        for more in (_LONG_HEAD, -1):
            with suppress(Truncated, zlib.error):
                return read_header(data).elements
            data += file.read(more)
        return read_header(data).elements


def _runs(words: list[bytes], size: int) -> Iterator[tuple[bytes, ...]]:
    """Yield every `size` words in a row that are no mere numbers or fillers."""
    for at in range(len(words) - size + 1 if size else 0):
        run = tuple(words[at : at + size])
        if not all(word in _ORDINARY or len(word) < 3 or word.isdigit() for word in run):
            yield run


def _forms(day: bytes) -> tuple[bytes, bytes, bytes]:
    return day, day[6:] + day[4:6] + day[:4], day[4:6] + day[6:] + day[:4]
