"""Back-to-back checking over HTTP."""

from typing import Any

from fastapi import APIRouter, BackgroundTasks

from rounds.batches import store as batches
from rounds.checks import service
from rounds.checks.views import FindingBody, queued
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.labels import views
from rounds.labels.model import Stage
from rounds.labels.store import Label
from rounds.people.model import NotAllowed, Person, Role
from rounds.web import effects
from rounds.web.identity import Conn, Reader, Running

router = APIRouter(prefix="/api", tags=["checks"])


@router.get("/checks/queue")
def queue(conn: Conn, reader: Reader) -> list[dict[str, Any]]:
    """Return what waits for this checker."""
    reader.require(Role.CHECKER)
    return queued(service.queue(conn, reader))


@router.post("/labels/{label_id}/checks", status_code=201)
def check(
    label_id: int, body: FindingBody, conn: Conn, reader: Reader, running: Running, later: BackgroundTasks
) -> dict[str, Any]:
    """Take this checker's verdict on the standing revision."""
    label = take(conn, label_id, reader, body)
    if label.stage is Stage.REVISING and label.batch_id is not None:
        later.add_task(effects.ask_for_tasks, running.settings, label.batch_id)
    return {"label": label.id, "stage": str(label.stage), "round": label.round}


def take(conn: Connection, label_id: int, checker: Person, body: FindingBody) -> Label:
    """Keep a verdict in one transaction; raise NotAllowed for anyone but the two checkers of the batch."""
    checker.require(Role.CHECKER)
    batch_id = labels.get(conn, label_id).batch_id
    if batch_id is None or checker.id not in batches.checkers(conn, batch_id):
        raise NotAllowed(f"only the two checkers of its batch check label {label_id}")
    with conn.transaction():
        views.require_standing(conn, label_id, body.revision, body.round)
        return service.check(conn, label_id, checker, body.finding())
