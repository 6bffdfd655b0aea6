"""Batches, their checkers and their sealed draws in the database."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from rounds.audits.model import commitment
from rounds.batches.model import BatchState, IllegalBatchMove
from rounds.db import Connection
from rounds.trail.store import record


class UnknownBatch(Exception):
    """There is no such batch."""


@dataclass(frozen=True)
class Batch:
    """A batch and where it stands; `attempt` counts how often it goes to be decided."""

    id: int
    scheme: str
    state: BatchState
    attempt: int
    created_at: datetime


@dataclass(frozen=True)
class Draw:
    """The sample of one attempt; the seed stays sealed (None) until the draw."""

    share: float
    commitment: str
    seed: str | None
    population: int | None
    labels: tuple[int, ...]


def get(conn: Connection, batch_id: int, lock: bool = False) -> Batch:
    """Return a batch, with `lock` held until the transaction ends; raise UnknownBatch."""
    row = conn.execute(
        "SELECT id, scheme, state, attempt, created_at FROM batches WHERE id = %s"
        + (" FOR UPDATE" if lock else ""),
        (batch_id,),
    ).fetchone()
    if row is None:
        raise UnknownBatch(f"there is no batch {batch_id}: see `rounds batch show`")
    return Batch(**{**row, "state": BatchState(row["state"])})


def everything(conn: Connection) -> list[Batch]:
    """Return all batches, newest first."""
    found = conn.execute("SELECT id, scheme, state, attempt, created_at FROM batches ORDER BY id DESC")
    return [Batch(**{**row, "state": BatchState(row["state"])}) for row in found]


def add(conn: Connection, scheme: str, checkers: tuple[int, int], share: float, actor: str) -> Batch:
    """Make a batch with its two checkers and a sealed seed for its first draw."""
    row = conn.execute("INSERT INTO batches (scheme) VALUES (%s) RETURNING id", (scheme,)).fetchone()
    assert row is not None  # noqa: S101 (RETURNING)
    batch_id = int(row["id"])
    for checker in checkers:
        conn.execute("INSERT INTO batch_checkers (batch_id, person_id) VALUES (%s, %s)", (batch_id, checker))
    record(conn, actor, "open", "batch", batch_id, detail={"scheme": scheme, "checkers": list(checkers)})
    seal(conn, batch_id, 1, share, actor)
    return get(conn, batch_id)


def checkers(conn: Connection, batch_id: int) -> tuple[int, ...]:
    """Return the ids of the two checkers."""
    found = conn.execute(
        "SELECT person_id FROM batch_checkers WHERE batch_id = %s ORDER BY person_id", (batch_id,)
    )
    return tuple(row["person_id"] for row in found)


def seal(conn: Connection, batch_id: int, attempt: int, share: float, actor: str) -> None:
    """Choose the seed of a coming draw and write its commitment to the trail, long before anyone could want it."""
    seed = secrets.token_hex(16)
    conn.execute(
        "INSERT INTO draws (batch_id, attempt, share, seed, commitment) VALUES (%s, %s, %s, %s, %s)",
        (batch_id, attempt, share, seed, commitment(seed)),
    )
    detail = {"attempt": attempt, "share": share, "commitment": commitment(seed)}
    record(conn, actor, "seal", "batch", batch_id, detail=detail)


def sealed_draw(conn: Connection, batch_id: int, attempt: int) -> tuple[float, str]:
    """Return share and seed of a draw that is about to happen (for the draw itself, never for a page)."""
    row = conn.execute(
        "SELECT share, seed FROM draws WHERE batch_id = %s AND attempt = %s", (batch_id, attempt)
    ).fetchone()
    assert row is not None  # noqa: S101 (sealed when the attempt began)
    return float(row["share"]), str(row["seed"])


def keep_draw(
    conn: Connection, batch_id: int, attempt: int, population: int, labels: tuple[int, ...]
) -> None:
    """Write down what was drawn; the database lets it happen once."""
    conn.execute(
        "UPDATE draws SET population = %s, drawn_at = now() WHERE batch_id = %s AND attempt = %s",
        (population, batch_id, attempt),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO drawn_labels (batch_id, attempt, label_id) VALUES (%s, %s, %s)",
            [(batch_id, attempt, label) for label in labels],
        )


def draw_of(conn: Connection, batch_id: int, attempt: int) -> Draw:
    """Return the draw as anybody may see it: the seed only once it was used."""
    row = conn.execute(
        """
        SELECT share, commitment, CASE WHEN drawn_at IS NOT NULL THEN seed END AS seed, population,
               ARRAY(SELECT label_id FROM drawn_labels l WHERE (l.batch_id, l.attempt) = (d.batch_id, d.attempt)
                     ORDER BY label_id) AS labels
        FROM draws d WHERE batch_id = %s AND attempt = %s
        """,
        (batch_id, attempt),
    ).fetchone()
    if row is None:
        raise UnknownBatch(f"batch {batch_id} has no draw for attempt {attempt}")
    return Draw(row["share"], row["commitment"], row["seed"], row["population"], tuple(row["labels"]))


def move(conn: Connection, batch: Batch, state: BatchState, actor: str, attempt: int | None = None) -> Batch:
    """Carry a batch into its next state and write it to the trail."""
    row = conn.execute(
        "UPDATE batches SET state = %s, attempt = %s WHERE id = %s AND state = %s RETURNING id",
        (state, attempt or batch.attempt, batch.id, batch.state),
    ).fetchone()
    if row is None:
        raise IllegalBatchMove(f"batch {batch.id} is no longer {batch.state}: load it again")
    record(conn, actor, "move", "batch", batch.id, detail={"from": batch.state, "to": state})
    return get(conn, batch.id)
