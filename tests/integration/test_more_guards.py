"""More of what raw SQL cannot do: batches begin open, labels stay where they are, samples are drawn and not picked."""

from collections.abc import Iterator

import pytest
from tests.integration.ward import Ward, own_database, refused, ward_of

from rounds.batches import store as batch_store
from rounds.batches.model import BatchState
from rounds.db import Connection, connect
from rounds.settings import Settings

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def database(stack: Settings) -> Iterator[Settings]:
    with own_database(stack, "guards") as own:
        yield own


@pytest.fixture
def ward(database: Settings) -> Iterator[Ward]:
    with connect(database) as conn, conn.transaction(force_rollback=True):
        yield ward_of(conn, labels_count=4)


def new_batch(conn: Connection) -> int:
    row = conn.execute("INSERT INTO batches (scheme) VALUES ('lesion') RETURNING id").fetchone()
    assert row is not None
    return int(row["id"])


def test_batch_begins_open_and_counts_attempts_by_rejections(ward: Ward) -> None:
    born = "INSERT INTO batches (scheme, state) VALUES ('lesion', 'accepted')"
    refused(ward.conn, "starts as open", born)
    bump = "UPDATE batches SET attempt = attempt + 1 WHERE id = %s"
    refused(ward.conn, "attempt begins with a rejection", bump, (ward.batch_id,))


def test_batch_is_deciding_only_after_every_audit(ward: Ward) -> None:
    ward.pass_all()
    step = "UPDATE batches SET state = 'deciding' WHERE id = %s"
    refused(ward.conn, "when every drawn label is audited", step, (ward.batch_id,))
    ward.audit_all()
    assert ward.batch.state is BatchState.DECIDING


def test_label_keeps_its_case_scheme_and_batch(ward: Ward) -> None:
    other, label = new_batch(ward.conn), ward.labels[0]
    says = "keeps its case, its scheme and its batch"
    refused(ward.conn, says, "UPDATE labels SET batch_id = %s WHERE id = %s", (other, label.id))
    refused(ward.conn, says, "UPDATE labels SET scheme = 'lung' WHERE id = %s", (label.id,))
    refused(ward.conn, "append-only", "DELETE FROM labels WHERE id = %s", (label.id,))
    refused(ward.conn, "append-only", "DELETE FROM batches WHERE id = %s", (other,))


def test_checkers_of_a_batch_are_two_and_stay(ward: Ward) -> None:
    add = "INSERT INTO batch_checkers (batch_id, person_id) VALUES (%s, %s)"
    refused(ward.conn, "has two checkers", add, (ward.batch_id, ward.staff["bob"].id))
    swap = "UPDATE batch_checkers SET person_id = %s WHERE person_id = %s"
    refused(ward.conn, "append-only", swap, (ward.staff["bob"].id, ward.staff["ben"].id))
    refused(ward.conn, "append-only", "DELETE FROM batch_checkers WHERE batch_id = %s", (ward.batch_id,))


def test_sample_is_drawn_and_not_picked(ward: Ward) -> None:
    pick = "INSERT INTO drawn_labels (batch_id, attempt, label_id) VALUES (%s, 1, %s)"
    refused(ward.conn, "in the very transaction", pick, (ward.batch_id, ward.labels[0].id))
    ward.pass_all()
    assert len(batch_store.draw_of(ward.conn, ward.batch_id, 1).labels) == 2
