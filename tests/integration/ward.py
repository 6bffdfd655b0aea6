"""A ward made by code: staff and one batch, driven through its cycle by the services; for tests of the database."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rounds.audits import service as audits
from rounds.batches import service as batches
from rounds.batches import store as batch_store
from rounds.batches.store import Batch
from rounds.cases import choosing
from rounds.cases import store as cases
from rounds.cases.model import NewCase
from rounds.checks import service as checks
from rounds.checks.model import Finding, Reason, Verdict
from rounds.db import Connection, connect
from rounds.db.migrate import migrate
from rounds.labels import service as drawing
from rounds.labels import store as labels
from rounds.labels.model import Stage
from rounds.labels.store import Label
from rounds.people import store as people
from rounds.people.model import Person, Role
from rounds.settings import Settings

OPERATOR = "operator"
FLOW = "flow:ingest"
GOOD = Finding(Verdict.PASS)
BAD = Finding(Verdict.FAIL, (Reason.BOUNDARY,), (3,), "too wide")
STAFF = {
    "ann": [Role.ANNOTATOR],
    "amy": [Role.ANNOTATOR],
    "ben": [Role.CHECKER, Role.SENIOR],
    "bea": [Role.CHECKER],
    "bob": [Role.CHECKER],
    "sue": [Role.SENIOR],
    "max": [Role.ANNOTATOR, Role.CHECKER, Role.SENIOR, Role.QA],
    "quin": [Role.QA],
}


@dataclass(frozen=True)
class Ward:
    """A database with its staff and one batch whose labels are being annotated."""

    conn: Connection
    staff: Mapping[str, Person]
    batch_id: int

    @property
    def labels(self) -> list[Label]:
        return labels.of_batch(self.conn, self.batch_id)

    @property
    def batch(self) -> Batch:
        return batch_store.get(self.conn, self.batch_id)

    def facts(self, label: Label, short: str, **other: Any) -> dict[str, Any]:
        """Return the parameters of CHECK, AUDIT and DECISION for a label as it stands and a person."""
        now = labels.get(self.conn, label.id)
        facts = {"label": now.id, "revision": now.revision_id, "round": now.round}
        batch = {"batch": self.batch_id, "attempt": self.batch.attempt}
        return {**facts, **batch, "person": self.staff[short].id, **other}

    def submit(self, label: Label) -> None:
        """Have the assignee hand in a new mask."""
        now = labels.get(self.conn, label.id)
        assignee = people.by_id(self.conn, now.annotator_id or 0)
        with self.conn.transaction():
            drawing.submit(self.conn, now.id, assignee, f"mask{now.id}.{now.round}", seconds=9.0)

    def check(self, label: Label, **verdicts: Finding) -> None:
        for short, finding in verdicts.items():
            with self.conn.transaction():
                checks.check(self.conn, label.id, self.staff[short], finding)

    def audit_all(self) -> None:
        for waiting in audits.queue(self.conn, self.staff["sue"]):
            with self.conn.transaction():
                audits.audit(self.conn, waiting.label_id, self.staff["sue"], GOOD)

    def decide(self, verdict: Any, note: str = "seen") -> None:
        with self.conn.transaction():
            batches.decide(self.conn, self.batch_id, self.staff["quin"], verdict, note)

    def pass_all(self) -> None:
        """Take every label that is drawn or revised through to passed."""
        for label in self.labels:
            if label.stage in (Stage.ANNOTATING, Stage.REVISING):
                self.submit(label)
            if label.stage is not Stage.PASSED:
                self.check(label, ben=GOOD, bea=GOOD)


@contextmanager
def own_database(stack: Settings, prefix: str) -> Iterator[Settings]:
    """Make an empty database on the stack's server, with the schema in it; drop it at the end."""
    name = f"{prefix}_{secrets.token_hex(4)}"
    own = stack.model_copy(update={"database_url": make_conninfo(stack.require("database_url"), dbname=name)})
    with connect(stack) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with connect(own) as fresh:
                migrate(fresh)
            yield own
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def ward_of(conn: Connection, labels_count: int) -> Ward:
    """Staff a ward and open a batch with that many labels, shared out between two annotators."""
    staff = {short: hire(conn, short, roles) for short, roles in STAFF.items()}
    add_cases(conn, labels_count)
    group_a, group_b = [staff["ann"], staff["amy"]], [staff["ben"], staff["bea"]]
    with conn.transaction():
        batch = batches.open_batch(conn, "lesion", labels_count, group_a, group_b, 0.5, OPERATOR)
        batches.start(conn, batch.id, OPERATOR)
    return Ward(conn, staff, batch.id)


def hire(conn: Connection, short: str, roles: list[Role]) -> Person:
    """Add somebody who cannot log in, which saves the time of a real password's hash."""
    conn.execute(
        "INSERT INTO people (email, name, roles, password_hash) VALUES (%s, %s, %s, '')",
        (f"{short}@example.org", short, roles),
    )
    return people.by_email(conn, f"{short}@example.org")


def add_cases(conn: Connection, count: int) -> None:
    """Add cases of ten slices, each of a patient of its own, with a label that is ready."""
    for _ in range(count):
        patient = secrets.token_hex(8)
        conn.execute("INSERT INTO patients (id, diagnosis) VALUES (%s, 'covid')", (patient,))
        row = conn.execute(
            """
            INSERT INTO cases (series_key, patient_id, site, manufacturer, scanner, source_slices, source_spacing,
                               spacing, shape, affine, volume, slices, dicom, policy_version)
            VALUES (%(patient)s, %(patient)s, 'north', 'm', 's', 10, '{2,1,1}', '{2,1,1}', '{10,5,5}',
                    '{{1,0,0,0},{0,1,0,0},{0,0,2,0},{0,0,0,1}}', 'v', '{}', '{}', '1') RETURNING id
            """,
            {"patient": patient},
        ).fetchone()
        assert row is not None
        labels.create(conn, row["id"], "lesion")


def take_in(
    conn: Connection,
    study: str | None,
    *,
    step: float = 2.5,
    height: float = 300.0,
    sharpness: str = "soft",
    patient: str = "p",
    replaces: tuple[int, ...] = (),
    shape: tuple[int, int, int] | None = None,
    slices: tuple[str, ...] = (),
) -> int:
    """Take a series of a study in as ingest does, steps and height in mm, and return its case."""
    count = round(height / step)
    case = NewCase(
        series_key=secrets.token_hex(16),
        patient=patient,
        site="north",
        manufacturer="m",
        scanner="s",
        source_slices=count,
        source_spacing=(step, 0.7, 0.7),
        spacing=(2.5, 0.7, 0.7),
        shape=shape or (count, 5, 5),
        affine=((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 2.5, 0.0), (0.0, 0.0, 0.0, 1.0)),
        thickness=step,
        lung_hu=None,
        volume="v",
        slices=slices,
        dicom="d",
        policy_version="3",
        study=study,
        sharpness=sharpness,
    )
    case_id = cases.accept(conn, case, ("lesion", "lung"), FLOW)
    assert case_id is not None
    cases.remember_release(conn, case_id, (), replaces, count)
    choosing.settle(conn, case_id, FLOW)
    return case_id


def refused(conn: Connection, says: str, statement: str, parameters: Any = None) -> None:
    """Run a statement that the database must refuse, for the reason given; what it did is undone."""
    with pytest.raises(psycopg.IntegrityError, match=says), conn.transaction():
        conn.execute(statement, parameters)
