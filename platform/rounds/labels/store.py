"""Labels and their revisions in the database; every move is a conditional UPDATE that says who won."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from rounds.db import Connection
from rounds.labels.model import Action, IllegalMove, Stage, target
from rounds.trail.store import record

COLUMNS = "id, case_id, scheme, stage, round, batch_id, annotator_id, revision_id"
REVISION_COLUMNS = "id, label_id, number, mask, person_id, model_id, parent_id, seconds, effort"
SETTABLE = {"round", "batch_id", "annotator_id", "revision_id", "reason"}


class UnknownLabel(Exception):
    """There is no such label."""


@dataclass(frozen=True)
class Label:
    """A case under a scheme, where it stands and whose it is."""

    id: int
    case_id: int
    scheme: str
    stage: Stage
    round: int
    batch_id: int | None
    annotator_id: int | None
    revision_id: int | None


@dataclass(frozen=True)
class Revision:
    """One immutable mask of a label; made by a person or by a model version, never both."""

    id: int
    label_id: int
    number: int
    mask: str
    person_id: int | None
    model_id: int | None
    parent_id: int | None
    seconds: float | None
    effort: Mapping[str, Any]


def create(conn: Connection, case_id: int, scheme: str) -> int:
    """Make the label of a case under a scheme unless it is there; return its id."""
    conn.execute(
        "INSERT INTO labels (case_id, scheme) VALUES (%s, %s) ON CONFLICT (case_id, scheme) DO NOTHING",
        (case_id, scheme),
    )
    row = conn.execute(
        "SELECT id FROM labels WHERE case_id = %s AND scheme = %s", (case_id, scheme)
    ).fetchone()
    assert row is not None  # noqa: S101 (just inserted)
    return int(row["id"])


def get(conn: Connection, label_id: int, lock: bool = False) -> Label:
    """Return a label, with `lock` held until the transaction ends; raise UnknownLabel."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM labels WHERE id = %s" + (" FOR UPDATE" if lock else ""),
        (label_id,),
    ).fetchone()
    if row is None:
        raise UnknownLabel(f"there is no label {label_id}")
    return _label(row)


def ready(conn: Connection, scheme: str, limit: int, every_series: bool = False) -> list[Label]:
    """Return labels that wait for a batch, locked so that two batches never share one.

    They are of the chosen case of each study, unless `every_series` asks for all. Every batch mixes the sites in
    proportion to what waits; within a site the oldest case comes first.
    """
    columns = ", ".join(f"l.{name}" for name in COLUMNS.split(", "))
    found = conn.execute(
        f"""
        SELECT {columns} FROM labels l JOIN (
            SELECT w.id, (row_number() OVER (PARTITION BY c.site ORDER BY c.id) - 0.5)
                         / count(*) OVER (PARTITION BY c.site) AS turn
            FROM labels w JOIN cases c ON c.id = w.case_id
            WHERE w.scheme = %(scheme)s AND w.stage = 'ready' AND (c.chosen OR %(every)s)) AS waiting
        ON waiting.id = l.id JOIN cases k ON k.id = l.case_id
        WHERE l.stage = 'ready' AND (k.chosen OR %(every)s)
        ORDER BY waiting.turn, l.case_id LIMIT %(limit)s FOR UPDATE OF l SKIP LOCKED FOR SHARE OF k SKIP LOCKED
        """,
        {"scheme": scheme, "every": every_series, "limit": limit},
    )
    return [_label(row) for row in found]


def of_batch(conn: Connection, batch_id: int) -> list[Label]:
    """Return the labels of a batch, in order."""
    found = conn.execute(f"SELECT {COLUMNS} FROM labels WHERE batch_id = %s ORDER BY id", (batch_id,))
    return [_label(row) for row in found]


def stages(conn: Connection, batch_id: int | None = None) -> Counter[Stage]:
    """Count labels by stage, in one batch or everywhere."""
    found = conn.execute(
        """
        SELECT stage, count(*) AS n FROM labels
        WHERE %(batch)s::bigint IS NULL OR batch_id = %(batch)s GROUP BY stage
        """,
        {"batch": batch_id},
    )
    return Counter({Stage(row["stage"]): int(row["n"]) for row in found})


def move(
    conn: Connection, label: Label, action: Action, actor: str, reason: str = "", **changes: Any
) -> Label:
    """Carry out one row of the label's table and write it to the trail; raise IllegalMove when another was first."""
    unknown = set(changes) - SETTABLE
    if unknown:
        raise ValueError(f"a move cannot set {unknown}")
    goal = target(label.stage, action)
    if action is Action.WITHDRAW:
        changes["reason"] = reason
    columns = "".join(f", {name} = %({name})s" for name in changes)
    row = conn.execute(
        f"UPDATE labels SET stage = %(goal)s{columns} WHERE id = %(id)s AND stage = %(source)s AND round = %(was)s"
        f" RETURNING {COLUMNS}",
        {"goal": goal, "id": label.id, "source": label.stage, "was": label.round, **changes},
    ).fetchone()
    if row is None:
        raise IllegalMove(f"label {label.id} is no longer {label.stage}: load it again")
    moved = _label(row)
    detail = {"from": label.stage, "to": moved.stage, "round": moved.round, "revision": moved.revision_id}
    record(conn, actor, action, "label", label.id, reason, detail)
    return moved


def add_revision(
    conn: Connection,
    label_id: int,
    mask: str,
    *,
    person_id: int | None = None,
    model_id: int | None = None,
    parent_id: int | None = None,
    seconds: float | None = None,
    effort: Mapping[str, Any] | None = None,
) -> Revision:
    """Append a revision; the caller holds the label's lock, so numbers have no gaps."""
    row = conn.execute(
        """
        INSERT INTO revisions (label_id, number, mask, person_id, model_id, parent_id, seconds, effort)
        SELECT %(label)s, coalesce(max(number), 0) + 1, %(mask)s, %(person)s, %(model)s, %(parent)s, %(seconds)s,
               %(effort)s
        FROM revisions WHERE label_id = %(label)s RETURNING """
        + REVISION_COLUMNS,
        {
            "label": label_id,
            "mask": mask,
            "person": person_id,
            "model": model_id,
            "parent": parent_id,
            "seconds": seconds,
            "effort": Jsonb(dict(effort or {})),
        },
    ).fetchone()
    assert row is not None  # noqa: S101 (RETURNING)
    return Revision(**row)


def revision(conn: Connection, revision_id: int) -> Revision:
    """Return one revision; raise UnknownLabel."""
    row = conn.execute(
        f"SELECT {REVISION_COLUMNS} FROM revisions WHERE id = %s",
        (revision_id,),
    ).fetchone()
    if row is None:
        raise UnknownLabel(f"there is no revision {revision_id}")
    return Revision(**row)


def prelabel(conn: Connection, label_id: int) -> Revision | None:
    """Return the newest revision that a model made for the label, or None."""
    row = conn.execute(
        "SELECT id FROM revisions WHERE label_id = %s AND model_id IS NOT NULL ORDER BY number DESC LIMIT 1",
        (label_id,),
    ).fetchone()
    return revision(conn, row["id"]) if row else None


def _label(row: Mapping[str, Any]) -> Label:
    return Label(**{**row, "stage": Stage(row["stage"])})
