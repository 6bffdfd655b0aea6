"""The cases as lists: where each came from, its geometry, whether it is read. Nothing of the patient."""

from typing import Any

from rounds.cases.choosing import BY_RULE
from rounds.db import Connection

PAGE = 100
REPLACED = "replaced AS (SELECT unnest(replaces) AS id, max(id) AS by FROM cases GROUP BY 1)"
"""Which cases a later delivery of their series replaced, and by which case."""


def listing(conn: Connection, before: int | None) -> list[dict[str, Any]]:
    """Return up to a page of cases with ids below `before`, newest first; spacing (z, y, x) in mm.

    `series` is how many cases of its study there are to choose from, `read` the one that is chosen; `by_person`
    unless the rule chose it.
    """
    return conn.execute(
        f"""
        WITH {REPLACED}
        SELECT c.id, c.site, c.manufacturer, c.scanner, c.source_slices, c.shape, c.spacing, c.released_over,
               c.replaces, c.choice, c.chosen_by, c.chosen_by NOT LIKE %(rule)s AS by_person,
               r.by AS replaced_by, coalesce(s.series, 1) AS series,
               CASE WHEN c.chosen THEN c.id ELSE s.read END AS read,
               ARRAY(SELECT scheme || ': ' || stage FROM labels l WHERE l.case_id = c.id ORDER BY scheme) AS stages,
               ARRAY(SELECT l.id FROM labels l WHERE l.case_id = c.id ORDER BY l.scheme) AS labels
        FROM cases c LEFT JOIN replaced r USING (id) LEFT JOIN LATERAL (
            SELECT count(*) AS series, max(o.id) FILTER (WHERE o.chosen) AS read FROM cases o
            WHERE o.patient_id = c.patient_id AND o.study = c.study AND o.id NOT IN (SELECT id FROM replaced)
        ) s ON c.study IS NOT NULL
        WHERE %(before)s::bigint IS NULL OR c.id < %(before)s ORDER BY c.id DESC LIMIT %(page)s
        """,  # noqa: S608 (a constant)
        {"before": before, "page": PAGE, "rule": f"{BY_RULE}%"},
    ).fetchall()


def study(conn: Connection, case_id: int) -> list[dict[str, Any]]:
    """Return the cases of a case's study, itself too, oldest first; none where there is no such case.

    `height` and `step` are in mm, as scanned; `labels` have `id`, `scheme` and `stage`; `begun` counts those that
    somebody works on or has.
    """
    return conn.execute(
        f"""
        WITH {REPLACED}
        SELECT c.id, c.site, c.manufacturer, c.scanner, c.source_slices, c.source_spacing[1] AS step, c.sharpness,
               c.source_slices * c.source_spacing[1] AS height, c.shape, c.chosen, c.choice, c.chosen_by,
               c.chosen_by NOT LIKE %(rule)s AS by_person,
               r.by AS replaced_by, coalesce(l.labels, '[]') AS labels, coalesce(l.begun, 0) AS begun
        FROM cases c LEFT JOIN replaced r USING (id) LEFT JOIN LATERAL (
            SELECT jsonb_agg(jsonb_build_object('id', id, 'scheme', scheme, 'stage', stage) ORDER BY scheme) AS labels,
                   count(*) FILTER (WHERE stage NOT IN ('ready', 'withdrawn')) AS begun
            FROM labels WHERE case_id = c.id
        ) l ON true
        WHERE c.id = %(case)s
            OR (c.patient_id, c.study) = (SELECT patient_id, study FROM cases WHERE id = %(case)s)
        ORDER BY c.id
        """,  # noqa: S608 (a constant)
        {"case": case_id, "rule": f"{BY_RULE}%"},
    ).fetchall()


def choices(conn: Connection, case_ids: list[int]) -> list[dict[str, Any]]:
    """Return what the trail tells of the choice between these cases, oldest first."""
    return conn.execute(
        """
        SELECT at, actor, action, subject_id AS "case", reason, detail FROM trail
        WHERE subject = 'case' AND subject_id = ANY (%s) AND action IN ('choose', 'keep_choice') ORDER BY id
        """,
        ([str(case_id) for case_id in case_ids],),
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
