"""Back-to-back checking: taking a verdict, and what a checker may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rounds.batches import service as batches
from rounds.checks.model import Finding, Reason, Verdict, outcome, validate
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.labels.model import IllegalMove, Stage
from rounds.labels.store import Label
from rounds.people.model import NotAllowed, Person, Role


@dataclass(frozen=True)
class QueuedCheck:
    """A label that waits for this checker's verdict; says nothing of who drew it or what the other said."""

    label_id: int
    batch_id: int
    case_id: int
    scheme: str
    round: int


@dataclass(frozen=True)
class SeenVerdict:
    """A verdict as somebody may see it."""

    round: int
    checker_id: int
    finding: Finding


def check(conn: Connection, label_id: int, checker: Person, finding: Finding) -> Label:
    """Take one verdict on the standing revision; the second one of a round decides, within this transaction."""
    checker.require(Role.CHECKER)
    batch_id = labels.get(conn, label_id).batch_id
    if batch_id is not None:
        batches.lock(conn, batch_id)
    label = labels.get(conn, label_id, lock=True)
    if batch_id is None or label.stage is not Stage.CHECKING:
        raise IllegalMove(f"label {label_id} is {label.stage}: there is nothing to check")
    validate(finding, slice_count(conn, label.case_id))
    _keep(conn, label, checker, finding)
    verdicts = conn.execute(
        "SELECT verdict FROM checks WHERE label_id = %s AND round = %s", (label_id, label.round)
    ).fetchall()
    action = outcome([Verdict(row["verdict"]) for row in verdicts])
    if action is None:
        return label
    label = labels.move(conn, label, action, checker.actor)
    batches.advance(conn, batch_id, checker.actor)
    return label


def queue(conn: Connection, checker: Person) -> list[QueuedCheck]:
    """Return what waits for this checker, oldest batch first."""
    found = conn.execute(
        """
        SELECT l.id AS label_id, l.batch_id, l.case_id, l.scheme, l.round
        FROM labels l JOIN batch_checkers b USING (batch_id)
        WHERE b.person_id = %s AND l.stage = 'checking' AND NOT EXISTS (
            SELECT FROM checks c WHERE c.label_id = l.id AND c.round = l.round AND c.checker_id = b.person_id)
        ORDER BY l.batch_id, l.id
        """,
        (checker.id,),
    )
    return [QueuedCheck(**row) for row in found]


def visible(conn: Connection, label_id: int, reader: Person) -> list[SeenVerdict]:
    """Return the verdicts that `reader` may see: his own, and those of rounds in which both are in."""
    found = conn.execute(
        """
        SELECT round, checker_id, verdict, reasons, slices, note FROM checks c
        WHERE label_id = %(label)s AND (checker_id = %(reader)s OR
            (SELECT count(*) FROM checks o WHERE o.label_id = c.label_id AND o.round = c.round) = 2)
        ORDER BY round, checker_id
        """,
        {"label": label_id, "reader": reader.id},
    )
    return [SeenVerdict(row["round"], row["checker_id"], finding_of(row)) for row in found]


def slice_count(conn: Connection, case_id: int) -> int:
    """Return the number of slices of the case's reading volume."""
    row = conn.execute("SELECT shape[1] AS n FROM cases WHERE id = %s", (case_id,)).fetchone()
    assert row is not None  # noqa: S101 (a foreign key)
    return int(row["n"])


def finding_of(row: Mapping[str, Any]) -> Finding:
    """Read a finding from a row of checks or audits."""
    reasons = tuple(Reason(reason) for reason in row["reasons"])
    return Finding(Verdict(row["verdict"]), reasons, tuple(row["slices"]), row["note"])


def _keep(conn: Connection, label: Label, checker: Person, finding: Finding) -> None:
    row = conn.execute(
        """
        INSERT INTO checks (label_id, revision_id, round, checker_id, verdict, reasons, slices, note)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (label_id, round, checker_id) DO NOTHING RETURNING id
        """,
        (
            label.id,
            label.revision_id,
            label.round,
            checker.id,
            finding.verdict,
            [str(reason) for reason in finding.reasons],
            list(finding.slices),
            finding.note,
        ),
    ).fetchone()
    if row is None:
        raise NotAllowed(f"{checker.email} has already given a verdict on label {label.id} in this round")
