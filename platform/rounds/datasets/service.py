"""Freezing a dataset version: its manifest names every mask and volume by hash."""

import json
from collections.abc import Sequence
from typing import Any

from rounds.datasets import store
from rounds.datasets.model import Member, NotEnough, Split, allocate, assemble
from rounds.datasets.store import Dataset
from rounds.db import Connection
from rounds.objects import ObjectStore
from rounds.trail.store import head, record

FREEZE_LOCK = 4_726_003


def freeze(
    conn: Connection,
    objects: ObjectStore,
    scheme: str,
    actor: str,
    *,
    test_share: float,
    val_share: float = 0.1,
    name: str | None = None,
) -> Dataset:
    """Freeze what is accepted now; raise NotEnough when nothing is, or no test set can be made of it.

    The shares count only while they can: the test set is drawn with the first version and never again.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (FREEZE_LOCK,))
    accepted = store.accepted(conn, scheme)
    if not accepted:
        raise NotEnough(f"no label under {scheme} is accepted yet: decide a batch first")
    known = store.splits(conn)
    splits = allocate({a.patient: a.diagnosis for a in accepted}, known, test_share, val_share)
    if Split.TEST not in splits.values():
        raise NotEnough(f"{len(accepted)} accepted labels are too few for a test set of {test_share:.0%}")
    last = store.newest(conn, scheme)
    before = store.members(conn, last.id) if last else []
    members = assemble(accepted, splits, before, store.withdrawn(conn, [m.label_id for m in before]))
    if not any(member.split is Split.TEST for member in members):
        raise NotEnough(
            f"no accepted label under {scheme} is of a patient in the test set, which stands already"
        )
    store.keep_splits(conn, {patient: split for patient, split in splits.items() if patient not in known})
    name = name or f"{scheme}-v{sum(d.scheme == scheme for d in store.everything(conn)) + 1}"
    manifest = {"name": name, "scheme": scheme, "trail": head(conn), "members": _described(conn, members)}
    ref = objects.put(json.dumps(manifest, sort_keys=True, indent=1).encode(), ".json")
    dataset = store.add(conn, name, scheme, ref, actor, members)
    counts = {str(split): sum(m.split is split for m in members) for split in Split}
    record(conn, actor, "freeze", "dataset", name, detail={"manifest": ref, **counts})
    return dataset


def summary(conn: Connection, dataset: Dataset) -> dict[str, Any]:
    """Return a version as `rounds dataset show --json` prints it."""
    members = store.members(conn, dataset.id)
    return {
        "dataset": dataset.name,
        "scheme": dataset.scheme,
        "manifest_sha256": dataset.manifest.split(".")[0],
        "created_at": dataset.created_at.isoformat(),
        "splits": {str(split): sum(m.split is split for m in members) for split in Split},
    }


def _described(conn: Connection, members: Sequence[Member]) -> list[dict[str, Any]]:
    found = conn.execute(
        """
        SELECT l.id AS label, r.id AS revision, r.mask, c.id AS "case", c.volume, c.spacing, c.shape, c.site, c.scanner,
               c.patient_id AS patient, p.diagnosis
        FROM revisions r JOIN labels l ON l.id = r.label_id JOIN cases c ON c.id = l.case_id
        JOIN patients p ON p.id = c.patient_id WHERE r.id = ANY (%s)
        """,
        ([m.revision_id for m in members],),
    )
    rows = {row["revision"]: row for row in found}
    return [{**rows[m.revision_id], "split": m.split, "position": m.position} for m in members]
