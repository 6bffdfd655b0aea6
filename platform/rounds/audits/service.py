"""The senior's audit of a drawn label."""

from dataclasses import dataclass

from rounds.batches import service as batches
from rounds.batches.model import BatchState
from rounds.checks.model import Finding, Verdict, validate
from rounds.checks.service import slice_count
from rounds.db import Connection
from rounds.labels import store as labels
from rounds.labels.model import Action, IllegalMove, Stage
from rounds.labels.store import Label
from rounds.people.model import NotAllowed, Person, Role
from rounds.trail.store import record


@dataclass(frozen=True)
class QueuedAudit:
    """A drawn label whose standing revision waits for a senior."""

    label_id: int
    batch_id: int
    case_id: int
    scheme: str


def audit(conn: Connection, label_id: int, senior: Person, finding: Finding) -> Label:
    """Take a senior's verdict; a failure sends the label to be revised, checked and audited again."""
    senior.require(Role.SENIOR)
    batch_id = labels.get(conn, label_id).batch_id
    if batch_id is None:
        raise IllegalMove(f"label {label_id} is in no batch")
    batch = batches.lock(conn, batch_id)
    label = labels.get(conn, label_id, lock=True)
    if batch.state is not BatchState.AUDITING or label.stage is not Stage.PASSED:
        raise IllegalMove(f"label {label_id} is {label.stage} and its batch {batch.state}: nothing to audit")
    if label_id not in batches.audits_left(conn, batch):
        raise NotAllowed(f"label {label_id} was not drawn, or is audited already")
    validate(finding, slice_count(conn, label.case_id))
    conn.execute(
        """
        INSERT INTO audits (batch_id, attempt, label_id, revision_id, senior_id, verdict, reasons, slices, note)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            batch_id,
            batch.attempt,
            label_id,
            label.revision_id,
            senior.id,
            finding.verdict,
            [str(reason) for reason in finding.reasons],
            list(finding.slices),
            finding.note,
        ),
    )
    record(conn, senior.actor, "audit", "label", label_id, detail={"verdict": finding.verdict})
    if finding.verdict is Verdict.FAIL:
        label = labels.move(conn, label, Action.FAIL_AUDIT, senior.actor)
    batches.advance(conn, batch_id, senior.actor)
    return label


def queue(conn: Connection, senior: Person) -> list[QueuedAudit]:
    """Return what waits for an audit and that this senior neither drew nor checked."""
    found = conn.execute(
        """
        SELECT d.label_id, d.batch_id, l.case_id, l.scheme
        FROM drawn_labels d
        JOIN batches b ON (b.id, b.attempt) = (d.batch_id, d.attempt)
        JOIN labels l ON l.id = d.label_id
        WHERE b.state = 'auditing' AND l.stage = 'passed' AND NOT EXISTS (
            SELECT FROM audits a WHERE (a.label_id, a.attempt, a.revision_id) = (l.id, d.attempt, l.revision_id))
        AND NOT is_annotator_of(%(senior)s, l.id) AND NOT is_checker_of(%(senior)s, l.id)
        ORDER BY d.batch_id, d.label_id
        """,
        {"senior": senior.id},
    )
    return [QueuedAudit(**row) for row in found]
