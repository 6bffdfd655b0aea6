"""When a series is complete, and who may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rounds.inbox.model import BadSender, Pile, Standing, senders_of, site_of, site_of_account

F, C, I, L, S = Standing.FILLING, Standing.COMPLETE, Standing.INCOMPLETE, Standing.LATE, Standing.STRAY  # noqa: E741


@pytest.mark.parametrize(
    ("have", "taken", "kept", "expected", "quiet", "standing"),
    [
        ("abc", "", False, None, False, F),
        ("abc", "", False, None, True, C),
        ("abc", "", False, 3, False, C),  # the count is reached: nobody waits
        ("abc", "", False, 4, False, F),
        ("abc", "", False, 4, True, I),
        ("de", "abc", True, None, False, F),
        ("de", "abc", True, None, True, C),  # late, joined with what is kept
        ("de", "abc", True, 5, False, C),
        ("de", "abc", True, 6, True, I),
        ("de", "abc", False, None, True, L),  # late, and the others are gone
        ("de", "abc", False, 5, True, L),
        ("de", "abc", False, 2, False, F),
        ("ab", "abc", True, None, True, S),
        ("ab", "abc", True, 3, False, F),
        ("ab", "abc", False, 3, True, S),
        ("abc", "abc", True, None, True, C),  # the whole series once more
        ("abc", "abc", False, None, True, C),
        ("abcd", "abc", False, None, True, C),
        ("", "", False, None, True, F),
    ],
)
def test_standing(
    have: str, taken: str, kept: bool, expected: int | None, quiet: bool, standing: Standing
) -> None:
    assert Pile(frozenset(have), frozenset(taken), kept, expected, quiet).standing is standing


slices = some.frozensets(some.sampled_from("abcdef"))


@given(slices, slices, some.booleans(), some.none() | some.integers(1, 7), some.booleans())
def test_nothing_is_taken_in_without_slices_that_were_taken_in_before(
    have: frozenset[str], taken: frozenset[str], kept: bool, expected: int | None, quiet: bool
) -> None:
    """A case is never replaced by a part of its series, and a new slice is never dropped as a stray."""
    pile = Pile(have, taken, kept, expected, quiet)
    at_hand = have | taken if kept else have
    if pile.standing is Standing.COMPLETE:
        assert have
        assert at_hand >= taken
        assert expected is None or len(at_hand) >= expected
    if pile.standing is Standing.STRAY:
        assert have < taken


def test_senders_are_told_apart_by_title_and_address() -> None:
    told = {"CT1": "north", "CT2@10.0.0.7": "south", "@pacs@hospital.example": "west"}
    senders = senders_of(told)
    assert site_of(senders, "CT1 ", "10.9.9.9") == "north"
    assert site_of(senders, "CT2", "10.0.0.7") == "south"
    assert site_of(senders, "CT2", "10.0.0.8") is None
    assert site_of(senders, "ct1", "10.0.0.7") is None
    assert site_of(senders, "pacs", "10.0.0.7") is None
    assert site_of_account(told, "pacs@hospital.example") == "west"
    assert site_of_account(told, "CT1") is None


@pytest.mark.parametrize("told", [{"": "north"}, {"X" * 17: "north"}, {"CT1": " "}, {"CTÄ": "north"}])
def test_senders_that_cannot_be_meant_are_refused(told: dict[str, str]) -> None:
    with pytest.raises(BadSender):
        senders_of(told)
