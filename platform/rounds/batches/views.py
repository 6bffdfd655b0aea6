"""What a batch looks like to those who decide on it: figures, the sample and how to draw it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rounds.audits.model import sample_size
from rounds.batches import quality, store
from rounds.batches.model import BatchState
from rounds.batches.store import Batch
from rounds.db import Connection
from rounds.people.model import NotAllowed, Person, Role
from rounds.people.views import oversees


@dataclass(frozen=True)
class SampleView:
    """The draw of one attempt; `recipe` is a shell command that anyone can repeat, once the seed is open."""

    share: float
    commitment: str
    seed: str | None
    drawn: tuple[int, ...]
    recipe: str | None


def require_reader(conn: Connection, batch_id: int, reader: Person) -> None:
    """Raise NotAllowed unless the reader oversees batches or checks this one."""
    if oversees(reader) or reader.id in store.checkers(conn, batch_id):
        return
    raise NotAllowed(f"batch {batch_id} is shown to its checkers, seniors, QA reviewers and engineers")


def listing(conn: Connection, reader: Person) -> list[dict[str, Any]]:
    """Return the batches that the reader may see, newest first, with their labels counted by stage."""
    found = conn.execute(
        """
        SELECT b.id AS batch, b.scheme, b.state, b.attempt, b.created_at,
               (SELECT coalesce(jsonb_object_agg(stage, n), '{}') FROM
                   (SELECT stage, count(*) AS n FROM labels l WHERE l.batch_id = b.id GROUP BY stage) AS counted
               ) AS labels
        FROM batches b
        WHERE %(all)s OR EXISTS (SELECT FROM batch_checkers c WHERE c.batch_id = b.id AND c.person_id = %(reader)s)
        ORDER BY b.id DESC
        """,
        {"all": oversees(reader), "reader": reader.id},
    ).fetchall()
    if not found and not oversees(reader) and Role.CHECKER not in reader.roles:
        raise NotAllowed("batches are shown to checkers, seniors, QA reviewers and engineers")
    return found


def worth(summary: Mapping[str, Any]) -> str:
    """Say in one sentence what the audit of a batch is worth."""
    audit = summary["audit"]
    if not audit["drawn"]:
        return "The sample is drawn as soon as every label has passed both checkers."
    if audit["upper_bound_95"] is None:
        return f"{audit['audited']} of the {audit['drawn']} drawn labels are audited, {audit['failed']} failed so far."
    return (
        f"{audit['failed']} of {audit['drawn']} drawn failed: with 95 % confidence at most "
        f"{audit['upper_bound_95']} of the {audit['of']} labels are defective."
    )


def sample(conn: Connection, batch: Batch) -> SampleView:
    """Return the draw of the current attempt as anybody may see it."""
    draw = store.draw_of(conn, batch.id, batch.attempt)
    recipe = None
    if draw.seed is not None:
        population = _population(conn, batch)
        recipe = _recipe(draw.seed, population, sample_size(len(population), draw.share))
    return SampleView(draw.share, draw.commitment, draw.seed, draw.labels, recipe)


def rows(conn: Connection, batch: Batch, reader: Person) -> list[dict[str, Any]]:
    """Return the labels of a batch; who drew them only to overseers who do not check it."""
    blind = reader.id in store.checkers(conn, batch.id) and batch.state is not BatchState.ACCEPTED
    return conn.execute(
        """
        SELECT l.id, l.case_id, l.stage, l.round, CASE WHEN NOT %(blind)s THEN p.name END AS annotator,
               EXISTS (SELECT FROM drawn_labels d WHERE (d.batch_id, d.attempt, d.label_id) =
                       (l.batch_id, %(attempt)s, l.id)) AS drawn,
               (SELECT a.verdict FROM audits a WHERE a.label_id = l.id AND a.attempt = %(attempt)s
                ORDER BY a.id DESC LIMIT 1) AS audit
        FROM labels l LEFT JOIN people p ON p.id = l.annotator_id WHERE l.batch_id = %(batch)s ORDER BY l.id
        """,
        {"batch": batch.id, "attempt": batch.attempt, "blind": blind},
    ).fetchall()


def decisions(conn: Connection, batch_id: int) -> list[dict[str, Any]]:
    """Return what QA reviewers decided, oldest first."""
    return conn.execute(
        """
        SELECT d.attempt, d.verdict, d.note, d.at, d.shown, p.name AS reviewer
        FROM decisions d JOIN people p ON p.id = d.reviewer_id WHERE d.batch_id = %s ORDER BY d.attempt
        """,
        (batch_id,),
    ).fetchall()


def effort(conn: Connection, batch_id: int) -> dict[str, Any]:
    """Return median drawing times (seconds) of first revisions, from nothing and from a pre-label."""
    row = conn.execute(
        """
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE m.id IS NULL) AS from_nothing,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE m.id IS NOT NULL) AS from_prelabel
        FROM revisions r JOIN labels l ON l.id = r.label_id
        LEFT JOIN revisions m ON m.id = r.parent_id AND m.model_id IS NOT NULL
        WHERE l.batch_id = %s AND r.person_id IS NOT NULL AND r.seconds IS NOT NULL
        AND NOT EXISTS (SELECT FROM revisions e WHERE e.label_id = r.label_id AND e.person_id IS NOT NULL
                        AND e.number < r.number)
        """,
        (batch_id,),
    ).fetchone()
    return dict(row or {})


def waiting_for_decision(conn: Connection) -> list[int]:
    """Return the batches that wait for a QA reviewer."""
    return [batch.id for batch in store.everything(conn) if batch.state is BatchState.DECIDING]


def document(conn: Connection, batch_id: int, reader: Person) -> dict[str, Any]:
    """Return a batch's summary as JSON with its draw; raise UnknownBatch or NotAllowed."""
    batch = store.get(conn, batch_id)
    require_reader(conn, batch_id, reader)
    found = quality.summary(conn, batch_id)
    seen = sample(conn, batch)
    draw = {"share": seen.share, "commitment": seen.commitment, "seed": seen.seed, "labels": list(seen.drawn)}
    return {**found, "worth": worth(found), "draw": draw}


def _population(conn: Connection, batch: Batch) -> list[int]:
    """Return the labels that the sample was drawn from: all but those withdrawn before the draw."""
    found = conn.execute(
        """
        SELECT l.id FROM labels l JOIN draws d ON d.batch_id = l.batch_id AND d.attempt = %(attempt)s
        WHERE l.batch_id = %(batch)s AND NOT EXISTS (
            SELECT FROM trail t WHERE t.subject = 'label' AND t.subject_id = l.id::text AND t.action = 'withdraw'
            AND t.id < (SELECT min(id) FROM trail s WHERE s.subject = 'batch' AND s.subject_id = l.batch_id::text
                        AND s.action = 'draw' AND (s.detail ->> 'attempt')::int = d.attempt))
        ORDER BY l.id
        """,
        {"batch": batch.id, "attempt": batch.attempt},
    )
    return [row["id"] for row in found]


def _recipe(seed: str, population: list[int], size: int) -> str:
    labels = " ".join(str(label) for label in population)
    return (
        f"for label in {labels}; do\n"
        f'  echo "$(printf %s "{seed}:$label" | sha256sum | cut -d" " -f1) $label"\n'
        f"done | sort | head -n {size} | cut -d' ' -f2 | sort -n"
    )
