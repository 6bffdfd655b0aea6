"""A port that is taken is passed over, and it is known who listens."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rounds.stack import ports
from rounds.stack.processes import spawn, stop


def listener() -> socket.socket:
    taken = socket.socket()
    taken.bind((ports.LOOPBACK, 0))
    taken.listen()
    return taken


def test_a_taken_port_is_passed_over() -> None:
    with listener() as taken:
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.free_port(port) > port


def test_a_port_promised_to_another_part_is_passed_over() -> None:
    first = ports.free_port(23000)
    assert ports.free_port(first, {first}) > first


def test_no_free_port_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "NEIGHBOURS", 1)
    with listener() as taken, pytest.raises(ports.NoFreePort, match="no free port"):
        ports.free_port(taken.getsockname()[1])


CHILD_LISTENS = """
import socket, subprocess, sys, time
code = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
if sys.argv[2] == "child":
    subprocess.run([sys.executable, "-c", code, sys.argv[1]], start_new_session=True)
exec(code)
"""


@pytest.mark.parametrize("who", ["itself", "child"])
def test_whoever_listens_is_known(tmp_path: Path, who: str) -> None:
    port = ports.free_port(23300)
    command = [sys.executable, "-c", CHILD_LISTENS, str(port), who]
    ours = spawn(command, log=tmp_path / "ours.log", env={})
    other = spawn([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "other.log", env={})
    try:
        assert not ports.listens(other, port)
        end = time.monotonic() + 20
        while ports.is_free(port) and time.monotonic() < end:
            time.sleep(0.02)
        assert ports.listens(ours, port)
        assert not ports.listens(other, port)
    finally:
        stop(ours)
        stop(other)
    assert not ports.listens(ours, port)


def test_a_process_whose_sockets_nobody_may_see_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = spawn([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", env={})
    iterdir = Path.iterdir

    def closed(path: Path) -> Iterator[Path]:
        if path.name == "fd":
            raise PermissionError
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    try:
        with listener() as taken:
            assert ports.listens(asleep, taken.getsockname()[1])
    finally:
        stop(asleep)


def test_looking_whether_a_port_is_free_does_not_keep_it_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(_socket: socket.socket, _backlog: int = 0) -> None:
        raise AssertionError("a server that starts at this moment would find its port taken")

    monkeypatch.setattr(socket.socket, "listen", listen)
    port = ports.free_port(23600)
    assert ports.is_free(port)
