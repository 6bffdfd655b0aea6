"""Batch pages: the list, and one batch with its figures, its sample and the decision."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Request
from fastapi.responses import HTMLResponse, Response

from rounds.batches import api, quality, store, views
from rounds.batches.api import Decision
from rounds.batches.model import BatchState, IllegalBatchMove
from rounds.labels.model import Stage
from rounds.people.model import Role
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page

router = APIRouter(prefix="/batches", include_in_schema=False)


@router.get("")
def listing(request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show the batches that the reader may see."""
    found = views.listing(conn, reader)
    return page(request, "batches/list.html", reader, batches=found, stages=tuple(Stage))


@router.get("/{batch_id}")
def show(batch_id: int, request: Request, conn: Conn, reader: Reader) -> HTMLResponse:
    """Show one batch."""
    batch = store.get(conn, batch_id)
    views.require_reader(conn, batch_id, reader)
    summary = quality.summary(conn, batch_id)
    return page(
        request,
        "batches/figures.html" if request.headers.get("hx-request") else "batches/show.html",
        reader,
        batch=batch,
        summary=summary,
        worth=views.worth(summary),
        sample=views.sample(conn, batch),
        rows=views.rows(conn, batch, reader),
        effort=views.effort(conn, batch_id),
        decisions=views.decisions(conn, batch_id),
        stages=tuple(Stage),
        deciding=batch.state is BatchState.DECIDING and Role.QA in reader.roles,
    )


@router.post("/{batch_id}/decision")
def decide(
    batch_id: int,
    request: Request,
    conn: Conn,
    reader: Reader,
    running: Running,
    later: BackgroundTasks,
    verdict: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
    attempt: Annotated[int | None, Form()] = None,
) -> Response:
    """Take the decision and show the batch again."""
    if verdict not in ("accept", "reject"):
        raise IllegalBatchMove("choose accept or reject")
    body = Decision(verdict="accept" if verdict == "accept" else "reject", note=note[:2000], attempt=attempt)
    api.decide(batch_id, body, conn, reader, running, later)
    return go(request, f"/batches/{batch_id}")
