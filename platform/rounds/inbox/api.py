"""STOW-RS (PS3.18, 10.5): an archive stores CT into the inbox over HTTP, as an account that the settings name."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from rounds.cases.sources import scratch
from rounds.inbox.folders import Identity, Inbox, NoRoom, NotASlice, identify
from rounds.inbox.model import CLASSES, site_of_account
from rounds.inbox.multipart import Broken, NotMultipart, Part, Parts, boundary_of
from rounds.inbox.settings import Receiving, load_receiving
from rounds.people import store as people
from rounds.people.model import NotAllowed, Role
from rounds.web.identity import NotLoggedIn, service_of, token_of

router = APIRouter(prefix="/api/dicomweb", tags=["dicomweb"])
NO_SUCH_CLASS, OUT_OF_RESOURCES, OTHER_STUDY, NOT_UNDERSTOOD = (
    0x0122,
    0xA700,
    0xA900,
    0xC000,
)  # PS3.18, table I.2-2
JSON = "application/dicom+json"


@dataclass(frozen=True)
class From:
    """Which site's scans an account sends."""

    site: str
    receiving: Receiving


def sender(request: Request) -> From:
    """Return whose scans the account sends; the connection goes back before the upload, which may take long."""
    token = token_of(request)
    with service_of(request).pool.connection(timeout=10) as conn:
        person = people.by_token(conn, token) if token else None
    if person is None:
        raise NotLoggedIn("send a bearer token: see `rounds people token`")
    person.require(Role.SENDER)
    receiving = load_receiving()
    site = site_of_account(receiving.senders, person.email)
    if site is None:
        raise NotAllowed("this account sends for no site: see ROUNDS_RECEIVE_SENDERS")
    return From(site, receiving)


@dataclass
class Upload:
    """One request: what was stored and what was not, with the failure reasons of the standard."""

    inbox: Inbox
    who: From
    study: str | None
    parts: Parts
    stored: list[Identity] = field(default_factory=list, repr=False)
    failed: list[tuple[Identity | None, int]] = field(default_factory=list, repr=False)

    def feed(self, data: bytes) -> None:
        """Take the next bytes and store the objects that they end; raise Broken or NoRoom."""
        if shutil.disk_usage(self.inbox.root).free < self.who.receiving.spare_bytes:
            raise NoRoom("the disk has too little room left")
        for part in self.parts.feed(data):
            self._take(part)

    def _take(self, part: Part) -> None:
        if part.path is None:
            self.failed.append((None, NOT_UNDERSTOOD))
            return
        try:
            self._deliver(part.path)
        finally:
            part.path.unlink(missing_ok=True)

    def _deliver(self, path: Path) -> None:
        try:
            one = identify(path)
        except NotASlice:
            self.failed.append((None, NOT_UNDERSTOOD))
            return
        if one.sop_class not in CLASSES:
            self.failed.append((one, NO_SUCH_CLASS))
        elif self.study not in (None, one.study):
            self.failed.append((one, OTHER_STUDY))
        else:
            try:
                self.inbox.deliver(path, one, self.who.site)
                self.stored.append(one)
            except NoRoom:
                self.failed.append((one, OUT_OF_RESOURCES))


@router.post("/studies")
async def store(request: Request, who: Annotated[From, Depends(sender)]) -> JSONResponse:
    """Store the objects of a multipart/related body."""
    return await _store(request, who, None)


@router.post("/studies/{study}")
async def store_in(request: Request, study: str, who: Annotated[From, Depends(sender)]) -> JSONResponse:
    """Store the objects of one study; those of another one fail."""
    return await _store(request, who, study)


async def _store(request: Request, who: From, study: str | None) -> JSONResponse:
    try:
        boundary = boundary_of(request.headers.get("content-type", ""))
    except NotMultipart as error:
        return _refused(415, "not_multipart", str(error))
    home = service_of(request).settings.home
    with scratch(home) as folder:
        parts = Parts(boundary, folder, who.receiving.max_file_bytes)
        upload = Upload(await run_in_threadpool(Inbox, home), who, study, parts)
        try:
            async for block in request.stream():
                await run_in_threadpool(upload.feed, block)
            parts.close()
        except Broken as error:
            return _refused(400, "broken_body", f"{error}; {len(upload.stored)} objects before it are stored")
        except (NoRoom, OSError):
            return _refused(503, "no_room", f"the disk is full; {len(upload.stored)} objects are stored")
    status, body = answer(upload.stored, upload.failed)
    return JSONResponse(body, status_code=status, media_type=JSON)


def answer(
    stored: Sequence[Identity], failed: Sequence[tuple[Identity | None, int]]
) -> tuple[int, Mapping[str, Any]]:
    """Return status and DICOM JSON of a response (PS3.18, 10.5.3 and annex I)."""
    body: dict[str, Any] = {}
    if stored:
        body["00081199"] = {"vr": "SQ", "Value": [_reference(one) for one in stored]}
    named = [{**_reference(one), **_reason(why)} for one, why in failed if one is not None]
    if named:
        body["00081198"] = {"vr": "SQ", "Value": named}
    other = [_reason(why) for one, why in failed if one is None]
    if other:
        body["0008119A"] = {"vr": "SQ", "Value": other}
    if not stored:
        return (409 if failed else 400), body
    return (202 if failed else 200), body


def _reference(one: Identity) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [one.sop_class]},
        "00081155": {"vr": "UI", "Value": [one.instance]},
    }


def _reason(why: int) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [why]}}


def _refused(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": code, "message": message}, status_code=status)
