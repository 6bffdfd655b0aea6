"""What people do to a label outside of checking: submit, reassign, withdraw."""

from collections.abc import Mapping
from typing import Any

from rounds.batches import service as batches
from rounds.db import Connection
from rounds.labels import store
from rounds.labels.model import Action, IllegalMove, Stage
from rounds.labels.store import Label
from rounds.people.model import Person, Role
from rounds.trail.store import record


class NotAssigned(Exception):
    """Somebody else's work on a label does not count."""


def submit(
    conn: Connection,
    label_id: int,
    annotator: Person,
    mask: str,
    *,
    parent_id: int | None = None,
    seconds: float | None = None,
    effort: Mapping[str, Any] | None = None,
) -> Label:
    """Take a new revision from the assignee and send it to be checked, in the caller's transaction."""
    label = store.get(conn, label_id, lock=True)
    if label.annotator_id != annotator.id:
        raise NotAssigned(f"label {label_id} is not assigned to {annotator.email}")
    if label.stage not in (Stage.ANNOTATING, Stage.REVISING):
        raise IllegalMove(f"label {label_id} is {label.stage}: nothing is to be submitted")
    revision = store.add_revision(
        conn, label_id, mask, person_id=annotator.id, parent_id=parent_id, seconds=seconds, effort=effort
    )
    return store.move(
        conn, label, Action.SUBMIT, annotator.actor, revision_id=revision.id, round=label.round + 1
    )


def reassign(conn: Connection, label_id: int, annotator: Person, actor: str, reason: str) -> None:
    """Give a label that is being drawn to another annotator."""
    annotator.require(Role.ANNOTATOR)
    label = store.get(conn, label_id, lock=True)
    conn.execute("UPDATE labels SET annotator_id = %s WHERE id = %s", (annotator.id, label_id))
    detail = {"from": label.annotator_id, "to": annotator.id}
    record(conn, actor, "reassign", "label", label_id, reason, detail)


def withdraw(conn: Connection, label_id: int, actor: str, reason: str) -> Label:
    """Take a label out of the cycle for good; its revisions and old dataset versions stay."""
    if not reason.strip():
        raise IllegalMove("a label is withdrawn with a reason: say why")
    batch_id = store.get(conn, label_id).batch_id
    if batch_id is not None:
        batches.lock(conn, batch_id)
    label = store.move(conn, store.get(conn, label_id, lock=True), Action.WITHDRAW, actor, reason)
    if batch_id is not None:
        batches.advance(conn, batch_id, actor)
    return label
