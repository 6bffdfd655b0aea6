"""The desk at which verdicts are given, over HTTP and on pages; a senior's works as a checker's does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Form, Request
from fastapi.responses import RedirectResponse, Response

from rounds.audits.service import QueuedAudit
from rounds.checks.service import QueuedCheck
from rounds.checks.views import FindingBody, following, queued, read_form
from rounds.db import Connection
from rounds.labels import views
from rounds.labels.model import Stage
from rounds.labels.store import Label
from rounds.people.model import Person, Role
from rounds.web import effects
from rounds.web.identity import Conn, Reader, Running
from rounds.web.pages import go, page
from rounds.web.service import Service


@dataclass(frozen=True)
class Desk:
    """Whose it is, what waits there and how a verdict is kept; `name` is its path, `action` what is done there."""

    name: str
    action: str
    role: Role
    queue: Callable[[Connection, Person], Sequence[QueuedCheck] | Sequence[QueuedAudit]]
    take: Callable[[Connection, int, Person, FindingBody], Label]

    def give(
        self,
        conn: Connection,
        label_id: int,
        reader: Person,
        body: FindingBody,
        running: Service,
        later: BackgroundTasks,
    ) -> Label:
        """Keep a verdict; a label that has to be revised gets its task once the answer is out."""
        label = self.take(conn, label_id, reader, body)
        if label.stage is Stage.REVISING and label.batch_id is not None:
            later.add_task(effects.ask_for_tasks, running.settings, label.batch_id)
        return label


def api(desk: Desk) -> APIRouter:
    """Return a desk's queue and verdicts for programs."""
    router = APIRouter(prefix="/api", tags=[desk.name])

    @router.get(f"/{desk.name}/queue")
    def queue(conn: Conn, reader: Reader) -> list[dict[str, Any]]:
        """Return the labels that wait for this reader's verdict."""
        reader.require(desk.role)
        return queued(desk.queue(conn, reader))

    @router.post(f"/labels/{{label_id}}/{desk.name}", status_code=201, name=desk.action)
    def give(
        label_id: int, body: FindingBody, conn: Conn, reader: Reader, running: Running, later: BackgroundTasks
    ) -> dict[str, Any]:
        """Take this reader's verdict on the standing revision."""
        label = desk.give(conn, label_id, reader, body, running, later)
        return {"label": label.id, "stage": str(label.stage), "round": label.round}

    return router


def pages(desk: Desk) -> APIRouter:
    """Return a desk's pages: what is next, one label with the form, and taking the form."""
    router = APIRouter(prefix=f"/{desk.name}", include_in_schema=False)

    @router.get("")
    def following_one(
        conn: Conn, reader: Reader, after: int | None = None, sent: int | None = None
    ) -> Response:
        """Lead to the next label that waits for this reader, or home when none does."""
        reader.require(desk.role)
        found = following(desk.queue(conn, reader), after)
        told = f"?sent={sent}" if sent is not None else ""
        return RedirectResponse(f"/{desk.name}/{found}{told}" if found else f"/{told}", status_code=303)

    @router.get("/{label_id}")
    def show(
        label_id: int, request: Request, conn: Conn, reader: Reader, running: Running, sent: int | None = None
    ) -> Response:
        """Show a label as this reader may see it, with the form for a verdict."""
        reader.require(desk.role)
        seen = views.view(conn, label_id, reader)
        if desk.action not in seen.actions:
            return RedirectResponse(f"/labels/{label_id}", status_code=303)
        scheme, left = running.scheme(seen.label.scheme), len(desk.queue(conn, reader))
        name = "checks/review.html"
        return page(request, name, reader, seen=seen, scheme=scheme, left=left, sent=sent, task=desk.name)

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
        desk.give(conn, label_id, reader, body, running, later)
        return go(request, f"/{desk.name}?sent={label_id}")

    return router
