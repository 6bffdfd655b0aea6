"""Which parts are ours, what is told of an address, and what happens when nothing runs."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rounds.settings import Settings
from rounds.stack import down, status
from rounds.stack.health import PartFailed
from rounds.stack.lifecycle import _in_force, _is_given, _Starter, public
from rounds.stack.parts import DATABASE, OBJECTS, PARTS
from rounds.stack.processes import Process, alive, spawn
from rounds.stack.state import PartRecord, StackState, write_state

OURS = "postgresql://rounds:secret@127.0.0.1:54329/rounds"
GIVEN = "postgresql://reader:secret@db.example/rounds?sslmode=require"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for part in PARTS:
        monkeypatch.delenv(f"ROUNDS_{part.setting.upper()}", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "state", "given"),
    [
        (None, StackState(), False),
        (GIVEN, StackState(), True),
        (OURS, StackState(settings={"database_url": OURS}), False),
        (OURS, StackState(previous={"database_url": OURS}), False),
        (GIVEN, StackState(settings={"database_url": OURS}), True),
    ],
)
def test_an_address_that_up_did_not_write_is_given(
    home: Path, url: str | None, state: StackState, given: bool
) -> None:
    assert _is_given(DATABASE, Settings(home=home, database_url=url), state) is given


def test_given_addresses_win_and_ours_follow_the_state(home: Path) -> None:
    moved = StackState(settings={"database_url": OURS, "s3_url": "http://127.0.0.1:9000"})
    known = _in_force(Settings(home=home, database_url=GIVEN), moved)
    assert (known.database_url, known.s3_url) == (GIVEN, "http://127.0.0.1:9000")


def test_no_password_is_told() -> None:
    assert public(OURS) == "postgresql://127.0.0.1:54329/rounds"
    assert public(GIVEN) == "postgresql://db.example/rounds"
    assert public("http://127.0.0.1:9000") == "http://127.0.0.1:9000"


def test_nothing_is_up_where_nothing_was_started(home: Path) -> None:
    answers = status(Settings(home=home))
    assert set(answers) == {"database", "objects", "labelstudio", "prefect", "worker", "service"}
    assert not any(answer.up for answer in answers.values())


def test_down_of_nothing_makes_nothing(home: Path) -> None:
    down(Settings(home=home))
    assert list(home.iterdir()) == []


def test_down_keeps_the_ports_and_withdraws_the_addresses(home: Path) -> None:
    write_state(home, StackState({"database_url": OURS}, {}, {"database": PartRecord(port=54331)}))
    down(Settings(home=home))
    assert Settings(home=home).database_url is None
    assert '"port": 54331' in (home / "stack.json").read_text()


def test_a_part_that_is_too_slow_is_stopped(home: Path) -> None:
    begun: list[Process] = []

    def begin(_settings: Settings, port: int, log: Path) -> Process:
        listens = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
        begun.append(spawn([sys.executable, "-c", listens], log=log, env={}))
        return begun[-1]

    def never(_settings: Settings) -> str:
        raise ConnectionRefusedError

    for name in ("logs", "secrets"):
        (home / name).mkdir()
    slow = replace(OBJECTS, start=begin, probe=never, answers=None, timeout=1.5)
    with pytest.raises(PartFailed):
        _Starter(Settings(home=home), lambda _part, _what: None).ensure(slow)
    assert len(begun) == 1, "nobody else took its port"
    assert not alive(begun[0])
