"""The senior's page: audit a drawn label, go on to the next."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Request
from fastapi.responses import RedirectResponse, Response

from rounds.audits import api, service
from rounds.checks.views import following, read_form
from rounds.labels import views
from rounds.people.model import Role
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page

router = APIRouter(prefix="/audits", include_in_schema=False)


@router.get("")
def next_audit(conn: Conn, reader: Reader, after: int | None = None, sent: int | None = None) -> Response:
    """Lead to the next label that waits for this senior, or home when none does."""
    reader.require(Role.SENIOR)
    found = following(service.queue(conn, reader), after)
    told = f"?sent={sent}" if sent is not None else ""
    return RedirectResponse(f"/audits/{found}{told}" if found else f"/{told}", status_code=303)


@router.get("/{label_id}")
def show(
    label_id: int, request: Request, conn: Conn, reader: Reader, running: Running, sent: int | None = None
) -> Response:
    """Show a drawn label, with the form for a verdict."""
    reader.require(Role.SENIOR)
    seen = views.view(conn, label_id, reader)
    if "audit" not in seen.actions:
        return RedirectResponse(f"/labels/{label_id}", status_code=303)
    left = len(service.queue(conn, reader))
    scheme = running.scheme(seen.label.scheme)
    return page(
        request, "checks/review.html", reader, seen=seen, scheme=scheme, left=left, sent=sent, task="audits"
    )


@router.post("/{label_id}")
def send(
    label_id: int,
    request: Request,
    conn: Conn,
    reader: Reader,
    running: Running,
    later: BackgroundTasks,
    verdict: Annotated[str, Form()] = "",
    reasons: Annotated[list[str] | None, Form()] = None,
    slices: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
    revision: Annotated[str, Form()] = "",
    round_: Annotated[str, Form(alias="round")] = "",
) -> Response:
    """Take the verdict and go on to the next label."""
    body = read_form(verdict, reasons or [], slices, note, revision, round_)
    api.audit(label_id, body, conn, reader, running, later)
    return go(request, f"/audits?sent={label_id}")
