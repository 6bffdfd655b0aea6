"""However often the doorbell rings, few syncs start, and a ring during one is not lost."""

import threading

import httpx
import pytest

from rounds import orchestration
from rounds.settings import Settings
from rounds.web.doorbell import Doorbell


def test_rings_at_once_start_at_most_two_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    first = threading.Event()
    go_on = threading.Event()

    def start(_settings: Settings, name: str, _parameters: dict[str, object]) -> str:
        runs.append(name)
        first.set()
        assert go_on.wait(5)
        return "run"

    monkeypatch.setattr(orchestration, "start_flow", start)
    monkeypatch.setattr(orchestration, "pending_runs", lambda _settings, _name: 0)
    bell = Doorbell(Settings(), pause=0.0)
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert first.wait(5)
    for _ in range(50):
        bell.ring()  # returns at once: the thread above answers
    go_on.set()
    thread.join(5)
    assert runs == ["sync", "sync"]


def test_a_sync_that_waits_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    monkeypatch.setattr(orchestration, "start_flow", lambda *_args: runs.append("sync"))
    monkeypatch.setattr(orchestration, "pending_runs", lambda _settings, _name: 1)
    Doorbell(Settings(), pause=0.0).ring()
    assert runs == []


def test_a_prefect_that_is_down_does_not_break_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def down(_settings: Settings, name: str) -> int:
        tried.append(name)
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(orchestration, "pending_runs", down)
    bell = Doorbell(Settings(), pause=0.0)
    bell.ring()
    bell.ring()
    assert tried == ["sync", "sync"]
