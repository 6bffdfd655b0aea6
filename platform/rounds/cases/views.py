"""The cases as a list: where each came from, its geometry and where its labels stand. Nothing of the patient."""

from typing import Any

from rounds.db import Connection

PAGE = 100


def listing(conn: Connection, before: int | None) -> list[dict[str, Any]]:
    """Return up to a page of cases with ids below `before`, newest first; spacing (z, y, x) in mm."""
    return conn.execute(
        """
        SELECT c.id, c.site, c.manufacturer, c.scanner, c.source_slices, c.shape, c.spacing, c.released_over,
               c.replaces, c.chosen, c.choice,
               ARRAY(SELECT scheme || ': ' || stage FROM labels l WHERE l.case_id = c.id ORDER BY scheme) AS stages,
               ARRAY(SELECT l.id FROM labels l WHERE l.case_id = c.id ORDER BY l.scheme) AS labels
        FROM cases c WHERE %(before)s::bigint IS NULL OR c.id < %(before)s ORDER BY c.id DESC LIMIT %(page)s
        """,
        {"before": before, "page": PAGE},
    ).fetchall()


def count(conn: Connection) -> int:
    """Return how many cases there are."""
    row = conn.execute("SELECT count(*) AS n FROM cases").fetchone()
    return int(row["n"]) if row else 0


def held(conn: Connection) -> list[dict[str, Any]]:
    """Return quarantined scans that nobody has dealt with, counted by site and reason."""
    return conn.execute(
        "SELECT site, reason, count(*) AS n FROM quarantine WHERE state = 'held'"
        " GROUP BY site, reason ORDER BY n DESC, site"
    ).fetchall()
