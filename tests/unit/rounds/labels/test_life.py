"""The life of a label: every pair of stage and action, legal ones as the design has them, all others refused."""

import pytest

from rounds.labels.model import TABLE, Action, IllegalMove, Stage, actions, target

# The design's table, written out again: source, action, target.
DESIGN = """
ready       assign      annotating
annotating  submit      checking
checking    pass        passed
checking    fail        revising
revising    submit      checking
passed      fail_audit  revising
passed      reject      checking
passed      accept      accepted
ready       withdraw    withdrawn
annotating  withdraw    withdrawn
checking    withdraw    withdrawn
revising    withdraw    withdrawn
passed      withdraw    withdrawn
accepted    withdraw    withdrawn
"""
LEGAL = {(Stage(row[0]), Action(row[1])): Stage(row[2]) for row in map(str.split, DESIGN.split("\n")) if row}
PAIRS = [(stage, action) for stage in Stage for action in Action]
ILLEGAL = [pair for pair in PAIRS if pair not in LEGAL]


def test_every_pair_is_covered() -> None:
    assert (len(PAIRS), len(LEGAL), len(ILLEGAL)) == (56, 14, 42)


@pytest.mark.parametrize(("stage", "action"), LEGAL)
def test_legal_pair_leads_where_the_design_says(stage: Stage, action: Action) -> None:
    assert target(stage, action) is LEGAL[stage, action]


@pytest.mark.parametrize(("stage", "action"), ILLEGAL)
def test_illegal_pair_is_refused_and_says_what_is_legal(stage: Stage, action: Action) -> None:
    with pytest.raises(IllegalMove, match=f"that is {stage} cannot {action}") as refused:
        target(stage, action)
    offered = str(refused.value).rpartition("it can ")[2].split(", ")
    assert offered == (sorted(str(a) for s, a in LEGAL if s is stage) or ["nothing"])


def test_buttons_of_a_stage_are_its_rows() -> None:
    assert {stage: set(actions(stage)) for stage in Stage} == {
        stage: {action for source, action in LEGAL if source is stage} for stage in Stage
    }


def test_nothing_leaves_withdrawn_and_only_withdrawal_leaves_accepted() -> None:
    assert actions(Stage.WITHDRAWN) == ()
    assert actions(Stage.ACCEPTED) == (Action.WITHDRAW,)


def test_no_row_is_given_twice_and_every_row_names_its_guard() -> None:
    assert len({(move.source, move.action) for move in TABLE}) == len(TABLE)
    assert all(move.guard for move in TABLE)


def test_every_stage_can_be_reached_from_ready() -> None:
    reached, fresh = {Stage.READY}, {Stage.READY}
    while fresh:
        fresh = {move.target for move in TABLE if move.source in fresh} - reached
        reached |= fresh
    assert reached == set(Stage)


def test_accepted_is_reached_only_through_two_checkers() -> None:
    assert {move.source for move in TABLE if move.target is Stage.ACCEPTED} == {Stage.PASSED}
    assert {(move.source, move.action) for move in TABLE if move.target is Stage.PASSED} == {
        (Stage.CHECKING, Action.PASS)
    }
