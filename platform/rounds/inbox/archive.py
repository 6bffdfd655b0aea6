"""An archive over DICOMweb: QIDO-RS finds CT series and their counts, WADO-RS streams them into files.

Every error is one of ours, said in numbers: the archive's addresses hold UIDs, and httpx's own messages quote them.
"""

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from rounds.inbox.folders import NotASlice, identify
from rounds.inbox.model import CLASSES
from rounds.inbox.multipart import Broken, NotMultipart, Parts, boundary_of

PAGE = 100
LOCAL = {"127.0.0.1", "localhost", "::1"}
_STUDY, _SERIES, _MODALITY, _COUNT, _INSTANCE = "0020000D", "0020000E", "00080060", "00201209", "00080018"
_CLASS = "00080016"
_ASKED = {
    "StudyDate": "00080020",
    "AccessionNumber": "00080050",
    "PatientID": "00100020",
    "StudyInstanceUID": _STUDY,
}
_WANTED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class ArchiveFailed(Exception):
    """The archive does not answer, or not as DICOMweb says."""


class NotThere(ArchiveFailed):
    """The archive answers that it has nothing at this address."""


class SeriesUnfit(Exception):
    """A series did not arrive whole."""


@dataclass(frozen=True)
class RemoteSeries:
    """A CT series in the archive, and how many instances it has there."""

    study: str = field(repr=False)
    series: str = field(repr=False)
    count: int


class Archive:
    """An archive at a DICOMweb base address; `credentials` is `user:password` or `Bearer token`."""

    def __init__(
        self,
        base: str,
        credentials: str | None = None,
        *,
        plain: bool = False,
        seconds: float = 120,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(base)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise ArchiveFailed("the archive's address is https://HOST/PATH, without name and password in it")
        if parts.scheme == "http" and parts.hostname not in LOCAL and not plain:
            raise ArchiveFailed("this address would send scans in the clear: use https, or --plain-http")
        silence()
        user, colon, password = (credentials or "").partition(":")
        bearer = (credentials or "").startswith("Bearer ")
        self._client = httpx.Client(
            base_url=base.rstrip("/") + "/",
            auth=httpx.BasicAuth(user, password) if colon and not bearer else None,
            headers={"Authorization": credentials or ""} if bearer else {},
            timeout=httpx.Timeout(seconds, connect=10),
            verify=ssl.create_default_context(),
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def find(self, query: Mapping[str, str]) -> Iterator[RemoteSeries]:
        """Yield the CT series of every study that matches a QIDO query; raise ArchiveFailed."""
        for found in self._pages("studies", {**query, "ModalitiesInStudy": "CT"}, _STUDY):
            if not matches(found, query):
                continue
            study = _text(found, _STUDY)
            wanted = {"Modality": "CT", "includefield": _COUNT}
            for one in self._pages(f"studies/{quote(study)}/series", wanted, _SERIES):
                if _text(one, _MODALITY) in ("", "CT"):
                    series = _text(one, _SERIES)
                    count = _number(one, _COUNT) or self._counted(study, series)
                    yield RemoteSeries(study, series, count)

    def told(self, study: str, series: str) -> int | None:
        """Return how many instances it says that a series has, 0 where it says none; None: it does not know it."""
        wanted = {"SeriesInstanceUID": series, "includefield": _COUNT}
        try:
            found = list(self._pages(f"studies/{quote(study)}/series", wanted, _SERIES))
        except NotThere:
            return None
        return max((_number(one, _COUNT) for one in found if _text(one, _SERIES) == series), default=None)

    def listed(self, study: str, series: str) -> int:
        """Count the instances of a series one by one, those of the classes that are received."""
        path = f"studies/{quote(study)}/series/{quote(series)}/instances"
        found = self._pages(path, {"includefield": _CLASS}, _INSTANCE)
        return sum(_text(one, _CLASS) in ("", *CLASSES) for one in found)

    def fetch(self, one: RemoteSeries, folder: Path, most: int) -> int:
        """Stream a series into new files in a folder; return how many different instances came.

        Raise SeriesUnfit if that is not the archive's count, or one is larger than `most` bytes or of another series.
        """
        path = f"studies/{quote(one.study)}/series/{quote(one.series)}"
        seen: set[str] = set()
        with self._answer(path, {}, _WANTED) as answer:
            try:
                parts = Parts(boundary_of(answer.headers.get("content-type", "")), folder, most)
                for block in answer.iter_bytes():
                    for part in parts.feed(block):
                        if part.path is None:
                            raise SeriesUnfit("an instance is larger than any slice")
                        seen.add(_belongs(part.path, one))
                parts.close()
            except (Broken, NotMultipart, httpx.HTTPError) as error:
                raise SeriesUnfit(f"the transfer broke off ({type(error).__name__})") from None
        if len(seen) != one.count:
            raise SeriesUnfit(f"{len(seen)} of {one.count} instances came")
        return len(seen)

    def _counted(self, study: str, series: str) -> int:
        path = f"studies/{quote(study)}/series/{quote(series)}/instances"
        return sum(1 for _ in self._pages(path, {}, _INSTANCE))

    def _pages(self, path: str, query: Mapping[str, str], key: str) -> Iterator[dict[str, Any]]:
        """Yield the results of a search, page by page; a server that ignores pages is asked once too often."""
        seen: set[str] = set()
        while True:
            more = {**query, "limit": str(PAGE), "offset": str(len(seen))}
            with self._answer(path, more, "application/dicom+json") as answer:
                found = _documents(answer)
            new = [one for one in found if _text(one, key) and _text(one, key) not in seen]
            seen |= {_text(one, key) for one in new}
            yield from new
            if len(found) < PAGE or not new:
                return

    @contextmanager
    def _answer(self, path: str, query: Mapping[str, str], accept: str) -> Iterator[httpx.Response]:
        request = self._client.build_request("GET", path, params=dict(query), headers={"Accept": accept})
        try:
            answer = self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise ArchiveFailed(f"the archive does not answer ({type(error).__name__})") from None
        try:
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotThere("the archive answers 404 (is this its DICOMweb address?)")
            if answer.status_code not in (200, 204):
                raise ArchiveFailed(f"the archive answers {answer.status_code}")
            yield answer
        finally:
            answer.close()


def matches(found: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Tell whether a study is what was asked for: a server may ignore a key and answer with everything it has."""
    for name, tag in _ASKED.items():
        asked, told = query.get(name), _text(found, tag).strip()
        if asked is None or not told:
            continue
        first, dash, last = asked.partition("-")
        if name == "StudyDate" and dash:
            if not (first or "0") <= told <= (last or "9"):
                return False
        elif told != asked:
            return False
    return True


def silence() -> None:
    """Keep httpx from logging addresses, which hold UIDs and identifiers."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _documents(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        if answer.status_code == 204 or not answer.read():
            return []
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ArchiveFailed(f"the archive's answer cannot be read ({type(error).__name__})") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ArchiveFailed("the archive's answer is no list of DICOM JSON")
    return found


def _belongs(path: Path, one: RemoteSeries) -> str:
    """Return the instance UID of a fetched file; raise SeriesUnfit if it is of another series."""
    try:
        who = identify(path)
    except NotASlice as error:
        raise SeriesUnfit("an instance cannot be read") from error
    if who.series != one.series:
        raise SeriesUnfit("the archive sent an instance of another series")
    return who.instance


def _text(document: Mapping[str, Any], tag: str) -> str:
    values = (document.get(tag) or {}).get("Value") or [""]
    return str(values[0])


def _number(document: Mapping[str, Any], tag: str) -> int:
    text = _text(document, tag)
    return int(text) if text.isascii() and text.isdigit() else 0
