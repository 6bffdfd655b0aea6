"""Dataset versions and patient splits in the database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rounds.datasets.model import Accepted, Member, Split
from rounds.db import Connection


class UnknownDataset(Exception):
    """There is no such dataset version."""


@dataclass(frozen=True)
class Dataset:
    """A frozen manifest: what a model was trained and tested on."""

    id: int
    name: str
    scheme: str
    manifest: str
    created_at: datetime


COLUMNS = "id, name, scheme, manifest, created_at"


def accepted(conn: Connection, scheme: str) -> list[Accepted]:
    """Return the accepted labels of a scheme, oldest first."""
    found = conn.execute(
        """
        SELECT l.id AS label_id, l.revision_id, c.patient_id AS patient, coalesce(p.diagnosis, '') AS diagnosis
        FROM labels l JOIN cases c ON c.id = l.case_id JOIN patients p ON p.id = c.patient_id
        WHERE l.scheme = %s AND l.stage = 'accepted' ORDER BY l.id
        """,
        (scheme,),
    )
    return [Accepted(**row) for row in found]


def splits(conn: Connection) -> dict[str, Split]:
    """Return the split of every patient that has one."""
    return {r["patient_id"]: Split(r["split"]) for r in conn.execute("SELECT patient_id, split FROM splits")}


def keep_splits(conn: Connection, new: Mapping[str, Split]) -> None:
    """Write down splits for good."""
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO splits (patient_id, split) VALUES (%s, %s)", list(new.items()))


def newest(conn: Connection, scheme: str) -> Dataset | None:
    """Return the newest version of a scheme, or None."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM datasets WHERE scheme = %s ORDER BY id DESC LIMIT 1",
        (scheme,),
    ).fetchone()
    return Dataset(**row) if row else None


def by_name(conn: Connection, name: str) -> Dataset:
    """Return a version; raise UnknownDataset."""
    row = conn.execute(f"SELECT {COLUMNS} FROM datasets WHERE name = %s", (name,)).fetchone()
    if row is None:
        raise UnknownDataset(f"there is no dataset version {name}: see `rounds dataset list`")
    return Dataset(**row)


def by_id(conn: Connection, dataset_id: int) -> Dataset:
    """Return a version; raise UnknownDataset."""
    row = conn.execute(f"SELECT {COLUMNS} FROM datasets WHERE id = %s", (dataset_id,)).fetchone()
    if row is None:
        raise UnknownDataset(f"there is no dataset version number {dataset_id}")
    return Dataset(**row)


def everything(conn: Connection) -> list[Dataset]:
    """Return all versions, oldest first."""
    return [Dataset(**row) for row in conn.execute(f"SELECT {COLUMNS} FROM datasets ORDER BY id")]


def members(conn: Connection, dataset_id: int) -> list[Member]:
    """Return the members of a version: test first, then in order of growth."""
    found = conn.execute(
        """
        SELECT m.label_id, m.revision_id, c.patient_id AS patient, m.split, m.position
        FROM dataset_members m JOIN labels l ON l.id = m.label_id JOIN cases c ON c.id = l.case_id
        WHERE m.dataset_id = %s ORDER BY m.position, m.label_id
        """,
        (dataset_id,),
    )
    return [Member(**{**row, "split": Split(row["split"])}) for row in found]


def withdrawn(conn: Connection, label_ids: Sequence[int]) -> frozenset[int]:
    """Return which of these labels have been withdrawn."""
    found = conn.execute(
        "SELECT id FROM labels WHERE id = ANY (%s) AND stage = 'withdrawn'", (list(label_ids),)
    )
    return frozenset(row["id"] for row in found)


def add(
    conn: Connection, name: str, scheme: str, manifest: str, actor: str, members: Iterable[Member]
) -> Dataset:
    """Insert a version with its members."""
    row = conn.execute(
        f"INSERT INTO datasets (name, scheme, manifest, created_by) VALUES (%s, %s, %s, %s) RETURNING {COLUMNS}",
        (name, scheme, manifest, actor),
    ).fetchone()
    assert row is not None  # noqa: S101 (RETURNING)
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO dataset_members (dataset_id, label_id, revision_id, split, position)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(row["id"], m.label_id, m.revision_id, m.split, m.position) for m in members],
        )
    return Dataset(**row)
