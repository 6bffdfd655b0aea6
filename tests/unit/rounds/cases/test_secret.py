"""The key file: made once, private, changed whole or not at all, and never shown."""

import os
import stat
from pathlib import Path

import pytest

from rounds.cases import secret
from rounds.cases.secret import KeyRing, KeyUnusable, key_ring, pseudonym_key, renew
from rounds.imaging.pseudonyms import key_id
from rounds.settings import Settings


def settings_of(folder: Path) -> Settings:
    return Settings(home=folder, pseudonym_key_file=folder / "pseudonym.key")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    ring = key_ring(settings)
    assert ring == key_ring(settings)
    assert ring.retired == ()
    assert len(ring.current) == 32
    assert mode_of(tmp_path / "pseudonym.key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]


def test_a_file_of_one_line_as_openssl_writes_it_is_a_ring_of_one(tmp_path: Path) -> None:
    (tmp_path / "pseudonym.key").write_text(f"{bytes(range(32)).hex()}\n")
    assert key_ring(settings_of(tmp_path)) == KeyRing(bytes(range(32)))


def test_a_new_key_goes_before_the_others(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    first = key_ring(settings)
    second = renew(settings)
    third = renew(settings)
    assert third.keys == (third.current, second.current, first.current)
    assert len(set(third.ids)) == 3
    assert key_ring(settings) == third
    assert pseudonym_key(settings) == third.current
    assert mode_of(tmp_path / "pseudonym.key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]


def test_forgetting_leaves_no_old_key_on_the_disk(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    old = renew(settings)
    (tmp_path / ".pseudonym.key.deadbeef").write_text(old.current.hex())  # of a process that was killed
    new = renew(settings, forget=True)
    assert new.retired == ()
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert new.current.hex().encode() in left
    assert not [key for key in old.keys if key.hex().encode() in left]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_crash_half_way_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    settings = settings_of(tmp_path)
    before = key_ring(settings)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(os, call, crash)
        with pytest.raises(KeyboardInterrupt):
            renew(settings)
    assert key_ring(settings) == before
    assert renew(settings).retired == (before.current,)
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]


def test_a_file_that_cannot_be_changed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)
    before = key_ring(settings)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(KeyUnusable, match="by hand"):
        renew(settings)
    assert key_ring(settings) == before
    assert [path.name for path in tmp_path.iterdir()] == ["pseudonym.key"]


@pytest.mark.parametrize(
    "content", ["", "zz" * 32, "00" * 31, f"{'00' * 32}\n{'11' * 30}", f"{'00' * 32}\n" * 2]
)
def test_a_broken_file_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "pseudonym.key").write_text(content)
    with pytest.raises(KeyUnusable) as caught:
        key_ring(settings_of(tmp_path))
    assert "0000" not in str(caught.value)
    assert (tmp_path / "pseudonym.key").read_text() == content


def test_there_is_an_end_to_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "MAX_KEYS", 2)
    settings = settings_of(tmp_path)
    renew(settings)
    with pytest.raises(KeyUnusable, match="2 keys already"):
        renew(settings)


def test_what_is_shown_is_no_key(tmp_path: Path) -> None:
    ring = renew(settings_of(tmp_path))
    for key in ring.keys:
        assert key.hex() not in repr(ring)
        assert key_id(key) not in key.hex()
