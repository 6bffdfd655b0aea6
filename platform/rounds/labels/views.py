"""What a person may see of a label: annotators their own, checkers blind, overseers everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np

from rounds.audits import service as audits
from rounds.batches import service as batch_service
from rounds.batches import store as batches
from rounds.checks import service as checks
from rounds.checks.model import Finding
from rounds.db import Connection
from rounds.labels import store
from rounds.labels.model import Action, IllegalMove, Stage, actions
from rounds.labels.store import Label
from rounds.people.model import NotAllowed, Person, Role
from rounds.people.views import oversees
from rounds.trail.store import history
from rounds.web.pixels import edges


class StaleRevision(Exception):
    """Another revision or round stands now than the one that was looked at."""


class NoMaskYet(Exception):
    """Nobody has submitted a mask of this label yet."""


class Sight(StrEnum):
    """How much of a label a person sees."""

    OWN = "own"
    BLIND = "blind"
    OPEN = "open"


@dataclass(frozen=True)
class Picture:
    """The case of a label as a viewer needs it; shape (z, y, x), spacing (z, y, x) in mm, sides of the patient."""

    case_id: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    edges: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """A verdict with the name under which this reader knows its author."""

    round: int
    by: str
    finding: Finding


@dataclass(frozen=True)
class Line:
    """One line of a label's history, in words."""

    at: datetime
    who: str
    what: str
    note: str


@dataclass(frozen=True)
class LabelView:
    """A label as one reader may see it; `annotator` is None where he may not know it."""

    label: Label
    sight: Sight
    picture: Picture
    revision: int | None
    annotator: str | None
    verdicts: tuple[Verdict, ...]
    actions: tuple[str, ...]


def sight(conn: Connection, label: Label, reader: Person) -> Sight:
    """Return how much the reader may see; raise NotAllowed.

    A checker of the label's batch stays blind until the label is accepted or withdrawn, whatever other roles he has:
    it may come back to him in a later round.
    """
    if label.batch_id is not None and reader.id in batches.checkers(conn, label.batch_id):
        return Sight.OPEN if label.stage in (Stage.ACCEPTED, Stage.WITHDRAWN) else Sight.BLIND
    if oversees(reader):
        return Sight.OPEN
    row = conn.execute("SELECT is_annotator_of(%s, %s) AS own", (reader.id, label.id)).fetchone()
    if row and row["own"]:
        return Sight.OWN
    raise NotAllowed(
        f"label {label.id} is not yours to see: it is shown to those who draw, check or audit it"
    )


def view(conn: Connection, label_id: int, reader: Person) -> LabelView:
    """Return a label as the reader may see it; raise UnknownLabel or NotAllowed."""
    label = store.get(conn, label_id)
    seen = sight(conn, label, reader)
    revision = store.revision(conn, label.revision_id).number if label.revision_id else None
    annotator = None
    if seen is not Sight.BLIND and label.annotator_id is not None:
        annotator = _names(conn)[label.annotator_id]
    return LabelView(
        label,
        seen,
        picture(conn, label),
        revision,
        annotator,
        tuple(_verdicts(conn, label, reader, seen)),
        tuple(_actions(conn, label, reader)),
    )


def picture(conn: Connection, label: Label) -> Picture:
    """Return the geometry of the label's case."""
    row = conn.execute("SELECT shape, spacing, affine FROM cases WHERE id = %s", (label.case_id,)).fetchone()
    assert row is not None  # noqa: S101 (a foreign key)
    return Picture(label.case_id, tuple(row["shape"]), tuple(row["spacing"]), edges(np.array(row["affine"])))


def slice_ref(conn: Connection, label_id: int, index: int, reader: Person) -> str | None:
    """Return the object reference of the PNG of slice `index` (0 = most inferior), or None; raise NotAllowed."""
    label = store.get(conn, label_id)
    sight(conn, label, reader)
    row = conn.execute(
        "SELECT slices[%s] AS ref FROM cases WHERE id = %s", (index + 1, label.case_id)
    ).fetchone()
    return row["ref"] if row and index >= 0 else None


def mask_ref(conn: Connection, label_id: int, reader: Person, revision: int | None = None) -> tuple[str, str]:
    """Return the standing mask's object reference and the scheme; raise NotAllowed, NoMaskYet or StaleRevision."""
    label = store.get(conn, label_id)
    sight(conn, label, reader)
    if label.revision_id is None:
        raise NoMaskYet(f"label {label_id} has no mask yet: nobody has submitted one")
    standing = store.revision(conn, label.revision_id)
    if revision is not None and revision != standing.number:
        raise StaleRevision(f"revision {standing.number} of label {label_id} stands now: load the page again")
    return standing.mask, label.scheme


def require_standing(conn: Connection, label_id: int, revision: int | None, round_: int | None) -> None:
    """Raise StaleRevision unless what was looked at still stands; holds the label's batch for the verdict to come."""
    batch_id = store.get(conn, label_id).batch_id
    if batch_id is None:
        raise IllegalMove(f"label {label_id} is in no batch")
    batch_service.lock(conn, batch_id)
    label = store.get(conn, label_id, lock=True)
    number = store.revision(conn, label.revision_id).number if label.revision_id else None
    if revision not in (None, number) or round_ not in (None, label.round):
        raise StaleRevision(f"label {label_id} has moved on since you opened it: load it again")


def document(seen: LabelView) -> dict[str, Any]:
    """Return a view as JSON; a blind one has no key that could carry an annotator."""
    label = seen.label
    found: dict[str, Any] = {
        "label": label.id,
        "case": label.case_id,
        "scheme": label.scheme,
        "batch": label.batch_id,
        "stage": str(label.stage),
        "round": label.round,
        "revision": seen.revision,
        "shape": list(seen.picture.shape),
        "spacing_mm": list(seen.picture.spacing),
        "edges": dict(seen.picture.edges),
        "verdicts": [
            {
                "round": verdict.round,
                "by": verdict.by,
                "verdict": str(verdict.finding.verdict),
                "reasons": [str(reason) for reason in verdict.finding.reasons],
                "slices": list(verdict.finding.slices),
                "note": verdict.finding.note,
            }
            for verdict in seen.verdicts
        ],
        "actions": list(seen.actions),
    }
    return found if seen.sight is Sight.BLIND else {**found, "annotator": seen.annotator}


def lines(conn: Connection, label: Label, reader: Person) -> list[Line]:
    """Return a label's history as the reader may know it, oldest first; raise NotAllowed while he checks it."""
    seen = sight(conn, label, reader)
    if seen is Sight.BLIND and label.stage is Stage.CHECKING:
        raise NotAllowed(
            f"label {label.id} is being checked blind: its history opens when both verdicts are in"
        )
    names = _names(conn) if seen is Sight.OPEN else {}
    found = [
        Line(
            event.at,
            _who(event.actor, event.action, names, reader),
            _what(event.action, event.detail),
            event.reason,
        )
        for event in history(conn, "label", label.id)
        if event.action != "audit"  # told with its findings below
    ]
    for row in _findings(conn, label.id, reader):
        who = names.get(row["person_id"], "you" if row["person_id"] == reader.id else f"a {row['kind']}")
        found.append(Line(row["at"], who, _told(row), row["note"]))
    return sorted(found, key=lambda line: line.at)


def own(conn: Connection, annotator: Person) -> list[dict[str, Any]]:
    """Return the annotator's labels, those to revise first."""
    return conn.execute(
        """
        SELECT l.id, l.case_id, l.scheme, l.stage, l.round, l.batch_id FROM labels l
        WHERE l.annotator_id = %s AND l.stage IN ('annotating', 'revising', 'checking')
        ORDER BY array_position(ARRAY['revising', 'annotating', 'checking'], l.stage), l.id
        """,
        (annotator.id,),
    ).fetchall()


def _actions(conn: Connection, label: Label, reader: Person) -> list[str]:
    found = []
    if any(waiting.label_id == label.id for waiting in checks.queue(conn, reader)):
        found.append("check")
    if Role.SENIOR in reader.roles and any(w.label_id == label.id for w in audits.queue(conn, reader)):
        found.append("audit")
    roles = set(reader.roles)
    if roles & {Role.ADMIN, Role.ENGINEER} and Action.WITHDRAW in actions(label.stage):
        found.append("withdraw")
    if roles & {Role.ADMIN, Role.ENGINEER, Role.SENIOR} and label.stage in (Stage.ANNOTATING, Stage.REVISING):
        found.append("reassign")
    return found


def _verdicts(conn: Connection, label: Label, reader: Person, seen: Sight) -> list[Verdict]:
    names = _names(conn) if seen is Sight.OPEN else {}
    other = "the other checker" if seen is Sight.BLIND else "a checker"
    return [
        Verdict(
            verdict.round,
            names.get(verdict.checker_id, "you" if verdict.checker_id == reader.id else other),
            verdict.finding,
        )
        for verdict in checks.visible(conn, label.id, reader)
    ]


def _names(conn: Connection) -> dict[int, str]:
    return {row["id"]: row["name"] for row in conn.execute("SELECT id, name FROM people")}


def _who(actor: str, action: str, names: dict[int, str], reader: Person) -> str:
    kind, _, number = actor.partition(":")
    if kind != "person":
        return actor
    if actor == reader.actor and action == "submit":
        return "you"
    roles = {
        "submit": "the annotator",
        "pass": "the checkers",
        "fail": "the checkers",
        "fail_audit": "a senior",
    }
    return names.get(int(number)) or roles.get(action, "a colleague")


def _what(action: str, detail: dict[str, Any]) -> str:
    told = action.replace("_", " ")
    return f"{told}: {detail['from']} → {detail['to']}" if action != "reassign" and "to" in detail else told


def _told(row: dict[str, Any]) -> str:
    told = f"{row['what']} {row['verdict']}"
    reasons = ", ".join(reason.replace("_", " ") for reason in row["reasons"])
    pins = ", ".join(str(index + 1) for index in row["slices"])
    return told + (f": {reasons}" if reasons else "") + (f", slices {pins}" if pins else "")


def _findings(conn: Connection, label_id: int, reader: Person) -> Sequence[dict[str, Any]]:
    """Return audits, and the checks of rounds in which both are in."""
    return conn.execute(
        """
        SELECT at, checker_id AS person_id, 'checker' AS kind, 'check, round ' || round || ':' AS what, verdict,
               reasons, slices, note
        FROM checks c WHERE label_id = %(label)s AND (checker_id = %(reader)s OR
            (SELECT count(*) FROM checks o WHERE o.label_id = c.label_id AND o.round = c.round) = 2)
        UNION ALL
        SELECT at, senior_id, 'senior', 'audit:', verdict, reasons, slices, note FROM audits WHERE label_id = %(label)s
        """,
        {"label": label_id, "reader": reader.id},
    ).fetchall()
