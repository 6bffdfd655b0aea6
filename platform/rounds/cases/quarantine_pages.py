"""The quarantine page: engineers look at refused scans, release and discard them; nothing of the patient is here."""

import logging
from typing import Annotated

import httpx
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from rounds import orchestration
from rounds.cases import holding, quarantine
from rounds.cases.holding import STATES
from rounds.orchestration import FlowUnavailable
from rounds.people.model import Role
from rounds.people.views import require_any
from rounds.settings import NotRunning, Settings
from rounds.trail.store import history
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page

router = APIRouter(prefix="/quarantine", include_in_schema=False)
logger = logging.getLogger(__name__)
Why = Annotated[str, Form()]


@router.get("")
def listing(
    request: Request,
    conn: Conn,
    reader: Reader,
    state: Annotated[str, Query(pattern=f"^({'|'.join(STATES)})$")] = "held",
    before: int | None = None,
) -> HTMLResponse:
    """Show the scans in one state, newest first, a page at a time."""
    require_any(reader, Role.ENGINEER, Role.ADMIN)
    found = holding.listing(conn, state, before)
    older = found[-1].id if len(found) == holding.PAGE else None
    return page(
        request,
        "cases/quarantine.html",
        reader,
        scans=found,
        counts=holding.counts(conn),
        state=state,
        older=older,
    )


@router.get("/{number}")
def look(number: int, request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show one scan: what is wrong, its geometry, what was done, and what can be done."""
    require_any(reader, Role.ENGINEER, Role.ADMIN)
    found = holding.get(conn, number)
    return page(
        request,
        "cases/quarantined.html",
        reader,
        scan=found,
        sentence=quarantine.sentence(found.reason),
        obstacle=quarantine.obstacle_to_release(conn, found),
        events=history(conn, "scan", number),
        names=quarantine.names(conn),
        longest=quarantine.MAX_REASON,
    )


@router.post("/{number}/release")
def release(
    number: int, request: Request, conn: Conn, reader: Reader, running: Running, why: Why = ""
) -> Response:
    """Let a scan go on over its refusal."""
    require_any(reader, Role.ENGINEER, Role.ADMIN)
    with conn.transaction():
        quarantine.release(conn, number, reader.actor, why)
    _ask(running.settings, number)
    return go(request, f"/quarantine/{number}")


@router.post("/{number}/discard")
def discard(
    number: int, request: Request, conn: Conn, reader: Reader, running: Running, why: Why = ""
) -> Response:
    """Give a scan up."""
    require_any(reader, Role.ENGINEER, Role.ADMIN)
    with conn.transaction():
        quarantine.discard(conn, number, reader.actor, why)
    _ask(running.settings, number)
    return go(request, f"/quarantine/{number}")


def _ask(settings: Settings, number: int) -> None:
    """Have a decision carried out; where Prefect is down the sweep does it later."""
    try:
        orchestration.start_flow(settings, "quarantine", {"number": number})
    except (httpx.HTTPError, FlowUnavailable, NotRunning) as error:
        logger.warning("scan %d waits for the sweep (%s)", number, type(error).__name__)
