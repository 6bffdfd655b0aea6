"""The state folder keeps its secrets, and keeps them over a restart."""

import json
import threading
import time
from pathlib import Path

from rounds.stack.processes import Process
from rounds.stack.state import (
    PartRecord,
    StackState,
    locked,
    prepare_home,
    read_state,
    secret,
    write_state,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    prepare_home(home)
    assert [mode(home), mode(home / "secrets"), mode(home / "logs")] == [0o700] * 3


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = PartRecord("http://127.0.0.1:1", "1.0", 1, Process(7, "boot:1", "mark"), True, "abc")
    state = StackState(
        {"s3_url": "http://x"}, {"s3_url": "http://y"}, {"objects": record, "worker": PartRecord()}
    )
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert mode(tmp_path / "stack.json") == 0o600
    assert json.loads((tmp_path / "stack.json").read_text())["parts"]["objects"]["pid"] == 7


def test_a_folder_without_a_stack_has_an_empty_state(tmp_path: Path) -> None:
    assert read_state(tmp_path) == StackState()


def test_a_secret_is_made_once_and_never_twice_the_same(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    first = secret(tmp_path, "a")
    assert secret(tmp_path, "a") == first
    assert secret(tmp_path, "b") != first
    assert len(first) == 48
    assert mode(tmp_path / "secrets" / "a") == 0o600


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path):
            order.append("second")

    with locked(tmp_path):
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join(timeout=5)
    assert order == ["first", "second"]
