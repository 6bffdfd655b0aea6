"""When a series is complete, and who may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rounds.inbox.model import (
    BadArchive,
    BadSender,
    Peer,
    Pile,
    Standing,
    peer_of,
    senders_of,
    site_of,
    site_of_account,
)

F, C, I, L, S = Standing.FILLING, Standing.COMPLETE, Standing.INCOMPLETE, Standing.LATE, Standing.STRAY  # noqa: E741
U = Standing.UNASKED


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


@pytest.mark.parametrize(
    ("expected", "asked", "overdue", "standing"),
    [
        (None, False, False, U),
        (None, False, True, U),  # it may have become whole since
        (5, False, False, U),  # whatever was said before
        (3, False, False, C),  # the count in the slices is reached: nobody need be asked
        (None, True, False, C),  # nobody knows better
        (5, True, False, I),
        (5, True, True, C),  # waited for long enough
        (2, True, False, C),
    ],
)
def test_the_archive_is_asked_when_all_is_quiet_and_waited_for_so_long(
    expected: int | None, asked: bool, overdue: bool, standing: Standing
) -> None:
    def pile(quiet: bool) -> Pile:
        return Pile(frozenset("abc"), frozenset(), False, expected, quiet, asked, overdue)

    assert pile(quiet=True).standing is standing
    assert pile(quiet=False).standing is (C if expected in (2, 3) else F)
    assert pile(quiet=True).missing == ((3, 5) if expected == 5 else None)


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


def test_an_archive_is_a_title_at_a_place_or_a_web_address() -> None:
    assert peer_of("PACS@10.0.0.7:104") == Peer("PACS", "10.0.0.7", 104)
    assert peer_of("PACS@[fd00::7]:11112") == Peer("PACS", "fd00::7", 11112)
    assert peer_of("https://pacs.hospital.example/dicom-web") is None


@pytest.mark.parametrize(
    "told", ["", "PACS", "PACS@host", "PACS@:104", "host:104", "@host:104", "PACS@host:0"]
)
def test_archives_that_cannot_be_meant_are_refused(told: str) -> None:
    with pytest.raises(BadArchive):
        peer_of(told)


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
