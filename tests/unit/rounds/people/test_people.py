"""People: roles that are required, passwords that are salted, tokens that are not stored."""

import pytest

from rounds.people.model import NotAllowed, Person, Role, hash_password, password_matches, token_sha256

READER = Person(7, "reader@example.org", "R", (Role.ANNOTATOR, Role.QA))


@pytest.mark.parametrize("role", Role)
def test_role_is_required(role: Role) -> None:
    if role in READER.roles:
        READER.require(role)
    else:
        with pytest.raises(NotAllowed, match=f"needs the role {role}; reader@example.org has annotator, qa"):
            READER.require(role)


def test_trail_names_a_person_by_number_only() -> None:
    assert READER.actor == "person:7"


def test_password_matches_itself_alone() -> None:
    stored = hash_password("korrekt häst")
    assert "korrekt" not in stored
    assert password_matches("korrekt häst", stored)
    assert not password_matches("Korrekt häst", stored)
    assert not password_matches("", stored)


def test_two_people_with_one_password_do_not_share_its_hash() -> None:
    assert hash_password("same") != hash_password("same")


def test_token_is_stored_as_its_sha256() -> None:
    assert token_sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
