"""PostgreSQL never runs as root, and its programs are where its account can read them."""

import os
import subprocess
from pathlib import Path

import pytest

from rounds.stack import postgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up rights to start PostgreSQL")


def test_a_user_runs_it_as_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert postgres.run_as() is None
    assert postgres.programs(None) == postgres.PACKAGED / "bin"


def test_root_runs_it_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert postgres.run_as() in postgres.UNPRIVILEGED
    monkeypatch.setattr(postgres, "UNPRIVILEGED", ("nobody-of-that-name",))
    with pytest.raises(postgres.NobodyToRunAs, match="nobody-of-that-name"):
        postgres.run_as()


@as_root
def test_programs_in_a_private_folder_are_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_readable_by_all", lambda _path: False)
    monkeypatch.setattr(postgres, "COPIES", tmp_path / "copies")
    user = postgres.run_as()
    binaries = postgres.programs(user)
    assert binaries.is_relative_to(tmp_path)
    assert postgres.programs(user) == binaries
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, check=True)
    assert version.stdout.startswith(b"postgres (PostgreSQL) 18")
    assert all(path.is_symlink() or path.stat().st_mode & 0o004 for path in (tmp_path / "copies").rglob("*"))
    assert not any(path.stat().st_mode & 0o022 for path in (tmp_path / "copies").rglob("*"))


def test_a_folder_closed_anywhere_above_is_not_readable_by_all(tmp_path: Path) -> None:
    program = tmp_path / "open" / "postgres"
    program.parent.mkdir()
    program.touch()
    program.chmod(0o755)
    program.parent.chmod(0o700)
    assert not postgres._readable_by_all(program)
    assert postgres._readable_by_all(Path("/usr/bin/env"))
