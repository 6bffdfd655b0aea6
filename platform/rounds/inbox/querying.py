"""An archive over DICOM queries: C-FIND (study root) tells how many instances of a series it has.

The answers are read for counts and UIDs alone; no error quotes them. Every wait has an end.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find  # type: ignore[attr-defined]

from rounds.imaging.dicom import quietly
from rounds.inbox.archive import ArchiveFailed
from rounds.inbox.model import CLASSES, Peer
from rounds.inbox.receiver import silence

CONNECT_SECONDS, ANSWER_SECONDS, QUERY_SECONDS = 10, 20, 60
MOST = 100_000
_PENDING = (0xFF00, 0xFF01)  # PS3.4, C.4.1.1.4; the second one: not every key is supported


class Queries:
    """An association with an archive that series are asked about."""

    def __init__(self, link: Association) -> None:
        self._link = link

    def told(self, study: str, series: str) -> int | None:
        """Return how many instances it says that a series has, 0 where it says none; None: it does not know it."""
        answers = self._ask("SERIES", study, series, "NumberOfSeriesRelatedInstances")
        return max((_number(one["NumberOfSeriesRelatedInstances"]) for one in answers), default=None)

    def listed(self, study: str, series: str) -> int:
        """Count the instances of a series one by one, those of the classes that are received."""
        answers = self._ask("IMAGE", study, series, "SOPInstanceUID", "SOPClassUID")
        found = {one["SOPInstanceUID"] for one in answers if one["SOPClassUID"] in ("", *CLASSES)}
        return len(found - {""})

    def _ask(self, level: str, study: str, series: str, *wanted: str) -> list[dict[str, str]]:
        """Return what the archive has at a level of a series; raise ArchiveFailed."""
        found: list[dict[str, str]] = []
        end = time.monotonic() + QUERY_SECONDS
        with quietly():
            query = Dataset()
            query.QueryRetrieveLevel = level
            for keyword in wanted:
                setattr(query, keyword, "")
            query.StudyInstanceUID, query.SeriesInstanceUID = study, series
            for status, answer in self._link.send_c_find(query, Find):
                code = status.get("Status")
                if code == 0:
                    return found
                if code not in _PENDING or answer is None:
                    raise ArchiveFailed(_refusal(code))
                if _text(answer, "SeriesInstanceUID") in (series, ""):  # else it ignores what was asked for
                    found.append({keyword: _text(answer, keyword) for keyword in wanted})
                if len(found) > MOST or time.monotonic() > end:
                    break
        raise ArchiveFailed("the archive's answer has no end")


@contextmanager
def queries(peer: Peer, title: str) -> Iterator[Queries]:
    """Associate with an archive as `title`, and release it afterwards; raise ArchiveFailed."""
    silence()
    try:
        entity = AE(ae_title=title)
        entity.connection_timeout = entity.acse_timeout = CONNECT_SECONDS
        entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
        entity.add_requested_context(Find)
        link = entity.associate(peer.host, peer.port, ae_title=peer.title)
    except (OSError, RuntimeError, ValueError) as error:
        raise ArchiveFailed(f"the archive does not answer ({type(error).__name__})") from None
    if not link.is_established:
        refused = link.is_rejected
        raise ArchiveFailed("the archive refuses us" if refused else "the archive does not answer")
    try:
        yield Queries(link)
        link.release()
    finally:
        if link.is_established:
            link.abort()


def _refusal(code: int | None) -> str:
    if code is None:
        return "the archive breaks off (may our AE title query it?)"
    return f"the archive refuses the query (0x{code:04X})"


def _text(answer: Dataset, keyword: str) -> str:
    try:
        return str(answer.get(keyword) or "").strip().rstrip("\0")
    except Exception as error:  # pydicom decodes late, and what is wrong is quoted in its errors
        raise ArchiveFailed(f"the archive's answer cannot be read ({type(error).__name__})") from None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
