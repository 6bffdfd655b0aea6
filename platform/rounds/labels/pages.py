"""A label's own page: look at it, read its history, take it out or give it to somebody else."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Request
from fastapi.responses import HTMLResponse, Response

from rounds.labels import api, views
from rounds.labels.api import Reassignment, Withdrawal
from rounds.labels.model import IllegalMove, Stage
from rounds.people import store as people
from rounds.people.model import Role
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page

router = APIRouter(prefix="/labels", include_in_schema=False)


@router.get("/{label_id}")
def show(label_id: int, request: Request, conn: Conn, reader: Reader, running: Running) -> HTMLResponse:
    """Show a label and what happened to it, as far as the reader may know."""
    seen = views.view(conn, label_id, reader)
    closed = seen.sight is views.Sight.BLIND and seen.label.stage is Stage.CHECKING
    lines = [] if closed else views.lines(conn, seen.label, reader)
    annotators = people.everyone(conn, Role.ANNOTATOR) if "reassign" in seen.actions else []
    others = [person for person in annotators if person.id != seen.label.annotator_id]
    return page(
        request,
        "labels/show.html",
        reader,
        seen=seen,
        scheme=running.scheme(seen.label.scheme),
        lines=lines,
        closed=closed,
        annotators=others,
    )


@router.post("/{label_id}/withdraw")
def withdraw(
    label_id: int, request: Request, conn: Conn, reader: Reader, reason: Annotated[str, Form()] = ""
) -> Response:
    """Take the label out and show it again."""
    api.withdraw(label_id, Withdrawal(reason=_given(reason)), conn, reader)
    return go(request, f"/labels/{label_id}")


@router.post("/{label_id}/reassign")
def reassign(
    label_id: int,
    request: Request,
    conn: Conn,
    reader: Reader,
    running: Running,
    later: BackgroundTasks,
    annotator: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Give the label to another annotator and show it again."""
    if not annotator:
        raise IllegalMove("choose an annotator first")
    body = Reassignment(annotator=annotator, reason=_given(reason))
    api.reassign(label_id, body, conn, reader, running, later)
    return go(request, f"/labels/{label_id}")


def _given(reason: str) -> str:
    if not reason.strip():
        raise IllegalMove("say why first: the reason goes into the label's history")
    return reason.strip()[:2000]
