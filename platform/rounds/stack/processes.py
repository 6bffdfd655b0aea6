"""Detached processes: start one, tell whether it is still the same one, stop it with its whole group."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

NEUTRAL = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process leader: a pid counts as this process only while its start time is the recorded one."""

    pid: int
    started: str


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
    with open_log(log) as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            user=user,
            group=None if user is None else group_of(user),
            extra_groups=None if user is None else [],
            umask=0o077,
            start_new_session=True,
        )
    started = start_time(child.pid) or "gone"
    child.returncode = 0  # it outlives us on purpose: no warning, and no waiting when this object goes away
    return Process(child.pid, started)


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
    """Ask the process to end with `how`; after `grace` seconds kill what is left of its group.

    A leader whose pid now belongs to another process is left alone, and so is that process's group.
    """
    leader = start_time(process.pid)
    if leader is not None and leader != process.started:
        return
    if leader is not None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, how)
        if _wait_until_gone([process.pid], grace):
            grace = 1.0
    left = group_members(process)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    if not _wait_until_gone(left, grace):
        for pid in group_members(process):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    _wait_until_gone(left, 5.0)


def group_members(process: Process) -> list[int]:
    """Return the living processes of the group or session led by `process`, none older than it."""
    born = _ticks(process.started)
    members = []
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is None or fields[0] in "ZX":
            continue
        if process.pid in (int(fields[2]), int(fields[3])) and int(fields[19]) >= born:
            members.append(int(entry.name))
    return members


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
