"""The trail's chain: every kind of tampering is found at the first row that does not follow."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from rounds.trail.model import GENESIS, TrailRow, Verification, row_hash, verify


def chain(length: int) -> list[TrailRow]:
    """Make a sound trail of `length` rows."""
    rows: list[TrailRow] = []
    for number in range(1, length + 1):
        at = f"2026-01-02T03:04:{number:02d}.000000"
        previous = rows[-1].hash if rows else GENESIS
        row = TrailRow(number, at, "person:7", "submit", "label", "12", "", '{"round": 1}', previous, "")
        rows.append(replace(row, hash=row_hash(row)))
    return rows


def resealed(rows: Sequence[TrailRow], start: int) -> list[TrailRow]:
    """Number, link and hash anew from index `start`, as a forger with time would."""
    made = list(rows[:start])
    for row in rows[start:]:
        linked = replace(row, id=len(made) + 1, previous=made[-1].hash if made else GENESIS)
        made.append(replace(linked, hash=row_hash(linked)))
    return made


def test_sound_chain_verifies_up_to_its_head() -> None:
    rows = chain(5)
    assert verify(rows) == Verification(5, rows[-1].hash, None)
    assert verify([]) == Verification(0, GENESIS, None)


def test_hash_is_the_sha256_of_the_fields_joined_by_unit_separators() -> None:
    row = chain(1)[0]
    text = "\x1f".join(
        ["1", row.at, "person:7", "submit", "label", "12", "", '{"round": 1}', "0" * 64],
    )
    assert row.hash == hashlib.sha256(text.encode()).hexdigest()


FIELDS = ("at", "actor", "action", "subject", "subject_id", "reason", "detail", "previous", "hash")


@pytest.mark.parametrize("field", FIELDS)
def test_edited_field_is_found_at_its_row(field: str) -> None:
    rows = chain(5)
    edited = TrailRow(**{**asdict(rows[2]), field: "forged"})
    found = verify([*rows[:2], edited, *rows[3:]])
    assert (found.rows, found.broken_at) == (2, 3)


def test_edited_row_with_a_hash_of_its_own_breaks_at_the_next() -> None:
    rows = chain(5)
    edited = replace(rows[2], actor="person:8")
    edited = replace(edited, hash=row_hash(edited))
    assert verify([*rows[:2], edited, *rows[3:]]).broken_at == 4


@pytest.mark.parametrize("gone", range(4))
def test_removed_row_is_found_at_the_one_after_it(gone: int) -> None:
    rows = chain(5)
    assert verify(rows[:gone] + rows[gone + 1 :]).broken_at == gone + 2


@pytest.mark.parametrize("place", range(5))
def test_inserted_row_is_found(place: int) -> None:
    rows = chain(5)
    stranger = replace(rows[place], actor="person:99", previous=rows[place - 1].hash if place else GENESIS)
    stranger = replace(stranger, hash=row_hash(stranger))
    found = verify([*rows[:place], stranger, *rows[place:]])
    assert found.broken_at is not None
    assert found.rows == place + 1  # the forged row itself fits; the true one after it no longer does


def test_gap_in_the_numbers_is_found_even_where_every_hash_fits() -> None:
    rows = chain(3)
    late = replace(rows[2], id=4)
    found = verify([*rows[:2], replace(late, hash=row_hash(late))])
    assert (found.rows, found.broken_at) == (2, 4)


def test_swapped_rows_are_found() -> None:
    rows = chain(5)
    assert verify([rows[0], rows[2], rows[1], *rows[3:]]).broken_at == 3


def test_wholly_forged_or_cut_trail_shows_only_against_a_head_kept_elsewhere() -> None:
    rows = chain(5)
    forged = resealed([*rows[:2], *rows[3:]], 2)
    cut = rows[:3]
    for false in (forged, cut):
        found = verify(false)
        assert found.broken_at is None
        assert found.head != rows[-1].hash
