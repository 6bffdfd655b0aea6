"""Which case of a study is read: one at most, the best while nobody has begun, and a person's word above the rule."""

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.integration.ward import FLOW, OPERATOR, STAFF, hire, own_database, take_in

from rounds.batches import service as batches
from rounds.batches.service import NothingReady
from rounds.cases import choosing, store, views
from rounds.cases.choosing import NoChoice
from rounds.cases.model import CaseUnknown
from rounds.db import Connection, connect
from rounds.labels import store as labels
from rounds.settings import Settings
from rounds.trail.reason import ReasonMissing

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def database(stack: Settings) -> Iterator[Settings]:
    with own_database(stack, "rounds_test_choosing") as own:
        yield own


@pytest.fixture
def conn(database: Settings) -> Iterator[Connection]:
    with connect(database) as conn, conn.transaction(force_rollback=True):
        yield conn


def chosen(conn: Connection) -> list[int]:
    return [one["case"] for one in store.everything(conn) if one["chosen"]]


def trail(conn: Connection, case_id: int) -> list[dict[str, Any]]:
    return conn.execute(
        """
        SELECT actor, action, reason, detail FROM trail
        WHERE subject = 'case' AND subject_id = %s AND action <> 'ingest' ORDER BY id
        """,
        (str(case_id),),
    ).fetchall()


def begin(conn: Connection, every_series: bool = False) -> list[int]:
    """Open a batch of lesion labels with new people; return the cases in it."""
    short = secrets.token_hex(4)
    ann, ben, bea = (hire(conn, f"{name}-{short}", STAFF[name]) for name in ("ann", "ben", "bea"))
    made = batches.open_batch(conn, "lesion", 50, [ann], [ben, bea], 0.5, OPERATOR, every_series)
    return sorted(label.case_id for label in labels.of_batch(conn, made.id))


def test_the_better_series_is_chosen_whichever_comes_first(conn: Connection) -> None:
    thick = take_in(conn, "1", step=5.0)
    assert chosen(conn) == [thick]
    assert trail(conn, thick) == []
    thin = take_in(conn, "1", step=1.0)
    assert chosen(conn) == [thin]
    take_in(conn, "1", step=1.0, sharpness="sharp")
    assert chosen(conn) == [thin]
    (told,) = trail(conn, thin)
    assert (told["actor"], told["action"], told["detail"]) == (FLOW, "choose", {"instead_of": thick})
    by_id = {one["id"]: one for one in views.listing(conn, None)}
    assert by_id[thin]["choice"] == "best of 3 series of its study: thinner slices than the next"
    assert [by_id[thick]["read"], by_id[thick]["choice"], by_id[thick]["series"]] == [thin, "", 3]


def test_a_study_is_one_patients_and_cases_without_one_stand_alone(conn: Connection) -> None:
    found = [
        take_in(conn, "1"),
        take_in(conn, "2"),
        take_in(conn, "1", patient="q"),
        take_in(conn, None),
        take_in(conn, None),
    ]
    assert chosen(conn) == found


def test_a_better_series_that_comes_late_does_not_take_work_away(conn: Connection) -> None:
    first = take_in(conn, "1", step=5.0)
    assert begin(conn) == [first]
    late = take_in(conn, "1", step=1.0)
    assert chosen(conn) == [first]
    (told,) = trail(conn, first)
    assert (told["action"], told["reason"]) == ("keep_choice", "its labels have begun")
    assert told["detail"]["better"] == late
    with pytest.raises(NothingReady, match="the series to read"):
        begin(conn)


def test_a_batch_draws_chosen_cases_unless_all_are_asked_for(conn: Connection) -> None:
    thick, thin, other = take_in(conn, "1", step=5.0), take_in(conn, "1", step=1.0), take_in(conn, "2")
    assert begin(conn) == [thin, other]
    assert begin(conn, every_series=True) == [thick]


def test_a_persons_choice_stands_against_the_rule(conn: Connection) -> None:
    thin, thick = take_in(conn, "1", step=1.0), take_in(conn, "1", step=5.0)
    assert choosing.choose(conn, thick, OPERATOR, "  the thin one\nhas motion ") == thin
    assert chosen(conn) == [thick]
    (told,) = trail(conn, thick)
    assert (told["actor"], told["reason"]) == (OPERATOR, "the thin one has motion")
    assert told["detail"] == {"instead_of": thin}
    take_in(conn, "1", step=0.9, height=400)
    assert chosen(conn) == [thick]
    assert trail(conn, thick)[-1]["reason"] == "a person chose this case"
    assert begin(conn) == [thick]
    assert choosing.choose(conn, thin, OPERATOR, "after all") == thick


def test_a_case_that_was_replaced_is_never_the_one_to_read(conn: Connection) -> None:
    partial, other = take_in(conn, "1", height=200.0), take_in(conn, "1", step=5.0, height=150.0)
    assert chosen(conn) == [partial]
    whole = take_in(conn, "1", height=300.0, replaces=(partial,))
    assert chosen(conn) == [whole]
    with pytest.raises(NoChoice, match="replaced"):
        choosing.choose(conn, partial, OPERATOR, "why not")
    assert other not in chosen(conn)


def test_what_cannot_be_chosen_is_said(conn: Connection) -> None:
    one, lone = take_in(conn, "1"), take_in(conn, None)
    with pytest.raises(ReasonMissing, match="say why"):
        choosing.choose(conn, one, OPERATOR, "  ")
    with pytest.raises(NoChoice, match="not known"):
        choosing.choose(conn, lone, OPERATOR, "because")
    with pytest.raises(CaseUnknown):
        choosing.choose(conn, 999_999, OPERATOR, "because")


def test_the_database_refuses_a_second_choice_and_one_without_a_reason(conn: Connection) -> None:
    take_in(conn, "1", step=1.0)
    thick = take_in(conn, "1", step=5.0)
    for values, name in (
        ("chosen = true, choice = 'x', chosen_by = 'y'", "one_chosen_case_a_study"),
        ("chosen = true", "choice_of_a_study_has_a_reason|one_chosen_case"),
        ("study = NULL", "chosen_or_of_a_study"),
    ):
        with pytest.raises(psycopg.IntegrityError, match=name), conn.transaction():
            conn.execute(f"UPDATE cases SET {values} WHERE id = %s", (thick,))  # noqa: S608
