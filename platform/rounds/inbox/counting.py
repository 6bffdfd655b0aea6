"""How many slices of a series the archive has, asked over C-FIND or QIDO-RS."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rounds.inbox.archive import Archive, ArchiveFailed
from rounds.inbox.folders import Identity
from rounds.inbox.model import BadArchive, peer_of
from rounds.inbox.settings import Receiving

_UID = re.compile(r"[0-9.]{1,64}")
_WEB_SECONDS = 20.0


class Counts(Protocol):
    """An archive that can be asked about a series; both raise ArchiveFailed."""

    def told(self, study: str, series: str) -> int | None:
        """Return how many instances it says that a series has, 0 where it says none; None: it does not know it."""

    def listed(self, study: str, series: str) -> int:
        """Count the instances of a series one by one, those of the classes that are received."""


def slices_of(archive: Counts, who: Identity, have: int) -> int | None:
    """Return how many slices the archive has of a series that `have` came of, or None where it does not know it.

    Objects that are not received are left out: the instances are listed where their bare number says that some lack.
    """
    if not _UID.fullmatch(who.study) or not _UID.fullmatch(who.series):
        return None  # a pattern, or nothing that an archive could know
    said = archive.told(who.study, who.series)
    if said is None or 0 < said <= have:
        return said
    return archive.listed(who.study, who.series) or said or None


@contextmanager
def asked(receiving: Receiving) -> Iterator[Counts]:
    """Lend the archive of the settings for some questions; raise ArchiveFailed or BadArchive."""
    peer = peer_of(receiving.archive or "")
    if peer is None:
        archive = _web(receiving)
        try:
            yield archive
        finally:
            archive.close()
    else:
        from rounds.inbox.querying import queries  # brings pynetdicom, which few processes need

        with queries(peer, receiving.ae_title) as link:
            yield link


def check(receiving: Receiving) -> None:
    """Raise BadArchive where the settings name an archive that could never be asked."""
    if receiving.archive is not None and peer_of(receiving.archive) is None:
        _web(receiving).close()


def _web(receiving: Receiving) -> Archive:
    """Return the archive at a web address; in the clear on another machine only where no password travels."""
    secret, file = None, receiving.archive_credentials
    try:
        if file is not None:
            secret = file.read_text(encoding="utf-8-sig").strip()
        return Archive(str(receiving.archive), secret, plain=secret is None, seconds=_WEB_SECONDS)
    except OSError as error:
        raise BadArchive(f"ROUNDS_RECEIVE_ARCHIVE_CREDENTIALS cannot be read ({error.strerror})") from None
    except ArchiveFailed:
        raise BadArchive(
            "ROUNDS_RECEIVE_ARCHIVE is TITLE@HOST:PORT or https://HOST/PATH, without name and password in it;"
            " with credentials, http leads to this machine alone"
        ) from None
