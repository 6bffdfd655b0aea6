"""Writing to the trail and reading it back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rounds.db import Connection
from rounds.trail.model import GENESIS, TrailRow

TEXT_ROWS = """
    SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at, actor, action,
           subject, subject_id, reason, detail::text AS detail, previous, hash
    FROM trail ORDER BY id
"""


@dataclass(frozen=True)
class Event:
    """One event as a person reads it."""

    at: datetime
    actor: str
    action: str
    reason: str
    detail: dict[str, Any]


def record(
    conn: Connection,
    actor: str,
    action: str,
    subject: str,
    subject_id: int | str,
    reason: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Append one event within the caller's transaction; the database numbers, dates and chains it."""
    conn.execute(
        """
        INSERT INTO trail (actor, action, subject, subject_id, reason, detail)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (actor, action, subject, str(subject_id), reason, Jsonb(detail or {})),
    )


def rows(conn: Connection) -> Iterator[TrailRow]:
    """Yield every row in order, as the text that was hashed."""
    with conn.transaction(), conn.cursor("trail_rows") as cursor:
        cursor.execute(TEXT_ROWS)
        for row in cursor:
            yield TrailRow(**row)


def head(conn: Connection) -> str:
    """Return the hash of the newest row: whoever keeps it elsewhere can later show that nothing was cut off."""
    row = conn.execute("SELECT hash FROM trail ORDER BY id DESC LIMIT 1").fetchone()
    return str(row["hash"]) if row else GENESIS


def history(conn: Connection, subject: str, subject_id: int | str) -> list[Event]:
    """Return what happened to one thing, oldest first."""
    found = conn.execute(
        "SELECT at, actor, action, reason, detail FROM trail WHERE subject = %s AND subject_id = %s ORDER BY id",
        (subject, str(subject_id)),
    )
    return [Event(**row) for row in found]
