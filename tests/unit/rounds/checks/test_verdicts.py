"""Verdicts: what makes one complete, when two decide, and kappa against hand-computed tables."""

from itertools import product

import pytest

from rounds.checks.model import BadVerdict, Finding, Reason, Verdict, kappa, outcome, validate
from rounds.labels.model import Action

PASS, FAIL = Verdict.PASS, Verdict.FAIL


@pytest.mark.parametrize(
    ("verdicts", "decided"),
    [
        ((), None),
        ((PASS,), None),
        ((FAIL,), None),
        ((PASS, PASS), Action.PASS),
        ((PASS, FAIL), Action.FAIL),
        ((FAIL, PASS), Action.FAIL),
        ((FAIL, FAIL), Action.FAIL),
    ],
)
def test_outcome_waits_for_both_and_needs_both_to_pass(
    verdicts: tuple[Verdict, ...], decided: Action | None
) -> None:
    assert outcome(verdicts) is decided


@pytest.mark.parametrize(
    "finding",
    [
        Finding(PASS),
        Finding(PASS, slices=(0, 9), note="fine"),
        Finding(FAIL, (Reason.BOUNDARY,), (9,)),
        Finding(FAIL, (Reason.OTHER, Reason.MISSED_LESION), (), "motion"),
    ],
)
def test_complete_finding_is_taken(finding: Finding) -> None:
    validate(finding, slice_count=10)


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        (Finding(FAIL), "needs at least one reason"),
        (Finding(PASS, (Reason.BOUNDARY,)), "has no reasons"),
        (Finding(FAIL, (Reason.OTHER,)), "needs a note"),
        (Finding(FAIL, (Reason.OTHER,), note="  "), "needs a note"),
        (Finding(FAIL, (Reason.BOUNDARY,), (3, 10)), "slice 10 does not exist: this case has slices 0 to 9"),
        (Finding(PASS, slices=(-1,)), "slice -1 does not exist"),
    ],
)
def test_incomplete_finding_is_refused_and_says_why(finding: Finding, says: str) -> None:
    with pytest.raises(BadVerdict, match=says):
        validate(finding, slice_count=10)


def pairs(both_pass: int, first_only: int, second_only: int, both_fail: int) -> list[tuple[Verdict, Verdict]]:
    return (
        [(PASS, PASS)] * both_pass
        + [(PASS, FAIL)] * first_only
        + [(FAIL, PASS)] * second_only
        + [(FAIL, FAIL)] * both_fail
    )


@pytest.mark.parametrize(
    ("counts", "by_hand"),
    [
        ((20, 5, 10, 15), 0.4),  # observed 35/50 = 0.7; expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5
        ((45, 15, 25, 15), 0.06 / 0.46),  # observed 0.60; expected 0.6 * 0.7 + 0.4 * 0.3 = 0.54
        ((25, 35, 5, 35), 0.14 / 0.54),  # observed 0.60; expected 0.6 * 0.3 + 0.4 * 0.7 = 0.46
        ((8, 0, 0, 2), 1.0),
        ((0, 5, 5, 0), -1.0),
        ((9, 1, 0, 0), 0.0),  # the second never fails anything: no more agreement than by chance
    ],
)
def test_kappa_by_hand(counts: tuple[int, int, int, int], by_hand: float) -> None:
    assert kappa(pairs(*counts)) == pytest.approx(by_hand, abs=1e-12)


def test_kappa_is_the_same_whoever_comes_first() -> None:
    for counts in product(range(3), repeat=4):
        one = pairs(*counts)
        swapped = kappa([(b, a) for a, b in one])
        assert kappa(one) == (None if swapped is None else pytest.approx(swapped))


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (7, 0, 0, 0), (0, 0, 0, 7)])
def test_kappa_is_unknown_without_pairs_or_without_variety(counts: tuple[int, int, int, int]) -> None:
    assert kappa(pairs(*counts)) is None
