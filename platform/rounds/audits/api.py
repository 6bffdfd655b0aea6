"""The senior's audit over HTTP."""

from typing import Any

from fastapi import APIRouter, BackgroundTasks

from rounds.audits import service
from rounds.checks.views import FindingBody, queued
from rounds.db import Connection
from rounds.labels import views
from rounds.labels.model import Stage
from rounds.labels.store import Label
from rounds.people.model import Person, Role
from rounds.web import effects
from rounds.web.identity import Conn, Reader, Running

router = APIRouter(prefix="/api", tags=["audits"])


@router.get("/audits/queue")
def queue(conn: Conn, reader: Reader) -> list[dict[str, Any]]:
    """Return the drawn labels that wait for this senior."""
    reader.require(Role.SENIOR)
    return queued(service.queue(conn, reader))


@router.post("/labels/{label_id}/audits", status_code=201)
def audit(
    label_id: int, body: FindingBody, conn: Conn, reader: Reader, running: Running, later: BackgroundTasks
) -> dict[str, Any]:
    """Take a senior's verdict on a drawn label."""
    label = take(conn, label_id, reader, body)
    if label.stage is Stage.REVISING and label.batch_id is not None:
        later.add_task(effects.ask_for_tasks, running.settings, label.batch_id)
    return {"label": label.id, "stage": str(label.stage), "round": label.round}


def take(conn: Connection, label_id: int, senior: Person, body: FindingBody) -> Label:
    """Keep an audit in one transaction; raise NotAllowed for anyone but a senior."""
    senior.require(Role.SENIOR)
    with conn.transaction():
        views.require_standing(conn, label_id, body.revision, body.round)
        return service.audit(conn, label_id, senior, body.finding())
