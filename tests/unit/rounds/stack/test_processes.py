"""A part is stopped whole, and a process that merely inherited its pid is not touched."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rounds.stack.processes import (
    Process,
    alive,
    descendants,
    neutral_environment,
    spawn,
    start_time,
    stop,
    workers_in,
)

Spawn = Callable[..., Process]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Spawn]:
    """Start python code as a part would be started; kill what is left of it after the test."""
    started: list[Process] = []

    def start(code: str) -> Process:
        command = [sys.executable, "-c", code]
        process = spawn(command, log=tmp_path / "part.log", env=neutral_environment({}), cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        stop(process, how=signal.SIGKILL)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
# A child in a session of its own, as the worker starts flow runs.
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
time.sleep(60)
"""


def test_a_stopped_process_is_gone(run: Spawn) -> None:
    process = run(SLEEP)
    assert alive(process)
    stop(process)
    assert not alive(process)


def test_a_deaf_process_is_killed(run: Spawn, tmp_path: Path) -> None:
    process = run(DEAF)
    wait_until(lambda: "deaf" in (tmp_path / "part.log").read_text())
    stop(process, grace=0.2)
    assert not alive(process)


def test_a_child_that_left_the_group_is_stopped_too(run: Spawn) -> None:
    process = run(PARENT)
    wait_until(lambda: len(descendants(process)) == 2)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: len(descendants(process)) == 1)
    stop(process)
    assert descendants(process) == []


def test_a_recycled_pid_is_not_killed(run: Spawn) -> None:
    stranger = run(SLEEP)
    recorded = Process(stranger.pid, "another-boot:1", "another-mark")
    assert not alive(recorded)
    stop(recorded)
    assert alive(stranger)


def test_a_zombie_is_not_alive(run: Spawn) -> None:
    process = run("pass")
    wait_until(lambda: not alive(process))
    assert start_time(process.pid) is None


def test_the_callers_environment_does_not_leak(
    monkeypatch: pytest.MonkeyPatch, run: Spawn, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://elsewhere")
    run("import os; print(sorted(os.environ), flush=True)")
    wait_until(lambda: "PATH" in (tmp_path / "part.log").read_text())
    assert "'CI'" not in (tmp_path / "part.log").read_text()
    assert "LABEL_STUDIO_HOST" not in (tmp_path / "part.log").read_text()


def test_the_log_is_private(run: Spawn, tmp_path: Path) -> None:
    run("pass")
    assert (tmp_path / "part.log").stat().st_mode & 0o777 == 0o600


def test_who_works_in_a_folder_is_found(run: Spawn, tmp_path: Path) -> None:
    process = run(SLEEP)
    assert workers_in(tmp_path) == [process.pid]
    stop(process)
    assert workers_in(tmp_path) == []
