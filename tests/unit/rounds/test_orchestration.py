"""Talking to Prefect's REST API, against a small server of our own on a free port."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rounds import orchestration
from rounds.orchestration import FlowFailed, FlowUnavailable
from rounds.settings import NotRunning, Settings


class Prefect(ThreadingHTTPServer):
    """Knows the deployment `sync`, remembers what it was asked and walks a run through `states`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, Any]] = []
        self.states: list[dict[str, str] | None] = []

    @property
    def settings(self) -> Settings:
        return Settings(prefect_api_url=f"http://127.0.0.1:{self.server_port}/api")


class Handler(BaseHTTPRequestHandler):
    server: Prefect

    def do_GET(self) -> None:
        if self.path == "/api/deployments/name/sync/sync":
            self._answer(200, {"id": "d-1"})
        elif self.path.startswith("/api/flow_runs/"):
            states = self.server.states
            self._answer(200, {"state": states.pop(0) if len(states) > 1 else states[0]})
        else:
            self._answer(404, {"detail": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        self._answer(200, 2 if self.path.endswith("/count") else {"id": "run-1"})

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prefect]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Prefect() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def test_flow_is_started_with_its_parameters_and_key(prefect: Prefect) -> None:
    assert orchestration.start_flow(prefect.settings, "sync", {"batch_id": 3}, key="k") == "run-1"
    assert prefect.asked == [
        (
            "/api/deployments/d-1/create_flow_run",
            {"parameters": {"batch_id": 3}, "state": {"type": "SCHEDULED"}, "idempotency_key": "k"},
        )
    ]


def test_unknown_flow_says_what_to_do(prefect: Prefect) -> None:
    with pytest.raises(FlowUnavailable, match="no deployment tidy/tidy: run `rounds up`"):
        orchestration.start_flow(prefect.settings, "tidy", {})


def test_rings_of_one_pause_share_a_key_and_later_ones_do_not(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now in (300.1, 302.9, 303.0):
        monkeypatch.setattr(orchestration.time, "time", lambda now=now: now)  # type: ignore[attr-defined]
        orchestration.ring(prefect.settings, "sync", {"batch_id": 3}, pause=3.0)
    bodies = [body for _, body in prefect.asked]
    assert [body["idempotency_key"] for body in bodies] == ["sync-3-100", "sync-3-100", "sync-3-101"]
    times = [body["state"]["state_details"]["scheduled_time"] for body in bodies]
    assert times[0] == times[1] == "1970-01-01T00:05:03+00:00"
    assert times[2] == "1970-01-01T00:05:06+00:00"


def test_waiting_ends_with_the_run_and_reports_on_the_way(prefect: Prefect) -> None:
    prefect.states = [None, {"type": "RUNNING"}, {"type": "COMPLETED", "message": "done"}]
    seen: list[str] = []
    run = orchestration.wait_for(
        prefect.settings, "run-1", poll=0.001, report=lambda run: seen.append(run.state)
    )
    assert (run.state, run.message) == ("COMPLETED", "done")
    assert seen == ["PENDING", "RUNNING", "COMPLETED"]


@pytest.mark.parametrize("state", sorted(orchestration.FINAL - {"COMPLETED"}))
def test_run_that_did_not_complete_is_an_error_with_its_message(prefect: Prefect, state: str) -> None:
    prefect.states = [{"type": state, "message": "disk full"}]
    with pytest.raises(FlowFailed, match=f"ended {state.lower()}: disk full"):
        orchestration.wait_for(prefect.settings, "run-1", poll=0.001)


def test_waiting_has_an_end(prefect: Prefect) -> None:
    prefect.states = [{"type": "RUNNING"}]
    with pytest.raises(FlowFailed, match="still running after 0 s: is the worker up"):
        orchestration.wait_for(prefect.settings, "run-1", poll=0.001, timeout=0.01)


def test_pending_runs_are_those_of_one_flow(prefect: Prefect) -> None:
    assert orchestration.pending_runs(prefect.settings, "sync") == 2
    path, body = prefect.asked[0]
    assert path == "/api/flow_runs/count"
    assert body["flows"] == {"name": {"any_": ["sync"]}}
    assert set(body["flow_runs"]["state"]["type"]["any_"]) == {"SCHEDULED", "PENDING"}


def test_unknown_address_says_what_to_do() -> None:
    with pytest.raises(NotRunning, match="ROUNDS_PREFECT_API_URL"):
        orchestration.flow_run(Settings(prefect_api_url=""), "run-1")
