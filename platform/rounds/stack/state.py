"""What the state folder holds about the stack: secrets, ports, addresses, and which processes are ours."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rounds.private import write_private
from rounds.stack.processes import Process


@dataclass(frozen=True)
class PartRecord:
    """One part as `stack.json` knows it: `process` is None for a part that is used, not started.

    `needed` identifies the settings the part was started with.
    """

    url: str | None = None
    version: str | None = None
    port: int | None = None
    process: Process | None = None
    started_by_us: bool = False
    needed: str = ""


@dataclass(frozen=True)
class StackState:
    """The content of `stack.json`.

    `settings` are in force while the stack runs; `previous` are the last ones, kept over a `rounds down` to tell
    an address of ours from one that was given.
    """

    settings: dict[str, str] = field(default_factory=dict)
    previous: dict[str, str] = field(default_factory=dict)
    parts: dict[str, PartRecord] = field(default_factory=dict)

    def with_part(self, name: str, record: PartRecord) -> "StackState":
        return replace(self, parts={**self.parts, name: record})


def prepare_home(home: Path) -> None:
    """Create the state folder, readable by its owner alone."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    for name in ("logs", "secrets"):
        (home / name).mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the stack's lock; a second `rounds up` or `down` waits here for the first."""
    with os.fdopen(os.open(home / "stack.lock", os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_state(home: Path) -> StackState:
    """Read `stack.json`; an installation that never ran has an empty state."""
    path = home / "stack.json"
    if not path.is_file():
        return StackState()
    known = json.loads(path.read_text())
    parts = {name: _part(record) for name, record in known["parts"].items()}
    return StackState(known["settings"], known.get("previous", {}), parts)


def write_state(home: Path, state: StackState) -> None:
    """Replace `stack.json` in one step; it holds secrets, so only its owner may read it."""
    parts = {name: _plain(record) for name, record in state.parts.items()}
    content = {"settings": state.settings, "previous": state.previous, "parts": parts}
    write_private(home / "stack.json", json.dumps(content, indent=2) + "\n")


def secret_path(home: Path, name: str) -> Path:
    return home / "secrets" / name


def secret(home: Path, name: str, *, length: int = 24) -> str:
    """Return the secret called `name`, made from `length` random bytes the first time."""
    path = secret_path(home, name)
    if not path.is_file():
        write_private(path, secrets.token_hex(length) + "\n")
    return path.read_text().strip()


def _plain(record: PartRecord) -> dict[str, Any]:
    plain = asdict(record)
    plain.pop("process")
    process = record.process
    return plain | ({"pid": None} if process is None else asdict(process))


def _part(plain: dict[str, Any]) -> PartRecord:
    pid, started, mark = plain.pop("pid"), plain.pop("started", ""), plain.pop("mark", "")
    return PartRecord(**plain, process=None if pid is None else Process(pid, started, mark))
