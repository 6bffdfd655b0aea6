"""A batch: which states follow which, and that nobody but a person decides."""

from collections import Counter
from itertools import product

import pytest

from rounds.batches.model import MOVES, BatchState, all_passed, next_state
from rounds.labels.model import Stage

S = BatchState
LIVE = [stage for stage in Stage if stage is not Stage.WITHDRAWN]


def test_moves_are_those_of_the_design() -> None:
    assert {(source, goal) for source, goals in MOVES.items() for goal in goals} == {
        (S.OPEN, S.ANNOTATING),
        (S.ANNOTATING, S.AUDITING),
        (S.AUDITING, S.DECIDING),
        (S.DECIDING, S.ACCEPTED),
        (S.DECIDING, S.REJECTED),
        (S.REJECTED, S.AUDITING),
    }
    assert set(MOVES) == set(BatchState)


@pytest.mark.parametrize("stage", LIVE)
def test_one_label_that_has_not_passed_holds_the_batch(stage: Stage) -> None:
    assert all_passed(Counter({Stage.PASSED: 9, stage: 1})) is (stage is Stage.PASSED)


def test_withdrawn_labels_do_not_count_but_a_batch_of_nothing_else_has_not_passed() -> None:
    assert all_passed(Counter({Stage.PASSED: 1, Stage.WITHDRAWN: 9}))
    assert all_passed(Counter({Stage.PASSED: 1, Stage.CHECKING: 0}))
    assert all_passed(Counter({Stage.WITHDRAWN: 9}))  # else a batch that lost all its labels would never end


DONE, NOT_DONE = Counter({Stage.PASSED: 3}), Counter({Stage.PASSED: 2, Stage.REVISING: 1})


@pytest.mark.parametrize(
    ("state", "stages", "audits_left", "goal"),
    [
        (S.OPEN, DONE, 0, S.OPEN),  # its tasks do not stand yet
        (S.ANNOTATING, NOT_DONE, 0, S.ANNOTATING),
        (S.ANNOTATING, DONE, 0, S.AUDITING),
        (S.AUDITING, DONE, 1, S.AUDITING),
        (S.AUDITING, NOT_DONE, 0, S.AUDITING),  # a failed label is being revised
        (S.AUDITING, DONE, 0, S.DECIDING),
        (S.DECIDING, DONE, 0, S.DECIDING),
        (S.REJECTED, NOT_DONE, 0, S.REJECTED),
        (S.REJECTED, DONE, 0, S.AUDITING),
        (S.ACCEPTED, DONE, 0, S.ACCEPTED),
    ],
)
def test_next_state(state: BatchState, stages: Counter[Stage], audits_left: int, goal: BatchState) -> None:
    assert next_state(state, stages, audits_left) is goal


def test_whatever_the_labels_say_a_step_is_legal_and_never_a_decision() -> None:
    for state, stage, left in product(BatchState, Stage, (0, 1)):
        goal = next_state(state, Counter({stage: 2}), left)
        assert goal is state or (goal in MOVES[state] and goal not in (S.ACCEPTED, S.REJECTED))
