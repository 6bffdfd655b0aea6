"""Model versions and promotions in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rounds.db import Connection
from rounds.releases.model import NothingToRollBack, standing
from rounds.trail.store import record

COLUMNS = "id, task, scheme, dataset_id, stage, recipe, seed, weights, metrics, parent_id, seconds, device, created_at"


class UnknownModel(Exception):
    """There is no such model version."""


@dataclass(frozen=True)
class ModelVersion:
    """Weights and everything that made them."""

    id: int
    task: str
    scheme: str
    dataset_id: int
    stage: int
    recipe: Mapping[str, Any]
    seed: int
    weights: str
    metrics: Mapping[str, Any]
    parent_id: int | None
    seconds: float
    device: str
    created_at: datetime


def register(
    conn: Connection,
    actor: str,
    *,
    task: str,
    scheme: str,
    dataset_id: int,
    stage: int,
    recipe: Mapping[str, Any],
    seed: int,
    weights: str,
    metrics: Mapping[str, Any],
    seconds: float,
    device: str,
    parent_id: int | None = None,
) -> ModelVersion:
    """Keep a trained model for good."""
    row = conn.execute(
        f"""
        INSERT INTO models (task, scheme, dataset_id, stage, recipe, seed, weights, metrics, parent_id, seconds, device)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING {COLUMNS}
        """,
        (
            task,
            scheme,
            dataset_id,
            stage,
            Jsonb(dict(recipe)),
            seed,
            weights,
            Jsonb(dict(metrics)),
            parent_id,
            seconds,
            device,
        ),
    ).fetchone()
    assert row is not None  # noqa: S101 (RETURNING)
    record(
        conn, actor, "register", "model", row["id"], detail={"task": task, "stage": stage, "weights": weights}
    )
    return ModelVersion(**row)


def get(conn: Connection, model_id: int) -> ModelVersion:
    """Return a model version; raise UnknownModel."""
    row = conn.execute(f"SELECT {COLUMNS} FROM models WHERE id = %s", (model_id,)).fetchone()
    if row is None:
        raise UnknownModel(f"there is no model version {model_id}: see `rounds models list`")
    return ModelVersion(**row)


def everything(conn: Connection, task: str | None = None) -> list[ModelVersion]:
    """Return the model versions, of one task where asked, oldest first."""
    found = conn.execute(
        f"SELECT {COLUMNS} FROM models WHERE %(task)s::text IS NULL OR task = %(task)s ORDER BY id",
        {"task": task},
    )
    return [ModelVersion(**row) for row in found]


def promoted(conn: Connection, task: str, scheme: str) -> ModelVersion | None:
    """Return the model version that stands for a task, or None."""
    pile = _pile(conn, task, scheme)
    return get(conn, pile[-1]) if pile else None


def promote(conn: Connection, model_id: int, actor: str) -> ModelVersion:
    """Let a model version stand for its task; doing it twice changes nothing."""
    model = get(conn, model_id)
    if model_id not in _pile(conn, model.task, model.scheme, lock=True)[-1:]:
        _log(conn, model, "promote", actor)
    return model


def roll_back(conn: Connection, task: str, scheme: str, actor: str) -> ModelVersion:
    """Take the standing model version off; return the one that stands again."""
    pile = _pile(conn, task, scheme, lock=True)
    if len(pile) < 2:
        raise NothingToRollBack(f"no {task} model for {scheme} stood before: promote another one instead")
    _log(conn, get(conn, pile[-1]), "rollback", actor)
    return get(conn, pile[-2])


def _pile(conn: Connection, task: str, scheme: str, lock: bool = False) -> tuple[int, ...]:
    if lock:
        conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"promote {task} {scheme}",))
    found = conn.execute(
        "SELECT kind, model_id FROM promotions WHERE task = %s AND scheme = %s ORDER BY id", (task, scheme)
    )
    return standing((row["kind"], row["model_id"]) for row in found)


def _log(conn: Connection, model: ModelVersion, kind: str, actor: str) -> None:
    conn.execute(
        "INSERT INTO promotions (task, scheme, model_id, kind) VALUES (%s, %s, %s, %s)",
        (model.task, model.scheme, model.id, kind),
    )
    record(conn, actor, kind, "model", model.id, detail={"task": model.task, "scheme": model.scheme})
