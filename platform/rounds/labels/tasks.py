"""Which Label Studio task stands for which round of a label, and which annotations were dealt with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from rounds.db import Connection

COLUMNS = (
    "label_id, round, slab, project_id, task_id, annotator_id, parent_id, first_slice, slices, urls_expire_at"
)


@dataclass(frozen=True)
class Task:
    """One task: `round` is the round of the label that its submission will start; `parent_id` what it starts from."""

    label_id: int
    round: int
    slab: int
    project_id: int
    task_id: int
    annotator_id: int
    parent_id: int | None
    first_slice: int
    slices: int
    urls_expire_at: datetime


@dataclass(frozen=True)
class Taken:
    """An annotation that was read: its mask (an object reference), seconds and how its regions came about."""

    task: Task
    mask: str
    seconds: float | None
    effort: Mapping[str, Any]


@contextmanager
def one_at_a_time(conn: Connection, what: Literal["placing", "collecting"]) -> Iterator[None]:
    """Let only one process at a time place tasks, and one collect: Label Studio has no conditional insert."""
    number = {"placing": 4_726_004, "collecting": 4_726_005}[what]
    conn.execute("SELECT pg_advisory_lock(%s)", (number,))
    try:
        yield
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", (number,))


def keep(conn: Connection, task: Task) -> None:
    """Write a task down, in place of what stood for the same slab before (as after Label Studio was rebuilt)."""
    conn.execute(
        """
        INSERT INTO tasks (label_id, round, slab, project_id, task_id, annotator_id, parent_id, first_slice, slices,
                           urls_expire_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (label_id, round, slab) DO UPDATE SET project_id = excluded.project_id, task_id = excluded.task_id,
            annotator_id = excluded.annotator_id, parent_id = excluded.parent_id,
            urls_expire_at = excluded.urls_expire_at
        """,
        (
            task.label_id,
            task.round,
            task.slab,
            task.project_id,
            task.task_id,
            task.annotator_id,
            task.parent_id,
            task.first_slice,
            task.slices,
            task.urls_expire_at,
        ),
    )


def of_label(conn: Connection, label_id: int, round_: int) -> list[Task]:
    """Return the tasks of a label's round, in z order."""
    found = conn.execute(
        f"SELECT {COLUMNS} FROM tasks WHERE label_id = %s AND round = %s ORDER BY slab",  # noqa: S608
        (label_id, round_),
    )
    return [Task(**row) for row in found]


def by_task(conn: Connection, task_id: int) -> Task | None:
    """Return what a Label Studio task stands for, or None."""
    row = conn.execute(f"SELECT {COLUMNS} FROM tasks WHERE task_id = %s", (task_id,)).fetchone()  # noqa: S608
    return Task(**row) if row else None


def open_tasks(conn: Connection) -> list[Task]:
    """Return the tasks whose submission is awaited."""
    found = conn.execute(
        f"""
        SELECT {", ".join("t." + name for name in COLUMNS.split(", "))} FROM tasks t JOIN labels l ON l.id = t.label_id
        WHERE l.stage IN ('annotating', 'revising') AND t.round = l.round + 1 ORDER BY t.task_id
        """  # noqa: S608
    )
    return [Task(**row) for row in found]


def lacking(conn: Connection, batch_id: int | None = None) -> list[int]:
    """Return labels that somebody has to draw and that have no task of his in Label Studio yet.

    Without a batch, all of those but in batches that are just being opened: they wait for their pre-labels.
    """
    found = conn.execute(
        """
        SELECT l.id FROM labels l JOIN batches b ON b.id = l.batch_id WHERE l.stage IN ('annotating', 'revising')
        AND (l.batch_id = %(batch)s OR (%(batch)s::bigint IS NULL AND b.state <> 'open')) AND NOT EXISTS (
            SELECT FROM tasks t WHERE t.label_id = l.id AND t.round = l.round + 1 AND t.annotator_id = l.annotator_id)
        ORDER BY l.id
        """,
        {"batch": batch_id},
    )
    return [row["id"] for row in found]


def obsolete(conn: Connection) -> list[Task]:
    """Return tasks of labels that were withdrawn before anything was submitted for them."""
    found = conn.execute(
        f"""
        SELECT {", ".join("t." + name for name in COLUMNS.split(", "))} FROM tasks t JOIN labels l ON l.id = t.label_id
        WHERE l.stage = 'withdrawn' AND t.round > l.round ORDER BY t.task_id
        """  # noqa: S608
    )
    return [Task(**row) for row in found]


def forget(conn: Connection, task_id: int) -> None:
    """Strike a task that no longer exists in Label Studio."""
    conn.execute("DELETE FROM tasks WHERE task_id = %s", (task_id,))


def projects(conn: Connection) -> list[int]:
    """Return the Label Studio projects that hold any task."""
    return [
        row["project_id"] for row in conn.execute("SELECT DISTINCT project_id FROM tasks ORDER BY project_id")
    ]


def cursor_of(conn: Connection, project_id: int) -> datetime | None:
    """Return until when a project's changes were read, or None for never."""
    row = conn.execute("SELECT seen_until FROM cursors WHERE project_id = %s", (project_id,)).fetchone()
    return row["seen_until"] if row else None


def advance_cursor(conn: Connection, project_id: int, seen_until: datetime) -> None:
    """Remember until when a project's changes were read; never goes back."""
    conn.execute(
        """
        INSERT INTO cursors (project_id, seen_until) VALUES (%s, %s)
        ON CONFLICT (project_id) DO UPDATE SET seen_until = greatest(cursors.seen_until, excluded.seen_until)
        """,
        (project_id, seen_until),
    )


def seen(conn: Connection, annotation_id: int, updated_at: datetime) -> bool:
    """Tell whether this state of an annotation was dealt with."""
    row = conn.execute(
        "SELECT FROM annotations WHERE annotation_id = %s AND updated_at = %s", (annotation_id, updated_at)
    ).fetchone()
    return row is not None


def note(
    conn: Connection,
    annotation_id: int,
    updated_at: datetime,
    task_id: int,
    outcome: str,
    mask: str | None = None,
    seconds: float | None = None,
    effort: Mapping[str, Any] | None = None,
) -> None:
    """Write down what was made of one state of an annotation."""
    conn.execute(
        """
        INSERT INTO annotations (annotation_id, updated_at, task_id, outcome, mask, seconds, effort)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (annotation_id, updated_at, task_id, outcome, mask, seconds, Jsonb(dict(effort or {}))),
    )


def taken(conn: Connection, wanted: Sequence[Task]) -> list[Taken]:
    """Return the newest usable annotation of each of these tasks; shorter than `wanted` while slabs are missing."""
    found = []
    for task in wanted:
        row = conn.execute(
            """
            SELECT mask, seconds, effort FROM annotations WHERE task_id = %s AND outcome = 'taken'
            ORDER BY updated_at DESC LIMIT 1
            """,
            (task.task_id,),
        ).fetchone()
        if row is not None:
            found.append(Taken(task, row["mask"], row["seconds"], row["effort"]))
    return found
