"""Quarantined scans in the database: held, released or discarded, and whether that was carried out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rounds.cases.model import Refused
from rounds.db import Connection
from rounds.trail.store import record

COLUMNS = (
    "id, series, site, reason, detail, file_count, state, facts, decided_by, decided_at, decision, settled, case_id,"
    " created_at"
)
STATES = ("held", "released", "discarded")
PAGE = 100


class UnknownScan(Exception):
    """There is no such scan in quarantine."""


class AlreadyDecided(Exception):
    """Somebody has released or discarded the scan already."""


@dataclass(frozen=True)
class Quarantined:
    """A refused scan; its files are named in the operator's own folder, never here."""

    id: int
    series: str
    site: str
    reason: str
    detail: str
    file_count: int
    state: str
    facts: Mapping[str, Any]
    decided_by: str | None
    decided_at: datetime | None
    decision: str
    settled: bool
    case_id: int | None
    created_at: datetime


def hold(conn: Connection, refused: Refused, actor: str) -> Quarantined:
    """Hold a refused scan back in the caller's transaction; the same scan refused again adds nothing.

    A scan that was decided about comes back only when it is refused with more files than it had then.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{refused.series}:{refused.reason}",))
    before = conn.execute(
        f"SELECT {COLUMNS} FROM quarantine WHERE series = %s AND reason = %s ORDER BY file_count DESC, id DESC LIMIT 1",
        (refused.series, refused.reason),
    ).fetchone()
    if before is not None and (known := Quarantined(**before)).file_count >= refused.files:
        return known
    if before is not None and before["state"] == "held":
        return _grown(conn, int(before["id"]), refused, actor)
    key = f"{refused.series}:{refused.reason}" + (f":{refused.files}" if before is not None else "")
    row = conn.execute(
        f"""
        INSERT INTO quarantine (series_key, series, site, reason, detail, file_count, facts)
        VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING {COLUMNS}
        """,
        (
            key,
            refused.series,
            refused.site,
            refused.reason,
            refused.detail,
            refused.files,
            Jsonb(refused.facts),
        ),
    ).fetchone()
    made = _found(row)
    detail = {"detail": refused.detail, "files": refused.files}
    record(conn, actor, "quarantine", "scan", made.id, refused.reason, detail)
    return made


def _grown(conn: Connection, number: int, refused: Refused, actor: str) -> Quarantined:
    row = conn.execute(
        f"UPDATE quarantine SET detail = %s, file_count = %s, facts = %s WHERE id = %s RETURNING {COLUMNS}",
        (refused.detail, refused.files, Jsonb(refused.facts), number),
    ).fetchone()
    detail = {"detail": refused.detail, "files": refused.files}
    record(conn, actor, "quarantine", "scan", number, refused.reason, detail)
    return _found(row)


def get(conn: Connection, number: int) -> Quarantined:
    """Return a scan; raise UnknownScan."""
    row = conn.execute(f"SELECT {COLUMNS} FROM quarantine WHERE id = %s", (number,)).fetchone()
    if row is None:
        raise UnknownScan(f"there is no scan {number} in quarantine: see `rounds quarantine list`")
    return Quarantined(**row)


def listing(conn: Connection, state: str = "held", before: int | None = None) -> list[Quarantined]:
    """Return up to a page of scans in a state with numbers below `before`, newest first."""
    found = conn.execute(
        f"""
        SELECT {COLUMNS} FROM quarantine
        WHERE state = %(state)s AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(page)s
        """,
        {"state": state, "before": before, "page": PAGE},
    )
    return [Quarantined(**row) for row in found]


def counts(conn: Connection) -> dict[str, int]:
    """Return how many scans are in each state."""
    found = {
        row["state"]: int(row["n"])
        for row in conn.execute("SELECT state, count(*) AS n FROM quarantine GROUP BY state")
    }
    return {state: found.get(state, 0) for state in STATES}


def released_over(conn: Connection, series: str) -> dict[str, int]:
    """Return the reasons over which this series was released, each with the most files it had then."""
    found = conn.execute(
        "SELECT reason, max(file_count) AS files FROM quarantine WHERE series = %s AND state = 'released'"
        " GROUP BY reason",
        (series,),
    )
    return {row["reason"]: int(row["files"]) for row in found}


def decide(conn: Connection, number: int, state: str, actor: str, why: str) -> Quarantined:
    """Release or discard a held scan in the caller's transaction; raise UnknownScan or AlreadyDecided."""
    row = conn.execute(
        f"""
        UPDATE quarantine SET state = %s, decided_by = %s, decided_at = now(), decision = %s
        WHERE id = %s AND state = 'held' RETURNING {COLUMNS}
        """,
        (state, actor, why, number),
    ).fetchone()
    if row is None:
        found = get(conn, number)
        raise AlreadyDecided(f"scan {number} is {found.state} already: load the page again")
    decided = Quarantined(**row)
    action = {"released": "release", "discarded": "discard"}[state]
    record(conn, actor, action, "scan", number, why, {"over": decided.reason})
    return decided


def settle(conn: Connection, number: int, actor: str, outcome: str, case_id: int | None = None) -> None:
    """Write down what came of a decision, in the caller's transaction; the second time nothing happens."""
    row = conn.execute(
        "UPDATE quarantine SET settled = true, case_id = %s WHERE id = %s AND NOT settled AND state <> 'held'"
        " RETURNING id",
        (case_id, number),
    ).fetchone()
    if row is not None:
        record(conn, actor, "settle", "scan", number, outcome, {"case": case_id} if case_id else {})


def hold_again(conn: Connection, number: int, actor: str, why: str) -> None:
    """Take a release back that could not be carried out, in the caller's transaction."""
    row = conn.execute(
        """
        UPDATE quarantine SET state = 'held', decided_by = NULL, decided_at = NULL, decision = ''
        WHERE id = %s AND state = 'released' AND NOT settled RETURNING id
        """,
        (number,),
    ).fetchone()
    if row is not None:
        record(conn, actor, "hold_again", "scan", number, why)


def unsettled(conn: Connection) -> list[int]:
    """Return the scans whose decision waits to be carried out."""
    found = conn.execute("SELECT id FROM quarantine WHERE state <> 'held' AND NOT settled ORDER BY id")
    return [int(row["id"]) for row in found]


def _found(row: Mapping[str, Any] | None) -> Quarantined:
    assert row is not None  # noqa: S101 (RETURNING)
    return Quarantined(**row)
