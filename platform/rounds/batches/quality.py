"""What a batch's checks and audits say about its quality."""

from dataclasses import asdict, dataclass
from typing import Any

from rounds.audits.model import upper_bound
from rounds.batches import store
from rounds.batches.store import Batch
from rounds.checks.model import Verdict, kappa
from rounds.db import Connection
from rounds.labels import store as labels


@dataclass(frozen=True)
class AuditResult:
    """The sample of the current attempt; the bound is on defective labels in the batch, 95 % one-sided.

    `failed` counts drawn labels that a senior failed at any time in this attempt, revised since or not; `lost` those
    that were withdrawn before a senior saw them: the bound takes them for defective, so that nobody can better a
    batch by withdrawing what was drawn.
    """

    drawn: int
    of: int
    failed: int
    audited: int
    lost: int
    upper_bound_95: int | None


def audit_result(conn: Connection, batch: Batch) -> AuditResult:
    """Return what the audit of the batch's current attempt is worth so far."""
    draw = store.draw_of(conn, batch.id, batch.attempt)
    row = conn.execute(
        """
        SELECT count(DISTINCT a.label_id) AS audited,
               count(DISTINCT a.label_id) FILTER (WHERE a.verdict = 'fail') AS failed,
               count(DISTINCT d.label_id) FILTER (WHERE a.id IS NULL AND l.stage = 'withdrawn') AS lost
        FROM drawn_labels d JOIN labels l ON l.id = d.label_id
        LEFT JOIN audits a ON (a.batch_id, a.attempt, a.label_id) = (d.batch_id, d.attempt, d.label_id)
        WHERE d.batch_id = %s AND d.attempt = %s
        """,
        (batch.id, batch.attempt),
    ).fetchone()
    assert row is not None  # noqa: S101 (an aggregate)
    drawn, population = len(draw.labels), draw.population or 0
    complete = drawn > 0 and row["audited"] + row["lost"] == drawn
    bound = upper_bound(population, drawn, row["failed"] + row["lost"]) if complete else None
    return AuditResult(drawn, population, row["failed"], row["audited"], row["lost"], bound)


def pass_rates(conn: Connection, batch_id: int) -> list[float]:
    """Return the share of labels that both checkers passed, per round; the first is the first-pass rate."""
    found = conn.execute(
        """
        SELECT round, avg(passed::int)::float8 AS rate FROM (
            SELECT c.label_id, c.round, bool_and(c.verdict = 'pass') AS passed
            FROM checks c JOIN labels l ON l.id = c.label_id
            WHERE l.batch_id = %s GROUP BY c.label_id, c.round HAVING count(*) = 2
        ) AS decided GROUP BY round ORDER BY round
        """,
        (batch_id,),
    )
    return [row["rate"] for row in found]


def agreement(conn: Connection, batch_id: int) -> float | None:
    """Return Cohen's kappa between the two checkers over all rounds of the batch."""
    found = conn.execute(
        """
        SELECT a.verdict AS first, b.verdict AS second
        FROM checks a JOIN checks b ON (a.label_id, a.round) = (b.label_id, b.round) AND a.checker_id < b.checker_id
        JOIN labels l ON l.id = a.label_id WHERE l.batch_id = %s
        """,
        (batch_id,),
    )
    return kappa((Verdict(row["first"]), Verdict(row["second"])) for row in found)


def summary(conn: Connection, batch_id: int) -> dict[str, Any]:
    """Return the batch as `rounds batch show --json` prints it."""
    batch = store.get(conn, batch_id)
    rates = pass_rates(conn, batch_id)
    return {
        "batch": batch.id,
        "scheme": batch.scheme,
        "state": str(batch.state),
        "attempt": batch.attempt,
        "labels": {str(stage): count for stage, count in labels.stages(conn, batch_id).items()},
        "first_pass_rate": rates[0] if rates else None,
        "pass_rates": rates,
        "kappa": agreement(conn, batch_id),
        "audit": asdict(audit_result(conn, batch)),
    }


def by_batch(conn: Connection) -> list[dict[str, Any]]:
    """Return one row a batch: first-pass rate, pass rate per round, kappa and what the audit is worth."""
    rows = []
    for batch in reversed(store.everything(conn)):
        found = summary(conn, batch.id)
        audit = found.pop("audit")
        found.pop("labels")
        rows.append({**found, **{name: audit[name] for name in ("drawn", "of", "failed", "upper_bound_95")}})
    return rows


def by_annotator(conn: Connection) -> list[dict[str, Any]]:
    """Return one row an annotator: labels, first-pass rate, revisions a label, seconds of first submissions."""
    return conn.execute(
        """
        SELECT p.name AS annotator, count(*) AS labels, avg(f.passed::int)::float8 AS first_pass_rate,
               avg(l.revisions)::float8 AS revisions_per_label,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY l.seconds) AS median_seconds
        FROM (SELECT person_id, label_id, count(*) AS revisions, (array_agg(seconds ORDER BY number))[1] AS seconds
              FROM revisions WHERE person_id IS NOT NULL GROUP BY person_id, label_id) AS l
        JOIN people p ON p.id = l.person_id
        LEFT JOIN (SELECT label_id, bool_and(verdict = 'pass') AS passed FROM checks WHERE round = 1
                   GROUP BY label_id HAVING count(*) = 2) AS f USING (label_id)
        GROUP BY p.id, p.name ORDER BY p.id
        """
    ).fetchall()


def by_checker(conn: Connection) -> list[dict[str, Any]]:
    """Return one row a checker: verdicts, share of failed, and how often the other one disagreed."""
    return conn.execute(
        """
        SELECT p.name AS checker, count(*) AS verdicts, avg((c.verdict = 'fail')::int)::float8 AS failed_share,
               avg((c.verdict <> o.verdict)::int)::float8 AS disagreed_share
        FROM checks c JOIN people p ON p.id = c.checker_id
        LEFT JOIN checks o ON (o.label_id, o.round) = (c.label_id, c.round) AND o.checker_id <> c.checker_id
        GROUP BY p.id, p.name ORDER BY p.id
        """
    ).fetchall()
