"""Model versions as a list and the learning curve as a drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rounds.db import Connection
from rounds.releases import reports, store
from rounds.releases.store import ModelVersion

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 14, 34


@dataclass(frozen=True)
class Shelf:
    """The model versions of one task and scheme, newest first, and the one that stands."""

    task: str
    scheme: str
    versions: tuple[ModelVersion, ...]
    standing: int | None


@dataclass(frozen=True)
class Curve:
    """The learning curve of a scheme with its points on an SVG canvas (pixels)."""

    scheme: str
    stages: Sequence[Mapping[str, Any]]
    lines: Mapping[str, Sequence[tuple[float, float, float]]]
    ticks: Sequence[float]


def shelves(conn: Connection) -> list[Shelf]:
    """Return every task and scheme that has a model version."""
    found: dict[tuple[str, str], list[ModelVersion]] = {}
    for version in store.everything(conn):
        found.setdefault((version.task, version.scheme), []).insert(0, version)
    made = []
    for (task, scheme), versions in sorted(found.items(), reverse=True):
        standing = store.promoted(conn, task, scheme)
        made.append(Shelf(task, scheme, tuple(versions), standing.id if standing else None))
    return made


def curves(conn: Connection) -> list[Curve]:
    """Return the learning curve of every scheme that has one."""
    schemes = sorted({version.scheme for version in store.everything(conn)})
    return [_curve(scheme, reports.learning_curve(conn, scheme)) for scheme in schemes]


def _curve(scheme: str, stages: Sequence[Mapping[str, Any]]) -> Curve:
    """Place Dice and AUC (0 to 1) over the number of cases (from 0, to scale)."""
    most = max((stage["cases"] for stage in stages), default=1) or 1

    def across(cases: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * cases / most, 1)

    lines = {
        measure: [
            (
                across(stage["cases"]),
                round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - stage[measure]), 1),
                stage[measure],
            )
            for stage in stages
            if stage[measure] is not None
        ]
        for measure in ("dice", "auc")
    }
    return Curve(scheme, stages, lines, [across(stage["cases"]) for stage in stages])
