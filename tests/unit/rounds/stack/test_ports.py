"""A port that is taken is passed over."""

import socket

import pytest

from rounds.stack import ports


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
