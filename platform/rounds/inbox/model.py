"""When the slices that arrived of a series are all of it, and who may send: decisions without files or network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image
)
"""What is received; everything else that a study may hold is refused."""


class Standing(StrEnum):
    """Where a series in the inbox stands."""

    FILLING = "filling"  # slices arrived a moment ago
    COMPLETE = "complete"  # to be taken in now
    UNASKED = "unasked"  # quiet, and the archive has still to be asked how many slices there are
    INCOMPLETE = "incomplete"  # quiet, but fewer slices than the archive says there are
    LATE = "late"  # slices of a series that was taken in before and whose other slices are gone
    STRAY = "stray"  # nothing but some slices that were taken in before


@dataclass(frozen=True)
class Pile:
    """What is known of a series in the inbox; slices are told apart by the keyed digest of their instance UID.

    `have` arrived since it was last taken in, `taken` were taken in before, `kept` says whether the files of those
    are still here. `expected` is how many slices the sender or the archive says that the series has; `quiet` that no
    new one came for the quiet period, `overdue` not even for the longest wait. `asked` says whether the archive was
    asked since the last one came, or never is.
    """

    have: frozenset[str] = field(repr=False)
    taken: frozenset[str] = field(repr=False)
    kept: bool
    expected: int | None
    quiet: bool
    asked: bool = True
    overdue: bool = False

    @property
    def at_hand(self) -> int:
        """How many different slices could be taken in now."""
        return len(self.have | self.taken) if self.kept else len(self.have)

    @property
    def standing(self) -> Standing:
        whole = self.have >= self.taken
        worth = bool(self.have) and (whole or bool(self.have - self.taken))
        reached = self.expected is not None and self.at_hand >= self.expected
        if worth and reached and (whole or self.kept):
            return Standing.COMPLETE
        if not self.quiet or not self.have:
            return Standing.FILLING
        if not worth:
            return Standing.STRAY
        if not whole and not self.kept:
            return Standing.LATE
        if not self.asked:
            return Standing.UNASKED
        whatever = self.expected is None or self.overdue
        return Standing.COMPLETE if reached or whatever else Standing.INCOMPLETE

    @property
    def missing(self) -> tuple[int, int] | None:
        """Return how many slices could be taken in and how many there are, where those are more."""
        short = self.expected is not None and self.at_hand < self.expected
        return (self.at_hand, self.expected) if short and self.expected is not None else None


class BadArchive(Exception):
    """The archive in the settings cannot be understood."""


@dataclass(frozen=True)
class Peer:
    """An archive that answers DICOM queries: its AE title, host and port."""

    title: str
    host: str
    port: int


def peer_of(told: str) -> Peer | None:
    """Read `TITLE@HOST:PORT`; None for a web address. Raises BadArchive."""
    if "://" in told:
        return None
    title, at, place = told.partition("@")
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    sound = port.isascii() and port.isdigit() and 0 < int(port) < 2**16 and host and at
    if not sound or not _is_title(title):
        raise BadArchive("the archive is TITLE@HOST:PORT or https://HOST/PATH: see ROUNDS_RECEIVE_ARCHIVE")
    return Peer(title.strip(), host, int(port))


class BadSender(Exception):
    """A sender in the settings cannot be understood."""


@dataclass(frozen=True)
class Sender:
    """Who may send over DICOM: an AE title, from one address alone where that is given; `site` is whose scans come."""

    title: str
    address: str | None
    site: str


def senders_of(told: Mapping[str, str]) -> tuple[Sender, ...]:
    """Read AE titles from `{"TITLE" or "TITLE@address": site}`, without accounts (`@name@host`); raise BadSender."""
    found = []
    for who, site in told.items():
        if who.startswith("@"):
            continue
        title, _, address = who.partition("@")
        if not _is_title(title):
            raise BadSender("an AE title has 1 to 16 ASCII characters: see ROUNDS_RECEIVE_SENDERS")
        if not site.strip():
            raise BadSender("a sender needs the name of its site: see ROUNDS_RECEIVE_SENDERS")
        found.append(Sender(title.strip(), address.strip() or None, site.strip()))
    return tuple(found)


def site_of(senders: tuple[Sender, ...], title: str, address: str) -> str | None:
    """Return the site of whoever calls with this title from this address, or None for a stranger."""
    for sender in senders:
        if sender.title == title.strip() and sender.address in (None, address):
            return sender.site
    return None


def site_of_account(told: Mapping[str, str], email: str) -> str | None:
    """Return the site of an account that sends over HTTP (`{"@email": site}`), or None."""
    return told.get(f"@{email}")


def _is_title(text: str) -> bool:
    return 1 <= len(text.strip()) <= 16 and text.isascii() and text.isprintable()
