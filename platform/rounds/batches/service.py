"""Opening, advancing and deciding a batch; every function runs within the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle
from typing import Literal

from psycopg.types.json import Jsonb

from rounds.audits import model as sampling
from rounds.batches import quality, store
from rounds.batches.model import BatchState, IllegalBatchMove, next_state
from rounds.batches.store import Batch
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.labels.model import Action, Stage
from rounds.people.model import Person, Role
from rounds.trail.store import record


class NothingReady(Exception):
    """No label waits for a batch."""


class WrongGroup(Exception):
    """The batch needs annotators of Group A and exactly two checkers of Group B."""


def open_batch(
    conn: Connection,
    scheme: str,
    size: int,
    annotators: Sequence[Person],
    checkers: Sequence[Person],
    share: float,
    actor: str,
    every_series: bool = False,
) -> Batch:
    """Take up to `size` ready labels, deal them out to Group A in turn and seal the audit's seed.

    Only the chosen case of each study is drawn, unless `every_series` is asked for. Raises NothingReady when no label
    waits and WrongGroup when the people do not fit their parts.
    """
    if not annotators:
        raise WrongGroup("a batch needs at least one annotator: `rounds people add ... --role annotator`")
    if len({person.id for person in checkers}) != 2:
        raise WrongGroup("a batch needs exactly two checkers: `rounds people add ... --role checker`")
    both = {person.email for person in annotators} & {person.email for person in checkers}
    if both:
        raise WrongGroup(f"{', '.join(sorted(both))} cannot annotate and check the same batch")
    waiting = labels.ready(conn, scheme, size, every_series)
    if not waiting:
        kind = "case" if every_series else "case that is the series to read of its study"
        raise NothingReady(f"no {kind} waits to be labelled under {scheme}: ingest scans first")
    batch = store.add(conn, scheme, (checkers[0].id, checkers[1].id), share, actor)
    for label, annotator in zip(waiting, cycle(annotators), strict=False):
        labels.move(conn, label, Action.ASSIGN, actor, batch_id=batch.id, annotator_id=annotator.id)
    return batch


def start(conn: Connection, batch_id: int, actor: str) -> None:
    """Say that the batch's tasks stand in Label Studio."""
    batch = lock(conn, batch_id)
    if batch.state is BatchState.OPEN:
        store.move(conn, batch, BatchState.ANNOTATING, actor)
        advance(conn, batch_id, actor)


def lock(conn: Connection, batch_id: int) -> Batch:
    """Hold the batch until the transaction ends: whoever moves several of its labels takes this first."""
    return store.get(conn, batch_id, lock=True)


def advance(conn: Connection, batch_id: int, actor: str) -> Batch:
    """Carry the batch as far as its labels and audits have earned, drawing the sample on the way."""
    batch = lock(conn, batch_id)
    while True:
        stages = labels.stages(conn, batch_id)
        goal = next_state(batch.state, stages, len(audits_left(conn, batch)))
        if goal is batch.state:
            return batch
        if goal is BatchState.AUDITING:
            _draw(conn, batch, actor)
        batch = store.move(conn, batch, goal, actor)


def audits_left(conn: Connection, batch: Batch) -> list[int]:
    """Return the drawn labels whose standing revision no senior has passed in this attempt."""
    found = conn.execute(
        """
        SELECT d.label_id FROM drawn_labels d JOIN labels l ON l.id = d.label_id
        WHERE d.batch_id = %s AND d.attempt = %s AND l.stage <> 'withdrawn' AND NOT EXISTS (
            SELECT FROM audits a WHERE a.label_id = d.label_id AND a.attempt = d.attempt
            AND a.revision_id = l.revision_id AND a.verdict = 'pass')
        ORDER BY d.label_id
        """,
        (batch.id, batch.attempt),
    )
    return [row["label_id"] for row in found]


def decide(
    conn: Connection, batch_id: int, reviewer: Person, verdict: Literal["accept", "reject"], note: str
) -> Batch:
    """Accept the batch, or reject it: it then goes back to checking whole, under tightened inspection."""
    reviewer.require(Role.QA)
    batch = lock(conn, batch_id)
    if batch.state is not BatchState.DECIDING:
        raise IllegalBatchMove(
            f"batch {batch_id} is {batch.state}: it is decided once every drawn label is audited"
        )
    if verdict == "reject" and not note.strip():
        raise IllegalBatchMove("a batch is rejected with a note: say what has to become better")
    shown = asdict(quality.audit_result(conn, batch))
    conn.execute(
        "INSERT INTO decisions (batch_id, attempt, reviewer_id, verdict, note, shown) VALUES (%s, %s, %s, %s, %s, %s)",
        (batch_id, batch.attempt, reviewer.id, verdict, note, Jsonb(shown)),
    )
    record(conn, reviewer.actor, verdict, "batch", batch_id, note, {"attempt": batch.attempt, **shown})
    if verdict == "accept":
        batch = store.move(conn, batch, BatchState.ACCEPTED, reviewer.actor)
        _move_all(conn, batch, Action.ACCEPT, reviewer.actor)
        return batch
    share, _ = store.sealed_draw(conn, batch_id, batch.attempt)
    store.seal(conn, batch_id, batch.attempt + 1, sampling.tightened(share), reviewer.actor)
    batch = store.move(conn, batch, BatchState.REJECTED, reviewer.actor, attempt=batch.attempt + 1)
    _move_all(conn, batch, Action.REJECT, reviewer.actor)
    return batch


def _draw(conn: Connection, batch: Batch, actor: str) -> None:
    share, seed = store.sealed_draw(conn, batch.id, batch.attempt)
    passed = [label.id for label in labels.of_batch(conn, batch.id) if label.stage is Stage.PASSED]
    drawn = sampling.draw(passed, share, seed)
    store.keep_draw(conn, batch.id, batch.attempt, len(passed), drawn)
    detail = {"attempt": batch.attempt, "seed": seed, "population": len(passed), "drawn": list(drawn)}
    record(conn, actor, "draw", "batch", batch.id, detail=detail)


def _move_all(conn: Connection, batch: Batch, action: Action, actor: str) -> None:
    for label in labels.of_batch(conn, batch.id):
        if label.stage is Stage.PASSED:
            again = 1 if action is Action.REJECT else 0
            labels.move(conn, label, action, actor, round=label.round + again)
