"""The quarantine page: engineers look at refused scans, release and discard them; nothing of the patient is here."""

import logging
from typing import Annotated, Literal

import httpx
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from rounds import orchestration
from rounds.cases import holding, quarantine
from rounds.cases.holding import STATES
from rounds.orchestration import FlowUnavailable
from rounds.people.store import names
from rounds.people.views import STEWARDS, require_any
from rounds.settings import NotRunning, Settings
from rounds.trail.reason import MAX_REASON
from rounds.trail.store import history
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page

router = APIRouter(prefix="/quarantine", include_in_schema=False)
logger = logging.getLogger(__name__)


@router.get("")
def listing(
    request: Request,
    conn: Conn,
    reader: Reader,
    state: Annotated[str, Query(pattern=f"^({'|'.join(STATES)})$")] = "held",
    before: int | None = None,
) -> HTMLResponse:
    """Show the scans in one state, newest first, a page at a time."""
    require_any(reader, *STEWARDS)
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
    require_any(reader, *STEWARDS)
    found = holding.get(conn, number)
    return page(
        request,
        "cases/quarantined.html",
        reader,
        scan=found,
        sentence=quarantine.sentence(found.reason),
        obstacle=quarantine.obstacle_to_release(conn, found),
        events=history(conn, "scan", number),
        names=names(conn),
        longest=MAX_REASON,
    )


@router.post("/{number}/{decision}")
def decide(
    number: int,
    decision: Literal["release", "discard"],
    request: Request,
    conn: Conn,
    reader: Reader,
    running: Running,
    why: Annotated[str, Form()] = "",
) -> Response:
    """Let a scan go on over its refusal, or give it up."""
    require_any(reader, *STEWARDS)
    carry = quarantine.release if decision == "release" else quarantine.discard
    with conn.transaction():
        carry(conn, number, reader.actor, why)
    _ask(running.settings, number)
    return go(request, f"/quarantine/{number}")


def _ask(settings: Settings, number: int) -> None:
    """Have a decision carried out; where Prefect is down the sweep does it later."""
    try:
        orchestration.start_flow(settings, "quarantine", {"number": number})
    except (httpx.HTTPError, FlowUnavailable, NotRunning) as error:
        logger.warning("scan %d waits for the sweep (%s)", number, type(error).__name__)
