"""Private files: whole or not at all, for their owner alone, with nothing left beside them."""

import os
from pathlib import Path

import pytest

from rounds.private import make_private, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_is_replaced_whole_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old and long")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_private(path, "first")
    make_private(path, "second")
    assert path.read_text() == "first"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_the_disk_refuses_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "token"
    write_private(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="no space"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_name_are_on_the_disk_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_private(tmp_path / "token", "new")
    draft, folder = synced
    assert Path(draft).name.startswith(".token.")
    assert folder == str(tmp_path)
