"""What was said and frozen stays: append-only tables, the trail's chain, and people acting at the same instant."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from tests.integration.ward import BAD, GOOD, OPERATOR, Ward, add_cases, own_database, ward_of

from rounds.audits.model import upper_bound
from rounds.batches import quality
from rounds.batches import service as batches
from rounds.batches import store as batch_store
from rounds.batches.model import BatchState, IllegalBatchMove
from rounds.checks import service as checks
from rounds.checks.model import Finding
from rounds.datasets import service as datasets
from rounds.datasets.model import NotEnough
from rounds.db import Connection, connect
from rounds.labels import service as drawing
from rounds.labels import store as labels
from rounds.labels import tasks
from rounds.labels.model import Stage
from rounds.people.model import Person
from rounds.releases import store as releases
from rounds.settings import Settings
from rounds.trail import store as trail
from rounds.trail.model import verify

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def database(stack: Settings) -> Iterator[Settings]:
    with own_database(stack, "records") as own:
        yield own


@pytest.fixture
def conn(database: Settings) -> Iterator[Connection]:
    """Open a transaction that is undone after the test."""
    with connect(database) as conn, conn.transaction(force_rollback=True):
        yield conn


@pytest.fixture
def ward(conn: Connection) -> Ward:
    return ward_of(conn, labels_count=4)


class Objects:
    """An object store that keeps nothing but the name."""

    def put(self, data: bytes, suffix: str) -> str:
        return hashlib.sha256(data).hexdigest() + suffix


APPEND_ONLY = (
    "trail",
    "revisions",
    "checks",
    "audits",
    "decisions",
    "drawn_labels",
    "datasets",
    "dataset_members",
    "models",
    "promotions",
    "splits",
)


def test_what_was_said_and_frozen_is_append_only(conn: Connection) -> None:
    ward = ward_of(conn, labels_count=10)
    ward.pass_all()
    ward.audit_all()
    ward.decide("accept")
    frozen = datasets.freeze(conn, Objects(), "lesion", OPERATOR, test_share=0.3)  # type: ignore[arg-type]
    model = releases.register(
        conn,
        OPERATOR,
        task="segmentation",
        scheme="lesion",
        dataset_id=frozen.id,
        stage=7,
        recipe={},
        seed=0,
        weights="w",
        metrics={},
        seconds=1.0,
        device="cpu",
    )
    releases.promote(conn, model.id, OPERATOR)
    for table in APPEND_ONLY:
        name = sql.Identifier(table)
        first = conn.execute(sql.SQL("SELECT * FROM {} LIMIT 1").format(name)).fetchone()
        assert first, f"{table} is empty: nothing would be tested"
        column = sql.Identifier(list(first)[-1])
        for statement in ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"):
            with pytest.raises(psycopg.IntegrityError, match="is append-only"), conn.transaction():
                conn.execute(sql.SQL(statement).format(name, column))


def test_scheme_whose_patients_are_all_on_the_training_side_is_not_frozen_without_a_test_set(
    conn: Connection,
) -> None:
    ward = ward_of(conn, labels_count=4)
    ward.pass_all()
    ward.audit_all()
    ward.decide("accept")
    add_cases(conn, 1)
    conn.execute(
        "INSERT INTO splits SELECT id, 'train' FROM patients WHERE id IN (SELECT patient_id FROM cases)"
    )
    conn.execute("INSERT INTO patients (id) VALUES ('elsewhere')")
    conn.execute("INSERT INTO splits VALUES ('elsewhere', 'test')")
    with pytest.raises(NotEnough, match="test set"):
        datasets.freeze(conn, Objects(), "lesion", OPERATOR, test_share=0.3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE trail SET actor = 'person:0' WHERE id = 5", 5),
        ("UPDATE trail SET detail = '{}' WHERE id = 6", 6),
        ("UPDATE trail SET at = at + interval '1 second' WHERE id = 7", 7),
        ("DELETE FROM trail WHERE id = 8", 9),
    ],
)
def test_chain_holds_and_a_superusers_tampering_is_found(ward: Ward, tampering: str, broken: int) -> None:
    for label in ward.labels:
        ward.submit(label)
    sound = verify(trail.rows(ward.conn))
    assert sound.broken_at is None
    assert sound.rows >= 11
    assert sound.head == trail.head(ward.conn)
    with ward.conn.transaction(force_rollback=True):
        ward.conn.execute("ALTER TABLE trail DISABLE TRIGGER append_only")
        ward.conn.execute(tampering)
        assert verify(trail.rows(ward.conn)).broken_at == broken
    ward.conn.execute(
        "INSERT INTO trail (id, at, actor, action, subject, subject_id, previous, hash)"
        " VALUES (1, 'epoch', 'a', 'b', 'c', 'd', 'e', 'f')"
    )
    added = ward.conn.execute("SELECT * FROM trail ORDER BY id DESC LIMIT 1").fetchone()
    assert added is not None
    assert (added["id"], added["previous"]) == (sound.rows + 1, sound.head)
    assert verify(trail.rows(ward.conn)).broken_at is None


Work = Callable[[Connection], None]


def at_once(database: Settings, *works: Work) -> list[BaseException | None]:
    """Do every work in a transaction of a connection of its own, all begun at the same instant; return errors."""
    start = threading.Barrier(len(works))

    def run(work: Work) -> BaseException | None:
        with connect(database) as conn:
            start.wait(timeout=20)
            try:
                with conn.transaction():
                    work(conn)
            except Exception as error:
                return error
        return None

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, works))


def verdict_of(label_id: int, checker: Person, finding: Finding) -> Work:
    return lambda conn: void(checks.check(conn, label_id, checker, finding))


def void(_result: object) -> None:
    return None


@pytest.fixture
def standing(database: Settings) -> Iterator[Ward]:
    """A ward whose rows are committed, for connections that must see each other's work."""
    with connect(database) as conn:
        yield ward_of(conn, labels_count=4)
        conn.execute("UPDATE people SET email = id || email")  # the next ward hires the same names


def moves_of(ward: Ward, label_id: int) -> list[str]:
    return [event.action for event in trail.history(ward.conn, "label", label_id)]


@pytest.mark.parametrize("second", [GOOD, BAD])
def test_two_checkers_at_the_same_instant_decide_exactly_once(
    database: Settings, standing: Ward, second: Finding
) -> None:
    ward = standing
    for label in ward.labels:
        ward.submit(label)
        works = [
            verdict_of(label.id, ward.staff["ben"], GOOD),
            verdict_of(label.id, ward.staff["bea"], second),
        ]
        assert at_once(database, *works) == [None, None]
        decided = "pass" if second is GOOD else "fail"
        assert moves_of(ward, label.id) == ["assign", "submit", decided]
    assert {label.stage for label in ward.labels} == {Stage.PASSED if second is GOOD else Stage.REVISING}


def test_one_checker_twice_at_the_same_instant_is_one_verdict(database: Settings, standing: Ward) -> None:
    label = standing.labels[0]
    standing.submit(label)
    works = [verdict_of(label.id, standing.staff["ben"], GOOD)] * 2
    errors = [error for error in at_once(database, *works) if error is not None]
    assert [type(error).__name__ for error in errors] == ["NotAllowed"]
    assert labels.get(standing.conn, label.id).stage is Stage.CHECKING


def test_last_verdicts_at_the_same_instant_draw_once(database: Settings, standing: Ward) -> None:
    ward = standing
    *others, one, two = ward.labels
    for label in others:
        ward.submit(label)
        ward.check(label, ben=GOOD, bea=GOOD)
    for label in (one, two):
        ward.submit(label)
        ward.check(label, ben=GOOD)
    bea = ward.staff["bea"]
    assert at_once(database, verdict_of(one.id, bea, GOOD), verdict_of(two.id, bea, GOOD)) == [None, None]
    assert ward.batch.state is BatchState.AUDITING
    history = [event.action for event in trail.history(ward.conn, "batch", ward.batch_id)]
    assert history.count("draw") == 1
    assert len(batch_store.draw_of(ward.conn, ward.batch_id, 1).labels) == 2


def test_two_decisions_at_the_same_instant_are_one(database: Settings, standing: Ward) -> None:
    ward = standing
    ward.pass_all()
    ward.audit_all()
    quin = ward.staff["quin"]

    def accept(conn: Connection) -> None:
        batches.decide(conn, ward.batch_id, quin, "accept", "")

    def reject(conn: Connection) -> None:
        batches.decide(conn, ward.batch_id, quin, "reject", "no")

    errors = [error for error in at_once(database, accept, reject) if error is not None]
    assert [type(error) for error in errors] == [IllegalBatchMove]
    assert ward.batch.state in (BatchState.ACCEPTED, BatchState.REJECTED)
    assert len({label.stage for label in ward.labels}) == 1


def test_a_drawn_label_withdrawn_unaudited_counts_as_defective(ward: Ward) -> None:
    ward.pass_all()
    drawn = batch_store.draw_of(ward.conn, ward.batch_id, 1).labels
    assert len(drawn) == 2
    drawing.withdraw(ward.conn, drawn[0], OPERATOR, "motion")
    assert quality.audit_result(ward.conn, ward.batch).upper_bound_95 is None
    ward.audit_all()
    found = quality.audit_result(ward.conn, ward.batch)
    assert (found.drawn, found.of, found.audited, found.failed, found.lost) == (2, 4, 1, 0, 1)
    assert found.upper_bound_95 == upper_bound(4, 2, 1)
    assert ward.batch.state is BatchState.DECIDING


def test_a_batch_whose_labels_are_all_withdrawn_ends(ward: Ward) -> None:
    for label in ward.labels:
        drawing.withdraw(ward.conn, label.id, OPERATOR, "motion")
    ward.decide("accept")  # refused unless the batch waits for a decision
    assert ward.batch.state is BatchState.ACCEPTED
    assert quality.audit_result(ward.conn, ward.batch).upper_bound_95 is None
    assert {label.stage for label in ward.labels} == {Stage.WITHDRAWN}


def test_labels_of_a_batch_that_is_being_opened_wait_for_their_pre_labels(conn: Connection) -> None:
    ward = ward_of(conn, labels_count=2)
    add_cases(conn, 2)
    group_a, group_b = [ward.staff["ann"]], [ward.staff["ben"], ward.staff["bea"]]
    opening = batches.open_batch(conn, "lesion", 2, group_a, group_b, 0.5, OPERATOR)
    standing, coming = ([label.id for label in labels.of_batch(conn, b)] for b in (ward.batch_id, opening.id))
    assert set(standing) <= set(tasks.lacking(conn))
    assert not set(coming) & set(tasks.lacking(conn))
    assert sorted(tasks.lacking(conn, opening.id)) == sorted(coming)
    batches.start(conn, opening.id, OPERATOR)
    assert set(standing + coming) <= set(tasks.lacking(conn))


def test_two_batches_opened_at_the_same_instant_share_no_label(database: Settings, standing: Ward) -> None:
    add_cases(standing.conn, 8)
    staff = standing.staff
    opened: list[int] = []

    def open_one(conn: Connection) -> None:
        group_a, group_b = [staff["ann"]], [staff["ben"], staff["bea"]]
        opened.append(batches.open_batch(conn, "lesion", 4, group_a, group_b, 0.5, OPERATOR).id)
        time.sleep(0.1)  # both are open before either is committed, where the locks let them

    assert at_once(database, open_one, open_one) == [None, None]
    dealt = [[label.id for label in labels.of_batch(standing.conn, batch)] for batch in opened]
    assert [len(ids) for ids in dealt] == [4, 4]
    assert not set(dealt[0]) & set(dealt[1])


def test_trail_written_from_many_connections_is_one_chain(database: Settings, standing: Ward) -> None:
    def write(conn: Connection) -> None:
        for number in range(10):
            trail.record(conn, OPERATOR, "test", "thing", number)

    before = sum(1 for _ in trail.rows(standing.conn))
    assert at_once(database, *[write] * 4) == [None] * 4
    found = verify(trail.rows(standing.conn))
    assert (found.rows, found.broken_at) == (before + 40, None)
