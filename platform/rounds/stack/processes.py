"""Detached processes: start one, tell whether it is still the same one, stop it with its whole group."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

NEUTRAL = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
# Both servers that know of call-home addresses find no way out over HTTPS, should a switch be missing one day.
NO_WAY_OUT = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"}
MARK = "ROUNDS_STARTED_AS"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process leader: a pid counts as this process only while its start time is the recorded one.

    `mark` is in the environment of the leader and of everything it started, whatever group that moved to.
    """

    pid: int
    started: str
    mark: str = ""


def neutral_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return a small environment plus `extra`: nothing else of the caller's shell reaches a part."""
    return {name: os.environ[name] for name in NEUTRAL if name in os.environ} | dict(extra)


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    user: str | None = None,
) -> Process:
    """Start `command` in a session of its own, its output appended to `log`; files it makes are private.

    With `user` (root only) the process enters `cwd` first and gives up its rights afterwards.
    """
    mark = secrets.token_hex(8)
    with open_log(log) as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**env, MARK: mark},
            cwd=cwd,
            user=user,
            group=None if user is None else group_of(user),
            extra_groups=None if user is None else [],
            umask=0o077,
            start_new_session=True,
        )
    started = start_time(child.pid) or "gone"
    child.returncode = 0  # it outlives us on purpose: no warning, and no waiting when this object goes away
    return Process(child.pid, started, mark)


def open_log(log: Path) -> IO[bytes]:
    """Open a part's log for appending, readable by its owner alone."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def group_of(user: str) -> int:
    """Return the id of the user's own group."""
    import pwd

    return pwd.getpwnam(user).pw_gid


def start_time(pid: int) -> str | None:
    """Return when `pid` started (boot and clock ticks since then), or None if it is gone or a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    return f"{boot}:{fields[19]}"


def alive(process: Process) -> bool:
    """Tell whether the very process that was recorded still runs."""
    return start_time(process.pid) == process.started


def stop(process: Process, *, grace: float = 10.0, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask the leader to end with `how`, then what it left behind; kill what remains after `grace` seconds.

    When the pid belongs to another process by now, neither that process nor its group is touched.
    """
    leader = start_time(process.pid)
    if leader is not None and leader != process.started:
        return
    if leader is not None:
        _send(how, [process.pid])
        _wait_until_gone([process.pid], grace)
    left = descendants(process)
    _send(signal.SIGTERM, left)
    if not _wait_until_gone(left, min(grace, 2.0)):
        _send(signal.SIGKILL, descendants(process))
        _wait_until_gone(left, 5.0)


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants(process: Process) -> list[int]:
    """Return the living processes of the group led by `process`, and all others that carry its mark."""
    mark = f"{MARK}={process.mark}".encode()
    born = _ticks(process.started)
    found = []
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is None or fields[0] in "ZX":
            continue
        in_group = process.pid in (int(fields[2]), int(fields[3])) and int(fields[19]) >= born
        if in_group or (process.mark and mark in _environment(entry)):
            found.append(int(entry.name))
    return found


def workers_in(folder: Path) -> list[int]:
    """Return the living processes whose working directory is `folder`."""
    place = folder.resolve()
    workers = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == place:
                workers.append(int(entry.name))
    return workers


def _wait_until_gone(pids: Iterable[int], seconds: float) -> bool:
    waiting = set(pids)
    end = time.monotonic() + seconds
    while True:
        waiting = {pid for pid in waiting if start_time(pid) is not None}
        if not waiting:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _ticks(started: str) -> int:
    ticks = started.rpartition(":")[2]
    return int(ticks) if ticks.isdigit() else 0


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat that follow the command's name (state is the first)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
