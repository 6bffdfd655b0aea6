"""The checker's page: read the slices, give a verdict, go on to the next."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Request
from fastapi.responses import RedirectResponse, Response

from rounds.checks import api, service
from rounds.checks.views import following, read_form
from rounds.labels import views
from rounds.people.model import Role
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page

router = APIRouter(prefix="/checks", include_in_schema=False)


@router.get("")
def next_check(conn: Conn, reader: Reader, after: int | None = None, sent: int | None = None) -> Response:
    """Lead to the next label that waits for this checker, or home when none does."""
    reader.require(Role.CHECKER)
    found = following(service.queue(conn, reader), after)
    told = f"?sent={sent}" if sent is not None else ""
    return RedirectResponse(f"/checks/{found}{told}" if found else f"/{told}", status_code=303)


@router.get("/{label_id}")
def show(
    label_id: int, request: Request, conn: Conn, reader: Reader, running: Running, sent: int | None = None
) -> Response:
    """Show a label blind, with the form for a verdict."""
    reader.require(Role.CHECKER)
    seen = views.view(conn, label_id, reader)
    if "check" not in seen.actions:
        return RedirectResponse(f"/labels/{label_id}", status_code=303)
    left = len(service.queue(conn, reader))
    scheme = running.scheme(seen.label.scheme)
    return page(
        request, "checks/review.html", reader, seen=seen, scheme=scheme, left=left, sent=sent, task="checks"
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
    api.check(label_id, body, conn, reader, running, later)
    return go(request, f"/checks?sent={label_id}")
