"""Batches over HTTP: their quality, and the QA reviewer's decision."""

from typing import Any, Literal

from fastapi import APIRouter, BackgroundTasks
from pydantic import BaseModel, ConfigDict, Field

from rounds.batches import service, views
from rounds.batches.model import BatchState, IllegalBatchMove
from rounds.batches.store import Batch
from rounds.db import Connection
from rounds.people.model import Person, Role
from rounds.web import effects
from rounds.web.identity import Conn, Reader, Running

router = APIRouter(prefix="/api/batches", tags=["batches"])


class Decision(BaseModel):
    """Accept or reject; `attempt` is the one that the reviewer had on screen."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["accept", "reject"]
    note: str = Field(default="", max_length=2000)
    attempt: int | None = None


@router.get("")
def listing(conn: Conn, reader: Reader) -> list[dict[str, Any]]:
    """Return the batches that the reader may see, newest first."""
    return views.listing(conn, reader)


@router.get("/{batch_id}")
def show(batch_id: int, conn: Conn, reader: Reader) -> dict[str, Any]:
    """Return a batch's figures; the seed of its draw only once it was used."""
    return views.document(conn, batch_id, reader)


@router.post("/{batch_id}/decision")
def decide(
    batch_id: int, body: Decision, conn: Conn, reader: Reader, running: Running, later: BackgroundTasks
) -> dict[str, Any]:
    """Accept or reject a batch whose audit is complete."""
    batch = take(conn, batch_id, reader, body)
    if batch.state is BatchState.REJECTED:
        later.add_task(effects.ask_for_tasks, running.settings, batch_id)
    return views.document(conn, batch_id, reader)


def take(conn: Connection, batch_id: int, reviewer: Person, body: Decision) -> Batch:
    """Keep a decision in one transaction; raise IllegalBatchMove when another attempt was on screen."""
    reviewer.require(Role.QA)
    with conn.transaction():
        batch = service.lock(conn, batch_id)
        if body.attempt not in (None, batch.attempt):
            raise IllegalBatchMove(f"batch {batch_id} has moved on since you opened it: load it again")
        return service.decide(conn, batch_id, reviewer, body.verdict, body.note.strip())
