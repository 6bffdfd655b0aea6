"""The hash chain of the trail: how one row's hash follows from its content and the row before it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

GENESIS = "0" * 64
SEPARATOR = "\x1f"


@dataclass(frozen=True)
class TrailRow:
    """One event, its fields as the text that was hashed."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    subject_id: str
    reason: str
    detail: str
    previous: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """What a walk along the chain found; `broken_at` is the first row that does not follow."""

    rows: int
    head: str
    broken_at: int | None


def row_hash(row: TrailRow) -> str:
    """Return the SHA-256 that the row should carry."""
    fields = (
        str(row.id),
        row.at,
        row.actor,
        row.action,
        row.subject,
        row.subject_id,
        row.reason,
        row.detail,
        row.previous,
    )
    return hashlib.sha256(SEPARATOR.join(fields).encode()).hexdigest()


def verify(rows: Iterable[TrailRow]) -> Verification:
    """Walk the chain from its start; stop at the first edited, missing or inserted row."""
    head, count = GENESIS, 0
    for row in rows:
        if row.id != count + 1 or row.previous != head or row.hash != row_hash(row):
            return Verification(count, head, row.id)
        head, count = row.hash, count + 1
    return Verification(count, head, None)
