"""Which parts are ours, what is told of an address, and what happens when nothing runs."""

import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rounds.settings import Settings
from rounds.stack import down, ports, status
from rounds.stack.health import PartFailed
from rounds.stack.lifecycle import _ask, _in_force, _is_given, _Starter, public
from rounds.stack.parts import DATABASE, OBJECTS, PARTS, WORKER
from rounds.stack.processes import Process, alive, spawn, stop
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


SERVES = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = server.accept()
    client.sendall(sys.argv[2].encode())
    client.close()
"""
TRIES_FOR_A_WHILE = f"""
import socket, sys, time
for _ in range(8):
    try:
        socket.create_server(("127.0.0.1", int(sys.argv[1]))).close()
        break
    except OSError:
        time.sleep(0.25)
else:
    sys.exit("the port is taken")
{SERVES}"""


def said(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        return client.recv(100).decode()


def serve(code: str, port: int, name: str, log: Path) -> Process:
    return spawn([sys.executable, "-c", code, str(port), name], log=log, env={})


def test_other_stacks_that_took_the_port_do_not_answer_for_a_part(home: Path) -> None:
    others: list[Process] = []
    begun: list[Process] = []

    def begin(_settings: Settings, port: int, log: Path) -> Process:
        if len(others) < 2:  # they are faster
            others.append(serve(SERVES, port, "another stack", log))
            while ports.is_free(port):
                time.sleep(0.02)
        begun.append(serve(TRIES_FOR_A_WHILE, port, "ours", log))
        return begun[-1]

    def probe(settings: Settings) -> str:
        return said(urlsplit(settings.require("s3_url")).port or 0)

    for name in ("logs", "secrets"):
        (home / name).mkdir()
    part = replace(
        OBJECTS, start=begin, probe=probe, answers=None, prepare=lambda _settings, _log: None, timeout=20
    )
    starter = _Starter(Settings(home=home), lambda _part, _what: None)
    try:
        starter.ensure(part)
        found = starter.state.parts["objects"]
        assert found.version == "ours"
        assert found.process == begun[-1]
        assert [alive(process) for process in begun] == [False, False, True]
        assert all(alive(process) for process in others), "nobody else's process is touched"
    finally:
        for process in (*others, *begun):
            stop(process)


def test_a_stopped_part_is_down_whoever_answers_at_its_address(home: Path) -> None:
    settings = Settings(home=home, prefect_api_url="http://127.0.0.1:4200/api")
    answered = replace(WORKER, probe=lambda _settings: "another stack")
    assert _ask(answered, settings, None).up, "a part that was given"
    assert not _ask(answered, settings, PartRecord(started_by_us=True)).up
