"""The database refuses what the domain refuses: raw SQL against real PostgreSQL, in a database of its own."""

import hashlib
from collections.abc import Iterator
from itertools import product

import pytest
from tests.integration.ward import BAD, GOOD, Ward, add_cases, own_database, refused, ward_of

from rounds.audits import service as audits
from rounds.batches import store as batch_store
from rounds.batches.model import MOVES, BatchState
from rounds.checks import service as checks
from rounds.db import Connection, connect
from rounds.labels import store as labels
from rounds.labels.model import TABLE, Stage
from rounds.labels.store import Label
from rounds.people import store as people
from rounds.settings import Settings

pytestmark = pytest.mark.stack

CHECK = """
    INSERT INTO checks (label_id, revision_id, round, checker_id, verdict, reasons, slices, note)
    VALUES (%(label)s, %(revision)s, %(round)s, %(person)s, 'pass', '{}', '{}', '')
"""
AUDIT = """
    INSERT INTO audits (batch_id, attempt, label_id, revision_id, senior_id, verdict, reasons, slices, note)
    VALUES (%(batch)s, %(attempt)s, %(label)s, %(revision)s, %(person)s, 'pass', '{}', '{}', '')
"""
DECISION = """
    INSERT INTO decisions (batch_id, attempt, reviewer_id, verdict, note, shown)
    VALUES (%(batch)s, %(attempt)s, %(person)s, 'accept', '', '{}')
"""


@pytest.fixture(scope="module")
def database(stack: Settings) -> Iterator[Settings]:
    with own_database(stack, "guards") as own:
        yield own


@pytest.fixture
def conn(database: Settings) -> Iterator[Connection]:
    """Open a transaction that is undone after the test."""
    with connect(database) as conn, conn.transaction(force_rollback=True):
        yield conn


@pytest.fixture
def ward(conn: Connection) -> Ward:
    return ward_of(conn, labels_count=4)


def place(conn: Connection, label: Label, stage: str) -> None:
    """Put a label into a stage behind the guards' back, as only a superuser can."""
    conn.execute("SET LOCAL session_replication_role = replica")
    conn.execute("UPDATE labels SET stage = %s, reason = 'test' WHERE id = %s", (stage, label.id))
    conn.execute("SET LOCAL session_replication_role = origin")


def test_tables_of_legal_moves_are_those_of_the_domain(conn: Connection) -> None:
    moves = {(row["source"], row["target"]) for row in conn.execute("SELECT * FROM label_moves")}
    assert moves == {(str(move.source), str(move.target)) for move in TABLE}
    steps = {(row["source"], row["target"]) for row in conn.execute("SELECT * FROM batch_moves")}
    assert steps == {(str(source), str(goal)) for source, goals in MOVES.items() for goal in goals}


def test_every_illegal_pair_of_stages_is_refused(ward: Ward) -> None:
    legal = {(move.source, move.target) for move in TABLE}
    pairs = [(a, b) for a, b in product(Stage, Stage) if a is not b and (a, b) not in legal]
    assert len(pairs) == 28
    label = ward.labels[0]
    for source, goal in pairs:
        place(ward.conn, label, source)
        says = f"a label cannot go from {source} to {goal}"
        refused(ward.conn, says, "UPDATE labels SET stage = %s WHERE id = %s", (goal, label.id))


def test_legal_pairs_are_refused_too_without_what_earns_them(ward: Ward) -> None:
    label, other = ward.labels[:2]
    ward.submit(other)
    for move in TABLE:
        if move.target is Stage.WITHDRAWN or move.source is Stage.READY:
            continue
        place(ward.conn, label, move.source)
        refused(
            ward.conn,
            "a label is submitted|a label passes|a label fails|a passed label is|a label is accepted",
            "UPDATE labels SET stage = %s, round = round + 1, revision_id = %s WHERE id = %s",
            (move.target, labels.get(ward.conn, other.id).revision_id, label.id),
        )


def test_every_illegal_pair_of_batch_states_is_refused(ward: Ward) -> None:
    pairs = [(a, b) for a, b in product(BatchState, BatchState) if a is not b and b not in MOVES[a]]
    assert len(pairs) == 24
    for source, goal in pairs:
        ward.conn.execute("SET LOCAL session_replication_role = replica")
        ward.conn.execute("UPDATE batches SET state = %s WHERE id = %s", (source, ward.batch_id))
        ward.conn.execute("SET LOCAL session_replication_role = origin")
        says = f"a batch cannot go from {source} to {goal}"
        refused(ward.conn, says, "UPDATE batches SET state = %s WHERE id = %s", (goal, ward.batch_id))


def test_label_starts_ready_and_is_withdrawn_with_a_reason_only(ward: Ward) -> None:
    add_cases(ward.conn, 1)
    new = ward.conn.execute("SELECT max(id) AS id FROM cases").fetchone()
    assert new is not None
    statement = "INSERT INTO labels (case_id, scheme, stage, reason) VALUES (%s, 'lung', %s, 'x')"
    refused(ward.conn, "a label starts as ready", statement, (new["id"], "withdrawn"))
    withdraw = "UPDATE labels SET stage = 'withdrawn' WHERE id = %s"
    refused(ward.conn, "labels_check", withdraw, (ward.labels[0].id,))


def test_revision_and_round_change_with_a_move_only(ward: Ward) -> None:
    label = ward.labels[0]
    ward.submit(label)
    says = "a new revision or round needs a move"
    refused(ward.conn, says, "UPDATE labels SET round = round + 1 WHERE id = %s", (label.id,))
    refused(ward.conn, says, "UPDATE labels SET revision_id = NULL WHERE id = %s", (label.id,))


def test_annotator_is_of_group_a_and_checks_nothing(ward: Ward) -> None:
    label, staff = ward.labels[0], ward.staff
    assign = "UPDATE labels SET annotator_id = %s WHERE id = %s"
    refused(ward.conn, "not in Group A", assign, (staff["quin"].id, label.id))
    ward.conn.execute("UPDATE people SET roles = roles || '{annotator}' WHERE id = %s", (staff["ben"].id,))
    refused(ward.conn, "different people", assign, (staff["ben"].id, label.id))
    ward.conn.execute("UPDATE people SET active = false WHERE id = %s", (staff["max"].id,))
    refused(ward.conn, "not in Group A", assign, (staff["max"].id, label.id))
    ward.submit(label)
    refused(ward.conn, "only while somebody draws it", assign, (staff["amy"].id, label.id))


def test_submission_is_a_new_revision_of_this_label_by_its_assignee(ward: Ward) -> None:
    label, other = (one for one in ward.labels if one.annotator_id == ward.staff["ann"].id)
    by_amy = labels.add_revision(ward.conn, label.id, "m1", person_id=ward.staff["amy"].id)
    of_other = labels.add_revision(ward.conn, other.id, "m2", person_id=ward.staff["ann"].id)
    fine = labels.add_revision(ward.conn, label.id, "m3", person_id=ward.staff["ann"].id)
    submit = "UPDATE labels SET stage = 'checking', round = round + %s, revision_id = %s WHERE id = %s"
    says = "submitted with a new revision by its assignee"
    for step, revision in ((1, by_amy), (1, of_other), (0, fine), (2, fine)):
        refused(ward.conn, says, submit, (step, revision.id, label.id))
    ward.conn.execute(submit, (1, fine.id, label.id))
    assert labels.get(ward.conn, label.id).stage is Stage.CHECKING


def test_checkers_are_of_group_b_and_drew_none_of_it(ward: Ward) -> None:
    add = "INSERT INTO batch_checkers (batch_id, person_id) VALUES (%s, %s)"
    refused(ward.conn, "not in Group B", add, (ward.batch_id, ward.staff["quin"].id))
    ward.conn.execute("UPDATE people SET roles = roles || '{checker}' WHERE id = %s", (ward.staff["ann"].id,))
    refused(ward.conn, "different people", add, (ward.batch_id, ward.staff["ann"].id))


def test_who_may_check(ward: Ward) -> None:
    label = ward.labels[0]
    refused(ward.conn, "null value|while the label is being checked", CHECK, ward.facts(label, "ben"))
    ward.submit(label)
    for short in ("bob", "ann", "quin", "max"):
        refused(ward.conn, "only the two checkers of the batch", CHECK, ward.facts(label, short))
    ward.conn.execute(CHECK, ward.facts(label, "ben"))
    refused(ward.conn, "duplicate key", CHECK, ward.facts(label, "ben"))


def test_checker_who_once_drew_the_label_is_refused(ward: Ward) -> None:
    label = next(one for one in ward.labels if one.annotator_id == ward.staff["ann"].id)
    labels.add_revision(ward.conn, label.id, "old", person_id=ward.staff["ben"].id)
    ward.submit(label)
    refused(ward.conn, "different people", CHECK, ward.facts(label, "ben"))


def test_check_of_an_old_revision_or_round_is_refused(ward: Ward) -> None:
    label = ward.labels[0]
    ward.submit(label)
    old = ward.facts(label, "ben")
    ward.check(label, ben=BAD, bea=GOOD)
    ward.submit(label)
    for stale in (old, {**old, "round": 2}, ward.facts(label, "ben", round=1)):
        refused(ward.conn, "the revision that stands|duplicate key", CHECK, stale)
    ward.conn.execute(CHECK, ward.facts(label, "ben"))


def test_failed_check_without_a_reason_is_refused(ward: Ward) -> None:
    ward.submit(ward.labels[0])
    refused(ward.conn, "checks_check", CHECK.replace("'pass'", "'fail'"), ward.facts(ward.labels[0], "ben"))


@pytest.mark.parametrize(
    ("verdicts", "goal"),
    [
        ("", "passed revising"),
        ("ben:pass", "passed revising"),
        ("ben:fail", "passed revising"),
        ("ben:pass bea:fail", "passed"),
        ("ben:fail bea:fail", "passed"),
        ("ben:pass bea:pass", "revising"),
    ],
)
def test_both_verdicts_decide_and_nothing_less(ward: Ward, verdicts: str, goal: str) -> None:
    label = ward.labels[0]
    ward.submit(label)
    for short, verdict in (one.split(":") for one in verdicts.split()):
        statement = CHECK.replace("'pass', '{}'", f"'{verdict}', '{{boundary}}'")
        ward.conn.execute(statement, ward.facts(label, short))
    for stage in goal.split():
        says = "a label passes when both|a label fails when both"
        refused(ward.conn, says, "UPDATE labels SET stage = %s WHERE id = %s", (stage, label.id))


def test_passes_of_an_earlier_revision_count_for_nothing(ward: Ward) -> None:
    label = ward.labels[0]
    ward.submit(label)
    ward.check(label, ben=GOOD, bea=BAD)
    ward.submit(label)
    ward.conn.execute(CHECK, ward.facts(label, "bea"))
    refused(
        ward.conn, "both checkers passed", "UPDATE labels SET stage = 'passed' WHERE id = %s", (label.id,)
    )


def test_checker_is_blind_until_both_are_in(ward: Ward) -> None:
    label = ward.labels[0]
    ward.submit(label)

    def seen(short: str) -> list[tuple[int, str]]:
        found = checks.visible(ward.conn, label.id, ward.staff[short])
        return [(verdict.round, people.by_id(ward.conn, verdict.checker_id).name) for verdict in found]

    ward.check(label, ben=BAD)
    assert (seen("ben"), seen("bea"), seen("sue")) == ([(1, "ben")], [], [])
    ward.check(label, bea=GOOD)
    assert seen("ben") == seen("bea") == seen("sue") == [(1, "ben"), (1, "bea")]
    ward.submit(label)
    ward.check(label, bea=GOOD)
    assert seen("ben") == [(1, "ben"), (1, "bea")]
    assert seen("bea") == [(1, "ben"), (1, "bea"), (2, "bea")]


def test_audit_is_of_drawn_labels_by_a_senior_who_did_neither(ward: Ward) -> None:
    refused(ward.conn, "audit is of a drawn|null value", AUDIT, ward.facts(ward.labels[0], "sue"))
    ward.pass_all()
    assert ward.batch.state is BatchState.AUDITING
    drawn = batch_store.draw_of(ward.conn, ward.batch_id, 1).labels
    assert len(drawn) == 2
    inside = next(label for label in ward.labels if label.id in drawn)
    outside = next(label for label in ward.labels if label.id not in drawn)
    refused(ward.conn, "drawn_labels|foreign key", AUDIT, ward.facts(outside, "sue"))
    refused(ward.conn, "not a senior", AUDIT, ward.facts(inside, "quin"))
    refused(ward.conn, "different people", AUDIT, ward.facts(inside, "ben"))  # a senior, and its checker
    refused(ward.conn, "drawn label that passed", AUDIT, ward.facts(inside, "sue", attempt=2))
    old = labels.add_revision(ward.conn, inside.id, "old", person_id=inside.annotator_id)
    refused(ward.conn, "drawn label that passed", AUDIT, ward.facts(inside, "sue", revision=old.id))
    ward.conn.execute("UPDATE people SET roles = roles || '{senior}' WHERE id = %s", (inside.annotator_id,))
    annotator = next(short for short, person in ward.staff.items() if person.id == inside.annotator_id)
    refused(ward.conn, "different people", AUDIT, ward.facts(inside, annotator))
    ward.conn.execute(AUDIT, ward.facts(inside, "sue"))
    refused(ward.conn, "duplicate key", AUDIT, ward.facts(inside, "sue"))


def test_senior_neither_draws_nor_checks_what_he_audited(ward: Ward) -> None:
    ward.pass_all()
    waiting = audits.queue(ward.conn, ward.staff["max"])[0]
    with ward.conn.transaction():
        label = audits.audit(ward.conn, waiting.label_id, ward.staff["max"], BAD)
    assert label.stage is Stage.REVISING
    assign = "UPDATE labels SET annotator_id = %s WHERE id = %s"
    refused(ward.conn, "different people", assign, (ward.staff["max"].id, label.id))
    add = "INSERT INTO batch_checkers (batch_id, person_id) VALUES (%s, %s)"
    refused(ward.conn, "different people", add, (ward.batch_id, ward.staff["max"].id))


def test_passed_label_is_revised_only_when_its_audit_failed(ward: Ward) -> None:
    ward.pass_all()
    revise = "UPDATE labels SET stage = 'revising' WHERE id = %s"
    for label in ward.labels:
        refused(ward.conn, "only when a senior failed it", revise, (label.id,))
    ward.audit_all()
    for label in ward.labels:
        refused(ward.conn, "only when a senior failed it", revise, (label.id,))


def test_failed_audit_is_revised_checked_and_audited_again_in_the_same_attempt(ward: Ward) -> None:
    ward.pass_all()
    first = audits.queue(ward.conn, ward.staff["sue"])[0]
    with ward.conn.transaction():
        audits.audit(ward.conn, first.label_id, ward.staff["sue"], BAD)
    ward.audit_all()
    assert ward.batch.state is BatchState.AUDITING
    refused(
        ward.conn, "decided when every drawn label is audited", DECISION, ward.facts(ward.labels[0], "quin")
    )
    ward.pass_all()
    again = audits.queue(ward.conn, ward.staff["sue"])
    assert [waiting.label_id for waiting in again] == [first.label_id]
    ward.audit_all()
    assert (ward.batch.state, ward.batch.attempt) == (BatchState.DECIDING, 1)


def test_decision_is_a_qa_reviewers_and_only_when_deciding(ward: Ward) -> None:
    label = ward.labels[0]
    refused(ward.conn, "when every drawn label is audited", DECISION, ward.facts(label, "quin"))
    ward.pass_all()
    refused(ward.conn, "when every drawn label is audited", DECISION, ward.facts(label, "quin"))
    ward.audit_all()
    assert ward.batch.state is BatchState.DECIDING
    refused(ward.conn, "a QA reviewer", DECISION, ward.facts(label, "sue"))
    refused(ward.conn, "when every drawn label is audited", DECISION, ward.facts(label, "quin", attempt=2))
    for state in ("accepted", "rejected"):
        statement = "UPDATE batches SET state = %s WHERE id = %s"
        refused(ward.conn, "by a QA reviewer", statement, (state, ward.batch_id))
    accept = "UPDATE labels SET stage = 'accepted' WHERE id = %s"
    refused(ward.conn, "accepted with its batch", accept, (label.id,))
    ward.decide("accept")
    refused(ward.conn, "when every drawn label|duplicate key", DECISION, ward.facts(label, "quin"))
    assert {one.stage for one in ward.labels} == {Stage.ACCEPTED}


def test_rejected_batch_is_checked_again_whole_under_tightened_inspection(ward: Ward) -> None:
    ward.pass_all()
    recheck = "UPDATE labels SET stage = 'checking', round = round + 1 WHERE id = %s"
    refused(ward.conn, "only when its batch was rejected", recheck, (ward.labels[0].id,))
    ward.audit_all()
    before = {label.id: (label.round, label.revision_id) for label in ward.labels}
    ward.decide("reject", "boundaries too wide")
    assert {one.stage for one in ward.labels} == {Stage.CHECKING}
    assert {one.id: (one.round - 1, one.revision_id) for one in ward.labels} == before
    refused(
        ward.conn, "both checkers passed", "UPDATE labels SET stage = 'passed' WHERE id = %s", (min(before),)
    )
    ward.pass_all()
    draws = [batch_store.draw_of(ward.conn, ward.batch_id, attempt) for attempt in (1, 2)]
    assert [(draw.share, len(draw.labels)) for draw in draws] == [(0.5, 2), (1.0, 4)]
    assert len(audits.queue(ward.conn, ward.staff["sue"])) == 4


def test_batch_is_audited_only_after_its_draw(ward: Ward) -> None:
    statement = "UPDATE batches SET state = 'auditing' WHERE id = %s"
    refused(ward.conn, "after its sample was drawn", statement, (ward.batch_id,))


def test_draw_happens_once_from_the_seed_that_was_sealed(ward: Ward) -> None:
    says = "drawn once, from the seed that was written down"
    for column, value in (("seed", "mine"), ("share", 0.1), ("commitment", "x"), ("attempt", 2)):
        statement = f"UPDATE draws SET {column} = %s WHERE batch_id = %s"  # noqa: S608
        refused(ward.conn, says, statement, (value, ward.batch_id))
    refused(ward.conn, "append-only", "DELETE FROM draws WHERE batch_id = %s", (ward.batch_id,))
    assert batch_store.draw_of(ward.conn, ward.batch_id, 1).seed is None
    ward.pass_all()
    refused(ward.conn, says, "UPDATE draws SET drawn_at = now() WHERE batch_id = %s", (ward.batch_id,))
    draw = batch_store.draw_of(ward.conn, ward.batch_id, 1)
    assert draw.seed is not None
    assert hashlib.sha256(draw.seed.encode()).hexdigest() == draw.commitment
